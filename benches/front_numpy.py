"""What a search keeps, in NumPy: the unbeaten points and the cheapest, while points stream by.

As the core does it: a table of cells tells for most points at once that they are beaten, what is
left waits, and a sweep in order of cost drops the rest, in chunks, because a loop in Python over
single points would take longer than all else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
CELLS, BINS = 256, 2048
#: Points that wait for the next sweep, at least; points that a sweep compares at once.
PENDING, CHUNK = 32_768, 256


@dataclass(frozen=True)
class Points:
    """Cost, TTFT, TPOT and number of some points."""

    cost: Rows
    ttft: Rows
    tpot: Rows
    number: NDArray[np.int64]

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Points:
        return Points(self.cost[rows], self.ttft[rows], self.tpot[rows], self.number[rows])

    def __len__(self) -> int:
        return len(self.number)


def joined(parts: list[Points]) -> Points:
    """All of them."""
    columns = ([getattr(p, name) for p in parts] for name in ("cost", "ttft", "tpot", "number"))
    return Points(*(np.concatenate(column) for column in columns))  # type: ignore[arg-type]


NONE = Points(np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))


class Axis:
    """Cells that hold equally many of some positive numbers."""

    def __init__(self, numbers: Rows) -> None:
        bits = numbers.view(np.int64)
        self.low = int(bits.min())
        width = (int(bits.max()) - self.low).bit_length()
        self.shift = max(width - BINS.bit_length() + 1, 0)
        inside = np.bincount(self._bins(bits), minlength=BINS)
        before = np.cumsum(inside) - inside
        self.cells = 1 + before * (CELLS - 2) // len(numbers)

    def _bins(self, bits: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.minimum(np.maximum(bits - self.low, 0) >> self.shift, BINS - 1)

    def of(self, numbers: Rows) -> NDArray[np.int64]:
        """Cell of each; numbers in a lower cell are lower."""
        bits = numbers.view(np.int64)
        return np.where(bits >= self.low, self.cells[self._bins(bits)], 0)


@dataclass
class Front:
    """The points that no other beats in cost, TTFT and TPOT."""

    kept: Points = NONE
    pending: list[Points] = field(default_factory=list)
    waiting: int = 0
    axes: tuple[Axis, Axis] | None = None
    least: Rows = field(default_factory=lambda: np.empty(0))

    def add(self, points: Points) -> None:
        """Takes a block of points within limits."""
        if self.axes is not None:
            cells = self.axes[0].of(points.cost) * CELLS + self.axes[1].of(points.ttft)
            points = points[self.least[cells] > points.tpot]
        self.pending.append(points)
        self.waiting += len(points)
        if self.waiting >= max(PENDING, len(self.kept) // 2):
            self.sweep()

    def sweep(self) -> None:
        """Drops what is beaten, and makes what is kept seen."""
        points = joined([self.kept, *self.pending])
        points = points[np.lexsort((points.number, points.tpot, points.ttft, points.cost))]
        kept: list[Points] = [NONE]
        stairs = (np.empty(0), np.empty(0))
        for first in range(0, len(points), CHUNK):
            chunk = points[np.arange(first, min(first + CHUNK, len(points)))]
            chunk = chunk[~_below(stairs, chunk)]
            chunk = chunk[~_beaten(chunk)]
            stairs = _climbed(stairs, chunk)
            kept.append(chunk)
        self.kept, self.pending, self.waiting = joined(kept), [], 0
        if len(self.kept):
            self._see()

    def _see(self) -> None:
        kept = self.kept
        cost, ttft = self.axes = (Axis(kept.cost), Axis(kept.ttft))
        least = np.full((CELLS + 1, CELLS + 1), np.inf)
        np.minimum.at(least, (cost.of(kept.cost) + 1, ttft.of(kept.ttft) + 1), kept.tpot)
        least = np.minimum.accumulate(np.minimum.accumulate(least, axis=0), axis=1)
        self.least = np.ascontiguousarray(least[:CELLS, :CELLS]).ravel()


def _below(stairs: tuple[Rows, Rows], points: Points) -> NDArray[np.bool_]:
    """Points that a kept one before them beats."""
    ttft, tpot = stairs
    at = np.searchsorted(ttft, points.ttft, side="right")
    least = np.concatenate([[np.inf], tpot])[at]
    return np.asarray(least <= points.tpot)


def _beaten(points: Points) -> NDArray[np.bool_]:
    """Points that one before them in the chunk beats."""
    no_worse = (points.ttft[:, None] <= points.ttft) & (points.tpot[:, None] <= points.tpot)
    return np.triu(no_worse, 1).any(axis=0)


def _climbed(stairs: tuple[Rows, Rows], points: Points) -> tuple[Rows, Rows]:
    """The staircase with new points."""
    ttft = np.concatenate([stairs[0], points.ttft])
    tpot = np.concatenate([stairs[1], points.tpot])
    order = np.lexsort((tpot, ttft))
    ttft, tpot = ttft[order], tpot[order]
    before = np.concatenate([[np.inf], np.minimum.accumulate(tpot)[:-1]]) if len(tpot) else tpot
    lower = tpot < before
    return ttft[lower], tpot[lower]


@dataclass
class Cheapest:
    """So many points of least cost."""

    most: int
    kept: Points = NONE

    def add(self, points: Points) -> None:
        """Takes a block of points within limits."""
        if len(self.kept) == self.most:
            points = points[points.cost <= self.kept.cost[-1]]
        if len(points):
            both = joined([self.kept, points])
            self.kept = both[np.lexsort((both.number, both.cost))[: self.most]]
