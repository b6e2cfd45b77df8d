"""The plan a buyer reads, row by row: what to get, where, what it serves, what it costs, what is
proven.

This is the one declaration of a plan's keys; rows that say how it is known stand in `known_rows`,
those over time in `horizon_rows`. `optimize_fleet` returns a `Plan`, `to_json` writes
it, `Plan.load` and `Plan.from_json` read it back, and `docs/plan.md` is made from the meanings and
units given here. A key that is a word of Python has another attribute: `class` is `cls`.

    plan = Plan.load("plan.json")
    for row in plan.systems:
        print(row.site, row.count, row.system)

Yearly figures are of a year of 8,760 hours; a number that does not exist is null, never NaN.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tokenfleet.errors import SchemaError
from tokenfleet.files.frames import Columns
from tokenfleet.files.kinds import is_plan
from tokenfleet.files.read import load_data
from tokenfleet.plan.explored import Exploration
from tokenfleet.plan.horizon_rows import OverTime
from tokenfleet.plan.known_rows import (
    Input,
    NotConsidered,
    Notice,
    Origin,
    OtherAnswer,
    Provenance,
    Verification,
)
from tokenfleet.problem_data import BoundCheck, ObjectiveKind, Role
from tokenfleet.schema.fields import (
    Count,
    Flag,
    Metric,
    NonNegative,
    Number,
    Percentile,
    Word,
    about,
    quantity,
)
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.rows import Row, rejected, validate

SCHEMA_VERSION = 9
AGAIN = "make the plan again: tokenfleet plan SCENARIO -o PLAN"
MAX_BYTES = 256 * 1024 * 1024  # of a plan's file: a plan of 5,000 systems has about 10 MB
_NO_SYSTEMS = ("api_tokens", "shortfall", "further_system_types")  # items of no system
Proof = Literal["optimal", "within_gap", "feasible", "feasible_time_limit"]
Share = Annotated[Number, Field(le=1)]  # of a limit: below 0 where it is exceeded


# What to get


class Systems(Row):
    """Systems of one offer at one site."""

    site: Word = about("Where they stand")
    system: Word = about("System type, an id of the catalog")
    offer: Word = about("Offer of the scenario that they are obtained by")
    kind: Word = about("How they are obtained: buy, rent, on_demand, spot, owned or all_in")
    pool: Word = about("Interchangeable systems that they belong to: site, type and tenure")
    count: Count = quantity("Systems, at the peak over the load blocks", "systems")
    gpus: Count = quantity("Accelerators in them, at the peak", "accelerators")
    idle_it_kw: NonNegative = quantity("Drawn by each system that serves nothing", "kW")
    pue: NonNegative = quantity("Power at the meter over power at the IT equipment", "1")
    count_by_block: tuple[Count, ...] | None = quantity(
        "Systems in each load block; null where their number is fixed for the year", "systems"
    )
    hosted: Flag = about(
        "Whether they stand in the provider's hall, off the site's power and racks"
    )
    provisioned_it_kw: NonNegative = quantity("Held by each system against a power limit", "kW")
    systems_per_rack: NonNegative | None = quantity(
        "Systems in a rack; null where racks set no limit", "systems"
    )
    price_usd_per_system: NonNegative | None = quantity("Purchase price of one", "USD")
    price_usd_per_gpu_h: NonNegative | None = quantity("Price by the hour", "USD/GPU-h")
    price_source: Word | None = about("Where the price comes from")
    price_as_of: Word | None = about("Day of the price; null for the scenario's own")
    term_years: NonNegative | None = quantity("Length of the contract; null: none", "years")
    includes: tuple[Word, ...] = about("Costs inside the price")
    hours_per_year: NonNegative = quantity("Hours that they are there, added up", "system-h")
    billed_hours_per_year: NonNegative = quantity(
        "Hours that are billed: those, in whole `billed_hours` of the offer", "system-h"
    )
    it_kwh_per_year: NonNegative = quantity("IT energy, with what runs in them", "kWh/year")
    energy_usd_per_kwh_it: Number | None = quantity(
        "Price of that energy, carbon and water included; 0 where it is inside the price",
        "USD/kWh",
    )
    capex_usd: NonNegative = quantity("Paid up front for all of them", "USD")
    cost_items_usd: dict[Word, Number] = quantity(
        "Cost by item; energy of what runs in a pool goes by system-hours", "USD/year"
    )
    annual_cost_usd: Number = quantity("Sum of the items", "USD/year")


class Hardware(Row):
    """Figures of a system type that the plan uses."""

    system: Word = about("System type, an id of the catalog")
    vendor: Word = about("Vendor")
    accelerator: Word = about("Accelerator")
    gpus: Count = quantity("Accelerators in a system", "accelerators")
    form: Word = about("A server in a rack, or a rack of its own")
    rack_units: Count | None = quantity("Height; null: not sourced", "U")
    system_kw: NonNegative | None = quantity("Largest IT power; null: not sourced", "kW")
    cooling: Word | None = about("Cooling kind; null: not sourced")
    own: Flag = about("Whether the row is of the user's own catalog files")
    source: Word = about("Where the figures come from")
    as_of: Word | None = about("Day of the source; null where none is stated")


class Placement(Row):
    """Systems of a pool that hold the same replicas, in the load block in which it is fullest.

    A row without replicas is of systems that stand spare.
    """

    pool: Word = about("Pool of the systems")
    systems: Count = quantity("Systems that hold these replicas", "systems")
    replica_gpus: tuple[Count, ...] = quantity(
        "Size of every replica in one of the systems", "accelerators"
    )


class Site(Row):
    """Power at one site, and what it costs there."""

    site: Word = about("The site")
    region: Word | None = about("Region; null where the mix was made of plain numbers")
    provisioned_kw: NonNegative = quantity(
        "Held against the site's limit, in the basis of the limit", "kW"
    )
    drawn_kw: NonNegative = quantity(
        "Mean power at the meter in the load block in which it is highest", "kW"
    )
    drawn_kw_by_block: tuple[NonNegative, ...] = quantity(
        "Mean power at the meter in each load block", "kW"
    )
    mean_drawn_kw_with_hosted: NonNegative = quantity(
        "Mean power at the meter over the year, systems in a provider's hall included", "kW"
    )
    power_limit_kw: NonNegative | None = quantity("The site's limit; null: none", "kW")
    power_basis: Literal["it", "utility"] = about("What the limit counts: IT power or the meter")
    contracted_power_usd_per_year: NonNegative = quantity(
        "Paid for contracted power, used or not", "USD/year"
    )


# What runs where


class Replicas(Row):
    """Replicas of one workload and one layout in one pool."""

    workload: Word = about("Workload that they serve")
    system: Word = about("System type that they run on")
    engine: Word | None = about("Serving engine; null for measured columns")
    precision: Word | None = about("Format of the weights; null for measured columns")
    kv_dtype: Word | None = about("Format of the key-value cache; null for measured columns")
    tp: Count | None = quantity("Tensor-parallel degree", "accelerators")
    pp: Count | None = quantity("Pipeline stages", "stages")
    ep: Count | None = quantity("Expert-parallel degree", "accelerators")
    attention_dp: Count | None = quantity("Data-parallel ranks of the attention", "ranks")
    speculative_depth: Count | None = quantity("Tokens drafted ahead in each step", "tokens")
    role: Role = about("Both phases, or one of two pools: serve, prefill or decode")
    ttft_split: NonNegative | None = quantity(
        "Share of the limit on the first token that the prefill pool is given", "1"
    )
    batch_limit: Count | None = quantity("Most sequences at once", "sequences")
    classes: tuple[Word, ...] = about("Request classes that the replicas admit")
    own_mix: bool = about(
        "Whether they take all classes, each in its share of the workload's requests", default=False
    )
    capacity: NonNegative | None = quantity("Utilisation that the latency limits allow", "1")
    rate_rps: NonNegative | None = quantity(
        "Measured rate of a replica with one class; null where it was not measured", "requests/s"
    )
    source: Word | None = about("Where measured rates come from; null where they are modelled")
    site: Word = about("Where they run")
    pool: Word = about("Pool of systems that they run on")
    candidate: Count = about("Number of the layout among those kept for the mix")
    configuration: Count | None = about(
        "Number of the layout in the scenario's space; null for measured columns"
    )
    latency_group: Count | None = about(
        "Number of the group of sites with one network latency; null for measured columns"
    )
    energy_j_per_request: dict[Word, NonNegative] = quantity(
        "IT energy of a request above what its replica draws anyway, by class", "J"
    )
    idle_w: NonNegative = quantity("IT power of a loaded replica above the idle of its system", "W")
    count: Count = quantity("Replicas, at the peak over the load blocks", "replicas")
    gpus: Count = quantity("Accelerators of one replica", "accelerators")
    count_by_block: tuple[Count, ...] | None = quantity(
        "Replicas in each load block; null where their number is the same in all", "replicas"
    )
    load_mean: NonNegative = quantity(
        "Load over what the latency limits allow, mean over the year", "1"
    )
    load_peak: NonNegative = quantity("The same in the load block where it is highest", "1")
    load_by_block: tuple[NonNegative, ...] = quantity(
        "The same in each load block; 0 where there are none", "1"
    )


class Checkpoint(Row):
    """Published weights of a model in a format that the plan serves it in."""

    model: Word = about("Model, an id of the catalog")
    precision: Word = about("Format of the weights, as in `replicas`")
    repository: Word = about("Repository or folder that has them, as a serving engine is told it")
    source: Word = about("Where that is stated")
    as_of: Word | None = about("Date, month or year of the source; null where it states none")
    note: Word | None = about("What the source says of the weights")


class Route(Row):
    """Requests of one class through one kind of replica or one API."""

    workload: Word = about("Workload of the requests")
    cls: Word = about("Class of the requests", alias="class")
    site: Word | None = about("Site that serves them; null for an API")
    pool: Word | None = about("Pool of systems that serves them; null for an API")
    role: Role = about("What is done there: a request of two pools is in two rows")
    candidate: Count | None = about("Layout that serves them, as in `replicas`; null for an API")
    api: Word | None = about("Hosted API that serves them; null for replicas")
    requests_per_s: tuple[NonNegative, ...] = quantity("Rate in each load block", "requests/s")
    requests_per_year: NonNegative = quantity("Requests", "requests/year")
    output_tokens_per_year: NonNegative = quantity(
        "Output tokens, counted where a request is delivered: 0 in a prefill pool", "tokens/year"
    )
    input_tokens_per_year: NonNegative = quantity("Input tokens of those requests", "tokens/year")
    cost_usd_per_year: Number = quantity(
        "Their part of the cost: what they draw or are charged for, and by accelerator-hours "
        "their part of the systems that serve them",
        "USD/year",
    )


class Unserved(Row):
    """Requests of one class that are left unserved, at the scenario's price for that."""

    workload: Word = about("Workload of the requests")
    cls: Word = about("Class of the requests", alias="class")
    requests_per_s: tuple[NonNegative, ...] = quantity("Rate in each load block", "requests/s")
    requests_per_year: NonNegative = quantity("Requests", "requests/year")
    cost_usd_per_year: Number = quantity("What leaving them is priced at", "USD/year")


class WorkloadTotal(Row):
    """What one workload gets, and its part of the cost: the parts add up to the whole.

    It pays what it sends to APIs or leaves unserved, the energy that its requests draw, and by
    accelerator-hours of its replicas its part of the systems, spares and contracted power.
    """

    workload: Word = about("The workload")
    model: Word | None = about("Model that it asks for; null where the mix was made of numbers")
    requests_per_year: NonNegative = quantity("Requests served", "requests/year")
    unserved_requests_per_year: NonNegative = quantity("Requests left unserved", "requests/year")
    api_share: NonNegative | None = quantity("Share of requests through hosted APIs", "1")
    output_tokens_per_year: NonNegative = quantity("Output tokens", "tokens/year")
    input_tokens_per_year: NonNegative = quantity("Input tokens", "tokens/year")
    engines: tuple[Word, ...] = about("Serving engines of its replicas")
    gpus: Count = quantity("Accelerators of its replicas, at the peak", "accelerators")
    load_mean: NonNegative | None = quantity(
        "Load of its replicas over what their latency limits allow, mean over the year", "1"
    )
    cost_items_usd: dict[Word, Number] = quantity("Its part of each cost item", "USD/year")
    annual_cost_usd: Number = quantity("Sum of the items", "USD/year")
    cost_per_mtok_output_usd: Number | None = quantity("Its cost over output tokens", "USD/Mtok")
    cost_per_mtok_input_usd: Number | None = quantity("Its cost over input tokens", "USD/Mtok")
    cost_per_mtok_total_usd: Number | None = quantity("Its cost over all tokens", "USD/Mtok")
    images_per_year: NonNegative | None = quantity(
        "Images, of a workload whose requests ask for one each", "images/year", default=None
    )
    cost_per_thousand_images_usd: Number | None = quantity(
        "Its cost over images", "USD/1,000 images", default=None
    )


class LoadBlock(Row):
    """Hours of a year with one load. Every list by block is in the order of these rows."""

    hours_per_year: NonNegative = quantity(
        "Length; 0 for the loss of a site, which must be survived and costs nothing", "h"
    )
    lost_site: Word | None = about("Site that is out; null: none")


# What is promised


class Limit(Row):
    """A stated limit and what is used of it."""

    what: Word = about("Kind of the limit, with its unit")
    where: Word = about("Site, offer or API that it holds for, or all")
    used: Number = quantity("Used of it, at most over the load blocks", "as in `what`")
    limit: Number = quantity("The limit", "as in `what`")
    headroom: Number = quantity("Left of it", "as in `what`")
    headroom_share: Share | None = quantity("Left of it, over the limit; null at a limit of 0", "1")


#: In the place of a class: all requests of the workload together.
ALL_REQUESTS = "all"


class Promise(Row):
    """A latency limit of a class, or of all requests of a workload, beside what the plan promises
    at its worst replica and block."""

    workload: Word = about("Workload that the limit is of")
    cls: Word = about(
        "Class that it holds for; `all`: all requests of the workload together", alias="class"
    )
    metric: Metric = about("What is limited: time to first token, per output token, or end to end")
    percentile: Percentile = about("Percentile of the requests, or their mean")
    promised_ms: Number | None = quantity(
        "Latency at the plan's confidence, no earlier than what was simulated; null where the "
        "model gives none",
        "ms",
    )
    expected_ms: Number | None = quantity("What the model expects of the same replica", "ms")
    limit_ms: NonNegative = quantity("The limit", "ms")
    headroom_ms: Number | None = quantity("Left of it", "ms")
    provenance: Word = about(
        "How it is known: calibrated (this accelerator and model were measured), modelled, or "
        "inherited from a relative"
    )
    interval_ms: tuple[Number | None, Number | None] = quantity(
        "Range around the expected latency that holds 80 % of what would be measured at the same "
        "load; a slower fleet also fills up, so what is promised may lie above",
        "ms",
    )


class Without(Row):
    """What the plan has that people would rather do without, and what plans without it cost."""

    what: Word = about("As in: pipeline stages")
    workloads: tuple[Word, ...] = about("Workloads that are served so")
    bound: Number | None = quantity(
        "No plan without it is better; null: there is none at all", "as in `objective_unit`"
    )
    difference_relative: Number | None = quantity(
        "The bound over the plan's value, less 1; null as the bound", "1"
    )


class Way(Row):
    """The best plan of one way to get the tokens alone, beside this one: buy, rent, API."""

    name: Word = about("The way: buy, rent 3 years, on demand, API")
    objective_value: Number | None = quantity(
        "Its value; null: alone it has no plan, or none was found", "as in `objective_unit`"
    )
    difference_relative: Number | None = quantity(
        "Its value over that of the plan, less 1; null where that is 0, or without a plan", "1"
    )
    gap: NonNegative | None = quantity("Value to bound, over the value; null: no bound", "1")
    annual_cost_usd: Number | None = quantity("Its cost; over a horizon levelised", "USD/year")
    capex_usd: NonNegative | None = quantity(
        "Paid up front for it; over a horizon for all that is bought, on average", "USD"
    )
    gpus: Count | None = quantity("Its accelerators, at the peak", "accelerators")
    impossible: Flag = about("Whether it is proven that alone it has no plan", default=False)
    why: Word | None = about(
        "What alone it cannot serve; null: it has a plan, or nobody knows", default=None
    )


class BestSingle(Row):
    """The best plan of one system type, beside this one."""

    system: Word = about("The system type")
    objective_value: Number = quantity("Its value", "as in `objective_unit`")
    bound: Number | None = quantity("No plan of one type is better", "as in `objective_unit`")
    difference: Number = quantity("Its value over that of the plan", "as in `objective_unit`")
    difference_relative: Number | None = quantity(
        "The difference over the plan's value; null where that is 0", "1"
    )
    systems_by_offer: dict[Word, Count] = quantity(
        "What it would get, by offer and site", "systems"
    )


# The plan


class Plan(Row):
    """A mix in the user's words, with its cost and its proof."""

    name: Word = about("Name of the scenario")
    as_of: Word | None = about("Day of the question, where the scenario says it")
    price_vintage: Word | None = about("Edition of the price book; null where none was used")
    currency: Literal["USD"] = about("Currency of every price", default="USD")
    status: Proof = about(
        "Optimal, proven within the gap that was asked for, the best found (the search ended with "
        "more unproven), or the best found in the time given"
    )
    interrupted: Flag = about("Ctrl-C came before the search was done")
    objective: ObjectiveKind = about("What is best")
    objective_unit: Word = about("Unit of the objective")
    objective_value: Number = quantity("Value of the objective", "as in `objective_unit`")
    best_objective_value: Number | None = quantity(
        "Value of the best plan found, where a simpler one took its place; null: this is the best",
        "as in `objective_unit`",
    )
    bound: Number | None = quantity(
        "No plan is better; null where nothing is proven", "as in `objective_unit`"
    )
    gap: NonNegative | None = quantity(
        "Value of the best plan found to bound, over the value; null: no bound", "1"
    )
    bound_check: BoundCheck = about(
        "How the bound was confirmed apart from the search: by prices of a second formulation "
        "(rounding errors counted against it), by a search of that formulation, or not at all"
    )
    annual_cost_usd: Number = quantity("Cost", "USD/year")
    cost_per_mtok_output_usd: Number | None = quantity(
        "Cost over output tokens, without that of images; null without any", "USD/Mtok"
    )
    cost_per_mtok_input_usd: Number | None = quantity("The same over input tokens", "USD/Mtok")
    cost_per_mtok_total_usd: Number | None = quantity(
        "The same over input and output tokens", "USD/Mtok"
    )
    tokens_per_year_output: NonNegative = quantity("Output tokens delivered", "tokens/year")
    tokens_per_year_input: NonNegative = quantity("Input tokens processed", "tokens/year")
    tokens_per_year_total: NonNegative = quantity("Input and output tokens", "tokens/year")
    output_tokens_per_s_per_mw: NonNegative | None = quantity(
        "Output tokens over mean power at the meter, hosted systems included", "tokens/s/MW"
    )
    joules_per_output_token: NonNegative | None = quantity(
        "Energy at the meter over output tokens, hosted systems included", "J/token"
    )
    free_demand_scale_rps: NonNegative | None = quantity(
        "Common scale of free demand; null where none is free", "requests/s"
    )
    gpus: Count = quantity("Accelerators of all systems, at the peak", "accelerators")
    systems: tuple[Systems, ...] = about("What to get, by site and offer")
    replicas: tuple[Replicas, ...] = about("What runs, by pool and layout")
    checkpoints: tuple[Checkpoint, ...] = about(
        "Weights that the replicas are started with, where the catalog knows of any", default=()
    )
    placement: tuple[Placement, ...] = about("How replicas stand in systems")
    hardware: tuple[Hardware, ...] = about("Figures of every system type in the plan")
    sites: tuple[Site, ...] = about("Power of every site")
    routing: tuple[Route, ...] = about("Which requests go where")
    unserved: tuple[Unserved, ...] = about("Requests that are left unserved")
    workloads: tuple[WorkloadTotal, ...] = about(
        "What each workload gets, and its part of the cost"
    )
    cost_items: dict[Word, Number] = quantity("Cost by item; credits are negative", "USD/year")
    capex_usd: NonNegative = quantity("Paid up front for what is bought", "USD")
    limits: tuple[Limit, ...] = about("Every stated limit")
    best_single_system: BestSingle | None = about("The best plan of one system type; null: none")
    ways: tuple[Way, ...] = about(
        "Each way to get the tokens alone, the best first; empty: one way, or not asked for"
    )
    without: tuple[Without, ...] = about("What plans without some trait of this one cost at least")
    candidates_evaluated: Count = quantity("Configurations evaluated in full", "configurations")
    candidates_kept: Count = quantity("Those that the mix was made over", "configurations")
    dropped: dict[Word, Count] = quantity("Configurations left out, by reason", "configurations")
    confidence: Number | None = quantity(
        "Of limits and rated throughput; null: the model's expectation", "1"
    )
    other: OtherAnswer | None = about(
        "The best plan as expected, beside one that is held at a confidence, or the other way "
        "round; null: not asked for",
        default=None,
    )
    slo: tuple[Promise, ...] = about("Every latency limit, beside what is promised")
    provenance: tuple[Provenance, ...] = about("Where the figures come from")
    not_considered: tuple[NotConsidered, ...] = about("What was left out of the search")
    inputs: tuple[Input, ...] = about("The figures behind the money, and whose they are")
    warnings: tuple[Notice, ...] = about("What to know before signing")
    rounds: Count = quantity("Solves until every replica held its limits again", "rounds")
    seconds: NonNegative = quantity("Time taken", "s")
    blocks: Annotated[tuple[LoadBlock, ...], Field(min_length=1)] = about("Load blocks of the year")
    origin: Origin | None = about("What the plan was made from")
    verification: Verification | None = about("What the simulator said; null: not asked for")
    horizon: OverTime | None = about(
        "Periods and outlooks; the key is absent from a plan of one steady year", default=None
    )
    exploration: Exploration | None = about(
        "Plans beside this one; the key is absent where `--explore` was not asked for", default=None
    )
    schema_version: Literal[9] = about("Version of these keys", default=SCHEMA_VERSION)

    def __repr__(self) -> str:
        """The plan in one line: `Plan('hall', 8 GPUs, 96,500 USD a year, optimal)`."""
        cost = f"{self.annual_cost_usd:,.0f} USD a year"
        if self.horizon is not None:
            cost = f"{self.horizon.levelised_usd_per_year:,.0f} USD a year levelised"
        return f"Plan({self.name!r}, {self.gpus:,} GPUs, {cost}, {self.status})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """The plan in a notebook: what to get, what it costs, and how far it is proven."""
        from tokenfleet.report.page.notebook import fragment  # noqa: PLC0415 (reads this module)

        return fragment(self)

    @property
    def proven(self) -> bool:
        """Whether no plan is better by more than the gap that was asked for."""
        return self.status in ("optimal", "within_gap")

    @property
    def candidates(self) -> int:
        """Configurations that fit memory: the evaluated ones and those that a bound left out."""
        return self.candidates_evaluated + self.dropped.get("dominated", 0)

    @model_validator(mode="after")
    def _one_figure_a_block(self) -> Plan:
        blocks = len(self.blocks)
        by_block: dict[str, list[tuple[float, ...] | None]] = {
            "routing[{}].requests_per_s": [row.requests_per_s for row in self.routing],
            "unserved[{}].requests_per_s": [row.requests_per_s for row in self.unserved],
            "replicas[{}].count_by_block": [row.count_by_block for row in self.replicas],
            "systems[{}].count_by_block": [row.count_by_block for row in self.systems],
            "replicas[{}].load_by_block": [row.load_by_block for row in self.replicas],
            "sites[{}].drawn_kw_by_block": [row.drawn_kw_by_block for row in self.sites],
        }
        for key, rows in by_block.items():
            for i, figures in enumerate(rows):
                if figures is not None and len(figures) != blocks:
                    text = f"has {len(figures)} figures for {blocks} load blocks"
                    raise rejected(text, key.format(i), "plan again")
        return self

    @model_validator(mode="after")
    def _systems_are_whole(self) -> Plan:
        """As many accelerators as the systems have; at the sites of the plan."""
        each = {row.system: row.gpus for row in self.hardware}
        sites = {row.site for row in self.sites}
        for i, row in enumerate(self.systems):
            gpus = row.count * each.get(row.system, 0)
            if row.system in each and row.gpus != gpus:
                text = f"is {row.gpus}, and {row.count} of {row.system} have {gpus}"
                raise rejected(text, f"systems[{i}].gpus", "plan again")
            if row.site not in sites:
                raise rejected(f"{row.site!r} is no site", f"systems[{i}].site", "plan again")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Plan:
        """What runs, and where requests go, is of the workloads of the plan."""
        known = {row.workload for row in self.workloads}
        named = {
            "replicas": [row.workload for row in self.replicas],
            "routing": [row.workload for row in self.routing],
        }
        for table, names in named.items():
            for i, name in enumerate(names):
                if name not in known:
                    key = f"{table}[{i}].workload"
                    raise rejected(f"{name!r} is no workload", key, "plan again")
        return self

    @model_validator(mode="after")
    def _cost_adds_up(self) -> Plan:
        """The cost by item, by systems and what is no system, by workload, and by request."""
        other = {name: self.cost_items.get(name, 0.0) for name in _NO_SYSTEMS}
        power = sum(site.contracted_power_usd_per_year for site in self.sites)
        by_systems = [row.cost_items_usd for row in self.systems]
        self._same_items([*by_systems, {**other, "contracted_power": power}], "systems")
        self._same("annual_cost_usd", self.annual_cost_usd, self.cost_items.values())
        front = [row.capex_usd for row in self.systems]
        if abs(sum(front) - self.capex_usd) > 1e-6 * max(1.0, sum(front)):
            text = f"is {self.capex_usd:.6g}, and its systems add up to {sum(front):.6g}"
            raise rejected(text, "capex_usd", "plan again")
        if self.tokens_per_year_output > 0:  # else there is nobody to pay
            self._same_items([row.cost_items_usd for row in self.workloads], "workloads")
            paid = [row.cost_usd_per_year for row in self.routing]
            paid += [row.cost_usd_per_year for row in self.unserved]
            self._same("annual_cost_usd", self.annual_cost_usd, paid)
        return self

    def _same_items(self, rows: Iterable[Mapping[str, float]], of: str) -> None:
        found: dict[str, list[float]] = {item: [] for item in self.cost_items}
        for row in rows:
            for item, usd in row.items():
                found.setdefault(item, []).append(usd)
        for item, parts in found.items():
            self._same(f"cost_items.{item}", self.cost_items.get(item, 0.0), parts, of)

    def _same(self, key: str, stated: float, parts: Iterable[float], of: str = "rows") -> None:
        total = sum(parts)
        if abs(total - stated) > 1e-6 * max(1.0, sum(map(abs, self.cost_items.values()))):
            raise rejected(
                f"is {stated:.6g}, and its {of} add up to {total:.6g}", key, "plan again"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and finite numbers, under the keys of `docs/plan.md`."""
        absent = {key for key in ("horizon", "exploration") if getattr(self, key) is None}
        return self.model_dump(mode="json", by_alias=True, exclude=absent)

    def report(self, path: str | Path, *, redact: bool = False, explained: Any = None) -> None:
        """Writes the plan as a file to hand on: .html, a page; .xlsx, a sheet with live formulas.

        An existing file is replaced. What `explained`, the answer of `tf.explain`, found is shown
        too. With `redact` the names that a user gave are replaced and prices left
        out.

        Raises:
            SchemaError: another ending, or a package that is not installed.
            OSError: the file cannot be written; no half file stays.
        """
        from tokenfleet.report.write import write_report  # noqa: PLC0415 (reads this module)

        write_report(self, path, redact=redact, explained=explained)

    def table(self, name: str) -> Columns:
        """One of the plan's tables ("systems", "replicas", "routing", ...) as columns.

        `plan.table("systems").to_polars()` and `.to_pandas()` make a DataFrame of it.

        Raises:
            SchemaError: no such table; names those that there are.
        """
        plain = self.to_json()
        tables = {key: value for key, value in plain.items() if isinstance(value, list)}
        if name not in tables:
            raise SchemaError(f"a plan has no table {name!r}", did_you_mean(name, tables))
        return Columns.of(tables[name])

    @classmethod
    def from_json(cls, data: Any, source: str = "plan") -> Plan:
        """A plan from its JSON; `source` is what messages call it.

        Raises:
            SchemaError: no plan, one of another version, or a damaged one; names file and key.
        """
        if not isinstance(data, Mapping) or not is_plan(data):
            raise SchemaError(f"{source}: is not a plan: it has no systems and routing", AGAIN)
        found = data.get("schema_version")
        if found != SCHEMA_VERSION:
            text = f"{source}: schema_version: is {found!r}, should be {SCHEMA_VERSION}"
            raise SchemaError(text, AGAIN)
        try:
            return validate(cls, dict(data), source)
        except SchemaError as error:
            raise SchemaError(error.message, AGAIN) from None

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """A plan from the file that `tokenfleet plan SCENARIO -o FILE` wrote.

        Raises:
            SchemaError: as `from_json`, or the file cannot be read.
        """
        return cls.from_json(load_data(Path(path), MAX_BYTES), str(path))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """JSON Schema (2020-12) with unit and meaning of every key."""
        schema = cls.model_json_schema(by_alias=True)
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
