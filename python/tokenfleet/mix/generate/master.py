"""The relaxation over the pairs built so far: made once from the PuLP model, then extended.

The model of no pair at all has every system, limit and demand, with slack on the demand so that it
always has a solution. The columns of a pair, which `pricing` knows as arrays, are added to it; the
test compares the outcome with the PuLP model of the same pairs, number by number.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.mix.generate.pricing import Cell, Duals, Pairs, PoolScope, packing_coefficient
from tokenfleet.mix.model import Label, Row, build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.collector import uncollected
from tokenfleet.mix.model.index import (
    Capacity,
    Demand,
    InService,
    Pack,
    Packing,
    Place,
    Slack,
    Slots,
    Whole,
)
from tokenfleet.mix.solver.growing import Answer, GrowingLp
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import FloatArray, Flow, Replicas, Systems, only_block, pairs_used

_PACKING = (Pack, Place, Slots, Whole)
_DEAR = 100.0  # times the largest worth of a system: the price of what cannot be ordered
_NEVER = 1e15  # USD: what cannot be ordered is not had at any price
_UNMET = 50.0  # price of unmet demand over the dearest way that a first estimate takes


@dataclass(frozen=True, eq=False)
class Prices:
    """What the relaxation minimises, and the size of each pair that a reduced cost is held to."""

    base: Mapping[Label, float]  # columns that are there before any pair
    kwh: FloatArray  # of one IT kWh, by pool and by the scope in which it is drawn
    own: FloatArray  # by node and pair
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
        self.built = np.zeros((pairs.nodes, len(pairs)), dtype=bool)
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
        self._standing = self._orders_that_stand()

    def _orders_that_stand(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """What may stand under an offer in a node of a horizon: columns of orders and of what is
        held, each with the number of nodes in which it stands."""
        found: dict[tuple[int, int], list[int]] = {}
        for row in self.model.prob.constraints():
            label = self.model.rows[row.name]
            if isinstance(label, InService):
                columns = [self.lp.column_index[v.name] for v, a in row.items() if a < 0]
                found[label.node, label.offer] = columns
        stands = Counter(itertools.chain.from_iterable(found.values()))
        return {at: [(i, stands[i]) for i in columns] for at, columns in found.items()}

    def _spare(self, answer: Answer, label: Systems) -> float:
        """What one more system in a node costs above what it is worth: its own reduced cost, and
        the part of its cheapest order's that falls to the node."""
        cost = max(float(answer.reduced_costs[self.base[label]]), 0.0)
        problem = self.pairs.problem
        if problem.offers[label.offer].stock is None:
            return cost
        return cost + self._spare_of_orders(answer, problem.node_of(label.scope), label.offer)

    def _spare_of_orders(self, answer: Answer, u: int, o: int) -> float:
        """What the cheapest order costs above its worth, as far as it falls to a node."""
        standing = self._standing[u, o]
        parts = (max(float(answer.reduced_costs[i]), 0.0) / nodes for i, nodes in standing)
        return min(parts, default=_NEVER)

    def objective_prices(self, unmet: float | None = None) -> Prices:
        """The problem's own objective; demand may go unmet at a price that nothing else costs."""
        problem = self.pairs.problem
        goal = problem.objective.goal
        kwh = objective.kwh_weights(problem, self.pairs.frame, goal)
        base, constant = objective.goal_coefficients(self.model, goal)
        own = self._gpu_prices(base)[:, self.pairs.pool] * self.pairs.gpus[self.pairs.candidate]
        is_paid = (own > 0) & np.isfinite(own)  # other pairs are held to the size of these
        own = np.where(is_paid, own, own[is_paid].mean() if is_paid.any() else 1.0)
        rates = own.max(axis=0)[:, None] * self.pairs.load[self.pairs.candidate]
        dearest = float(rates[np.isfinite(rates)].max(initial=1.0))
        unmet = _UNMET * dearest if unmet is None else unmet
        base |= dict.fromkeys(self.model.of(Slack), unmet)
        return Prices(base, kwh, own, constant)

    def slack_prices(self, weights: Mapping[Slack, float]) -> Prices:
        """Nothing costs but slack; a replica is held to the part of its demand that it carries."""
        problem = self.pairs.problem
        kwh = np.zeros((len(problem.pools), len(problem.scopes)))
        base: dict[Label, float] = dict(weights.items())
        own = 1.0 / self.pairs.needed[self.pairs.candidate]
        return Prices(base, kwh, np.tile(own, (self.pairs.nodes, 1)))

    def _gpu_prices(self, base: Mapping[Label, float]) -> FloatArray:
        """Least objective weight of one accelerator, by node and pool; with the yearly price of
        what is ordered, which stands on the order."""
        problem = self.pairs.problem
        price = np.full((self.pairs.nodes, len(problem.pools)), math.inf)
        usd = problem.objective.goal.of.get("cost", 0.0)
        for label in self.model.of(Systems):
            u, p = problem.node_of(label.scope), problem.offers[label.offer].pool
            each = base.get(label, 0.0)
            if problem.offers[label.offer].stock is not None:
                year, years = problem.parts[u]
                each += usd * years * sum(year.offers[label.offer].annual_cost_items_usd.values())
            price[u, p] = min(price[u, p], each / problem.pools[p].gpus_per_system)
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
    def add(self, cells: Iterable[Cell]) -> None:
        """Build the columns and capacity rows of more pairs, each in a node."""
        assert self._prices is not None
        costs: list[float] = []
        entries: list[list[tuple[int, float]]] = []
        capacity: dict[Row, int] = {}
        labels: list[Replicas | Flow] = []
        for u, row in cells:
            self.built[u, row] = True
            p, c = int(self.pairs.pool[row]), int(self.pairs.candidate[row])
            price, w = self._prices.kwh[p].tolist(), int(self.pairs.workload[c])
            flows = list(self.pairs.flow_columns(row, u))
            carried: dict[int, int] = {}  # block -> capacity row
            for flow, _, _ in flows:
                if flow.block not in carried:
                    carried[flow.block] = self.lp.rows + len(capacity)
                    capacity[Capacity(flow.block, p, c)] = carried[flow.block]
            for replicas, kwh in self.pairs.replica_columns(row, u):
                labels.append(replicas)
                self._kwh.append(kwh)
                self._scopes.append(replicas.scope)
                costs.append(kwh * price[replicas.scope])
                entries.append(self._packed(replicas) + self._held(carried, replicas))
            for share, flow, kwh, load in self._columns_of(c, flows):
                labels.append(flow)
                scope = only_block(flow.block)
                self._kwh.append(kwh)
                self._scopes.append(scope)
                costs.append(kwh * price[scope])
                # plain tuples name demand rows here: one look-up for each of 10^6 flows
                asked = [(self._demand[flow.block, w, k], part) for k, part in share]
                entries.append([(carried[flow.block], load), *asked])
        self.rows |= capacity
        self.lp.add_rows(len(capacity))
        self.lp.add_columns(costs, entries)
        self.labels += labels

    def _columns_of(
        self, c: int, flows: Sequence[tuple[Flow, float, float]]
    ) -> Iterator[tuple[Sequence[tuple[int, float]], Flow, float, float]]:
        """Classes with their shares, label, kWh a year and load of the columns for these flows: one
        each, or one for all classes of a mix."""
        mix = self.pairs.problem.candidates[c].mix
        if mix is None:
            for flow, kwh, load in flows:
                yield ((flow.cls, 1.0),), flow, kwh, load
            return
        for _, found in itertools.groupby(flows, lambda item: item[0].block):
            together = [(mix[flow.cls], flow, kwh, load) for flow, kwh, load in found]
            classes = [(flow.cls, part) for part, flow, _, _ in together]
            kwh = sum(part * kwh for part, _, kwh, _ in together)
            load = sum(part * load for part, _, _, load in together)
            yield classes, together[0][1], kwh, load

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
        speed = self.pairs.speed[replicas.pool]
        blocks = self.pairs.problem.scopes[replicas.scope].blocks
        return [(carried[b], -float(speed[b])) for b in blocks if b in carried]

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
            spare[at] = min(spare.get(at, math.inf), self._spare(answer, label))
        return Duals(demand, packing, spare)

    def system_prices(self, answer: Answer) -> dict[tuple[int, int], float]:
        """The most that a system in service can be let for before an order gains, by node and
        offer: what it is worth, and what its order costs above that."""
        worth = {
            (la.node, la.offer): -float(answer.duals[i])
            for la, i in self.rows.items()
            if isinstance(la, InService)
        }
        most = _DEAR * max(map(abs, worth.values()), default=0.0)  # far from rounding's reach
        spare = {at: min(self._spare_of_orders(answer, *at), most) for at in worth}
        return {at: usd + spare[at] for at, usd in worth.items()}

    def slack(self, answer: Answer) -> dict[Slack, float]:
        """Slack columns and how much of each the solution takes."""
        found = {la: float(answer.columns[self.base[la]]) for la in self.model.of(Slack)}
        return {label: amount for label, amount in found.items() if amount > 0.0}

    def used(self, answer: Answer) -> frozenset[tuple[int, int]]:
        """Pairs of which the solution takes replicas; it may be older than the last pairs."""
        taken = np.flatnonzero(answer.columns[self._first :] > 1e-9)
        return pairs_used(self.labels[i] for i in taken.tolist())
