"""A built scenario with a horizon in, a plan over it out.

tree of nodes ▸ solve (re-check every node, tighten, again) ▸ verify ▸ measures ▸ plan
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from tokenfleet.errors import InfeasibleError, SchemaError, SolverError
from tokenfleet.files.plain import finite
from tokenfleet.horizon.beside import Asked, Beside
from tokenfleet.horizon.proof import bounded, checked_part, confirmed
from tokenfleet.mix.horizon import measures
from tokenfleet.mix.horizon.combine import combined, period_weight
from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.kin import Kin
from tokenfleet.mix.horizon.part import (
    Part,
    at_risk,
    bound_by,
    is_asked,
    part_of,
    user_costs,
)
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import HorizonResult, Orders, solve_horizon
from tokenfleet.mix.horizon.steady import as_proven, is_steady, repeated
from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.mix.search.incumbent import Watch
from tokenfleet.mix.solve import NoPlanError, solve_mix, tighten
from tokenfleet.mix.solver.effort import Deadline, Effort, Slowness
from tokenfleet.mix.solver.highs import PROVEN, SolveOptions, certify, relative_gap
from tokenfleet.plan.extras import extras
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.plan.notices import inherited_later, outlived
from tokenfleet.plan.over_time import Measured, mix_of, over_time
from tokenfleet.plan.rows import Plan
from tokenfleet.problem import Built
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem_data import BoundCheck, Horizon
from tokenfleet.schema.near import did_you_mean
from tokenfleet.verify.bound import with_checked_bound
from tokenfleet.verify.horizon import OUTLOOK_MAY, verify_horizon
from tokenfleet.verify.horizon_bound import wanted_by_years
from tokenfleet.verify.latency import verify_latency
from tokenfleet.verify.mix import refuse, verify_mix
from tokenfleet.verify.routed import recheck

_MAX_ROUNDS = 3
_RISK_SHARE = 0.3  # of the time for a plan, to bound what is at risk in a large one
_PLAN_SHARE = 0.7  # of the time limit; the rest measures what the outlooks are worth
_AFTER_YEAR = 0.3  # of the time limit, for a search that the plan of a steady year did not spare
_WANTED = 0.2  # of the time for a plan, to ask years for layouts
_OVER_PART = 0.5  # of what is left of it, for a plan over those
_ROUND = (
    0.6  # of it, that must be left after the first plan to plan again before years are searched
)
_LEAST_CHECK_S = 10.0  # for the bound of that plan, and no more than the time limit
_BESIDE = 0.15  # of the time limit, for each way alone and each type of system alone
_LATE = 0.1  # of the time limit, for what the outlooks are worth where a plan took all of it
_MATRIX = 4  # futures up to which every plan is tried in every other


def plan_horizon(
    built: Built,
    options: SolveOptions,
    *,
    begun: float,
    period: str | None = None,
    fixed: Plan | None = None,
    watch: Watch | None = None,
    alone: bool = False,
) -> Plan:
    """The plan over the scenario's horizon. Its own keys are those of the first period, or of
    `period` ("2027-Q1"); `fixed` is a plan whose orders before the first news are kept. With
    `alone`, it has the best plan of each way alone and of one type of system beside it.
    `watch(value, bound)` is told of the best plan as it moves, in the unit of its objective.

    Raises:
        InfeasibleError: no plan meets every requirement; names the period and what is short.
        SchemaError: the horizon cannot be understood, or there is no such period.
        SolverError: no plan was found, or it did not pass the independent check.
    """
    tree, slowness = tree_of(built), Slowness()
    shown = _node_named(tree, period)
    decided = None if fixed is None else orders_of(tree, fixed)
    made = _planned(built, tree, options, decided, begun=begun, watch=watch)
    tree, result, part, risk = made.tree, made.result, made.part, made.risk
    how = made.how
    if made.is_whole and decided is None:
        seconds = max(_left(options, begun), 1.0)
        result, how = confirmed(result, risk, options.gap, seconds)
    result, mixes = _checked(built, result)
    left = _left(options, begun)
    worth = len(tree.leaves) > 1 and built.problem.objective.kind == "least_cost"
    measured = Measured()
    if worth and not result.interrupted:
        left = max(left, _LATE * options.time_limit_s)
        measured = _measure(result, risk, options, left, part=part, memory=made.memory)
    beside = Beside()
    if alone and decided is None and not result.interrupted and made.part is None:
        asked = Asked(built, tree, result, risk, options, made.memory)
        limited = built.loaded.scenario.solver.time_limit_s is not None
        patience = 1.0 if limited else slowness.factor()
        beside = asked.beside(_BESIDE * patience * options.time_limit_s)
    stated = over_time(built.loaded.scenario, result, measured)
    mix = mixes[shown]
    mix = replace(mix, rounds=made.rounds, warnings=(*mix.warnings, *_unproven(result)))
    if not math.isfinite(mix.value):  # a year without a token has no cost per token
        mix = replace(mix, value=result.value)
    plan = plan_of(mix, extras(built, mix, time.perf_counter() - begun))
    scale, unit = 1.0, f"{plan.objective_unit}, times years"
    if plan.objective == "least_cost":
        scale, unit = result.years, "USD per year, levelised"
    elif built.problem.objective.goal.per is not None:
        unit = f"{plan.objective_unit}, levelised"
    catalog = built.loaded.catalog
    later = inherited_later(stated, catalog, (row.system for row in plan.systems))
    changed = {
        "horizon": stated,
        "ways": beside.ways,
        "best_single_system": beside.single,
        "warnings": (*plan.warnings, *later, *outlived(built, result)),
        "objective_value": result.value / scale,
        "objective_unit": unit,
        "best_objective_value": None if result.best_value is None else result.best_value / scale,
        "bound": finite(result.bound / scale),
        "gap": finite(result.gap),
    }
    if how is not None:
        changed["bound_check"] = how
    return plan.model_copy(update=changed)


def _left(options: SolveOptions, begun: float) -> float:
    """Seconds of the time limit that are left; below zero where it has passed."""
    return options.time_limit_s - (time.perf_counter() - begun)


@dataclass(frozen=True)
class _Planned:
    """A plan of a horizon, and how it was come by."""

    tree: Horizon
    result: HorizonResult
    rounds: int
    how: BoundCheck | None  # what confirmed the bound; None: nothing tried to
    risk: Risk  # as it is stated, with the least costs that regret looks at
    part: Part | None = None  # of the layouts, where not all were built
    is_whole: bool = False  # searched over all layouts
    memory: Memory = field(default_factory=Memory)  # of what nodes cost


def _planned(
    built: Built,
    tree: Horizon,
    options: SolveOptions,
    decided: Orders | None,
    *,
    begun: float,
    watch: Watch | None,
) -> _Planned:
    """The best plan of a horizon: that of its year where that proves it, else a search of its own,
    from which the year's is taken where it is as good."""
    name = built.problem.name
    alike = decided is None and is_steady(tree)
    if len(tree.leaves) > 1 and risk_of(built).counts_the_bad:
        alike = False
    year = _one_year(built, tree, options) if alike else None
    if year is not None:
        proven = _of_year(name, tree, year, options)
        if proven is not None:
            return _Planned(tree, proven, year.rounds, year.bound_check, risk_of(built))
    left = max(_left(options, begun), _AFTER_YEAR * options.time_limit_s)
    share = _PLAN_SHARE if len(tree.leaves) > 1 else 1.0
    main = replace(options, time_limit_s=left * share)
    made = _over_wanted(built, tree, main, decided, watch) if is_asked(tree) else None
    if made is None:
        made = _in_parts(built, tree, main, decided, watch)
    if year is not None and not made.result.interrupted:
        seconds = max(_left(options, begun), 1.0)
        limit = replace(options, time_limit_s=seconds)
        try:
            result = repeated(made.result, year, limit, made.part)
        except KeyboardInterrupt:
            result = replace(made.result, interrupted=True)
        made = replace(made, result=result)
    return made


def _of_year(
    name: str, tree: Horizon, year: MixResult, options: SolveOptions
) -> HorizonResult | None:
    """The year's plan in every period where that is proven, or where Ctrl-C left nothing else.

    Raises:
        KeyboardInterrupt: Ctrl-C, and the year's plan is none of the horizon.
    """
    if not year.interrupted:
        try:
            return as_proven(name, tree, year, options)
        except KeyboardInterrupt:
            year = replace(year, interrupted=True)
    kept = as_proven(name, tree, year, options)
    if kept is None:
        raise KeyboardInterrupt
    return kept


def _in_parts(
    built: Built,
    tree: Horizon,
    options: SolveOptions,
    decided: Orders | None,
    watch: Watch | None,
) -> _Planned:
    """The best plan over all layouts, or where they are too many over those that generation finds,
    which bounds it over all."""
    part = part_of(built.problem.name, tree, Effort.of(options))
    checked = checked_part(part, built, tree)
    if part is not None and checked is not None:
        wanted = checked.used if part.asks else frozenset()
        part = replace(part, bound=checked.bound, pairs=part.pairs | wanted)
    told = _told(built, tree, watch)
    memory = Memory()
    found = _solve(built, tree, options, decided, part, memory=memory, watch=told)
    tree, result, rounds, risk = found
    how = None if checked is None else checked.how
    return _Planned(tree, result, rounds, how, risk, part, is_whole=part is None, memory=memory)


def _over_wanted(
    built: Built,
    tree: Horizon,
    options: SolveOptions,
    decided: Orders | None,
    watch: Watch | None,
) -> _Planned | None:
    """The best plan over the layouts that years want at prices of systems: those of their orders
    first, then those of the plan, which bound it too. None where these layouts have no plan."""
    effort, memory, told = Effort.of(options), Memory(), _told(built, tree, watch)
    problem = combined(built.problem.name, tree)
    nodes = dict.fromkeys([*(u for u, n in enumerate(tree.nodes) if n.firm), *tree.leaves])
    seconds = effort.left() * _WANTED
    pairs = wanted_by_years(problem, user_costs(problem), nodes, seconds)
    best: _Planned | None = None
    for _ in range(_MAX_ROUNDS):
        part = Part(pairs, -math.inf, by_itself=True)
        limit = replace(options, time_limit_s=max(effort.left() * _OVER_PART, 1.0))
        try:
            found = _solve(built, tree, limit, decided, part, memory=memory, watch=told)
        except NoPlanError:
            return best
        except KeyboardInterrupt:
            if best is None:
                raise
            return replace(best, result=replace(best.result, interrupted=True))
        tree, result, rounds, risk = found
        least = min(_LEAST_CHECK_S, options.time_limit_s)
        again = best is None and effort.left() > _ROUND * options.time_limit_s
        seconds = max(effort.left(), least)
        within = pairs if again else None
        result, checked = bounded(result, risk, options.gap, seconds, within)
        made = _Planned(tree, result, rounds, checked.how, risk, part, memory=memory)
        best = made if best is None else _better(best, made, options.gap)
        if result.status in PROVEN or checked.used <= pairs or not (again or effort.left() > 0):
            break
        pairs |= checked.used
    return best


def _better(one: _Planned, other: _Planned, gap: float) -> _Planned:
    """The better plan of two, the later of equals, with the better bound: each holds for both."""
    sign = one.result.problem.objective.goal.sign
    plan = other if sign * other.result.best <= sign * one.result.best else one
    proof = other if sign * other.result.bound >= sign * one.result.bound else one
    if proof is plan:
        return plan
    value = plan.result.best
    bound = sign * min(sign * proof.result.bound, sign * value)
    status, reached = certify(value, bound, gap), relative_gap(value, bound)
    known = replace(plan.result, bound=bound, status=status, gap=reached)
    return replace(plan, how=proof.how, result=known)


def _unproven(result: HorizonResult) -> Iterator[str]:
    """Why nothing bounds the cost, where nothing does."""
    if math.isfinite(result.gap):
        return
    problem = result.problem
    if any(candidate.role != "serve" for candidate in problem.candidates):
        text = "with prefill apart from decode its years were not all bounded in the time"
        yield f"nothing is proven of this plan: {text}"
    else:
        yield "nothing is proven of this plan: its relaxation was not solved in the time"


def _one_year(built: Built, tree: Horizon, options: SolveOptions) -> MixResult | None:
    """The plan of one steady year with the bound that other means confirm, and the best so far
    where Ctrl-C ends it; None where it has none by itself."""
    problem = replace(built.problem, candidates=tree.nodes[0].problem.candidates)
    try:
        year = solve_mix(problem, options, lambda found: recheck(built, found))
    except (SolverError, InfeasibleError):
        return None
    left = max(options.time_limit_s - year.seconds, 1.0)
    try:
        return year if year.interrupted else with_checked_bound(year, options.gap, left)
    except KeyboardInterrupt:
        return replace(year, interrupted=True)


def _told(built: Built, tree: Horizon, watch: Watch | None) -> Watch | None:
    """The same in the unit of the plan's objective: costs as those of a year."""
    if watch is None or built.problem.objective.kind != "least_cost":
        return watch
    years = sum(period_weight(tree, t) for t in range(tree.periods))
    return lambda value, bound: watch(value / years, bound / years)


def risk_of(built: Built) -> Risk:
    """The risk that a scenario states; regret has still to be told the least costs."""
    scenario = built.loaded.scenario
    stated = scenario.objective.risk
    unmet = None if scenario.horizon is None else scenario.horizon.max_unmet_probability
    if stated is None:
        return Risk(most_unmet=unmet)
    weight = stated.weight if stated.kind == "cvar" else 0.0
    return Risk(stated.kind, weight, stated.cvar_alpha, unmet)


def _solve(
    built: Built,
    tree: Horizon,
    options: SolveOptions,
    fixed: Orders | None,
    part: Part | None,
    *,
    memory: Memory,
    watch: Watch | None = None,
) -> tuple[Horizon, HorizonResult, int, Risk]:
    """Solve, re-check the replicas of every node at the mix they are given, and solve again."""
    risk, name = risk_of(built), built.problem.name
    begun = time.perf_counter()
    for rounds in range(1, _MAX_ROUNDS + 1):
        left = max(_left(options, begun), 1.0)
        share = 1.0 if rounds == _MAX_ROUNDS else 0.7
        limit = replace(options, time_limit_s=left * share)
        if risk.kind == "regret":
            each = _part(limit, len(tree.leaves) + 1)
            known = measures.wait_and_see(tree, each, name, part, memory)
            risk = replace(risk, least=known.least)
        if part is not None and risk.counts_the_bad and not part.by_itself:
            part = _at_risk(part, built, tree, risk, Effort.of(limit).part(_RISK_SHARE))
        kin = Kin(memory, explains=True)
        result = solve_horizon(name, tree, limit, risk, fixed, part=part, watch=watch, kin=kin)
        failed: dict[int, Tightening] = {}
        try:
            for u in range(len(tree.nodes)):
                failed |= {t.candidate: t for t in recheck(built, mix_of(result, u))}
        except KeyboardInterrupt:  # what a plan must hold is checked at the end
            result = replace(result, interrupted=True)
        if not failed or result.interrupted or rounds == _MAX_ROUNDS:
            return tree, result, rounds, risk
        tree = _tightened(tree, list(failed.values()))
    raise AssertionError("unreachable")


def _at_risk(part: Part, built: Built, tree: Horizon, risk: Risk, effort: Effort) -> Part:
    """The part with the pairs that the bad futures want, and the bound on what is at risk."""
    found = at_risk(part, tree, risk, effort)
    if found is None:
        return part
    other, own = found
    checked = checked_part(own, built, other)
    bound = bound_by(risk, -math.inf if checked is None else checked.bound, other)
    return replace(part, pairs=own.pairs, at_risk=max(bound, part.at_risk))


def _part(options: SolveOptions, parts: int) -> SolveOptions:
    return replace(options, time_limit_s=max(options.time_limit_s / parts, 0.5))


def _tightened(tree: Horizon, failed: Sequence[Tightening]) -> Horizon:
    nodes = tuple(replace(node, problem=tighten(node.problem, failed)) for node in tree.nodes)
    return replace(tree, nodes=nodes)


def _checked(built: Built, result: HorizonResult) -> tuple[HorizonResult, list[MixResult]]:
    """A result that passes the independent checks, with its years. Ctrl-C in the checks keeps the
    plan, which then has them from the start: they take a few seconds.

    Raises:
        SolverError: as `_check`.
    """
    nodes = range(len(result.horizon.nodes))
    mixes = [mix_of(result, u) for u in nodes]
    try:
        _check(built, result, mixes)
    except KeyboardInterrupt:
        result = replace(result, interrupted=True)
        mixes = [mix_of(result, u) for u in nodes]
        _check(built, result, mixes)
    return result, mixes


def _check(built: Built, result: HorizonResult, mixes: Sequence[MixResult]) -> None:
    """The independent checks of the whole walk, and of every year with its cost by item.

    Raises:
        SolverError: a requirement does not hold, or the cost is not what it was said to be.
    """
    found = verify_horizon(result.problem, result.values, result.npv_usd)
    for node, mix in zip(result.horizon.nodes, mixes, strict=True):
        year = verify_mix(mix.problem, mix.values, mix.cost_items)
        if not node.firm:
            year = [v for v in year if v.rule not in OUTLOOK_MAY]
        found += year + verify_latency(built, mix)
    refuse(found)


def _measure(
    result: HorizonResult,
    risk: Risk,
    options: SolveOptions,
    left: float,
    *,
    part: Part | None,
    memory: Memory,
) -> Measured:
    """What knowing and planning are worth, for as long as there is time.

    No future costs more known than what the plan pays in it, so a search that ends early cannot
    make knowing look harmful.
    """
    tree, leaves = result.horizon, len(result.horizon.leaves)
    matrix = leaves <= _MATRIX and part is None
    parts = leaves + 3 + (leaves * leaves if matrix else 0)
    deadline = Deadline(left)
    each = replace(options, time_limit_s=max(left / parts, 1.0))

    def after(decided: Orders) -> HorizonResult | None:
        measures.begin_before(deadline)
        now = {} if risk.counts_the_bad else result.orders_now()
        if now and all(now.get(at, 0.0) == count for at, count in decided.items()):
            return result  # what the plan itself decides
        return measures.with_orders(tree, decided, each, part=part, memory=memory)

    def after_mean() -> HorizonResult | None:
        measures.begin_before(deadline)
        chain = measures.mean_plan(tree, each, part=part, memory=memory)
        return after(measures.orders_of_chain(tree, chain))

    def if_waited() -> HorizonResult | None:
        return after(measures.no_orders(tree))

    def regrets() -> list[tuple[float | None, ...]]:
        assert known is not None
        rows = []
        for leaf, chain in known.results.items() if matrix else ():
            orders = measures.orders_of_chain(tree, chain)
            row = measures.regret_of(tree, orders, known, each, memory, deadline=deadline)
            row[leaf] = 0.0  # its plan is at hand, and not found again to a gap
            rows.append(tuple(None if usd is None else max(usd, 0.0) for usd in row.values()))
        return rows

    try:
        known = _if_solved(
            lambda: measures.wait_and_see(tree, each, part=part, memory=memory, deadline=deadline)
        )
        eev, later = _if_solved(after_mean), _if_solved(if_waited)
        rows = (_if_solved(regrets) or []) if known is not None else []
    except KeyboardInterrupt:  # the plan stands without them
        return Measured()
    npv, by_leaf = result.npv_usd, result.npv_by_leaf
    least = None if known is None else known.least
    proven = {} if known is None else {u: found.bound for u, found in known.results.items()}
    return Measured(
        least=least and {leaf: min(usd, by_leaf[leaf]) for leaf, usd in least.items()},
        least_bound=proven if proven and all(map(math.isfinite, proven.values())) else None,
        eev=None if eev is None else max(eev.npv_usd, npv),
        eev_bound=None if eev is None else finite(eev.bound),
        waiting=None if later is None else max(later.npv_usd, npv),
        regret=tuple(rows),
    )


_Solved = TypeVar("_Solved")


def _if_solved(measure: Callable[[], _Solved]) -> _Solved | None:
    """What is measured; None where it was not solved in the time."""
    try:
        return measure()
    except (SolverError, InfeasibleError):
        return None


def _node_named(tree: Horizon, period: str | None) -> int:
    names = [node.name for node in tree.nodes]
    if period is None:
        return 0
    if period in names:
        return names.index(period)
    raise SchemaError(f"there is no period {period!r}", did_you_mean(period, names))


def orders_of(tree: Horizon, plan: Plan) -> dict[tuple[int, int], float]:
    """Orders of a plan before the first news, as decisions of the tree's nodes.

    Raises:
        SchemaError: the plan is of one steady year.
    """
    if plan.horizon is None:
        raise SchemaError("the plan whose orders are to be kept has no horizon", "give another")
    found = {
        (u, o): 0.0
        for u in tree.now
        for o, offer in enumerate(tree.nodes[u].problem.offers)
        if offer.stock is not None
    }
    dates = sorted({period.start for period in plan.horizon.periods})
    days = {day: t for t, day in enumerate(dates)}
    for order in plan.horizon.orders:
        period = days.get(order.order_on)
        for u in tree.now:
            problem = tree.nodes[u].problem
            for o, offer in enumerate(problem.offers):
                site = problem.sites[problem.pools[offer.pool].site].id
                same = (offer.stated_as, site) == (order.offer, order.site)
                if same and tree.nodes[u].period == period:
                    found[u, o] = order.count
    return found
