"""Why a plan has what people would rather do without: what plans that lack it cost at least.

Pipeline stages, weights of few bits, replicas over several systems, prefill and decode apart: for
each that the plan has, the relaxation over all layouts without it bounds what such plans cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tokenfleet.mix.model import FleetModel, Label, build, frame_of
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.search.ratio import least_relaxed_ratio
from tokenfleet.mix.search.simplest import MOST_PAIRS, oddities, with_plainer
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import run
from tokenfleet.problem_data import Problem, Replicas

_RELAXED_S = 5.0  # at most, for one relaxation


@dataclass(frozen=True)
class Without:
    """A bound for all plans that lack something which the plan has; None: there are none."""

    what: str
    workloads: tuple[str, ...]
    bound: float | None


def odd_workloads(problem: Problem, values: Mapping[Label, float]) -> dict[str, list[str]]:
    """Ids of the workloads served by replicas with each oddity of the plan."""
    found: dict[str, list[str]] = {}
    for label in values:
        if isinstance(label, Replicas):
            candidate = problem.candidates[label.candidate]
            workload = problem.workloads[candidate.workload].id
            for what in oddities(candidate, problem.pools[label.pool].gpus_per_system):
                found.setdefault(what, []).append(workload)
    return {what: sorted(set(names)) for what, names in sorted(found.items())}


def without(m: FleetModel, values: Mapping[Label, float], effort: Effort) -> tuple[Without, ...]:
    """A bound for the plans that lack each oddity of this one; nothing for a large problem.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    odd = odd_workloads(m.problem, values)
    if not odd or sum(len(found) for found in m.eligible.values()) > MOST_PAIRS:
        return ()
    problem = with_plainer(m.problem)
    frame = frame_of(problem, m.frame.scale_max, every_system=False)
    rows = []
    for what, workloads in odd.items():
        pairs = frozenset(
            (p, c)
            for p, found in frame.able.items()
            for c in found
            if what not in oddities(problem.candidates[c], problem.pools[p].gpus_per_system)
        )
        plain = build(problem, pairs=pairs, frame=frame)
        bound = _relaxed(plain, effort) if pairs else None
        rows.append(Without(what, tuple(workloads), bound))
    return tuple(rows)


def _relaxed(m: FleetModel, effort: Effort) -> float | None:
    """The bound that the relaxation gives, in the unit of the goal; None where it has no plan."""
    goal = m.problem.objective.goal
    options = effort.within(min(max(effort.left(), 0.0), _RELAXED_S))
    if goal.per is not None:
        ratio = least_relaxed_ratio(m, options)
        return None if ratio is None else ratio * goal.per_amount
    set_goal(m)
    outcome = run(m.prob, options, mip=False)
    return outcome.value if outcome.has_incumbent else None
