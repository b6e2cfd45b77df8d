"""Re-checks the promises of a plan at its confidence by another way than the search took.

The search hands the core a factor on times for every kind of layout. Here the core knows no
factor: it is asked for the latency of every replica of the plan under requests that are as many
times more, and its answer is multiplied and held against the limits. Both ways must agree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet import _core
from tokenfleet.mix.result import MixResult
from tokenfleet.problem import Built
from tokenfleet.problem.knowledge import Judge, time_factors, without_factors
from tokenfleet.problem.specification import PERCENTILES, Specification
from tokenfleet.problem_data import FloatArray
from tokenfleet.schema import Slo
from tokenfleet.verify.mix import Violation
from tokenfleet.verify.routed import Load, loads, replica_answer

_AGREE = 1e-6  # relative; quantiles are found more finely
_AGREE_SHARE = 1e-4  # the same of a share of requests, which falls steeply with the time
_LEVELS = (math.nan, 0.5, 0.9, 0.95, 0.99)


def verify_latency(built: Built, result: MixResult) -> list[Violation]:
    """Limits that a plan's replicas break at its confidence, though the search said they hold."""
    spec = built.specification
    if spec is None or not any("time_factors" in w for w in spec.data["workloads"]):
        return []
    core = _core.Space(json.dumps(without_factors(spec).data))
    judge = Judge(built.loaded, spec)
    found: list[Violation] = []
    for load in loads(result):
        if replica_answer(built, result, load)["broken"] is None:
            replica = _replica(built, result, load, core, judge)
            found += _broken(spec, replica, load)
    return found


@dataclass(frozen=True)
class _Replica:
    """A replica's latencies as the bare core has them, and the factors on them."""

    workload: int
    role: str
    split: float
    round_trip_s: list[float]  # by class; the pool that decodes does not pay it
    answer: Any
    factors: dict[str, float]

    def share(self, slo: Slo) -> float:
        """Part of a limit that the role has to keep; 0 where it has none."""
        if self.role == "serve":
            return 1.0
        if slo.metric == "tpot":
            return float(self.role == "decode")
        return self.split if self.role == "prefill" else 1.0 - self.split

    def value_s(self, slo: Slo, i: int, k: int, later_tokens: float) -> float:
        """The limited time of class k at percentile i."""
        if self.answer["ttft_s"] is None:
            return math.inf
        way = self.round_trip_s[k]
        ttft_s = self.factors["ttft"] * (self.answer["ttft_s"][k][i] - way) + way
        tpot_s = [self.factors["tpot"] * t for t in self.answer["tpot_s"][k]]
        if slo.metric == "tpot":
            return float(tpot_s[i])
        whole = slo.metric == "e2e" and self.role != "prefill"
        return float(ttft_s + (later_tokens * tpot_s[0] if whole else 0.0))


def _replica(
    built: Built, result: MixResult, load: Load, core: _core.Space, judge: Judge
) -> _Replica:
    candidate = result.problem.candidates[load.candidate]
    label: dict[str, Any] = candidate.label
    factors = time_factors(judge.of(candidate.workload, label), built.loaded.scenario.sure)
    more = factors["prefill_load" if candidate.role == "prefill" else "load"]
    number, group = built.origins[candidate.id]
    assert built.specification is not None
    way = built.specification.data["workloads"][candidate.workload]["round_trip_s"][group]
    return _Replica(
        workload=candidate.workload,
        role=candidate.role,
        split=label["ttft_split"] or 0.0,
        round_trip_s=[0.0] * len(way) if candidate.role == "decode" else way,
        answer=core.recheck(number, group, load.rates * more, load.replicas),
        factors=factors,
    )


def _broken(spec: Specification, replica: _Replica, load: Load) -> Iterator[Violation]:
    workload = spec.workloads[replica.workload]
    for slo in workload.slos:
        limit_s = replica.share(slo) * slo.limit_ms / 1e3
        i = PERCENTILES.index(slo.percentile)
        if limit_s == 0.0:
            continue
        served = {
            k: c.id
            for k, c in enumerate(spec.classes[replica.workload])
            if load.rates[k] > 0 and slo.cls in (None, c.id)
        }
        times_s = {k: _times_s(spec, replica, slo, k) for k in served}
        together = slo.over == "workload" and slo.cls is None and len(served) > 1
        if together and slo.percentile != "mean":
            late = sum(load.rates[k] * _later(times_s[k], limit_s) for k in served)
            allowed = (1.0 - _LEVELS[i]) * sum(load.rates[k] for k in served)
            if late > allowed * (1.0 + _AGREE_SHARE):
                rule = "late requests/s at its confidence"
                yield Violation(rule, f"workload {workload.id}, {slo.metric}", late - allowed)
            continue
        values = {name: float(times_s[k][i]) for k, name in served.items()}
        if together:
            rates = [load.rates[k] for k in served]
            values = {"all": float(np.average([times_s[k][i] for k in served], weights=rates))}
        for name, value_s in values.items():
            if value_s > limit_s * (1.0 + _AGREE):
                where = f"workload {workload.id}, class {name}, {slo.metric}"
                yield Violation("latency at its confidence, s", where, value_s - limit_s)


def _times_s(spec: Specification, replica: _Replica, slo: Slo, k: int) -> FloatArray:
    """The limited time of class k: mean, p50, p90, p95, p99."""
    lengths = spec.data["workloads"][replica.workload]["classes"][k]["output"]["at"]
    return np.array([replica.value_s(slo, i, k, max(n - 1.0, 0.0)) for i, n in enumerate(lengths)])


def _later(times_s: FloatArray, limit_s: float) -> float:
    """Share of requests with these percentiles that are later than the limit.

    The logarithm of the share is straight between percentiles, and goes on as straight beyond the
    last; all are later from half of p90 - p50 below the median on.
    """
    p50, p90, p95, p99 = times_s[1:].tolist()
    if limit_s < p50:
        reach = 0.5 * (p90 - p50)
        return min(0.5 + 0.5 * (p50 - limit_s) / reach, 1.0) if reach > 0 else 1.0
    known = np.array([p50, p90, p95, p99])
    if limit_s <= p99:
        return float(np.exp(np.interp(limit_s, known, np.log([0.5, 0.1, 0.05, 0.01]))))
    if p99 <= p95:
        return 0.0
    return float(0.01 * 5.0 ** -((limit_s - p99) / (p99 - p95)))
