"""What a plan has that people would rather do without, and the best plans that lack it.

Pipeline stages, weights of few bits, replicas over several systems, prefill and decode apart: for
each that a plan has, the model over all layouts without it is searched. Its plan takes the other's
place where that saves next to nothing, and its bound says what all plans without it cost at least.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenfleet.mix.model import FleetModel, Label, build, frame_of
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.search.ratio import NoTokenError, search_goal
from tokenfleet.mix.search.simplest import MOST_PAIRS, oddities, with_plainer
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.problem_data import Problem, Replicas, Systems


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


def types_and_sites(problem: Problem, values: Mapping[Label, float]) -> tuple[int, int]:
    """How many system types and sites a plan has."""
    pools = {problem.offers[la.offer].pool for la in values if isinstance(la, Systems)}
    kinds = {problem.pools[p].system for p in pools}
    return len(kinds), len({problem.pools[p].site for p in pools})


def is_searched(m: FleetModel) -> bool:
    """Whether plans that lack something are sought: not of a large problem."""
    return sum(len(found) for found in m.eligible.values()) <= MOST_PAIRS


def best_without(
    m: FleetModel, what: Iterable[str], effort: Effort, known: float
) -> tuple[FleetModel, Found] | None:
    """The best plan that lacks some oddities, with its model; None where there is no layout left.

    `known` is a bound of all plans, in the unit of one amount of the goal.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    problem, lacking = with_plainer(m.problem), set(what)
    frame = frame_of(problem, m.frame.scale_max, every_system=False, order=m.frame.order)
    pairs = frozenset(
        (p, c)
        for p, found in frame.able.items()
        for c in found
        if not lacking.intersection(
            oddities(problem.candidates[c], problem.pools[p].gpus_per_system)
        )
    )
    if not pairs:
        return None
    plain = build(problem, pairs=pairs, frame=frame)
    try:
        return plain, search_goal(plain, effort, known=known)
    except NoTokenError:
        return None
