"""A plan as `simulate` reads it back: what stands where, what is routed to it, what was promised.

Plans come from files that people keep and edit, so everything is checked: fields and their types,
and that the plan belongs to the scenario beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tokenfleet.errors import SchemaError
from tokenfleet.files.read import load_data
from tokenfleet.problem.origin import origin
from tokenfleet.problem.specification import Specification
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import validate

_AGAIN = "make the plan again: tokenfleet plan SCENARIO -o PLAN"
Count = Annotated[int, Field(strict=True, ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    """A row of a plan; fields that the simulation does not read are left alone."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)


class Standing(_Part):
    """Replicas of one layout in one pool."""

    workload: str
    site: str
    pool: str
    system: str
    role: str
    candidate: Count
    configuration: Count | None
    latency_group: Count | None
    kv_dtype: str | None = None
    ttft_split: float | None = None
    attention_dp: Annotated[int, Field(strict=True, ge=1)] = 1
    pp: Annotated[int, Field(strict=True, ge=1)] = 1
    count: Count
    count_by_block: tuple[Count, ...] | None
    gpus: Count
    idle_w: Amount
    energy_j_per_request: dict[str, Amount]


class Route(_Part):
    """Requests/s of one class to one kind of replica or API, by load block."""

    workload: str
    cls: str = Field(alias="class")
    site: str | None
    pool: str | None
    role: str
    candidate: Count | None
    api: str | None
    requests_per_s: tuple[Amount, ...]


class LoadBlock(_Part):
    """Hours of a year with one load; none for the loss of a site."""

    hours_per_year: Amount
    lost_site: str | None


class Promise(_Part):
    """A latency limit and what the plan says of it."""

    workload: str
    cls: str = Field(alias="class")
    metric: str
    percentile: str
    promised_ms: float | None
    limit_ms: float


class Systems(_Part):
    """Systems of one offer at one site."""

    site: str
    pool: str
    count: Count
    count_by_block: tuple[Count, ...] | None
    idle_it_kw: Amount
    pue: Amount


class Origin(_Part):
    """Fingerprints of the scenario."""

    source: str
    scenario_sha256: str
    model_sha256: str | None


class PlanFile(_Part):
    """The parts of a plan that the simulation needs."""

    schema_version: Literal[2]
    name: str
    origin: Origin
    blocks: Annotated[tuple[LoadBlock, ...], Field(min_length=1)]
    systems: tuple[Systems, ...]
    replicas: tuple[Standing, ...]
    routing: tuple[Route, ...]
    slo: tuple[Promise, ...]
    confidence: float | None = None
    annual_cost_usd: float
    cost_items: dict[str, float]
    cost_per_mtok_output_usd: float | None
    tokens_per_year_output: Amount


def read_plan(source: str | Path | Mapping[str, Any]) -> tuple[PlanFile, str]:
    """A plan from its file or its JSON, and what to call it in messages.

    Raises:
        SchemaError: no plan, or one without what the simulation needs; names file and field.
    """
    name = "plan" if isinstance(source, Mapping) else str(source)
    data = source if isinstance(source, Mapping) else load_data(Path(source))
    if not isinstance(data, Mapping) or "replicas" not in data or "routing" not in data:
        raise SchemaError(f"{name}: is not a plan: it has no replicas and routing", _AGAIN)
    if data.get("schema_version") != 2:
        found = data.get("schema_version")
        raise SchemaError(f"{name}: schema_version: is {found!r}, should be 2", _AGAIN)
    if data.get("origin") is None:
        raise SchemaError(f"{name}: origin: does not say which scenario it is of", _AGAIN)
    plan = validate(PlanFile, dict(data), name)
    _check_blocks(plan, name)
    return plan, name


def _check_blocks(plan: PlanFile, name: str) -> None:
    blocks = len(plan.blocks)
    for i, route in enumerate(plan.routing):
        if len(route.requests_per_s) != blocks:
            found = len(route.requests_per_s)
            text = f"routing[{i}].requests_per_s: has {found} rates for {blocks} load blocks"
            raise SchemaError(f"{name}: {text}", _AGAIN)
    counted = {
        "replicas": [row.count_by_block for row in plan.replicas],
        "systems": [row.count_by_block for row in plan.systems],
    }
    for kind, rows in counted.items():
        for i, counts in enumerate(rows):
            if counts is not None and len(counts) != blocks:
                text = f"{kind}[{i}].count_by_block: has {len(counts)} counts for {blocks} blocks"
                raise SchemaError(f"{name}: {text}", _AGAIN)


def scenario_path(plan: PlanFile, name: str) -> Path:
    """Where the plan's scenario is: as it was named then, or beside the plan.

    Raises:
        SchemaError: it is in neither place.
    """
    named = Path(plan.origin.source)
    for path in (named, Path(name).parent / named.name):
        if path.is_file():
            return path
    raise SchemaError(
        f"{name}: its scenario {plan.origin.source!r} is not found",
        "say where it is: --scenario FILE",
    )


def check_match(
    plan: PlanFile, name: str, loaded: LoadedScenario, specification: Specification, core: Any
) -> None:
    """Refuses a plan that was not made from this scenario, catalog and version.

    Raises:
        SchemaError: says which of them differs, or names the replica row that was changed.
    """
    now = origin(loaded, specification)
    if now["scenario_sha256"] != plan.origin.scenario_sha256:
        raise SchemaError(
            f"{name}: does not match {loaded.source_name}: the plan was made from another scenario "
            f"({plan.origin.source}), or it was changed since",
            "give the scenario of the plan with --scenario, or plan again",
        )
    if now["model_sha256"] != plan.origin.model_sha256:
        raise SchemaError(
            f"{name}: does not match {loaded.source_name}: the catalog, the calibration or the "
            "version of tokenfleet changed since the plan was made",
            _AGAIN,
        )
    for i, row in enumerate(plan.replicas):
        _check_layout(row, f"{name}: replicas[{i}]", core)


def _check_layout(row: Standing, where: str, core: Any) -> None:
    if row.configuration is None or row.latency_group is None:
        raise SchemaError(f"{where}: has no configuration", _AGAIN)
    if row.configuration >= core.space_size:
        text = f"{where}: configuration {row.configuration} is not in the scenario's space"
        raise SchemaError(text, _AGAIN)
    for field, value in core.describe(row.configuration).items():
        found = getattr(row, field, None)
        if found != value:
            text = f"{where}.{field}: is {found!r}; configuration {row.configuration} has {value!r}"
            raise SchemaError(text, _AGAIN)
