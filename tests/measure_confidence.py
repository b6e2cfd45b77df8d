"""Measures what `docs/confidence.md` says of the factors on times; prints its tables.

    python tests/measure_confidence.py [--folds] [POINTS...]     # no points: those that are shipped

Points are files that `tokenfleet backtest` reads. With `--folds` a cell is predicted by constants
and biases fitted without it (minutes); else by the shipped constants, without biases.
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
    MeasuredRun,
    Study,
    calibrate,
    left_out_by_level,
)
from tokenfleet.calibration.folds import SPLIT_OF_LEVEL, predict_left_out
from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.problem.knowledge import PROMISED, deviations

CONFIDENCES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
# Accelerators whose kernels are taken away together: each with its generation.
GENERATIONS = {
    "h100_sxm": ("h100_sxm", "h200_sxm"),
    "h200_sxm": ("h100_sxm", "h200_sxm"),
    "b200_sxm": ("b200_sxm", "gb200", "b300_sxm", "gb300", "rtx_pro_6000_server"),
    "b300_sxm": ("b200_sxm", "gb200", "b300_sxm", "gb300", "rtx_pro_6000_server"),
}


def slower(point: MeasuredRun, metric: str) -> float:
    """Log of how much slower the run was than predicted."""
    ratio = point.measured[metric] / point.predicted[metric]
    return math.log(ratio if metric in {"tpot", "ttft"} else 1.0 / ratio)


def of_metric(points: Iterable[MeasuredRun], metric: str) -> list[MeasuredRun]:
    """Runs that have the figure; kernels of their own, as the half-widths are for."""
    return [p for p in points if metric in p.measured and not p.inherited]


def held(
    points: Sequence[MeasuredRun], half_width: dict[str, float], confidence: float
) -> dict[str, tuple[float, int]]:
    """Share of runs that were no slower than promised at a confidence, and how many, by metric."""
    reserve = deviations(confidence)
    found = {}
    for metric in PROMISED:
        own = of_metric(points, metric)
        if own:
            kept = [slower(p, metric) <= reserve * half_width[metric] for p in own]
            found[metric] = (float(np.mean(kept)), len(own))
    return found


def error(logs: Sequence[float]) -> str:
    """Median and mean absolute error in percent."""
    off = [100.0 * abs(math.expm1(-x)) for x in logs]
    return f"{statistics.median(off):5.1f} /{statistics.fmean(off):5.1f}"


def level_only(fitted: Calibration, point: MeasuredRun) -> float:
    """The log bias on TPOT that a plan takes: no slope, no layout; none for an unknown version."""
    corrector = Corrector(fitted)
    if corrector.level(point) != "known_cell":
        return 0.0
    centre = replace(point, concurrency=CENTRE["concurrency"], isl=CENTRE["input"], layout="")
    centre = replace(centre, predicted=dict.fromkeys(METRICS, 1.0))
    return math.log(corrector.correct(centre).predicted["tpot"])


def predecessors(fitted: Calibration, point: MeasuredRun) -> float:
    """The log bias on TPOT without the version's own part: what its cell's other versions say."""
    wide = {k: v for k, v in point.keys().items() if k not in {"version_cell", "layout"}}
    return sum(
        e.log_bias
        for e in fitted.effects
        if e.time == "tpot" and e.term == "level" and wide.get(e.kind) == e.key
    )


def left_out(
    points: Sequence[MeasuredRun], split: str, bias: Callable[[Calibration, MeasuredRun], float]
) -> tuple[list[float], list[float]]:
    """Log errors of TPOT on points left out: as predicted, and with a bias fitted to the rest."""
    spare = left_out_by_level(Study.of(points[:2]))  # intervals are not looked at: any will do
    plain, corrected = [], []
    for folds in SPLIT_OF_LEVEL[split](points):
        for fit, out in folds:
            fitted = calibrate(Study.of([points[i] for i in fit]), left=spare)
            for i in out:
                plain.append(slower(points[i], "tpot"))
                corrected.append(plain[-1] - bias(fitted, points[i]))
    return plain, corrected


def out_of_fold(report: Report) -> list[MeasuredRun]:
    """Every run with the prediction of a fit that knew nothing of its cell."""
    study = report.study()
    found: list[MeasuredRun] = []
    for folds in SPLIT_OF_LEVEL["new_cell"](study.points):
        predicted = predict_left_out(study, folds)
        found += [replace(study.points[i], predicted=p) for i, p in sorted(predicted.items())]
    return found


def without(catalog: Catalog, names: Iterable[str]) -> Catalog:
    """The catalog without kernels of some accelerators: theirs are inherited."""
    gone = set(names)
    kept = {k: v for k, v in catalog.kernels.accelerators.items() if k not in gone}
    return replace(catalog, kernels=replace(catalog.kernels, accelerators=kept))


def of_accelerator(
    catalog: Catalog, gone: Iterable[str], system: str, paths: list[str]
) -> list[MeasuredRun]:
    """Runs of an accelerator, predicted without some kernels."""
    points = backtest(paths or None, catalog=without(catalog, gone)).measured_runs()
    return [p for p in points if p.accelerator == system]


def half_width(points: Iterable[MeasuredRun], metric: str) -> float:
    """Half-width of the interval that holds 80 % of the log errors."""
    own = [abs(slower(p, metric)) for p in points if metric in p.measured]
    return float(np.quantile(own, 0.8)) if own else math.nan


def say_held(points: Sequence[MeasuredRun]) -> None:
    """Runs no slower than promised, with the shipped half-widths of a cell nobody measured."""
    shipped = Calibration.read(SHIPPED)
    widths = {str(s.metric): s.log_half_width for s in shipped.spreads if s.level == "new_cell"}
    print("runs no slower than promised, %")
    for confidence in CONFIDENCES:
        found = held(points, widths, confidence)
        cells = "  ".join(f"{m} {100 * s:5.1f} (n {n})" for m, (s, n) in found.items())
        print(f"  {confidence:4.2f}  {cells}")


def say_open(report: Report) -> None:
    """The same at 0.9 of open-loop runs below saturation: medians of TPOT and TTFT."""
    shipped = Calibration.read(SHIPPED)
    widths = {s.metric: s.log_half_width for s in shipped.spreads if s.level == "new_cell"}
    own = [r for r in report.unflagged if r.run.kind == "open"]
    for engine in sorted({r.layout.engine for r in own}):
        for metric in ("tpot", "ttft"):
            logs = [
                math.log(r.run.measured[metric] / r.predicted[metric])
                for r in own
                if r.layout.engine == engine and metric in r.run.measured
            ]
            share = np.mean([x <= widths[metric] for x in logs])
            print(f"  0.90  open loop, {engine}, {metric}: {share:.0%} of {len(logs)}")


def say_biases(points: Sequence[MeasuredRun]) -> None:
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
    """Half-widths with own kernels, with those of a relative, of another generation and vendor."""
    book = load_catalog()
    print("half-width of 80 % (log) by whose kernels: own | generation's | another generation's")
    for name, generation in GENERATIONS.items():
        system = next(s.id for s in book.systems.values() if s.kernel_key == name)
        groups = [of_accelerator(book, gone, system, paths) for gone in ((), (name,), generation)]
        for metric in PROMISED:
            counts = [sum(metric in p.measured for p in g) for g in groups]
            cells = [f"{half_width(g, metric):.3f}" for g in groups]
            print(f"  {system:12} {metric:9} {' | '.join(cells)}  n {counts}")
    points = backtest(paths or None).measured_runs()
    for metric in PROMISED:
        for what, inherited in (("own kernels", False), ("another vendor's", True)):
            group = [p for p in points if p.inherited is inherited and metric in p.measured]
            print(f"  {what:16} {metric:9} {half_width(group, metric):.3f}  n {len(group)}")


def main(arguments: list[str]) -> None:
    """Prints every table."""
    paths = [a for a in arguments if a != "--folds"]
    report = backtest(paths or None)
    say_held(out_of_fold(report) if "--folds" in arguments else report.measured_runs())
    say_open(report)
    closed = [p for p in report.measured_runs() if p.kind == "closed"]
    if closed:
        say_biases(closed)
    say_inheritance(paths)


if __name__ == "__main__":
    main(sys.argv[1:])
