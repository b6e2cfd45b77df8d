"""The best plan of one system type, to stand beside the mix.

Each type gets a model of its own, which holds the columns of that type (and APIs) and nothing
else: it is as large as the type, however many types there are. Order, bounds and dominance are
the mix's own `Frame`.
"""

from __future__ import annotations

import heapq
import math
from abc import ABC, abstractmethod
from dataclasses import replace

from tokenfleet.mix.model import FleetModel, build
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.search.ratio import NoTokenError, least_relaxed_ratio, search_goal
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.mix.why.single_bound import quick_bounds
from tokenfleet.problem_data import Problem

RELAXED_S = 5.0  # at most, for the relaxation of one type


class Contest(ABC):
    """How plans of one system type are made and ranked under the problem's objective."""

    def __init__(self, problem: Problem) -> None:
        """Of the mix that stands beside them."""
        self.problem = problem
        self.goal = problem.objective.goal
        self.sign = self.goal.sign
        self._models: dict[str, FleetModel] = {}

    @abstractmethod
    def bounds(self) -> dict[str, float]:
        """A quick bound for every type that has candidates, in the sense of `sign`."""

    @abstractmethod
    def model(self, system: str) -> FleetModel:
        """The model of one type, with the objective unless that is a ratio."""

    @abstractmethod
    def relaxed(self, system: str, options: SolveOptions) -> float | None:
        """The relaxation's bound for one type, in the sense of `sign`; None when it has none."""

    @abstractmethod
    def solve(self, system: str, effort: Effort) -> Found:
        """The best plan of one type."""


class WholeContest(Contest):
    """The contest over the model of a mix that is built whole."""

    def __init__(self, m: FleetModel, known: float) -> None:
        """`m` is the model of the mix, with its objective unless that is a ratio; `known` a bound
        of the mix, and thus of its parts."""
        super().__init__(m.problem)
        self.m, self.known = m, known
        self.pairs: dict[str, set[tuple[int, int]]] = {}  # by type: (pool, candidate)
        for p, candidates in m.eligible.items():
            if candidates:
                of_type = self.pairs.setdefault(m.problem.pools[p].system, set())
                of_type.update((p, c) for c in candidates)

    def bounds(self) -> dict[str, float]:
        """By a closed form; nothing under a ratio."""
        systems = sorted(self.pairs)
        if self.goal.per is not None:
            return dict.fromkeys(systems, -math.inf)
        return quick_bounds(self.m, systems)

    def model(self, system: str) -> FleetModel:
        """All columns of one type."""
        if system not in self._models:
            m = build(self.problem, pairs=frozenset(self.pairs[system]), frame=self.m.frame)
            if self.goal.per is None:
                set_goal(m)
            self._models[system] = m
        return self._models[system]

    def relaxed(self, system: str, options: SolveOptions) -> float | None:
        """That of all columns of one type."""
        m, options = self.model(system), replace(options, time_limit_s=RELAXED_S)
        if self.goal.per is not None:
            return least_relaxed_ratio(m, options)
        outcome = run(m.prob, options, mip=False)
        return self.sign * outcome.value if outcome.has_incumbent else None

    def solve(self, system: str, effort: Effort) -> Found:
        """The best plan of one type; none of one that delivers nothing in whole systems."""
        try:
            return search_goal(self.model(system), effort, known=self.known)
        except NoTokenError:
            return Found("infeasible", math.nan, math.inf, {})


def best_single_system(contest: Contest, effort: Effort) -> tuple[str, Found] | None:
    """The best plan that uses one system type (and APIs), by the problem's objective.

    Types are tried in the order of their bounds, first a quick one, then that of the relaxation; a
    type whose bound is no better than a plan already found is left out, which loses nothing.
    """
    if len({pool.system for pool in contest.problem.pools}) < 2:
        return None
    ranked = [(bound, system, False) for system, bound in contest.bounds().items()]
    heapq.heapify(ranked)
    best: tuple[str, Found] | None = None
    proven = math.inf  # least bound of the types already solved
    while ranked:
        bound, system, relaxed = ranked[0]
        if best is not None and (bound >= contest.sign * best[1].value or effort.left() <= 0):
            break
        heapq.heappop(ranked)
        if not relaxed:
            least = contest.relaxed(system, effort.options)
            if least is not None:
                heapq.heappush(ranked, (max(bound, least), system, True))
            continue
        found = contest.solve(system, effort.part(0.5, least_s=0.5))
        if found.interrupted:
            raise KeyboardInterrupt
        proven = min(proven, max(bound, contest.sign * found.bound) if found.values else bound)
        better = best is None or contest.sign * found.value < contest.sign * best[1].value
        if found.values and better:
            best = (system, found)
    if best is None:
        return None
    system, found = best
    least = min(proven, *(bound for bound, _, _ in ranked[:1]), contest.sign * found.value)
    return system, replace(found, bound=contest.sign * least)
