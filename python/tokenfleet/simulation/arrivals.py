"""What comes to a plan in a load block: drawn requests, or those of a trace by workload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.importers.trace import Trace
from tokenfleet.plan.rows import Plan
from tokenfleet.problem.specification import Specification
from tokenfleet.problem_data import FloatArray
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import did_you_mean
from tokenfleet.simulation.bench import Bench
from tokenfleet.simulation.fleet import Whole, simulate_whole
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.result import Row
from tokenfleet.simulation.run import Simulated, simulate_group
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.simulation.standing import Group
from tokenfleet.simulation.traffic import (
    LengthsFrom,
    PrefixesFrom,
    TraceLoad,
    totals_of,
    trace_load,
)

TraceSource = str | Path | Trace | Mapping[str, str | Path | Trace] | None


@dataclass(frozen=True)
class Arrivals:
    """What comes, and on which part of the year."""

    loads: Mapping[int, TraceLoad]  # traces by workload
    totals: Mapping[int, FloatArray]  # requests/s of the block, by workload
    paces: Mapping[int, float]  # rates over those of the block
    day: bool = False

    def day_of(self, bench: Bench, workload: int) -> list[float] | None:
        """Weights of a workload's rates over a day; None where they are even."""
        return bench.day(workload) if self.day else None

    def totals_for(self, group: Group) -> FloatArray | None:
        """The workload's requests/s; more where a group in another's place takes more than all."""
        totals = self.totals.get(group.workload)
        if totals is None:
            return None
        share = np.divide(group.rates, totals, out=np.zeros_like(totals), where=totals > 0)
        return totals * max(1.0, float(share.max()))


def arrivals_in(
    bench: Bench,
    groups: Sequence[Group],
    block: int,
    loads: Mapping[int, TraceLoad],
    paced: Iterable[int],
    *,
    day: bool = False,
) -> Arrivals:
    """What comes in a load block; the workloads `paced` at their mean rate over the year."""
    totals = totals_of(groups, _api_rates(bench.plan, bench.spec, block))
    return Arrivals(loads, totals, {w: _pace_of(bench, w, block) for w in paced}, day)


def run_group(
    bench: Bench, group: Group, settings: SimulationSettings, arrivals: Arrivals
) -> Simulated:
    """Simulates one group, under its workload's trace if that has one."""
    w = group.workload
    settings, pairs = _paced(bench, w, settings, arrivals)
    return simulate_group(
        bench.core,
        bench.spec,
        group,
        pairs,
        settings,
        load=arrivals.loads.get(w),
        totals=arrivals.totals_for(group),
        day=arrivals.day_of(bench, w),
    )


def run_whole(
    bench: Bench,
    crew: Sequence[Group],
    settings: SimulationSettings,
    whole: Whole,
    arrivals: Arrivals,
) -> Row:
    """Simulates groups as one fleet, in the same way."""
    w = crew[0].workload
    settings, pairs = _paced(bench, w, settings, arrivals)
    return simulate_whole(
        bench.core,
        bench.spec,
        crew,
        pairs,
        settings,
        whole=whole,
        load=arrivals.loads.get(w),
        totals=arrivals.totals.get(w),
        day=arrivals.day_of(bench, w),
    )


def _paced(
    bench: Bench, workload: int, settings: SimulationSettings, arrivals: Arrivals
) -> tuple[SimulationSettings, tuple[Pairs, ...]]:
    """Settings at the workload's pace, and lengths to draw from."""
    scale = settings.scale * arrivals.paces.get(workload, 1.0)
    return replace(settings, scale=scale), bench.pairs(workload, settings.seed)


def _api_rates(plan: Plan, spec: Specification, block: int) -> dict[int, FloatArray]:
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


def _pace_of(bench: Bench, workload: int, block: int) -> float:
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


def loads_of(
    loaded: LoadedScenario,
    spec: Specification,
    trace: TraceSource,
    lengths: LengthsFrom = "auto",
    prefixes: PrefixesFrom = "auto",
) -> dict[int, TraceLoad]:
    """Traces by workload: one for all of them, or those named.

    Raises:
        SchemaError: an unknown workload, a file that is no trace, or as `trace_load`.
    """
    if trace is None:
        return {}
    ids = [w.id for w in spec.workloads]
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
        found[w] = trace_load(read, loaded, spec, w, source=lengths, prefixes=prefixes)
    return found


def _read(source: str | Path | Trace) -> Trace:
    if isinstance(source, Trace):
        return source
    from tokenfleet.importers.detect import import_file  # noqa: PLC0415 (loads every format)

    found = import_file(Path(source))
    if found.trace is None:
        raise SchemaError(
            f"{source}: is no request trace but {found.kind}",
            "give an Azure, Mooncake or BurstGPT trace",
        )
    return found.trace


def words_of(settings: SimulationSettings, loads: Mapping[int, TraceLoad]) -> str:
    """What comes, in a few words."""
    drawn = "Poisson"
    if settings.burstiness != 1.0:
        drawn = f"Gamma times of shape {settings.burstiness:g}"
    if not loads:
        return f"{drawn}, over a day" if settings.day else drawn
    traces = "; ".join(sorted({load.trace.source for load in loads.values()}))
    share = settings.trace_share
    return traces if share == 1.0 else f"{share:.0%} of {traces}, {1 - share:.0%} {drawn}"
