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

from tokenfleet.mix.generate.pricing import Duals, Pairs, Scope, packing_coefficient
from tokenfleet.mix.model import ALL_YEAR, Label, build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.solver.growing import Answer, GrowingLp
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import FloatArray

_PACKING = ("pack", "place", "slots", "whole")
_UNMET = 50.0  # price of unmet demand over the dearest way that a first estimate takes


@dataclass(frozen=True, eq=False)
class Prices:
    """What the relaxation minimises, and the size of each pair that a reduced cost is held to."""

    base: Mapping[Label, float]  # columns that are there before any pair
    kwh: FloatArray  # of one IT kWh, by pool
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
        self.labels: list[Label] = []  # of the columns added
        self._kwh: list[float] = []
        self._first = self.lp.columns
        self._prices: Prices | None = None
        self._solved = False
        self.rows = {la: self.lp.row_index[name] for name, la in self.model.rows.items()}
        self.base = {la: self.lp.column_index[v.name] for la, v in self.model.columns.items()}
        self._rooms: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        self._packing: dict[Scope, list[tuple[Label, int]]] = {}
        for label, i in self.rows.items():
            if label[0] in _PACKING:
                self._packing.setdefault((label[1], label[2]), []).append((label, i))

    def objective_prices(self, unmet: float | None = None) -> Prices:
        """The problem's own objective; demand may go unmet at a price that nothing else costs."""
        problem = self.pairs.problem
        goal = problem.objective.goal
        kwh = objective.kwh_weights(problem, goal)
        assert kwh is not None  # `generation.applies`
        base, constant = objective.goal_coefficients(self.model, goal)
        own = self._gpu_prices(base)[self.pairs.pool] * self.pairs.gpus[self.pairs.candidate]
        rates = own[:, None] * self.pairs.load[self.pairs.candidate]
        dearest = float(rates[np.isfinite(rates)].max(initial=1.0))
        unmet = _UNMET * dearest if unmet is None else unmet
        base |= {label: unmet for label in self.model.columns if label[0] == "slack"}
        return Prices(base, kwh, own, constant)

    def slack_prices(self, weights: Mapping[Label, float]) -> Prices:
        """Nothing costs but slack; a replica is held to the part of its demand that it carries."""
        kwh = np.zeros(len(self.pairs.problem.pools))
        return Prices(weights, kwh, 1.0 / self.pairs.needed[self.pairs.candidate])

    def _gpu_prices(self, base: Mapping[Label, float]) -> FloatArray:
        """Least objective weight of one accelerator of each pool."""
        problem = self.pairs.problem
        price = np.full(len(problem.pools), math.inf)
        for label in self.model.columns:
            if label[0] == "x":
                p = problem.offers[label[2]].pool
                each = base.get(label, 0.0) / problem.pools[p].gpus_per_system
                price[p] = min(price[p], each)
        return price

    def use(self, prices: Prices) -> None:
        """Minimise by these prices from now on."""
        self._prices = prices
        costs = np.zeros(self.lp.columns)
        for label, cost in prices.base.items():
            costs[self.base[label]] = cost
        pools = np.array([label[2] for label in self.labels], dtype=np.int64)
        costs[self._first :] = np.array(self._kwh) * prices.kwh[pools]
        self.lp.reprice(costs)

    def add(self, rows: Iterable[int]) -> None:
        """Build the columns and capacity rows of more pairs."""
        assert self._prices is not None
        costs: list[float] = []
        entries: list[list[tuple[int, float]]] = []
        capacity: dict[Label, int] = {}
        labels: list[Label] = []
        for row in rows:
            self.built[row] = True
            price = float(self._prices.kwh[self.pairs.pool[row]])
            flows = list(self.pairs.flow_columns(row))
            for (_, b, p, c, _), _, _ in flows:
                capacity.setdefault(("capacity", b, p, c), self.lp.rows + len(capacity))
            for label, kwh in self.pairs.replica_columns(row):
                labels.append(label)
                self._kwh.append(kwh)
                costs.append(kwh * price)
                entries.append(self._packed(label) + self._held(capacity, label))
            for label, kwh, load in flows:
                _, b, p, c, k = label
                labels.append(label)
                self._kwh.append(kwh)
                costs.append(kwh * price)
                w = int(self.pairs.workload[c])
                entries.append(
                    [(capacity["capacity", b, p, c], load), (self.rows["demand", b, w, k], 1.0)]
                )
        self.rows |= capacity
        self.lp.add_rows(len(capacity))
        self.lp.add_columns(costs, entries)
        self.labels += labels

    def _packed(self, label: Label) -> list[tuple[int, float]]:
        """Packing rows that a replica column takes room in."""
        _, scope, p, c = label
        size = self.pairs.problem.candidates[c].gpus
        if (p, scope, size) not in self._rooms:
            gpus = self.pairs.problem.pools[p].gpus_per_system
            rows = self._packing[p, scope]
            found = ((i, packing_coefficient(la, gpus, size)) for la, i in rows)
            self._rooms[p, scope, size] = [(i, a) for i, a in found if a]
        return self._rooms[p, scope, size]

    def _held(self, capacity: Mapping[Label, int], label: Label) -> list[tuple[int, float]]:
        """Capacity rows that a replica column gives room in."""
        _, scope, p, c = label
        blocks = range(len(self.pairs.problem.blocks)) if scope == ALL_YEAR else (scope,)
        rows = (capacity.get(("capacity", b, p, c)) for b in blocks)
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
        for label, i in self.rows.items():
            if label[0] == "demand":
                demand[label[1:]] = answer.duals[i]
        packing = {
            scope: [(label, -float(answer.duals[i])) for label, i in rows]
            for scope, rows in self._packing.items()
        }
        spare: dict[Scope, float] = {}
        for label, i in self.base.items():
            if label[0] == "x":
                scope = (problem.offers[label[2]].pool, label[1])
                cost = max(float(answer.reduced_costs[i]), 0.0)
                spare[scope] = min(spare.get(scope, math.inf), cost)
        return Duals(demand, packing, spare)

    def slack(self, answer: Answer) -> dict[Label, float]:
        """Slack columns and how much of each the solution takes."""
        found = {la: float(answer.columns[i]) for la, i in self.base.items() if la[0] == "slack"}
        return {label: amount for label, amount in found.items() if amount > 0.0}

    def used(self, answer: Answer) -> frozenset[tuple[int, int]]:
        """Pairs of which the solution takes replicas; it may be older than the last pairs."""
        taken = np.flatnonzero(answer.columns[self._first :] > 1e-9)
        labels = (self.labels[i] for i in taken.tolist())
        return frozenset((label[2], label[3]) for label in labels if label[0] == "n")
