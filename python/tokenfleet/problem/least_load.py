"""The least part of a replica that all requests of a workload take.

Replicas are whole: one that is used for a millionth is bought as one that is used for a thousandth.
A solver, though, takes a part below its tolerance for nothing, and would serve the requests by no
replica at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.problem_data import Candidate, Problem

_LEAST_PART = 1e-3


def with_least_load(problem: Problem, over: Sequence[Problem]) -> Problem:
    """The problem with candidates of which a workload takes a thousandth at the least.

    The demand is the largest of the problems `over`: those of all periods, where there are some, so
    that what grows is not counted too high later.
    """
    most = [
        np.max([p.workloads[w].demand_rps.max(axis=0) for p in over], axis=0)
        for w in range(len(problem.workloads))
    ]
    candidates = tuple(
        c if problem.workloads[c.workload].free else _of_weight(c, most[c.workload])
        for c in problem.candidates
    )
    return replace(problem, candidates=candidates)


def true_loads(before: Problem, after: Problem) -> dict[int, NDArray[np.float64]]:
    """By candidate whose load was raised: its load before, which holds again once demand grows."""
    pairs = zip(before.candidates, after.candidates, strict=True)
    return {b.id: b.load for b, a in pairs if a.load is not b.load}


def _of_weight(candidate: Candidate, demand_rps: NDArray[np.float64]) -> Candidate:
    admitted = np.isfinite(candidate.load)
    part = float(demand_rps[admitted] @ candidate.load[admitted])
    if not 0.0 < part < _LEAST_PART:
        return candidate
    return replace(candidate, load=candidate.load * (_LEAST_PART / part))
