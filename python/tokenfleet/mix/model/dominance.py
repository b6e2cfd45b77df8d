"""System types that no plan needs, because another type takes their place at no loss.

System type A goes if one type B has, for every pool p of A, a pool q at the same site such that one
system of q is as good as one of p in everything that the model looks at. What is as good is what
the fields of `problem_data` say of themselves (`better`):

- the pool's must-be-equal fields are equal (site, accelerators, elastic) and its numbers nowhere
  worse (power, energy price, carbon, reserve, ...);
- for every offer of p an offer of q with **unlimited supply** (its own and that of its group),
  equal where it must be and with no number worse (yearly, hourly and capital price);
- for every candidate that may run in p one of q, equal where it must be (workload, role, pair,
  size), with no number worse (load and joules of any class, idle watts, quality).

*No optimum is lost.* Take any plan and move all systems, replicas and flows of p into q, one for
one. Numbers of systems stay whole, so this holds for the integer model: demand is served, replicas
find their places, `ceil((x + y)/r) <= ceil(x/r) + ceil(y/r)` bounds the racks, and every cost, kWh
and kg is no higher. Since one B replaces A everywhere, the best plan of one system type survives as
well. The relation is reflexive and transitive; of types that replace each other the first in
canonical order stays. There is no tolerance.

A field's claim must bear this: `Less` says that a plan stays a plan, and gets no worse, where a row
is replaced by one with less. A field that claims nothing can forbid a replacement, never cause one.

A type that the objective, a site or a workload names is told apart by its name: a limit may count
it ("at most 3 of h100_sxm_8"), so it is neither left out nor put in another's place.

Few pairs of types are compared in full: the best that q has of every number must be no worse than
the best of p, which arrays tell for all pools of a place at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.mix.model.better import Alike, are_unlimited, must_be_equal, names_in, numbers
from tokenfleet.mix.model.order import Order
from tokenfleet.problem_data import FloatArray, Problem

_Table = dict[Alike, FloatArray]  # rows of numbers, the smaller the better, of equals


@dataclass(frozen=True, eq=False)
class _Pool:
    """What the model sees of a pool."""

    place: Alike
    numbers: FloatArray
    offers: _Table
    unlimited: _Table  # of the offers
    candidates: _Table


def dominated_systems(
    problem: Problem, order: Order, eligible: dict[int, list[int]]
) -> frozenset[str]:
    """System types whose pools another type replaces; `eligible`: candidates of each pool."""
    blocks = len(problem.blocks)
    offers = _Compared(problem.offers, blocks)
    candidates = _Compared(problem.candidates, blocks)
    of_pool: dict[int, list[int]] = {}
    for o, offer in enumerate(problem.offers):
        of_pool.setdefault(offer.pool, []).append(o)
    free_offers, free_pools = are_unlimited(problem.offers), are_unlimited(problem.pools)
    types: dict[str, list[_Pool]] = {}
    for p in order.pools:
        pool, own = problem.pools[p], of_pool.get(p, [])
        seen = _Pool(
            place=must_be_equal(pool),
            numbers=numbers(pool, blocks),
            offers=offers.table(own),
            unlimited=offers.table(o for o in own if free_pools[p] and free_offers[o]),
            candidates=candidates.table(eligible[p]),
        )
        types.setdefault(pool.system, []).append(seen)
    possible = _possible(types)
    named = names_in((problem.objective, *problem.sites, *problem.workloads))
    gone: set[str] = set()
    for name in reversed(types):
        if name in named:
            continue
        others = possible[name] - named - gone - {name}
        if any(_replaces(types[other], types[name]) for other in others):
            gone.add(name)
    return frozenset(gone)


class _Compared:
    """Rows of a table with their numbers, worked out once."""

    def __init__(self, rows: Sequence[Any], blocks: int) -> None:
        self.numbers = [numbers(row, blocks) for row in rows]
        self.places = [must_be_equal(row) for row in rows]
        self._tables: dict[tuple[int, ...], _Table] = {}  # many pools run the same candidates

    def table(self, rows: Iterable[int]) -> _Table:
        """The numbers of some rows, equals together."""
        key = tuple(rows)
        if key not in self._tables:
            found: dict[Alike, list[FloatArray]] = {}
            for i in key:
                found.setdefault(self.places[i], []).append(self.numbers[i])
            self._tables[key] = {place: np.array(r) for place, r in found.items()}
        return self._tables[key]


def _possible(types: dict[str, list[_Pool]]) -> dict[str, set[str]]:
    """Types that may replace each type, as far as the best of every number tells."""
    pools = [(name, pool) for name, found in types.items() for pool in found]
    offers = {place: rows.shape[1] for _, q in pools for place, rows in q.offers.items()}
    runs = {place: rows.shape[1] for _, q in pools for place, rows in q.candidates.items()}

    def best(q: _Pool, bought: _Table) -> FloatArray:
        return np.concatenate([q.numbers, *_best(bought, offers), *_best(q.candidates, runs)])

    places: dict[Alike, list[tuple[str, _Pool]]] = {}
    for name, pool in pools:
        places.setdefault(pool.place, []).append((name, pool))
    possible = {name: set(types) for name in types}
    for members in places.values():
        given = np.stack([best(q, q.unlimited) for _, q in members])
        for name, p in members:
            good = (given <= best(p, p.offers)).all(axis=1)
            possible[name] &= {members[i][0] for i in np.flatnonzero(good)}
    return possible


def _best(table: _Table, widths: dict[Alike, int]) -> list[FloatArray]:
    """The best of each number of each kind of rows; infinite where there is no such row."""
    none = {place: np.empty((0, width)) for place, width in widths.items()}
    return [table.get(place, none[place]).min(axis=0, initial=math.inf) for place in widths]


def _replaces(others: Sequence[_Pool], pools: Sequence[_Pool]) -> bool:
    return all(any(_as_good(q, p) for q in others) for p in pools)


def _as_good(q: _Pool, p: _Pool) -> bool:
    """Whether one system of q stands in for one of p at no loss."""
    return (
        q.place == p.place
        and bool((q.numbers <= p.numbers).all())
        and _all_covered(q.unlimited, p.offers)
        and _all_covered(q.candidates, p.candidates)
    )


def _all_covered(q: _Table, p: _Table) -> bool:
    """Whether every row of p has a row of q that is equal where it must be and nowhere above it."""
    return all(place in q and _covered(q[place], rows) for place, rows in p.items())


def _covered(q: FloatArray, p: FloatArray) -> bool:
    return all(bool((q <= row).all(axis=1).any()) for row in p)
