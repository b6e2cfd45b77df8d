"""One replica group on the simulator: how long, how many replicas, and what came out."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from tokenfleet import _core
from tokenfleet.errors import SchemaError
from tokenfleet.problem.specification import Specification
from tokenfleet.problem_data import SECONDS_PER_HOUR, FloatArray
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.simulation.standing import Group
from tokenfleet.simulation.traffic import Replay, TraceLoad, deal

# Warm-up lasts this many mean stays in the system, or one long stay if that is more.
WARM_STAYS = 3.0
# Where a group is asked more than it can do, stays are those at this share of it.
_SHARES = (1.0, 0.8, 0.5, 0.2, 0.01)
# A replication simulates at most this many times the requests asked for; larger groups are thinned
# to fewer replicas with the same load each, which have at least so many lanes to choose from.
MOST_TIMES = 10
_LEAST_LANES = 8
# Requests that one simulation draws at most in all its replications, about an hour of a processor,
# and those that one of a trace holds in memory.
_MOST_DRAWN, _MOST_REPLAYED = 10**9, 10**8
_OF_SET_UP = 100  # requests that setting up a replication takes as long as
_PER_S = 300_000  # requests that a processor simulates, about
DAY_S = 24 * SECONDS_PER_HOUR
_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Simulated:
    """A group and what the simulator says of it."""

    group: Group
    replicas: int  # simulated
    offered: FloatArray  # (K,) requests/s of the whole group, scaled
    span_s: float  # measured in each replication, about
    samples: list[list[Any]]  # by class and replication
    figures: dict[str, tuple[float, float]]  # by name, see _FIGURES
    unstable_replications: int
    replications: int
    preemptions: int
    steps: int
    conservation: dict[str, int]
    lanes: int = 1  # of one replica
    cache_tokens: float = math.nan  # of one lane
    cache_bytes: float = math.nan
    series: dict[str, list[float]] = field(default_factory=dict)  # of the first replication
    interrupted: bool = False  # by Ctrl-C: fewer replications than asked for
    partial: bool = False  # none of them came to its end: nothing can be said with confidence

    @property
    def measured(self) -> bool:
        """Whether any request was measured; not if Ctrl-C came before the end of the warm-up."""
        return any(sample["judged"] for samples in self.samples for sample in samples)

    @property
    def unstable(self) -> bool:
        """Whether the queue grew without end in most replications."""
        return 2 * self.unstable_replications > self.replications


_FIGURES = ("utilisation", "busy", "concurrency", "backlog", "hit_rate")


@dataclass(frozen=True)
class Measured:
    """How long a replication is measured."""

    span_s: float
    requests: int
    warmup: float  # before them, as a share of the requests


def simulate_group(
    core: Any,
    spec: Specification,
    group: Group,
    pairs: Sequence[Pairs],
    settings: SimulationSettings,
    *,
    load: TraceLoad | None = None,
    totals: FloatArray | None = None,
    day: Sequence[float] | None = None,
) -> Simulated:
    """Simulates a group under drawn requests, or under its part of a trace.

    `day` are weights of the drawn rates in equal parts of a day. Ctrl-C ends it and keeps what was
    simulated so far (`interrupted`).

    Raises:
        SchemaError: the core refuses the requests; names the group.
    """
    replicas, size = _size(core, spec, group, settings)
    refuse_endless(group.name, settings, size, replayed=load is not None)
    part = replicas / group.count
    offered = group.rates * settings.scale
    stop = _core.StopFlag()
    configuration = group.replica.configuration
    assert configuration is not None, "only layouts that were evaluated are simulated"
    options: dict[str, Any] = {
        "replicas": replicas,
        "router": settings.router,
        "burstiness": settings.burstiness,
        "warmup": size.warmup,
        "latency_group": group.replica.latency_group,
        "stop": stop,
    }

    def drawn() -> list[Any]:
        return [
            _core.simulate(
                core,
                configuration,
                offered * part,
                list(pairs),
                curve=None if day is None else {"weights": list(day), "period_s": DAY_S},
                requests=size.requests,
                replications=settings.replications,
                seed=group.seed(settings.seed),
                threads=settings.threads,
                **options,
            )
        ]

    def replayed() -> list[Any]:
        assert load is not None and totals is not None
        share = settings.trace_share
        asked = max(int(size.requests * (1.0 + size.warmup) * share), 1)
        others = offered * part * (1.0 - share)
        mixed = (others, list(pairs)) if share < 1 else None

        def one(number: int) -> Any:
            seed = group.seed(settings.seed + 1_000_003 * (number + 1))
            r: Replay = deal(
                load,
                group,
                totals,
                pairs,
                replicas=replicas,
                requests=asked,
                seed=seed,
                scale=settings.scale * share,
            )
            return _core.replay(
                core,
                configuration,
                (r.times_s, r.classes, r.inputs, r.outputs),
                seed=seed,
                hashes=r.hashes,
                mixed=mixed,
                **{**options, "warmup": size.warmup / (1.0 + size.warmup)},
            )

        with ThreadPoolExecutor(settings.threads or os.cpu_count()) as pool:
            return list(pool.map(one, range(settings.replications)))

    try:
        answers, interrupted = interruptible(drawn if load is None else replayed, stop)
    except ValueError as error:
        raise SchemaError(f"{group.name}: {error}", "check the plan and its scenario") from None
    return _simulated(group, replicas, size.span_s, offered, answers, interrupted=interrupted)


def _simulated(
    group: Group,
    replicas: int,
    span_s: float,
    offered: FloatArray,
    answers: Sequence[Any],
    *,
    interrupted: bool,
) -> Simulated:
    partial = all(answer["interrupted"] for answer in answers)
    if not partial:  # replications that came to their end
        answers = [answer for answer in answers if not answer["interrupted"]]
    classes = range(len(offered))
    figures = {}
    for name in _FIGURES:
        known = [answer[name] for answer in answers]
        means = np.array([mean for mean, _ in known])
        figures[name] = known[0] if len(known) == 1 else _core.estimate(means)
    total = {
        key: sum(answer["conservation"][key] for answer in answers)
        for key in ("arrived", "finished", "rejected", "in_flight")
    }
    return Simulated(
        group=group,
        replicas=replicas,
        offered=offered,
        span_s=span_s,
        samples=[[s for a in answers for s in a["classes"][k]["samples"]] for k in classes],
        figures=figures,
        unstable_replications=sum(a["unstable_replications"] for a in answers),
        replications=sum(a["replications"] for a in answers),
        preemptions=sum(a["preemptions"] for a in answers),
        steps=sum(a["steps"] for a in answers),
        conservation=total,
        lanes=answers[0]["lanes"],
        cache_tokens=answers[0]["cache_tokens"],
        cache_bytes=answers[0]["cache_bytes"],
        series=answers[0]["series"],
        interrupted=interrupted,
        partial=partial,
    )


def _size(
    core: Any, spec: Specification, group: Group, settings: SimulationSettings
) -> tuple[int, Measured]:
    """Replicas, and how long they are measured, by how long requests stay."""
    warm_s = warm_up_s(core, spec, group, settings.scale)
    each = float(group.rates.sum()) * settings.scale / group.count
    most = MOST_TIMES * settings.needed
    if settings.hours is not None:
        replicas = _thinned(group, most / (each * (warm_s + settings.hours * SECONDS_PER_HOUR)))
    else:
        replicas = _thinned(group, most / (each * 3.0 * warm_s))
    return replicas, measured_for(settings, each * replicas, warm_s)


def measured_for(settings: SimulationSettings, rate: float, warm_s: float) -> Measured:
    """The hours that were asked for, or as long as `rate` requests/s and the warm-up need."""
    if settings.hours is not None:
        span_s = settings.hours * SECONDS_PER_HOUR
    else:
        span_s = max(settings.needed / rate, 2.0 * warm_s)
    requests = max(int(np.ceil(rate * span_s)), 1)
    return Measured(span_s, requests, min(max(warm_s / span_s, 0.05), 0.95))


def refuse_endless(
    name: str, settings: SimulationSettings, size: Measured, *, replayed: bool
) -> None:
    """Refuses what nobody would wait for, before it begins.

    Raises:
        SchemaError: says how many requests that would be, how long they take, and what to lower.
    """
    each = size.requests * (1.0 + size.warmup)
    most = _MOST_REPLAYED if replayed else _MOST_DRAWN
    if (each + _OF_SET_UP) * settings.replications <= most:
        return
    total = each * settings.replications
    hours = total / _PER_S / SECONDS_PER_HOUR
    fits = (most / settings.replications - _OF_SET_UP) / each
    cure = "ask for fewer replications"
    if fits > 0 and settings.hours is not None:
        cure = f"measure at most {fits * settings.hours:,.0f} hours, or {cure}"
    elif fits > 0:
        asked = int(fits * settings.requests)
        fewer = f"ask for at most {asked:,} requests" if asked else "raise burstiness"
        cure = f"{fewer}, or {cure}"
    raise SchemaError(
        f"{name}: {each:.3g} requests in each of {settings.replications:,} replications are "
        f"{total:.3g} in all, about {hours:,.3g} hours of a processor; at most {most:.0e} are "
        "simulated",
        cure,
    )


def warm_up_s(core: Any, spec: Specification, group: Group, scale: float) -> float:
    """Seconds until a group is about in its steady state."""
    mean_s, long_s = _stays_s(core, spec, group, scale)
    return max(WARM_STAYS * mean_s, long_s)


def steps_of(core: Any, spec: Specification, group: Group, settings: SimulationSettings) -> float:
    """Engine steps that simulating a group takes, about: its lanes times how long, over a step."""
    replicas, size = _size(core, spec, group, settings)
    r = group.replica
    rates = group.rates / group.count
    answer = core.recheck(r.configuration, r.latency_group, rates, group.count)
    tpot = [] if answer["tpot_s"] is None else [t[0] for t in answer["tpot_s"] if t[0] > 0]
    span_s = settings.replications * size.span_s * (1.0 + size.warmup)
    return replicas * group.lanes * span_s / min(tpot, default=span_s)


def _thinned(group: Group, replicas: float) -> int:
    return min(group.count, max(int(replicas), math.ceil(_LEAST_LANES / group.lanes)))


def _stays_s(core: Any, spec: Specification, group: Group, scale: float) -> tuple[float, float]:
    """How long a request stays by the analytic model, s: mean, and the longest class's p99."""
    r = group.replica
    for share in _SHARES:
        rates = group.rates * (scale * share / group.count)
        answer = core.recheck(r.configuration, r.latency_group, rates, group.count)
        if answer["ttft_s"] is not None:
            break
    else:
        hint = "plan again" if scale <= 1 else f"lower the scale of {scale:g}, or plan again"
        raise SchemaError(f"{group.name}: cannot serve its classes at any load", hint)
    mean = long = 0.0
    for k, c in enumerate(spec.classes[group.workload]):
        if group.rates[k] > 0:
            ttft, tpot = answer["ttft_s"][k], answer["tpot_s"][k]
            mean += group.rates[k] * (ttft[0] + c.output_tokens.mean * tpot[0])
            long = max(long, ttft[4] + c.output_tokens.p99 * tpot[0])
    return mean / float(group.rates.sum()), long


def interruptible(work: Callable[[], _T], stop: _core.StopFlag) -> tuple[_T, bool]:
    """The work's answer, and whether Ctrl-C ended it early; a second one is let through."""
    answer: list[_T] = []
    failed: list[BaseException] = []
    done = threading.Event()  # `Thread.join` takes a thread for ended when Ctrl-C comes

    def run() -> None:
        try:
            answer.append(work())
        except BaseException as error:
            failed.append(error)
        finally:
            done.set()

    interrupted = False
    try:
        threading.Thread(target=run, daemon=True).start()
        while not done.is_set():
            try:
                done.wait(0.1)
            except KeyboardInterrupt:
                if interrupted:
                    raise
                stop.set()
                interrupted = True
    finally:
        stop.set()
    if failed:
        raise failed[0]
    return answer[0], interrupted
