"""The loops around the model: solve, explain, compare with one system type, tighten, again.

`solve_mix` is the whole of it. Speed at scale is `search`, the ratio objective is `ratio`, reasons
for having no plan are `diagnose`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.mix.generate.generation import generate, is_generated, is_large
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.generated import (
    GENERATION_SHARE,
    GeneratedContest,
    plan_or_none,
    plan_over,
)
from tokenfleet.mix.model import FleetModel, Label, build, frame_of, scale_limit
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.choices import without_choices
from tokenfleet.mix.preferred import plain, preferred
from tokenfleet.mix.result import MixResult, SingleSystem, Tightening, bookings, clean_values
from tokenfleet.mix.search.incumbent import Found, Watch
from tokenfleet.mix.search.nearest import Standing
from tokenfleet.mix.search.ratio import NoTokenError, search_goal
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, Status, certify, relative_gap, run
from tokenfleet.mix.why.infeasible import (
    UnboundedError,
    check_problem,
    check_scaling,
    describe,
    explain_infeasible,
    unserved,
)
from tokenfleet.mix.why.infeasible_large import explain_large
from tokenfleet.mix.why.single import Contest, WholeContest, best_single_system
from tokenfleet.problem_data import Api, Problem, Scale

Recheck = Callable[[MixResult], Sequence[Tightening]]

_ROUND_SHARE = 0.7  # of the time left, for a round that another may follow
_LEAST_EXPLAIN_S = 3.0  # to say why there is no plan
_AT_LIMIT = 0.1  # of the time limit left, at which it was what ended the search
_LEAST_S = 1.0  # for a round whose problem is known already
_SINGLE_SHARE = 0.2  # of the time limit, for the best plan of one system type


def solve_mix(
    problem: Problem,
    options: SolveOptions | None = None,
    recheck: Recheck | None = None,
    *,
    max_rounds: int = 4,
    compare_single: bool = True,
    watch: Watch | None = None,
    near: Standing | None = None,
) -> MixResult:
    """The best mix with its proof.

    `near` is what stands: of the plans within its tolerance the one that moves least is taken, and
    no simpler one is looked for.

    After each solve `recheck` may name candidates whose load was too small for the mix they were
    given; the problem is tightened and solved again, at most `max_rounds` times, and a warning
    says so if the last round still had something to tighten. The time limit is that of all rounds
    together, re-checks aside.

    `watch(value, bound)` is told of the best plan as it moves, in the unit of the result; not under
    a ratio, of which the search sees other objectives.

    Raises InfeasibleError (with `.conflicts`), UnboundedError, SolverError; KeyboardInterrupt when
    Ctrl-C comes before any plan.
    """
    options = options or SolveOptions()
    begun = time.perf_counter()
    check_problem(problem)
    rounds = _Rounds(options, compare_single, watch, near)
    result = rounds.solve(problem, last=recheck is None or max_rounds == 1)
    pending = recheck(result) if recheck else ()
    while recheck and pending and rounds.done < max_rounds and not result.interrupted:
        problem = tighten(problem, pending)
        try:
            result = rounds.solve(problem, last=rounds.done == max_rounds - 1)
        except KeyboardInterrupt:  # the plan before stands, with what fails in it
            result = replace(result, interrupted=True)
            break
        except NoPlanError:
            break
        pending = recheck(result)
    warnings = result.warnings
    if pending:
        warnings += (f"{len(pending)} replica types still fail their limits at the routed mix",)
    return replace(
        result,
        status=rounds.as_it_ended(result.status),
        rounds=rounds.done,
        warnings=warnings,
        seconds=time.perf_counter() - begun,
    )


class NoPlanError(SolverError):
    """The time limit came before any plan, and before a proof that there is none."""


class NotInPartError(NoPlanError):
    """A large problem's part that was built has no plan; nobody knows whether the whole has one."""


class _Rounds:
    """Solves that share one time limit; what happens between them is not counted."""

    def __init__(
        self,
        options: SolveOptions,
        compare_single: bool,
        watch: Watch | None = None,
        near: Standing | None = None,
    ) -> None:
        """`watch` and `near` as in `solve_mix`."""
        self.watch, self.near = watch, near
        self.options = options
        self.compare_single = compare_single
        self.left = options.time_limit_s
        self.done = 0

    def solve(self, problem: Problem, *, last: bool) -> MixResult:
        """One round, which leaves time for another unless it is the last."""
        limit = self.left if last else self.left * _ROUND_SHARE
        limit = max(limit, min(_LEAST_S, self.options.time_limit_s))
        begun = time.perf_counter()
        try:
            options = replace(self.options, time_limit_s=limit)
            result = _solve_once(problem, options, self.compare_single, self.watch, self.near)
        finally:
            self.left -= time.perf_counter() - begun
        self.done += 1
        return result

    def as_it_ended(self, status: Status) -> Status:
        """The status, and whether it was the time limit that left something unproven."""
        at_limit = self.left <= _AT_LIMIT * self.options.time_limit_s
        return "feasible_time_limit" if status == "feasible" and at_limit else status


def tighten(problem: Problem, tightenings: Sequence[Tightening]) -> Problem:
    """The problem with the named candidates' loads multiplied by their factors."""
    candidates = list(problem.candidates)
    for t in tightenings:
        if not t.factor > 1.0:
            raise SolverError(f"a tightening needs a factor above 1, not {t.factor}")
        candidates[t.candidate] = replace(
            candidates[t.candidate], load=candidates[t.candidate].load * t.factor
        )
    return replace(problem, candidates=tuple(candidates))


def _solve_once(
    problem: Problem,
    options: SolveOptions,
    compare_single: bool,
    watch: Watch | None = None,
    near: Standing | None = None,
) -> MixResult:
    effort = Effort.of(options)
    if is_generated(problem):
        return _solve_generated(problem, effort, compare_single, watch, near)
    frame = frame_of(problem, bounded_scale(problem, options), every_system=False)
    m = build(problem, frame=frame)
    check_scaling(m)
    budget = effort.part(1.0 - _SINGLE_SHARE if compare_single else 1.0)
    found = search_goal(m, budget, watch=watch)
    _require_plan(m, found)
    result = result_of(m, found)
    if found.interrupted:
        return result
    try:
        if compare_single and effort.left() > 0:
            result = _with_single(WholeContest(m, found.bound), result, effort)
        result = preferred(m, result, found, effort, near)
        if m.problem.objective.simplicity_tolerance > 0 and m.problem.horizon is None:
            result = plain(m, result, effort, change=near is None)
        return result
    except KeyboardInterrupt:
        return replace(result, interrupted=True)


@dataclass(frozen=True)
class Alone:
    """The best plan of a problem that need not have one."""

    best: MixResult | None
    impossible: bool = False  # proven: there is no plan
    why: str = ""  # what no plan serves, where that is known


def best_alone(problem: Problem, options: SolveOptions) -> Alone:
    """The best plan of a problem that need not have one, or what keeps it from having any."""
    effort = Effort.of(options).impatient()
    try:
        check_problem(problem)
        whole = not is_generated(problem)
        m, found = (_whole_or_none if whole else plan_or_none)(problem, effort)
    except InfeasibleError as error:
        return Alone(None, impossible=True, why=next(iter(error.conflicts), ""))
    except NoTokenError as error:
        return Alone(None, impossible=True, why=error.message)
    if found.values:
        return Alone(result_of(m, found))
    if not whole or found.status != "infeasible":
        return Alone(None)
    return Alone(None, impossible=True, why=unserved(problem, options))


def _whole_or_none(problem: Problem, effort: Effort) -> tuple[FleetModel, Found]:
    frame = frame_of(problem, bounded_scale(problem, effort.options), every_system=False)
    m = build(problem, frame=frame)
    return m, search_goal(m, effort)


def _solve_generated(
    problem: Problem,
    effort: Effort,
    compare_single: bool,
    watch: Watch | None = None,
    near: Standing | None = None,
) -> MixResult:
    """A plan from the pairs that the whole relaxation asks for, with its bound.

    Plans of one system type are not sought where the problem is large: the bound says how much any
    plan could save.
    """
    pairs, large = Pairs.of(problem), is_large(problem)
    alone = compare_single and not large
    budget = effort.part(1.0 - _SINGLE_SHARE if alone else 1.0)
    generated = generate(pairs, budget.part(GENERATION_SHARE) if large else budget.first())
    if generated.infeasible:
        patient = effort.part(1.0, least_s=_LEAST_EXPLAIN_S)
        raise (
            explain_large(pairs, generated.pairs, patient) if large else explain_infeasible(problem)
        )
    if not generated.served:
        raise KeyboardInterrupt if generated.interrupted else no_plan()
    m, found = plan_over(pairs, generated, budget, watch)
    if not found.values:
        if found.interrupted:
            raise KeyboardInterrupt
        raise _no_plan_of_part(sum(map(len, m.eligible.values()))) if found.exhausted else no_plan()
    result = result_of(m, found)
    if large:
        note = "the best plan of one system type was not sought: the problem is large"
        result = replace(result, warnings=(*result.warnings, note))
    if found.interrupted:
        return result
    try:
        if alone and effort.left() > 0:
            result = _with_single(GeneratedContest(pairs), result, effort)
        return preferred(m, result, found, effort, near)
    except KeyboardInterrupt:
        return replace(result, interrupted=True)


def _require_plan(m: FleetModel, found: Found) -> None:
    if found.values:
        return
    if found.interrupted:
        raise KeyboardInterrupt
    if found.status == "infeasible":
        raise explain_infeasible(m.problem, m.frame)
    if found.status == "unbounded":
        raise _unbounded(m, found.ray)
    raise no_plan()


def no_plan() -> NoPlanError:
    """The error where a search ended without a plan, and without a proof that there is none."""
    return NoPlanError(
        "no plan was found within the time limit, and no proof that there is none",
        "give the solver more time, or loosen the limits",
    )


def _no_plan_of_part(pairs: int) -> NotInPartError:
    return NotInPartError(
        f"the problem is too large to be built whole, and the {pairs:,} pairs of system and layout "
        "that were built hold no plan in whole systems; others may",
        "name fewer systems, engines or precisions, or loosen power, racks or supply",
    )


def _unbounded(m: FleetModel, ray: Sequence[str]) -> UnboundedError:
    names = sorted({describe(m, name) for name in ray}) or ["scale of free demand"]
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return UnboundedError(
        f"the objective improves without end along: {shown}",
        "give a power limit, a rack limit, a supply, a budget or demand.max_requests_per_s",
    )


def result_of(m: FleetModel, found: Found) -> MixResult:
    """The plan that a search of the model found, in the units of the problem's goal."""
    kind, unit = m.problem.objective.kind, m.problem.objective.goal.per_amount
    values = clean_values(m, found.values)
    return MixResult(
        problem=m.problem,
        status=found.status,
        kind=kind,
        value=found.value * unit,
        bound=found.bound * unit,
        gap=found.gap,
        best_value=None if found.best_value is None else found.best_value * unit,
        values=values,
        bookings=bookings(m, values),
        interrupted=found.interrupted,
        warnings=_warnings(m.problem, values),
    )


def _warnings(problem: Problem, values: Mapping[Label, float]) -> tuple[str, ...]:
    uses_api = any(isinstance(label, Api) for label in values)
    if problem.objective.goal.counts_energy and uses_api:
        return ("energy and carbon of hosted APIs are unknown and counted as none",)
    return ()


def bounded_scale(problem: Problem, options: SolveOptions) -> float:
    """A finite upper bound of the common scale of free demand; 0 when no demand is free.

    Minimising cost, energy or carbon never serves more than the least volume. Otherwise the largest
    scale of the relaxation without any reserve or fixed staff is a bound: how many systems a pool
    may hold at most, which ties both to its use, follows from it. If there is none, the error says
    what is missing.
    """
    if not any(w.free for w in problem.workloads):
        return 0.0
    if not problem.objective.goal.gains_by_volume:
        return max(w.min_scale for w in problem.workloads if w.free)
    limit = scale_limit(problem)
    if math.isfinite(limit):
        return limit
    # What is tied to the use of a pool is held by its most systems, which follow from this scale.
    m = build(without_choices(problem), scale_max=math.inf)
    objective.set_objective(m, dict.fromkeys(m.of(Scale), 1.0), maximise=True)
    patient = Effort.of(options).first()
    outcome = run(m.prob, patient.within(patient.left()), mip=False)
    if outcome.status == "unbounded":
        raise _unbounded(m, outcome.ray)
    if outcome.status == "infeasible":
        raise explain_infeasible(problem)
    if not outcome.has_incumbent:
        raise no_plan()
    return outcome.value * (1.0 + 1e-6)


def _with_single(contest: Contest, result: MixResult, effort: Effort) -> MixResult:
    """The result beside the best plan of one system type, or that plan if it is better."""
    found = best_single_system(contest, effort.impatient())
    if found is None:
        return result
    system, single = found
    alone = contest.model(system)
    unit = result.problem.objective.goal.per_amount
    value, bound = single.value * unit, single.bound * unit
    values = clean_values(alone, single.values)
    result = replace(result, best_single=SingleSystem(system, value, bound, values))
    if contest.sign * value >= contest.sign * result.value:
        return result
    # A better value by no more than rounding may lie beyond the bound: a proof is a proof.
    bound = contest.sign * min(contest.sign * result.bound, contest.sign * value)
    return replace(
        result,
        value=value,
        bound=bound,
        best_value=None,
        gap=relative_gap(value, bound),
        status=certify(value, bound, effort.gap),
        values=values,
        bookings=bookings(alone, values),
    )
