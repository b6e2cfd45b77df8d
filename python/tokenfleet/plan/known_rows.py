"""Rows of a plan that say how it is known: what was measured, assumed and left out, and what the
simulator said."""

from __future__ import annotations

from typing import Literal

from tokenfleet.problem_data import Role
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
from tokenfleet.schema.rows import Row

# How it is known


class KnownModel(Row):
    """What is known of one model on a system; of several layouts, of the least known."""

    model: Word = about("The model")
    cls: Word = about("How it is known, as in `slo`", alias="class")
    known: Word = about("What of it was measured")
    runs: Count = quantity("Measured runs behind it", "runs")
    tpot_bias_pct: Number = quantity("Measured over modelled time per output token, less 1", "%")
    tpot_interval80_pct: Number = quantity("80 % of measured TPOT are within this of it", "%")
    ttft_interval80_pct: Number = quantity("The same for TTFT", "%")
    capacity_interval80_pct: Number = quantity("The same for rates at capacity", "%")


class Provenance(Row):
    """Where figures of the plan come from."""

    what: Word = about("The figures")
    system: Word | None = about("System type of throughput and latency", default=None)
    cls: Word = about(
        "How they are known: user, catalog, default, measured, calibrated, modelled or inherited",
        alias="class",
    )
    source: Word = about("Where they come from")
    as_of: Word | None = about("Day of the source; null where none is stated", default=None)
    inherited_from: dict[Word, Word] = about(
        "Accelerator that a kernel's efficiency is taken from, by kernel", default={}
    )
    engine_version: Word | None = about("Version of the engine that will run", default=None)
    models: tuple[KnownModel, ...] = about("What is known of each model there", default=())


class Input(Row):
    """A figure that the plan was reckoned with, and whose it is."""

    what: Word = about("Its path in the scenario, with the ids of rows in brackets")
    value: Number | Word = about("The figure")
    unit: Word = about("Its unit")
    assumed: Flag = about("Left blank by the scenario: a typical figure or a default stands there")
    source: Word = about("The scenario, or where the figure comes from")
    as_of: Word | None = about("Day of the source; null where none is stated")
    note: Word | None = about("What the source says of the figure's limits")


class Notice(Row):
    """Something to know before signing. Rows of one kind say the same of several systems."""

    kind: Word = about("What it is about, so that rows can be grouped")
    text: Word = about("The warning, as a sentence")
    system: Word | None = about("System type that it is about; null: none", default=None)
    share: Number | None = quantity("Share of the accelerators that it is about", "1", default=None)


class NotConsidered(Row):
    """Something the plan was not made over."""

    what: Word = about("What was left out")
    reason: Word = about("Why")


class Origin(Row):
    """Fingerprints of what the plan was made from, by which `simulate` knows its scenario."""

    source: Word = about("The scenario's file")
    scenario_sha256: Word = about("SHA-256 of the scenario's own fields, without solver settings")
    model_sha256: Word | None = about(
        "SHA-256 of all that the core was given: catalog, calibration and version; null for "
        "measured columns"
    )


# What the simulator said


class SimulatedLimit(Row):
    """A latency limit beside what was simulated."""

    cls: Word = about("Class that it holds for", alias="class")
    metric: Metric = about("What is limited, as in `slo`")
    percentile: Percentile = about("Percentile of the requests, or their mean")
    limit_ms: NonNegative = quantity("The limit", "ms")
    simulated_ms: Number | None = quantity("What was simulated", "ms")
    half_width_ms: Number | None = quantity("Half of its 95 % interval", "ms")
    within: Number | None = quantity("Share of requests within the limit", "1")
    within_half_width: Number | None = quantity("Half of its 95 % interval", "1")
    target: Number | None = quantity("Share that must be within it; null for a mean", "1")
    verdict: Literal["failed", "held", "unclear"] = about(
        "With 95 % confidence; unclear where the interval holds both"
    )


class FailedReplicas(Row):
    """Replicas of which a limit failed in the simulation."""

    workload: Word = about("Workload that they serve")
    site: Word = about("Where they run")
    system: Word = about("System type that they run on")
    pool: Word = about("Pool of systems that they run on")
    role: Role = about("Both phases, or one of two pools")
    candidate: Count = about("Layout, as in `replicas`")
    block: Count = about("Load block")
    arrivals: Word = about("Requests that came: drawn, or those of a trace")
    replicas: Count = quantity("How many there were", "replicas")
    limit: SimulatedLimit = about("The limit that failed by most")
    load_factor: Number | None = quantity(
        "How much more load a request was taken to be from then on; null where none helps", "1"
    )


class Attainment(Row):
    """Requests of a class that met every limit in the simulation."""

    workload: Word = about("The workload")
    cls: Word = about("The class", alias="class")
    attainment: Number | None = quantity("Share of requests within every limit", "1")


class Round(Row):
    """One plan on the way, and what the simulator said of it."""

    round: Count = about("Number of the round, from 1")
    objective_value: Number = quantity("Value of the plan", "as in `objective_unit`")
    annual_cost_usd: Number = quantity("Cost of the plan", "USD/year")
    cost_per_mtok_output_usd: Number | None = quantity("Cost of output", "USD/Mtok")
    cost_per_mtok_good_output_usd: Number | None = quantity(
        "Cost of output of requests within every limit", "USD/Mtok"
    )
    gpus: Count = quantity("Accelerators of the plan", "accelerators")
    groups: Count = quantity("Groups of equal replicas that were simulated", "groups")
    failed: tuple[FailedReplicas, ...] = about("Replicas of which a limit failed")
    limits_unclear: Count = quantity("Limits whose verdict is open", "limits")
    good_share: Number | None = quantity("Share of output tokens within every limit", "1")
    trace_good_share: Number | None = quantity("The same on the trace; null without one", "1")
    attainment: tuple[Attainment, ...] = about("Share of requests within every limit, by class")


class Position(Row):
    """How far a round was when Ctrl-C came."""

    round: Count = about("Number of the round")
    groups_judged: Count = quantity("Groups that were simulated", "groups")
    groups: Count = quantity("Groups to simulate", "groups")


class Verification(Row):
    """Rounds of simulation, and the price of certainty: last round less first."""

    method: Literal["brief", "simulate"] = about(
        "How the plan was verified: in brief, the largest groups by few requests, or in full"
    )
    judged_share: Number | None = quantity(
        "Share of the accelerators that were simulated, last round", "1", default=None
    )
    interrupted: Position | None = about("Where Ctrl-C came; null: it did not", default=None)
    holds: Flag | None = about("Whether every limit holds; null where it was not judged to the end")
    rounds: tuple[Round, ...] = about("The rounds")
    requests: Count = quantity("Simulated requests of a group and replication", "requests")
    replications: Count = quantity("Replications", "replications")
    seed: Count = about("Seed of the first replication")
    trace: Word | None = about("Trace that was replayed; null: none")
    unverified_good_share: Number | None = quantity(
        "Share of output tokens within every limit, first round", "1"
    )
    verified_good_share: Number | None = quantity("The same, last round", "1")
    unverified_trace_good_share: Number | None = quantity("On the trace, first round", "1")
    verified_trace_good_share: Number | None = quantity("On the trace, last round", "1")
    price_of_certainty_usd: Number | None = quantity("Cost", "USD/year")
    price_of_certainty_per_mtok_output_usd: Number | None = quantity("Cost of output", "USD/Mtok")
    price_of_certainty_objective: Number | None = quantity("Value", "as in `objective_unit`")


class Undecided(Row):
    """A choice between system types that the model's error leaves open."""

    taken: tuple[Word, ...] = about("System types of the plan that the other answer does without")
    instead: tuple[Word, ...] = about("Those of the other answer that the plan does without")
    measure: tuple[Word, ...] = about("Runs that would settle it, each in a sentence")


class OtherAnswer(Row):
    """The best plan at another confidence: at the model's expectation, or, beside that, held."""

    confidence: Number | None = quantity("Of the other plan; null: expected", "1")
    same_plan: Flag = about(
        "The plan itself, which keeps its limits at the expectation too: the search there found "
        "none that is better"
    )
    objective_value: Number | None = quantity(
        "Its value; null: no plan was found", "as in `objective_unit`"
    )
    gap: NonNegative | None = quantity(
        "Value to bound of the search at that confidence, over the value; null: no bound", "1"
    )
    annual_cost_usd: Number | None = quantity("Its cost; null: no plan was found", "USD/year")
    gpus: Count | None = quantity("Its accelerators; null: no plan was found", "accelerators")
    systems: dict[Word, Count] = quantity("Its systems by type", "systems")
    undecided: Undecided | None = about("Where the two choose different types; null: they do not")
