"""Load blocks: the hours of a day, cut where any workload's rate changes.

Every workload has a relative rate for each hour with mean one. Hours are ordered from the busiest
to the quietest (by the sum of the day curves), peaks of `peak_to_mean` workloads start at the
busiest hour, so that they coincide with it: the safe assumption where nothing is known of their
timing. Neighbouring stretches with equal rates for every workload are one block: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.schema import LoadShape

HOURS_PER_DAY = 24
HOURS_PER_YEAR = 8760.0
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LoadBlocks:
    """Blocks of a year and what multiplies each workload's mean rate in them."""

    hours: FloatArray  # (B,) per year, adding to 8760
    multiplier: FloatArray  # (B, W), mean 1 over the year


def load_blocks(shapes: Sequence[LoadShape], curves: Sequence[FloatArray | None]) -> LoadBlocks:
    """Blocks for workloads of these shapes; `curves` are 24 rates with mean 1, or None."""
    order = _busiest_first([c for c in curves if c is not None])
    cuts = _cuts(shapes, hourly=any(c is not None for c in curves))
    lengths = np.diff(cuts)
    rates = np.array(
        [
            [
                _rate_at(shape, curve, order, start)
                for shape, curve in zip(shapes, curves, strict=True)
            ]
            for start in cuts[:-1]
        ]
    )
    hours, multiplier = _merge_equal(lengths, rates)
    return LoadBlocks(hours * (HOURS_PER_YEAR / HOURS_PER_DAY), multiplier)


def day_weights(shape: LoadShape, curve: FloatArray | None) -> FloatArray:
    """Rates over a day, mean 1, in parts of equal length: hours of a curve, else five minutes with
    the peak in the middle."""
    if curve is not None:
        return np.asarray(curve, dtype=float)
    parts = 12 * HOURS_PER_DAY
    order = np.argsort(np.abs(np.arange(parts) - (parts - 1) / 2), kind="stable")
    cuts = np.array([0.0, shape.peak_hours_per_day, HOURS_PER_DAY])
    none = np.zeros(0, dtype=np.int64)
    rates = [_rate_at(shape, None, none, start) for start in cuts[:-1]]
    integral = np.array([0.0, *np.cumsum(np.diff(cuts) * rates)])
    edges = np.arange(parts + 1) * (HOURS_PER_DAY / parts)
    weights = np.empty(parts)
    weights[order] = np.diff(np.interp(edges, cuts, integral)) * (parts / HOURS_PER_DAY)
    return weights


def _busiest_first(curves: Sequence[FloatArray]) -> NDArray[np.int64]:
    total = np.sum(curves, axis=0) if curves else np.zeros(HOURS_PER_DAY)
    return np.argsort(-total, kind="stable")


def _cuts(shapes: Sequence[LoadShape], hourly: bool) -> FloatArray:
    cuts = set(range(HOURS_PER_DAY + 1)) if hourly else {0, HOURS_PER_DAY}
    peaks = {s.peak_hours_per_day for s in shapes if s.peak_to_mean > 1}
    return np.array(sorted(cuts | peaks), dtype=float)


def _rate_at(
    shape: LoadShape, curve: FloatArray | None, order: NDArray[np.int64], start: float
) -> float:
    if curve is not None:
        return float(curve[order[int(start)]])
    if shape.peak_to_mean == 1 or start < shape.peak_hours_per_day:
        return shape.peak_to_mean
    quiet = HOURS_PER_DAY - shape.peak_hours_per_day
    return max(HOURS_PER_DAY - shape.peak_to_mean * shape.peak_hours_per_day, 0.0) / quiet


def _merge_equal(lengths: FloatArray, rates: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Joins stretches with equal rates, in the order of their first appearance."""
    hours: dict[tuple[float, ...], float] = {}
    for length, row in zip(lengths, rates, strict=True):
        key = tuple(float(r) for r in row)
        hours[key] = hours.get(key, 0.0) + float(length)
    return np.array(list(hours.values())), np.array(list(hours))
