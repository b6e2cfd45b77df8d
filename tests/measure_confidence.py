"""Measures what `docs/confidence.md` says of the factors on times; prints its tables.

    python tests/measure_confidence.py [POINTS...]        # none: the shipped points

Points are closed-loop runs, as `tokenfleet backtest` reads them.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from tokenfleet.backtest import Report, backtest
from tokenfleet.calibration import (
    CENTRE,
    METRICS,
    SHIPPED,
    Calibration,
    Corrector,
    Point,
    Study,
    calibrate,
    left_out_by_level,
)
from tokenfleet.calibration.folds import SPLIT_OF_LEVEL
from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.problem.knowledge import deviations

CONFIDENCES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
# Accelerators whose kernels are taken away together; the first group loses its generation too.
GENERATIONS = {
    "h100_sxm": ("h100_sxm", "h200_sxm"),
    "h200_sxm": ("h100_sxm", "h200_sxm"),
    "b200_sxm": ("b200_sxm", "gb200", "b300_sxm", "gb300", "rtx_pro_6000_server"),
    "b300_sxm": ("b200_sxm", "gb200", "b300_sxm", "gb300", "rtx_pro_6000_server"),
}


def slower(point: Point, metric: str) -> float:
    """Log of how much slower the run was than predicted."""
    ratio = point.measured[metric] / point.predicted[metric]
    return math.log(1.0 / ratio if metric == "tokens_s_gpu" else ratio)


def held(points: Sequence[Point], half_width: dict[str, float], confidence: float) -> list[float]:
    """Share of runs that were no slower than promised at a confidence, by metric."""
    reserve = deviations(confidence)
    return [
        float(np.mean([slower(p, m) <= reserve * half_width[m] for p in points])) for m in METRICS
    ]


def error(logs: Sequence[float]) -> str:
    """Median and mean absolute error in percent."""
    off = [100.0 * abs(math.expm1(-x)) for x in logs]
    return f"{statistics.median(off):5.1f} /{statistics.fmean(off):5.1f}"


def level_only(fitted: Calibration, point: Point) -> float:
    """The log bias on TPOT that a plan takes: no slope, no layout; none for an unknown version."""
    corrector = Corrector(fitted)
    if corrector.level(point) != "known_cell":
        return 0.0
    centre = replace(point, concurrency=CENTRE["concurrency"], isl=CENTRE["input"], layout="")
    centre = replace(centre, predicted=dict.fromkeys(METRICS, 1.0))
    return math.log(corrector.correct(centre).predicted["tpot"])


def predecessors(fitted: Calibration, point: Point) -> float:
    """The log bias on TPOT without the version's own part: what its cell's other versions say."""
    wide = {k: v for k, v in point.keys().items() if k not in {"version_cell", "layout"}}
    return sum(
        e.log_bias
        for e in fitted.effects
        if e.time == "tpot" and e.term == "level" and wide.get(e.kind) == e.key
    )


def left_out(
    points: Sequence[Point], split: str, bias: Callable[[Calibration, Point], float]
) -> tuple[list[float], list[float]]:
    """Log errors of TPOT on points left out: as predicted, and with a bias fitted to the rest."""
    spare = left_out_by_level(Study.of(points))  # intervals are not looked at: any will do
    plain, corrected = [], []
    for folds in SPLIT_OF_LEVEL[split](points):
        for fit, out in folds:
            fitted = calibrate(Study.of([points[i] for i in fit]), left=spare)
            for i in out:
                plain.append(slower(points[i], "tpot"))
                corrected.append(plain[-1] - bias(fitted, points[i]))
    return plain, corrected


def without(catalog: Catalog, names: Iterable[str]) -> Catalog:
    """The catalog without kernels of some accelerators: theirs are inherited."""
    gone = set(names)
    kept = {k: v for k, v in catalog.kernels.accelerators.items() if k not in gone}
    return replace(catalog, kernels=replace(catalog.kernels, accelerators=kept))


def half_width(points: Sequence[Point], metric: str) -> float:
    """Half-width of the interval that holds 80 % of the log errors."""
    return float(np.quantile([abs(slower(p, metric)) for p in points], 0.8))


def run(paths: list[str], catalog: Catalog | None = None) -> Report:
    """The bare model's predictions."""
    return backtest(paths or None, catalog=catalog)


def say_held(points: Sequence[Point]) -> None:
    """Runs no slower than promised, with the shipped half-widths of a cell nobody measured."""
    shipped = Calibration.read(SHIPPED)
    widths = {s.metric: s.log_half_width for s in shipped.spreads if s.level == "new_cell"}
    print(f"runs no slower than promised, % of {len(points)} (TPOT, TTFT, tokens/s/GPU)")
    for confidence in CONFIDENCES:
        shares = held(points, widths, confidence)
        print(f"  {confidence:4.2f}  " + "  ".join(f"{100 * s:5.1f}" for s in shares))


def say_open(report: Report) -> None:
    """The same of open-loop runs below saturation: medians of TPOT and TTFT."""
    shipped = Calibration.read(SHIPPED)
    widths = {s.metric: s.log_half_width for s in shipped.spreads if s.level == "new_cell"}
    engines = sorted({r.layout.engine for r in report.unflagged if r.run.kind == "open"})
    for engine in engines:
        own = [r for r in report.unflagged if (r.run.kind, r.layout.engine) == ("open", engine)]
        shares = [
            np.mean([math.log(r.run.measured[m] / r.predicted[m]) <= widths[m] for r in own])
            for m in ("tpot", "ttft")
        ]
        print(
            f"  0.90  {engine}, open loop, n {len(own)}: " + "  ".join(f"{s:.0%}" for s in shares)
        )


def say_biases(points: Sequence[Point]) -> None:
    """Errors of TPOT on points left out, without and with the level of a bias."""
    print("TPOT of points left out, median / mean error in % (half-width of 80 %, log)")
    for name, split, bias in (
        ("same version, half of the cell known", "known_cell", level_only),
        ("other version: its predecessors' bias", "new_version", predecessors),
    ):
        for label, logs in zip(("as modelled", name), left_out(points, split, bias), strict=True):
            width = float(np.quantile(np.abs(logs), 0.8))
            print(f"  {label:38} {error(logs)}  ({width:.3f}, n {len(logs)})")


def say_inheritance(paths: list[str]) -> None:
    """Half-widths with own kernels, with those of a relative, and of another generation."""
    book = load_catalog()
    print("half-width of 80 % (log) by whose kernels: own | generation's | another generation's")
    for name, generation in GENERATIONS.items():
        system = next(s.id for s in book.systems.values() if s.kernel_key == name)
        groups = [
            [
                p
                for p in run(paths, without(book, gone)).points()
                if (p.accelerator, p.kind) == (system, "closed")
            ]
            for gone in ((), (name,), generation)
        ]
        for metric in METRICS:
            cells = " | ".join(f"{half_width(g, metric):.3f} (n {len(g)})" for g in groups if g)
            print(f"  {system:12} {metric:12} {cells}")


def main(paths: list[str]) -> None:
    """Prints every table."""
    report = run(paths)
    points = [p for p in report.points() if p.kind == "closed"]
    say_open(report)
    if points:
        say_held(points)
        say_biases(points)
        say_inheritance(paths)


if __name__ == "__main__":
    main(sys.argv[1:])
