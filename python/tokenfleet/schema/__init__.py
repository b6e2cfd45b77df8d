"""This room says what a scenario may hold, as frozen and strict pydantic rows.

The name of each field carries its unit (`power_limit_kw`), and the field carries its meaning, from
which `docs/scenario.md` is made. `faults` and `cures` turn pydantic's errors into a place, a fault
and what to write instead.
"""

from tokenfleet.schema.architecture import (
    DenseFfn,
    GqaAttention,
    LayerGroup,
    LinearAttention,
    MlaAttention,
    ModelArchitecture,
    MoeFfn,
    NativeWeights,
)
from tokenfleet.schema.engines import EngineName
from tokenfleet.schema.faults import Fault, schema_error
from tokenfleet.schema.fields import (
    Cooling,
    TraceFormat,
    limit_value,
)
from tokenfleet.schema.formats import KvPrecision, Precision
from tokenfleet.schema.horizon import Horizon, Outlook
from tokenfleet.schema.near import did_you_mean, nearest
from tokenfleet.schema.plausibility import SchemaWarning, scenario_warnings
from tokenfleet.schema.rows import Row, validate
from tokenfleet.schema.scenario import (
    DEFAULT_CONFIDENCE,
    SCHEMA_VERSION,
    Column,
    LayoutSearch,
    Objective,
    Reserve,
    Scenario,
    SolverOptions,
    column_faults,
)
from tokenfleet.schema.supply import (
    EVERYTHING,
    Api,
    Finance,
    Included,
    Offer,
    OfferKind,
    PriceTier,
    Quality,
    Site,
    Speculation,
)
from tokenfleet.schema.workload import (
    Demand,
    FreeDemand,
    Length,
    LengthSource,
    LoadShape,
    RequestClass,
    Slo,
    TraceFile,
    Workload,
    bucket_ids,
    second_moment,
)

__all__ = [
    "DEFAULT_CONFIDENCE",
    "EVERYTHING",
    "SCHEMA_VERSION",
    "Api",
    "Column",
    "Cooling",
    "Demand",
    "DenseFfn",
    "EngineName",
    "Fault",
    "Finance",
    "FreeDemand",
    "GqaAttention",
    "Horizon",
    "Included",
    "KvPrecision",
    "LayerGroup",
    "LayoutSearch",
    "Length",
    "LengthSource",
    "LinearAttention",
    "LoadShape",
    "MlaAttention",
    "ModelArchitecture",
    "MoeFfn",
    "NativeWeights",
    "Objective",
    "Offer",
    "OfferKind",
    "Outlook",
    "Precision",
    "PriceTier",
    "Quality",
    "RequestClass",
    "Reserve",
    "Row",
    "Scenario",
    "SchemaWarning",
    "Site",
    "Slo",
    "SolverOptions",
    "Speculation",
    "TraceFile",
    "TraceFormat",
    "Workload",
    "bucket_ids",
    "column_faults",
    "did_you_mean",
    "limit_value",
    "nearest",
    "scenario_warnings",
    "schema_error",
    "second_moment",
    "validate",
]
