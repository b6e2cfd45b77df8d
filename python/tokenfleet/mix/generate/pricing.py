"""Every pair of pool and candidate as arrays: its columns, and what building it can save.

A replica of candidate c in pool p with its flows is worth building only if it can pay. With the
duals of a relaxation over some of the pairs (p, c), y of the demand rows and mu >= 0 of the packing
rows, the best that a missing pair can do in block b is

    value[b] = max(0, max over k of (y[b, w, k] - energy[b, p, c, k]) / load[c, k])

per replica, because its capacity rows take whatever dual is best; of a candidate with a mix, both
are means over its requests. Its reduced cost is

    idle energy of the replica + sum over packing rows of mu * coefficient - sum over b of value[b]

(per block where counts may differ by block, with value[b] times the speed of the pool then). Over
a horizon a pair is built in each node by itself: nodes want different ones. Systems at zero with
reduced cost to spare lend it to the packing row of the least size, which is dual feasible and keeps
pools that nobody uses from looking free.

Pools that are copies of one another (the same provider's hall, seen from several sites) are one
pool: any plan that uses several is a plan that uses the first.

Energy is priced at `kwh` of the pool and of the scope in which it is drawn, so that one text serves
every objective that adds up energy and systems; at a price of 0, only what demand pays counts.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.mix.model import Frame, frame_of, scale_limit
from tokenfleet.mix.model.better import copy_of, hall_of
from tokenfleet.mix.model.frame import systems_per_replica
from tokenfleet.mix.model.index import Pack, Packing, Place, Whole
from tokenfleet.problem_data import (
    JOULES_PER_KWH,
    SECONDS_PER_HOUR,
    FloatArray,
    Flow,
    Problem,
    Replicas,
    only_block,
)

IntArray = NDArray[np.int64]
PoolScope = tuple[int, int]
Cell = tuple[int, int]  # node and row of a pair


@dataclass(frozen=True, eq=False)
class Duals:
    """Of demand (B, W, K), -inf where nothing is asked; of packing rows, as costs >= 0."""

    demand: FloatArray
    packing: Mapping[PoolScope, Sequence[tuple[Packing, float]]]
    spare: Mapping[PoolScope, float]  # least reduced cost of a system


class Pairs:
    """The pairs of a problem in canonical order, row by row."""

    def __init__(self, problem: Problem, frame: Frame) -> None:
        self.problem = problem
        self._list(frame)
        candidates = problem.candidates
        widest = max(len(w.class_ids) for w in problem.workloads)
        self.load = np.full((len(candidates), widest), math.inf)
        self.energy_j = np.zeros((len(candidates), widest))
        for i, candidate in enumerate(candidates):
            self.load[i, : len(candidate.load)] = candidate.load
            admitted = np.isfinite(candidate.load)
            self.energy_j[i, : len(admitted)] = np.where(admitted, candidate.energy_j, 0.0)
        self.workload = np.array([c.workload for c in candidates], dtype=np.int64)
        self.mix = np.zeros((len(candidates), widest))  # of those that have one
        for i, candidate in enumerate(candidates):
            if candidate.mix is not None:
                self.mix[i, : len(candidate.mix)] = candidate.mix
        self.is_mixed = self.mix.sum(axis=1) > 0
        self.gpus = np.array([c.gpus for c in candidates], dtype=np.int64)
        self.idle_kw = np.array([c.idle_w for c in candidates]) / 1000.0
        self.needed = np.array([frame.needed[c] for c in range(len(candidates))])
        self.speed = np.array(
            [np.broadcast_to(pool.speed, len(problem.blocks)) for pool in problem.pools]
        ).reshape(len(problem.pools), len(problem.blocks))
        self.nodes = 1 if problem.horizon is None else len(problem.horizon.nodes)
        self._load: list[list[float]] = self.load.tolist()
        self._energy_j: list[list[float]] = self.energy_j.tolist()
        self._asked = [
            [self._where_asked(w, u) for u in range(self.nodes)]
            for w in range(len(problem.workloads))
        ]

    def _list(self, frame: Frame) -> None:
        """Writes down the pairs."""
        self.frame = frame
        pools = _distinct_pools(self.problem, frame)
        self.pool = np.array([p for p in pools for _ in frame.able[p]], dtype=np.int64)
        self.candidate = np.array([c for p in pools for c in frame.able[p]], dtype=np.int64)

    def within(self, able: dict[int, list[int]]) -> Pairs:
        """Those of fewer candidates by pool; what is known of each candidate is shared."""
        part = copy.copy(self)
        part._list(replace(self.frame, able=able))
        return part

    @classmethod
    def of(cls, problem: Problem) -> Pairs:
        """All pairs of a problem, each of which stays within its largest scale."""
        return cls(problem, frame_of(problem, scale_limit(problem), every_system=True))

    def __len__(self) -> int:
        return len(self.pool)

    def _where_asked(self, w: int, u: int) -> list[tuple[int, int, float]]:
        """Block, class and the block's seconds a year, where the workload has demand in a node."""
        demand = self.problem.workloads[w].demand_rps
        return [
            (b, k, block.counted_hours * SECONDS_PER_HOUR)
            for b, block in enumerate(self.problem.blocks)
            if self.problem.node_of(only_block(b)) == u
            for k in self.frame.order.classes[w]
            if demand[b, k] > 0
        ]

    def named(self, rows: Iterable[int]) -> frozenset[tuple[int, int]]:
        """(pool, candidate) of rows."""
        return frozenset((int(self.pool[i]), int(self.candidate[i])) for i in rows)

    def rows_of(self, pairs: Iterable[tuple[int, int]]) -> IntArray:
        """Rows of (pool, candidate), ascending; pairs that are none are left out."""
        wanted = frozenset(pairs)
        together = zip(self.pool.tolist(), self.candidate.tolist(), strict=True)
        return np.array([i for i, pair in enumerate(together) if pair in wanted], dtype=np.int64)

    def by_pool(self) -> Iterator[tuple[int, slice]]:
        """Each pool with its rows, which lie together."""
        starts = np.flatnonzero(np.diff(self.pool, prepend=-1)).tolist()
        for first, last in itertools.pairwise([*starts, len(self.pool)]):
            yield int(self.pool[first]), slice(int(first), int(last))

    def in_nodes(self, rows: Iterable[int]) -> list[Cell]:
        """Pairs in every node."""
        return [(u, row) for row in rows for u in range(self.nodes)]

    def cheapest_of_each(self, price: FloatArray) -> list[int]:
        """For each class the pair of each system that serves a request/s at the least price.

        `price` is that of one replica of each pair.
        """
        rates = price[:, None] * self.load[self.candidate]
        systems = sorted({pool.system for pool in self.problem.pools})
        rank = {system: i for i, system in enumerate(systems)}
        system = np.array([rank[pool.system] for pool in self.problem.pools])[self.pool]
        chosen: set[int] = set()
        for k in range(rates.shape[1]):
            order = np.lexsort((np.arange(len(self)), rates[:, k]))
            order = order[np.isfinite(rates[order, k])]
            key = self.workload[self.candidate[order]] * len(systems) + system[order]
            _, first = np.unique(key, return_index=True)
            chosen |= set(order[first].tolist())
        return sorted(chosen)

    def reduced_costs(self, duals: Duals, kwh: FloatArray) -> FloatArray:
        """Reduced cost of each pair in each node (nodes, pairs), energy at `kwh` by pool and scope;
        of one whose number differs by block, that of the block where it is least; infinite where no
        system can be had."""
        problem = self.problem
        had = {(p, problem.node_of(scope)) for p, scope in duals.spare}
        total = np.full((self.nodes, len(self)), math.inf)
        value = np.stack([self._value(duals, b, kwh) for b in range(len(problem.blocks))])
        for p, rows in self.by_pool():
            c = self.candidate[rows]
            sizes, which = np.unique(self.gpus[c], return_inverse=True)
            scopes = self.frame.scopes.replicas(p)
            for scope in (s for s in scopes if (p, problem.node_of(s)) in had):
                up = self.frame.scopes.up_in(p, scope)
                packed = [self._packed(duals, (p, scope), int(size)) for size in sizes]
                cost = self.idle_kw[c] * self.frame.scopes.hours_up(p, scope) * kwh[p, scope]
                cost = cost + np.array(packed)[which] - value[up, rows].sum(axis=0)
                u = problem.node_of(scope)
                total[u, rows] = np.minimum(total[u, rows], cost)
        return total

    def _value(self, duals: Duals, b: int, kwh: FloatArray) -> FloatArray:
        price = kwh[self.pool, only_block(b)]
        energy = self._kwh(b, self.energy_j)[self.candidate] * price[:, None]
        load = self.load[self.candidate]
        paid = duals.demand[b][self.workload[self.candidate]]
        margin = np.where(np.isfinite(load), paid - energy, 0.0) / load
        value = np.asarray(margin.max(axis=1, initial=0.0))
        mixed = np.flatnonzero(self.is_mixed[self.candidate])
        if len(mixed):
            mix = self.mix[self.candidate[mixed]]
            taken = mix > 0
            worth = (mix * np.where(taken, paid[mixed] - energy[mixed], 0.0)).sum(axis=1)
            work = (mix * np.where(taken, load[mixed], 0.0)).sum(axis=1)
            value[mixed] = np.maximum(worth / work, 0.0)
        faster: FloatArray = value * self.speed[self.pool, b]
        return faster

    def _kwh(self, b: int, energy_j: FloatArray) -> FloatArray:
        """IT kWh a year of one request/s in block b at so many joules per request."""
        seconds = self.problem.blocks[b].counted_hours * SECONDS_PER_HOUR
        kwh: FloatArray = seconds * energy_j / JOULES_PER_KWH
        return kwh

    def _packed(self, duals: Duals, place: PoolScope, size: int) -> float:
        """What the packing rows of a pool take of a replica, its systems' spare cost lent."""
        room = self.problem.pools[place[0]].gpus_per_system
        rows = duals.packing.get(place, ())
        sizes = [row.size for row, _ in rows if isinstance(row, Pack)]
        spare = duals.spare.get(place, 0.0)
        total = 0.0
        for row, mu in rows:
            if isinstance(row, Pack):
                held, lent = room // row.size * row.size, row.size == min(sizes)
            else:
                held, lent = 1, isinstance(row, Whole)
            total += (mu + spare / held if lent else mu) * packing_coefficient(row, room, size)
        return total

    def replica_columns(self, row: int, u: int) -> Iterator[tuple[Replicas, float]]:
        """Label and kWh a year of the replica columns of a pair in a node."""
        p, c = int(self.pool[row]), int(self.candidate[row])
        idle_kw = self.problem.candidates[c].idle_w / 1000.0
        for scope in self._scopes_of(p, u):
            yield Replicas(scope, p, c), idle_kw * self.frame.scopes.hours_up(p, scope)

    def _scopes_of(self, p: int, u: int) -> list[int]:
        """Scopes of a node in which the replicas of a pool are counted."""
        scopes = self.frame.scopes.replicas(p)
        return [scope for scope in scopes if self.problem.node_of(scope) == u]

    def flow_columns(self, row: int, u: int) -> Iterator[tuple[Flow, float, float]]:
        """Label, kWh a year and load of a pair's flows in a node, those of a block together."""
        p, c = int(self.pool[row]), int(self.candidate[row])
        load, energy_j = self._load[c], self._energy_j[c]
        up = set(self.frame.scopes.up(p))
        for b, k, seconds in self._asked[self.problem.candidates[c].workload][u]:
            if b in up and math.isfinite(load[k]):
                yield Flow(b, p, c, k), seconds * energy_j[k] / JOULES_PER_KWH, load[k]


def packing_coefficient(row: Packing, room: int, size: int) -> float:
    """Coefficient of a replica of `size` in a packing row of systems of `room` accelerators."""
    whole = float(systems_per_replica(size, room)) if size >= room else 0.0
    if isinstance(row, Pack):
        inside = float(size if size >= row.size else 0)
        return room // row.size * row.size * whole if whole else inside
    if isinstance(row, Place):
        return float(size == row.size)
    return whole


def _distinct_pools(problem: Problem, frame: Frame) -> list[int]:
    """Pools in canonical order without those that are copies of an earlier one."""
    # Over a horizon copies in one node may differ in another.
    apart = problem.horizon is not None or any(block.lost_site >= 0 for block in problem.blocks)
    seen: set[object] = set()
    distinct = []
    for p in frame.order.pools:
        if not frame.able[p]:
            continue
        pool = problem.pools[p]
        offers = frozenset(copy_of(problem.offers[o]) for o in frame.offers[p])
        hall = hall_of(problem.sites[pool.site])
        key = (copy_of(pool), hall, offers, tuple(frame.able[p]))
        if pool.hosted and not apart:
            if key in seen:
                continue
            seen.add(key)
        distinct.append(p)
    return distinct
