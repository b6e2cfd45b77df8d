"""What latency the plan promises: each limit beside the worst replica that serves under it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tokenfleet import _core
from tokenfleet.files.plain import finite
from tokenfleet.mix.result import MixResult
from tokenfleet.plan.rows import ALL_REQUESTS, Promise
from tokenfleet.problem import Built
from tokenfleet.problem.knowledge import (
    EXPECTED,
    Knowledge,
    add_time_factors,
    without_factors,
)
from tokenfleet.problem.specification import PERCENTILES
from tokenfleet.schema import RequestClass, Slo
from tokenfleet.verify.routed import Load, loads, replica_answer

_ALL = -1  # the same as a number


def slo_rows(built: Built, result: MixResult) -> tuple[Promise, ...]:
    """Promise and limit for every limit of every workload and class, or of all requests of the
    workload together: the worst replica and block.

    `promised_ms` holds at the confidence asked for; `expected_ms` is what the model expects of the
    same replica, and `interval_ms` holds 80 % of what would be measured at that load, by the
    calibration's residuals on runs left out of its fit. `no_earlier` holds them against a
    simulation.
    """
    if built.core is None or built.specification is None:
        return ()
    worst: dict[tuple[int, int, int], tuple[float, Load]] = {}
    for load in loads(result):
        w = result.problem.candidates[load.candidate].workload
        answer = replica_answer(built, result, load)
        for j, slo in enumerate(built.specification.workloads[w].slos):
            for k in _bound(slo, len(load.rates)):
                parts = _parts(built, (w, j, k), answer, load)
                if (k == _ALL or load.rates[k] > 0) and parts is not None:
                    known = worst.get((w, j, k))
                    if known is None or sum(parts) > known[0]:
                        worst[w, j, k] = (sum(parts), load)
    judge, expected = built.judge, expected_core(built)
    assert judge is not None
    rows = []
    for (w, j, k), (value, load) in sorted(worst.items(), key=lambda item: item[0]):
        candidate = result.problem.candidates[load.candidate]
        number, group = built.origins[candidate.id]
        answer = expected.recheck(number, group, load.rates, load.replicas)
        parts = _parts(built, (w, j, k), answer, load)
        knowledge = judge.of(w, candidate.label)
        rows.append(_promise(built, (w, j, k), value, parts or (math.inf, 0.0), knowledge))
    return tuple(rows)


def no_earlier(
    rows: Sequence[Promise], latest_ms: Mapping[tuple[str, str, str, str], float]
) -> tuple[Promise, ...]:
    """The promises where they have been simulated: none is earlier than what was, up to its limit.

    A limit that the simulation misses is said by the verification.
    """

    def held(row: Promise) -> Promise:
        seen = latest_ms.get((row.workload, row.cls, row.metric, row.percentile), 0.0)
        later = min(seen, row.limit_ms)
        if row.promised_ms is None or later <= row.promised_ms:
            return row
        changed = {"promised_ms": later, "headroom_ms": row.limit_ms - later}
        return row.model_copy(update=changed)

    return tuple(map(held, rows))


def expected_core(built: Built) -> Any:
    """The core at the model's expectation: biases where the scenario asks for them, no reserve."""
    spec, confidence = built.specification, built.loaded.scenario.sure
    assert spec is not None and built.core is not None and built.judge is not None
    if confidence is None or confidence == EXPECTED:
        return built.core
    plain = without_factors(spec)
    add_time_factors(built.judge, plain, None)
    return _core.Space(json.dumps(plain.data))


def _bound(slo: Slo, classes: int) -> Sequence[int]:
    """Classes that a limit binds one by one, or all of them together."""
    if slo.over == "workload" and slo.cls is None and classes > 1:
        return (_ALL,)
    return range(classes)


def _parts(
    built: Built, at: tuple[int, int, int], answer: Any, load: Load
) -> tuple[float, float] | None:
    """Seconds of a limited metric that TTFT and TPOT contribute, `at` a workload, the number of its
    limit, and a class or all requests together.

    None where the limit does not concern the class.
    """
    spec = built.specification
    assert spec is not None
    workload, j, k = at
    classes, slo = spec.classes[workload], spec.workloads[workload].slos[j]
    if k != _ALL and slo.cls is not None and classes[k].id != slo.cls:
        return None
    i = PERCENTILES.index(slo.percentile)
    if answer["ttft_s"] is None:
        return math.inf, 0.0
    if k == _ALL:
        value = answer["slo_s"][j]
        return None if value is None else _cut(value, slo, answer, load, classes)
    ttft, tpot = answer["ttft_s"][k], answer["tpot_s"][k]
    if slo.metric == "ttft":
        parts = float(ttft[i]), 0.0
    elif slo.metric == "tpot":
        parts = 0.0, float(tpot[i])
    else:
        length = classes[k].output_tokens
        tokens = (length.mean, *length.quantiles)[i]
        parts = float(ttft[i]), float(max(tokens - 1.0, 0.0) * tpot[0])
    return None if math.isnan(sum(parts)) else parts


def _cut(
    value: float, slo: Slo, answer: Any, load: Load, classes: Sequence[RequestClass]
) -> tuple[float, float]:
    """A time of all requests in its parts; of the whole request as the mean request has them."""
    if slo.metric != "e2e":
        return (value, 0.0) if slo.metric == "ttft" else (0.0, value)
    first = after = 0.0
    for k in (k for k, rate in enumerate(load.rates) if rate > 0):
        tokens = max(classes[k].output_tokens.mean - 1.0, 0.0)
        first += load.rates[k] * answer["ttft_s"][k][0]
        after += load.rates[k] * (tokens * answer["tpot_s"][k][0] if tokens else 0.0)
    share = first / (first + after) if math.isfinite(after) else 1.0
    return share * value, (1.0 - share) * value


def _promise(
    built: Built,
    at: tuple[int, int, int],
    value: float,
    expected: tuple[float, float],
    knowledge: Knowledge,
) -> Promise:
    assert built.specification is not None
    w, j, k = at
    workload = built.specification.workloads[w]
    slo = workload.slos[j]
    promised = 1e3 * value
    widths = [knowledge.half_width[m] for m in ("ttft", "tpot")]
    ends = [
        sum(1e3 * part * math.exp(side * h) for part, h in zip(expected, widths, strict=True))
        for side in (-1, 1)
    ]
    return Promise(
        workload=workload.id,
        cls=ALL_REQUESTS if k == _ALL else built.specification.classes[w][k].id,
        metric=slo.metric,
        percentile=slo.percentile,
        promised_ms=finite(promised),
        expected_ms=finite(1e3 * sum(expected)),
        limit_ms=slo.limit_ms,
        headroom_ms=finite(slo.limit_ms - promised),
        provenance=knowledge.provenance,
        interval_ms=(finite(ends[0]), finite(ends[1])),
    )
