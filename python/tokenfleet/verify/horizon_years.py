"""The years of a horizon by themselves, with their systems let at prices.

Systems are all that links the nodes of a horizon. `LetStock` has what orders cost that are let at a
price in every node, and the offers as each year then sees them; `form_of` is that year in the
second formulation, and `goal_costs` what its columns count for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.problem_data import FloatArray, Goal, Horizon, OfferData, Problem, Stock
from tokenfleet.verify.bound import largest_scale
from tokenfleet.verify.horizon import BY_LOT, age_value, clock, lot_worth, own_numbers
from tokenfleet.verify.mix import annual_cost_items
from tokenfleet.verify.second import Formulation, formulate

_LESS = (0.0, 1e-9, 1e-7, 1e-5, 1e-3, 1.0)  # parts that are taken off prices


def is_understood(horizon: Horizon) -> bool:
    for node in horizon.nodes:
        year = node.problem
        if any(p.is_block for p in year.pools) or _speeds(year) is None:
            return False
        stocks = (offer.stock for offer in year.offers if offer.stock is not None)
        if any(stock.upfront_fraction for stock in stocks):
            return False
    return True


def _speeds(year: Problem) -> dict[str, float] | None:
    """How fast replicas are by system type; None where that is no one number."""
    found: dict[str, float] = {}
    for pool in year.pools:
        if isinstance(pool.speed, tuple) or found.setdefault(pool.system, pool.speed) != pool.speed:
            return None
    return found


def goal_of(horizon: Horizon) -> Goal:
    """What is best, the same in all nodes."""
    return horizon.nodes[0].problem.objective.goal


def goal_costs(form: Formulation, goal: Goal, ratio: float = 0.0) -> FloatArray:
    """What a unit of each column counts for in a goal whose least is sought; of one over another
    figure, less so many times that."""
    costs = np.zeros(len(form.up))
    for name, weight in goal.of.items():
        costs += goal.sign * weight * np.asarray(form.figures[name])
    if goal.per is not None:
        costs -= ratio / goal.per_amount * np.asarray(form.figures[goal.per])
    return costs


def goal_constant(form: Formulation, goal: Goal) -> float:
    """What no plan of a year changes."""
    return goal.sign * goal.of.get("cost", 0.0) * form.contracted_usd


def form_of(
    horizon: Horizon,
    u: int,
    stock: LetStock,
    pairs: frozenset[tuple[int, int]],
    deadline: Deadline,
    *,
    reserves: bool = False,
) -> Formulation:
    """The second formulation of the year of a node, with its systems at their prices."""
    year = _year(horizon, u, stock, reserves=reserves)
    sizes = _sizes(year)
    if sizes not in stock.scales:
        stock.scales[sizes] = largest_scale(year, pairs, deadline)
    return formulate(year, stock.scales[sizes], firm=horizon.nodes[u].firm)


def _sizes(year: Problem) -> tuple[Any, ...]:
    """All that the largest scale of free demand looks at and that nodes may have of their own."""
    return (
        tuple((w.min_scale, w.max_scale, w.demand_rps.tobytes()) for w in year.workloads),
        tuple((site.power_limit_kw, site.rack_limit) for site in year.sites),
        tuple((pool.speed, pool.reserve) for pool in year.pools),
        tuple(offer.supply for offer in year.offers),
    )


def year_of_plan(problem: Problem, u: int, stock: LetStock, values: Mapping[Any, float]) -> float:
    """What the year of a node costs in a plan, with its systems at their prices."""
    year = _year(stock.horizon, u, stock)
    return stock.years(u) * sum(annual_cost_items(year, own_numbers(problem, u, values)).values())


def _year(horizon: Horizon, u: int, stock: LetStock, *, reserves: bool = False) -> Problem:
    """The problem of a node by itself, with its systems at their prices."""
    node, years = horizon.nodes[u], stock.years(u)
    offers = tuple(stock.let(u, o, years) for o in range(len(node.problem.offers)))
    objective = replace(node.problem.objective, capex_budget_usd=None, annual_budget_usd=None)
    pools = node.problem.pools
    if not reserves:
        pools = tuple(replace(pool, reserve=0) for pool in pools)
    sites = tuple(replace(site, staff_usd_per_year=0.0) for site in node.problem.sites)
    speed = _speeds(node.problem)
    assert speed is not None
    changed: dict[str, Any] = {"offers": offers, "objective": objective}
    if any(each != 1.0 for each in speed.values()):
        changed["candidates"] = tuple(
            replace(c, load=_at_speed(c.load, speed.get(c.system, 1.0)))
            for c in node.problem.candidates
        )
    return replace(node.problem, pools=pools, sites=sites, **changed)


def _at_speed(load: FloatArray, speed: float) -> FloatArray:
    """Loads of replicas that are so fast; infinite where they stand still."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(load > 0, load / speed, load)


@dataclass(frozen=True)
class LetStock:
    """Orders of a horizon whose systems are let at a price in every node."""

    horizon: Horizon
    prices: Mapping[tuple[int, int], float]
    scales: dict[tuple[Any, ...], float] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, horizon: Horizon, prices: Mapping[tuple[int, int], float]) -> LetStock:
        """Orders let at such prices, a little lower where they gain without limit. Under a goal to
        which cash is nothing they are let for nothing, as many as may stand."""
        counts = bool(goal_of(horizon).of.get("cost"))
        return cls(horizon, prices).without_gain() if counts else cls(horizon, {})

    @cached_property
    def discount(self) -> list[float]:
        """Worth at the start of a dollar at the start of each period, and at the end."""
        return [(1.0 + self.horizon.rate) ** -s for s in self.horizon.starts]

    def years(self, u: int) -> float:
        """Years that a node counts for."""
        node, rate = self.horizon.nodes[u], self.horizon.rate
        t, starts = node.period, self.horizon.starts
        if rate == 0.0:
            return node.probability * (starts[t + 1] - starts[t])
        return node.probability * (self.discount[t] - self.discount[t + 1]) / rate

    @cached_property
    def paid(self) -> dict[tuple[int, int], float]:
        """Prices at which no year gains without limit: see the module's text."""
        found = {}
        for u, node in enumerate(self.horizon.nodes):
            for o in range(len(node.problem.offers)):
                usd = self.prices.get((u, o), 0.0)
                if usd < 0 and math.isinf(self._standing(u, o)):
                    usd = max(usd, -self.years(u) * math.fsum(self._beside(u, o).values()))
                found[u, o] = usd
        return found

    def _standing(self, u: int, o: int) -> float:
        """Most systems under an offer that may stand in a node."""
        offer = self.horizon.nodes[u].problem.offers[o]
        if offer.stock is None or offer.supply_group:  # a group has one supply in common
            return offer.supply
        ordered = sum(self._most(o, k) for k in self.horizon.path(u))
        return min(offer.supply, ordered + sum(count for _, count in offer.stock.owned))

    def _beside(self, u: int, o: int) -> dict[str, float]:
        """What a system costs a year beside its order, by item."""
        offer = self.horizon.nodes[u].problem.offers[o]
        gone = () if offer.stock is None else BY_LOT[offer.stock.kind]
        return {k: v for k, v in offer.annual_cost_items_usd.items() if k not in gone}

    def let(self, u: int, o: int, years: float) -> OfferData:
        """The offer as the node's own year sees it: what is ordered, at its price."""
        offer = self.horizon.nodes[u].problem.offers[o]
        if offer.stock is None:
            return offer
        items = {**self._beside(u, o), "let": self.paid[u, o] / years}
        supply = self._standing(u, o)
        return replace(offer, annual_cost_items_usd=items, supply=supply, stock=None)

    def bound(self) -> float:
        """What all orders cost at least, less what their systems are let for."""
        total = 0.0
        if not goal_of(self.horizon).of.get("cost"):
            return total
        for o, offer in enumerate(self.horizon.nodes[0].problem.offers):
            if offer.stock is not None:
                total += sum(self._owned(o, offer.stock))
                lots = ((self._ordered(o, k), most) for k, most in self._orders(o))
                total += sum(worth * most for worth, most in lots if worth < 0)
        return total

    def _orders(self, o: int) -> Iterator[tuple[int, float]]:
        """Nodes in which an offer may be ordered, with the most of an order."""
        for k, node in enumerate(self.horizon.nodes):
            stock = node.problem.offers[o].stock
            if stock is not None and stock.most_per_period > 0:
                yield k, self._most(o, k)

    def without_gain(self) -> LetStock:
        """The same with prices a little lower, at which no order gains that has no limit: they are
        those of a solver, right but for rounding."""
        found = dict(self.prices)
        for o, offer in enumerate(self.horizon.nodes[0].problem.offers):
            if offer.stock is None:
                continue
            unlimited = [k for k, most in self._orders(o) if math.isinf(most)]
            for less in _LESS:
                lower = {at: usd * (1.0 - less) for at, usd in self.prices.items() if at[1] == o}
                tried = replace(self, prices=lower)
                if all(tried._ordered(o, k) >= 0 for k in unlimited):
                    break
            found |= lower
        return replace(self, prices=found)

    def _most(self, o: int, k: int) -> float:
        """Most systems of an order: what may be ordered, and what may ever stand."""
        years = [node.problem.offers[o] for node in self.horizon.nodes]
        stock = self.horizon.nodes[k].problem.offers[o].stock
        assert stock is not None
        return min(stock.most_per_period, max(year.supply for year in years))

    def _owned(self, o: int, stock: Stock) -> Iterator[float]:
        """What is there at the start: sold at once, or held while that is worth it."""
        first = [u for u, node in enumerate(self.horizon.nodes) if node.parent < 0]
        maintenance = (
            self.horizon.nodes[0].problem.offers[o].annual_cost_items_usd.get("maintenance", 0.0)
        )
        for age, count in stock.owned:
            lot = _Lot(self, o, stock, stock.market_usd, maintenance, -age)
            yield count * sum(lot.kept(u) for u in first)

    def _ordered(self, o: int, k: int) -> float:
        """Least worth of one system ordered in a node; infinite where none is ever delivered."""
        horizon = self.horizon
        offer = horizon.nodes[k].problem.offers[o]
        stock = offer.stock
        assert stock is not None
        total, arrives = 0.0, False
        for d in _deliveries(horizon, o, k, stock.lead):
            born = clock(horizon, horizon.nodes[d].period)
            if stock.kind == "contract":
                rent = offer.annual_cost_items_usd.get("rental", 0.0)
                total += sum(self._let_on_contract(o, rent, stock, d, born))
                arrives = True
                continue
            maintenance = offer.annual_cost_items_usd.get("maintenance", 0.0)
            lot = _Lot(self, o, stock, offer.capex_usd, maintenance, born)
            node = horizon.nodes[d]
            total += node.probability * self.discount[node.period] * offer.capex_usd + lot.held(d)
            arrives = True
        return total if arrives else math.inf

    def _let_on_contract(
        self, o: int, rent: float, stock: Stock, d: int, born: float
    ) -> Iterator[float]:
        """What a contract that begins in node d pays in each node, less what the system is let
        for, and what it pays past the end."""
        horizon = self.horizon
        for u in horizon.below(d):
            node = horizon.nodes[u]
            end = clock(horizon, node.period + 1) - born
            if end > stock.term + 1e-9:
                continue
            yield rent * self.years(u) - self.paid[u, o]
            if stock.paid_beyond and not horizon.children[u]:
                first, last = horizon.starts[-2:]
                unit = last - first if horizon.counts_periods else 1.0
                rest = max(stock.term - end, 0.0) * unit
                rate, now = horizon.rate, self.discount[-1]
                worth = rest if rate == 0.0 else (1.0 - (1.0 + rate) ** -rest) / rate
                yield rent * node.probability * now * worth


@dataclass(frozen=True)
class _Lot:
    """One system of one order, with what it pays and brings from a node on."""

    stock_of: LetStock
    offer: int
    stock: Stock
    price: float
    maintenance: float  # USD a year
    born: float  # on the clock of the ages

    def sold(self, u: int) -> float:
        """What it brings at the start of a node."""
        horizon = self.stock_of.horizon
        node = horizon.nodes[u]
        age = clock(horizon, node.period) - self.born
        worth = self.price * lot_worth(self.stock, horizon.rate, age) - self.stock.removal_usd
        return node.probability * self.stock_of.discount[node.period] * worth

    def held(self, u: int) -> float:
        """The least that it costs from a node on, in which it is held; infinite where it is too
        old to serve the period."""
        horizon, of = self.stock_of.horizon, self.stock_of
        node = horizon.nodes[u]
        start = clock(horizon, node.period) - self.born
        end = clock(horizon, node.period + 1) - self.born
        if end > self.stock.life + 1e-9:
            return math.inf
        yearly = self.maintenance + age_value(self.stock.usd_per_year_by_age, start)
        total = yearly * of.years(u) - of.paid[u, self.offer]
        after = horizon.children[u]
        if not after:
            worth = self.price * lot_worth(self.stock, horizon.rate, end)
            last = of.discount[node.period + 1] * horizon.end_value_share
            return total - node.probability * last * worth
        return total + sum(self.kept(v) for v in after)

    def kept(self, u: int) -> float:
        """The same where it may be sold at the start of the node, unless it is too young."""
        held = self.held(u)
        young = clock(self.stock_of.horizon, self.stock_of.horizon.nodes[u].period) - self.born
        must_stay = young < self.stock.stay - 1e-9 and math.isfinite(held)
        return held if must_stay else min(-self.sold(u), held)


def _deliveries(horizon: Horizon, o: int, k: int, lead: float) -> Iterator[int]:
    """Nodes in which an order of node k arrives."""
    due, left = clock(horizon, horizon.nodes[k].period) + lead, [k]
    while left:
        u = left.pop()
        late = horizon.nodes[u].delays.get(o, 0.0)
        if clock(horizon, horizon.nodes[u].period) + 1e-9 >= due + late:
            yield u
        else:
            left += horizon.children[u]
