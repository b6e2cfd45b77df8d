"""Canonical order of every index, from numbers first and names last.

Solvers break ties by column order, so columns are created in an order that depends on what a row
says and not on where it stood or what it is called: two rows change places only when every number
in them is equal, and then either choice is the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenfleet.mix.model.better import class_keys, sort_key
from tokenfleet.problem_data import Problem

_Key = tuple[Any, ...]


@dataclass(frozen=True)
class Order:
    """Indices of the problem's tables in canonical order; `classes[w]` orders classes of w."""

    workloads: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]
    sites: tuple[int, ...]
    pools: tuple[int, ...]
    offers: tuple[int, ...]
    candidates: tuple[int, ...]
    apis: tuple[int, ...]


def canonical_order(problem: Problem) -> Order:
    """Sort every table of the problem by content; ids only break exact ties.

    A table comes after those that it points into. What has no rank of its own yet is told by what
    hangs on it: a site by its pools, a pool by its offers.
    """
    sorter = _Sorter(problem)
    offers = sorter.keys_by(problem.offers, [offer.pool for offer in problem.offers])
    pools = sorter.keys_by(problem.pools, [pool.site for pool in problem.pools])
    workloads = sorter.sort("workloads", problem.workloads)
    sites = sorter.sort("sites", problem.sites, lambda s: pools.get(s, ()))
    in_order = sorter.sort("pools", problem.pools, lambda p: offers.get(p, ()))
    systems = dict.fromkeys(problem.pools[p].system for p in in_order)
    sorter.ranks["systems"] = {system: rank for rank, system in enumerate(systems)}
    return Order(
        workloads=workloads,
        classes=sorter.classes,
        sites=sites,
        pools=in_order,
        offers=sorter.sort("offers", problem.offers),
        candidates=sorter.sort("candidates", problem.candidates),
        apis=sorter.sort("apis", problem.apis),
    )


class _Sorter:
    """Sorts tables one after another; each may point into those before it."""

    def __init__(self, problem: Problem) -> None:
        self.ranks: dict[str, dict[Any, int]] = {}  # by table: row -> its place
        self.blocks = len(problem.blocks)
        self.classes = tuple(_sorted(class_keys(data)) for data in problem.workloads)

    def sort(
        self,
        table: str,
        rows: Sequence[Any],
        beside: Callable[[int], Sequence[_Key]] = lambda _: (),
    ) -> tuple[int, ...]:
        """Rows by what they say, then by `beside`, keys of what hangs on them, then by id."""
        keys = []
        for i, row in enumerate(rows):
            classes = self._classes_of(table, i, row)
            own = sort_key(row, self.blocks, self.ranks, classes)
            keys.append((*own, beside(i), str(row.id)))
        found = _sorted(keys)
        self.ranks[table] = {index: rank for rank, index in enumerate(found)}
        return found

    def keys_by(self, rows: Sequence[Any], owners: Sequence[int]) -> dict[int, tuple[_Key, ...]]:
        """Keys of the rows of each owner, ascending."""
        found: dict[int, list[_Key]] = {}
        for owner, row in zip(owners, rows, strict=True):
            found.setdefault(owner, []).append(sort_key(row, self.blocks, {}))
        return {owner: tuple(sorted(keys)) for owner, keys in found.items()}

    def _classes_of(self, table: str, i: int, row: Any) -> Sequence[int]:
        """Order of the classes that the row's numbers are over."""
        w = i if table == "workloads" else getattr(row, "workload", None)
        return () if w is None else self.classes[w]


def _sorted(keys: Sequence[_Key]) -> tuple[int, ...]:
    return tuple(sorted(range(len(keys)), key=keys.__getitem__))
