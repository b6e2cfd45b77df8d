"""Equal years over a horizon: the plan of one year, repeated.

Where nothing changes from period to period, systems that are worth their book value later cost the
same each year, so that the plan of one year is a best one, and the one that people would rather run
(`mix.search.simplest`, which a horizon has not). It is taken if the horizon's own is no better by
more than the tolerance.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from tokenfleet.mix.horizon.part import Part
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.model import Label
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import NoPlanError
from tokenfleet.mix.solver.highs import SolveOptions, certify, relative_gap
from tokenfleet.problem_data import EVERY_BLOCK, Horizon, Replicas


def is_steady(horizon: Horizon) -> bool:
    """Whether there is one future, and every year of it is as the first."""
    first = horizon.nodes[0].problem
    return len(horizon.leaves) == 1 and all(_same(n.problem, first) for n in horizon.nodes)


def _same(one: Any, other: Any) -> bool:
    """Whether two rows, or two tables of them, have the same numbers."""
    if one is other:
        return True
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, tuple) and len(one) == len(other):
        return all(map(_same, one, other))
    if hasattr(one, "__dataclass_fields__"):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other)


def repeated(
    result: HorizonResult, year: MixResult, options: SolveOptions, part: Part | None
) -> HorizonResult:
    """The year's plan in every period, if it is as good as what was found."""
    horizon, candidates = result.horizon, year.problem.candidates
    nodes = tuple(
        replace(node, problem=replace(node.problem, candidates=candidates))
        for node in horizon.nodes
    )
    if part is not None:
        used = {
            (label.pool, label.candidate) for label in year.values if isinstance(label, Replicas)
        }
        part = replace(part, pairs=part.pairs | used)
    horizon = replace(horizon, nodes=nodes)
    pinned = _everywhere(horizon, year)
    try:
        name = result.problem.name
        again = solve_horizon(name, horizon, options, part=part, pinned=pinned)
    except NoPlanError:
        return result
    goal = result.problem.objective.goal
    tolerance = max(result.problem.objective.simplicity_tolerance, options.gap)
    worse = goal.sign * (again.value - result.value) / max(abs(result.value), 1e-12)
    if worse > tolerance:
        return result
    known: dict[str, Any] = {
        "bound": result.bound,
        "status": result.status,
        "seconds": result.seconds,
    }
    if worse <= 0:
        known["status"] = certify(again.value, result.bound, options.gap)
        return replace(again, **known, gap=relative_gap(again.value, result.bound))
    return replace(again, **known, gap=result.gap, best_value=result.value)


def _everywhere(horizon: Horizon, year: MixResult) -> dict[Label, float]:
    """The numbers of a year's plan under the labels of every node, 0 of what it has not."""
    found: dict[Label, float] = {}
    problem = year.problem
    blocks = sum(len(node.problem.blocks) for node in horizon.nodes)
    for u in range(len(horizon.nodes)):
        first = u * len(problem.blocks)
        for label, value in year.values.items():
            block, scope = getattr(label, "block", None), getattr(label, "scope", None)
            if block is not None:
                found[label._replace(block=first + block)] = value  # type: ignore[call-arg]
            elif scope == EVERY_BLOCK:
                found[label._replace(scope=1 + blocks + u)] = value  # type: ignore[call-arg]
            elif scope is not None:
                found[label._replace(scope=scope + first)] = value  # type: ignore[call-arg]
    return found
