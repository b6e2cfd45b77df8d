"""One problem, solved, and solved again with changes: what every explanation stands on.

The space of configurations is evaluated once, by whoever built the problem. A `Study` then solves

- a *changed problem* (`again`): another limit, demand or price;
- the *same problem* with another question (`least`): other weights in the objective, more rows,
  columns that are closed. The model is kept, its rows and bounds are moved and put back, and a plan
  that is known to keep the rows is where the solver starts.

Everything is a loss, of which less is better: the goal in its own unit, times -1 where more is
best. For a goal that is a ratio (cost per token) `loss_weights` are those of cost - r * tokens at
the least ratio r, which no plan brings below zero.

No dual is passed off as a price: whole systems jump, so what is shown was solved.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import pulp

from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.explanation.in_part import InPart, Values, is_in_part, same_columns, systems_model
from tokenfleet.mix.generate.generation import applies, is_large
from tokenfleet.mix.model import FleetModel, Label, build, frame_of
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.index import Budget, Own
from tokenfleet.mix.model.objectives import Coefficients
from tokenfleet.mix.result import bookings, clean_values
from tokenfleet.mix.search.bounds import bounded
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.search.ratio import search_goal
from tokenfleet.mix.search.stages import search
from tokenfleet.mix.solve import bounded_scale
from tokenfleet.mix.solver.effort import Deadline, Effort, Slowness
from tokenfleet.mix.solver.highs import (
    OPTIMAL_GAP,
    SIDE_SEARCHES,
    SolveOptions,
    fingerprint,
    relative_gap,
    run,
)
from tokenfleet.mix.why.infeasible import check_problem
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Problem, Systems
from tokenfleet.verify.mix import verify_mix

PROVEN: HowGot = "re-solved and proven"
WITHIN: HowGot = "re-solved within gap"

#: Seconds of one solve on a machine that does nothing else, unless the scenario gives less.
LONGEST_S = 60.0
_ROUNDING = 1e-9
# Nodes of a small model before it is begun anew: of trees of 2,000 to 4,000 nodes, as questions far
# from today's prices have, half the work was what had been done before the restart.
_TREE = 5_000


class OutOfTimeError(SolverError):
    """The time of an explanation is used up; what was found until then stands."""


class HardSolveError(OutOfTimeError):
    """One solve ended at its own time before any plan; time for other questions is left."""


def time_left(deadline: Deadline) -> float:
    """Seconds that are left of those of an explanation.

    Raises:
        OutOfTimeError: none.
    """
    left = deadline.left()
    if left <= 0:
        raise OutOfTimeError("the time given for the explanation is used up", "give it more")
    return left


@dataclass(frozen=True)
class Answer:
    """A plan, its loss and the proven bound of it: no plan has less than `bound`."""

    problem: Problem = field(repr=False)
    loss: float
    bound: float
    values: Mapping[Label, float] = field(repr=False)
    annual_cost_usd: float = math.nan
    by_name: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def gap(self) -> float:
        """Relative gap of the loss."""
        return relative_gap(self.loss, self.bound)

    def keeps(self, rows: Iterable[Bound], closed: Iterable[Label]) -> bool:
        """Whether the plan keeps `rows` and leaves `closed` at zero."""
        shut = all(self.values.get(la, 0.0) <= _ROUNDING for la in closed)
        return shut and all(row.holds(self.values) for row in rows)

    @property
    def how(self) -> HowGot:
        """Whether the loss is proven, or proven within the gap."""
        return PROVEN if self.gap <= OPTIMAL_GAP else WITHIN


@dataclass(frozen=True)
class Bound:
    """A row over columns by their labels: `sum(weight * column) >= or <= limit`."""

    name: str
    weights: Mapping[Label, float]
    at_least: bool
    limit: float

    def holds(self, values: Mapping[Label, float]) -> bool:
        """Whether a plan keeps it."""
        parts = [a * values.get(la, 0.0) for la, a in self.weights.items()]
        room = sum(parts) - self.limit if self.at_least else self.limit - sum(parts)
        return room >= -_ROUNDING * max(sum(map(abs, parts)), abs(self.limit))


class Study:
    """A problem with its best plan, and the means to ask what would change it."""

    def __init__(self, problem: Problem, options: SolveOptions, seconds: float = math.inf) -> None:
        """`options` are of one solve, `seconds` those of all of them together."""
        least = replace(problem.objective, ratio_tolerance=0.0)
        self.problem = replace(problem, objective=least)
        self.options = options
        self.deadline = Deadline(seconds)
        self.slowness = Slowness()
        self._own = [0]  # problems solved; each study its own count, for they run side by side
        self._counts = [self._own]
        self.part = InPart(self.problem) if is_in_part(self.problem) else None
        self._known: list[Answer] = []
        self._found: dict[bytes, Found] = {}  # by the numbers of the model that was solved
        self._rows: dict[str, pulp.LpConstraint] = {}

    @property
    def solves(self) -> int:
        """Problems solved so far, by studies beside it as well."""
        return sum(own for (own,) in self._counts)

    @property
    def asked(self) -> int:
        """Problems solved so far by this study alone."""
        return self._own[0]

    @property
    def sign(self) -> float:
        """1 where less of the goal is better, -1 where more is."""
        return self.problem.objective.goal.sign

    @property
    def pays(self) -> bool:
        """Whether cost alone is what is best: a budget that holds today's best plan then holds
        every plan that is no worse."""
        return self.problem.objective.goal.is_cost

    @cached_property
    def base(self) -> Answer:
        """The best plan of the problem as it is.

        Raises:
            InfeasibleError: there is none.
        """
        found = self.again(self.problem)
        if found is None:
            raise InfeasibleError("no plan meets every requirement", ())
        return found

    def twin(self, gap: float) -> Study:
        """The same study with a model of its own, for columns that others must not see, solved to
        a gap no closer than that."""
        options = replace(self.options, gap=max(self.options.gap, gap))
        other = Study(self.problem, options)
        self.share(other)
        other.part = None if self.part is None else replace(self.part)
        other._known, other._found = list(self._known), dict(self._found)
        return other

    def beside_others(self, threads: int) -> None:
        """Counts its time as one of so many that work at a time."""
        self.slowness = Slowness(threads)
        if self.part is not None:
            self.part.slowness = self.slowness

    def beside(self, problem: Problem) -> Study:
        """A study of a problem with the same best plan, and more that could have been in it."""
        other = Study(problem, self.options)
        self.share(other)
        return other

    def other(self, problem: Problem) -> Study:
        """A study of another problem, in the time and with the count of this one."""
        other = Study(problem, self.options)
        self._count(other)
        return other

    def share(self, other: Study) -> None:
        """Gives another study the best plan, the time and the count of this one."""
        other.base = self.base
        self._count(other)

    def _count(self, other: Study) -> None:
        other.deadline, other._counts, other.slowness = self.deadline, self._counts, self.slowness
        self._counts.append(other._own)

    # Changed problems

    def again(
        self,
        problem: Problem,
        start: Mapping[Label, float] | None = None,
        looser: Answer | None = None,
    ) -> Answer | None:
        """The best plan of a changed problem; None where there is none.

        A `start` that is no plan of it is left out. `looser` is the best plan of a problem that
        allows more: where it is a plan of this one, it is the best.

        Raises:
            OutOfTimeError: no time is left, or it ended before any plan.
            KeyboardInterrupt: Ctrl-C.
        """
        try:
            check_problem(problem)
            if looser is not None and not verify_mix(problem, looser.values):
                return replace(looser, problem=problem)
            start = start if same_columns(problem, self.problem) else None
            if self.part is not None and applies(problem):
                return self._in_part(self.part, problem, start)
            frame = frame_of(problem, bounded_scale(problem, self.options), every_system=False)
        except InfeasibleError:
            return None
        m = build(problem, frame=frame)
        found = self._searched(m, _start(m, problem, start))
        return self._answer(m, found, problem.objective.goal.sign)

    def _searched(self, m: FleetModel, start: Mapping[str, float] | None) -> Found:
        """The best plan of a model; a model that has the numbers of an earlier one, as where a
        limit moved that is never reached, has its plan."""
        if m.problem.objective.goal.per is not None:
            return search_goal(m, self.effort(), start)
        objective.set_goal(m)
        effort, numbers = self.effort(), fingerprint(m.prob)
        if numbers not in self._found:
            self._found[numbers] = search_goal(m, effort, start)
        return self._found[numbers]

    def _in_part(
        self, part: InPart, problem: Problem, start: Mapping[Label, float] | None
    ) -> Answer | None:
        found = part.plan(problem, self.effort(), lambda m: _start(m, problem, start))
        return None if found is None else self._answer(*found, problem.objective.goal.sign)

    def relaxed(self, problem: Problem) -> tuple[float, Values] | None:
        """Loss and columns of the relaxation of a problem that has plans, in which systems are not
        whole; None where it is asked of the whole problem.

        Raises:
            OutOfTimeError: no time is left, or it ended before any solution.
        """
        if self.part is None or not applies(problem):
            return None
        options = self.effort().options
        try:
            value, columns = self.part.relaxed(problem, options)
        except SolverError as error:
            raise self.out_of_time() from error
        return problem.objective.goal.sign * value, columns

    def relaxed_worth(self, problem: Problem) -> float | None:
        """What a changed problem saves by the relaxations of both; None as in `relaxed`."""
        found = self.relaxed(problem)
        return None if found is None else self._relaxed_base - found[0]

    @cached_property
    def _relaxed_base(self) -> float:
        found = self.relaxed(self.problem)
        return math.nan if found is None else found[0]

    # The same problem, asked something else

    @cached_property
    def model(self) -> FleetModel:
        """The model of the problem, with every system type: also those that another beats."""
        if applies(self.problem) and is_large(self.problem):
            raise SolverError(
                "the problem is too large for this question: its model is never built whole",
                "ask for the worth of limits and flip prices, or plan for fewer systems or sites",
            )
        scale = bounded_scale(self.problem, self.options)
        return build(self.problem, frame=frame_of(self.problem, scale, every_system=True))

    @cached_property
    def systems(self) -> FleetModel:
        """A model with the columns of every offer, from which amounts and prices are read."""
        return self.model if self.part is None else systems_model(self.problem)

    def weights_beside(self, best: Answer) -> tuple[Coefficients, float]:
        """The loss of a plan as weights of its columns, and its constant.

        Of a ratio it is what the plan costs beyond the ratio of `best`, USD a year.
        """
        m, goal = self.model, self.problem.objective.goal
        if goal.per is None:
            weights, constant = objective.goal_coefficients(m, goal)
            return {la: self.sign * a for la, a in weights.items()}, self.sign * constant
        ratio = best.loss / goal.per_amount
        parts = ((1.0, objective.cost_coefficients(m)), (-ratio, self.tokens))
        return objective.combine(parts), m.constant_usd

    def loss_of(self, best: Answer) -> tuple[float, float]:
        """Bound and value of the loss of `best`, in the unit of the weights beside it."""
        goal = self.problem.objective.goal
        if goal.per is None:
            return best.bound, best.loss
        served = sum(a * best.values.get(la, 0.0) for la, a in self.tokens.items())
        return -max(best.loss - best.bound, 0.0) * served / goal.per_amount, 0.0

    def known(self, rows: Sequence[Bound] = (), closed: Iterable[Label] = ()) -> list[Answer]:
        """Plans of the problem that were found so far, whatever was asked, the best one first:
        those that keep `rows` and leave `closed` at zero."""
        shut = list(closed)
        return [plan for plan in (self.base, *self._known) if plan.keeps(rows, shut)]

    @cached_property
    def tokens(self) -> Coefficients:
        """Tokens a year of each column, as the objective counts them."""
        return objective.token_coefficients(self.model, self.problem.objective.denominator)

    def least(
        self,
        weights: Mapping[Label, float],
        constant: float = 0.0,
        *,
        rows: Sequence[Bound] = (),
        closed: Iterable[Label] = (),
        start: Mapping[str, float] | None = None,
        whole: bool = False,
        unbudgeted: bool = False,
        most: float | None = None,
    ) -> Answer | None:
        """The plan with the least sum of weights that also keeps `rows` and leaves `closed` at
        zero; None where there is none.

        `start` holds columns by name and must be such a plan. `whole`: the model has columns that
        the search knows nothing of, so HiGHS alone solves it, and looks for no plan above `most`.
        `unbudgeted`: the yearly budget, which counts today's prices, does not hold.
        """
        m = self.model
        objective.set_objective(m, dict(weights), constant=constant)
        shut = [m.columns[la] for la in closed]
        opened = self._budget_rows if unbudgeted else ()
        with self._with(rows, opened), bounded([(v, v.lowBound, 0.0) for v in shut]):
            effort = self.effort()
            if whole:
                # A new root, and searches for plans where most are near, cost most of it.
                limit = effort.within(effort.left(), restarts=False, without=SIDE_SEARCHES)
                outcome = run(m.prob, limit, start=start, cutoff=most)
                found = Found(
                    outcome.status, outcome.value, outcome.bound, outcome.values,
                    outcome.interrupted,
                )  # fmt: skip
            else:
                found = search(m, effort, start)
        answer = self._answer(m, found, 1.0)
        if answer is not None and not whole:
            self._known.append(replace(answer, by_name={}))
        return answer

    @contextmanager
    def _with(self, rows: Sequence[Bound], opened: Sequence[pulp.LpConstraint]) -> Iterator[None]:
        used = [(self._row(row), row.limit) for row in rows]
        stated = [(row, -row.constant) for row in opened]
        for constraint, limit in used:
            constraint.changeRHS(limit)
        for constraint, _ in stated:
            constraint.changeRHS(_open(constraint))
        try:
            yield
        finally:
            for constraint, _ in used:
                constraint.changeRHS(_open(constraint))
            for constraint, limit in stated:
                constraint.changeRHS(limit)

    @cached_property
    def _budget_rows(self) -> tuple[pulp.LpConstraint, ...]:
        labels = self.model.rows
        rows = self.model.prob.constraints()
        return tuple(row for row in rows if isinstance(labels[row.name], Budget))

    def _row(self, row: Bound) -> pulp.LpConstraint:
        """The row in the model: added once, and open where it is not asked for."""
        if row.name not in self._rows:
            m = self.model
            pairs = [(m.columns[la], a) for la, a in row.weights.items() if a]
            sense = pulp.LpConstraintGE if row.at_least else pulp.LpConstraintLE
            m.row(Own(row.name), pairs, sense, row.limit)
            self._rows[row.name] = m.prob.constraints()[-1]
        return self._rows[row.name]

    def effort(self) -> Effort:
        """The time of one solve, more of it where the machine is busy.

        Raises:
            OutOfTimeError: none is left.
        """
        left = time_left(self.deadline)
        self._own[0] += 1
        longest = min(self.options.time_limit_s, LONGEST_S) * self.slowness.factor()
        limit = min(longest, left)
        effort = Effort(replace(self.options, time_limit_s=limit), Deadline(limit), tree=_TREE)
        return effort if math.isinf(left) else effort.impatient()

    def out_of_time(self) -> OutOfTimeError:
        """Why a solve ended without a plan: at its own time, or at that of all of them."""
        kind = HardSolveError if self.deadline.left() > 0 else OutOfTimeError
        return kind("a solve ended at its time before it had a plan", "give it more time")

    def named(self, values: Mapping[Label, float]) -> dict[str, float]:
        """Values as columns of the kept model."""
        columns = self.model.columns
        return {columns[la].name: v for la, v in values.items() if la in columns}

    def _answer(self, m: FleetModel, found: Found, sign: float) -> Answer | None:
        if found.interrupted:
            raise KeyboardInterrupt
        if found.status == "infeasible":
            return None
        if not found.values:
            raise self.out_of_time()
        values = clean_values(m, found.values)
        usd = m.constant_usd + sum(booking.usd for booking in bookings(m, values))
        per = m.problem.objective.goal.per_amount
        loss, bound = sign * found.best * per, sign * found.bound * per
        return Answer(m.problem, loss, bound, values, usd, found.values)


def _open(row: pulp.LpConstraint) -> float:
    """The limit at which a row holds nothing back."""
    return -math.inf if row.sense == pulp.LpConstraintGE else math.inf


def _start(
    m: FleetModel, problem: Problem, values: Mapping[Label, float] | None
) -> dict[str, float] | None:
    """The values as columns of a model, where they are a plan of the problem."""
    if values is None or verify_mix(problem, values):
        return None
    return {m.columns[la].name: v for la, v in values.items() if la in m.columns}


def systems_by_offer(problem: Problem, values: Mapping[Label, float]) -> dict[str, int]:
    """Systems of a plan by offer and site, at the peak over the load blocks."""
    found: dict[str, int] = {}
    for label, count in values.items():
        if isinstance(label, Systems):
            name = problem.offers[label.offer].id
            found[name] = max(found.get(name, 0), round(count))
    return dict(sorted(found.items()))
