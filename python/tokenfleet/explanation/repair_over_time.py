"""Repairs of a wish over time: small sets of concessions with their dates, each applied and solved.

As of one year (`repair`), over the tree of the horizon. What gives way is a limit as the scenario
states it: power that is stated by date is one limit for each run of periods in which it is the
same, a budget for every year is one, the demand of a workload is one. It gives way from the first
to the last period in which it is short, by what is missing most in any of them; demand by what is
missing in each. Orders of a period may be more than its maker delivers (`order limit`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import pulp

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.promises import first_kept, promises
from tokenfleet.explanation.repair import (
    AT_MOST,
    USED,
    Concession,
    Conflict,
    Elastic,
    Given,
    requests_given,
)
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.explain import in_own_node, node_of_row, size_in_node, that_give_way
from tokenfleet.mix.model import FleetModel, build, frame_of, limits, scale_limit
from tokenfleet.mix.model.index import Budget, Capex, Delivered, Demand, Own, Row, Slack
from tokenfleet.mix.model.stock import deliveries
from tokenfleet.problem_data import Horizon, Node, OfferData, Ordered, Problem

ORDERS = "order limit"
_SET_S = 10.0  # for a set of limits: what it leaves unproven is by how little they may give way
_PLAN_S = 20.0  # for the plan after it, which is one from the start on
_EVERY = -1  # first period of a limit that is stated once for all of them

#: Family, what it is of, and the first of the periods in which it is the same.
Key = tuple[str, str, int]


@dataclass(frozen=True)
class RepairedOverTime:
    """A minimal set of concessions, and the cheapest plan over time once they are made."""

    concessions: tuple[Concession, ...]
    plan: Found
    proven: bool  # that no smaller set is enough
    gave: frozenset[Key] = frozenset()


def repairs_over_time(
    asked: OverTime, at_most: int = AT_MOST, ask: Ask = plainly
) -> Iterator[RepairedOverTime]:
    """Minimal sets of concessions, those of the fewest limits first, each as soon as it is found.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before all were found.
    """
    wish = _Wish(asked)
    for given in itertools.islice(_given(wish, ask), at_most):
        tree = wish.applied(given)
        if _asks_nothing(tree):
            continue
        words = " and ".join(f"{c.words} of {c.where}" for c in wish.conceded(given))
        planned = partial(asked.tried, tree, start=given.values, seconds=_PLAN_S)
        plan = ask(f"the plan after another {words}", planned)
        if plan is not None:
            yield RepairedOverTime(tuple(wish.conceded(given)), plan, given.proven, given.used)


def _given(wish: _Wish, ask: Ask) -> Iterator[Given[Key]]:
    """Limits that are enough alone, and then the fewest that are together."""
    for key in wish.elastic.in_order():
        stated = wish.stated(key)
        what = f"whether {stated.words} of {stated.where} alone is enough"
        given = ask(what, partial(wish.elastic.by_itself, key))
        if given is not None:
            yield given
    what = "the next set of limits that could give way"
    while (given := ask(what, wish.elastic.next)) is not None:
        yield given


def promises_over_time(asked: OverTime, ask: Ask = plainly) -> Iterator[RepairedOverTime]:
    """Promises that are enough alone where they give way, at all dates alike.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before all were found.
    """
    again = partial(asked.with_scenario, seconds=_PLAN_S)
    for promise in promises(asked.built.loaded.scenario):
        what = f"{promise.what.words} of {promise.what.where}"
        found = ask(what, partial(first_kept, promise, again))
        if found is not None:
            yield RepairedOverTime((found[0],), found[1], proven=True)


def conflict_over_time(asked: OverTime) -> Conflict:
    """A smallest set of limits that cannot all hold: without any one of them they could."""
    wish = _Wish(asked)
    kept, minimal = wish.elastic.conflict()
    return Conflict(tuple(wish.stated(key) for key in kept), minimal)


def _asks_nothing(tree: Horizon) -> bool:
    return not any(w.demand_rps.any() for node in tree.nodes for w in node.problem.workloads)


class _Wish:
    """The horizon with its limits, each of which may give way."""

    def __init__(self, asked: OverTime) -> None:
        self.tree = asked.tree
        self.problem = combined(asked.problem.name, self.tree)
        names = frozenset(that_give_way(self.tree)) - {"types"}
        free = combined(asked.problem.name, _any_orders(self.tree))
        frame = frame_of(free, scale_limit(free), every_system=True)
        pairs = None if asked.part is None else asked.part.pairs
        self.m = build(free, relax=names, pairs=pairs, pools=range(len(free.pools)), frame=frame)
        self.order_limits = dict(_limit_orders(self.m, self.tree))
        keys: dict[Key, list[Slack]] = {}
        for slack in self.m.of(Slack):
            keys.setdefault(self.key(slack.row), []).append(slack)
        effort = partial(asked.effort, _SET_S)
        self.elastic: Elastic[Key] = Elastic(self.m, keys, self.size, effort, {})

    def key(self, row: Row) -> Key:
        """The limit that a row belongs to, as it is stated."""
        if isinstance(row, Delivered):
            return ORDERS, self.problem.offers[row.offer].stated_as, _EVERY
        if isinstance(row, Demand):
            return "demand", self.problem.workloads[row.workload].id, _EVERY
        node, own = in_own_node(self.problem, row)
        family = limits.family_of(row)
        assert family is not None
        name = family.at(node.problem, own).name
        if isinstance(row, Budget) or (isinstance(row, Capex) and row.total):
            return family.name, name, _EVERY
        return family.name, name, self._runs(family.name, name)[node.period]

    def size(self, row: Row) -> float:
        """The limit that a row holds."""
        if isinstance(row, Delivered):
            return self.order_limits[row]
        return size_in_node(self.problem, row)

    def _runs(self, family: str, name: str) -> Sequence[int]:
        """For each period the first of those in a row with the same limit."""
        limits_by_period = self._limits[family, name]
        firsts: list[int] = []
        for t in range(self.tree.periods):
            same = t > 0 and limits_by_period.get(t) == limits_by_period.get(t - 1)
            firsts.append(firsts[-1] if same else t)
        return firsts

    @cached_property
    def _limits(self) -> Mapping[tuple[str, str], Mapping[int, frozenset[float]]]:
        """Limits by family, what they are of, and period: those of all that may have happened."""
        found: dict[tuple[str, str], dict[int, set[float]]] = {}
        for slack in self.m.of(Slack):
            if isinstance(slack.row, Demand | Delivered | Budget):
                continue
            node, own = in_own_node(self.problem, slack.row)
            family = limits.family_of(slack.row)
            assert family is not None
            place = family.at(node.problem, own)
            by_period = found.setdefault((family.name, place.name), {})
            by_period.setdefault(node.period, set()).add(place.limit)
        return {
            key: {t: frozenset(of) for t, of in by_period.items()}
            for key, by_period in found.items()
        }

    # What is given

    def short(self, key: Key, given: Given[Key]) -> dict[Slack, float]:
        """Rows of a limit that give way, with how much each is short by."""
        rows = {slack: given.slack[slack] for slack in self.elastic.keys[key]}
        return {s: short for s, short in rows.items() if short > USED * max(self.size(s.row), USED)}

    def conceded(self, given: Given[Key]) -> Iterator[Concession]:
        """What gives way, in words."""
        for key in sorted(given.used):
            rows = self.short(key, given)
            if key[0] == "demand":
                yield from self._less_demand(key, rows)
                continue
            slack, amount = max(rows.items(), key=lambda item: item[1])
            stated = self.stated(key, slack.row, self._periods(rows))
            yield replace(stated, amount=self.enough(slack.row, amount))

    def _less_demand(self, key: Key, rows: Mapping[Slack, float]) -> Iterator[Concession]:
        """Of each period the load block, of all that may have happened, that lacks most."""
        every = {s.row: rows.get(s, 0.0) for s in self.elastic.keys[key]}
        missing, asked = requests_given(self.problem, every)
        by_period: dict[int, list[int]] = {}
        for block, rps in missing.items():
            if rps > 0:
                by_period.setdefault(self.problem.blocks[block].period, []).append(block)
        for t, blocks in sorted(by_period.items()):
            worst = max(blocks, key=lambda b: missing[b])
            where = f"{key[1]}{self._when([t])}"
            yield Concession(
                "demand", where, missing[worst], "requests_per_s", asked[worst], lower=True
            )

    def stated(
        self, key: Key, row: Row | None = None, periods: Iterable[int] | None = None
    ) -> Concession:
        """A limit as it is stated, with its periods: those of the key where none are given."""
        rows = [slack.row for slack in self.elastic.keys[key]]
        row = rows[0] if row is None else row
        if key[0] == "demand":
            _, asked = requests_given(self.problem, dict.fromkeys(rows, 0.0))
            return Concession("demand", key[1], 0.0, "requests_per_s", max(asked.values()))
        periods = self._periods(self.elastic.keys[key]) if periods is None else periods
        where = f"{key[1]}{'' if key[2] == _EVERY and key[0] != 'budget' else self._when(periods)}"
        if isinstance(row, Delivered):
            return Concession(ORDERS, key[1], 0.0, "systems", self.size(row))
        node, own = in_own_node(self.problem, row)
        family = limits.family_of(row)
        assert family is not None
        limit = family.at(node.problem, own).limit
        return Concession(key[0], where, 0.0, family.unit.name, limit)

    def enough(self, row: Row, amount: float) -> float:
        """The amount in whole units where the limit counts those."""
        if isinstance(row, Delivered):
            return float(math.ceil(amount - USED))
        family = limits.family_of(row)
        assert family is not None
        return float(family.unit.enough(amount))

    def period(self, slack: Slack) -> int:
        """The period that a row is of."""
        return self.tree.nodes[node_of_row(self.problem, slack.row)].period

    def _periods(self, slacks: Iterable[Slack]) -> range:
        """From the first to the last period of some rows."""
        found = [self.period(slack) for slack in slacks]
        return range(min(found), max(found) + 1)

    def _when(self, periods: Iterable[int]) -> str:
        """Nothing where it is always; else ` in 2027-Q3`, or ` from 2027-Q3 to 2028-Q1`."""
        every = sorted(periods)
        names = {node.period: node.name.split()[0] for node in self.tree.nodes}
        if len(every) == self.tree.periods:
            return ""
        first, last = names[every[0]], names[every[-1]]
        return f" in {first}" if first == last else f" from {first} to {last}"

    # What is given, applied

    def applied(self, given: Given[Key]) -> Horizon:
        """The tree with every concession made, as it is written."""
        tree = self.tree
        for key in given.used:
            rows = self.short(key, given)
            if key[0] == "demand":
                for slack, short in rows.items():
                    tree = self._loosened(tree, slack.row, self.enough(slack.row, short))
                continue
            slack, short = max(rows.items(), key=lambda item: item[1])
            amount = self.enough(slack.row, short)
            if key[0] == ORDERS:
                tree = _with_orders(tree, key[1], amount)
                continue
            periods = range(tree.periods) if _is_whole(slack.row) else self._periods(rows)
            done: set[int] = set()
            for other in self.elastic.keys[key]:
                u = node_of_row(self.problem, other.row)
                if u not in done and self.period(other) in periods:
                    done.add(u)
                    tree = self._loosened(tree, other.row, amount)
        return tree

    def _loosened(self, tree: Horizon, row: Row, amount: float) -> Horizon:
        """The tree with so much more of what a row limits."""
        family = limits.family_of(row)
        assert family is not None
        nodes = list(tree.nodes)
        node, own = in_own_node(replace(self.problem, horizon=tree), row)
        if isinstance(row, Capex) and not row.total:
            assert node.capex_budget_usd is not None
            more = node.capex_budget_usd + amount
            nodes[row.node] = replace(tree.nodes[row.node], capex_budget_usd=more)
        elif _is_whole(row):
            budget = family.at(node.problem, own)
            for u, each in enumerate(tree.nodes):
                nodes[u] = replace(each, problem=family.moved(each.problem, budget, amount))
        else:
            nodes[node_of_row(self.problem, row)] = replace(
                node, problem=family.loosened(node.problem, own, amount)
            )
        return replace(tree, nodes=tuple(nodes))


def _is_whole(row: Row) -> bool:
    """Whether the limit is one of the whole horizon."""
    return isinstance(row, Capex) and row.total


# Orders


def _limit_orders(m: FleetModel, tree: Horizon) -> Iterator[tuple[Delivered, float]]:
    """Rows that keep orders within what a maker delivers in a period, and let it give way: the
    label of each limit, with the most that it is in any period. Orders that arrive together count
    together, as in `model.stock`."""
    groups: dict[str, list[Ordered]] = {}
    for label in m.of(Ordered):
        groups.setdefault(m.problem.offers[label.offer].stated_as, []).append(label)
    for name, labels in groups.items():
        most = {label: _most(tree, label) for label in labels}
        limited = [label for label in labels if 0 < most[label] < math.inf]
        if not limited:
            continue
        limit = Delivered(0, limited[0].offer)
        slack = (m.column(Slack(limit)), -1.0)
        together: dict[tuple[str, int], list[Ordered]] = {}
        for label in limited:
            together.setdefault(("ordered", label.node), []).append(label)
            for d in deliveries(tree, label.offer, label.node):
                together.setdefault(("arriving", d), []).append(label)
        for (what, u), several in together.items():
            pairs = [(m.columns[label], 1.0) for label in several]
            row = Own(f"{what} of {name} in {u}")
            most_of_any = math.floor(max(most[label] for label in several))
            m.row(row, [*pairs, slack], pulp.LpConstraintLE, most_of_any)
        yield limit, math.floor(max(most[label] for label in limited))


def _most(tree: Horizon, label: Ordered) -> float:
    stock = tree.nodes[label.node].problem.offers[label.offer].stock
    return math.inf if stock is None else stock.most_per_period


def _any_orders(tree: Horizon) -> Horizon:
    """The tree with orders of any size of what can be ordered."""
    return _orders(tree, lambda offer: _limited(offer, math.inf))


def _with_orders(tree: Horizon, name: str, more: float) -> Horizon:
    """The tree in which so many more systems of an offer may be ordered in each period."""
    return _orders(tree, partial(_more, name=name, more=more))


def _more(offer: OfferData, name: str, more: float) -> OfferData:
    if offer.stated_as != name or offer.stock is None:
        return offer
    return _limited(offer, offer.stock.most_per_period + more)


def _limited(offer: OfferData, most: float) -> OfferData:
    """The offer with another limit on its orders, where it is open."""
    if offer.stock is None or offer.stock.most_per_period <= 0:
        return offer
    return replace(offer, stock=replace(offer.stock, most_per_period=most))


def _orders(tree: Horizon, change: Callable[[OfferData], OfferData]) -> Horizon:
    def changed(node: Node) -> Node:
        return replace(node, problem=_changed(node.problem, change))

    return replace(tree, nodes=tuple(map(changed, tree.nodes)))


def _changed(problem: Problem, change: Callable[[OfferData], OfferData]) -> Problem:
    return replace(problem, offers=tuple(map(change, problem.offers)))
