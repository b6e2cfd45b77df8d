"""How far the model is off: predicted against measured serving runs, by regime.

Two kinds of file are read as they are, told apart by their columns: closed-loop points (a fixed
number of requests in flight: mean TTFT, mean TPOT, output tokens/s/GPU) and open-loop points (an
arrival rate: median TTFT and TPOT). Errors are ``|predicted/measured - 1|`` in percent, bias is the
median of ``predicted/measured - 1``. Flagged rows are reported apart, rows that cannot be predicted
are listed with the reason, and where a file carries another predictor's answer its errors stand
beside ours, over the same rows.

With a calibration closed-loop predictions are multiplied by its biases and carry an 80 % interval.
Open-loop runs stay as the model has them: the slope of TTFT in a closed loop is a benchmark's own.
`folds` asks how well that does for points that the fit did not see.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tokenfleet import serving_names
from tokenfleet.calibrate import LeftOut, calibrate, left_out_by_level
from tokenfleet.calibration import METRICS, Calibration, Corrector, Point
from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.catalog.load import DATA
from tokenfleet.catalog.tables import read_csv
from tokenfleet.errors import SchemaError
from tokenfleet.layouts import Layout, Rater, Rates
from tokenfleet.serving_names import UnknownNameError

SCHEMA_VERSION = 1
SHIPPED = DATA / "serving_points.csv"
_CLOSED = ("backend", "model", "concurrency", "isl", "osl", "attn_tp", "ttft_ms", "tpot_ms")
_OPEN = ("engine", "model", "hardware", "lambda_rps", "isl_tokens_mean", "ttft_p50_ms")
_MEASURED = {
    "closed": {"tpot": "tpot_ms", "ttft": "ttft_ms", "tokens_s_gpu": "output_tok_s_gpu"},
    "open": {"tpot": "tpot_p50_ms", "ttft": "ttft_p50_ms"},
}
_OTHER = {"tpot": "aic_tpot_ms", "ttft": "aic_ttft_ms", "tokens_s_gpu": "aic_output_tok_s_gpu"}
_BANDS = (4, 16, 64, 256)
# Sequences that an engine holds by default (vLLM max_num_seqs); low-rate runs do not reach it.
_OPEN_BATCH = 256

Cells = Mapping[str, str]
Stats = dict[str, float | int | None]


@dataclass(frozen=True)
class Run:
    """One measured run, in the catalog's names."""

    file: str
    row: int
    id: str
    loop: str  # closed or open
    layout: Layout
    load: float  # requests in flight, or requests/s
    isl: float
    osl: float
    measured: Mapping[str, float]
    other: Mapping[str, float]
    flag: str
    version: str = ""  # of the engine
    architecture: str = ""  # catalog model with this one's shape
    date: str = ""
    source: str = ""


@dataclass(frozen=True)
class Result:
    """A run with its prediction; `regimes` is what it counts under.

    `half_width` of the 80 % interval is a logarithm: x/e^h to x e^h.
    """

    run: Run
    predicted: Mapping[str, float]
    regimes: Mapping[str, str]
    half_width: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A row or a whole file (row 0) that was not predicted, and why."""

    file: str
    row: int
    id: str
    reason: str


@dataclass(frozen=True)
class Report:
    """Errors of the model over some files."""

    files: tuple[dict[str, Any], ...]
    results: tuple[Result, ...]
    skipped: tuple[Skipped, ...]

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
        return _by_regime(self.unflagged)

    def points(self) -> list[Point]:
        """What a calibration is fitted to: unflagged closed-loop runs that say everything."""
        return [_point(r) for r in self._complete()]

    def calibrate(self) -> Calibration:
        """The calibration of these points. The predictions must be the bare model's."""
        own = self._complete()
        names = {r.run.source or Path(r.run.file).name for r in own}
        return calibrate(self.points(), sources=names, dates=[r.run.date for r in own])

    def folds(self) -> dict[str, dict[str, Any]]:
        """Errors in-sample and on points left out. The predictions must be the bare model's.

        Raises:
            SchemaError: no closed-loop points.
        """
        own, points = self._complete(), self.points()
        left = left_out_by_level(points)
        corrector = Corrector(calibrate(points, left=left))
        fitted = [_corrected(r, corrector) for r in own]
        found = {
            "bare_model": {"overall": stats(own), "regimes": _by_regime(own)},
            "in_sample": {"overall": stats(fitted), "regimes": _by_regime(fitted)},
        }
        return {**found, **{level: _out_of_fold(own, left[level]) for level in left}}

    def _complete(self) -> list[Result]:
        closed = [r for r in self.unflagged if r.run.loop == "closed"]
        return [r for r in closed if all(m in r.run.measured for m in METRICS)]

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
            "regimes": self.regimes(),
            "flagged": {**stats(flagged), "by_flag": _flags(flagged)},
            "skipped": [vars(s) for s in self.skipped],
        }


def backtest(
    paths: Sequence[str | Path] | None = None,
    *,
    catalog: Catalog | None = None,
    calibration: Calibration | None = None,
) -> Report:
    """Predicts every run of the files and compares. Without paths: the shipped points.

    Without a calibration the predictions are the bare model's, and have no interval.

    Raises:
        SchemaError: a file that cannot be read, or a cell that is not a number; names file, row
            and column.
    """
    book = catalog or load_catalog()
    runs: list[Run] = []
    skipped: list[Skipped] = []
    counts: list[tuple[Path, str, int]] = []
    for path in [SHIPPED] if paths is None else [Path(p) for p in paths]:
        header, rows = read_csv(path)
        kind = file_kind(header)
        counts.append((path, kind, len(rows)))
        if kind == "other":
            skipped.append(Skipped(str(path), 0, "", "no columns of closed- or open-loop runs"))
            continue
        for line, cells in rows:
            read = _run(book, str(path), kind, line, cells)
            if isinstance(read, Run):
                runs.append(read)
            else:
                skipped.append(read)
    results, unpredicted = _predict(book, runs)
    if calibration is not None:
        corrector = Corrector(calibration)
        results = [_corrected(r, corrector) if r.run.loop == "closed" else r for r in results]
    files = tuple(_file_row(p, k, n, results) for p, k, n in counts)
    return Report(files, tuple(results), (*skipped, *unpredicted))


def file_kind(header: Iterable[str]) -> str:
    """`closed`, `open` or `other`, by the columns of a file."""
    columns = set(header)
    if columns.issuperset(_CLOSED):
        return "closed"
    return "open" if columns.issuperset(_OPEN) else "other"


def _file_row(path: Path, kind: str, rows: int, results: Sequence[Result]) -> dict[str, Any]:
    own = [r for r in results if r.run.file == str(path)]
    flagged = sum(1 for r in own if r.run.flag)
    return {
        "path": str(path),
        "kind": kind,
        "rows": rows,
        "predicted": len(own),
        "flagged": flagged,
    }


# Rows to runs


def _run(catalog: Catalog, file: str, kind: str, line: int, cells: Cells) -> Run | Skipped:
    name = cells.get("id") or f"{cells.get('config', '')} {cells.get('lambda_rps', '')}/s".strip()
    where = f"{file}: row {line}"
    try:
        read = _closed if kind == "closed" else _open
        layout, load, isl, osl = read(catalog, cells, where)
    except UnknownNameError as reason:
        return Skipped(file, line, name, str(reason))
    columns = _MEASURED[kind]
    return Run(
        file=file,
        row=line,
        id=name,
        loop=kind,
        layout=layout,
        load=load,
        isl=isl,
        osl=osl,
        measured=_positive(cells, columns, where),
        other=_positive(cells, _OTHER, where) if kind == "closed" else {},
        flag=cells.get("flag", ""),
        version=cells.get("backend_version", ""),
        architecture=serving_names.shape(catalog, layout.model),
        date=cells.get("measured", ""),
        source=cells.get("source", ""),
    )


def _closed(catalog: Catalog, cells: Cells, where: str) -> tuple[Layout, float, float, float]:
    model = serving_names.model(catalog, cells["model"], cells.get("architecture"))
    precision = serving_names.precision(catalog, model, cells.get("precision", ""))
    engine = serving_names.engine(cells["backend"])
    tp, adp, gpus = (_count(cells, c, where) for c in ("attn_tp", "attn_dp", "gpus"))
    concurrency = _number(cells, "concurrency", where)
    if gpus != tp * adp:
        raise UnknownNameError("gpus is not attn_tp x attn_dp: the layout is not stated")
    routed = catalog.model(model).is_moe
    layout = Layout(
        system=serving_names.system(catalog, cells["system"]),
        model=model,
        engine=engine,
        precision=precision,
        kv=serving_names.kv_format(engine, precision),
        tp=tp,
        ep=_count(cells, "ep", where) if routed else 1,
        attention_dp=adp if routed else 1,
    )
    # Data parallelism of a model without experts is so many copies, which share the requests.
    load = concurrency if routed else concurrency / adp
    return layout, load, _number(cells, "isl", where), _number(cells, "osl", where)


def _open(catalog: Catalog, cells: Cells, where: str) -> tuple[Layout, float, float, float]:
    model = serving_names.model(catalog, cells["model"], None)
    precision = serving_names.precision(catalog, model, cells.get("precision", ""))
    if cells.get("saturated") == "1":
        raise UnknownNameError(
            "saturated: latency is the queue's, and grows with the length of the run"
        )
    if _number(cells, "gpus", where) != 1:
        raise UnknownNameError("several accelerators, and the layout is not stated")
    layout = Layout(
        system=serving_names.system(catalog, cells["hardware"]),
        model=model,
        engine=serving_names.engine(cells["engine"]),
        precision=precision,
        kv="bf16",
    )
    lengths = [_number(cells, c, where) for c in ("isl_tokens_mean", "osl_tokens_mean")]
    return layout, _number(cells, "lambda_rps", where), lengths[0], lengths[1]


def _number(cells: Cells, column: str, where: str) -> float:
    """A positive number.

    Raises:
        UnknownNameError: a blank cell.
        SchemaError: not a positive number.
    """
    text = cells.get(column, "")
    if not text:
        raise UnknownNameError(f"no {column}")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < float("inf"):
        raise SchemaError(
            f"{where}: {column}: {text[:40]!r} is not a positive number",
            "write a plain number, or leave it blank",
        )
    return value


def _count(cells: Cells, column: str, where: str) -> int:
    """A whole number of at least 1; 1 where the column is blank."""
    value = _number(cells, column, where) if cells.get(column) else 1.0
    if value != int(value):
        raise SchemaError(f"{where}: {column}: {value:g} is not whole", "write a whole number")
    return int(value)


def _positive(cells: Cells, columns: Mapping[str, str], where: str) -> dict[str, float]:
    return {m: _number(cells, c, where) for m, c in columns.items() if cells.get(c)}


# Predictions


def _predict(catalog: Catalog, runs: Sequence[Run]) -> tuple[list[Result], list[Skipped]]:
    results: list[Result] = []
    skipped: list[Skipped] = []
    if not runs:
        return results, skipped
    rater = Rater(catalog, {r.layout.system for r in runs}, {r.layout.model for r in runs})
    for run in runs:
        rates = _rates(catalog, rater, run)
        if isinstance(rates, str):
            skipped.append(Skipped(run.file, run.row, run.id, rates))
        else:
            predicted = {
                "tpot": rates.tpot_ms,
                "ttft": rates.ttft_ms,
                "tokens_s_gpu": rates.tokens_s_gpu,
            }
            results.append(Result(run, predicted, _regimes(catalog, rater, run)))
    return results, skipped


def _rates(catalog: Catalog, rater: Rater, run: Run) -> Rates | str:
    """The prediction, or why there is none."""
    if run.loop == "closed":
        closed = rater.closed_loop(run.layout, run.load, run.isl, run.osl)
        return closed or "no layout, or no kernel figure for its formats"
    opened = rater.open_loop(run.layout, _OPEN_BATCH, run.load, run.isl, run.osl)
    return opened or "the model says that this rate is above capacity"


def _regimes(catalog: Catalog, rater: Rater, run: Run) -> dict[str, str]:
    layout = run.layout
    architecture = catalog.model(layout.model)
    in_flight = _band(run.load) if run.loop == "closed" else "open loop"
    return {
        "loop": run.loop,
        "accelerator": layout.system,
        "engine": layout.engine,
        "model": layout.model,
        "family": serving_names.family(architecture),
        "precision": layout.precision,
        "generation": serving_names.generation(catalog.system(layout.system)),
        "concurrency": in_flight,
        "provenance": "inherited" if rater.inherited(layout) else "calibrated",
    }


def _band(concurrency: float) -> str:
    low = 1
    for high in _BANDS:
        if concurrency <= high:
            return f"{low}-{high}"
        low = high + 1
    return f"{low}+"


# Calibration


def _point(result: Result) -> Point:
    run, regimes = result.run, result.regimes
    layout = run.layout
    return Point(
        where=f"{run.file}: row {run.row}",
        accelerator=layout.system,
        generation=regimes["generation"],
        engine=layout.engine,
        version=run.version,
        family=regimes["family"],
        architecture=run.architecture,
        precision=layout.precision,
        layout=f"TP {layout.tp} EP {layout.ep} attention DP {layout.attention_dp}",
        concurrency=run.load,
        isl=run.isl,
        osl=run.osl,
        measured=run.measured,
        predicted=result.predicted,
    )


def _corrected(result: Result, corrector: Corrector) -> Result:
    point = _point(result)
    after = corrector.correct(point)
    known = "fitted point" if corrector.fitted(point) else after.level
    regimes = {**result.regimes, "knowledge": known}
    return replace(result, predicted=after.predicted, half_width=after.half_width, regimes=regimes)


def _out_of_fold(results: Sequence[Result], left: LeftOut) -> dict[str, Any]:
    """Errors on points left out: the median over rounds of every figure."""
    rounds = []
    cells = {p.cell for p in left.points}
    widths = {c: {m: left.half_width(m, without_cell=c)[0] for m in METRICS} for c in cells}
    for found in left.rounds:
        rounds.append(
            [
                replace(results[i], predicted=predicted, half_width=widths[left.points[i].cell])
                for i, predicted in sorted(found.items())
            ]
        )
    overall = _median_stats([stats(r) for r in rounds])
    tables = [{(row["by"], row["value"]): row for row in _by_regime(r)} for r in rounds]
    keys = dict.fromkeys(key for table in tables for key in table)
    regimes = [
        {
            "by": by,
            "value": value,
            **_median_stats([t[by, value] for t in tables if (by, value) in t]),
        }
        for by, value in keys
    ]
    return {"overall": overall, "regimes": regimes}


def _median_stats(tables: Sequence[Mapping[str, Any]]) -> Stats:
    found: Stats = {}
    for key in [k for k in tables[0] if k not in {"by", "value"}]:
        values = [t[key] for t in tables if t[key] is not None]
        found[key] = statistics.median(values) if values else None
    return found


# Errors


def stats(results: Sequence[Result]) -> Stats:
    """Errors over some results, and of the other predictor where the rows carry its answer."""
    found: Stats = {"n": len(results)}
    for metric in METRICS:
        ours = _ratios(results, metric, lambda r: r.predicted)
        found.update(_errors(metric, ours))
    for metric in METRICS:
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


def _by_regime(results: Sequence[Result]) -> list[dict[str, Any]]:
    kinds = list(results[0].regimes) if results else []
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        for kind in kinds:
            groups.setdefault((kind, result.regimes[kind]), []).append(result)
    ordered = sorted(groups, key=lambda g: (kinds.index(g[0]), _band_order(g[1]), g[1]))
    return [{"by": by, "value": value, **stats(groups[by, value])} for by, value in ordered]


def _band_order(value: str) -> int:
    digits = value.split("-", maxsplit=1)[0].rstrip("+")
    return int(digits) if digits.isdigit() else 0


def _flags(flagged: Sequence[Result]) -> list[dict[str, Any]]:
    names = sorted({r.run.flag for r in flagged})
    return [{"flag": n, **stats([r for r in flagged if r.run.flag == n])} for n in names]


def open_ttft_fixed_ms(report: Report, fixed_ms: Mapping[str, float]) -> dict[str, float]:
    """Fixed part of open-loop TTFT by engine, ms, from runs at low rate: `open_ttft_fixed_ms` of
    the kernel calibration.

    At a low rate nothing waits, so what is measured beyond the predicted prompt and steps is the
    fixed part. Takes the run of lowest rate of each layout in `report`, and the median over an
    engine's layouts. `fixed_ms` is what the predictions contain.
    """
    lowest: dict[Layout, Result] = {}
    for result in report.results:
        run = result.run
        known = lowest.get(run.layout)
        if run.loop == "open" and (known is None or run.load < known.run.load):
            lowest[run.layout] = result
    rest: dict[str, list[float]] = {}
    for layout, result in lowest.items():
        beyond = result.run.measured["ttft"] - result.predicted["ttft"]
        rest.setdefault(layout.engine, []).append(fixed_ms[layout.engine] + beyond)
    return {engine: statistics.median(values) for engine, values in sorted(rest.items())}
