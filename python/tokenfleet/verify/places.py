"""Places of replicas: how few systems hold them, and which system holds which."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from itertools import pairwise


def fewest_systems(gpus: int, sizes: Mapping[int, int], enough: int = 0) -> int:
    """Systems that hold the replicas: first fit decreasing, then an exact search if it is not
    within `enough` and the sizes do not divide one another."""
    placed = place_replicas(gpus, sizes)
    inside = sorted(g for g, n in sizes.items() if n and g < gpus)
    chain = all(b % a == 0 for a, b in pairwise(inside))
    if chain or len(placed) <= enough:
        return len(placed)
    whole = sum(n * math.ceil(g / gpus) for g, n in sizes.items() if g >= gpus)
    return whole + _exact(gpus, tuple((g, sizes[g]) for g in inside))


def place_replicas(gpus: int, sizes: Mapping[int, int]) -> list[list[int]]:
    """First fit decreasing: what stands in each system; a larger replica takes whole systems."""
    systems: list[list[int]] = []
    free: list[int] = []
    for size in sorted(sizes, reverse=True):
        first = 0
        for _ in range(sizes[size]):
            if size >= gpus:
                extra = math.ceil(size / gpus)
                systems += [[size]] + [[] for _ in range(extra - 1)]
                free += [0] * extra
                continue
            while first < len(free) and free[first] < size:
                first += 1
            if first == len(free):
                systems.append([])
                free.append(gpus)
            systems[first].append(size)
            free[first] -= size
    return systems


def _exact(gpus: int, sizes: tuple[tuple[int, int], ...]) -> int:
    """Fewest systems for a few replicas, by trying every way to fill the next system."""

    @cache
    def fewest(left: tuple[int, ...]) -> int:
        if not any(left):
            return 0
        return 1 + min(fewest(rest) for rest in fills(left, gpus, 0))

    def fills(left: tuple[int, ...], room: int, i: int) -> list[tuple[int, ...]]:
        if i == len(left):
            return [left]
        most = min(left[i], room // sizes[i][0])
        options: list[tuple[int, ...]] = []
        for n in range(most, -1, -1):
            rest = (*left[:i], left[i] - n, *left[i + 1 :])
            options += fills(rest, room - n * sizes[i][0], i + 1)
        return [rest for rest in options if rest != left] if i == 0 else options

    return fewest(tuple(n for _, n in sizes))
