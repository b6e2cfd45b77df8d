"""What one more of each limit is worth over time, at all dates alike.

Power by period and lead times are asked in `over_time`.

Racks, supply, deliveries, rates of APIs and budgets by one step, latency limits by 10 ms (TTFT) or
1 ms (TPOT), quality floors by a hundredth, demand by a per cent and the reserve by one system. One
step of each is planned: what it saves is levelised, USD a year.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.case import Looser, looser_promises
from tokenfleet.explanation.over_time import OverTime
from tokenfleet.explanation.rows import Worth
from tokenfleet.explanation.worth import sizes_of
from tokenfleet.mix.model.family import ALL, Family
from tokenfleet.mix.model.limits import FAMILIES
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.problem_data import Horizon, Node, OfferData, Pool

_DEMAND = 0.01
_ONE_S = 20.0  # for the plan of one question; today's plan mostly stands, and is where it begins
_ONE_IN_PART_S = 60.0  # of a large horizon, whose first plan takes longer
Question = Callable[[], Worth | None]


def limits_over_time(
    asked: OverTime, about: About = EVERYTHING, ask: Ask = plainly
) -> Iterator[Worth]:
    """The worth of everything that is limited, of demand and of the reserve, as far as it is asked
    about."""
    for what, question in _questions(asked, about):
        row = ask(f"worth of {what}", question)
        if row is not None:
            yield row


def _questions(asked: OverTime, about: About) -> Iterator[tuple[str, Question]]:
    """A question for each worth, by what it is of."""
    yield from _of_limits(asked, about)
    for move in looser_promises(asked.built.loaded.scenario):
        if about(move.where):
            yield f"{move.what} of {move.where}", partial(_of_promise, asked, move)
    for w, workload in enumerate(asked.problem.workloads):
        if about(workload.id) and not workload.free and workload.demand_rps.any():
            yield f"demand of {workload.id}", partial(worth_of_demand, asked, w)
    if about(ALL) and len({pool.reserve for pool in _pools(asked)}) == 1:
        yield "reserve", partial(_of_reserve, asked)


def _of_limits(asked: OverTime, about: About) -> Iterator[tuple[str, Question]]:
    for family in FAMILIES:
        if family.places is None or family.used is None or not family.field:
            continue
        if family.name == "power":
            continue
        problems = [node.problem for node in asked.tree.nodes]
        names = dict.fromkeys(place.name for p in problems for place in family.stated(p))
        for name in filter(about, names):
            yield f"{family.words} of {name}", partial(_of_limit, asked, family, name)
    if about(ALL) and any(math.isfinite(_capex(node)) for node in asked.tree.nodes):
        yield "the capital of each period", partial(_of_capital, asked)
    for group in filter(about, asked.groups()):
        if _delivered(asked, group) < math.inf:
            yield f"order limit of {group}", partial(worth_of_orders, asked, group)


def _pools(asked: OverTime) -> list[Pool]:
    """Pools in which something may run."""
    return [pool for pool in asked.problem.pools if not pool.is_block]


def _of_promise(asked: OverTime, move: Looser) -> Worth:
    tree = asked.tree_with(move.changes)
    assert tree is not None  # what serves today does so within a looser promise
    return _row(asked, (move.what, move.where, move.unit), move.limit, move.step, tree)


def _row(
    asked: OverTime, named: tuple[str, str, str], limit: float, by: float, tree: Horizon,
    *, seen: bool = True,
) -> Worth:  # fmt: skip
    """A limit that is looser by one step: what it is, of what, and its unit."""
    what, where, unit = named
    step = asked.eased(by, tree, seconds=_seconds(asked), seen=seen)
    return Worth(what=what, where=where, unit=unit, limit=limit, unlimited=None, steps=(step,))


def _of_limit(asked: OverTime, family: Family, name: str) -> Worth:
    places = {
        u: place
        for u, node in enumerate(asked.tree.nodes)
        for place in family.stated(node.problem)
        if place.name == name
    }
    u, place = min(places.items(), key=lambda item: item[1].limit)
    by = sizes_of(asked.tree.nodes[u].problem, family, place)[0]
    nodes = [
        replace(node, problem=family.moved(node.problem, places[u], by)) if u in places else node
        for u, node in enumerate(asked.tree.nodes)
    ]
    tree, named = replace(asked.tree, nodes=tuple(nodes)), (family.words, name, family.unit.name)
    return _row(asked, named, place.limit, by, tree, seen=family.may_grow())


def _seconds(asked: OverTime) -> float:
    """The time of one question."""
    return _ONE_S if asked.part is None else _ONE_IN_PART_S


def _capex(node: Node) -> float:
    return math.inf if node.capex_budget_usd is None else node.capex_budget_usd


def _of_capital(asked: OverTime) -> Worth | None:
    """The capital of the cheapest system more in each period that has a budget."""
    offers = (o for node in asked.tree.nodes for o in node.problem.offers)
    by = min((o.capex_usd for o in offers if o.capex_usd > 0), default=0.0)
    if not by:
        return None

    def more(node: Node) -> Node:
        usd = node.capex_budget_usd
        return node if usd is None else replace(node, capex_budget_usd=usd + by)

    least = min(map(_capex, asked.tree.nodes))
    return _row(asked, ("capex budget", "each period", "USD"), least, by, asked.changed(more))


def _delivered(asked: OverTime, group: str) -> float:
    """The least that a maker delivers in a period in which it delivers."""
    offers = (o for node in asked.tree.nodes for o in node.problem.offers if o.stated_as == group)
    most = [o.stock.most_per_period for o in offers if o.stock is not None]
    return min((n for n in most if n > 0), default=math.inf)


def worth_of_orders(asked: OverTime, group: str) -> Worth:
    """One system more that a maker delivers in each period."""

    def more(offer: OfferData) -> OfferData:
        stock = offer.stock
        if offer.stated_as != group or stock is None or stock.most_per_period <= 0:
            return offer
        return replace(offer, stock=replace(stock, most_per_period=stock.most_per_period + 1.0))

    def changed(node: Node) -> Node:
        offers = tuple(map(more, node.problem.offers))
        return replace(node, problem=replace(node.problem, offers=offers))

    limit = _delivered(asked, group)
    return _row(asked, ("order limit", group, "systems"), limit, 1.0, asked.changed(changed))


def worth_of_demand(asked: OverTime, w: int) -> Worth:
    """One per cent more of a workload's demand at all dates: the cost of one more token."""

    def more(node: Node) -> Node:
        rows = list(node.problem.workloads)
        rows[w] = replace(rows[w], demand_rps=rows[w].demand_rps * (1.0 + _DEMAND))
        return replace(node, problem=replace(node.problem, workloads=tuple(rows)))

    base, tree = asked.base, asked.changed(more)
    found = asked.tried(tree, seconds=_seconds(asked))
    by = 100.0 * _DEMAND
    marginal = None
    if found is not None:
        before, after = (
            tokens_per_year(of.result.problem, of.result.values, "output") / of.result.years
            for of in (base, found)
        )
        usd = found.result.levelised_usd_per_year - base.result.levelised_usd_per_year
        marginal = usd * 1e6 / (after - before) if after > before else None
    return Worth(
        what="demand", where=asked.problem.workloads[w].id, unit="%", limit=None, unlimited=None,
        steps=(asked.step(by, found, eases=False, relaxed=asked.relaxed_worth(tree)),),
        marginal_usd_per_mtok_output=marginal,
    )  # fmt: skip


def _of_reserve(asked: OverTime) -> Worth:
    """One spare system of each used pool less, where there is one, and one more."""
    kept = _pools(asked)[0].reserve

    def spare(node: Node, by: int) -> Node:
        pools = tuple(
            pool if pool.is_block else replace(pool, reserve=kept + by)
            for pool in node.problem.pools
        )
        return replace(node, problem=replace(node.problem, pools=pools))

    steps = []
    for by in (-1, 1) if kept else (1,):
        found = asked.tried(asked.changed(partial(spare, by=by)), seconds=_seconds(asked))
        steps.append(asked.step(by, found, eases=by < 0))
    return Worth(
        what="reserve of each used pool", where=ALL, unit="systems", limit=kept, unlimited=None,
        steps=tuple(steps),
    )  # fmt: skip
