"""`simulate`: a plan and its scenario in, what the simulator says of the plan out.

read plan ▸ match scenario ▸ groups of a load block ▸ simulate each ▸ tables
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tokenfleet.catalog import Catalog
from tokenfleet.errors import SchemaError
from tokenfleet.problem.specification import Specification
from tokenfleet.problem_data import FloatArray
from tokenfleet.scenario.load import ScenarioSource
from tokenfleet.simulation import tables
from tokenfleet.simulation.arrivals import (
    TraceSource,
    arrivals_in,
    loads_of,
    run_group,
    run_whole,
    words_of,
)
from tokenfleet.simulation.bench import Bench, PlanSource, open_bench
from tokenfleet.simulation.fleet import Whole
from tokenfleet.simulation.result import Row, Simulation
from tokenfleet.simulation.run import Simulated
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.simulation.standing import Group, crews_of, groups_of, peak_block
from tokenfleet.simulation.traffic import (
    LengthsFrom,
    PrefixesFrom,
    TraceLoad,
)

Progress = Callable[[int, int], None]


def simulate(
    plan: PlanSource,
    scenario: ScenarioSource | None = None,
    *,
    block: int | None = None,
    trace: TraceSource = None,
    lengths: LengthsFrom = "auto",
    prefixes: PrefixesFrom = "auto",
    settings: SimulationSettings | None = None,
    whole: Whole | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Holds a plan against the request-level simulator, in one load block (the busiest).

    `plan` is a `Plan`, its JSON or the file of it; `scenario` the one it was made from (by default
    the file that the plan names), read on top of `catalog`. Without a `trace`, requests are drawn;
    with `settings.day` their rates follow the workload's load over a day.

    The arrivals of a `trace`, for all workloads or for those named, are played to the replicas of
    the block at the workload's mean rate over the year, because a trace has peaks of its own (at
    the block's rate if a `block` is asked for). `lengths` says whether token counts are the trace's
    or the classes' (`auto`: the trace's where the scenario derives its classes from measured
    lengths), `prefixes` whether prefix caches go by the blocks of the trace or by the classes' hit
    rates (`auto`: the trace's where it has some and its lengths are taken). With
    `settings.trace_share` below 1 the other requests are drawn.

    With `whole`, the groups of each workload are simulated together as well, with spill-over and
    failures; so are pools that only prefill or only decode. `progress(done, total)` counts replica
    groups. Ctrl-C returns what was simulated so far, with `interrupted` set.

    Raises:
        SchemaError: plan, scenario or trace cannot be used together; names file and row.
    """
    begun = time.perf_counter()
    settings = settings or SimulationSettings()
    settings.check()
    _check_day(settings, trace)
    if settings.day and settings.hours is None:
        settings = replace(settings, hours=24.0)
    bench = open_bench(plan, scenario, catalog)
    whole_year = block is None
    block = peak_block(bench.plan) if block is None else block
    groups = groups_of(bench.plan, bench.spec, block)
    served = [g for g in groups if g.replica.role == "serve"]
    together = _together(groups, whole)
    if not served and not together:
        raise SchemaError(
            f"{bench.name}: has nothing that can be simulated in load block {block}",
            "replicas are simulated, hosted APIs are not",
        )
    loads = loads_of(bench.loaded, bench.spec, trace, lengths, prefixes)
    here = {g.workload for g in groups}
    paced = here if settings.day else here & set(loads) if whole_year else set()
    arrivals = arrivals_in(bench, groups, block, loads, paced, day=settings.day)
    done: list[Simulated] = []
    fleets: list[Row] = []
    interrupted = False
    steps = len(served) + len(together)
    try:
        for i, group in enumerate(served):
            if progress is not None:
                progress(i, steps)
            one = run_group(bench, group, settings, arrivals)
            if one.measured:
                done.append(one)
            if one.interrupted:
                raise KeyboardInterrupt
        for i, crew in enumerate(together):
            if progress is not None:
                progress(len(served) + i, steps)
            fleet = run_whole(bench, crew, settings, whole or Whole(spill=False), arrivals)
            if any(row["arrived"] for row in fleet["classes"]):
                fleets.append(fleet)
            if fleet["interrupted"]:
                raise KeyboardInterrupt
        if progress is not None:
            progress(steps, steps)
    except KeyboardInterrupt:
        interrupted = True
    return Simulation(
        name=bench.plan.name,
        block=block,
        scale=settings.scale,
        arrivals=words_of(settings, loads),
        seed=settings.seed,
        replications=settings.replications,
        interrupted=interrupted,
        groups_total=len(served),
        latency=tables.latency_rows(bench.spec, done),
        limits=tables.limit_rows(bench.plan, bench.spec, done),
        groups=tables.group_rows(done, _blocks(loads)),
        sites=tables.site_rows(bench.plan, bench.spec, done, block),
        delivered=tables.delivered(
            bench.plan,
            bench.spec,
            class_attainment(bench.spec, _alone(done, fleets, whole), fleets),
            settings.scale,
            interrupted=interrupted,
        ),
        fleets=tuple(fleets),
        not_simulated=_not_simulated(bench, block),
        warnings=(*_warnings(bench, done, loads, settings), *_fleet_warnings(fleets, whole)),
        seconds=time.perf_counter() - begun,
    )


def _check_day(settings: SimulationSettings, trace: object) -> None:
    if settings.day and trace is not None:
        raise SchemaError(
            "a day curve and a trace at once: a trace has a load over time of its own",
            "give one of them",
        )


def _blocks(loads: Mapping[int, TraceLoad]) -> dict[int, tuple[int, float]]:
    """Tokens in a block, and hits of a cache without end, where caches go by the trace's blocks."""
    return {
        w: (load.prefixes.tokens, load.unlimited_hit_rate())
        for w, load in loads.items()
        if load.prefixes is not None
    }


def _together(groups: Sequence[Group], whole: Whole | None) -> list[Sequence[Group]]:
    """Groups that are simulated as one fleet: all of a workload, or pools of one role that answer
    each other's prompts."""
    if whole is None:
        return [crew.groups for crew in crews_of(groups)]
    found: dict[int, list[Group]] = {}
    for group in groups:
        found.setdefault(group.workload, []).append(group)
    return [found[w] for w in sorted(found)]


def _alone(
    done: Sequence[Simulated], fleets: Sequence[Row], whole: Whole | None
) -> list[Simulated]:
    """Groups that no fleet has simulated as well."""
    twice = set() if whole is None else {fleet["workload"] for fleet in fleets}
    return [s for s in done if s.group.replica.workload not in twice]


def _fleet_warnings(fleets: Sequence[Row], whole: Whole | None) -> Iterable[str]:
    for fleet in fleets:
        name = fleet["workload"]
        if whole is not None and whole.failures is not None and not fleet["failures"]:
            yield f"{name}: no replica failed in the measured time; measure longer with hours"
        if 2 * fleet["unstable_replications"] > fleet["replications"]:
            yield f"{name}: its groups together are unstable: the queue grows without end"


def class_attainment(
    spec: Specification, groups: Sequence[Simulated], fleets: Iterable[Row]
) -> dict[tuple[str, str], float]:
    """Share of good requests by (workload, class), groups and fleets by what they serve."""
    parts = [
        (row["workload"], row) for row in tables.latency_rows(spec, groups) if row["site"] is None
    ]
    parts += [(fleet["workload"], row) for fleet in fleets for row in fleet["classes"]]
    rates: dict[tuple[str, str], FloatArray] = {}
    for workload, row in parts:
        sums = rates.setdefault((workload, row["class"]), np.zeros(2))
        rate = row["offered_requests_per_s"]
        sums += (rate, rate * row["attainment"])
    return {key: float(good / rate) for key, (rate, good) in rates.items()}


def _not_simulated(bench: Bench, block: int) -> tuple[Row, ...]:
    return tuple(
        {
            "what": f"{r.workload}, class {r.cls}, by the API {r.api}",
            "requests_per_s": r.requests_per_s[block],
            "why": "a hosted API answers for its own latency; its requests count as good",
        }
        for r in bench.plan.routing
        if r.api is not None and r.requests_per_s[block] > 0
    )


def _warnings(
    bench: Bench,
    done: Sequence[Simulated],
    loads: Mapping[int, TraceLoad],
    settings: SimulationSettings,
) -> Iterable[str]:
    thinned = sum(s.replicas < s.group.count for s in done)
    if thinned:
        yield (
            f"{thinned} groups were simulated with fewer replicas under the same load each: "
            "fewer replicas share a queue less well, which errs on the safe side"
        )
    unstable = [s.group.name for s in done if s.unstable]
    for name in unstable[:5]:
        yield f"{name}: unstable, its queue grows without end; latencies depend on how long it ran"
    if len(unstable) > 5:
        yield f"{len(unstable) - 5} more groups are unstable"
    if settings.trace_share < 1 and any(load.prefixes for load in loads.values()):
        yield "requests drawn among a trace's find the share of their class in prefix caches"
    if settings.replications == 1:
        yield "one replication: no intervals"
    for w, load in sorted(loads.items()):
        for text in load.trace.warnings:
            yield f"{bench.spec.workloads[w].id}: {text}"
