"""Packing of replicas into systems: real places, not a sum of GPUs.

A system has G accelerators; a replica of g <= G stands inside one system, a larger one takes
ceil(g / G) whole systems. Let X be the usable systems of a pool.

**Divisible sizes.** Let a size g divide every larger size. Filling from the largest size down,
every system keeps floor(G/g) places of size g, and a larger replica uses a whole number of them
wherever it stands. So the replicas fit if and only if, for every such g,

    sum over g <= h < G of h * n[h]  +  floor(G/g) * g * (whole systems)  <=  floor(G/g) * g * X

For a divisibility chain these rows are the whole truth (72 GPUs hold one replica of 64 and one of
8; eight such racks hold eight replicas of 64, not nine).

**Other sizes.** The sizes that some larger size is not a multiple of, and all sizes above them,
are packed by integer columns: slot[q] systems are cut by maximal pattern q, which has
`count[q, g]` places of size g. A place may stay empty, so maximal patterns suffice:

    sum over q of count[q, g] * slot[q] >= n[g],     sum over q of slot[q] + (whole systems) <= X

The small divisible sizes below still use their rows: they fill whatever the patterns leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulp

from tokenfleet.errors import QuestionError
from tokenfleet.mix.model.columns import FleetModel
from tokenfleet.mix.model.frame import systems_per_replica
from tokenfleet.mix.model.index import Pack, Place, Slots, Whole
from tokenfleet.problem_data import Replicas, Slot, Used

MAX_PATTERNS = 5_000


def split_sizes(sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """(sizes packed by rows, sizes packed by patterns) of the sizes inside one system, ascending.

    >>> split_sizes([1, 2, 4, 8])
    ([1, 2, 4, 8], [])
    >>> split_sizes([2, 4, 6])
    ([2], [4, 6])
    """
    ordered = sorted(set(sizes))
    for i, size in enumerate(ordered):
        if any(larger % size for larger in ordered[i + 1 :]):
            return ordered[:i], ordered[i:]
    return ordered, []


def maximal_patterns(gpus: int, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """All ways to cut a system of `gpus` into places of `sizes` with no room for one more.

    Counts are in the order of `sizes`. Raises QuestionError beyond `MAX_PATTERNS`.

    >>> maximal_patterns(8, [3, 4])
    [(0, 2), (1, 1), (2, 0)]
    """
    smallest, found = min(sizes), []
    stack: list[tuple[tuple[int, ...], int]] = [((), gpus)]
    while stack:
        counts, left = stack.pop()
        if len(counts) == len(sizes):
            if left < smallest:
                found.append(counts)
            continue
        size = sizes[len(counts)]
        stack.extend(((*counts, n), left - n * size) for n in range(left // size + 1))
        if len(found) > MAX_PATTERNS:
            raise QuestionError(
                f"replica sizes {list(sizes)} cut a system of {gpus} accelerators in more than "
                f"{MAX_PATTERNS} ways",
                "limit search.tensor_parallel or max_gpus_per_replica to sizes that divide "
                "one another",
            )
    return sorted(found)


def pack_pools(m: FleetModel) -> None:
    """Rows and patterns of every pool, in every scope in which its replicas are counted."""
    for p in m.order.pools:
        if p not in m.open or not m.frame.able[p]:
            continue
        for scope in m.scopes.replicas(p):
            _pack(m, p, scope)


@dataclass(frozen=True)
class _Room:
    """One pool in one scope: replicas by size, replicas taking whole systems, usable systems."""

    p: int
    scope: int
    gpus: int
    inside: dict[int, list[pulp.LpVariable]]
    whole: list[tuple[pulp.LpVariable, float]]
    usable: list[tuple[pulp.LpVariable, float]]


def _pack(m: FleetModel, p: int, scope: int) -> None:
    room = _room(m, p, scope)
    by_rows, by_patterns = split_sizes(list(room.inside))
    for size in by_rows:
        _size_row(m, room, size)
    if by_patterns:
        _pattern_rows(m, room, by_patterns)
    elif not by_rows:
        pairs = room.whole + [(v, -a) for v, a in room.usable]
        m.row(Whole(p, scope), pairs, pulp.LpConstraintLE, 0.0)


def _room(m: FleetModel, p: int, scope: int) -> _Room:
    gpus = m.problem.pools[p].gpus_per_system
    inside: dict[int, list[pulp.LpVariable]] = {g: [] for g in m.frame.sizes[p] if g < gpus}
    whole: list[tuple[pulp.LpVariable, float]] = []
    for c in m.eligible[p]:
        size, column = m.problem.candidates[c].gpus, m.columns[Replicas(scope, p, c)]
        if size >= gpus:
            whole.append((column, float(systems_per_replica(size, gpus))))
        else:
            inside[size].append(column)
    return _Room(p, scope, gpus, inside, whole, usable_systems(m, p, scope))


def usable_systems(m: FleetModel, p: int, scope: int) -> list[tuple[pulp.LpVariable, float]]:
    """X = sum of systems - reserve * used, throughout a scope."""
    pairs = [(v, 1.0) for v in m.systems(p, scope)]
    if m.problem.pools[p].reserve and m.eligible[p]:  # else it is never used
        held = -float(m.problem.pools[p].reserve)
        pairs += [(m.columns[Used(s, p)], held) for s in m.scopes.systems_over(p, scope)]
    return pairs


def _size_row(m: FleetModel, room: _Room, size: int) -> None:
    held = room.gpus // size * size
    pairs: list[Any] = [(v, g) for g, vs in room.inside.items() if g >= size for v in vs]
    pairs += [(v, held * systems) for v, systems in room.whole]
    pairs += [(v, -held * a) for v, a in room.usable]
    m.row(Pack(room.p, room.scope, size), pairs, pulp.LpConstraintLE, 0.0)


def _pattern_rows(m: FleetModel, room: _Room, sizes: list[int]) -> None:
    p, scope = room.p, room.scope
    patterns = maximal_patterns(room.gpus, sizes)
    whole = m.is_firm(scope)
    slots = [m.column(Slot(scope, p, q), integer=whole) for q in range(len(patterns))]
    for i, size in enumerate(sizes):
        places = [(v, -counts[i]) for v, counts in zip(slots, patterns, strict=True) if counts[i]]
        replicas = [(v, 1) for v in room.inside[size]]
        m.row(Place(p, scope, size), replicas + places, pulp.LpConstraintLE, 0.0)
    pairs = [(v, 1.0) for v in slots] + room.whole + [(v, -a) for v, a in room.usable]
    m.row(Slots(p, scope), pairs, pulp.LpConstraintLE, 0.0)
