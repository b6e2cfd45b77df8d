"""A plan over time explained: power by period, a month of lead time, flip prices of its offers.

Every answer is the tree of the horizon with one thing changed, planned again from its start; values
are levelised, USD a year. Plans over time leave wider gaps than plans of a year, so each figure has
the range that the bounds leave. Other questions of the same tree have modules of their own:
`flip_over_time`, `menu_over_time`, `sweep_over_time`, `repair_over_time`, `crossover_over_time` and
`measure_over_time`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from tokenfleet.catalog import Catalog
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.case import Case, case_of, load_case, with_scenario
from tokenfleet.explanation.in_part import same_columns
from tokenfleet.explanation.knobs import Knob, turned_built
from tokenfleet.explanation.promises import Changes
from tokenfleet.explanation.rows import Step, Worth, step_between
from tokenfleet.explanation.study import (
    PROVEN,
    WITHIN,
    HardSolveError,
    OutOfTimeError,
    time_left,
)
from tokenfleet.files.plain import finite
from tokenfleet.horizon.run import risk_of
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.explain import explain_horizon
from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.kin import Kin, Row
from tokenfleet.mix.horizon.part import Part, elsewhere, part_of
from tokenfleet.mix.horizon.solve import HorizonResult, Orders, has_states, solve_horizon
from tokenfleet.mix.model import FleetModel, Label, build, frame_of, scale_limit
from tokenfleet.mix.model.columns import Term
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.mix.solve import NoPlanError
from tokenfleet.mix.solver.effort import Deadline, Effort
from tokenfleet.mix.solver.highs import OPTIMAL_GAP, SolveOptions
from tokenfleet.mix.why.routes import closed
from tokenfleet.optimize import solve_options
from tokenfleet.plan.explored import HowGot
from tokenfleet.plan.over_time import mix_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem import Built
from tokenfleet.problem import build as build_problem
from tokenfleet.problem.build import Progress
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem.required import require_candidates
from tokenfleet.problem_data import (
    Horizon,
    Node,
    OfferData,
    Ordered,
    Problem,
    SiteData,
    Systems,
)
from tokenfleet.scenario.load import ScenarioSource

UNIT = "USD per year, levelised"
_MONTH = 1.0 / 12.0
_CLOSER = 0.01  # of the plan's own gap, to which small fleets are compared
_NONE = 1e-6  # of a system: rounding
_UNSEEN = 2e-6  # of the value, to which relaxations of problems in part are solved


@dataclass(frozen=True)
class Found:
    """A plan over time: its value and bound, levelised, and its systems by offer and site."""

    value: float
    bound: float
    systems: Mapping[str, int] = field(repr=False)
    result: HorizonResult = field(repr=False)
    today: float = math.nan  # what it costs at today's prices, where it is a plan of today

    @property
    def loss(self) -> float:
        """Its value: over time a cost is explained."""
        return self.value

    @property
    def how(self) -> HowGot:
        """Whether its value is proven, or proven within its gap."""
        return PROVEN if self.value - self.bound <= OPTIMAL_GAP * abs(self.value) else WITHIN

    @cached_property
    def first_orders(self) -> dict[str, int]:
        """What is ordered in the first period, by offer and site."""
        offers = self.result.problem.offers
        found = {offers[o].id: math.ceil(n - _NONE) for (_, o), n in self.orders_first.items()}
        return dict(sorted(found.items()))

    @property
    def orders_first(self) -> Orders:
        """Orders of the first period by (node, offer)."""
        return {at: n for at, n in self.result.orders_now().items() if at[0] == 0 and n > _NONE}

    @property
    def bought(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """What tells one mix from another: all systems, and the first orders."""
        return self.systems, self.first_orders

    @property
    def usd_per_mtok_output(self) -> float | None:
        """Its mean cost over its output tokens, both discounted."""
        output = tokens_per_year(self.result.problem, self.result.values, "output")
        return self.result.npv_usd * 1e6 / output if output > 0 else None


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
    if gap is not None:
        return OverTime(built, replace(options, gap=gap), seconds, plan=asked.plan)
    return OverTime(built, options, seconds, _CLOSER * options.gap, plan=asked.plan)


class OverTime:
    """A scenario with a horizon, its best plan, and the means to ask what would change it."""

    def __init__(
        self,
        built: Built,
        options: SolveOptions,
        seconds: float = math.inf,
        closer: float | None = None,
        plan: Plan | None = None,
    ) -> None:
        """`options` are of one plan, `seconds` those of all of them together; plans of small fleets
        are compared to a gap `closer`, which takes them little longer; `plan` where one was given.

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
        self.built, self.options, self.risk, self.gap = built, options, risk, options.gap
        self.plan = plan
        self.deadline, self.solves = Deadline(seconds), 0
        self.tree = tree_of(built)
        self.part = part_of(built.problem.name, self.tree, Effort.of(options))
        self.memory = Memory()
        self.plans: list[Found] = []  # those of today's limits that were found so far
        self._part_at: tuple[Horizon, Part | None] | None = None
        self._values: list[Mapping[Label, float]] = []
        self._without: dict[tuple[frozenset[str], frozenset[str]], Found | None] = {}
        if closer is not None and self.part is None and has_states(self.tree, self.risk):
            self.options = replace(options, gap=closer)

    @cached_property
    def base(self) -> Found:
        """The best plan as the scenario is.

        Raises:
            InfeasibleError: there is none.
        """
        found = self.solved(self.tree)
        found = replace(found, today=found.value)
        self.plans.append(found)
        return found

    def solved(
        self,
        tree: Horizon,
        holds: Mapping[Label, float] | None = None,
        at_least: Orders | None = None,
        *,
        orders: Orders | None = None,
        more: Sequence[Term] = (),
        rows: Sequence[Row] = (),
        start: Mapping[Label, float] | None = None,
        seconds: float = math.inf,
    ) -> Found:
        """The best plan of a tree, of those in which columns `holds` add up to one at least, and
        orders are `at_least` so many, or `orders` just so many, and `rows` add up to so much at
        least; with costs of columns `more`. From a plan to `start` from it is solved to the gap
        that was asked for, and no closer, in so many `seconds` at most.

        Raises:
            InfeasibleError: there is none.
            OutOfTimeError: no time is left.
            KeyboardInterrupt: Ctrl-C.
        """
        options = self.effort(seconds).options
        if start is not None:
            options = replace(options, gap=self.gap)
        part = self.part_at(tree)
        plans = self._values if start is None else [*self._values, start]
        kin = Kin(self.memory, plans, holds or {}, rows, more=more)
        changed = tree is not self.tree or bool(holds or rows or at_least or orders or more)
        patient = not changed  # the plan itself is waited for, a question may be too hard
        try:
            found = solve_horizon(
                self.problem.name, tree, options, self.risk, orders, part=part, kin=kin,
                at_least=at_least, patient=patient,
            )  # fmt: skip
        except NoPlanError as error:
            kind = HardSolveError if self.deadline.left() > 0 else OutOfTimeError
            raise kind("a solve ended at its time before it had a plan", "give it more") from error
        if found.interrupted:
            raise KeyboardInterrupt
        self._values.append(found.values)
        bound = found.bound if math.isfinite(found.bound) else -math.inf
        return Found(found.value / found.years, bound / found.years, _systems(found), found)

    def effort(self, seconds: float = math.inf) -> Effort:
        """The time of one solve, so many seconds at most.

        Raises:
            OutOfTimeError: none is left.
        """
        left = time_left(self.deadline)
        self.solves += 1
        limit = min(self.options.time_limit_s, left, seconds)
        effort = Effort.of(replace(self.options, time_limit_s=limit))
        return effort if math.isinf(seconds) else effort.impatient()

    def part_at(self, tree: Horizon) -> Part | None:
        """The part of a tree that is built, and the bound of all its pairs; worked out once for the
        tree that was asked about last."""
        if tree is self.tree or self.part is None:
            return self.part
        if self._part_at is None or self._part_at[0] is not tree:
            left = min(self.options.time_limit_s, time_left(self.deadline))
            effort = Effort.of(replace(self.options, time_limit_s=left))
            if same_columns(self.tree.nodes[0].problem, tree.nodes[0].problem):
                part = elsewhere(self.part, tree, effort)
            else:
                part = part_of(self.problem.name, tree, effort)
            self._part_at = (tree, part)
        return self._part_at[1]

    def relaxed_worth(self, tree: Horizon) -> float | None:
        """What a changed tree saves where systems need not be whole, USD a year, levelised; None
        where that is not known by itself: of trees that are built whole, and of a tail."""
        part = self.part_at(tree)
        known = [of.bound for of in (self.part, part) if of is not None]
        if len(known) < 2 or self.risk.counts_the_bad or not all(map(math.isfinite, known)):
            return None
        before, after = known
        return (before - after) / self.base.result.years

    def tried(
        self,
        tree: Horizon,
        holds: Mapping[Label, float] | None = None,
        at_least: Orders | None = None,
        *,
        orders: Orders | None = None,
        more: Sequence[Term] = (),
        rows: Sequence[Row] = (),
        start: Mapping[Label, float] | None = None,
        seconds: float = math.inf,
    ) -> Found | None:
        """The best plan of a tree, as `solved`; None where there is none."""
        try:
            return self.solved(
                tree,
                holds,
                at_least,
                orders=orders,
                more=more,
                rows=rows,
                start=start,
                seconds=seconds,
            )
        except InfeasibleError:
            return None

    @cached_property
    def bare(self) -> FleetModel:
        """A model of the tree with the columns of every offer, and of no pair."""
        return bare_model(self.tree)

    def why_none(self) -> InfeasibleError:
        """The error that says what is short, in which period, where there is no plan."""
        problem = combined(self.problem.name, self.tree)
        frame = frame_of(problem, scale_limit(problem), every_system=True)
        pairs = None if self.part is None else self.part.pairs
        return explain_horizon(problem, frame, pairs=pairs)

    @property
    def problem(self) -> Problem:
        """The problem of the scenario, of one year."""
        return self.built.problem

    def turned(self, settings: Mapping[Knob, float]) -> Found | None:
        """The best plan with inputs so many times what they are; None where there is none."""
        return self.tried(tree_of(turned_built(self, settings)))

    def with_scenario(
        self, changes: Changes, *, anew: bool = False, seconds: float = math.inf
    ) -> Found | None:
        """The best plan of the scenario with other fields; None where there is none. Layouts and
        prices are evaluated `anew`, unless only dates of offers differ."""
        tree = self.tree_with(changes, anew=anew)
        return None if tree is None else self.tried(tree, seconds=seconds)

    def tree_with(self, changes: Changes, *, anew: bool = False) -> Horizon | None:
        """The tree of the scenario with other fields; None where nothing can serve it."""
        loaded = with_scenario(self.built.loaded, **changes)
        same = changes.keys() == {"offers"} and not anew
        built = replace(self.built, loaded=loaded) if same else build_problem(loaded)
        try:
            require_candidates(built)
            return tree_of(built)
        except InfeasibleError:
            return None

    def changed(self, change: Callable[[Node], Node]) -> Horizon:
        """The tree with every node changed."""
        return replace(self.tree, nodes=tuple(map(change, self.tree.nodes)))

    def levelised_items(self) -> dict[str, float]:
        """The best plan's cost by item, USD a year: each year of each node at its weight."""
        items: dict[str, float] = {}
        result = self.base.result
        for node, weight in zip(range(len(self.tree.nodes)), result.problem.parts, strict=True):
            for item, usd in mix_of(result, node).cost_items.items():
                items[item] = items.get(item, 0.0) + usd * weight[1] / result.years
        return items

    # Worth

    def worths(self, about: About = EVERYTHING, ask: Ask = plainly) -> Iterator[Worth]:
        """The next system's power in each period, and a month of lead time of each offer, as far as
        they are asked about."""
        problem = self.built.problem
        for s, site in enumerate(problem.sites):
            if not about(site.id):
                continue
            kw = [q.provisioned_it_kw * (q.pue if site.power_is_utility else 1.0)
                  for q in problem.pools if q.site == s and not q.hosted]  # fmt: skip
            step = min((size for size in kw if size > 0), default=0.0)
            if step:
                yield from self._power(s, step, ask)
        for group in filter(about, self.groups()):
            what = f"a month of lead time of {group}"
            yield from ask(what, partial(self._leads, group)) or ()

    def _power(self, s: int, kw: float, ask: Ask) -> Iterator[Worth]:
        """A step of power at a site in each period, in all its outlooks; where a step in all
        periods is worth nothing, no solve is spent on each."""
        limits: dict[int, list[float]] = {}
        for node in self.tree.nodes:
            limits.setdefault(node.period, []).append(node.problem.sites[s].power_limit_kw)
        bounded = [t for t, most in limits.items() if all(map(math.isfinite, most))]
        if not bounded:
            return
        site = self.built.problem.sites[s].id
        everywhere = ask(f"power of {site}", partial(self._with_power, s, kw, bounded))
        worthless = everywhere is not None and everywhere.worth == 0.0 and not everywhere.relaxed
        for t in bounded:
            name = next(node.name for node in self.tree.nodes if node.period == t)
            where = f"{site} in {name.split()[0]}"
            step = everywhere
            if not worthless:
                step = ask(f"power of {where}", partial(self._with_power, s, kw, [t]))
            if step is not None:
                yield Worth(
                    what="power", where=where, unit="kw", limit=min(limits[t]), steps=(step,),
                    unlimited=None,
                )  # fmt: skip

    def _with_power(self, s: int, kw: float, periods: Iterable[int]) -> Step:
        def more(node: Node) -> Node:
            return _with_site(node, s, kw) if node.period in periods else node

        return self.eased(kw, self.changed(more))

    def _leads(self, group: str) -> list[Worth]:
        offers = self.offers(group)
        every = (offer for node in self.tree.nodes for offer in node.problem.offers)
        leads = [o.stock.lead for o in every if o.id in offers and o.stock is not None]
        if not leads or max(leads) <= 0:
            return []

        def sooner(offer: OfferData) -> OfferData:
            if offer.id not in offers or offer.stock is None:
                return offer
            lead = max(offer.stock.lead - _MONTH, 0.0)
            lead = 0.0 if lead < 1e-9 else lead
            return replace(offer, stock=replace(offer.stock, lead=lead))

        step = self.eased(-1.0, self.changed(lambda node: _with_offers(node, sooner)))
        row = Worth(
            what="lead time", where=group, unit="months", limit=12.0 * max(leads), steps=(step,),
            unlimited=None,
        )  # fmt: skip
        return [row]

    def eased(
        self, by: float, tree: Horizon, *, seconds: float = math.inf, seen: bool = True
    ) -> Step:
        """What a tree with a looser limit saves. Of a tree built in part what relaxations say to be
        less than the plan's gap is left at that, unless they do not see (`seen`) the limit."""
        base, relaxed = self.base, self.relaxed_worth(tree) if seen else None
        if relaxed is not None and relaxed <= base.value - base.bound:
            noise = _UNSEEN * abs(base.value)
            most = finite(base.value - base.bound + max(relaxed, 0.0))
            return Step(
                by=by, worth=0.0, worth_low=0.0, worth_high=most, enough=None, how="relaxation",
                relaxed=relaxed if relaxed > noise else 0.0,
            )  # fmt: skip
        return self.step(by, self.tried(tree, seconds=seconds), eases=True, relaxed=relaxed)

    def step(
        self, by: float, found: Found | None, *, eases: bool, relaxed: float | None = None
    ) -> Step:
        """A change and what it saves: of a limit that got looser, or tighter, and a plan then."""
        base = self.base
        if found is None:
            return Step(
                by=by, worth=None, worth_low=None, worth_high=None, enough=None, how=base.how
            )
        return step_between(
            by,
            (base.value, base.bound),
            (found.value, found.bound),
            noise=OPTIMAL_GAP * abs(base.value),
            eases=eases,
            how=PROVEN if base.how == found.how == PROVEN else WITHIN,
            relaxed=relaxed,
        )

    # Offers

    def without(
        self,
        offers: frozenset[str],
        apis: frozenset[str] = frozenset(),
        seconds: float = math.inf,
    ) -> Found | None:
        """The best plan in which nothing is ordered under some offers, and nothing sent to some
        APIs; None where there is none. Asked once, whatever it is for."""
        if (offers, apis) not in self._without:
            found = self.tried(self.shut(self.tree, offers, apis), seconds=seconds)
            self._without[offers, apis] = self.of_today(found)
        return self._without[offers, apis]

    @staticmethod
    def shut(tree: Horizon, offers: frozenset[str], apis: frozenset[str] = frozenset()) -> Horizon:
        """A tree in which some offers and APIs are not to be had."""

        def changed(node: Node) -> Node:
            rows = (replace(a, max_rps=0.0) if a.id in apis else a for a in node.problem.apis)
            node = replace(node, problem=replace(node.problem, apis=tuple(rows)))
            return _with_offers(node, lambda o: closed(o) if o.id in offers else o)

        return replace(tree, nodes=tuple(map(changed, tree.nodes)))

    def of_today(self, found: Found | None, more: float = 0.0) -> Found | None:
        """The plan among those that are plans of today, with what it costs more with today's
        inputs."""
        if found is None:
            return None
        found = replace(found, today=found.value + more)
        if not self.risk.counts_the_bad or more == 0.0:
            self.plans.append(found)
        return found

    def groups(self) -> list[str]:
        """Offers by the name that they are stated under, but what is owned already."""
        offers = self.built.problem.offers
        return sorted({o.stated_as for o in offers if o.kind != "owned"})

    def offers(self, group: str) -> frozenset[str]:
        """The offers that are stated under a name, one for each site."""
        return frozenset(o.id for o in self.built.problem.offers if o.stated_as == group)


def bare_model(tree: Horizon) -> FleetModel:
    """A model of a tree with the columns of every offer, and of no pair."""
    problem = combined("", tree)
    frame = frame_of(problem, scale_limit(problem), every_system=True)
    every, relax = range(len(problem.pools)), frozenset({"demand"})
    return build(problem, pairs=frozenset(), pools=every, frame=frame, relax=relax)


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


def _with_offers(node: Node, change: Callable[[OfferData], OfferData]) -> Node:
    offers = tuple(map(change, node.problem.offers))
    return replace(node, problem=replace(node.problem, offers=offers))
