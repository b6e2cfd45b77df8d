"""Plans of a problem with more pairs of pool and candidate than an explanation can solve whole.

Its relaxation is had by generation in tenths of a second, exactly; a plan is searched over the
pairs that any relaxation so far has asked for, for a few seconds, from the plan that stands. So
each figure has a bound that holds and a plan that was solved, with a gap between them; beside it
stands what the relaxation alone says, in which systems are not whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from tokenfleet.mix.generate.generation import applies, generate, pairs_of, relaxation, wider
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import FleetModel, Label, build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.search.stages import search
from tokenfleet.mix.solver.effort import Deadline, Effort, Slowness
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import Problem

WHOLE = 2_000  # pairs up to which each question is asked of the whole problem
SEARCH_S = 2.5  # for the plan of a question
_FIRST_S = 15.0  # for the plan that all others are held against
_AS_LONG = 10.0  # times the seconds that the relaxation took, for a larger one
_BESIDE = 500  # pairs beside those that the relaxation uses, the nearest to paying
_PATIENCE = (1.0, 2.0, 4.0)  # times the seconds of a search, while its plan is far off
_FAR = 0.01  # gap of a plan that says nothing yet
_CLOSE = 1e-4  # gap of a relaxation whose solution is asked for

#: The columns of a plan, or of a relaxation, and their amounts.
Values = Mapping[Label, float]
Pair = tuple[int, int]


def is_in_part(problem: Problem) -> bool:
    """Whether its plans are searched over a part of its pairs."""
    return applies(problem) and pairs_of(problem) > WHOLE


def same_columns(problem: Problem, other: Problem) -> bool:
    """Whether a column of one problem means the same in the other: a limit, a price or a speed may
    differ, and no pool or candidate."""
    ours, theirs = problem.candidates, other.candidates
    if len(problem.pools) != len(other.pools) or len(ours) != len(theirs):
        return False
    return ours is theirs or all(
        (a.system, a.workload, a.label) == (b.system, b.workload, b.label)
        for a, b in zip(ours, theirs, strict=True)
    )


@dataclass
class InPart:
    """A problem, and the pairs that plans of it and of its kin were made of so far."""

    problem: Problem
    known: frozenset[Pair] = field(default=frozenset())
    first: bool = True
    slowness: Slowness = field(default_factory=Slowness)

    def plan(
        self,
        problem: Problem,
        effort: Effort,
        start: Callable[[FleetModel], Mapping[str, float] | None],
    ) -> tuple[FleetModel, Found] | None:
        """The best plan found of a changed problem, with the bound of all its pairs; None where no
        plan exists.

        `start` is asked for the plan from which the search of a model begins.
        """
        pairs, deadline = Pairs.of(problem), Deadline(effort.left())
        kin = same_columns(problem, self.problem)
        generated = generate(pairs, effort, self.known if kin else ())
        if generated.interrupted:
            raise KeyboardInterrupt
        if generated.infeasible:
            return None
        took = effort.options.time_limit_s - deadline.left()
        seconds = max(_FIRST_S if self.first else SEARCH_S, _AS_LONG * took)
        chosen = wider(pairs, generated, _BESIDE) | (self.known if kin else frozenset())
        for built in (chosen, chosen | wider(pairs, generated)):
            m = build(problem, pairs=built, frame=pairs.frame)
            objective.set_goal(m)
            found = self._searched(m, effort, deadline, seconds, (start(m), generated.bound))
            if found.values or not found.exhausted:
                break
        if kin:
            self.known = chosen | _used(m, found)
        self.first = False
        return m, found

    def _searched(
        self,
        m: FleetModel,
        effort: Effort,
        deadline: Deadline,
        seconds: float,
        known: tuple[Mapping[str, float] | None, float],
    ) -> Found:
        """The best plan of a model in so many seconds of a machine that does nothing else; in twice
        as many, and again, while it is far from its bound. `known` are a plan, and the bound."""
        start, bound = known
        for times in _PATIENCE:
            wall = times * seconds * self.slowness.factor()
            part = replace(effort, deadline=Deadline(min(deadline.left(), wall)))
            found = search(m, part, start, bound=bound)
            if found.exhausted or found.interrupted or found.gap <= _FAR or deadline.left() <= 0:
                break
            start = found.values or None
        return found

    def relaxed(self, problem: Problem, options: SolveOptions) -> tuple[float, Values]:
        """Value and solution of the relaxation over all pairs.

        Raises:
            SolverError: the time ended it.
        """
        pairs = Pairs.of(problem)
        master, answer = relaxation(pairs, replace(options, gap=_CLOSE))
        constant = master.objective_prices().constant
        columns = answer.columns
        return answer.value + constant, {la: float(columns[i]) for la, i in master.base.items()}


def systems_model(problem: Problem) -> FleetModel:
    """A model of the problem with the columns of every offer, and of no pair."""
    pairs = Pairs.of(problem)
    return build(
        problem, pairs=frozenset(), pools=pairs.pool.tolist(), frame=pairs.frame,
        relax=frozenset({"demand"}),
    )  # fmt: skip


def _used(m: FleetModel, found: Found) -> frozenset[Pair]:
    """Pairs of which a plan has replicas or flows."""
    return frozenset(
        (la.pool, la.candidate) for la, v in m.of_pairs() if found.values.get(v.name, 0.0) > 0
    )
