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
# Times the seconds of a search, and the pairs beside those that the relaxation uses, the nearest to
# paying: longer and over more of them while its plan is far off.
_TRIES = ((1.0, 500), (2.0, 2_500), (4.0, 15_000))
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
        known = self.known if kin else frozenset()

        def searched(m: FleetModel, begin: Mapping[str, float] | None, times: float) -> Found:
            wall = Deadline(min(deadline.left(), times * seconds * self.slowness.factor()))
            return search(m, replace(effort, deadline=wall), begin, bound=generated.bound)

        (times, beside), *longer = _TRIES
        chosen = built = wider(pairs, generated, beside) | known
        m = _model(problem, pairs, built)
        found = searched(m, start(m), times)
        for times, beside in longer:
            before, built = built, wider(pairs, generated, beside) | known
            enough = found.gap <= _FAR or built == before
            if enough or found.interrupted or deadline.left() <= 0:
                break
            grown = _model(problem, pairs, built)
            found = searched(grown, _carried(m, found, grown), times)
            m = grown
        if kin:
            self.known = chosen | _used(m, found)
        self.first = False
        return m, found

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


def _model(problem: Problem, pairs: Pairs, built: frozenset[Pair]) -> FleetModel:
    """The problem over some of its pairs, with its goal."""
    m = build(problem, pairs=built, frame=pairs.frame)
    objective.set_goal(m)
    return m


def systems_model(problem: Problem) -> FleetModel:
    """A model of the problem with the columns of every offer, and of no pair."""
    pairs = Pairs.of(problem)
    return build(
        problem, pairs=frozenset(), pools=pairs.pool.tolist(), frame=pairs.frame,
        relax=frozenset({"demand"}),
    )  # fmt: skip


def _carried(m: FleetModel, found: Found, grown: FleetModel) -> Mapping[str, float] | None:
    """A plan that was found as columns of a model with more of them; None: none was."""
    if not found.values:
        return None
    return {
        grown.columns[la].name: found.values.get(v.name, 0.0)
        for la, v in m.columns.items()
        if la in grown.columns
    }


def _used(m: FleetModel, found: Found) -> frozenset[Pair]:
    """Pairs of which a plan has replicas or flows."""
    return frozenset(
        (la.pool, la.candidate) for la, v in m.of_pairs() if found.values.get(v.name, 0.0) > 0
    )
