"""Checks a plan over a horizon from first principles; shares no code with the model.

Every future is walked from its first node to its last with a list of lots: what was there at the
start, what is delivered, what is sold, what dies, what runs on contract. Each year of it is checked
as a plan of one year is (`verify.mix`), the systems in service must be those of the lots, and the
worth of all cash (prices at delivery, sales at their date, what stands at the end, contracts, and
what every year costs) must be the cost that was stated.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tokenfleet.problem_data import (
    EVERY_BLOCK,
    Held,
    Horizon,
    Node,
    Ordered,
    Problem,
    Replicas,
    Started,
    Stock,
    Systems,
)
from tokenfleet.verify.mix import FEASIBLE, Violation, annual_cost_items, verify_mix

_SAME = 1e-9
# Yearly items at the price of the order, for as long as what was ordered is there.
BY_LOT = {"bought": ("capital", "maintenance"), "contract": ("rental",)}
#: What numbers that are an outlook may do: they are fractions, and so do not pack into systems.
OUTLOOK_MAY = frozenset({"whole numbers", "packing", "racks", "systems of a type"})
_WORTH = 1e-6  # relative, of the cost of a future


@dataclass
class OfferCash:
    """Cash of one node that follows the price of one offer, USD; as in `Cash`."""

    bought: float = 0.0
    sold: float = 0.0
    upfront: float = 0.0
    yearly: float = 0.0  # maintenance and contracts, USD a year
    end: float = 0.0


@dataclass(frozen=True)
class Cash:
    """Cash of one node if things come to there: USD paid (negative: received), on its dates."""

    bought: float = 0.0  # at the start of the period
    sold: float = 0.0  # at its start, negative
    upfront: float = 0.0  # of contracts, at its start
    changed: float = 0.0  # for layouts that did not run before, at its start
    yearly: float = 0.0  # of the period, USD a year
    rental: float = 0.0  # of the period, USD a year
    beyond: float = 0.0  # of contracts past the horizon, USD in all, undiscounted
    end: float = 0.0  # worth of what stands at the end, negative
    npv: float = 0.0  # of all these at the start of the horizon
    capital: float = 0.0  # what it costs to hold what is held, USD a year
    offers: Mapping[int, OfferCash] = field(default_factory=dict)  # what follows their prices


@dataclass
class _Lot:
    offer: int
    order: int
    price: float
    born: float  # on the clock of the ages
    count: float
    maintenance: float  # USD a year, at the price of the order
    ageing: tuple[tuple[float, float], ...]  # USD a year more by age, at that price


def verify_horizon(
    problem: Problem, values: Mapping[Any, float], stated_npv: float | None = None
) -> list[Violation]:
    """Everything that is wrong with the numbers; the mean worth is compared when it is given."""
    horizon = problem.horizon
    assert horizon is not None
    found = [*_tree(horizon), *_orders(horizon, values)]
    if found:
        return found
    npv, walked = 0.0, dict[int, Cash]()
    for leaf in _leaves(horizon):
        total = capex = 0.0
        for u, cash, violations in _Walk(problem, values, leaf).nodes():
            total += cash.npv
            capex += cash.bought
            if u not in walked:
                found += violations
                walked[u] = cash
        npv += horizon.nodes[leaf].probability * total
        budget = problem.objective.capex_budget_usd
        if budget is not None and capex > budget * (1.0 + FEASIBLE):
            where = f"capex of the future of {horizon.nodes[leaf].name}"
            found.append(Violation("capex budget", where, capex - budget))
    if stated_npv is not None and abs(npv - stated_npv) > _WORTH * max(1.0, abs(npv)):
        text = f"stated {stated_npv:.12g}, recomputed {npv:.12g}"
        found.append(Violation("worth of all cash", text, abs(npv - stated_npv)))
    return found


def cash_by_node(problem: Problem, values: Mapping[Any, float]) -> dict[int, Cash]:
    """Cash of every node, as the walk books it."""
    horizon = problem.horizon
    assert horizon is not None
    found: dict[int, Cash] = {}
    for leaf in _leaves(horizon):
        for u, cash, _ in _Walk(problem, values, leaf).nodes(check=False):
            found.setdefault(u, cash)
    return found


def _leaves(horizon: Horizon) -> list[int]:
    parents = {node.parent for node in horizon.nodes}
    return [u for u in range(len(horizon.nodes)) if u not in parents]


def _tree(horizon: Horizon) -> Iterator[Violation]:
    """Probabilities add up, and every node stands right after its parent in time."""
    after: dict[int, float] = defaultdict(float)
    for u, node in enumerate(horizon.nodes):
        after[node.parent] += node.probability
        before = -1 if node.parent < 0 else horizon.nodes[node.parent].period
        if node.parent >= u or node.period != before + 1:
            yield Violation("tree", f"{node.name} does not follow its parent", 1.0)
    for parent, total in after.items():
        whole = 1.0 if parent < 0 else horizon.nodes[parent].probability
        if abs(total - whole) > 1e-9:
            yield Violation("probability", f"of what follows node {parent}", abs(total - whole))
    for leaf in _leaves(horizon):
        if horizon.nodes[leaf].period != len(horizon.starts) - 2:
            yield Violation("tree", f"{horizon.nodes[leaf].name} is not in the last period", 1.0)


def _orders(horizon: Horizon, values: Mapping[Any, float]) -> Iterator[Violation]:
    """Orders are whole where they are firm, within what may be ordered, and not too small."""
    grouped: dict[tuple[int, str], float] = defaultdict(float)
    stocks: dict[tuple[int, str], Stock] = {}
    for label, count in values.items():
        is_firm = isinstance(label, Held | Ordered) and horizon.nodes[label.node].firm
        if is_firm and count != round(count):
            yield Violation("whole numbers", str(label), abs(count - round(count)))
        if isinstance(label, Ordered):
            offer = horizon.nodes[label.node].problem.offers[label.offer]
            if offer.stock is None:
                yield Violation("order", f"of {offer.id}, which is not ordered", count)
                continue
            key = (label.node, offer.supply_group or offer.id)
            grouped[key] += count
            stocks[key] = offer.stock
    for (u, name), count in grouped.items():
        stock, where = stocks[u, name], f"{name} in {horizon.nodes[u].name}"
        if count > stock.most_per_period * (1.0 + FEASIBLE):
            yield Violation("delivery limit", where, count - stock.most_per_period)
        if FEASIBLE < count < stock.least_order * (1.0 - FEASIBLE):
            yield Violation("least order", where, stock.least_order - count)


def clock(horizon: Horizon, period: int) -> float:
    """Start of a period as ages count it."""
    return float(period) if horizon.counts_periods else horizon.starts[period]


def lot_worth(stock: Stock, rate: float, age: float) -> float:
    """Share of its price that a system brings."""
    age = min(age, stock.life)
    if not stock.resale:
        if stock.life == math.inf:
            return 1.0
        worn = age / stock.life
        if rate:
            worn = ((1.0 + rate) ** age - 1.0) / ((1.0 + rate) ** stock.life - 1.0)
        return 1.0 - (1.0 - stock.residual_fraction) * worn
    points = stock.resale
    if age <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if age <= x1:
            return y0 + (y1 - y0) * (age - x0) / (x1 - x0)
    return points[-1][1]


def age_value(points: tuple[tuple[float, float], ...], age: float) -> float:
    """A yearly price that goes by age; 0 where none is stated."""
    known = Stock("bought", resale=points)
    return lot_worth(known, 0.0, age) if points else 0.0


class _Walk:
    """One future, node by node, with the lots that there are."""

    def __init__(self, problem: Problem, values: Mapping[Any, float], leaf: int) -> None:
        assert problem.horizon is not None
        self.problem, self.horizon, self.values = problem, problem.horizon, values
        self.path: list[int] = []
        while leaf >= 0:
            self.path.insert(0, leaf)
            leaf = self.horizon.nodes[leaf].parent
        self.lots = _owned(problem, self.horizon)
        self.pending: list[tuple[float, _Lot]] = []  # when it is due, without delays
        self.found: list[Violation] = []
        self.offers: dict[int, OfferCash] = {}

    def nodes(self, *, check: bool = True) -> Iterator[tuple[int, Cash, list[Violation]]]:
        """Each node with its cash and what is wrong in it."""
        for u in self.path:
            node, self.found = self.horizon.nodes[u], []
            self.offers = defaultdict(OfferCash)
            dates = (clock(self.horizon, node.period), clock(self.horizon, node.period + 1))
            self._sell(u, *dates)
            self._order(u, dates[0])
            self._deliver(node, dates[0])
            if check:
                self._year(u)
                budget, bought = node.capex_budget_usd, self._of_offers("bought")
                if budget is not None and bought - budget > FEASIBLE * max(1.0, budget):
                    self.found.append(Violation("capex budget", node.name, bought - budget))
            yield u, self._cash(u, dates), self.found

    def _of_offers(self, kind: str) -> float:
        """Cash of one kind that follows prices, of all offers together."""
        return math.fsum(getattr(cash, kind) for cash in self.offers.values())

    def _order(self, u: int, now: float) -> None:
        for o, offer in enumerate(self.horizon.nodes[u].problem.offers):
            count = self.values.get(Ordered(u, o), 0.0)
            if offer.stock is not None and count:
                price, items = offer.capex_usd, offer.annual_cost_items_usd
                if offer.stock.kind == "contract":
                    price = items.get("rental", 0.0)
                ageing = offer.stock.usd_per_year_by_age
                lot = _Lot(o, u, price, now, count, items.get("maintenance", 0.0), ageing)
                self.pending.append((now + offer.stock.lead, lot))

    def _deliver(self, node: Node, now: float) -> None:
        """Takes in what a node delivers, and books its price."""
        here: dict[str, list[_Lot]] = defaultdict(list)
        for due, lot in list(self.pending):
            if now + _SAME >= due + node.delays.get(lot.offer, 0.0):
                self.pending.remove((due, lot))
                lot.born = now
                self.lots.append(lot)
                offer = node.problem.offers[lot.offer]
                here[offer.supply_group or offer.id].append(lot)
                if _stock(self.problem, lot).kind == "bought":
                    self.offers[lot.offer].bought += lot.price * lot.count
        for name, lots in here.items():
            count, most = sum(lot.count for lot in lots), max(map(self._most, lots))
            if count > most * (1.0 + FEASIBLE):
                where = f"{name} delivered in {node.name}"
                self.found.append(Violation("delivery limit", where, count - most))

    def _most(self, lot: _Lot) -> float:
        """The most that could be ordered when a lot was."""
        stock = self.horizon.nodes[lot.order].problem.offers[lot.offer].stock
        return 0.0 if stock is None else stock.most_per_period

    def _sell(self, u: int, now: float, then: float) -> None:
        """Books what sales at the start of a node bring; contracts that have ended go, too."""
        node = self.horizon.nodes[u]
        for lot in list(self.lots):
            stock, offer = _stock(self.problem, lot), node.problem.offers[lot.offer].id
            if stock.kind == "contract":
                if then - lot.born > stock.term + _SAME:
                    self.lots.remove(lot)
                continue
            where = f"{offer} in {node.name}"
            kept = self.values.get(Held(lot.order, u, lot.offer), 0.0)
            if kept > lot.count + FEASIBLE * max(1.0, lot.count):
                more = Violation("more held than there were", where, kept - lot.count)
                self.found.append(more)
            too_old = then - lot.born > stock.life + _SAME
            if too_old and kept:
                self.found.append(Violation("held past its life", where, kept))
            too_young = now - lot.born < stock.stay - _SAME and not too_old
            if too_young and kept < lot.count - FEASIBLE * lot.count:
                self.found.append(Violation("sold too young", where, lot.count - kept))
            each = lot.price * lot_worth(stock, self.horizon.rate, now - lot.born)
            self.offers[lot.offer].sold -= (lot.count - kept) * (each - stock.removal_usd)
            lot.count = kept
            if not kept:
                self.lots.remove(lot)

    def _year(self, u: int) -> None:
        """What is wrong with the year of a node, and with the systems that it says are there."""
        node = self.horizon.nodes[u]
        mine = own_numbers(self.problem, u, self.values)
        objective = replace(node.problem.objective, capex_budget_usd=None, annual_budget_usd=None)
        found = verify_mix(replace(node.problem, objective=objective), mine)
        if not node.firm:
            found = [v for v in found if v.rule not in OUTLOOK_MAY]
        there: dict[int, float] = defaultdict(float)
        for lot in self.lots:
            there[lot.offer] += lot.count
        for o, offer in enumerate(node.problem.offers):
            if offer.stock is not None:
                stated = mine.get(Systems(0, o), 0.0)
                if abs(stated - there[o]) > FEASIBLE * max(1.0, stated):
                    found.append(Violation("stock", offer.id, abs(stated - there[o])))
        self.found += [replace(v, where=f"{node.name}: {v.where}") for v in found]

    def _cash(self, u: int, clock: tuple[float, float]) -> Cash:
        horizon, node = self.horizon, self.horizon.nodes[u]
        rate = horizon.rate
        start, end = horizon.starts[node.period], horizon.starts[node.period + 1]
        at_start, at_end = (1.0 + rate) ** -start, (1.0 + rate) ** -end
        weight = end - start if rate == 0 else (at_start - at_end) / rate
        yearly = _yearly(self.problem, node, u, self.values)
        rental = beyond = worth_beyond = capital = 0.0
        is_last = node.period == len(horizon.starts) - 2
        for lot in self.lots:
            stock = _stock(self.problem, lot)
            ages = clock[0] - lot.born, clock[1] - lot.born
            price, mine = lot.price * lot.count, self.offers[lot.offer]
            if stock.kind == "contract":
                spread = (1.0 - stock.upfront_fraction) * price
                rental += spread
                mine.yearly += spread
                if stock.upfront_fraction and ages[0] == 0:
                    years = _paid_years(horizon, node, stock)
                    mine.upfront += stock.upfront_fraction * price * years
                if is_last and stock.paid_beyond:
                    rest = max(stock.term - ages[1], 0.0)
                    rest *= end - start if horizon.counts_periods else 1.0
                    later = (1.0 + rate) ** -(end + rest)
                    beyond += spread * rest
                    worth_beyond += spread * (rest if rate == 0 else (at_end - later) / rate)
                continue
            each = age_value(lot.ageing, ages[0]) + lot.maintenance
            yearly += each * lot.count
            mine.yearly += each * lot.count
            share = lot_worth(stock, rate, ages[1]) * (horizon.end_value_share if is_last else 1.0)
            mine.end -= price * share if is_last else 0.0
            is_new = ages[0] == 0.0 and lot.order >= 0
            before = price * lot_worth(stock, rate, ages[0])
            before -= 0.0 if is_new else stock.removal_usd * lot.count
            after = price * share - (0.0 if is_last else stock.removal_usd * lot.count)
            capital += (before * at_start - after * at_end) / weight
        bought, sold, upfront, end_value = map(
            self._of_offers, ("bought", "sold", "upfront", "end")
        )
        changed = self._changed(u)
        npv = (bought + sold + upfront + changed) * at_start + (yearly + rental) * weight
        npv += worth_beyond + end_value * at_end
        paid = (bought, sold, upfront, changed, yearly, rental)
        return Cash(*paid, beyond, end_value, npv, capital, dict(self.offers))

    def _changed(self, u: int) -> float:
        """What replicas cost that did not run in the node before, USD."""
        before = self.horizon.nodes[u].parent
        if before < 0 or not self.horizon.change_usd_per_gpu:
            return 0.0
        now, then = (own_numbers(self.problem, v, self.values) for v in (u, before))
        total = 0.0
        for label, count in now.items():
            if isinstance(label, Replicas) and label.scope == EVERY_BLOCK:
                more = max(count - then.get(label, 0.0), 0.0)
                total += more * self.problem.candidates[label.candidate].gpus
        return total * self.horizon.change_usd_per_gpu


def _stock(problem: Problem, lot: _Lot) -> Stock:
    stock = problem.offers[lot.offer].stock
    assert stock is not None
    return stock


def _owned(problem: Problem, horizon: Horizon) -> list[_Lot]:
    start = clock(horizon, 0)
    return [
        _Lot(
            o,
            -1 - i,
            offer.stock.market_usd,
            start - age,
            float(count),
            offer.annual_cost_items_usd.get("maintenance", 0.0),
            offer.stock.usd_per_year_by_age,
        )
        for o, offer in enumerate(problem.offers)
        if offer.stock is not None
        for i, (age, count) in enumerate(offer.stock.owned)
    ]


def own_numbers(problem: Problem, u: int, values: Mapping[Any, float]) -> dict[Any, float]:
    """Numbers of a node under the labels of its own problem."""
    blocks = [b for b, block in enumerate(problem.blocks) if block.outlook == u]
    first, count = blocks[0], len(problem.blocks)
    found: dict[Any, float] = {}
    for label, value in values.items():
        fields = () if isinstance(label, Started) else getattr(label, "_fields", ())
        if "block" in fields and label.block in blocks:
            found[label._replace(block=label.block - first)] = value
        elif "scope" in fields:
            if label.scope == 1 + count + u:
                found[label._replace(scope=0)] = value
            elif label.scope - 1 in blocks:
                found[label._replace(scope=label.scope - first)] = value
    return found


def _paid_years(horizon: Horizon, node: Node, stock: Stock) -> float:
    """Years that a contract from here on is paid for, by the rule of the model."""
    first, years, rest = clock(horizon, node.period), 0.0, 0.0
    for t in range(node.period, len(horizon.starts) - 1):
        length = horizon.starts[t + 1] - horizon.starts[t]
        if clock(horizon, t + 1) - first > stock.term + _SAME:
            return years
        years += length
        rest = stock.term - (clock(horizon, t + 1) - first)
        rest *= length if horizon.counts_periods else 1.0
    return years + (max(rest, 0.0) if stock.paid_beyond else 0.0)


def _yearly(problem: Problem, node: Node, u: int, values: Mapping[Any, float]) -> float:
    """What the node's year costs beside what lots cost, USD."""
    offers = tuple(
        offer
        if offer.stock is None
        else replace(
            offer,
            annual_cost_items_usd={
                item: usd
                for item, usd in offer.annual_cost_items_usd.items()
                if item not in BY_LOT[offer.stock.kind]
            },
        )
        for offer in node.problem.offers
    )
    year = replace(node.problem, offers=offers)
    return sum(annual_cost_items(year, own_numbers(problem, u, values)).values())
