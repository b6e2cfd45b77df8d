"""Inputs of a plan over time that move at all dates alike: prices of offers and APIs, energy.

At f times an input a plan costs its cost today and f - 1 times what of it follows the input, in
each future. What follows is told by the terms of the model (`Term`), so every plan that is known
has a cost at every f without a solve. The plans of other prices are of the same tree with so much
more to pay: budgets hold at today's prices, and nodes that do not know the input stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from tokenfleet.errors import SolverError
from tokenfleet.explanation.about import About
from tokenfleet.explanation.knobs import Knob, turned_built
from tokenfleet.explanation.over_time import Found, OverTime, bare_model
from tokenfleet.explanation.rows import Kind
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.kin import Row
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import Orders
from tokenfleet.mix.model import Label, build, frame_of, scale_limit
from tokenfleet.mix.model.columns import Term
from tokenfleet.mix.model.frame import peak_demand
from tokenfleet.mix.model.stock import paid_in
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem_data import (
    Api,
    Horizon,
    Node,
    OfferData,
    Ordered,
    Problem,
    Systems,
    scaled,
)

_PAID = ("rental", "all_in")  # items that follow the price of a rent
_INSIDE_S = 20.0  # for a plan where what nodes cost inside moves, which is worked out anew
_PART = 1e-4  # of the peak of a workload, that a hosted API serves where it is held


@dataclass(frozen=True)
class Moving:
    """An input; `terms` are what follows it in each node, at today's value.

    `tree_at` is the tree at so many times the input, for horizons that are planned over a part of
    their pairs: their bounds are of all pairs, at the prices of the tree.
    """

    asked: OverTime
    terms: tuple[Term, ...] = field(repr=False)
    tree_at: Callable[[float], Horizon] = field(repr=False)
    seconds: float = math.inf  # for one plan

    @cached_property
    def spend(self) -> dict[Label, float]:
        """What follows the input by column, USD a year, levelised."""
        found: dict[Label, float] = {}
        for term in self.terms:
            usd = term.usd / self.asked.base.result.years
            found[term.label] = found.get(term.label, 0.0) + usd
        return found

    def paid(self, plan: Found) -> float:
        """What of a plan's mean cost follows the input today, USD a year, levelised."""
        values = plan.result.values
        return sum(usd * values.get(la, 0.0) for la, usd in self.spend.items())

    def least(
        self,
        factor: float,
        holds: Mapping[Label, float] | None = None,
        orders: Orders | None = None,
        rows: Sequence[Row] = (),
    ) -> Found | None:
        """The best plan at so many times the input; of those that hold something, keep some rows,
        or place just these orders."""
        asked = self.asked
        if asked.part is None:
            more = [replace(term, usd=(factor - 1.0) * term.usd) for term in self.terms]
            found = asked.tried(
                asked.tree, holds, orders=orders, more=more, rows=rows, seconds=self.seconds
            )
        else:
            found = asked.tried(self.tree_at(factor), holds, orders=orders, rows=rows)
        if found is None:
            return None
        return asked.of_today(found, (1.0 - factor) * self.paid(found))

    # Plans as the input moves

    def line(self, plan: Found, factor: float) -> Line:
        """A plan that was found at so many times the input."""
        result = plan.result
        problem, horizon = result.problem, result.horizon
        by_node = [0.0] * len(horizon.nodes)
        for term in self.terms:
            by_node[paid_in(problem, term)] += term.usd * result.values.get(term.label, 0.0)
        by_node = [usd / node.probability for usd, node in zip(by_node, horizon.nodes, strict=True)]
        follows = {leaf: sum(by_node[u] for u in horizon.path(leaf)) for leaf in horizon.leaves}
        today = {
            leaf: usd - (factor - 1.0) * follows[leaf] for leaf, usd in result.npv_by_leaf.items()
        }
        chances = {leaf: horizon.nodes[leaf].probability for leaf in horizon.leaves}
        return Line(plan, today, follows, chances, self.asked.risk, result.years)

    def known(self) -> list[Line]:
        """Plans of today that other questions found, where the mean alone counts."""
        asked = self.asked
        if asked.risk.counts_the_bad:
            return []
        return [
            Line(plan, {0: plan.today}, {0: self.paid(plan)}, {0: 1.0}, asked.risk)
            for plan in asked.plans
        ]


@dataclass(frozen=True)
class Line:
    """What a plan costs in each future: `today` and f - 1 times what `follows` the input, USD."""

    plan: Found
    today: Mapping[int, float] = field(repr=False)
    follows: Mapping[int, float] = field(repr=False)
    chances: Mapping[int, float] = field(repr=False)
    risk: Risk = field(repr=False)
    years: float = 1.0

    def at(self, factor: float) -> float:
        """What it is worth by the risk that is stated, USD a year, levelised: a straight line over
        the input, but with a tail of bad futures, where it bends upwards."""
        costs = {x: usd + (factor - 1.0) * self.follows[x] for x, usd in self.today.items()}
        mean = sum(self.chances[x] * usd for x, usd in costs.items())
        if not self.risk.counts_the_bad:
            return mean / self.years
        share = self.risk.mean_share
        return (share * mean + (1.0 - share) * self._tail(costs)) / self.years

    def _tail(self, costs: Mapping[int, float]) -> float:
        """The mean of the worst futures."""
        left, total = 1.0 - self.risk.alpha, 0.0
        for x in sorted(costs, key=lambda x: -costs[x]):
            chance = min(self.chances[x], left)
            total, left = total + chance * costs[x], left - chance
        return total / (1.0 - self.risk.alpha)


@dataclass(frozen=True)
class Target:
    """What has a price: an offer, a system type of several offers, a hosted API.

    `holds` are its columns, at least one of whose sum is enough to hold it; `stated` is its price
    today, in `unit`, where there is one.
    """

    kind: Kind
    name: str
    moving: Moving = field(repr=False)
    holds: Mapping[Label, float] = field(repr=False)
    offers: frozenset[str] = frozenset()
    apis: frozenset[str] = frozenset()
    stated: float | None = None
    unit: str | None = None

    def amount(self, plan: Found) -> float:
        """How much of it a plan has: 1 is enough to hold it."""
        return sum(a * plan.result.values.get(la, 0.0) for la, a in self.holds.items())

    def without(self) -> Found | None:
        """The best plan that does not have it; None where there is none."""
        return self.moving.asked.without(self.offers, self.apis, self.moving.seconds)


def targets(asked: OverTime) -> Iterator[Target]:
    """Everything with a price: offers by the name they are stated under, system types that several
    of them bring, hosted APIs."""
    problem = asked.problem
    groups = {name: asked.offers(name) for name in asked.groups() if _price(asked, name)[0]}
    of_type: dict[str, list[str]] = {}
    for offer in problem.offers:
        names = of_type.setdefault(problem.pools[offer.pool].system, [])
        if offer.stated_as in groups and offer.stated_as not in names:
            names.append(offer.stated_as)
    prices = _Prices(asked)
    for name, offers in groups.items():
        yield prices.of("offer", name, [name], offers, _price(asked, name))
    for system, names in sorted(of_type.items()):
        if len(names) > 1:
            yield prices.of("system", system, names, frozenset().union(*(groups[n] for n in names)))
    for a, api in enumerate(problem.apis):
        target = prices.of_api(a, api.id)
        if target.holds:
            yield target


def targets_about(asked: OverTime, about: About) -> Iterator[Target]:
    """Those that are asked about, by their own names or as offers of a system type."""
    problem = asked.problem
    type_of = {o.id: problem.pools[o.pool].system for o in problem.offers}
    for target in targets(asked):
        if about(target.name) or any(about(type_of[offer]) for offer in target.offers):
            yield target


def _price(asked: OverTime, name: str) -> tuple[float | None, str | None]:
    """The price of an offer, and its unit."""
    price = asked.built.supply.prices.get(name)
    if price is None:
        return None, None
    by_hour = price.usd_per_gpu_h > 0
    return (
        (price.usd_per_gpu_h if by_hour else price.usd_per_system) or None,
        "USD/GPU-h" if by_hour else "USD/system",
    )


@dataclass(frozen=True)
class _Prices:
    """Prices of a scenario, and what of its cost follows each."""

    asked: OverTime

    def of(
        self,
        kind: Kind,
        name: str,
        names: Iterable[str],
        offers: frozenset[str],
        stated: tuple[float | None, str | None] = (None, None),
    ) -> Target:
        """The target that is some offers."""
        asked = self.asked
        ours = {o for o, offer in enumerate(asked.problem.offers) if offer.id in offers}
        free = {
            _key(term): term.usd for term in _terms(_tree(asked, partial(_free, offers=offers)))
        }
        terms = []
        for term in self._today:
            if getattr(term.label, "offer", None) in ours:
                usd = term.usd - free.get(_key(term), 0.0)
                terms.append(replace(term, usd=usd))
        knobs = [Knob("price", each) for each in names]
        moving = Moving(asked, tuple(t for t in terms if t.usd), partial(turned_tree, asked, knobs))
        labels = dict.fromkeys(term.label for term in terms)
        ordered = {la.offer for la in labels if isinstance(la, Ordered)}
        holds: dict[Label, float] = {
            la: 1.0 for la in labels
            if isinstance(la, Ordered) or (isinstance(la, Systems) and la.offer not in ordered)
        }  # fmt: skip
        price, unit = stated
        return Target(kind, name, moving, holds, offers, stated=price, unit=unit)

    def of_api(self, a: int, name: str) -> Target:
        """The target that is a hosted API."""
        asked = self.asked
        terms = tuple(t for t in self._today if isinstance(t.label, Api) and t.label.api == a)
        tree_at = partial(turned_tree, asked, [Knob("api_price", name)])
        moving = Moving(asked, terms, tree_at, _INSIDE_S)
        workload = asked.problem.apis[a].workload
        peak = max(
            (float(peak_demand(n.problem, workload, 1.0).max()) for n in asked.tree.nodes),
            default=0.0,
        )
        least = max(_PART * peak, 1e-12)
        holds: dict[Label, float] = {term.label: 1.0 / least for term in terms if term.usd}
        return Target("api", name, moving, holds, apis=frozenset({name}))

    @cached_property
    def _today(self) -> list[Term]:
        return _terms(self.asked.tree)


def _key(term: Term) -> tuple[str, Label, int | None]:
    return term.item, term.label, term.node


def energy(asked: OverTime) -> Moving:
    """All tariffs of all sites.

    Raises:
        SolverError: the horizon is too large to be built whole.
    """
    if asked.part is not None:
        raise SolverError("energy prices over time are not asked of a problem this large", "")
    problem = combined("", asked.tree)
    frame = frame_of(problem, scale_limit(problem), every_system=True)
    m = build(problem, pools=range(len(problem.pools)), frame=frame)
    terms = tuple(term for term in m.terms if term.item == "energy" and term.usd)
    return Moving(asked, terms, partial(turned_tree, asked, [Knob("tariff")]), _INSIDE_S)


def turned_tree(asked: OverTime, knobs: Iterable[Knob], factor: float) -> Horizon:
    """The tree with inputs so many times what they are."""
    return tree_of(turned_built(asked, dict.fromkeys(knobs, factor)))


def _tree(asked: OverTime, change: Callable[[OfferData], OfferData]) -> Horizon:
    def changed(node: Node) -> Node:
        return replace(node, problem=_changed(node.problem, change))

    return replace(asked.tree, nodes=tuple(map(changed, asked.tree.nodes)))


def _changed(problem: Problem, change: Callable[[OfferData], OfferData]) -> Problem:
    return replace(problem, offers=tuple(map(change, problem.offers)))


def _free(offer: OfferData, offers: frozenset[str]) -> OfferData:
    """The offer for nothing, if it is one of these: what is charged on a purchase price goes with
    it."""
    if offer.id not in offers:
        return offer
    follows = (*_PAID, "maintenance") if offer.kind == "buy" else _PAID
    items = {
        name: 0.0 if name in follows else usd for name, usd in offer.annual_cost_items_usd.items()
    }
    hourly = scaled(offer.hourly_usd, 0.0)
    return replace(offer, annual_cost_items_usd=items, hourly_usd=hourly, capex_usd=0.0)


def _terms(tree: Horizon) -> list[Term]:
    """What orders, systems and APIs cost over a tree, whatever runs on them."""
    m = bare_model(tree)
    summed: dict[tuple[str, Label, int | None], Term] = {}
    for term in m.terms:
        known = summed.get(_key(term))
        usd = term.usd + (known.usd if known is not None else 0.0)
        summed[_key(term)] = replace(term, usd=usd)
    return list(summed.values())
