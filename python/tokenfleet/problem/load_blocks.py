"""Load blocks: the hours of a day, cut where any workload's rate or any site's tariff changes.

Every workload has a relative rate for each hour with mean one. Hours are ordered from the busiest
to the quietest (by the sum of the day curves), peaks of `peak_to_mean` workloads start at the
busiest hour, so that they coincide with it, and among equally busy hours with the dearest: the
safe assumption where nothing is known of their timing. Stretches with equal rates for every
workload and equal tariffs at every site are one block: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.problem_data import HOURS_PER_YEAR, FloatArray
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import LoadShape
from tokenfleet.schema.fields import HOURS_PER_DAY


@dataclass(frozen=True, eq=False)
class LoadBlocks:
    """Blocks of a year, what multiplies each workload's mean rate in them, and their tariffs."""

    hours: FloatArray  # (B,) per year, adding to 8760
    multiplier: FloatArray  # (B, W), mean 1 over the year
    tariff: FloatArray  # (B, T) USD/kWh of each tariff that has a price by the hour
    lost_site: NDArray[np.int64]  # (B,) site that is out; -1: none
    clock: tuple[frozenset[int] | None, ...]  # hours of the day in each; None: nobody says which


def load_blocks(
    shapes: Sequence[LoadShape],
    curves: Sequence[FloatArray | None],
    tariffs: Sequence[Sequence[float]] = (),
) -> LoadBlocks:
    """Blocks for workloads of these shapes; `curves` are 24 rates with mean 1, or None.

    `tariffs` are 24 prices in USD/kWh each.
    """
    known = [c for c in curves if c is not None]
    order = _busiest_first(known, tariffs)
    cuts = _cuts(shapes, hourly=bool(known) or bool(tariffs))
    lengths = np.diff(cuts)
    rows = np.array(
        [
            [
                *(
                    _rate_at(shape, curve, order, start)
                    for shape, curve in zip(shapes, curves, strict=True)
                ),
                *(tariff[order[int(start)]] for tariff in tariffs),
            ]
            for start in cuts[:-1]
        ]
    )
    hours, merged, first = _merge_equal(lengths, rows)
    rates, prices = np.split(merged, [len(shapes)], axis=1)
    none_lost = np.full(len(hours), -1)
    clock: list[frozenset[int] | None] = [None] * len(hours)
    if known or tariffs:
        at = order[cuts[:-1].astype(int)]
        clock = [frozenset(at[first == b].tolist()) for b in range(len(hours))]
    yearly = hours * (HOURS_PER_YEAR / HOURS_PER_DAY)
    return LoadBlocks(yearly, rates, prices, none_lost, tuple(clock))


def scenario_blocks(loaded: LoadedScenario) -> LoadBlocks:
    """Blocks of a scenario: workloads in order of their ids, hourly tariffs in order of sites.

    With `survive_site_loss` they stand there again, of no hours, for each site that may be out.
    """
    scenario = loaded.scenario
    workloads = sorted(scenario.workloads, key=lambda w: w.id)
    curves = [loaded.day_curves.get(w.id) for w in workloads]
    hourly = [site.hourly_tariff_usd_per_kwh for site in scenario.sites]
    blocks = load_blocks(
        [w.demand for w in workloads],
        [None if c is None else np.asarray(c, dtype=float) for c in curves],
        [prices for prices in hourly if prices is not None],
    )
    return _without_each(blocks, len(hourly) if scenario.reserve.survive_site_loss else 0)


def _without_each(blocks: LoadBlocks, sites: int) -> LoadBlocks:
    """The blocks, and again as contingencies for each of so many sites."""
    count = len(blocks.hours)
    return LoadBlocks(
        np.concatenate([blocks.hours, np.zeros(sites * count)]),
        np.tile(blocks.multiplier, (1 + sites, 1)),
        np.tile(blocks.tariff, (1 + sites, 1)),
        np.repeat(np.arange(-1, sites), count),
        (1 + sites) * blocks.clock,
    )


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


def _busiest_first(
    curves: Sequence[FloatArray], tariffs: Sequence[Sequence[float]]
) -> NDArray[np.int64]:
    """Hours of the day, the busiest first and among equals the dearest."""
    none = [np.zeros(HOURS_PER_DAY)]
    rate, price = (np.sum([*none, *given], axis=0) for given in (curves, tariffs))
    return np.lexsort((-price, -rate))


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


def _merge_equal(
    lengths: FloatArray, rates: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Joins stretches with equal rates, in the order of their first appearance; which of the
    joined ones each stretch is in."""
    hours: dict[tuple[float, ...], float] = {}
    keys = [tuple(float(r) for r in row) for row in rates]
    for length, key in zip(lengths, keys, strict=True):
        hours[key] = hours.get(key, 0.0) + float(length)
    places = {key: b for b, key in enumerate(hours)}
    found = np.array([places[key] for key in keys])
    return np.array(list(hours.values())), np.array(list(hours)), found
