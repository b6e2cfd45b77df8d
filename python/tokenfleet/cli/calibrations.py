"""`calibrate` and `backtest`: the model against measured runs, and what they teach it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note, say, say_json
from tokenfleet.cli.files import refuse_existing
from tokenfleet.cli.options import CatalogOption, ForceOption, JsonOption, book
from tokenfleet.cli.published import table
from tokenfleet.errors import SchemaError

if TYPE_CHECKING:
    from tokenfleet.backtest import Report
    from tokenfleet.calibration import Calibration

_BARE = "none"
_ERRORS = {
    "by": "by",
    "value": "value",
    "n": "points",
    "tokens_s_gpu_mape_pct": "tokens/s/GPU",
    "tokens_s_gpu_bias_pct": "bias",
    "tpot_mape_pct": "TPOT",
    "tpot_bias_pct": "bias",
    "ttft_mape_pct": "TTFT",
    "ttft_bias_pct": "bias",
    "interval80_coverage_pct": "in 80 %",
}
_BENCHMARKS = {
    "kind": "run",
    "benchmark": "of",
    "n": "points",
    "tpot": "TPOT",
    "ttft": "TTFT",
    "tokens_s_gpu": "tokens/s/GPU",
    "tokens_s_gpu_cells_mape_pct": "cells",
    "watts": "watts",
    "interval80_coverage_pct": "in 80 %",
}
_FOLDS = {
    "split": "split",
    "n": "points",
    "tpot": "TPOT",
    "ttft": "TTFT",
    "tokens_s_gpu": "tokens/s/GPU",
    "interval80_coverage_pct": "in 80 %",
    "widths": "half-widths",
}
_GOALS = {"of": "of", "figure": "figure", "n": "points", "found_pct": "found", "goal": "goal"}
_METRICS = ("tpot", "ttft", "tokens_s_gpu")
_SPLITS = {
    "bare_model": "model without calibration",
    "in_sample": "in-sample",
    "known_cell": "known cell: half of it left out",
    "new_version": "new engine version of a cell",
    "new_cell": "new cell: all of it left out",
    "new_kind": "new kind: engine on a family, or format on a generation, left out",
    "new_model_power": "power of a model left out",
}


def calibrate(
    points: Annotated[
        list[Path] | None, typer.Argument(help="CSV files of measured points; none: those shipped.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the calibration to this .json file."),
    ] = None,
    alone: Annotated[
        bool,
        typer.Option("--alone", help="Fit to these points alone: forget those that ship."),
    ] = False,
    catalog: CatalogOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add measured points to the shipped fit, or fit the model's constants and biases anew."""
    with answering(as_json):
        from tokenfleet.backtest import backtest as run
        from tokenfleet.calibration import SHIPPED, Calibration

        _refuse_name(output)
        refuse_existing(output, force, *(points or ()))
        report = run(points or None, catalog=book(catalog))
        shipped = Calibration.read(SHIPPED)
        if points and not alone:
            fitted = report.added_to(shipped)
            known = len(report.measured_runs()) - (fitted.points - shipped.points)
            note(
                f"{fitted.points - shipped.points} points are added to the {shipped.points:,} that "
                f"ship, {known} are among them already; constants and intervals are the shipped "
                "ones, and biases move of the cells that were measured alone"
            )
        else:
            fitted = report.calibrate()
            if points:
                note(
                    f"the {shipped.points:,} points that ship are forgotten: constants, biases and "
                    "intervals rest on these points alone, and everywhere else on their priors"
                )
        if output is not None:
            fitted.write(output)
            what = f"{len(fitted.constants)} constants and {len(fitted.effects)} biases"
            note(f"wrote {what} from {fitted.points} points to {output}")
        for row in report.skipped:
            note(f"skipped {row.file} row {row.row}: {row.reason}")
        if as_json:
            skipped = [vars(row) for row in report.skipped]
            say_json({**fitted.model_dump(mode="json"), "skipped": skipped})
            return
        _show(fitted)


def _refuse_name(output: Path | None) -> None:
    if output is not None and output.suffix != ".json":
        raise SchemaError(f"{output}: a calibration is JSON", "end the name in .json")


def _show(fitted: Calibration) -> None:
    dates = f", measured {fitted.measured_from} to {fitted.measured_to}"
    say(f"{fitted.points} points{dates if fitted.measured_from else ''}")
    own = [e for e in fitted.effects if e.kind == "version_cell" and e.term == "level"]
    rows = [
        {"time": e.time.upper(), "of": e.key, "points": e.n, "bias": _percent(e.log_bias)}
        for e in own
    ]
    table(rows, {"time": "time", "of": "bias of", "points": "points", "bias": "%"})
    say("half-width of the 80 % interval, % (points left out to measure it):")
    widths = [
        {
            "level": s.level.replace("_", " "),
            "metric": s.metric,
            "width": _percent(s.log_half_width),
            "n": s.n,
        }
        for s in fitted.spreads
    ]
    table(widths, {"level": "known", "metric": "metric", "width": "half-width", "n": "points"})


def _percent(log: float) -> str:
    from math import expm1

    return f"{100.0 * expm1(log):+.1f}"


def backtest(
    points: Annotated[
        list[Path] | None, typer.Argument(help="CSV files of measured points; none: those shipped.")
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="A calibration; `none`: the bare model, as in plans. Default: the shipped one.",
        ),
    ] = None,
    folds: Annotated[
        bool,
        typer.Option(
            "--folds", help="Fit to these points, and to parts of them to predict the rest."
        ),
    ] = False,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict measured points and report the errors."""
    with answering(as_json):
        from tokenfleet.backtest import backtest as run
        from tokenfleet.backtest.goals import goal_rows

        own = book(catalog)
        report = run(points or None, catalog=own, calibration=_calibration(calibration))
        extra: dict[str, Any] = {}
        if folds:
            by_split = run(points or None, catalog=own).folds()
            goals = goal_rows(by_split, report.results, report.refused())
            extra = {"folds": by_split, "goals": goals}
        if as_json:
            say_json({**report.to_json(), "calibration": calibration or "shipped", **extra})
        elif folds:
            _show_folds(extra["folds"])
            say("what the model has to show, %:")
            table(extra["goals"], _GOALS)
        else:
            _show_errors(report)
        if not report.results:
            note("error: no row was predicted")
            note("hint: give what `tokenfleet import FILES --as points -o POINTS` writes")
            raise typer.Exit(SchemaError.exit_code)


def _calibration(name: str | None) -> Calibration | None:
    from tokenfleet.calibration import SHIPPED, Calibration

    return None if name == _BARE else Calibration.read(name or SHIPPED)


def _show_errors(report: Report) -> None:
    if not report.results:
        say("no row was predicted")
        _show_refused(report)
        return
    say("prediction against measurement, %: median / mean; cells: the mean over medians of cells")
    _show_benchmarks(report.benchmarks())
    say("by regime, % (mean absolute error, bias)")
    table(report.rows(), _ERRORS)
    fitted = sum(1 for r in report.results if r.regimes.get("knowledge") == "fitted point")
    if fitted:
        say(f"{fitted} of these points were fitted to; --folds leaves points out")
    _show_refused(report)


def _show_refused(report: Report) -> None:
    if report.skipped:
        say(f"rows not predicted: {len(report.skipped)}")
    for reason, count in report.refused():
        say(f"  {count} x {reason}")


def _show_folds(by_split: Mapping[str, Mapping[str, Any]]) -> None:
    say("errors in %, median / mean; half-widths of the 80 % interval in % of TPOT, TTFT, tokens/s")
    timed = {k: v for k, v in by_split.items() if v["overall"]["tokens_s_gpu_n"]}
    rows = [_fold_row(name, split["overall"]) for name, split in timed.items()]
    first = by_split["bare_model"]["overall"]
    if first["other_tpot_n"]:
        rows.append({**_fold_row("", first, "other_"), "split": "the other predictor in the files"})
    table(rows, _FOLDS)
    for name, split in by_split.items():
        say(f"{_SPLITS.get(name, name)}, by kind of run:")
        _show_benchmarks(split["benchmarks"])


def _show_benchmarks(found: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    for row in found:
        metrics = (*_METRICS, "watts")
        pairs = {m: _join([row[f"{m}_{kind}_pct"] for kind in ("median", "mape")]) for m in metrics}
        rows.append({**row, **pairs})
    shown = {k: v for k, v in _BENCHMARKS.items() if any(r[k] is not None for r in rows)}
    table(rows, shown)


def _fold_row(name: str, stats: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    pairs = {
        m: _join([stats[f"{prefix}{m}_{kind}_pct"] for kind in ("median", "mape")])
        for m in _METRICS
    }
    widths = [stats[f"{m}_interval80_width_pct"] for m in _METRICS]
    covered = None if prefix else stats["interval80_coverage_pct"]
    wide = None if prefix else _join(widths)
    return {
        "split": _SPLITS.get(name, name),
        "n": stats[f"{prefix}tokens_s_gpu_n"],
        **pairs,
        "interval80_coverage_pct": covered,
        "widths": wide,
    }


def _join(values: Sequence[float | None]) -> str | None:
    if any(v is None for v in values):
        return None
    return " / ".join(f"{v:.1f}" for v in values)
