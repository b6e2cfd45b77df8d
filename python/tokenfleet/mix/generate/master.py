"""The relaxation over the pairs built so far: made once from the PuLP model, then extended.

The model of no pair at all has every system, limit and demand, with slack on the demand so that it
always has a solution. The columns of a pair, which `pricing` knows as arrays, are added to it; the
test compares the outcome with the PuLP model of the same pairs, number by number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tokenfleet.mix.generate.pricing import Duals, Pairs, PoolScope, packing_coefficient
from tokenfleet.mix.model import Label, Row, build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.collector import uncollected
from tokenfleet.mix.model.index import Capacity, Demand, Pack, Packing, Place, Slack, Slots, Whole
from tokenfleet.mix.solver.growing import Answer, GrowingLp
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import FloatArray, Flow, Replicas, Systems, only_block

_PACKING = (Pack, Place, Slots, Whole)
_UNMET = 50.0  # price of unmet demand over the dearest way that a first estimate takes


@dataclass(frozen=True, eq=False)
class Prices:
    """What the relaxation minimises, and the size of each pair that a reduced cost is held to."""

    base: Mapping[Label, float]  # columns that are there before any pair
    kwh: FloatArray  # of one IT kWh, by pool and by the scope in which it is drawn
    own: FloatArray  # by pair
    constant: float = 0.0


class Master:
    """The relaxation over some pairs. Bounds of replicas and flows are left to the demand rows:
    a dual must not sit on them."""

    def __init__(
        self, pairs: Pairs, options: SolveOptions, relax: frozenset[str] = frozenset()
    ) -> None:
        self.pairs = pairs
        self.model = build(
            pairs.problem,
            relax=relax | {"demand"},
            pairs=frozenset(),
            pools=pairs.pool.tolist(),
            frame=pairs.frame,
        )
        objective.set_objective(self.model, dict.fromkeys(self.model.columns, 1.0))
        self.lp = GrowingLp(self.model.prob, options)
        self.built = np.zeros(len(pairs), dtype=bool)
        self.labels: list[Replicas | Flow] = []  # of the columns added
        self._kwh: list[float] = []  # of the columns added, and the scope in which it is drawn
        self._scopes: list[int] = []
        self._first = self.lp.columns
        self._prices: Prices | None = None
        self._solved = False
        self.rows: dict[Row, int] = {
            la: self.lp.row_index[name] for name, la in self.model.rows.items()
        }
        self.base = {la: self.lp.column_index[v.name] for la, v in self.model.columns.items()}
        self._rooms: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        self._packing: dict[PoolScope, list[tuple[Packing, int]]] = {}
        self._demand: dict[tuple[int, int, int], int] = {}  # block, workload, class -> row
        for label, i in self.rows.items():
            if isinstance(label, _PACKING):
                self._packing.setdefault((label.pool, label.scope), []).append((label, i))
            elif isinstance(label, Demand):
                self._demand[label.block, label.workload, label.cls] = i

    def objective_prices(self, unmet: float | None = None) -> Prices:
        """The problem's own objective; demand may go unmet at a price that nothing else costs."""
        problem = self.pairs.problem
        goal = problem.objective.goal
        kwh = objective.kwh_weights(problem, self.pairs.frame, goal)
        base, constant = objective.goal_coefficients(self.model, goal)
        own = self._gpu_prices(base)[self.pairs.pool] * self.pairs.gpus[self.pairs.candidate]
        rates = own[:, None] * self.pairs.load[self.pairs.candidate]
        dearest = float(rates[np.isfinite(rates)].max(initial=1.0))
        unmet = _UNMET * dearest if unmet is None else unmet
        base |= dict.fromkeys(self.model.of(Slack), unmet)
        return Prices(base, kwh, own, constant)

    def slack_prices(self, weights: Mapping[Slack, float]) -> Prices:
        """Nothing costs but slack; a replica is held to the part of its demand that it carries."""
        problem = self.pairs.problem
        kwh = np.zeros((len(problem.pools), len(problem.scopes)))
        base: dict[Label, float] = dict(weights.items())
        return Prices(base, kwh, 1.0 / self.pairs.needed[self.pairs.candidate])

    def _gpu_prices(self, base: Mapping[Label, float]) -> FloatArray:
        """Least objective weight of one accelerator of each pool."""
        problem = self.pairs.problem
        price = np.full(len(problem.pools), math.inf)
        for label in self.model.of(Systems):
            p = problem.offers[label.offer].pool
            each = base.get(label, 0.0) / problem.pools[p].gpus_per_system
            price[p] = min(price[p], each)
        return price

    def use(self, prices: Prices) -> None:
        """Minimise by these prices from now on."""
        self._prices = prices
        costs = np.zeros(self.lp.columns)
        for label, cost in prices.base.items():
            costs[self.base[label]] = cost
        pools = np.array([label.pool for label in self.labels], dtype=np.int64)
        scopes = np.array(self._scopes, dtype=np.int64)
        costs[self._first :] = np.array(self._kwh) * prices.kwh[pools, scopes]
        self.lp.reprice(costs)

    @uncollected()
    def add(self, rows: Iterable[int]) -> None:
        """Build the columns and capacity rows of more pairs."""
        assert self._prices is not None
        costs: list[float] = []
        entries: list[list[tuple[int, float]]] = []
        capacity: dict[Row, int] = {}
        labels: list[Replicas | Flow] = []
        for row in rows:
            self.built[row] = True
            p, c = int(self.pairs.pool[row]), int(self.pairs.candidate[row])
            price, w = self._prices.kwh[p].tolist(), int(self.pairs.workload[c])
            flows = list(self.pairs.flow_columns(row))
            carried: dict[int, int] = {}  # block -> capacity row
            for flow, _, _ in flows:
                if flow.block not in carried:
                    carried[flow.block] = self.lp.rows + len(capacity)
                    capacity[Capacity(flow.block, p, c)] = carried[flow.block]
            for replicas, kwh in self.pairs.replica_columns(row):
                labels.append(replicas)
                self._kwh.append(kwh)
                self._scopes.append(replicas.scope)
                costs.append(kwh * price[replicas.scope])
                entries.append(self._packed(replicas) + self._held(carried, replicas))
            for flow, kwh, load in flows:
                labels.append(flow)
                scope = only_block(flow.block)
                self._kwh.append(kwh)
                self._scopes.append(scope)
                costs.append(kwh * price[scope])
                # plain tuples name demand rows here: one look-up for each of 10^6 flows
                asked = self._demand[flow.block, w, flow.cls]
                entries.append([(carried[flow.block], load), (asked, 1.0)])
        self.rows |= capacity
        self.lp.add_rows(len(capacity))
        self.lp.add_columns(costs, entries)
        self.labels += labels

    def _packed(self, replicas: Replicas) -> list[tuple[int, float]]:
        """Packing rows that a replica column takes room in."""
        p, scope = replicas.pool, replicas.scope
        size = self.pairs.problem.candidates[replicas.candidate].gpus
        if (p, scope, size) not in self._rooms:
            gpus = self.pairs.problem.pools[p].gpus_per_system
            rows = self._packing[p, scope]
            found = ((i, packing_coefficient(la, gpus, size)) for la, i in rows)
            self._rooms[p, scope, size] = [(i, a) for i, a in found if a]
        return self._rooms[p, scope, size]

    def _held(self, carried: Mapping[int, int], replicas: Replicas) -> list[tuple[int, float]]:
        """Capacity rows, by block, that a replica column gives room in."""
        rows = (carried.get(b) for b in self.pairs.problem.scopes[replicas.scope].blocks)
        return [(i, -1.0) for i in rows if i is not None]

    def solve(self, seconds: float) -> Answer:
        """The relaxation's least value by the prices in use.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        answer = self.lp.solve(seconds, warm=self._solved)
        self._solved = answer.status == "optimal"
        return answer

    def duals(self, answer: Answer) -> Duals:
        """What pricing needs of a solution."""
        problem = self.pairs.problem
        widest = self.pairs.load.shape[1]
        demand = np.full((len(problem.blocks), len(problem.workloads), widest), -math.inf)
        for place, i in self._demand.items():
            demand[place] = answer.duals[i]
        packing = {
            at: [(label, -float(answer.duals[i])) for label, i in rows]
            for at, rows in self._packing.items()
        }
        spare: dict[PoolScope, float] = {}
        for label in self.model.of(Systems):
            at = (problem.offers[label.offer].pool, label.scope)
            cost = max(float(answer.reduced_costs[self.base[label]]), 0.0)
            spare[at] = min(spare.get(at, math.inf), cost)
        return Duals(demand, packing, spare)

    def slack(self, answer: Answer) -> dict[Slack, float]:
        """Slack columns and how much of each the solution takes."""
        found = {la: float(answer.columns[self.base[la]]) for la in self.model.of(Slack)}
        return {label: amount for label, amount in found.items() if amount > 0.0}

    def used(self, answer: Answer) -> frozenset[tuple[int, int]]:
        """Pairs of which the solution takes replicas; it may be older than the last pairs."""
        taken = np.flatnonzero(answer.columns[self._first :] > 1e-9)
        labels = (self.labels[i] for i in taken.tolist())
        return frozenset((la.pool, la.candidate) for la in labels if isinstance(la, Replicas))
