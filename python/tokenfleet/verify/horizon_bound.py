r"""Checks the bound of a large horizon by other means than those that found it.

Systems are all that links the nodes. At any price of a system in service under an offer in a node,
every plan costs at least what its years cost whose systems are rented at that price, and what the
orders cost that are let at it:

    sum over u of weight[u] * (least cost of year u with prices[u, o] / weight[u] a system)
    + sum over lots of most * min(0, least worth of all cash of one system, less the prices)

The prices come from the search, but whether they are right does not matter: each year is bounded by
the second formulation (`second`, `bound.Prices`), and each lot is walked through the tree with its
cash here. What limits orders together (budgets, least orders) can only cost more.

A price may be negative: a contract that runs on takes power that something else would use better.
Where it outweighs what a system costs a year beside its order, a year has more of them than it has
work for, up to what orders and limits leave room for. Where nothing limits them the price is taken
to be just what a system costs beside its order. Any price gives a bound, so that one does.

Of a small horizon the whole numbers hold the bound up. Its years are then searched in whole numbers
(`confirm_horizon_bound`), each up to what it costs in the plan at the same prices: no more can be
confirmed of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.problem_data import (
    BoundCheck,
    FloatArray,
    Horizon,
    OfferData,
    Problem,
    Stock,
    pairs_used,
)
from tokenfleet.verify.bound import (
    Checked,
    Priced,
    Prices,
    largest_scale,
    pairs_of_plan,
    search_whole,
)
from tokenfleet.verify.horizon import BY_LOT, age_value, clock, lot_worth, own_numbers
from tokenfleet.verify.mix import annual_cost_items
from tokenfleet.verify.second import Formulation, formulate

_SAME = 1e-6  # relative: a bound this close is confirmed
_LESS = (0.0, 1e-9, 1e-7, 1e-5, 1e-3, 1.0)  # parts that are taken off prices
_RATIO_STEPS = 20
_NOTHING_USD = 1e-6  # of all cash: rounding where the best is to do nothing
_DEARER = 2.0  # times the relaxation, that a year in whole numbers may cost
_EACH = 0.25  # of the time that is left, for one of them
_NEAREST = 60  # replica types of a year, beside those it uses, that whole numbers may want
_SECONDS = 600.0  # for a check, which takes a second or so for each node


def check_horizon_bound(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    claimed: float,
    pairs: frozenset[tuple[int, int]],
) -> Checked:
    """The claimed bound on the mean cost if it can be confirmed, else what can be.

    `prices` are worth at the start and by probability, USD a system by (node, offer); `pairs` are
    looked at first. A claim of infinity asks for the best bound that these prices give. Blocks of
    power and contracts that are paid ahead are not understood: then nothing is confirmed. Reserves,
    yearly budgets and staff are left out: with them a plan costs more.
    """
    horizon = problem.horizon
    assert horizon is not None
    if not _is_understood(horizon):
        return Checked(-math.inf if claimed == math.inf else claimed, "none")
    stock = _Stock(horizon, prices).without_gain()
    total, used = stock.bound(), frozenset[tuple[int, int]]()
    deadline = Deadline(_SECONDS)
    for u in range(len(horizon.nodes)):
        found = _year_bound(horizon, u, stock, pairs, deadline)
        total, used = total + found.bound, used | found.used
    if total >= claimed - _SAME * abs(claimed):
        return Checked(claimed, "prices", used)
    return Checked(total, "prices" if math.isfinite(total) else "none", used)


def confirm_horizon_bound(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    claimed: float,
    values: Mapping[Any, float],
    *,
    least: float,
    seconds: float,
) -> Checked:
    """As `check_horizon_bound` of a horizon that was searched whole, its years in whole numbers.

    `values` are the numbers of the plan; a bound below `least` is of no use, so that the check is
    given up as soon as none above it is left to hope for.
    """
    horizon, nothing = problem.horizon, Checked(claimed, "none")
    assert horizon is not None
    if not _is_understood(horizon):
        return nothing
    stock = _Stock(horizon, prices).without_gain()
    pairs = pairs_used(values)
    hopes = [_year_of_plan(problem, u, stock, values) for u in range(len(horizon.nodes))]
    total, deadline = stock.bound() + math.fsum(hopes), Deadline(seconds)
    how: BoundCheck = "prices"
    for u, hoped in enumerate(hopes):
        if not total >= least or deadline.left() <= 0:
            return nothing
        found = _whole_year(horizon, u, stock, pairs, hoped=hoped, deadline=deadline)
        total += found.bound - hoped
        how = "search" if found.how == "search" else how
    if not total >= least:
        return nothing
    return Checked(claimed if total >= claimed - _SAME * abs(claimed) else total, how)


def confirm_horizon_ratio(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    claimed: float,
    pairs: frozenset[tuple[int, int]],
    *,
    least: float,
    seconds: float,
) -> Checked:
    """A cost per token below which no plan over a horizon is: the claimed one, or the best that
    years at these prices give, unless that is below `least`.

    No plan is below a ratio if none has all its cash less the ratio times its tokens below zero,
    which is bounded as a cost is: by relaxed years, or where these leave less than `least` by years
    in whole numbers.
    """
    horizon = problem.horizon
    assert horizon is not None
    if not _is_understood(horizon):
        return Checked(claimed, "none")
    check = _RatioCheck(horizon, prices, pairs, Deadline(seconds))
    ratio, lowest = claimed, max(least / (1.0 - _SAME), 0.0)
    for _ in range(_RATIO_STEPS):
        usd, under = check.relaxed(ratio * (1.0 - _SAME))
        if usd >= -_NOTHING_USD:
            return Checked(ratio, "prices")
        ratio += usd / under if under > 0 else -math.inf
        if not ratio >= lowest:
            break
    for ratio in (claimed, lowest):
        if check.searched(ratio * (1.0 - _SAME)) >= -_NOTHING_USD:
            return Checked(ratio, "search")
    return Checked(claimed, "none")


def best_horizon_bound(
    problem: Problem,
    prices: Mapping[tuple[int, int], float],
    values: Mapping[Any, float],
    *,
    seconds: float,
) -> Checked:
    """The best bound on the mean cost that such prices of systems give, with the pairs that years
    want at them; `values` are the numbers of a plan.

    Every year is relaxed first; those in whole numbers are then searched, each for its part of the
    time that is left. Without the time to relax them all there is none.
    """
    horizon, nothing = problem.horizon, Checked(-math.inf, "none")
    assert horizon is not None
    if not _is_understood(horizon):
        return nothing
    stock, deadline = _Stock(horizon, prices).without_gain(), Deadline(seconds)
    pairs, total = pairs_used(values), stock.bound()
    relaxed: list[tuple[int, Formulation, Priced]] = []
    used = frozenset[tuple[int, int]]()
    for u in range(len(horizon.nodes)):
        if deadline.left() <= 0:
            return replace(nothing, used=used)
        form = _form(horizon, u, stock, pairs, deadline, reserves=True)
        costs = np.asarray(form.figures["cost"])
        priced = Prices(form, pairs, deadline).least(costs, form.contracted_usd, math.inf)
        total += stock.years(u) * priced.bound
        used |= pairs_of_plan(form, priced.plan)
        if horizon.nodes[u].firm:
            relaxed.append((u, form, priced))
    how: BoundCheck = "prices"
    for i, (u, form, priced) in enumerate(relaxed):
        clock = Deadline(deadline.left() / (len(relaxed) - i))
        years, costs = stock.years(u), np.asarray(form.figures["cost"])
        enough = _year_of_plan(problem, u, stock, values) / years
        if priced.bound < enough:
            found = search_whole(
                form, costs, form.contracted_usd, priced, enough=enough, clock=clock, at_once=True
            )
            total += years * max(found.bound - priced.bound, 0.0)
            used |= pairs_of_plan(form, found.plan)
            how = "search"
    return Checked(total, how, used) if math.isfinite(total) else replace(nothing, used=used)


def wanted_by_years(
    problem: Problem, prices: Mapping[tuple[int, int], float], nodes: Iterable[int], seconds: float
) -> frozenset[tuple[int, int]]:
    """(pool, candidate) that the years of some nodes use with systems at such prices, relaxed and,
    where they are firm, in whole numbers; and those that cost least beside them."""
    horizon = problem.horizon
    assert horizon is not None
    stock, deadline = _Stock(horizon, prices), Deadline(seconds)
    found = frozenset[tuple[int, int]]()
    for u in nodes:
        if found and deadline.left() <= 0:
            break
        form = _form(horizon, u, stock, found, deadline)
        priced = Prices(form, found, deadline).least(
            np.asarray(form.figures["cost"]), form.contracted_usd, math.inf
        )
        found |= pairs_of_plan(form, priced.plan) | _nearest(form, priced)
        if horizon.nodes[u].firm and math.isfinite(priced.bound):
            clock = Deadline(deadline.left() * _EACH)
            costs, enough = np.asarray(form.figures["cost"]), _DEARER * abs(priced.bound)
            searched = search_whole(
                form, costs, form.contracted_usd, priced, enough=enough, clock=clock, at_once=True
            )
            found |= pairs_of_plan(form, searched.plan)
    return found


def _nearest(form: Formulation, priced: Priced) -> frozenset[tuple[int, int]]:
    """(pool, candidate) of the replicas of least reduced cost."""
    if priced.plan is None:
        return frozenset()
    each = np.full(len(form.pairs), math.inf)
    replicas = ~form.flow & (form.pair >= 0)
    np.minimum.at(each, form.pair[replicas], priced.reduced[replicas])
    return frozenset(form.pairs[i] for i in np.argsort(each, kind="stable")[:_NEAREST].tolist())


class _RatioCheck:
    """The nodes of a horizon, each a year by itself, for one ratio after another."""

    def __init__(
        self,
        horizon: Horizon,
        prices: Mapping[tuple[int, int], float],
        pairs: frozenset[tuple[int, int]],
        deadline: Deadline,
    ) -> None:
        self.horizon, self.deadline = horizon, deadline
        self.stock = _Stock(horizon, prices).without_gain()
        firm = [node.firm for node in horizon.nodes]
        self.forms = [
            _form(horizon, u, self.stock, pairs, deadline, reserves=is_whole)
            for u, is_whole in enumerate(firm)
        ]
        self.years = [Prices(form, pairs, deadline) for form in self.forms]

    def relaxed(self, ratio: float) -> tuple[float, float]:
        """What all cash less the ratio times the tokens is at least, and the tokens of the relaxed
        plan in units of the goal; -inf when the time is over."""
        usd, under = self.stock.bound(), 0.0
        for u, form in enumerate(self.forms):
            if self.deadline.left() <= 0:
                return -math.inf, 0.0
            costs, found = self._costs(u, ratio), self._priced(u, ratio)
            usd += self.stock.years(u) * found.bound
            if found.plan is not None and ratio > 0:
                paid = float((np.asarray(form.figures["cost"]) - costs) @ found.plan) / ratio
                under += self.stock.years(u) * paid
        return usd, under

    def searched(self, ratio: float) -> float:
        """The same, no more than zero, with whole years where they are firm."""
        usd, _ = self.relaxed(ratio)
        for u, form in enumerate(self.forms):
            if usd >= 0.0 or not math.isfinite(usd) or self.deadline.left() <= 0:
                break
            if not self.horizon.nodes[u].firm:
                continue
            years, priced = self.stock.years(u), self._priced(u, ratio)
            enough = priced.bound - usd / years
            costs, constant = self._costs(u, ratio), form.contracted_usd
            found = search_whole(form, costs, constant, priced, enough=enough, clock=self.deadline)
            usd += years * max(found.bound - priced.bound, 0.0)
        return usd

    def _priced(self, u: int, ratio: float) -> Priced:
        constant = self.forms[u].contracted_usd
        return self.years[u].least(self._costs(u, ratio), constant, math.inf)

    def _costs(self, u: int, ratio: float) -> FloatArray:
        """Cost less the ratio times what is under the line."""
        form, goal = self.forms[u], self.horizon.nodes[u].problem.objective.goal
        assert goal.per is not None
        under = np.asarray(form.figures[goal.per]) / goal.per_amount
        return np.asarray(form.figures["cost"]) - ratio * under


def _is_understood(horizon: Horizon) -> bool:
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


def _year_bound(
    horizon: Horizon,
    u: int,
    stock: _Stock,
    pairs: frozenset[tuple[int, int]],
    deadline: Deadline,
) -> Checked:
    """What the operation of a node costs at least, with its systems at their prices."""
    form = _form(horizon, u, stock, pairs, deadline)
    costs = np.asarray(form.figures["cost"])
    found = Prices(form, pairs, deadline).least(costs, form.contracted_usd, math.inf)
    return Checked(stock.years(u) * found.bound, "prices", pairs_of_plan(form, found.plan))


def _whole_year(
    horizon: Horizon,
    u: int,
    stock: _Stock,
    pairs: frozenset[tuple[int, int]],
    *,
    hoped: float,
    deadline: Deadline,
) -> Checked:
    """The same in whole numbers, up to what is hoped for."""
    years, firm = stock.years(u), horizon.nodes[u].firm
    form = _form(horizon, u, stock, pairs, deadline, reserves=True)
    costs, constant, enough = np.asarray(form.figures["cost"]), form.contracted_usd, hoped / years
    priced = Prices(form, pairs, deadline).least(costs, constant, enough)
    if priced.bound >= enough or not firm:
        return Checked(years * min(priced.bound, enough), "prices")
    searched = search_whole(form, costs, constant, priced, enough=enough, clock=deadline)
    return Checked(years * max(priced.bound, searched.bound), "search")


def _form(
    horizon: Horizon,
    u: int,
    stock: _Stock,
    pairs: frozenset[tuple[int, int]],
    deadline: Deadline,
    *,
    reserves: bool = False,
) -> Formulation:
    """The second formulation of the year of a node, with its systems at their prices."""
    year = _year(horizon, u, stock, reserves=reserves)
    return formulate(year, largest_scale(year, pairs, deadline), firm=horizon.nodes[u].firm)


def _year_of_plan(problem: Problem, u: int, stock: _Stock, values: Mapping[Any, float]) -> float:
    """What the year of a node costs in a plan, with its systems at their prices."""
    year = _year(stock.horizon, u, stock)
    return stock.years(u) * sum(annual_cost_items(year, own_numbers(problem, u, values)).values())


def _year(horizon: Horizon, u: int, stock: _Stock, *, reserves: bool = False) -> Problem:
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
class _Stock:
    """Orders of a horizon whose systems are let at a price in every node."""

    horizon: Horizon
    prices: Mapping[tuple[int, int], float]

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

    def without_gain(self) -> _Stock:
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

    stock_of: _Stock
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
