"""Every replica evaluated again at the mix of requests that the plan gives it.

The model held each limit for the worst mix of a replica's classes. Here the routed mix itself is
evaluated; a limit that fails after all tightens the candidate, and the mix is solved again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.problem import Built
from tokenfleet.problem_data import FloatArray, Flow, Replicas

# Each failed re-check raises the candidate's load by this much: small against the model's error,
# large enough to end in a few rounds.
_TIGHTEN = 1.05


@dataclass(frozen=True)
class Load:
    """One kind of replica in one load block: what each replica receives."""

    block: int
    site: int
    candidate: int
    rates: FloatArray  # (K,) requests/s per replica
    replicas: float  # behind the same router


def recheck(built: Built, result: MixResult) -> list[Tightening]:
    """Candidates whose replicas break a limit at the routed mix."""
    if built.core is None:
        return []
    failed = set()
    for load in loads(result):
        answer = replica_answer(built, result, load)
        if answer["broken"] is not None:
            failed.add(load.candidate)
    return [Tightening(c, _TIGHTEN) for c in sorted(failed)]


def replica_answer(built: Built, result: MixResult, load: Load) -> Any:
    """The core's latencies of a replica at the mix it is given, and the limit that breaks."""
    assert built.core is not None
    number, group = built.origins[result.problem.candidates[load.candidate].id]
    return built.core.recheck(number, group, load.rates, load.replicas)


def loads(result: MixResult) -> Iterator[Load]:
    """Mean rates per replica, for every block, pool and candidate that serves something."""
    problem = result.problem
    rates: dict[tuple[int, int, int], FloatArray] = {}
    counts: dict[tuple[int, int, int], float] = {}
    for label, value in result.values.items():
        if isinstance(label, Flow):
            zeros = np.zeros(len(problem.candidates[label.candidate].load))
            place = (label.block, label.pool, label.candidate)
            rates.setdefault(place, zeros)[label.cls] += value
        elif isinstance(label, Replicas):
            for b in problem.scopes[label.scope].blocks:
                counts[b, label.pool, label.candidate] = value
    for (b, p, c), row in sorted(rates.items(), key=lambda item: item[0]):
        count = counts.get((b, p, c), 0.0)
        if count > 0:
            yield Load(b, problem.pools[p].site, c, row / count, max(count, 1.0))
