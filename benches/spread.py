"""A measured figure: the median of some runs, with the least and the most of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypedDict


class Spread(TypedDict):
    """Median of the runs and what they lie between."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Of the runs' values."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def seconds(work: Callable[[], object], runs: int) -> list[float]:
    """Wall time of each of some runs, after one that is not counted, s."""
    work()
    found = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return found
