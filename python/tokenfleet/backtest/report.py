"""Errors of the model over some files, what a calibration changes, and errors on points left out.

Without a calibration the predictions are the model's own. With one, its constants are the model's,
its biases multiply closed loops and runs at capacity, and every such prediction carries an 80 %
interval. Open-loop latency has no bias: the slope of TTFT in a closed loop is a benchmark's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenfleet.backtest.errors import (
    Stats,
    by_benchmark,
    by_flag,
    by_regime,
    median_stats,
    stats,
)
from tokenfleet.backtest.power import left_out_watts
from tokenfleet.backtest.predict import Predictor
from tokenfleet.backtest.read import Read, read_files
from tokenfleet.backtest.regimes import regimes
from tokenfleet.backtest.result import Result
from tokenfleet.backtest.run import AT_CAPACITY, Skipped
from tokenfleet.calibration import (
    Calibration,
    Corrector,
    LeftOut,
    MeasuredRun,
    Study,
    add,
    calibrate,
    left_out_by_level,
)
from tokenfleet.calibration.constants import Predictions, Values
from tokenfleet.calibration.runs import METRICS_OF
from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.errors import SchemaError

SCHEMA_VERSION = 2
_COPY = re.compile(r"a copy of \S+")


@dataclass(frozen=True)
class Report:
    """Errors of the model over some files."""

    files: tuple[dict[str, Any], ...]
    results: tuple[Result, ...]
    skipped: tuple[Skipped, ...]
    catalog: Catalog

    @property
    def unflagged(self) -> tuple[Result, ...]:
        """Results that count."""
        return tuple(r for r in self.results if not r.run.flag)

    @property
    def overall(self) -> Stats:
        """Errors over all unflagged rows."""
        return stats(self.unflagged)

    def regimes(self) -> list[dict[str, Any]]:
        """Errors of unflagged rows by accelerator, engine, model, family and so on."""
        return by_regime(self.unflagged)

    def benchmarks(self) -> list[dict[str, Any]]:
        """Errors of unflagged rows by kind of run and who ran it."""
        return by_benchmark(self.unflagged)

    def measured_runs(self) -> list[MeasuredRun]:
        """What a calibration is fitted to: unflagged runs that say everything."""
        return [_point(r) for r in self._complete()]

    def study(self) -> Study:
        """The points, and how their predictions follow from constants."""
        own = self._complete()
        predictor = Predictor(self.catalog, [r.run for r in own])

        def predict(values: Values) -> Predictions:
            found = predictor.with_constants(values)
            return [_in_points(r, f) for r, f in zip(own, found, strict=True)]

        return Study.of([_point(r) for r in own], predict)

    def calibrate(self) -> Calibration:
        """The calibration of these points alone. The predictions must have no bias."""
        return self._calibrated(self.study(), None)

    def added_to(self, shipped: Calibration) -> Calibration:
        """A calibration with these points beside its own."""
        own = self._complete()
        return add(shipped, self.study(), sources=_names(own), dates=[r.run.date for r in own])

    def folds(self) -> dict[str, dict[str, Any]]:
        """Errors in-sample and on points left out. The predictions must have no bias.

        Raises:
            SchemaError: no points.
        """
        own = self._complete()
        if not own:
            raise SchemaError("no points to leave out", "give runs without a flag")
        study = self.study()
        left = left_out_by_level(study)
        calibration = self._calibrated(study, left)
        of_point = {p.where: r for p, r in zip((_point(r) for r in own), own, strict=True)}
        ordered = [of_point[p.where] for p in study.points]
        constants = {(c.name, c.engine): c.value for c in calibration.constants}
        corrector = Corrector(calibration)
        bare = [
            replace(r, predicted=_in_results(p.predicted))
            for r, p in zip(ordered, study.predicted(constants), strict=True)
        ]
        fitted = [_corrected(r, corrector) for r in bare]
        found = {"bare_model": _tables(bare), "in_sample": _tables(fitted)}
        folds = {level: _out_of_fold(ordered, left[level]) for level in left}
        watts = left_out_watts(self.catalog, [r for r in self.unflagged if r.run.kind == "power"])
        power = {"new_model_power": _tables(watts)} if watts else {}
        return {**found, **folds, **power}

    def _calibrated(self, study: Study, left: Mapping[str, LeftOut] | None) -> Calibration:
        own = self._complete()
        return calibrate(study, sources=_names(own), dates=[r.run.date for r in own], left=left)

    def _complete(self) -> list[Result]:
        return [r for r in self.unflagged if _is_complete(r)]

    def refused(self) -> list[tuple[str, int]]:
        """Reasons why rows were not predicted, with how many; those of most rows first.

        Rows that repeat others count together, whichever they repeat.
        """
        reasons = (_COPY.sub("a copy of another row", row.reason) for row in self.skipped)
        return Counter(reasons).most_common()

    def rows(self) -> list[dict[str, Any]]:
        """What a table shows: all, flagged rows apart, then each regime."""
        flagged = [r for r in self.results if r.run.flag]
        apart = [{"by": "flagged", "value": "all", **stats(flagged)}] if flagged else []
        return [{"by": "all", "value": "unflagged", **self.overall}, *apart, *self.regimes()]

    def to_json(self) -> dict[str, Any]:
        """Plain data; a number that does not exist is null."""
        flagged = [r for r in self.results if r.run.flag]
        return {
            "schema_version": SCHEMA_VERSION,
            "files": list(self.files),
            "overall": self.overall,
            "benchmarks": self.benchmarks(),
            "regimes": self.regimes(),
            "flagged": {**stats(flagged), "by_flag": by_flag(flagged)},
            "skipped": [vars(s) for s in self.skipped],
        }


def backtest(
    paths: Sequence[str | Path] | None = None,
    *,
    catalog: Catalog | None = None,
    calibration: Calibration | None = None,
) -> Report:
    """Predicts every run of the files and compares. Without paths: the shipped points.

    Models that the catalog does not know are read from `model_configs/` beside a file: Hugging Face
    `config.json` files, named owner--model_config.json.

    Raises:
        SchemaError: a file that cannot be read, or a cell that is not a number; names file, row
            and column.
    """
    book = catalog or load_catalog()
    if calibration is not None:
        book = replace(book, kernels=book.kernels.with_constants(calibration.fitted_constants()))
    book, files = read_files(book, paths)
    runs = [run for f in files for run in f.runs]
    results: list[Result] = []
    skipped = [s for f in files for s in f.skipped]
    if runs:
        predictor = Predictor(book, runs)
        predictions = predictor.predict()
        for i, (run, layout) in enumerate(zip(runs, predictor.layouts, strict=True)):
            if layout is None or not predictions[i]:
                skipped.append(Skipped(run.file, run.row, run.id, predictor.reasons[i]))
                continue
            inherited = bool(predictor.inherited(run, layout))
            labels = regimes(book, run, layout, inherited)
            no_kernels = book.system(layout.system).kernel_key is None
            results.append(Result(run, layout, predictions[i], labels, no_kernels))
    if calibration is not None:
        corrector = Corrector(calibration)
        results = [_corrected(r, corrector) if _biased(r) else r for r in results]
    return Report(tuple(_file_row(f, results) for f in files), tuple(results), tuple(skipped), book)


def _file_row(file: Read, results: Sequence[Result]) -> dict[str, Any]:
    own = [r for r in results if r.run.file == file.path]
    return {
        "path": file.path,
        "kind": file.kind,
        "rows": file.rows,
        "predicted": len(own),
        "flagged": sum(1 for r in own if r.run.flag),
    }


# Results and points


def _biased(result: Result) -> bool:
    return result.run.kind == "closed" or result.run.kind in AT_CAPACITY


def _names(results: Sequence[Result]) -> set[str]:
    """Where the runs were published, or the names of their files."""
    return {r.run.source or Path(r.run.file).name for r in results}


def _is_complete(result: Result) -> bool:
    metrics = ("tpot", "tokens_s_gpu") if result.run.kind == "closed" else ("tokens_s_gpu",)
    return _biased(result) and all(m in result.run.measured for m in metrics)


def _point(result: Result) -> MeasuredRun:
    run, layout = result.run, result.layout
    return MeasuredRun(
        where=f"{run.file}: row {run.row}",
        accelerator=layout.system,
        generation=result.regimes["generation"],
        engine=layout.engine,
        version=run.version,
        family=result.regimes["family"],
        architecture=run.architecture,
        precision=layout.precision,
        layout=f"TP {layout.tp} EP {layout.ep} attention DP {layout.attention_dp}",
        concurrency=run.load,
        isl=run.input.mean,
        osl=run.output.mean,
        measured=_in_points(result, run.measured),
        predicted=_in_points(result, result.predicted),
        kind="closed" if run.kind == "closed" else "capacity",
        inherited=result.no_kernels,
        benchmark=run.benchmark,
    )


def _in_points(result: Result, figures: Mapping[str, float]) -> Mapping[str, float]:
    """What a point calls the figures: tokens/s/GPU at capacity is the capacity."""
    if result.run.kind == "closed":
        return figures
    return {"capacity": figures["tokens_s_gpu"]} if "tokens_s_gpu" in figures else {}


def _in_results(figures: Mapping[str, float]) -> dict[str, float]:
    return {"tokens_s_gpu" if m == "capacity" else m: x for m, x in figures.items()}


def _corrected(result: Result, corrector: Corrector) -> Result:
    point = _point(result)
    if not set(METRICS_OF[point.kind]) <= set(point.predicted):
        return result
    after = corrector.correct(point)
    known = "fitted point" if corrector.fitted(point) else after.level
    return replace(
        result,
        predicted={**result.predicted, **_in_results(after.predicted)},
        half_width=_in_results({m: after.half_width[m] for m in METRICS_OF[point.kind]}),
        regimes={**result.regimes, "knowledge": known},
    )


# Points left out


def _tables(results: Sequence[Result]) -> dict[str, Any]:
    return {
        "overall": stats(results),
        "benchmarks": by_benchmark(results),
        "regimes": by_regime(results),
    }


def _out_of_fold(results: Sequence[Result], left: LeftOut) -> dict[str, Any]:
    """Errors on points left out: the median over rounds of every figure."""
    rounds = []
    cells = {p.cell for p in left.points}
    metrics = (*METRICS_OF["closed"], *METRICS_OF["capacity"])
    widths = {c: {m: left.half_width(m, without_cell=c)[0] for m in metrics} for c in cells}
    for found in left.rounds:
        rounds.append(
            [
                replace(
                    results[i],
                    predicted=_in_results(predicted),
                    half_width=_in_results({m: widths[left.points[i].cell][m] for m in predicted}),
                )
                for i, predicted in sorted(found.items())
            ]
        )
    tables = [_tables(r) for r in rounds if r]
    if not tables:
        return _tables([])
    return {
        "overall": median_stats([t["overall"] for t in tables]),
        "benchmarks": _merged([t["benchmarks"] for t in tables], ("kind", "benchmark")),
        "regimes": _merged([t["regimes"] for t in tables], ("by", "value")),
    }


def _merged(tables: Sequence[list[dict[str, Any]]], names: tuple[str, str]) -> list[dict[str, Any]]:
    """Rows of equal names become one with the median of every figure."""
    by_key: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for table in tables:
        for row in table:
            figures = {k: v for k, v in row.items() if k not in names}
            by_key.setdefault((row[names[0]], row[names[1]]), []).append(figures)
    return [
        {**dict(zip(names, key, strict=True)), **median_stats(rows)} for key, rows in by_key.items()
    ]
