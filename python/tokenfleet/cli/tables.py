"""`evaluate` of a table of candidates: one row in, one answer out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, console, note, say, say_json
from tokenfleet.cli.meter import metered
from tokenfleet.errors import SchemaError
from tokenfleet.text import plain

if TYPE_CHECKING:
    from tokenfleet.candidates import FileReport
    from tokenfleet.engines import Engine

_SHOWN = {
    "row": "row",
    "system": "system",
    "model": "model",
    "precision": "weights",
    "tp": "TP",
    "output_tokens_per_s_per_gpu": "tok/s/GPU",
    "ttft_p99_ms": "TTFT p99",
    "tpot_p99_ms": "TPOT p99",
    "watts": "W",
    "cost_per_mtok_output_usd": "USD/Mtok",
}


def evaluate_table(
    path: Path,
    output: Path | None,
    given: Mapping[str, Any],
    catalogs: Sequence[Path],
    where: tuple[str, int | None, str | None],
    as_json: bool,
) -> None:
    """Evaluates a table into a file and says what came out.

    Raises:
        SchemaError: no output, bad input or options, or the packages for tables are missing.
    """
    if output is None:
        raise SchemaError(f"{path}: is a table, and its answers need a file", "-o results.parquet")
    try:
        from tokenfleet.candidates import FileOptions, evaluate_file
    except ImportError as error:
        raise SchemaError(
            f"{path}: tables need the packages polars and pyarrow ({error.name})",
            "pip install 'tokenfleet[tables]'",
        ) from None
    options = FileOptions(catalogs=tuple(catalogs), **given)
    with metered(path.name, "rows") as progress:
        try:
            report = evaluate_file(path, output, options, engine=_engine(*where), progress=progress)
        except KeyboardInterrupt:
            _interrupted(as_json)
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        say_json(_as_json(report, options.by))
    else:
        _show(report, options.by)


def _interrupted(as_json: bool) -> None:
    message = "stopped by the user"
    hint = "what is done is kept: --resume goes on from here"
    if as_json:
        row = {"type": "Interrupted", "message": message, "hint": hint, "conflicts": []}
        say_json({"error": row})
    note(f"error: {message}")
    note(f"hint: {hint}")


def _engine(name: str, jobs: int | None, address: str | None) -> Engine:
    from tokenfleet.engines import open_engine

    return open_engine(name, jobs, **({"address": address} if name == "ray" else {}))


def _as_json(report: FileReport, by: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "rows": report.rows,
        "written": report.written,
        "rejected": report.rejected,
        "not_fitting": report.not_fitting,
        "above_capacity": report.above_capacity,
        "parts_done_before": report.parts_done_before,
        "output": str(report.output),
        "rejected_file": str(report.rejected_file) if report.rejected_file else None,
        "by": by,
        "best": report.best.to_pylist(),
        "notes": list(report.notes),
    }


def _show(report: FileReport, by: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    say(
        f"{report.rows:,} rows: {report.not_fitting:,} do not fit memory, "
        f"{report.above_capacity:,} are above capacity, {report.rejected:,} rejected"
    )
    for text in report.notes:
        note(text)
    if report.best.num_rows:
        say(f"the best by {by}:")
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        shown = {n: t for n, t in {**_SHOWN, by: _SHOWN.get(by, by)}.items() if n in _names(report)}
        for name, title in shown.items():
            text_like = name in ("system", "model", "precision")
            table.add_column(title, justify="left" if text_like else "right")
        for row in report.best.to_pylist():
            table.add_row(*(Text(_brief(row[name])) for name in shown))
        console().print(table)
    say(f"wrote {report.written:,} rows to {report.output}")
    if report.rejected_file is not None:
        say(f"rejected rows with their reasons: {report.rejected_file}")


def _names(report: FileReport) -> Sequence[str]:
    names: Sequence[str] = report.best.schema.names
    return names


def _brief(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else plain(value)
