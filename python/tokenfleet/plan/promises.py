"""What latency the plan promises: each limit beside the worst replica that serves under it."""

from __future__ import annotations

import json
import math
from typing import Any

from tokenfleet import _core
from tokenfleet.files.plain import finite
from tokenfleet.mix.result import MixResult
from tokenfleet.plan.rows import Promise
from tokenfleet.problem import Built
from tokenfleet.problem.knowledge import (
    EXPECTED,
    Judge,
    Knowledge,
    add_time_factors,
    without_factors,
)
from tokenfleet.problem.specification import PERCENTILES
from tokenfleet.schema import Slo
from tokenfleet.verify.routed import Load, loads, replica_answer


def slo_rows(built: Built, result: MixResult) -> tuple[Promise, ...]:
    """Promise and limit for every limit of every workload and class: the worst replica and block.

    `promised_ms` holds at the confidence asked for; `expected_ms` is what the model expects of the
    same replica, and `interval_ms` holds 80 % of what would be measured, by the calibration's
    residuals on runs left out of its fit.
    """
    if built.core is None or built.specification is None:
        return ()
    worst: dict[tuple[int, int, int], tuple[float, Load]] = {}
    for load in loads(result):
        w = result.problem.candidates[load.candidate].workload
        answer = replica_answer(built, result, load)
        for j, slo in enumerate(built.specification.workloads[w].slos):
            for k in range(len(load.rates)):
                parts = _parts(built, w, slo, answer, k)
                if load.rates[k] > 0 and parts is not None:
                    known = worst.get((w, j, k))
                    if known is None or sum(parts) > known[0]:
                        worst[w, j, k] = (sum(parts), load)
    judge, expected = Judge(built.loaded, built.specification), expected_core(built)
    rows = []
    for (w, j, k), (value, load) in sorted(worst.items(), key=lambda item: item[0]):
        candidate = result.problem.candidates[load.candidate]
        number, group = built.origins[candidate.id]
        answer = expected.recheck(number, group, load.rates)
        parts = _parts(built, w, built.specification.workloads[w].slos[j], answer, k)
        knowledge = judge.of(w, candidate.label)
        rows.append(_promise(built, (w, j, k), value, parts or (math.inf, 0.0), knowledge))
    return tuple(rows)


def expected_core(built: Built) -> Any:
    """The core at the model's expectation: biases where the scenario asks for them, no reserve."""
    spec, confidence = built.specification, built.loaded.scenario.sure
    assert spec is not None and built.core is not None
    if confidence is None or confidence == EXPECTED:
        return built.core
    plain = without_factors(spec)
    add_time_factors(built.loaded, plain, None)
    return _core.Space(json.dumps(plain.data))


def _parts(
    built: Built, workload: int, slo: Slo, answer: Any, k: int
) -> tuple[float, float] | None:
    """Seconds of a limited metric for class k that TTFT and TPOT contribute.

    None where the limit does not concern the class.
    """
    assert built.specification is not None
    classes = built.specification.classes[workload]
    if slo.cls is not None and classes[k].id != slo.cls:
        return None
    i = PERCENTILES.index(slo.percentile)
    if answer["ttft_s"] is None:
        return math.inf, 0.0
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
        cls=built.specification.classes[w][k].id,
        metric=slo.metric,
        percentile=slo.percentile,
        promised_ms=finite(promised),
        expected_ms=finite(1e3 * sum(expected)),
        limit_ms=slo.limit_ms,
        headroom_ms=finite(slo.limit_ms - promised),
        provenance=knowledge.provenance,
        interval_ms=(finite(ends[0]), finite(ends[1])),
    )
