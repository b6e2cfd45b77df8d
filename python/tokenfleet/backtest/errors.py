"""Errors of predictions: |predicted/measured - 1| in percent, by regime and over everything.

Bias is the median of ``predicted/measured - 1``. Where a file carries another predictor's answer
its errors stand beside ours, over the same rows.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenfleet.backtest.result import Result

METRICS = ("tpot", "ttft", "tokens_s_gpu", "watts")
_OTHERS = METRICS[:3]

Stats = dict[str, float | int | None]


def stats(results: Sequence[Result]) -> Stats:
    """Errors over some results, and of the other predictor where the rows carry its answer."""
    found: Stats = {"n": len(results)}
    for metric in METRICS:
        ours = _ratios(results, metric, lambda r: r.predicted)
        found.update(_errors(metric, ours))
    for metric in _OTHERS:
        others = _ratios(results, metric, lambda r: r.run.other)
        found.update(_errors(f"other_{metric}", others))
    return {**found, **_intervals(results)}


def _intervals(results: Sequence[Result]) -> Stats:
    """Share of measurements inside their 80 % interval, and the median half-width in percent."""
    found: Stats = {}
    every: list[bool] = []
    for metric in METRICS:
        own = [r for r in results if metric in r.half_width and metric in r.run.measured]
        inside = [_inside(r, metric) for r in own]
        widths = [100.0 * math.expm1(r.half_width[metric]) for r in own]
        found[f"{metric}_interval80_coverage_pct"] = _share(inside)
        found[f"{metric}_interval80_width_pct"] = statistics.median(widths) if own else None
        every += inside
    return {"interval80_coverage_pct": _share(every), **found}


def _inside(result: Result, metric: str) -> bool:
    off = math.log(result.run.measured[metric] / result.predicted[metric])
    return abs(off) <= result.half_width[metric]


def _share(inside: Sequence[bool]) -> float | None:
    return 100.0 * sum(inside) / len(inside) if inside else None


def _ratios(
    results: Sequence[Result], metric: str, of: Callable[[Result], Mapping[str, float]]
) -> list[float]:
    """Predicted over measured, where both exist."""
    return [
        of(r)[metric] / r.run.measured[metric]
        for r in results
        if metric in of(r) and metric in r.run.measured
    ]


def _errors(name: str, ratios: Sequence[float]) -> Stats:
    off = [100.0 * (r - 1.0) for r in ratios]
    wrong = [abs(o) for o in off]
    return {
        f"{name}_n": len(off),
        f"{name}_median_pct": statistics.median(wrong) if off else None,
        f"{name}_mape_pct": statistics.fmean(wrong) if off else None,
        f"{name}_bias_pct": statistics.median(off) if off else None,
    }


def by_regime(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Errors under every value of every regime, in the regimes' order."""
    kinds = list(dict.fromkeys(kind for r in results for kind in r.regimes))
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        for regime in result.regimes.items():
            groups.setdefault(regime, []).append(result)
    ordered = sorted(groups, key=lambda g: (kinds.index(g[0]), _band_order(g[1]), g[1]))
    return [{"by": by, "value": value, **stats(groups[by, value])} for by, value in ordered]


def _band_order(value: str) -> int:
    digits = value.split("-", maxsplit=1)[0].rstrip("+")
    return int(digits) if digits.isdigit() else 0


def by_flag(flagged: Sequence[Result]) -> list[dict[str, Any]]:
    """Errors of flagged rows by their flag."""
    names = sorted({r.run.flag for r in flagged})
    return [{"flag": n, **stats([r for r in flagged if r.run.flag == n])} for n in names]


def by_cell(results: Sequence[Result], metric: str) -> list[float]:
    """|predicted/measured - 1| in percent of the median of every cell.

    A cell is accelerator, what was served, and number format: submissions to one benchmark differ
    in their hosts and their tuning, and their median is what the accelerator does.
    """
    cells: dict[tuple[str, str, str], list[Result]] = {}
    for r in results:
        if metric in r.predicted and metric in r.run.measured:
            key = (r.layout.system, r.run.label or r.layout.model, r.layout.precision)
            cells.setdefault(key, []).append(r)
    off = []
    for own in cells.values():
        predicted = statistics.median(r.predicted[metric] for r in own)
        measured = statistics.median(r.run.measured[metric] for r in own)
        off.append(100.0 * abs(predicted / measured - 1.0))
    return off


def by_benchmark(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Errors by kind of run and who ran it; of runs at capacity also the mean over cells."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for r in results:
        groups.setdefault((r.run.kind, r.run.benchmark or "serving"), []).append(r)
    rows = []
    for (kind, benchmark), own in sorted(groups.items()):
        cells = by_cell(own, "tokens_s_gpu") if kind != "closed" else []
        mean = statistics.fmean(cells) if cells else None
        extra = {"cells": len(cells), "tokens_s_gpu_cells_mape_pct": mean}
        rows.append({"kind": kind, "benchmark": benchmark, **stats(own), **extra})
    return rows


def median_stats(tables: Sequence[Mapping[str, Any]]) -> Stats:
    """The median over tables of every figure."""
    found: Stats = {}
    for key in [k for k in tables[0] if k not in {"by", "value"}]:
        values = [t[key] for t in tables if t[key] is not None]
        found[key] = statistics.median(values) if values else None
    return found
