"""The scenario: one question to the planner, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from tokenfleet.problem_data import GOALS, Denominator, ObjectiveKind
from tokenfleet.schema.engines import ENGINES, EngineName
from tokenfleet.schema.faults import Fault
from tokenfleet.schema.fields import (
    Count,
    Day,
    Flag,
    Fraction,
    Name,
    NonNegative,
    Number,
    Positive,
    PositiveCount,
    Score,
    Text,
    about,
    quantity,
)
from tokenfleet.schema.formats import KvPrecision
from tokenfleet.schema.horizon import Horizon, Outlook, RiskTerms
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.over_time import time_faults
from tokenfleet.schema.rows import Row, validate
from tokenfleet.schema.supply import Api, Finance, Offer, Quality, Site, Speculation
from tokenfleet.schema.workload import MAX_CLASSES, FreeDemand, Workload

SCHEMA_VERSION = 1
MOST_THREADS = 1024  # each takes memory for its stack


class Objective(Row):
    """What is optimised."""

    kind: ObjectiveKind = about("Goal", default="least_cost")
    denominator: Denominator = about(
        "Tokens that cost per token and most tokens count", default="output"
    )
    annual_budget_usd: Positive | None = quantity("Cap on yearly cost", "USD/year", default=None)
    capex_budget_usd: NonNegative | None = quantity("Cap on purchases", "USD", default=None)
    embodied_carbon_budget_kg: NonNegative | None = quantity(
        "Cap on the carbon emitted to make the systems of the plan; those owned already count none",
        "kg CO2e",
        default=None,
    )
    carbon_price_usd_per_t: NonNegative | None = quantity(
        "Price of carbon; blank: not priced",
        "USD/tCO2",
        default=None,
        high=2_000,
        if_high="USD/kt",
    )
    water_price_usd_per_m3: NonNegative | None = quantity(
        "Price of water; blank: not priced", "USD/m3", default=None, high=100, if_high="USD/ML"
    )
    risk: RiskTerms | None = about(
        "How much bad outlooks count; blank: by their probability alone", default=None
    )
    ratio_tolerance: Annotated[Positive, Field(lt=0.1)] = quantity(
        "Cost per token given up for more tokens", "fraction", default=1e-3
    )
    simplicity_tolerance: Annotated[NonNegative, Field(le=0.005)] = quantity(
        "Share of the best value given up for a simpler plan: fewer system types, then fewer "
        "sites, then fewer and plainer layouts; where the solver may stop at a wider gap, that "
        "gap up to 0.005; up to 0.005 for no pipeline stages, weights of fewer than 8 bits, "
        "replicas over several systems or phases apart; 0: nothing, not even a tie",
        "fraction",
        default=1e-3,
    )
    least_systems_per_type: PositiveCount = quantity(
        "Least systems of a type that is used at all, in every load block in which it stands; a "
        "system on which no workload may run does not count",
        "systems",
        default=1,
    )
    most_system_types: PositiveCount | None = quantity("Cap on system types", "types", default=None)
    most_layouts_per_workload: PositiveCount | None = quantity(
        "Cap on layouts that serve one workload; one that prefills and one that decodes are two",
        "layouts",
        default=None,
    )
    usd_per_further_type: NonNegative = quantity(
        "What each system type after the first costs: people, images, spare parts",
        "USD/year",
        default=0.0,
    )


class Column(Row):
    """A measured candidate: what rate one replica sustains for one class within its limits."""

    workload: Name = about("Workload")
    cls: Name = about("Class of the workload", alias="class")
    system: Name = about("Catalog id of the system")
    gpus: PositiveCount = quantity("Accelerators of one replica", "GPUs")
    rate_rps: Positive = quantity("Requests per second of one replica", "requests/s")
    watts: NonNegative | None = quantity(
        "IT draw of one replica at that rate",
        "W",
        default=None,
        low=10,
        if_low="kW",
        high=1e6,
        if_high="mW",
    )
    replica: Name | None = about(
        "Rows of one workload, system and size with this name are one replica, which serves any "
        "mix of their classes; blank: a replica serves this class alone",
        default=None,
    )
    quality: Score | None = quantity(
        "Quality score of its answers; needed where the workload has a floor",
        "score",
        default=None,
    )
    source: Text | None = about("Where it was measured", default=None)


def _columns_tag(value: Any) -> str:
    return "<file>" if isinstance(value, str) else "<rows>"


Columns = Annotated[
    Annotated[tuple[Column, ...], Field(min_length=1), Tag("<rows>")]
    | Annotated[Name, Tag("<file>")],
    Discriminator(_columns_tag),
]
# Past 0.99 nothing measured says how wrong the model can be.
DEFAULT_CONFIDENCE = 0.8


def _confidence_tag(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<number>"


Confidence = Annotated[
    Annotated[Annotated[Number, Field(ge=0.5, le=0.99)], Tag("<number>")]
    | Annotated[Literal["expected"], Tag("<word>")],
    Discriminator(_confidence_tag),
]
Sizes = Annotated[tuple[PositiveCount, ...], Field(min_length=1)]


class LayoutSearch(Row):
    """Which layouts are tried."""

    max_gpus_per_replica: PositiveCount = quantity("Largest replica", "GPUs", default=64)
    tensor_parallel: Sizes | None = about("Allowed TP sizes; blank: all", default=None)
    pipeline_parallel: Sizes | None = about("Allowed PP sizes; blank: all", default=None)
    expert_parallel: Sizes | None = about("Allowed EP sizes; blank: all", default=None)
    attention_data_parallel: Sizes | None = about(
        "Allowed attention-DP sizes; blank: all", default=None
    )
    batch_limits: Sizes | None = about("Allowed batch limits; blank: all", default=None)
    class_sets: Literal["singles", "runs", "all"] = about(
        "Sets of classes that share a replica: one class, runs by length, or every set",
        default="runs",
    )
    disaggregate: Flag = about("Also try prefill and decode pools", default=False)
    ttft_splits: Annotated[
        tuple[Annotated[Fraction, Field(gt=0, lt=1)], ...], Field(min_length=1)
    ] = quantity(
        "Shares of the TTFT budget given to the prefill pool",
        "fraction",
        default=(0.5, 0.7, 0.85),
    )
    kv_precisions: Annotated[tuple[KvPrecision, ...], Field(min_length=1)] | None = about(
        "KV cache formats allowed; blank: all", default=None
    )


class SolverOptions(Row):
    """How the mix is solved."""

    gap: Annotated[NonNegative, Field(lt=1)] = quantity(
        "Relative gap at which the solver may stop", "fraction", default=1e-4
    )
    time_limit_s: Positive | None = quantity(
        "Time limit of all rounds; blank: 60", "s", default=None, high=1e6, if_high="ms"
    )
    threads: Annotated[PositiveCount, Field(le=MOST_THREADS)] | None = about(
        "Threads; blank: all", default=None
    )
    seed: Count = about("Random seed", default=0)


class Reserve(Row):
    """Redundancy."""

    systems_per_pool: Count = quantity("Spare systems in each used pool", "systems", default=0)
    survive_site_loss: Flag = about("Serve all demand with any one site out", default=False)


class Scenario(Row):
    """Everything the planner is told."""

    schema_version: Literal[1] = about("Version of this schema", default=1)
    name: Name = about("Title")
    notes: Text | None = about("Free text", default=None)
    as_of: Day | None = about("Date of the question", default=None)
    price_vintage: Name | None = about("Price-book vintage; blank: the newest", default=None)
    catalog: tuple[Name, ...] = about(
        "User files that add or override catalog rows, relative to the scenario", default=()
    )
    objective: Objective = about("Goal and budgets", default_factory=Objective)
    finance: Finance = about("Money terms", default_factory=Finance)
    systems: tuple[Name, ...] | None = about(
        "Systems allowed; blank: all in the catalog; an empty list: hosted APIs alone",
        default=None,
    )
    engines: Annotated[tuple[EngineName, ...], Field(min_length=1)] = about(
        "Serving engines allowed", default=tuple(ENGINES)
    )
    engine_versions: dict[EngineName, Name] = about(
        "Version of an engine that will run: biases belong to versions, and vLLM's steps get "
        "shorter with them",
        default_factory=dict,
    )
    gpu_memory_utilization: Annotated[Fraction, Field(gt=0)] = quantity(
        "Share of an accelerator's memory that an engine may fill with weights, activations and "
        "cache (vLLM's setting of that name)",
        "fraction",
        default=0.9,
    )
    calibration: Name = about(
        "Biases on time per output token, measured on an engine version: `none`, `shipped`, or a "
        "file of `tokenfleet calibrate`, relative to the scenario",
        default="none",
    )
    confidence: Confidence = quantity(
        "One-sided confidence at which latency limits and rated throughput hold, or `expected`: at "
        "the model's expectation, as at 0.5. Measured columns have none",
        "probability",
        default=DEFAULT_CONFIDENCE,
    )
    workloads: Annotated[tuple[Workload, ...], Field(min_length=1)] = about("What to serve")
    sites: tuple[Site, ...] = about("Where; none are needed for hosted APIs alone", default=())
    offers: tuple[Offer, ...] = about(
        "How systems are obtained; empty: every offer of the price book", default=()
    )
    apis: tuple[Api, ...] = about("Hosted APIs", default=())
    quality: tuple[Quality, ...] = about("Quality scores", default=())
    speculation: tuple[Speculation, ...] = about("Speculative decoding", default=())
    columns: Columns | None = about(
        "Measured candidates instead of the performance model: rows or a CSV file", default=None
    )
    search: LayoutSearch = about("Layouts tried", default_factory=LayoutSearch)
    solver: SolverOptions = about("Solver options", default_factory=SolverOptions)
    reserve: Reserve = about("Redundancy", default_factory=Reserve)
    relayout: Flag = about("Layouts may change with the load block", default=False)
    horizon: Horizon | None = about(
        "Periods that purchases are planned over; blank: one steady year", default=None
    )
    outlooks: tuple[Outlook, ...] = about("Ways that things may go over the horizon", default=())

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        faults = list(_cross_references(self))
        if faults:
            text = "; ".join(f"{p.path}: {p.message}" for p in faults)
            raise PydanticCustomError("cross_reference", "{text}", {"text": text, "faults": faults})
        return self

    def engine_version(self, engine: str) -> str | None:
        """The version of an engine that will run, where the scenario names it."""
        return next((v for name, v in self.engine_versions.items() if name == engine), None)

    @property
    def named_systems(self) -> tuple[str, ...]:
        """The systems that the scenario names, whatever the catalog has."""
        offered = [offer.system for offer in self.offers]
        if isinstance(self.columns, tuple):
            offered += [column.system for column in self.columns]
        return tuple(dict.fromkeys((*(self.systems or ()), *offered)))

    def systems_among(self, known: Iterable[str]) -> list[str]:
        """The systems allowed, of those that the catalog knows."""
        return sorted(set(known if self.systems is None else self.systems))

    @classmethod
    def parse(cls, data: Any, source: str = "scenario") -> Scenario:
        """Validates plain data.

        Raises:
            SchemaError: every fault, with file, field path, row, value and hint.
        """
        return validate(cls, data, source)

    @property
    def sure(self) -> float | None:
        """The confidence of limits and rates; None at the model's expectation, and of measured
        columns, about which the model's error says nothing."""
        if self.columns is not None or isinstance(self.confidence, str):
            return None
        return self.confidence

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON Schema (2020-12) with unit and meaning of every field."""
        schema = cls.model_json_schema(by_alias=True)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _row(group: str, index: int, name: str) -> str:
    return f"{group}[{index}] (id {name!r})"


def _unknown(path: str, what: str, name: str, known: Iterable[str]) -> Fault:
    return Fault(path, f"unknown {what} {name!r}", did_you_mean(name, known))


def _cross_references(scenario: Scenario) -> Iterator[Fault]:
    yield from _duplicates(scenario)
    yield from _workload_references(scenario)
    yield from _shortfalls(scenario)
    yield from _value(scenario)
    yield from _supply_references(scenario)
    yield from _residency(scenario)
    yield from _quality(scenario)
    yield from _measured_confidence(scenario)
    yield from _images(scenario)
    yield from time_faults(scenario)
    if not scenario.sites and scenario.systems != ():
        hint = "add a site, or write `systems: []` to plan hosted APIs alone"
        yield Fault("sites", "field required", hint)
    if scenario.systems == () and not scenario.apis:
        yield Fault(
            "systems", "is empty, and there is no hosted API", "allow a system or add an API"
        )
    for i, site in enumerate(scenario.sites):
        if site.staff_usd_per_year and scenario.horizon is not None:
            path = f"{_row('sites', i, site.id)}.staff_usd_per_year"
            hint = "put it into finance.staff_usd_per_kw_year"
            yield Fault(path, "is not planned over a horizon", hint)
    if scenario.reserve.survive_site_loss and len(scenario.sites) < 2:
        yield Fault("reserve.survive_site_loss", "needs at least two sites", "add a site")


def id_groups(scenario: Scenario) -> list[tuple[str, list[str]]]:
    """Every list of rows that must have distinct ids, with its path."""
    groups = [
        ("workloads", [w.id for w in scenario.workloads]),
        ("sites", [s.id for s in scenario.sites]),
        ("offers", [o.id for o in scenario.offers]),
        ("apis", [a.id for a in scenario.apis]),
        ("outlooks", [o.id for o in scenario.outlooks]),
        ("speculation", [s.model for s in scenario.speculation]),
        ("quality", [f"{q.model} {q.precision}" for q in scenario.quality]),
    ]
    for i, workload in enumerate(scenario.workloads):
        if workload.classes is not None:
            path = f"{_row('workloads', i, workload.id)}.classes"
            groups.append((path, [c.id for c in workload.classes]))
    for i, site in enumerate(scenario.sites):
        groups.append((f"{_row('sites', i, site.id)}.expansions", [e.id for e in site.expansions]))
    return groups


def sanitised(name: str) -> str:
    """The name as a careless tool would write it: letters and digits, lower case."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().casefold()).strip("_")


def _duplicates(scenario: Scenario) -> Iterator[Fault]:
    for path, names in id_groups(scenario):
        first: dict[str, int] = {}
        for i, name in enumerate(names):
            if name in first:
                yield Fault(
                    f"{path}[{i}]",
                    f"id {name!r} is already used by row {first[name]}",
                    "give every row its own id",
                )
            first.setdefault(name, i)


def _workload_references(scenario: Scenario) -> Iterator[Fault]:
    for i, workload in enumerate(scenario.workloads):
        path = _row("workloads", i, workload.id)
        known = workload.class_ids
        if scenario.columns is None and len(known or ()) > MAX_CLASSES:
            text = f"{len(known or ())} classes; without columns at most {MAX_CLASSES}"
            yield Fault(f"{path}.classes", text, "join classes of like lengths")
        for j, slo in enumerate(workload.slos):
            if slo.cls is not None and known is not None and slo.cls not in known:
                yield _unknown(f"{path}.slos[{j}].class", "class", slo.cls, known)
        origins = {o for c in workload.classes or () for o in c.origin_shares}
        for origin in sorted(origins):
            for k, site in enumerate(scenario.sites):
                if origin not in site.round_trip_ms:
                    yield _unknown(
                        f"{_row('sites', k, site.id)}.round_trip_ms",
                        f"origin of workload {workload.id!r}:",
                        origin,
                        site.round_trip_ms,
                    )


def _shortfalls(scenario: Scenario) -> Iterator[Fault]:
    """Prices of requests not served under which nothing would be served, or of none at all."""
    kind, goal = scenario.objective.kind, GOALS[scenario.objective.kind]
    for i, workload in enumerate(scenario.workloads):
        price = workload.shortfall_usd_per_request
        if price is None:
            continue
        path = f"{_row('workloads', i, workload.id)}.shortfall_usd_per_request"
        if isinstance(workload.demand, FreeDemand):
            hint = "leave it out: what is not served of free demand was not asked for"
            yield Fault(path, "free demand has no shortfall", hint)
        elif "cost" not in goal.of and not goal.gains_by_volume:
            hint = f"leave it out: {kind} does not count USD"
            yield Fault(path, "nothing would be served", hint)
        elif price == 0 and "value" not in goal.of:
            hint = "give a price, leave it out, or choose objective.kind: most_value"
            yield Fault(path, "0: nothing would be served", hint)


def _value(scenario: Scenario) -> Iterator[Fault]:
    """The most value of answers none of which has any: every plan would be as good."""
    if scenario.objective.kind != "most_value":
        return
    stated = [w.value_usd_per_mtok_output for w in scenario.workloads]
    stated += [c.value_usd_per_mtok_output for w in scenario.workloads for c in w.classes or ()]
    if not any(stated):
        hint = "give value_usd_per_mtok_output of a workload, or choose most_tokens"
        yield Fault("objective.kind", "most_value, and no workload states its value", hint)


def _supply_references(scenario: Scenario) -> Iterator[Fault]:
    sites = [s.id for s in scenario.sites]
    workloads = {w.id: w for w in scenario.workloads}
    for i, offer in enumerate(scenario.offers):
        for j, name in enumerate(offer.sites or ()):
            if name not in sites:
                yield _unknown(f"{_row('offers', i, offer.id)}.sites[{j}]", "site", name, sites)
    for i, api in enumerate(scenario.apis):
        if api.workload not in workloads:
            path = f"{_row('apis', i, api.id)}.workload"
            yield _unknown(path, "workload", api.workload, workloads)
    if not isinstance(scenario.columns, str):
        yield from column_faults(scenario.columns or (), workloads.values(), "columns")


def column_faults(
    columns: Sequence[Column], workloads: Iterable[Workload], path: str
) -> Iterator[Fault]:
    """Columns that name a workload or class that does not exist."""
    classes = {w.id: w.class_ids for w in workloads}
    for i, column in enumerate(columns):
        if column.workload not in classes:
            yield _unknown(f"{path}[{i}].workload", "workload", column.workload, classes)
            continue
        known = classes[column.workload]
        if known is not None and column.cls not in known:
            yield _unknown(f"{path}[{i}].class", "class", column.cls, known)


def _images(scenario: Scenario) -> Iterator[Fault]:
    """Images are rated by who measured them: there is no model of their time."""
    for i, workload in enumerate(scenario.workloads):
        if workload.unit == "image" and scenario.columns is None:
            path = f"{_row('workloads', i, workload.id)}.unit"
            hint = "give the images per second of one replica as rate_rps of `columns`"
            yield Fault(path, "images are not modelled", hint)


def _measured_confidence(scenario: Scenario) -> Iterator[Fault]:
    """Columns are rates that somebody measured: the model's error says nothing about them."""
    if scenario.columns is None:
        return
    hint = "leave it out, or rate the columns at the confidence you need"
    if "confidence" in scenario.model_fields_set and scenario.confidence != "expected":
        yield Fault("confidence", "has no effect on measured columns", hint)
    for name in ("engine_versions", "gpu_memory_utilization"):
        if name in scenario.model_fields_set and getattr(scenario, name):
            yield Fault(name, "has no effect on measured columns", hint)
    if scenario.calibration != "none":
        hint = "leave it out: a bias corrects the model, and columns take its place"
        yield Fault("calibration", "has no effect on measured columns", hint)


def _residency(scenario: Scenario) -> Iterator[Fault]:
    regions = {s.region for s in scenario.sites}
    for i, workload in enumerate(scenario.workloads):
        if workload.residency is None:
            continue
        reachable = regions | {a.region for a in scenario.apis if a.workload == workload.id}
        path = f"{_row('workloads', i, workload.id)}.residency"
        if not reachable & set(workload.residency):
            names = ", ".join(repr(r) for r in workload.residency)
            hint = f"regions with a site or API: {', '.join(sorted(reachable))}"
            yield Fault(path, f"{names} forbids every site and API", hint)


def _quality(scenario: Scenario) -> Iterator[Fault]:
    models = {w.model for w in scenario.workloads}
    for i, row in enumerate(scenario.quality):
        if row.model not in models:
            yield _unknown(f"quality[{i}].model", "model of any workload", row.model, models)
    for i, spec in enumerate(scenario.speculation):
        if spec.model not in models:
            yield _unknown(f"speculation[{i}].model", "model of any workload", spec.model, models)
