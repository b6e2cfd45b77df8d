"""All groups of a workload behind one router: spill-over, one-role pools, failures, over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet import _core
from tokenfleet.errors import SchemaError
from tokenfleet.plan.rows import ALL_REQUESTS
from tokenfleet.problem.specification import PERCENTILES, Specification
from tokenfleet.problem_data import SECONDS_PER_HOUR, FloatArray
from tokenfleet.schema import Slo
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.run import (
    DAY_S,
    MOST_TIMES,
    interruptible,
    measured_for,
    refuse_endless,
    warm_up_s,
)
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.simulation.standing import Group
from tokenfleet.simulation.tables import is_over_all, judged_limit, ms
from tokenfleet.simulation.traffic import Replay, TraceLoad, deal

Row = dict[str, Any]
_MOST_FAILURES = 10**8  # of a workload's replicas in all replications


@dataclass(frozen=True)
class Failures:
    """Failures of each replica by itself; both times are exponential."""

    mtbf_h: float  # mean time between repair and failure
    mttr_h: float  # mean time to repair

    def __post_init__(self) -> None:
        if not (0 < self.mtbf_h < 1e12 and 0 < self.mttr_h < 1e12):
            raise SchemaError(
                f"failures: {self.mtbf_h:g}:{self.mttr_h:g} should be two numbers above zero",
                "give hours between failures and hours of a repair, as 2000:6",
            )


@dataclass(frozen=True)
class Whole:
    """How the groups of a workload are simulated together."""

    spill: bool = True  # to another group, where every place of the planned one is taken
    failures: Failures | None = None


@dataclass(frozen=True)
class _Crew:
    """The replicas of a workload that are simulated."""

    groups: Sequence[Group]
    replicas: Sequence[int]
    shares: Sequence[FloatArray]  # (K,) requests/s of each group
    rates: FloatArray  # (K,) that come


def simulate_whole(
    core: Any,
    spec: Specification,
    groups: Sequence[Group],
    pairs: Sequence[Pairs],
    settings: SimulationSettings,
    *,
    whole: Whole,
    load: TraceLoad | None = None,
    totals: FloatArray | None = None,
    day: Sequence[float] | None = None,
) -> Row:
    """Simulates all groups of one workload, routed by the plan's shares.

    Prompts that a pool of one role has read are answered by its partners. `day` are weights of the
    drawn rates in equal parts of a day. Ctrl-C ends it and keeps what was simulated so far
    (`interrupted`).

    Raises:
        SchemaError: the core refuses the fleet; names the workload.
    """
    answering = [g for g in groups if g.replica.role != "prefill"]
    warm_s = max(warm_up_s(core, spec, g, settings.scale) for g in answering)
    crew = _crew(groups, settings, warm_s)
    measured = measured_for(settings, float(crew.rates.sum()), warm_s)
    name = spec.workloads[groups[0].workload].id
    refuse_endless(f"workload {name}", settings, measured, replayed=load is not None)
    requests, warmup = measured.requests, measured.warmup
    replay = None
    if load is not None and totals is not None:
        replay = _replay(load, crew, totals, pairs, requests=int(requests * (1.0 + warmup)),
                         settings=settings)  # fmt: skip
    alone = replay is not None and settings.trace_share == 1.0
    warmup = warmup / (1.0 + warmup) if alone else warmup
    failures = whole.failures
    if failures is not None:
        refuse_endless_failures(name, failures, settings, measured.span_s * sum(crew.replicas))
    fleet = {
        "groups": _described(crew),
        "router": "plan",
        "spill": whole.spill,
        "arrivals": _arrivals(crew, settings, replay is not None, day),
        "failures": None
        if failures is None
        else {"mtbf_h": failures.mtbf_h, "mttr_h": failures.mttr_h, "restart": True},
        "requests": None if alone else requests,
        "warmup": warmup,
        "replications": settings.replications,
        "seed": groups[0].seed(settings.seed),
    }
    stop = _core.StopFlag()
    try:
        found, interrupted = interruptible(
            lambda: _core.simulate_fleet(
                core,
                fleet,
                lengths=list(pairs),
                trace=None
                if replay is None
                else (replay.times_s, replay.classes, replay.inputs, replay.outputs),
                hashes=replay.hashes if replay is not None and alone else None,
                threads=settings.threads,
                stop=stop,
            ),
            stop,
        )
    except ValueError as error:
        raise SchemaError(f"workload {name}: {error}", "check the plan and its scenario") from None
    return _row(spec, crew, {**found, "interrupted": interrupted})


def refuse_endless_failures(
    name: str, failures: Failures, settings: SimulationSettings, replica_s: float
) -> None:
    """Refuses failures so often that nothing else would be simulated.

    Raises:
        SchemaError: says how many that would be.
    """
    every_s = (failures.mtbf_h + failures.mttr_h) * SECONDS_PER_HOUR
    number = settings.replications * replica_s / every_s
    if number > _MOST_FAILURES:
        raise SchemaError(
            f"workload {name}: failures {failures.mtbf_h:g}:{failures.mttr_h:g} would be "
            f"{number:.3g} failures; at most {_MOST_FAILURES:.0e} are simulated",
            "give hours between failures and hours of a repair, as 2000:6",
        )


def _crew(groups: Sequence[Group], settings: SimulationSettings, warm_s: float) -> _Crew:
    """All replicas, or the same part of every group where they would serve too many requests.

    Pools of one role are kept whole: rounding would upset the balance between them.
    """
    served = [g for g in groups if g.replica.role != "prefill"]
    rate = sum(float(g.rates.sum()) for g in served) * settings.scale
    part = min(1.0, MOST_TIMES * settings.needed / (rate * 3.0 * warm_s))
    if any(g.replica.role != "serve" for g in groups) or settings.hours is not None:
        part = 1.0
    replicas = [max(1, round(g.count * part)) for g in groups]
    shares = [
        g.rates * (settings.scale * n / g.count) for g, n in zip(groups, replicas, strict=True)
    ]
    rates = np.sum(
        [s for g, s in zip(groups, shares, strict=True) if g.replica.role != "prefill"], axis=0
    )
    return _Crew(groups, replicas, shares, rates)


def _arrivals(
    crew: _Crew, settings: SimulationSettings, traced: bool, day: Sequence[float] | None
) -> list[Row]:
    """Streams of requests: drawn ones, a trace, or both."""
    trace: Row = {"kind": "trace", "scale": 1.0}
    share = 1.0 - settings.trace_share if traced else 1.0
    drawn: Row = {
        "kind": "drawn",
        "rates": (crew.rates * share).tolist(),
        "burstiness": settings.burstiness,
        "curve": None if day is None else {"weights": list(day), "period_s": DAY_S},
    }
    return [*([trace] if traced else []), *([drawn] if share > 0 else [])]


def _described(crew: _Crew) -> list[Row]:
    sites = sorted({g.replica.site for g in crew.groups})
    partners = sorted({g.partner for g in crew.groups}, key=repr)
    return [
        {
            "id": g.replica.configuration,
            "replicas": n,
            "site": sites.index(g.replica.site),
            "latency_group": g.replica.latency_group,
            "shares": shares.tolist(),
            "partner": partners.index(g.partner),
        }
        for g, n, shares in zip(crew.groups, crew.replicas, crew.shares, strict=True)
    ]


def _replay(
    load: TraceLoad,
    crew: _Crew,
    totals: FloatArray,
    pairs: Sequence[Pairs],
    *,
    requests: int,
    settings: SimulationSettings,
) -> Replay:
    first = crew.groups[0]
    one = Group(first.block, first.workload, first.replica, 1, crew.rates / settings.scale)
    return deal(
        load,
        one,
        totals,
        pairs,
        replicas=1,
        requests=max(int(requests * settings.trace_share), 1),
        seed=first.seed(settings.seed),
        scale=settings.scale * settings.trace_share,
    )


def _row(spec: Specification, crew: _Crew, found: Any) -> Row:
    workload = crew.groups[0].workload
    partial = found["interrupted"] and any(
        c["arrived"] > c["finished"] + c["rejected"] + c["lost"] for c in found["classes"]
    )
    return {
        "workload": spec.workloads[workload].id,
        "sites": sorted({g.replica.site for g in crew.groups}),
        "replicas": sum(g.count for g in crew.groups),
        "replicas_simulated": sum(crew.replicas),
        "interrupted": found["interrupted"],
        "unstable_replications": found["unstable_replications"],
        "replications": found["replications"],
        "failures": found["failures"],
        "restarted": found["restarted"],
        "requests": dict(found["conservation"]),
        "drawn_it_kw": sum(
            group["drawn_w"][0] / 1e3 * g.count / n
            for group, g, n in zip(found["groups"], crew.groups, crew.replicas, strict=True)
        ),
        "classes": [
            {
                "offered_requests_per_s": float(rate),
                **_class_row(
                    [
                        (j, slo)
                        for j, slo in enumerate(spec.workloads[workload].slos)
                        if slo.cls in (None, c.id) and not is_over_all(spec, workload, slo)
                    ],
                    c.id,
                    cell,
                    unstable=found["unstable"],
                    partial=partial,
                ),
            }
            for c, cell, rate in zip(
                spec.classes[workload], found["classes"], crew.rates, strict=True
            )
            if rate > 0
        ],
        "all_classes": {
            "offered_requests_per_s": float(crew.rates.sum()),
            **_class_row(
                [
                    (j, slo)
                    for j, slo in enumerate(spec.workloads[workload].slos)
                    if is_over_all(spec, workload, slo)
                ],
                ALL_REQUESTS,
                found["all_classes"],
                unstable=found["unstable"],
                partial=partial,
            ),
        },
        "groups": [
            _group_row(g, n, one)
            for g, n, one in zip(crew.groups, crew.replicas, found["groups"], strict=True)
        ],
        "series": found["series"],
    }


def _group_row(group: Group, replicas: int, one: Any) -> Row:
    r = group.replica
    row: Row = {name: getattr(r, name) for name in ("site", "pool", "system", "role", "candidate")}
    row["replicas_simulated"] = replicas
    for name in ("utilisation", "busy", "concurrency", "hit_rate"):
        row[name], row[f"{name}_half_width"] = one[name]
    return row


def _class_row(
    slos: Sequence[tuple[int, Slo]], name: str, cell: Any, *, unstable: bool, partial: bool
) -> Row:
    """Figures of a class, or of all together, with the verdicts on its limits by their numbers."""
    attainment, half = cell["attainment"]
    row: Row = {
        "class": name,
        "attainment": attainment,
        "attainment_half_width": half,
        "limits": [
            judged_limit(
                slo,
                cell[f"{slo.metric}_s"][PERCENTILES.index(slo.percentile)],
                cell["within"][j],
                unstable=unstable,
                partial=partial,
            )
            for j, slo in slos
        ],
        **{key: cell[key] for key in ("arrived", "finished", "rejected", "lost", "unfinished")},
    }
    for metric in ("ttft", "tpot", "e2e"):
        for i, estimate in enumerate(cell[f"{metric}_s"]):
            row[f"{metric}_{PERCENTILES[i]}_ms"] = ms(estimate)
    return row
