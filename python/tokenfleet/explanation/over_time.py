"""A plan over time explained: power by period, a month of lead time, flip prices of its offers.

Every answer is the tree of the horizon with one thing changed, planned again from its start; values
are levelised, USD a year. Plans over time leave wider gaps than plans of a year, so each figure has
the range that the bounds leave. Routes, inputs and figures to measure are of one year.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from tokenfleet.catalog import Catalog
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.explanation.case import Case, case_of, load_case
from tokenfleet.explanation.rows import FlipPrice, Step, Worth
from tokenfleet.explanation.study import PROVEN, WITHIN, OutOfTimeError
from tokenfleet.files.plain import finite
from tokenfleet.horizon.run import risk_of
from tokenfleet.mix.horizon.part import elsewhere, part_of
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.solver.effort import Deadline, Effort
from tokenfleet.mix.solver.highs import OPTIMAL_GAP, SolveOptions
from tokenfleet.optimize import solve_options
from tokenfleet.plan.explored import HowGot
from tokenfleet.plan.over_time import mix_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem import Built
from tokenfleet.problem.build import Progress
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem_data import Horizon, Node, OfferData, Ordered, SiteData, Systems, scaled
from tokenfleet.scenario.load import ScenarioSource

UNIT = "USD per year, levelised"
_MONTH = 1.0 / 12.0
_DEAREST = 16.0  # times today's price, up to which it is asked when an offer leaves
_CLOSE = 0.005  # of today's price, between two prices that are solved
_PAID = ("rental", "all_in")  # items that follow the price of a rent


@dataclass(frozen=True)
class Found:
    """A plan over time: its value and bound, levelised, and its systems by offer and site."""

    value: float
    bound: float
    systems: Mapping[str, int] = field(repr=False)
    result: HorizonResult = field(repr=False)

    @property
    def how(self) -> HowGot:
        """Whether its value is proven, or proven within its gap."""
        return PROVEN if self.value - self.bound <= OPTIMAL_GAP * abs(self.value) else WITHIN


def open_either(
    source: Plan | ScenarioSource,
    scenario: ScenarioSource | None = None,
    *,
    seconds: float = math.inf,
    gap: float | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
) -> Case | OverTime:
    """What a plan is asked of, its file or a scenario: of one steady year, or over time.

    Raises:
        SchemaError: as `OverTime`, and as `open_case`.
    """
    asked = load_case(source, scenario, seconds=seconds, gap=gap, catalog=catalog)
    if asked.loaded.scenario.horizon is None:
        return case_of(asked, seconds=seconds, gap=gap, progress=progress)
    built, options = asked.built(progress), solve_options(asked.loaded.scenario)
    options = replace(options, gap=options.gap if gap is None else gap)
    return OverTime(built, options, seconds, asked.plan)


class OverTime:
    """A scenario with a horizon, its best plan, and the means to ask what would change it."""

    def __init__(
        self,
        built: Built,
        options: SolveOptions,
        seconds: float = math.inf,
        plan: Plan | None = None,
    ) -> None:
        """`options` are of one plan, `seconds` those of all of them together; `plan` where one
        was given.

        Raises:
            SchemaError: its goal is no cost, or the largest regret.
        """
        risk = risk_of(built)
        if not built.problem.objective.goal.is_cost or risk.kind == "regret":
            raise SchemaError(
                f"{built.loaded.source_name}: objective: over time a cost is explained, in the "
                "mean or with what it may come to",
                "explain the scenario with `objective: {kind: least_cost}`",
            )
        self.built, self.options, self.risk, self.plan = built, options, risk, plan
        self.deadline, self.solves = Deadline(seconds), 0
        self.tree = tree_of(built)
        self.part = part_of(built.problem.name, self.tree, Effort.of(options))
        self.base = self.solved(self.tree)

    def solved(self, tree: Horizon) -> Found:
        """The best plan of a tree.

        Raises:
            InfeasibleError: there is none.
            OutOfTimeError: no time is left.
            KeyboardInterrupt: Ctrl-C.
        """
        left = self.deadline.left()
        if left <= 0:
            raise OutOfTimeError("the time given for the explanation is used up", "give it more")
        self.solves += 1
        options = replace(self.options, time_limit_s=min(self.options.time_limit_s, left))
        part = self.part
        if tree is not self.tree:
            part = elsewhere(part, tree, Effort.of(options))
        found = solve_horizon(self.built.problem.name, tree, options, self.risk, part=part)
        if found.interrupted:
            raise KeyboardInterrupt
        bound = found.bound if math.isfinite(found.bound) else -math.inf
        return Found(found.value / found.years, bound / found.years, _systems(found), found)

    def again(self, change: Callable[[Node], Node]) -> Found | None:
        """The best plan with every node changed; None where there is none."""
        nodes = tuple(change(node) for node in self.tree.nodes)
        try:
            return self.solved(replace(self.tree, nodes=nodes))
        except InfeasibleError:
            return None

    def levelised_items(self) -> dict[str, float]:
        """The best plan's cost by item, USD a year: each year of each node at its weight."""
        items: dict[str, float] = {}
        result = self.base.result
        for node, weight in zip(range(len(self.tree.nodes)), result.problem.parts, strict=True):
            for item, usd in mix_of(result, node).cost_items.items():
                items[item] = items.get(item, 0.0) + usd * weight[1] / result.years
        return items

    # Worth

    def worths(self) -> Iterator[Worth]:
        """The next system's power in each period, and a month of lead time of each offer."""
        problem = self.built.problem
        for s, site in enumerate(problem.sites):
            kw = [q.provisioned_it_kw * (q.pue if site.power_is_utility else 1.0)
                  for q in problem.pools if q.site == s and not q.hosted]  # fmt: skip
            step = min((size for size in kw if size > 0), default=0.0)
            for t in range(self.tree.periods) if step else ():
                yield from self._power(s, t, step)
        for group in self._groups():
            yield from self._lead(group)

    def _power(self, s: int, t: int, step: float) -> Iterator[Worth]:
        """A step of power at a site in one period, in all its outlooks."""
        here = [node for node in self.tree.nodes if node.period == t]
        limits = [node.problem.sites[s].power_limit_kw for node in here]
        if not all(map(math.isfinite, limits)):
            return

        def more(node: Node) -> Node:
            return _with_site(node, s, step) if node.period == t else node

        where = f"{self.built.problem.sites[s].id} in {here[0].name.split()[0]}"
        row = Worth(
            what="power", where=where, unit="kw", limit=min(limits), steps=(), unlimited=None
        )
        yield self._step(row, step, self.again(more))

    def _lead(self, group: str) -> Iterator[Worth]:
        leads = [offer.stock.lead for offer in self._offers(group) if offer.stock is not None]
        if not leads or max(leads) <= 0:
            return

        def sooner(offer: OfferData) -> OfferData:
            if offer.stock is None:
                return offer
            lead = max(offer.stock.lead - _MONTH, 0.0)
            lead = 0.0 if lead < 1e-9 else lead
            return replace(offer, stock=replace(offer.stock, lead=lead))

        found = self.again(lambda node: _with_offers(node, group, sooner))
        row = Worth(
            what="lead time", where=group, unit="months", limit=12.0 * max(leads), steps=(),
            unlimited=None,
        )  # fmt: skip
        yield self._step(row, -1.0, found)

    def _step(self, row: Worth, by: float, found: Found | None) -> Worth:
        """The row with a step of a limit that got looser: today's plan still stands."""
        base = self.base
        assert found is not None
        how = PROVEN if base.how == found.how == PROVEN else WITHIN
        value = max(base.value - found.value, 0.0)
        value = 0.0 if value <= OPTIMAL_GAP * abs(base.value) else value
        step = Step(
            by=by,
            worth=value,
            worth_low=finite(max(base.bound - found.value, 0.0)),
            worth_high=finite(base.value - found.bound),
            enough=None,
            how=how,
        )
        return row.model_copy(update={"steps": (step,)})

    # Flip prices

    def flips(self) -> Iterator[FlipPrice]:
        """The price at which each offer enters the plan, or leaves it, at all dates alike."""
        for group in self._groups():
            price = self.built.supply.prices.get(group)
            stated = 0.0 if price is None else price.usd_per_gpu_h or price.usd_per_system
            if price is None or not stated:
                continue
            unit = "USD/GPU-h" if price.usd_per_gpu_h else "USD/system"
            yield self._flip(group, stated, unit)

    def _flip(self, group: str, price: float, unit: str) -> FlipPrice:
        begun = self.solves
        chosen = any(_group(name) == group for name in self.base.systems)
        without = self.again(lambda node: _with_offers(node, group, closed))
        asked = _Prices(self, group, without)
        known = None if without is None else asked.change(chosen)
        still, flipped = known or (math.nan, math.nan)
        held, gone = (still, flipped) if chosen else (flipped, still)
        within = "leaves" if chosen else "enters"
        beyond = "always" if chosen else "never"
        return FlipPrice(
            kind="offer",
            name=group,
            chosen=chosen,
            verdict=within if known else beyond,  # type: ignore[arg-type]
            discount=1.0 - held if known else None,
            discount_low=1.0 - gone if known else None,
            discount_high=1.0 - held if known else None,
            price=price,
            flip_price=price * held if known else None,
            unit=unit,
            systems_with=dict((asked.held or self.base).systems) if chosen or asked.held else {},
            systems_without=dict(without.systems) if without is not None else {},
            solves=self.solves - begun,
            how=asked.how,
        )

    def _groups(self) -> list[str]:
        offers = self.built.problem.offers
        return sorted({o.stated_as for o in offers if o.kind != "owned"})

    def _offers(self, group: str) -> list[OfferData]:
        return [
            offer
            for node in self.tree.nodes
            for offer in node.problem.offers
            if offer.stated_as == group
        ]


@dataclass
class _Prices:
    """Plans at other prices of one offer, beside the best plan without it."""

    asked: OverTime
    group: str
    without: Found | None
    how: HowGot = PROVEN
    held: Found | None = None  # the last plan that holds it

    def change(self, chosen: bool) -> tuple[float, float] | None:
        """The price up to which it is as today and the next at which it is not, times today's.

        None where it stays out for nothing, or stays in at the dearest price that is asked.
        """
        still, flipped = 1.0, 2.0 if chosen else 0.0
        while (self.pays(flipped) is None) is not chosen:
            if not chosen or flipped >= _DEAREST:
                return None
            still, flipped = flipped, 2.0 * flipped
        while abs(flipped - still) > _CLOSE * max(still, 1.0):
            middle = (flipped + still) / 2.0
            if (self.pays(middle) is None) is chosen:
                flipped = middle
            else:
                still = middle
        return still, flipped

    def pays(self, factor: float) -> Found | None:
        """The best plan there, if it is better than any without the offer."""
        found = self.asked.again(
            lambda node: _with_offers(node, self.group, lambda offer: _at_price(offer, factor))
        )
        if found is None or self.without is None:
            return found
        if {found.how, self.without.how} != {PROVEN}:
            self.how = WITHIN
        if found.value >= self.without.value - OPTIMAL_GAP * abs(self.without.value):
            return None
        self.held = found
        return found


def _group(name: str) -> str:
    return name.rpartition("@")[0]


def _systems(found: HorizonResult) -> dict[str, int]:
    """Systems that are ordered, or there by the hour, by offer and site; over outlooks the most."""
    problem, horizon = found.problem, found.horizon
    ordered: dict[str, dict[int, float]] = {}
    peak: dict[str, float] = {}
    for label, count in found.values.items():
        if isinstance(label, Ordered) and count > 1e-6:
            by_node = ordered.setdefault(problem.offers[label.offer].id, {})
            by_node[label.node] = by_node.get(label.node, 0.0) + count
        elif isinstance(label, Systems) and problem.offers[label.offer].stock is None:
            name = problem.offers[label.offer].id
            peak[name] = max(peak.get(name, 0.0), count)
    for name, nodes in ordered.items():
        paths = (horizon.path(leaf) for leaf in horizon.leaves)
        peak[name] = max(sum(nodes.get(u, 0.0) for u in path) for path in paths)
    return {name: math.ceil(n - 1e-6) for name, n in sorted(peak.items()) if n > 1e-6}


def _with_site(node: Node, s: int, kw: float) -> Node:
    sites: list[SiteData] = list(node.problem.sites)
    sites[s] = replace(sites[s], power_limit_kw=sites[s].power_limit_kw + kw)
    return replace(node, problem=replace(node.problem, sites=tuple(sites)))


def _with_offers(node: Node, group: str, change: Callable[[OfferData], OfferData]) -> Node:
    offers = tuple(
        change(offer) if offer.stated_as == group else offer for offer in node.problem.offers
    )
    return replace(node, problem=replace(node.problem, offers=offers))


def closed(offer: OfferData) -> OfferData:
    """The offer when nothing is to be had by it."""
    stock = None if offer.stock is None else replace(offer.stock, most_per_period=0.0)
    return replace(offer, supply=0.0, stock=stock)


def _at_price(offer: OfferData, factor: float) -> OfferData:
    """The offer at so many times its price: what is charged on a purchase price goes with it."""
    follows = (*_PAID, "maintenance") if offer.kind == "buy" else _PAID
    items = {
        name: usd * factor if name in follows else usd
        for name, usd in offer.annual_cost_items_usd.items()
    }
    return replace(
        offer,
        annual_cost_items_usd=items,
        hourly_usd=scaled(offer.hourly_usd, factor),
        capex_usd=offer.capex_usd * factor,
    )
