"""Columns of the mix model and what one unit of each costs in a year.

Every column has a generated name (PuLP sorts columns by name) and a label, the key of the side
table from which answers are read:

    Systems    bought or rented under an offer                 integer
    Replicas   of a candidate in a pool                        integer
    Flow       requests/s of a class through them              >= 0
    Api        requests/s sent to a hosted API                 >= 0
    Short      requests/s not served, at a stated price        >= 0
    Scale      common scale of free demand, requests/s         >= 0
    Ordered    under an offer in a node of the horizon         integer
    Held       of one order that still stand in a node         integer
    Used       1 when the pool is used (it then keeps a reserve)  binary
    Racks      taken by the pool                               integer
    Slot       systems cut by a packing pattern                integer

The yearly cost is a sum of `Term`s: an item's name, a column and its dollars per unit; objective
and report both read this one list.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pulp

from tokenfleet.mix.model.frame import Frame, peak_demand, peak_demands, whole_systems
from tokenfleet.mix.model.index import Capacity, Label, Row, Scopes, Slack
from tokenfleet.mix.model.order import Order
from tokenfleet.problem_data import (
    HOURS_PER_YEAR,
    JOULES_PER_KWH,
    SECONDS_PER_HOUR,
    Api,
    Flow,
    Problem,
    Replicas,
    Scale,
    Short,
    Systems,
    only_block,
)

Kind = TypeVar("Kind", bound=Label)
#: Yearly items at the price of the order, as long as what was ordered is held: `stock` books them.
BY_ORDER = {"bought": ("capital", "maintenance"), "contract": ("rental",)}


@dataclass(frozen=True)
class Term:
    """`usd` dollars a year for each unit of column `label`, booked under `item`.

    The label says in which scope or block they are paid; blocks count by their weight.
    """

    item: str
    label: Label
    usd: float
    node: int | None = None  # of a horizon, in which it is paid; None: that of the label


@dataclass(eq=False)
class FleetModel:
    """A PuLP model with its side table; the constraint families fill it."""

    problem: Problem
    frame: Frame
    prob: pulp.LpProblem
    relax: frozenset[str]
    columns: dict[Label, pulp.LpVariable] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    terms: list[Term] = field(default_factory=list)
    it_kwh: list[tuple[Label, int, float]] = field(default_factory=list)  # column, pool, kWh/unit
    pairs: frozenset[tuple[int, int]] | None = None  # (pool, candidate) built; None: all
    open: frozenset[int] = frozenset()  # pools that may hold systems
    eligible: dict[int, list[int]] = field(default_factory=dict)  # pool -> candidates built
    constant_usd: float = 0.0
    _of_kind: defaultdict[type[Any], dict[Any, pulp.LpVariable]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    @property
    def order(self) -> Order:
        """Canonical order of the problem's tables."""
        return self.frame.order

    @property
    def scopes(self) -> Scopes:
        """In which scopes systems and replicas are counted."""
        return self.frame.scopes

    @property
    def scale_max(self) -> float:
        """Upper bound of the common scale of free demand."""
        return self.frame.scale_max

    def column(
        self, label: Label, up: float = math.inf, *, low: float = 0.0, integer: bool = False
    ) -> pulp.LpVariable:
        """Create a column; `up` may be inf, `low` -inf."""
        name = f"c{len(self.columns):07d}"
        category = pulp.LpInteger if integer else pulp.LpContinuous
        lower = low if math.isfinite(low) else None
        upper = up if math.isfinite(up) else None
        variable = self.prob.add_variable(name, lower, upper, category)
        self.columns[label] = variable
        self._of_kind[type(label)][label] = variable
        return variable

    def of(self, kind: type[Kind]) -> Mapping[Kind, pulp.LpVariable]:
        """The columns of one kind of label, in the order in which they were made."""
        return self._of_kind[kind]

    def of_pairs(self) -> Iterator[tuple[Replicas | Flow, pulp.LpVariable]]:
        """The columns that belong to a pair of pool and candidate."""
        return itertools.chain(self.of(Replicas).items(), self.of(Flow).items())

    def row(self, label: Row, pairs: list[Any], sense: int, rhs: float) -> None:
        """Add the constraint `sum(coefficient * column) sense rhs`."""
        name = f"r{len(self.rows):06d}_{label.family}"
        self.rows[name] = label
        expression = pulp.LpAffineExpression([(v, float(a)) for v, a in pairs])
        self.prob += pulp.LpConstraint(expression, sense, name, rhs)

    def slack(self, row: Row) -> list[Any]:
        """One column that lets a row give way, when the model is built to relax its family."""
        if row.family not in self.relax:
            return []
        return [(self.column(Slack(row)), -1.0)]

    def offers(self, p: int) -> list[int]:
        """Offers of the pool in canonical order; none where it may hold no systems."""
        return self.frame.offers[p] if p in self.open else []

    def systems(self, p: int, scope: int) -> list[pulp.LpVariable]:
        """Columns that add up to the systems of a pool which stand throughout a scope."""
        over = self.scopes.systems_over(p, scope)
        return [self.columns[Systems(s, o)] for o in self.offers(p) for s in over]

    def replicas_of(self, served: Flow | Capacity) -> Replicas:
        """The replicas that a flow runs through, or that a capacity row is about."""
        scope = self.scopes.replicas_in(served.pool, served.block)
        return Replicas(scope, served.pool, served.candidate)

    def scale_in(self, b: int) -> Scale:
        """The scale of free demand in a block."""
        return Scale(self.problem.in_node(self.problem.node_of(only_block(b))))

    def is_firm(self, scope: int) -> bool:
        """Whether numbers of a scope are whole: over a horizon later ones may be an outlook."""
        horizon = self.problem.horizon
        return horizon is None or horizon.nodes[self.problem.node_of(scope)].firm


def define_replicas(m: FleetModel) -> None:
    """`Replicas`, bounded by the demand each could serve alone; none of dominated systems."""
    chosen: dict[int, set[int]] = {}
    for p, c in m.pairs or ():
        chosen.setdefault(p, set()).add(c)
    for p in m.order.pools:
        able, kept = m.frame.able[p], chosen.get(p, ())
        m.eligible[p] = able if m.pairs is None else [c for c in able if c in kept] if kept else []
        for scope in m.scopes.replicas(p):
            hours = m.scopes.hours_up(p, scope)
            prices = m.frame.prices.kwh(p, m.scopes.up_in(p, scope))
            for c in m.eligible[p]:
                label = Replicas(scope, p, c)
                m.column(label, m.frame.needed[c], integer=m.is_firm(scope))
                watts = m.problem.candidates[c].idle_w
                if watts > 0:
                    _book_energy(m, label, p, watts / 1000.0 * hours, prices)


def define_flows(m: FleetModel) -> None:
    """`Flow` for classes the candidate admits and blocks in which its site is up.

    Energy of a flow: hours * 3600 s * energy_j / 3.6e6 kWh of IT energy for each request/s.
    """
    problem = m.problem
    demand = [rates.tolist() for rates in peak_demands(problem, m.scale_max)]
    for p in (p for p in m.order.pools if m.eligible[p]):
        prices = [m.frame.prices.kwh(p, (b,)) for b in range(len(problem.blocks))]
        for c in m.eligible[p]:
            candidate = problem.candidates[c]
            joules = candidate.energy_j.tolist()
            admitted = np.isfinite(candidate.load).tolist()
            classes = [k for k in m.order.classes[candidate.workload] if admitted[k]]
            for b in m.scopes.up(p):
                seconds = problem.blocks[b].counted_hours * SECONDS_PER_HOUR
                peaks = demand[candidate.workload][b]
                for k in classes:
                    if peaks[k] > 0:
                        label = Flow(b, p, c, k)
                        m.column(label, peaks[k])
                        kwh = seconds * joules[k] / JOULES_PER_KWH
                        _book_energy(m, label, p, kwh, prices[b])


def _book_energy(
    m: FleetModel, label: Label, p: int, kwh: float, prices: Iterable[tuple[str, float]]
) -> None:
    """`kwh` IT kWh a year in pool p for each unit of the column, at the price of each item."""
    if kwh == 0.0:
        return
    m.it_kwh.append((label, p, kwh))
    for item, usd in prices:
        m.terms.append(Term(item, label, kwh * usd))


def define_systems(m: FleetModel) -> None:
    """`Systems` with their fixed items, their hourly price and the idle energy of the pool."""
    for o in m.order.offers:
        offer = m.problem.offers[o]
        if offer.pool not in m.open:
            continue
        pool = m.problem.pools[offer.pool]
        for scope in m.scopes.systems(offer.pool):
            yearly, bound = m.problem.at(scope).offers[o], m.frame.standing[offer.pool]
            if "supply" not in m.relax and not offer.supply_group:
                bound = min(bound, whole_systems(yearly.supply))
            label = Systems(scope, o)
            m.column(label, bound, integer=m.is_firm(scope))
            hours, blocks = m.problem.scopes[scope].hours, m.problem.scopes[scope].blocks
            for item, usd in yearly.annual_cost_items_usd.items():
                if offer.stock is None or item not in BY_ORDER[offer.stock.kind]:
                    m.terms.append(Term(item, label, usd * hours / HOURS_PER_YEAR))
            hourly = m.frame.prices.mean(offer.hourly_usd, blocks)
            if pool.elastic and hourly:
                m.terms.append(Term("rental", label, hourly * hours))
            prices = m.frame.prices.kwh(offer.pool, blocks)
            _book_energy(m, label, offer.pool, pool.idle_it_kw * hours, prices)


def define_apis(m: FleetModel) -> None:
    """`Api` at its price per request over the hours of the block."""
    for a in m.order.apis:
        api = m.problem.apis[a]
        costs = api.costs(len(m.problem.blocks)).tolist()
        demand = peak_demand(m.problem, api.workload, m.scale_max)
        for b, block in enumerate(m.problem.blocks):
            for k in m.order.classes[api.workload]:
                price = costs[b][k]
                if demand[b, k] > 0 and math.isfinite(price):
                    label = Api(b, a, k)
                    m.column(label, float(demand[b, k]))
                    usd = price * block.counted_hours * SECONDS_PER_HOUR
                    m.terms.append(Term("api_tokens", label, usd))


def define_shortfall(m: FleetModel) -> None:
    """`Short` where a shortfall has a price; a contingency block is served in full."""
    for w in m.order.workloads:
        if m.problem.workloads[w].free:  # what is not served of free demand was not asked for
            continue
        demand = peak_demand(m.problem, w, m.scale_max)
        for b, block in enumerate(m.problem.blocks):
            price = m.problem.at(only_block(b)).workloads[w].shortfall_usd_per_request
            if price is None or block.hours <= 0:
                continue
            for k in m.order.classes[w]:
                if demand[b, k] > 0:
                    label = Short(b, w, k)
                    m.column(label, float(demand[b, k]))
                    usd = price * block.counted_hours * SECONDS_PER_HOUR
                    m.terms.append(Term("shortfall", label, usd))


def define_scale(m: FleetModel) -> None:
    """`Scale`, one for all free workloads, because their product mix is stated."""
    nodes = m.problem.horizon.nodes if m.problem.horizon is not None else (None,)
    for scope in map(m.problem.in_node, range(len(nodes))):
        yearly = m.problem.at(scope)
        free = [w for w in yearly.workloads if w.free]
        if free:
            low = max(w.min_scale for w in free)
            most = min(m.scale_max, scale_limit(yearly))
            m.column(Scale(scope), most, low=0.0 if "demand" in m.relax else low)


def scale_limit(problem: Problem) -> float:
    """Largest scale the free workloads allow; inf when none is stated."""
    return min((w.max_scale for w in problem.workloads if w.free), default=0.0)


DEFINITIONS: tuple[Callable[[FleetModel], None], ...] = (
    define_scale,
    define_replicas,
    define_systems,
    define_flows,
    define_apis,
    define_shortfall,
)


def new_model(
    problem: Problem,
    frame: Frame,
    relax: frozenset[str],
    pairs: frozenset[tuple[int, int]] | None = None,
    pools: Iterable[int] | None = None,
) -> FleetModel:
    """An empty model with every column defined and no constraint yet."""
    if pools is None:
        pools = range(len(problem.pools)) if pairs is None else (p for p, _ in pairs)
    prob = pulp.LpProblem("fleet")
    m = FleetModel(problem, frame, prob, relax, pairs=pairs, open=frozenset(pools))
    for year, years in problem.parts:
        contracted = sum(site.contracted_power_usd_per_year for site in year.sites)
        m.constant_usd += contracted * years
    for define in DEFINITIONS:
        define(m)
    return m
