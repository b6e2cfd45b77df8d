"""The relaxation of a problem with more columns than can be built: column generation.

A replica of candidate c in pool p with its flows is worth building only if it can pay. With the
duals of a relaxation over some of the pairs (p, c), y of the demand rows and mu >= 0 of the packing
rows, the best that a missing pair can do in block b is

    value[b] = max(0, max over k of (y[b, w, k] - energy[b, p, c, k]) / load[c, k])

per replica, because its capacity rows take whatever dual is best. Its reduced cost is

    idle energy of the replica + sum over packing rows of mu * coefficient - sum over b of value[b]

(per block where counts may differ by block). Pairs below zero are built and the relaxation is
solved again; when none is left, its value is that of the whole relaxation. What is left below zero
within rounding is subtracted, times the most replicas that are ever useful, so the bound holds
exactly. Systems at zero with reduced cost to spare lend it to the packing row of the least size,
which is dual feasible and keeps pools that nobody uses from looking free.

Pools that are copies of one another (the same provider's hall, seen from several sites) are one
pool: any plan that uses several is a plan that uses the first.

Serves problems whose replicas all do both phases, without annual budget, reserve, free demand or
re-layout (`applies`); the test compares with the relaxation of the whole model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokenfleet.mix.highs import Outcome, SolveOptions, run
from tokenfleet.mix.model import ALL_YEAR, FleetModel, Label, build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.columns import (
    blocks_of,
    new_model,
    scope_hours,
    scopes_of,
    systems_per_replica,
)
from tokenfleet.mix.model.packing import offers_of
from tokenfleet.problem_data import (
    JOULES_PER_KWH,
    SECONDS_PER_HOUR,
    FloatArray,
    OfferData,
    Pool,
    Problem,
)

Packing = dict[tuple[int, int], list[tuple[Label, float]]]  # cost of each row of a pool
Pairs = frozenset[tuple[int, int]]

LARGE = 20_000  # pairs of pool and candidate from which columns are generated
_MOST_NEW = 1_500  # pairs built in one round
_ROUNDS = 40
_TAIL = 0.02  # of the wanted gap, that the last rounds may leave in the bound
_ZERO = 1e-7  # of a pair's own cost: rounding of the duals
_UNMET = 50.0  # price of unmet demand over the dearest way that a first estimate takes
_NEAR = 0.01  # reduced cost over the pair's own cost, up to which it may help a whole plan
_KEPT = 1_500  # pairs of a whole plan's model beside those the relaxation uses

# Price of one IT kWh in a pool, in the unit of the objective.
_KWH: dict[str, Callable[[Pool], float]] = {
    "least_cost": lambda pool: pool.energy_usd_per_kwh_it,
    "least_energy": lambda pool: pool.pue,
    "least_carbon": lambda pool: pool.carbon_kg_per_kwh_it,
}
_COEFFICIENTS = {
    "least_cost": objective.cost_coefficients,
    "least_energy": objective.energy_coefficients,
    "least_carbon": objective.carbon_coefficients,
}


@dataclass(frozen=True)
class Generated:
    """The pairs worth building, and the proven bound of the whole relaxation."""

    pairs: Pairs
    bound: float


def applies(problem: Problem) -> bool:
    """Whether the relaxation of the problem can be had by generation."""
    return (
        problem.objective.kind in _KWH
        and problem.objective.annual_budget_usd is None
        and not problem.relayout
        and all(c.role == "serve" for c in problem.candidates)
        and not any(w.free for w in problem.workloads)
        and not any(pool.reserve for pool in problem.pools)
    )


def is_large(problem: Problem) -> bool:
    """Whether the model has too many replicas to be built whole."""
    by_system: dict[str, int] = {}
    for candidate in problem.candidates:
        by_system[candidate.system] = by_system.get(candidate.system, 0) + 1
    return sum(by_system.get(pool.system, 0) for pool in problem.pools) > LARGE


def generate(problem: Problem, options: SolveOptions) -> Generated | None:
    """Pairs that the whole relaxation needs and its bound; None when demand cannot be met.

    Raises:
        KeyboardInterrupt: Ctrl-C before there is a plan.
    """
    pricing = _Pricing(problem)
    pairs = pricing.first()
    end = time.perf_counter() + 0.6 * options.time_limit_s
    for _ in range(_ROUNDS):
        m, outcome = _relaxation(problem, frozenset(pairs), pricing, options)
        if not outcome.has_incumbent:
            return None
        reduced = pricing.reduced_costs(m, outcome)
        new = pricing.cheapest(reduced, pairs)
        tight = pricing.shortfall(reduced) <= _TAIL * options.gap * abs(outcome.value)
        if not new or tight or time.perf_counter() > end:
            break
        pairs |= new
    if any(outcome.values[v.name] > 1e-6 for la, v in m.columns.items() if la[0] == "slack"):
        return None
    bound = outcome.value - pricing.shortfall(reduced)
    used = {
        (label[2], label[3])
        for label, v in m.columns.items()
        if label[0] == "n" and outcome.values[v.name] > 1e-9
    }
    return Generated(frozenset(used | pricing.near(reduced)), bound)


def _relaxation(
    problem: Problem, pairs: Pairs, pricing: _Pricing, options: SolveOptions
) -> tuple[FleetModel, Outcome]:
    m = build(problem, relax=frozenset({"demand"}), pairs=pairs, order=pricing.empty.order)
    coefficients = _COEFFICIENTS[problem.objective.kind](m)
    for label, v in m.columns.items():
        if label[0] in ("n", "f"):  # demand already bounds them; a dual must not sit on the bound
            v.upBound = None
    coefficients |= {label: pricing.unmet for label in m.columns if label[0] == "slack"}
    constant = m.constant_usd if problem.objective.kind == "least_cost" else 0.0
    objective.set_objective(m, coefficients, constant=constant)
    return m, run(m.prob, options, mip=False)


class _Pricing:
    """Reduced costs of every pair, as arrays over the pairs."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.empty = new_model(problem, 0.0, frozenset(), frozenset())
        pools = _distinct_pools(self.empty)
        self.p = np.array([p for p in pools for _ in self.empty.able[p]], dtype=np.int64)
        self.c = np.array([c for p in pools for c in self.empty.able[p]], dtype=np.int64)
        candidates = problem.candidates
        widest = max(len(w.class_ids) for w in problem.workloads)
        self.load = np.full((len(candidates), widest), math.inf)
        self.energy_j = np.zeros((len(candidates), widest))
        for i, candidate in enumerate(candidates):
            self.load[i, : len(candidate.load)] = candidate.load
            admitted = np.isfinite(candidate.load)
            self.energy_j[i, : len(admitted)] = np.where(admitted, candidate.energy_j, 0.0)
        self.workload = np.array([c.workload for c in candidates])
        self.gpus = np.array([c.gpus for c in candidates])
        self.idle_kw = np.array([c.idle_w for c in candidates]) / 1000.0
        self.needed = np.array([self.empty.needed[c] for c in range(len(candidates))])
        self.kwh = np.array([_KWH[problem.objective.kind](pool) for pool in problem.pools])
        self.index = {pair: i for i, pair in enumerate(zip(self.p.tolist(), self.c.tolist()))}  # noqa: B905
        self.gpu_price = self._gpu_prices()
        self.own = self.gpu_price[self.p] * self.gpus[self.c]
        self.unmet = _UNMET * self._dearest()

    def _gpu_prices(self) -> FloatArray:
        """Least objective weight of one accelerator of each pool."""
        coefficients = _COEFFICIENTS[self.problem.objective.kind](self.empty)
        price = np.full(len(self.problem.pools), math.inf)
        for label in self.empty.columns:
            if label[0] == "x":
                p = self.problem.offers[label[2]].pool
                each = coefficients.get(label, 0.0) / self.problem.pools[p].gpus_per_system
                price[p] = min(price[p], each)
        return price

    def _rates(self) -> FloatArray:
        """Objective weight of one request/s of each class through each pair, power aside."""
        rates: FloatArray = self.own[:, None] * self.load[self.c]
        return rates

    def _dearest(self) -> float:
        rates = self._rates()
        return float(rates[np.isfinite(rates)].max(initial=1.0))

    def first(self) -> set[tuple[int, int]]:
        """A few pairs to start from: for each class the cheapest of each system, and of all."""
        rates = self._rates()
        chosen: set[int] = set()
        systems = sorted({pool.system for pool in self.problem.pools})
        rank = {system: i for i, system in enumerate(systems)}
        system = np.array([rank[pool.system] for pool in self.problem.pools])[self.p]
        for k in range(rates.shape[1]):
            order = np.lexsort((np.arange(len(self.p)), rates[:, k]))
            order = order[np.isfinite(rates[order, k])]
            key = self.workload[self.c[order]] * len(systems) + system[order]
            _, first = np.unique(key, return_index=True)
            chosen |= set(order[first].tolist())
        return self._as_pairs(chosen)

    def _as_pairs(self, rows: Iterable[int]) -> set[tuple[int, int]]:
        return {(int(self.p[i]), int(self.c[i])) for i in rows}

    def reduced_costs(self, m: FleetModel, outcome: Outcome) -> FloatArray:
        """Reduced cost of each pair at the duals of a relaxation."""
        demand, packing = _duals(m, outcome)
        total = np.full(len(self.p), math.inf)
        blocks = range(len(self.problem.blocks))
        value = np.stack([self._value(demand, b) for b in blocks])
        starts = np.flatnonzero(np.diff(self.p, prepend=-1)).tolist()
        for first, last in zip(starts, [*starts[1:], len(self.p)], strict=True):
            p, rows = int(self.p[first]), slice(int(first), int(last))
            c = self.c[rows]
            for scope in scopes_of(self.problem, p, replicas=True):
                up = blocks_of(self.problem, p) if scope == ALL_YEAR else [scope]
                hours = scope_hours(self.problem, p, scope)
                cost = self.idle_kw[c] * hours * self.kwh[p]
                packed = _packing_cost(m, outcome, packing.get((p, scope), ()), p, scope)
                sizes, which = np.unique(self.gpus[c], return_inverse=True)
                cost = cost + np.array([packed(int(size)) for size in sizes])[which]
                total[rows] = np.minimum(total[rows], cost - value[up, rows].sum(axis=0))
        return total

    def _value(self, demand: FloatArray, b: int) -> FloatArray:
        seconds = self.problem.blocks[b].hours * SECONDS_PER_HOUR
        energy = seconds * self.energy_j[self.c] / JOULES_PER_KWH * self.kwh[self.p][:, None]
        load = self.load[self.c]
        margin = np.where(np.isfinite(load), demand[b][self.workload[self.c]] - energy, 0.0) / load
        return np.asarray(margin.max(axis=1, initial=0.0))

    def cheapest(self, reduced: FloatArray, built: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """The pairs that pay most for their size, at most two of a pool's workload."""
        worth = np.flatnonzero(reduced < -_ZERO * self.own)
        order = worth[np.lexsort((worth, reduced[worth] / self.own[worth]))]
        taken: dict[tuple[int, int], int] = {}
        new: list[int] = []
        for i in order.tolist():
            pair = (int(self.p[i]), int(self.c[i]))
            place = (pair[0], int(self.workload[pair[1]]))
            if pair not in built and taken.get(place, 0) < 2:
                taken[place] = taken.get(place, 0) + 1
                new.append(i)
            if len(new) == _MOST_NEW:
                break
        return self._as_pairs(new)

    def shortfall(self, reduced: FloatArray) -> float:
        """What pairs with a reduced cost below zero could still take off the relaxation."""
        below = reduced < 0
        blocks = len(self.problem.blocks)  # counts by block: each scope is at most as far below
        return float(-(reduced[below] * self.needed[self.c[below]]).sum()) * blocks

    def near(self, reduced: FloatArray) -> set[tuple[int, int]]:
        """Pairs whose reduced cost is small: they help to fill systems and to repair limits."""
        relative = reduced / self.own
        rows = np.flatnonzero(relative <= _NEAR)
        order = rows[np.lexsort((rows, relative[rows]))]
        return self._as_pairs(order[:_KEPT].tolist())


def _distinct_pools(m: FleetModel) -> list[int]:
    """Pools in canonical order without those that are copies of an earlier one."""
    problem = m.problem
    lost = any(block.lost_site >= 0 for block in problem.blocks)
    seen: set[object] = set()
    distinct = []
    for p in m.order.pools:
        if not m.able[p]:
            continue
        pool = problem.pools[p]
        offers = frozenset(_terms(problem.offers[o]) for o in offers_of(m, p))
        grouped = all(problem.offers[i].supply_group for i in offers_of(m, p))
        key = (replace(pool, id="", site=-1), offers, tuple(m.able[p]))
        if pool.hosted and grouped and not lost:
            if key in seen:
                continue
            seen.add(key)
        distinct.append(p)
    return distinct


def _terms(offer: OfferData) -> tuple[object, ...]:
    """What tells two offers apart, their pools aside."""
    items = tuple(sorted(offer.annual_cost_items_usd.items()))
    return (offer.supply_group, offer.hourly_usd, offer.capex_usd, items)


def _duals(m: FleetModel, outcome: Outcome) -> tuple[FloatArray, Packing]:
    """Duals of demand (B, W, K), and of packing rows by pool and scope as costs >= 0."""
    problem = m.problem
    widest = max(len(w.class_ids) for w in problem.workloads)
    demand = np.full((len(problem.blocks), len(problem.workloads), widest), -math.inf)
    packing: Packing = {}
    for name, label in m.rows.items():
        dual = outcome.row_duals[name]
        if label[0] == "demand":
            demand[label[1], label[2], label[3]] = dual
        elif label[0] in ("pack", "place", "slots", "whole"):
            packing.setdefault((label[1], label[2]), []).append((label, -dual))
    return demand, packing


def _packing_cost(
    m: FleetModel, outcome: Outcome, rows: Sequence[tuple[Label, float]], p: int, scope: int
) -> Callable[[int], float]:
    """Of a replica's size: sum of mu * coefficient, the systems' spare cost lent to one row."""
    room = m.problem.pools[p].gpus_per_system
    spare = min(
        (max(outcome.reduced_costs[m.columns[("x", scope, o)].name], 0.0) for o in offers_of(m, p)),
        default=0.0,
    )
    sizes = [label[3] for label, _ in rows if label[0] == "pack"]
    weighed = []
    for label, mu in rows:
        held = room // label[3] * label[3] if label[0] == "pack" else 1
        lent = label[0] == "whole" or (label[0] == "pack" and label[3] == min(sizes))
        weighed.append((label, held, mu + spare / held if lent else mu))
    return lambda size: sum(mu * _coefficient(la, held, room, size) for la, held, mu in weighed)


def _coefficient(label: Label, held: int, room: int, size: int) -> float:
    """Coefficient of a replica of `size` in a packing row."""
    whole = float(systems_per_replica(size, room)) if size >= room else 0.0
    if label[0] == "pack":
        return held * whole if whole else float(size if size >= label[3] else 0)
    if label[0] == "place":
        return float(size == label[3])
    return whole
