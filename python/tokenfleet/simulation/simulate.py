"""`simulate`: a plan and its scenario in, what the simulator says of the plan out.

read plan ▸ match scenario ▸ groups of a load block ▸ simulate each ▸ tables
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.importers.detect import import_file
from tokenfleet.importers.trace import Trace
from tokenfleet.plan import Plan
from tokenfleet.problem.build import respecify
from tokenfleet.problem.load_blocks import day_weights
from tokenfleet.problem.specification import Specification
from tokenfleet.problem_data import FloatArray
from tokenfleet.scenario_file import LoadedScenario, load_scenario
from tokenfleet.schema import Scenario, did_you_mean
from tokenfleet.simulation import tables
from tokenfleet.simulation.fleet import Whole, simulate_whole
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.plan_file import PlanFile, check_match, read_plan, scenario_path
from tokenfleet.simulation.result import Row, Simulation
from tokenfleet.simulation.run import Simulated, SimulationSettings, simulate_group
from tokenfleet.simulation.standing import Group, crews_of, groups_of, peak_block
from tokenfleet.simulation.traffic import (
    LengthsFrom,
    PrefixesFrom,
    TraceLoad,
    pairs_of,
    totals_of,
    trace_load,
)

PlanSource = Plan | str | Path | Mapping[str, Any]
ScenarioSource = str | Path | Mapping[str, Any] | Scenario | LoadedScenario
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Bench:
    """A plan that matches its scenario, ready to be simulated."""

    plan: PlanFile
    name: str
    loaded: LoadedScenario
    spec: Specification
    core: Any
    known_pairs: dict[tuple[int, int], tuple[Pairs, ...]] = field(default_factory=dict)

    def pairs(self, workload: int, seed: int) -> tuple[Pairs, ...]:
        """Lengths to draw from, made once."""
        key = (workload, seed)
        if key not in self.known_pairs:
            self.known_pairs[key] = pairs_of(self.loaded, self.spec, workload, seed)
        return self.known_pairs[key]

    def day(self, workload: int) -> list[float]:
        """The workload's load over a day, as weights."""
        own = self.spec.workloads[workload]
        curve = self.loaded.day_curves.get(own.id)
        weights = day_weights(own.demand, None if curve is None else np.asarray(curve))
        return [float(weight) for weight in weights]


@dataclass(frozen=True)
class _Arrivals:
    """What comes, and on which part of the year."""

    loads: dict[int, TraceLoad]  # traces by workload
    totals: dict[int, FloatArray]  # requests/s of the block, by workload
    paces: dict[int, float]  # rates over those of the block
    day: bool


def simulate(
    plan: PlanSource,
    scenario: ScenarioSource | None = None,
    *,
    block: int | None = None,
    trace: str | Path | Trace | Mapping[str, str | Path | Trace] | None = None,
    lengths: LengthsFrom = "auto",
    prefixes: PrefixesFrom = "auto",
    settings: SimulationSettings | None = None,
    whole: Whole | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Holds a plan against the request-level simulator, in one load block (the busiest).

    `plan` is a `Plan`, its JSON or the file of it; `scenario` the one it was made from (by default
    the file that the plan names). Without a `trace`, requests are drawn; with `settings.day` their
    rates follow the workload's load over a day.

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
    bench = open_bench(plan, scenario)
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
    loads = _loads(bench, trace, lengths, prefixes)
    here = {g.workload for g in groups}
    paced = here if settings.day else here & set(loads) if whole_year else set()
    arrivals = _Arrivals(
        loads,
        totals_of(groups, api_rates(bench.plan, bench.spec, block)),
        {w: _pace(bench, w, block) for w in paced},
        settings.day,
    )
    done: list[Simulated] = []
    fleets: list[Row] = []
    interrupted = False
    steps = len(served) + len(together)
    try:
        for i, group in enumerate(served):
            if progress is not None:
                progress(i, steps)
            one = _run_group(bench, group, settings, arrivals)
            if one.measured:
                done.append(one)
            if one.interrupted:
                raise KeyboardInterrupt
        for i, crew in enumerate(together):
            if progress is not None:
                progress(len(served) + i, steps)
            fleet = _run_whole(bench, crew, settings, whole or Whole(spill=False), arrivals)
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
        arrivals=_arrivals(settings, loads),
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


def open_bench(plan: PlanSource, scenario: ScenarioSource | None) -> Bench:
    """Reads a plan and its scenario, and checks that they belong together.

    Raises:
        SchemaError: as `simulate`.
    """
    if isinstance(plan, Plan):
        plan = plan.to_json()
    parsed, name = read_plan(plan)
    if scenario is None:
        scenario = scenario_path(parsed, name)
    if isinstance(scenario, LoadedScenario):
        loaded = scenario
    else:  # a plan's confidence may have been asked for beside the file
        asked = {} if parsed.confidence is None else {"confidence": parsed.confidence}
        file = isinstance(scenario, str | Path)
        loaded = load_scenario(scenario, given=asked if file else None)
    spec, core = respecify(loaded)
    check_match(parsed, name, loaded, spec, core)
    return Bench(parsed, name, loaded, spec, core)


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


def _run_group(
    bench: Bench, group: Group, settings: SimulationSettings, arrivals: _Arrivals
) -> Simulated:
    """Simulates one group, under its workload's trace if that has one."""
    w = group.workload
    return simulate_group(
        bench.core,
        bench.spec,
        group,
        bench.pairs(w, settings.seed),
        replace(settings, scale=settings.scale * arrivals.paces.get(w, 1.0)),
        load=arrivals.loads.get(w),
        totals=arrivals.totals.get(w),
        day=bench.day(w) if arrivals.day else None,
    )


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


def _run_whole(
    bench: Bench,
    crew: Sequence[Group],
    settings: SimulationSettings,
    whole: Whole,
    arrivals: _Arrivals,
) -> Row:
    w = crew[0].workload
    return simulate_whole(
        bench.core,
        bench.spec,
        crew,
        bench.pairs(w, settings.seed),
        replace(settings, scale=settings.scale * arrivals.paces.get(w, 1.0)),
        whole=whole,
        load=arrivals.loads.get(w),
        totals=arrivals.totals.get(w),
        day=bench.day(w) if arrivals.day else None,
    )


def _fleet_warnings(fleets: Sequence[Row], whole: Whole | None) -> Iterable[str]:
    for fleet in fleets:
        name = fleet["workload"]
        if whole is not None and whole.failures is not None and not fleet["failures"]:
            yield f"{name}: no replica failed in the measured time; measure longer with hours"
        if 2 * fleet["unstable_replications"] > fleet["replications"]:
            yield f"{name}: its groups together are unstable: the queue grows without end"


def api_rates(plan: PlanFile, spec: Specification, block: int) -> dict[int, FloatArray]:
    """Requests/s that hosted APIs serve, by workload and class."""
    ids = [w.id for w in spec.workloads]
    rates: dict[int, FloatArray] = {}
    for route in plan.routing:
        if route.api is not None:
            w = ids.index(route.workload)
            names = [c.id for c in spec.classes[w]]
            row = rates.setdefault(w, np.zeros(len(names)))
            row[names.index(route.cls)] += route.requests_per_s[block]
    return rates


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


def _pace(bench: Bench, workload: int, block: int) -> float:
    """A workload's mean rate over the year, over its rate in the block: a trace has peaks too."""
    name = bench.spec.workloads[workload].id
    rates = np.sum(
        [
            route.requests_per_s
            for route in bench.plan.routing
            if route.workload == name and route.role != "prefill"
        ],
        axis=0,
    )
    hours = np.array([b.hours_per_year for b in bench.plan.blocks])
    return float(rates @ hours / hours.sum() / rates[block])


def _loads(
    bench: Bench,
    trace: str | Path | Trace | Mapping[str, str | Path | Trace] | None,
    lengths: LengthsFrom,
    prefixes: PrefixesFrom,
) -> dict[int, TraceLoad]:
    if trace is None:
        return {}
    ids = [w.id for w in bench.spec.workloads]
    if not isinstance(trace, Mapping):
        given = dict.fromkeys(ids, _read(trace))
    else:
        for name in trace:
            if name not in ids:
                raise SchemaError(f"trace for unknown workload {name!r}", did_you_mean(name, ids))
        given = {name: _read(value) for name, value in trace.items()}
    found = {}
    for name, read in given.items():
        w = ids.index(name)
        found[w] = trace_load(read, bench.loaded, bench.spec, w, source=lengths, prefixes=prefixes)
    return found


def _read(source: str | Path | Trace) -> Trace:
    if isinstance(source, Trace):
        return source
    found = import_file(Path(source))
    if found.trace is None:
        raise SchemaError(
            f"{source}: is no request trace but {found.kind}",
            "give an Azure, Mooncake or BurstGPT trace",
        )
    return found.trace


def _arrivals(settings: SimulationSettings, loads: Mapping[int, TraceLoad]) -> str:
    drawn = "Poisson"
    if settings.burstiness != 1.0:
        drawn = f"Gamma times of shape {settings.burstiness:g}"
    if not loads:
        return f"{drawn}, over a day" if settings.day else drawn
    traces = "; ".join(sorted({load.trace.source for load in loads.values()}))
    share = settings.trace_share
    return traces if share == 1.0 else f"{share:.0%} of {traces}, {1 - share:.0%} {drawn}"


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
