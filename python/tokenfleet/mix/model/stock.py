r"""Stock over a horizon: what is ordered in a node, delivered later, held, sold, or on contract.

Node u is in period t(u), reached with probability pi(u). Symbols: o offer, k node of an order, d
node of its delivery, a age of what was delivered, V(a) its worth as a share of the price P[k].

    systems[o, u] = sum over k of held[o, k, u] + sum over running k of ordered[o, k]
    held[o, k, d] = ordered[o, k]                       in every node of delivery: decided once
    held[o, k, u] <= held[o, k, parent of u]            what is sold stays sold; equal while it
                                                        is too young to be sold
    user cost     = P (V(a) v^start - V(a + length) v^end)        `tco.rs`

Summed over the nodes in which it is held, the user cost is the price at delivery less what the sale
brings, each at its date; so the objective is the worth of all cash, and one year costs the annuity.
These rows are the only link between nodes: inside each, everything is the model of one year.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pulp

from tokenfleet import _core
from tokenfleet.mix.model.columns import FleetModel, Term
from tokenfleet.mix.model.index import (
    Budget,
    Capex,
    Change,
    Delivered,
    InService,
    Kept,
    Label,
    LeastOrder,
    UsedFor,
)
from tokenfleet.problem_data import (
    Api,
    Flow,
    Held,
    Horizon,
    Ordered,
    Placed,
    Problem,
    Replicas,
    Short,
    Started,
    Stock,
    Systems,
    Used,
    only_block,
)

LE, GE, EQ = pulp.LpConstraintLE, pulp.LpConstraintGE, pulp.LpConstraintEQ
LAYOUT_CHANGES = "layout_changes"  # the cost item
_SAME = 1e-9  # years: two dates apart by less are one


def worth(stock: Stock, rate: float, age: float) -> float:
    """Share of its price that a system brings at an age; no less than at the end of its life."""
    age = min(age, stock.life)
    if stock.resale:
        return _core.market_value(stock.resale, age)
    if not math.isfinite(stock.life):
        return 1.0
    return _core.book_value(rate, stock.life, stock.residual_fraction, age)


@dataclass(frozen=True)
class Vintage:
    """Systems of one order under an offer, or of one age at the start; where each is held."""

    offer: int
    order: int  # node of the order; -1 - i: row i of what was owned at the start
    price_usd: float
    deliveries: tuple[int, ...]  # nodes; the first nodes of all for what was there at the start
    age: float = 0.0  # at delivery
    count: float = math.inf
    maintenance_usd: float = 0.0  # a year
    ageing: tuple[tuple[float, float], ...] = ()  # USD a year more, by age

    @property
    def is_owned(self) -> bool:
        """Whether it was there at the start."""
        return self.order < 0

    def label(self, node: int) -> Ordered | Held:
        """The number of them that stand in a node: what is delivered is what was ordered."""
        if node in self.deliveries and not self.is_owned:
            return Ordered(self.order, self.offer)
        return Held(self.order, node, self.offer)


def deliveries(horizon: Horizon, o: int, k: int) -> tuple[int, ...]:
    """Nodes in which an order of node k arrives: one in every future, none where it is too late."""
    stock = horizon.nodes[k].problem.offers[o].stock
    assert stock is not None
    due = horizon.when(horizon.nodes[k].period) + stock.lead
    found, left = [], [k]
    while left:
        u = left.pop()
        node = horizon.nodes[u]
        if horizon.when(node.period) + _SAME >= due + node.delays.get(o, 0.0):
            found.append(u)
        else:
            left += horizon.children[u]
    return tuple(sorted(found))


def vintages(problem: Problem, o: int) -> Iterator[Vintage]:
    """All that may ever be held under an offer."""
    horizon, stock = problem.horizon, problem.offers[o].stock
    assert horizon is not None and stock is not None
    for i, (age, count) in enumerate(stock.owned):
        first = tuple(u for u, node in enumerate(horizon.nodes) if node.parent < 0)
        maintenance = problem.offers[o].annual_cost_items_usd.get("maintenance", 0.0)
        worn = stock.usd_per_year_by_age
        yield Vintage(o, -1 - i, stock.market_usd, first, age, float(count), maintenance, worn)
    for k, node in enumerate(horizon.nodes):
        offer = node.problem.offers[o]
        assert offer.stock is not None
        arrives = deliveries(horizon, o, k) if offer.stock.most_per_period > 0 else ()
        if arrives:
            items = offer.annual_cost_items_usd
            if stock.kind == "contract":
                yield Vintage(o, k, items.get("rental", 0.0), arrives)
            else:
                maintenance = items.get("maintenance", 0.0)
                yield Vintage(
                    o,
                    k,
                    offer.capex_usd,
                    arrives,
                    maintenance_usd=maintenance,
                    ageing=offer.stock.usd_per_year_by_age,
                )


def stands(horizon: Horizon, vintage: Vintage, most: float) -> Iterator[tuple[int, float, float]]:
    """Nodes in which a vintage may stand, with its age at their start and end; `most` is the age
    that it may reach. Lives and terms are of whole periods: it leaves before one it cannot end."""
    for d in vintage.deliveries:
        born = horizon.when(horizon.nodes[d].period) - vintage.age
        for u in horizon.below(d):
            t = horizon.nodes[u].period
            start, end = horizon.when(t) - born, horizon.when(t + 1) - born
            if end <= most + _SAME:
                yield u, start, end


def hold_stock(m: FleetModel) -> None:
    """systems = what is held + what runs on contract, in every node; orders and sales with it."""
    horizon = m.problem.horizon
    if horizon is None:
        return
    standing: dict[tuple[int, int], list[pulp.LpVariable]] = {}
    for o in m.order.offers:
        stock = m.problem.offers[o].stock
        if stock is None or m.problem.offers[o].pool not in m.open:
            continue
        for vintage in vintages(m.problem, o):
            add = _hold if stock.kind == "bought" else _rent
            for u, column in add(m, stock, vintage):
                standing.setdefault((u, o), []).append(column)
        for u in range(len(horizon.nodes)):
            column = m.columns[Systems(m.problem.in_node(u), o)]
            pairs = [(column, 1.0)] + [(v, -1.0) for v in standing.get((u, o), ())]
            m.row(InService(u, o), pairs, EQ, 0.0)
    _limit_orders(m)
    _tie_to_use(m)


def _order(m: FleetModel, vintage: Vintage) -> pulp.LpVariable:
    """The number of an order; above no more than the pool has work for."""
    horizon = m.problem.horizon
    assert horizon is not None
    node = horizon.nodes[vintage.order]
    stock = node.problem.offers[vintage.offer].stock
    assert stock is not None
    most = m.frame.useful[m.problem.offers[vintage.offer].pool]
    bound = most
    if math.isfinite(stock.most_per_period):
        bound = min(bound, math.floor(stock.most_per_period))
    return m.column(Ordered(vintage.order, vintage.offer), bound, integer=node.firm)


def _hold(m: FleetModel, stock: Stock, vintage: Vintage) -> Iterator[tuple[int, pulp.LpVariable]]:
    """Columns of a bought vintage by node, each with its user cost; what it is then worth."""
    horizon = m.problem.horizon
    assert horizon is not None
    if vintage.is_owned:
        worth_now = vintage.price_usd * worth(stock, horizon.rate, vintage.age)
        worth_now -= stock.removal_usd
        m.constant_usd -= worth_now * vintage.count
    found = list(stands(horizon, vintage, stock.life))
    if not any(u in vintage.deliveries for u, _, _ in found):
        return
    if not vintage.is_owned:
        _order(m, vintage)
    for u, start, end in found:
        node, label = horizon.nodes[u], vintage.label(u)
        first = u in vintage.deliveries
        too_young = start < stock.stay - _SAME
        if isinstance(label, Held):
            stays = vintage.count if first and too_young else 0.0
            m.column(label, vintage.count, low=stays, integer=node.firm)
            if not first:
                before = m.columns[vintage.label(node.parent)]
                row = Kept(vintage.order, u, vintage.offer)
                sense = EQ if too_young else LE
                m.row(row, [(m.columns[label], 1.0), (before, -1.0)], sense, 0.0)
        is_new = first and not vintage.is_owned
        usd = holding_usd(horizon, stock, vintage.price_usd, u, (start, end), is_new=is_new)
        usd *= node.probability
        m.terms.append(Term("capital", label, usd, u))
        if vintage.maintenance_usd:
            usd = vintage.maintenance_usd * _weight(m.problem, u)
            m.terms.append(Term("maintenance", label, usd, u))
        if vintage.ageing:
            usd = _core.market_value(vintage.ageing, start) * _weight(m.problem, u)
            m.terms.append(Term("ageing", label, usd, u))
        yield u, m.columns[label]


def holding_usd(
    horizon: Horizon,
    stock: Stock,
    price_usd: float,
    u: int,
    ages: tuple[float, float],
    *,
    is_new: bool,
) -> float:
    """User cost of one system that is held in a node from one age to another: what it would have
    brought at the start (its price, where it is new) less what it brings at the end."""
    t, rate = horizon.nodes[u].period, horizon.rate
    at_start = price_usd * worth(stock, rate, ages[0])
    at_end = price_usd * worth(stock, rate, ages[1])
    if not is_new:
        at_start -= stock.removal_usd
    if t == horizon.periods - 1:
        at_end *= horizon.end_value_share
    else:
        at_end -= stock.removal_usd
    years = (horizon.starts[t], horizon.starts[t + 1])
    return _core.user_cost_usd(rate, 1.0, years, (at_start, at_end))


def yearly_costs(problem: Problem, o: int, stock: Stock) -> Iterator[tuple[int, float]]:
    """What a system costs a year by its order, USD, in each node for each order that may stand
    there; contracts are paid for no less than their price."""
    horizon = problem.horizon
    assert horizon is not None
    for vintage in vintages(problem, o):
        if stock.kind == "contract":
            for u, _, _ in stands(horizon, vintage, stock.term):
                yield u, vintage.price_usd
            continue
        for u, start, end in stands(horizon, vintage, stock.life):
            is_new = u in vintage.deliveries and not vintage.is_owned
            ages = (start, end)
            usd = holding_usd(horizon, stock, vintage.price_usd, u, ages, is_new=is_new)
            ageing = _core.market_value(vintage.ageing, start) if vintage.ageing else 0.0
            years = _weight(problem, u) / horizon.nodes[u].probability
            yield u, usd / years + vintage.maintenance_usd + ageing


def _weight(problem: Problem, u: int) -> float:
    """Years that a node counts for: those of its period, discounted, by its probability."""
    return problem.parts[u][1]


def _rent(m: FleetModel, stock: Stock, vintage: Vintage) -> Iterator[tuple[int, pulp.LpVariable]]:
    """The column of contracts that begin in a node, in each node in which they run."""
    horizon = m.problem.horizon
    assert horizon is not None
    running = list(stands(horizon, vintage, stock.term))
    if not running:
        return
    column, label = _order(m, vintage), Ordered(vintage.order, vintage.offer)
    for u, usd in payments(m.problem, stock, vintage).items():
        m.terms.append(Term("rental", label, usd, u))
    for u, _, _ in running:
        yield u, column


def payments(problem: Problem, stock: Stock, vintage: Vintage) -> dict[int, float]:
    """Worth of what one contract pays in each node, by probability, USD."""
    horizon = problem.horizon
    assert horizon is not None
    usd: dict[int, float] = {}
    years: dict[int, float] = {}  # that are paid for, by node of delivery
    spread = vintage.price_usd * (1.0 - stock.upfront_fraction)
    for u, _, end in stands(horizon, vintage, stock.term):
        t = horizon.nodes[u].period
        usd[u] = spread * _weight(problem, u)
        d = next(v for v in horizon.path(u) if v in vintage.deliveries)
        length = horizon.starts[t + 1] - horizon.starts[t]
        rest = 0.0
        if stock.paid_beyond and t == horizon.periods - 1:
            rest = (stock.term - end) * (length if horizon.counts_periods else 1.0)
            beyond = _core.flow_weight(
                horizon.rate, horizon.starts[-1], horizon.starts[-1] + max(rest, 0.0)
            )
            usd[u] += spread * beyond * horizon.nodes[u].probability
        share = horizon.nodes[u].probability / horizon.nodes[d].probability
        years[d] = years.get(d, 0.0) + share * (length + max(rest, 0.0))
    if stock.upfront_fraction:
        for d, paid in years.items():
            node = horizon.nodes[d]
            now = _core.discount_factor(horizon.rate, horizon.starts[node.period])
            due = vintage.price_usd * stock.upfront_fraction * paid
            usd[d] = usd.get(d, 0.0) + due * now * node.probability
    return usd


def price_changes(m: FleetModel) -> None:
    """started[u] >= n[u] - n[parent of u] of every layout in a pool whose systems stay, at a price
    by accelerator; what runs in the first node was there before."""
    horizon = m.problem.horizon
    if horizon is None or not horizon.change_usd_per_gpu:
        return
    for label, column in list(m.of(Replicas).items()):
        u = node_of(m.problem, label)
        node = horizon.nodes[u]
        if node.parent < 0 or label.scope != m.problem.in_node(u):
            continue
        before = m.columns[label._replace(scope=m.problem.in_node(node.parent))]
        place = (label.scope, label.pool, label.candidate)
        started = m.column(Started(*place))
        m.row(Change(*place), [(column, 1.0), (before, -1.0), (started, -1.0)], LE, 0.0)
        now = _core.discount_factor(horizon.rate, horizon.starts[node.period])
        gpus = m.problem.candidates[label.candidate].gpus
        usd = horizon.change_usd_per_gpu * gpus * now * node.probability
        m.terms.append(Term(LAYOUT_CHANGES, Started(*place), usd, u))


def fix_orders(m: FleetModel, fixed: Mapping[tuple[int, int], float]) -> None:
    """Orders by (node, offer) that are decided already."""
    for (u, o), count in fixed.items():
        column = m.columns.get(Ordered(u, o))
        if column is not None:
            column.lowBound = column.upBound = count


def _limit_orders(m: FleetModel) -> None:
    """What is delivered in a period, and least orders, of all sites that share an offer."""
    horizon = m.problem.horizon
    assert horizon is not None
    groups: dict[str, list[int]] = {}
    for o in m.order.offers:
        if m.problem.offers[o].stock is not None:
            groups.setdefault(m.problem.offers[o].supply_group or f"offer {o}", []).append(o)
    for offers in groups.values():
        _limit_deliveries(m, horizon, offers)
        for k, node in enumerate(horizon.nodes):
            labels = [Ordered(k, o) for o in offers]
            columns = [m.columns[label] for label in labels if label in m.columns]
            stock = node.problem.offers[offers[0]].stock
            if not columns or stock is None:
                continue
            if len(columns) > 1 and math.isfinite(stock.most_per_period):
                pairs = [(v, 1.0) for v in columns]
                row = Delivered(k, offers[0])
                m.row(row, pairs + m.slack(row), LE, math.floor(stock.most_per_period))
            if stock.least_order > 1:
                most = sum(math.inf if v.upBound is None else v.upBound for v in columns)
                most = min(most, stock.most_per_period)
                placed = m.column(Placed(k, offers[0]), 1.0, integer=True)
                each = [(v, 1.0) for v in columns]
                low, high = (LeastOrder(k, offers[0], side) for side in (0, 1))
                m.row(low, [*each, (placed, -float(stock.least_order))], GE, 0.0)
                m.row(high, [*each, (placed, -float(most))], LE, 0.0)


def _limit_deliveries(m: FleetModel, horizon: Horizon, offers: Sequence[int]) -> None:
    """Orders of several periods that arrive in one, as before a long one or after delays, within
    the most of any of them."""
    arriving: dict[int, list[Ordered]] = {}
    for label in m.of(Ordered):
        if label.offer in offers:
            for d in deliveries(horizon, label.offer, label.node):
                arriving.setdefault(d, []).append(label)
    for d, labels in arriving.items():
        most = max(_most(horizon, label) for label in labels)
        if len({label.node for label in labels}) > 1 and math.isfinite(most):
            row = Delivered(d, offers[0], together=True)
            pairs = [(m.columns[label], 1.0) for label in labels]
            m.row(row, pairs + m.slack(row), LE, math.floor(most))


def _most(horizon: Horizon, label: Ordered) -> float:
    """The most that an order may be of."""
    stock = horizon.nodes[label.node].problem.offers[label.offer].stock
    return 0.0 if stock is None else stock.most_per_period


def _tie_to_use(m: FleetModel) -> None:
    """sum over c of f[b, p, c, k] <= demand[b, k] * used[p]: no plan is lost, and the relaxation
    can no longer serve a class from a sliver of a pool without its reserve."""
    flows: dict[tuple[int, int, int, int], list[pulp.LpVariable]] = {}
    for flow, column in m.of(Flow).items():
        candidate = m.problem.candidates[flow.candidate]
        if m.problem.pools[flow.pool].reserve and candidate.role != "decode":
            key = (flow.block, flow.pool, candidate.workload, flow.cls)
            flows.setdefault(key, []).append(column)
    for (b, p, w, k), columns in flows.items():
        data = m.problem.workloads[w]
        scopes = m.scopes.systems_in(p, b)
        used = [m.columns[Used(s, p)] for s in scopes if Used(s, p) in m.columns]
        if data.free or not used:
            continue
        pairs = [(v, 1.0) for v in columns]
        pairs += [(v, -float(data.demand_rps[b, k])) for v in used]
        m.row(UsedFor(b, p, w, k), pairs, LE, 0.0)


def node_of(problem: Problem, label: Label) -> int:
    """The node that a number of the mix belongs to; of an order the node in which it is placed."""
    if isinstance(label, Ordered | Held | Placed):
        return label.node
    if isinstance(label, Flow | Api | Short):
        return problem.node_of(only_block(label.block))
    scope = getattr(label, "scope", None)
    assert scope is not None, label
    return problem.node_of(scope)


def paid_in(problem: Problem, term: Term) -> int:
    """The node that pays what a term books."""
    return node_of(problem, term.label) if term.node is None else term.node


def terms_by_node(m: FleetModel) -> dict[int, list[tuple[Label, float]]]:
    """What each node pays per unit of each column, worth at the start and by probability."""
    found: dict[int, list[tuple[Label, float]]] = {}
    for term in m.terms:
        found.setdefault(paid_in(m.problem, term), []).append((term.label, term.usd))
    return found


def limit_spending(m: FleetModel) -> None:
    """Capital that is due in a node, and in a whole future, and the cost of a node's year."""
    horizon = m.problem.horizon
    if horizon is None:
        return
    due: dict[int, list[tuple[pulp.LpVariable, float]]] = {}
    for o in m.order.offers:
        stock = m.problem.offers[o].stock
        if stock is None or stock.kind != "bought":
            continue
        for vintage in vintages(m.problem, o):
            column = m.columns.get(Ordered(vintage.order, o))
            if column is not None and vintage.price_usd:
                for d in vintage.deliveries:
                    due.setdefault(d, []).append((column, vintage.price_usd))
    for u, node in enumerate(horizon.nodes):
        if node.capex_budget_usd is not None and due.get(u):
            row = Capex(u, total=False)
            m.row(row, due[u] + m.slack(row), LE, node.capex_budget_usd)
    budget = m.problem.objective.capex_budget_usd
    for leaf in horizon.leaves if budget is not None else ():
        pairs = [pair for u in horizon.path(leaf) for pair in due.get(u, ())]
        if pairs and budget is not None:
            m.row(Capex(leaf), pairs + m.slack(Capex(leaf)), LE, budget)
    _limit_years(m, horizon)


def _limit_years(m: FleetModel, horizon: Horizon) -> None:
    paid = terms_by_node(m)
    for u, node in enumerate(horizon.nodes):
        budget = node.problem.objective.annual_budget_usd
        if budget is None:
            continue
        usd: dict[pulp.LpVariable, float] = {}
        for label, each in paid.get(u, ()):
            column = m.columns[label]
            usd[column] = usd.get(column, 0.0) + each / _weight(m.problem, u)
        contracted = sum(site.contracted_power_usd_per_year for site in node.problem.sites)
        pairs = list(usd.items()) + m.slack(Budget(u))
        m.row(Budget(u), pairs, LE, budget - contracted)
