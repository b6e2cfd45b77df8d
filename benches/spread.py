"""A measured figure: the median of some runs, with the least and the most of them."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

# What is measured is the work, not what an earlier run left in the user's cache.
os.environ["TOKENFLEET_CACHE"] = ""


Found = TypeVar("Found")


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


def cpu_timed(work: Callable[[], Found]) -> tuple[Found, float]:
    """What work returns, and its seconds of processor time, which other programs change little."""
    begun = time.process_time()
    found = work()
    return found, time.process_time() - begun


def peak_mb() -> float:
    """Most memory that this process had in use, MB.

    Linux keeps it apart for each program that a process runs; `getrusage` does not, and would give
    a child the memory of its parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024 / 1e6
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage / (1e6 if sys.platform == "darwin" else 1e3)
