"""Columns of the mix model and what one unit of each costs in a year.

Every column has a generated name (PuLP sorts columns by name) and a label, the key of the side
table from which answers are read:

    ("x", b, o)        systems bought or rented under offer o        integer
    ("n", b, p, c)     replicas of candidate c in pool p              integer
    ("f", b, p, c, k)  requests/s of class k through them             >= 0
    ("api", b, a, k)   requests/s sent to a hosted API                >= 0
    ("short", b, w, k) requests/s not served, at a stated price       >= 0
    ("theta",)         common scale of free demand, requests/s        >= 0
    ("used", b, p)     1 when the pool is used (it then keeps a reserve)  binary
    ("racks", b, p)    racks taken by the pool                        integer
    ("slot", b, p, q)  systems cut by packing pattern q               integer

b is -1 for a number that holds all year. The yearly cost is a sum of `Term`s: an item's name, a
column and its dollars per unit; objective and report both read this one list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pulp

from tokenfleet.mix.model.frame import Frame, peak_demand, peak_demands, whole_systems
from tokenfleet.mix.model.order import Order
from tokenfleet.problem_data import (
    HOURS_PER_YEAR,
    JOULES_PER_KWH,
    SECONDS_PER_HOUR,
    Problem,
)

Label = tuple[Any, ...]
ALL_YEAR = -1


@dataclass(frozen=True)
class Term:
    """`usd` dollars a year for each unit of column `label`, booked under `item`."""

    item: str
    label: Label
    usd: float


@dataclass(eq=False)
class FleetModel:
    """A PuLP model with its side table; the constraint families fill it."""

    problem: Problem
    frame: Frame
    prob: pulp.LpProblem
    relax: frozenset[str]
    columns: dict[Label, pulp.LpVariable] = field(default_factory=dict)
    rows: dict[str, Label] = field(default_factory=dict)
    terms: list[Term] = field(default_factory=list)
    it_kwh: list[tuple[Label, int, float]] = field(default_factory=list)  # column, pool, kWh/unit
    pairs: frozenset[tuple[int, int]] | None = None  # (pool, candidate) built; None: all
    open: frozenset[int] = frozenset()  # pools that may hold systems
    eligible: dict[int, list[int]] = field(default_factory=dict)  # pool -> candidates built
    constant_usd: float = 0.0

    @property
    def order(self) -> Order:
        """Canonical order of the problem's tables."""
        return self.frame.order

    @property
    def scale_max(self) -> float:
        """Upper bound of the common scale of free demand."""
        return self.frame.scale_max

    def column(
        self, label: Label, up: float = math.inf, *, low: float = 0.0, integer: bool = False
    ) -> pulp.LpVariable:
        """Create a column; `up` may be inf."""
        name = f"c{len(self.columns):07d}"
        category = pulp.LpInteger if integer else pulp.LpContinuous
        bound = up if math.isfinite(up) else None
        variable = self.prob.add_variable(name, low, bound, category)
        self.columns[label] = variable
        return variable

    def row(self, label: Label, pairs: list[Any], sense: int, rhs: float) -> None:
        """Add the constraint `sum(coefficient * column) sense rhs`; label[0] is its family."""
        name = f"r{len(self.rows):06d}_{label[0]}"
        self.rows[name] = label
        expression = pulp.LpAffineExpression([(v, float(a)) for v, a in pairs])
        self.prob += pulp.LpConstraint(expression, sense, name, rhs)

    def slack(self, family: str, label: Label) -> list[Any]:
        """One column that relaxes a row of this family, when the model is built to relax it."""
        if family not in self.relax:
            return []
        return [(self.column(("slack", family, *label)), -1.0)]

    def replica(self, b: int, p: int, c: int) -> pulp.LpVariable:
        """Column of the replicas that serve in block b."""
        return self.columns[("n", b if per_block(self.problem, p) else ALL_YEAR, p, c)]


def per_block(problem: Problem, p: int) -> bool:
    """Whether replica counts of the pool may differ by block."""
    return problem.pools[p].elastic or problem.relayout


def blocks_of(problem: Problem, p: int) -> list[int]:
    """Blocks in which the pool's site is up."""
    site = problem.pools[p].site
    return [b for b, block in enumerate(problem.blocks) if block.lost_site != site]


def scopes_of(problem: Problem, p: int, *, replicas: bool) -> list[int]:
    """Blocks that need a column of their own: every block up, or one for all the year."""
    own = per_block(problem, p) if replicas else problem.pools[p].elastic
    return blocks_of(problem, p) if own else [ALL_YEAR]


def scope_hours(problem: Problem, p: int, b: int) -> float:
    """Hours a year that a column of scope b is on."""
    if b != ALL_YEAR:
        return problem.blocks[b].hours
    return sum(problem.blocks[i].hours for i in blocks_of(problem, p))


def define_replicas(m: FleetModel) -> None:
    """n[b, p, c], bounded by the demand each could serve alone; none of dominated systems."""
    chosen: dict[int, set[int]] = {}
    for p, c in m.pairs or ():
        chosen.setdefault(p, set()).add(c)
    for p in m.order.pools:
        able, kept = m.frame.able[p], chosen.get(p, ())
        m.eligible[p] = able if m.pairs is None else [c for c in able if c in kept] if kept else []
        for b in scopes_of(m.problem, p, replicas=True):
            for c in m.eligible[p]:
                _define_replica(m, b, p, c, m.frame.needed[c])


def _define_replica(m: FleetModel, b: int, p: int, c: int, needed: float) -> None:
    label = ("n", b, p, c)
    m.column(label, needed, integer=True)
    watts = m.problem.candidates[c].idle_w
    if watts > 0:
        _book_energy(m, label, p, watts / 1000.0 * scope_hours(m.problem, p, b))


def define_flows(m: FleetModel) -> None:
    """f[b, p, c, k] for classes the candidate admits and blocks in which its site is up.

    Energy of a flow: hours * 3600 s * energy_j / 3.6e6 kWh of IT energy for each request/s.
    """
    problem = m.problem
    demand = [rates.tolist() for rates in peak_demands(problem, m.scale_max)]
    for p in m.order.pools:
        for c in m.eligible[p]:
            candidate = problem.candidates[c]
            joules = candidate.energy_j.tolist()
            admitted = np.isfinite(candidate.load).tolist()
            classes = [k for k in m.order.classes[candidate.workload] if admitted[k]]
            for b in blocks_of(problem, p):
                seconds = problem.blocks[b].hours * SECONDS_PER_HOUR
                peaks = demand[candidate.workload][b]
                for k in classes:
                    if peaks[k] > 0:
                        label = ("f", b, p, c, k)
                        m.column(label, peaks[k])
                        _book_energy(m, label, p, seconds * joules[k] / JOULES_PER_KWH)


def _book_energy(m: FleetModel, label: Label, p: int, kwh: float) -> None:
    """`kwh` IT kWh a year for each unit of the column, at the pool's price."""
    if kwh == 0.0:
        return
    m.it_kwh.append((label, p, kwh))
    m.terms.append(Term("energy", label, kwh * m.problem.pools[p].energy_usd_per_kwh_it))


def define_systems(m: FleetModel) -> None:
    """x[b, o] with its fixed items, its hourly price and the idle energy of the pool."""
    for o in m.order.offers:
        offer = m.problem.offers[o]
        if offer.pool not in m.open:
            continue
        pool = m.problem.pools[offer.pool]
        bound = m.frame.useful[offer.pool]
        if "supply" not in m.relax and not offer.supply_group:
            bound = min(bound, whole_systems(offer.supply))
        for b in scopes_of(m.problem, offer.pool, replicas=False):
            label = ("x", b, o)
            m.column(label, bound, integer=True)
            hours = HOURS_PER_YEAR if b == ALL_YEAR else m.problem.blocks[b].hours
            for item, usd in offer.annual_cost_items_usd.items():
                m.terms.append(Term(item, label, usd * hours / HOURS_PER_YEAR))
            if pool.elastic and offer.hourly_usd:
                m.terms.append(Term("rental", label, offer.hourly_usd * hours))
            _book_energy(m, label, offer.pool, pool.idle_it_kw * hours)


def define_apis(m: FleetModel) -> None:
    """api[b, a, k] at its price per request over the hours of the block."""
    for a in m.order.apis:
        api = m.problem.apis[a]
        demand = peak_demand(m.problem, api.workload, m.scale_max)
        for b, block in enumerate(m.problem.blocks):
            for k in m.order.classes[api.workload]:
                price = float(api.cost_usd_per_request[k])
                if demand[b, k] > 0 and math.isfinite(price):
                    label = ("api", b, a, k)
                    m.column(label, float(demand[b, k]))
                    usd = price * block.hours * SECONDS_PER_HOUR
                    m.terms.append(Term("api_tokens", label, usd))


def define_shortfall(m: FleetModel) -> None:
    """short[b, w, k] where a shortfall has a price; a contingency block is served in full."""
    for w in m.order.workloads:
        data = m.problem.workloads[w]
        price = data.shortfall_usd_per_request
        if price is None or data.free:  # what is not served of free demand was not asked for
            continue
        demand = peak_demand(m.problem, w, m.scale_max)
        for b, block in enumerate(m.problem.blocks):
            if block.hours <= 0:
                continue
            for k in m.order.classes[w]:
                if demand[b, k] > 0:
                    label = ("short", b, w, k)
                    m.column(label, float(demand[b, k]))
                    m.terms.append(Term("shortfall", label, price * block.hours * SECONDS_PER_HOUR))


def define_scale(m: FleetModel) -> None:
    """theta, one scale for all free workloads, because their product mix is stated."""
    free = [w for w in m.problem.workloads if w.free]
    if not free:
        return
    low = max(w.min_scale for w in free)
    m.column(("theta",), m.scale_max, low=0.0 if "demand" in m.relax else low)


def scale_limit(problem: Problem) -> float:
    """Largest scale the free workloads allow; inf when none is stated."""
    return min((w.max_scale for w in problem.workloads if w.free), default=0.0)


def flows(m: FleetModel) -> Iterator[tuple[Label, pulp.LpVariable]]:
    """The request flows through replicas, in column order."""
    return ((label, v) for label, v in m.columns.items() if label[0] == "f")


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
    m.constant_usd = sum(site.contracted_power_usd_per_year for site in problem.sites)
    for define in DEFINITIONS:
        define(m)
    return m
