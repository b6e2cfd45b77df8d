"""What latency the plan promises: every replica re-evaluated at the mix it is given.

The model held each limit for the worst mix of a replica's classes. Here the routed mix itself is
evaluated; a limit that fails after all tightens the candidate, and the mix is solved again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.problem import Built
from tokenfleet.problem.specification import PERCENTILES
from tokenfleet.problem_data import FloatArray
from tokenfleet.provenance import is_inherited
from tokenfleet.schema import Slo

# Each failed re-check raises the candidate's load by this much: small against the model's error,
# large enough to end in a few rounds.
_TIGHTEN = 1.05
_INHERITED = 2.0  # times the error, until somebody measures
_RESIDUAL_PCT = {"ttft": "ttft_new_cell", "tpot": "tpot_new_cell", "e2e": "tpot_new_cell"}


@dataclass(frozen=True)
class _Load:
    """One kind of replica in one load block: what each replica receives."""

    block: int
    site: int
    candidate: int
    rates: FloatArray  # (K,) requests/s per replica


def recheck(built: Built, result: MixResult) -> list[Tightening]:
    """Candidates whose replicas break a limit at the routed mix."""
    if built.core is None:
        return []
    failed = set()
    for load in _loads(result):
        answer = _ask(built, result, load)
        if answer["broken"] is not None:
            failed.add(load.candidate)
    return [Tightening(c, _TIGHTEN) for c in sorted(failed)]


def _ask(built: Built, result: MixResult, load: _Load) -> Any:
    assert built.core is not None
    number, group = built.origins[result.problem.candidates[load.candidate].id]
    return built.core.recheck(number, group, load.rates)


def _loads(result: MixResult) -> Iterator[_Load]:
    """Mean rates per replica, for every block, pool and candidate that serves something."""
    problem = result.problem
    rates: dict[tuple[int, int, int], FloatArray] = {}
    for label, value in result.values.items():
        if label[0] == "f":
            _, b, p, c, k = label
            zeros = np.zeros(len(problem.candidates[c].load))
            rates.setdefault((b, p, c), zeros)[k] += value
    for (b, p, c), row in sorted(rates.items(), key=lambda item: item[0]):
        count = result.values.get(("n", -1, p, c)) or result.values.get(("n", b, p, c), 0.0)
        if count > 0:
            yield _Load(b, problem.pools[p].site, c, row / count)


def slo_rows(built: Built, result: MixResult) -> tuple[dict[str, Any], ...]:
    """Promise and limit for every limit of every workload and class: the worst replica and block.

    The interval is the promise scaled by the mean error of the model on accelerators and models it
    was not fitted to; twice that where efficiencies are inherited, which nobody has measured.
    """
    if built.core is None or built.specification is None:
        return ()
    worst: dict[tuple[int, int, int], tuple[float, int]] = {}
    for load in _loads(result):
        candidate = result.problem.candidates[load.candidate]
        answer = _ask(built, result, load)
        slos = built.specification.workloads[candidate.workload].slos
        for j, slo in enumerate(slos):
            for k in range(len(load.rates)):
                value = _promise(built, candidate.workload, slo, answer, k)
                if load.rates[k] > 0 and value is not None:
                    at = (candidate.workload, j, k)
                    worst[at] = max(worst.get(at, (0.0, 0)), (value, load.candidate))
    return tuple(
        _slo_row(built, at, value, is_inherited(built, result.problem.candidates[c]))
        for at, (value, c) in sorted(worst.items())
    )


def _promise(built: Built, workload: int, slo: Slo, answer: Any, k: int) -> float | None:
    """Seconds of a limited metric for class k, or None where the limit does not concern it."""
    assert built.specification is not None
    classes = built.specification.classes[workload]
    if slo.cls is not None and classes[k].id != slo.cls:
        return None
    i = PERCENTILES.index(slo.percentile)
    if answer["ttft_s"] is None:
        return math.inf
    ttft, tpot = answer["ttft_s"][k], answer["tpot_s"][k]
    if slo.metric == "ttft":
        value = float(ttft[i])
    elif slo.metric == "tpot":
        value = float(tpot[i])
    else:
        length = classes[k].output_tokens
        tokens = (length.mean, *length.quantiles)[i]
        value = float(ttft[i] + max(tokens - 1.0, 0.0) * tpot[0])
    return None if math.isnan(value) else value


def _slo_row(
    built: Built, at: tuple[int, int, int], value: float, inherited: bool
) -> dict[str, Any]:
    assert built.specification is not None
    w, j, k = at
    workload = built.specification.workloads[w]
    slo = workload.slos[j]
    error = built.loaded.catalog.kernels.engine_error_pct[_RESIDUAL_PCT[slo.metric]][1] / 100
    error *= _INHERITED if inherited else 1.0
    promised = 1e3 * value
    return {
        "workload": workload.id,
        "class": built.specification.classes[w][k].id,
        "metric": slo.metric,
        "percentile": slo.percentile,
        "promised_ms": promised,
        "limit_ms": slo.limit_ms,
        "headroom_ms": slo.limit_ms - promised,
        "provenance": "inherited" if inherited else "calibrated",
        "interval_ms": [promised / (1 + error), promised * (1 + error)],
    }
