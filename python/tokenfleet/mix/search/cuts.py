r"""Residual capacity cuts: what whole replicas and systems imply and the relaxation does not see.

Requests of items k load a whole number n that holds them, and no item is more than u[k]:

    sum_k a[k] F[k] <= n,    0 <= F[k] <= u[k],    n whole

Let S be some of the items, D = sum_S a[k] u[k], K = ceil(D) and r = D - (K - 1). Every plan keeps

    sum_S a[k] F[k] - r n  <=  D - r K  =  (1 - r) (K - 1)

since the left side is at most D - r n where n >= K, and at most n - r n where n <= K - 1. A
relaxation that serves half a replica's load with half a replica breaks it: D = 1/2, K = 1, r = 1/2
says n >= F/u. The set S = {k: F[k]/u[k] > n - floor(n)} is broken most, if floor(n) < D <
floor(n) + 1, and otherwise none is: one look at each item finds it. Together these cuts are all
that such a set implies (Magnanti, Mirchandani and Vachani 1993, "The convex hull of two core
capacitated network design problems"; separation: Atamtürk and Rajan 2002, "On splittable and
unsplittable flow capacitated network design arc-set polyhedra").

Two kinds of sets stand in the model:

- replicas of a candidate in a pool and block, with a[k] its load and u[k] the demand of class k;
- systems of a pool in a block, where F[k] sums the flows of all its candidates that end a request
  of class k (those that only begin one apart), and a[k] is the least part of a system that any of
  them takes for one request/s.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pulp
from numpy.typing import NDArray

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model.frame import peak_demands, systems_per_replica
from tokenfleet.mix.model.index import Capacity, Cutting, ReplicaCut, SystemCut
from tokenfleet.mix.model.packing import split_sizes, usable_systems
from tokenfleet.problem_data import FloatArray, Flow, only_block

IntArray = NDArray[np.int64]

_WHOLE = 1e-6  # a number this close to a whole one is whole
_BROKEN = 1e-5  # replicas or systems by which a cut is broken to be worth a row


@dataclass(frozen=True, eq=False)
class Cut:
    """`sum of coefficient * column <= upper`; columns by index."""

    row: Cutting
    columns: IntArray
    coefficients: FloatArray
    upper: float


@dataclass(frozen=True)
class _Item:
    """Flows of one class that load one whole number: load of 1 request/s, most requests/s."""

    load: float
    most: float
    flows: Sequence[int]  # columns


@dataclass(frozen=True)
class _Set:
    """One whole number with its items."""

    row: Cutting
    whole: Sequence[tuple[int, float]]  # columns and coefficients that add up to it
    items: Sequence[_Item]


class Cuts:
    """The sets of a model as flat arrays, from which broken cuts are read off."""

    def __init__(self, m: FleetModel, index: Mapping[str, int]) -> None:
        """`index` gives the column of a name; what it does not hold is zero."""
        self._sets = list(_sets(m, index))
        items = [(s, item) for s, found in enumerate(self._sets) for item in found.items]
        self._set = np.array([s for s, _ in items], dtype=np.int64)
        self._load = np.array([item.load for _, item in items])
        self._most = np.array([item.most for _, item in items])
        flows = [(i, j) for i, (_, item) in enumerate(items) for j in item.flows]
        self._flow_item, self._flow = _columns(flows)
        whole = [(s, j, a) for s, found in enumerate(self._sets) for j, a in found.whole]
        self._whole_set, self._whole = _columns([(s, j) for s, j, _ in whole])
        self._whole_weight = np.array([a for _, _, a in whole])

    def broken(self, values: FloatArray) -> list[Cut]:
        """The cut that each set breaks most at these values of the columns, if it breaks any."""
        count = len(self._sets)
        weight = self._whole_weight * values[self._whole]
        n = np.bincount(self._whole_set, weight, count)
        floor = np.floor(n + _WHOLE)
        part = n - floor
        served = np.bincount(self._flow_item, values[self._flow], len(self._set))
        taken = served > part[self._set] * self._most * (1.0 + _WHOLE)
        full = np.bincount(self._set, taken * self._load * self._most, count)
        loaded = np.bincount(self._set, taken * self._load * served, count)
        r = full - floor
        excess = loaded - r * n - (1.0 - r) * floor
        found = (part > _WHOLE) & (r > _WHOLE) & (r < 1.0 - _WHOLE) & (excess > _BROKEN)
        return [
            self._cut(s, taken, float(r[s]), float(floor[s]))
            for s in np.flatnonzero(found).tolist()
        ]

    def _cut(self, s: int, taken: NDArray[np.bool_], r: float, floor: float) -> Cut:
        flows = taken[self._flow_item] & (self._set[self._flow_item] == s)
        whole = self._whole_set == s
        return Cut(
            self._sets[s].row,
            np.concatenate([self._flow[flows], self._whole[whole]]),
            np.concatenate(
                [self._load[self._flow_item[flows]], -r * self._whole_weight[whole]]
            ),
            (1.0 - r) * floor,
        )  # fmt: skip


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[IntArray, IntArray]:
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _sets(m: FleetModel, index: Mapping[str, int]) -> Iterator[_Set]:
    demand = peak_demands(m.problem, m.scale_max)
    flows: dict[Capacity, dict[int, int]] = {}
    for flow, v in m.of(Flow).items():
        if v.name in index:
            place = Capacity(flow.block, flow.pool, flow.candidate)
            flows.setdefault(place, {})[flow.cls] = index[v.name]
    of_pool: dict[tuple[int, int], list[tuple[int, dict[int, int]]]] = {}
    for place, columns in flows.items():
        b, p, c = place.block, place.pool, place.candidate
        candidate = m.problem.candidates[c]
        most = demand[candidate.workload][b]
        items = [_Item(float(candidate.load[k]), float(most[k]), [j]) for k, j in columns.items()]
        replicas = _known([(m.columns[m.replicas_of(place)], 1.0)], index)
        yield _Set(ReplicaCut(b, p, c), replicas, items)
        of_pool.setdefault((b, p), []).append((c, columns))
    for (b, p), candidates in of_pool.items():
        if len(candidates) == 1 and _part_of_system(m, p, candidates[0][0]) == 1.0:
            continue  # one replica to a system: what is known of replicas says as much
        whole = _known(usable_systems(m, p, only_block(b)), index)
        yield _Set(SystemCut(b, p), whole, _pool_items(m, p, b, candidates, demand))


def _known(
    columns: Sequence[tuple[pulp.LpVariable, float]], index: Mapping[str, int]
) -> list[tuple[int, float]]:
    return [(index[v.name], a) for v, a in columns if v.name in index]


def _pool_items(
    m: FleetModel,
    p: int,
    b: int,
    candidates: Sequence[tuple[int, dict[int, int]]],
    demand: Sequence[FloatArray],
) -> list[_Item]:
    loads: dict[tuple[int, int, bool], float] = {}
    flows: dict[tuple[int, int, bool], list[int]] = {}
    for c, columns in candidates:
        candidate = m.problem.candidates[c]
        part = _part_of_system(m, p, c)
        for k, j in columns.items():
            key = (candidate.workload, k, candidate.role == "prefill")
            loads[key] = min(loads.get(key, math.inf), part * float(candidate.load[k]))
            flows.setdefault(key, []).append(j)
    return [
        _Item(load, float(demand[w][b, k]), flows[w, k, begun])
        for (w, k, begun), load in loads.items()
    ]


def _part_of_system(m: FleetModel, p: int, c: int) -> float:
    """Least part of a system that a replica takes, see `packing`."""
    gpus, held = m.problem.candidates[c].gpus, m.problem.pools[p].gpus_per_system
    if gpus >= held:
        return float(systems_per_replica(gpus, held))
    inside = [g for g in m.frame.sizes[p] if g < held]
    if not split_sizes(inside)[1]:
        held = held // min(inside) * min(inside)
    return gpus / held
