"""A plan over a horizon with its proof: build, search, and read what each future costs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import pulp

from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.mix.horizon.combine import combined, in_node, mean
from tokenfleet.mix.horizon.explain import explain_horizon
from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.first import first_plan, is_worth
from tokenfleet.mix.horizon.kin import Kin
from tokenfleet.mix.horizon.part import Part, bound_by, future_duals
from tokenfleet.mix.horizon.risk import Risk, fixed_costs, set_risk
from tokenfleet.mix.horizon.search import is_worth_states, search_horizon
from tokenfleet.mix.horizon.states import states_of
from tokenfleet.mix.model import FleetModel, Label, build, frame_of, scale_limit
from tokenfleet.mix.model.columns import BY_ORDER
from tokenfleet.mix.model.index import NO_LEAF, TIE, Future, InService
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.model.stock import fix_orders, paid_in
from tokenfleet.mix.result import Booking, MixResult, clean_values
from tokenfleet.mix.search.incumbent import Found, Watch
from tokenfleet.mix.search.ratio import search_ratio
from tokenfleet.mix.solve import NoPlanError, bounded_scale
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, Status, certify
from tokenfleet.mix.why.infeasible import check_scaling
from tokenfleet.problem_data import (
    EVERY_BLOCK,
    Api,
    Flow,
    Held,
    Horizon,
    Ordered,
    Problem,
    Racks,
    Replicas,
    Scale,
    Short,
    Slot,
    Started,
    Systems,
)

_CHAIN = 0.1  # of the time, for the mean future
_CHAIN_GAP = 0.02
_TIE = 1e-8  # relative: plans as near as this in the objective are equally good
_RUNS = (Systems, Replicas, Flow, Api, Short, Scale, Slot, Racks)  # what is pinned
Orders = Mapping[tuple[int, int], float]  # (node, offer): systems


@dataclass(frozen=True)
class HorizonResult:
    """A plan over a horizon.

    `value` and `bound` are of the objective, risk included; `npv_usd` is the mean of
    `npv_by_leaf`, the worth of all cash of each future. `booked` are its parts with the node that
    pays.
    """

    problem: Problem = field(repr=False)
    status: Status
    value: float
    bound: float
    gap: float
    values: Mapping[Label, float] = field(repr=False)
    booked: tuple[tuple[int, Booking], ...] = field(repr=False)  # by node: mean worth, USD
    fixed_usd: tuple[float, ...] = field(repr=False)  # of each node, whatever is done, if it comes
    npv_usd: float
    npv_by_leaf: Mapping[int, float]
    interrupted: bool = False
    seconds: float = 0.0
    best_value: float | None = None  # of the best plan, where one that is as good took its place
    #: Worth of a system in service by (node, offer) in a relaxation of the whole.
    prices: Mapping[tuple[int, int], float] = field(default_factory=dict, repr=False)
    futures: Mapping[int, float] = field(default_factory=dict, repr=False)  # how much each counts

    @property
    def best(self) -> float:
        """The best value found: that of the plan, but where one as good took its place."""
        return self.value if self.best_value is None else self.best_value

    @property
    def horizon(self) -> Horizon:
        """Its periods and nodes."""
        assert self.problem.horizon is not None
        return self.problem.horizon

    @property
    def years(self) -> float:
        """Discounted years of the horizon."""
        return self.problem.years

    @property
    def levelised_usd_per_year(self) -> float:
        """The yearly cost that is worth as much over the horizon."""
        return self.npv_usd / self.years

    def orders_now(self) -> dict[tuple[int, int], float]:
        """Orders of the nodes before the first news, those of none as well."""
        now = self.horizon.now
        found = {
            (u, o): 0.0
            for u in now
            for o, offer in enumerate(self.problem.offers)
            if offer.stock is not None
        }
        for label, value in self.values.items():
            if isinstance(label, Ordered) and label.node in now:
                found[label.node, label.offer] = value
        return found


def solve_horizon(
    name: str,
    horizon: Horizon,
    options: SolveOptions | None = None,
    risk: Risk | None = None,
    fixed: Orders | None = None,
    *,
    part: Part | None = None,
    watch: Watch | None = None,
    pinned: Mapping[Label, float] | None = None,
    kin: Kin | None = None,
    at_least: Orders | None = None,
    patient: bool = True,
) -> HorizonResult:
    """The best plan over a horizon. `fixed` are numbers of orders that are decided already,
    `at_least` those that may only grow, `pinned` all of what runs in every node, so that orders
    alone are left to find; `part` are the pairs that may be used where all are too many, with the
    bound that was proven of all. `watch(value, bound)` is told of the best plan as it moves. `kin`
    is what is known of horizons like this one. Who is not `patient` does not wait for a first plan
    beyond the time.

    Raises:
        InfeasibleError: no plan meets every requirement; names the period and what is short, but of
            one of many that are alike.
        SchemaError: a node cannot happen.
        SolverError: the solver failed, or found no plan and no proof that there is none.
    """
    begun = time.perf_counter()
    options = options or SolveOptions()
    for node in horizon.nodes:
        if not node.probability > 0:
            raise SchemaError(f"{node.name} has probability {node.probability:g}", "leave it out")
    problem = combined(name, horizon)
    pairs = None if part is None else part.pairs
    m = _model(problem, fixed or {}, pairs, _most_scale(problem, options), at_least or {})
    if kin is not None:
        kin.charge(m)
    set_risk(m, risk or Risk())
    if kin is not None:
        kin.ask(m)
    if pinned is not None:
        for label, column in m.columns.items():
            if isinstance(label, _RUNS):
                column.lowBound = column.upBound = pinned.get(label, 0.0)
    effort = Effort.of(options) if patient else Effort.of(options).impatient()
    free = not (fixed or at_least or pinned)
    found = _searched(m, effort, part, risk, watch=watch, kin=kin, free=free)
    if not found.values:
        if found.interrupted:
            raise KeyboardInterrupt
        all_of_it = pinned is None and (part is None or part.infeasible or bool(fixed or at_least))
        if found.status != "infeasible" or not all_of_it:
            text = "no plan was found within the time limit"
            raise NoPlanError(text, "give the solver more time")
        if kin is not None and not kin.explains:
            raise InfeasibleError("no plan meets every requirement", ())
        raise explain_horizon(problem, m.frame, fixed, pairs)
    if risk is not None and risk.leaves_a_choice:
        found = _least_mean(m, found, effort)
    values = clean_values(m, found.values)
    fixed_usd = fixed_costs(problem, m.constant_usd)
    booked = _booked(m, values)
    by_leaf = _costs_by_leaf(horizon, fixed_usd, booked)
    npv = sum(horizon.nodes[x].probability * usd for x, usd in by_leaf.items())
    return HorizonResult(
        problem=problem,
        status=found.status,
        value=found.value,
        bound=found.bound,
        gap=found.gap,
        values=values,
        booked=booked,
        fixed_usd=tuple(fixed_usd),
        npv_usd=npv,
        npv_by_leaf=by_leaf,
        interrupted=found.interrupted,
        seconds=time.perf_counter() - begun,
        prices={
            (label.node, label.offer): -found.row_duals[name]
            for name, label in m.rows.items()
            if isinstance(label, InService) and name in found.row_duals
        },
        futures=future_duals(m, found.row_duals),
    )


def has_states(horizon: Horizon, risk: Risk) -> bool:
    """Whether a fleet is so small that its plans are searched by states, which proves them best."""
    problem = combined("", horizon)
    m = _model(problem, {}, None, scale_limit(problem))
    set_risk(m, risk)
    return is_worth_states(m) and states_of(m) is not None


def _searched(
    m: FleetModel,
    effort: Effort,
    part: Part | None,
    risk: Risk | None,
    *,
    watch: Watch | None,
    kin: Kin | None,
    free: bool,
) -> Found:
    """The best plan of a model, from those that are known of its kin, or else from that of its mean
    future; `free` where nothing is decided yet."""
    if m.problem.objective.goal.per is not None:
        found = _by_amount(search_ratio(m, effort, search_horizon), m.problem)
        return found if part is None else _without_proof(found, m, effort)
    start, stopped = None if kin is None else kin.start(m), False
    memory = None if kin is None else kin.memory
    is_built_whole = part is None or part.by_itself
    if start is None and free and effort.patient and is_built_whole and is_worth(m):
        start, stopped = _by_mean_future(m, effort, part, memory)
        effort = effort.part(0.0) if stopped else effort
    if part is None:
        found = search_horizon(m, effort, start, watch=watch, memory=memory)
    elif part.by_itself:
        told = None if watch is None else _without_bound(watch)
        found = search_horizon(m, effort, start, watch=told, memory=memory)
        found = _without_proof(found, m, effort)
    else:
        assert m.problem.horizon is not None
        bound = max(bound_by(risk, part.bound, m.problem.horizon), part.at_risk)
        found = search_horizon(m, effort, start, watch=watch, bound=bound, memory=memory)
    return replace(found, interrupted=found.interrupted or stopped)


def _by_mean_future(
    m: FleetModel, effort: Effort, part: Part | None, memory: Memory | None
) -> tuple[dict[str, float] | None, bool]:
    """A plan by what the mean future decides before the first news, None where that is none; and
    whether Ctrl-C ended the search for it.

    Raises:
        KeyboardInterrupt: Ctrl-C, and there is no plan.
    """
    assert m.problem.horizon is not None
    chain, limit = mean(m.problem.horizon), effort.within(_CHAIN * effort.left(), gap=_CHAIN_GAP)
    try:
        kin = Kin(memory or Memory())
        found = solve_horizon(m.problem.name, chain, limit, part=part, kin=kin)
    except (InfeasibleError, NoPlanError):
        return None, False
    plan = first_plan(m, found.problem, found.values, effort.first())
    if plan is None and found.interrupted:
        raise KeyboardInterrupt
    return plan, found.interrupted


def _without_proof(found: Found, m: FleetModel, effort: Effort) -> Found:
    """The plan of a part, of which nothing is proven."""
    none = -math.inf * m.problem.objective.goal.sign
    status = certify(found.value, none, effort.gap)
    return replace(found, bound=none, status=status) if found.values else found


def _without_bound(watch: Watch) -> Watch:
    """The same without bounds, which are of a part."""
    return lambda value, _: watch(value, -math.inf)


def _by_amount(found: Found, problem: Problem) -> Found:
    """A ratio in the unit of its goal, such as $ per million tokens."""
    per = problem.objective.goal.per_amount
    best = None if found.best_value is None else found.best_value * per
    return replace(found, value=found.value * per, bound=found.bound * per, best_value=best)


def _most_scale(problem: Problem, options: SolveOptions) -> float:
    """What free demand may reach in any node, bounded where more is better and no limit stated."""
    limit = scale_limit(problem)
    unlimited = math.isinf(limit) and problem.objective.goal.gains_by_volume
    return bounded_scale(problem, options) if unlimited else limit


def _model(
    problem: Problem,
    fixed: Orders,
    pairs: frozenset[tuple[int, int]] | None,
    scale_max: float,
    at_least: Orders = MappingProxyType({}),
) -> FleetModel:
    frame = frame_of(problem, scale_max, every_system=True)
    # What was decided elsewhere may be more than is useful.
    for (_, o), count in (*fixed.items(), *at_least.items()):
        frame.useful[problem.offers[o].pool] += count
        frame.standing[problem.offers[o].pool] += count
    m = build(problem, pairs=pairs, pools=range(len(problem.pools)), frame=frame)
    check_scaling(m)
    fix_orders(m, fixed)
    for (u, o), count in at_least.items():
        m.columns[Ordered(u, o)].lowBound = count
    return m


def _least_mean(m: FleetModel, found: Found, effort: Effort) -> Found:
    """The plan of least mean cost among those as good by a risk that looks at some futures only."""
    pairs = list(m.prob.objective.items())
    most = found.value + _TIE * abs(found.value) - m.prob.objective.constant
    m.row(Future(NO_LEAF, TIE), pairs, pulp.LpConstraintLE, most)
    set_goal(m)
    try:
        closer = search_horizon(m, effort.part(1.0, least_s=1.0))
    except KeyboardInterrupt:
        return replace(found, interrupted=True)
    return replace(found, values=closer.values) if closer.values else found


def _booked(m: FleetModel, values: Mapping[Label, float]) -> tuple[tuple[int, Booking], ...]:
    """Mean worth of what each number costs, USD, with the node that pays."""
    return tuple(
        (paid_in(m.problem, term), Booking(term.item, term.label, term.usd * values[term.label]))
        for term in m.terms
        if term.usd and values.get(term.label)
    )


def _costs_by_leaf(
    horizon: Horizon, fixed: Sequence[float], booked: Iterable[tuple[int, Booking]]
) -> dict[int, float]:
    """Worth of all cash of each future, USD."""
    node_usd = list(fixed)
    for u, booking in booked:
        node_usd[u] += booking.usd / horizon.nodes[u].probability
    return {leaf: sum(node_usd[u] for u in horizon.path(leaf)) for leaf in horizon.leaves}


def year_of(result: HorizonResult, u: int) -> MixResult:
    """One node as the mix of a year, in which systems cost what their own orders cost.

    Its `value` is left to who can tell it: what a goal adds up is not known here.
    """
    problem, node = result.problem, result.horizon.nodes[u]
    weight = problem.parts[u][1]
    values, bookings = in_node(problem, u, result.values), []
    values = {la: n for la, n in values.items() if not isinstance(la, Started)}
    held: dict[tuple[int, str], float] = {}
    for where, booking in result.booked:
        if where != u or isinstance(booking.label, Started):  # of no year by itself
            continue
        label, usd = booking.label, booking.usd / weight
        if isinstance(label, Ordered | Held):
            held[label.offer, booking.item] = held.get((label.offer, booking.item), 0.0) + usd
        else:
            (own,) = in_node(problem, u, {label: 1.0})
            bookings.append(Booking(booking.item, own, usd))
    offers = list(node.problem.offers)
    for (o, item), usd in held.items():
        own = Systems(EVERY_BLOCK, o)
        bookings.append(Booking(item, own, usd))
        if values.get(own):
            items = {**offers[o].annual_cost_items_usd, item: usd / values[own]}
            offers[o] = replace(offers[o], annual_cost_items_usd=items)
    for o, offer in enumerate(offers):
        if offer.stock is not None:
            gone = [i for i in BY_ORDER[offer.stock.kind] if (o, i) not in held]
            items = {k: v for k, v in offer.annual_cost_items_usd.items() if k not in gone}
            offers[o] = replace(offer, annual_cost_items_usd=items, stock=None)
    objective = replace(node.problem.objective, capex_budget_usd=None)
    year = replace(node.problem, offers=tuple(offers), objective=objective)
    return MixResult(
        problem=year,
        status=result.status,
        kind=objective.kind,
        value=math.nan,
        bound=math.nan,
        gap=result.gap,
        values=values,
        bookings=tuple(bookings),
        interrupted=result.interrupted,
        seconds=result.seconds,
    )
