"""Commands on tables: one row in, answers out, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, console, note, say, say_json
from tokenfleet.cli.meter import metered
from tokenfleet.errors import SchemaError
from tokenfleet.text import plain

if TYPE_CHECKING:
    from tokenfleet.engines import Engine
    from tokenfleet.tables import TableReport

Where = tuple[str, int | None, str | None]  # engine, jobs, address of a Ray cluster
_CANDIDATES = {
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


@contextmanager
def table_packages(path: Path) -> Iterator[None]:
    """Says what to install where a package for tables is missing.

    Raises:
        SchemaError: one is.
    """
    try:
        yield
    except ImportError as error:
        raise SchemaError(
            f"{path}: tables need the packages polars and pyarrow ({error.name})",
            "pip install 'tokenfleet[tables]'",
        ) from None


def evaluate_candidates(
    path: Path,
    output: Path | None,
    given: Mapping[str, Any],
    catalogs: Sequence[Path],
    where: Where,
    as_json: bool,
) -> None:
    """Evaluates a table of candidates into a file and says what came out.

    Raises:
        SchemaError: no output, bad input or options, or the packages for tables are missing.
    """
    if output is None:
        raise SchemaError(f"{path}: is a table, and its answers need a file", "-o results.parquet")
    with table_packages(path):
        from tokenfleet.candidates import FileOptions, evaluate_file

    options = FileOptions(catalogs=tuple(catalogs), **given)
    report = run_table(
        path.name,
        lambda engine, progress: evaluate_file(
            path, output, options, engine=engine, progress=progress
        ),
        where,
        as_json,
    )
    if as_json:
        say_json(report_json(report))
        return
    counts = report.counts
    say(
        f"{report.rows:,} rows: {counts['not_fitting']:,} do not fit memory, "
        f"{counts['above_capacity']:,} are above capacity, {report.rejected:,} rejected"
    )
    show_report(report, _CANDIDATES)


def run_table(
    title: str,
    work: Callable[[Engine, Callable[[int, int], None] | None], TableReport],
    where: Where,
    as_json: bool,
) -> TableReport:
    """Runs work on rows under a meter; Ctrl-C says how to go on."""
    from tokenfleet.engines import open_engine

    name, jobs, address = where
    engine = open_engine(name, jobs, **({"address": address} if name == "ray" else {}))
    with metered(title, "rows") as progress:
        try:
            return work(engine, progress)
        except KeyboardInterrupt:
            _interrupted(as_json)
            raise typer.Exit(INTERRUPTED) from None


def _interrupted(as_json: bool) -> None:
    message = "stopped by the user"
    hint = "what is done is kept: --resume goes on from here"
    if as_json:
        row = {"type": "Interrupted", "message": message, "hint": hint, "conflicts": []}
        say_json({"error": row})
    note(f"error: {message}")
    note(f"hint: {hint}")


def report_json(report: TableReport) -> dict[str, Any]:
    """What was done, for programs."""
    return {
        "schema_version": 1,
        "rows": report.rows,
        "written": report.written,
        "rejected": report.rejected,
        **report.counts,
        "parts_done_before": report.parts_done_before,
        "output": str(report.output),
        "rejected_file": str(report.rejected_file) if report.rejected_file else None,
        "by": report.by,
        "best": report.best.to_pylist(),
        "notes": list(report.notes),
    }


def show_report(report: TableReport, titles: Mapping[str, str]) -> None:
    """Notes, the best rows, and the files, for people. `titles` of the columns that are shown."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    for text in report.notes:
        note(text)
    if report.best.num_rows:
        say(f"the best by {report.by}:")
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        rows: list[dict[str, Any]] = report.best.to_pylist()
        shown = {**titles, report.by: titles.get(report.by, report.by)}
        shown = {name: title for name, title in shown.items() if name in rows[0]}
        for name, title in shown.items():
            words = any(isinstance(row[name], str) for row in rows)
            table.add_column(title, justify="left" if words else "right")
        for row in rows:
            table.add_row(*(Text(_brief(row[name])) for name in shown))
        console().print(table)
    say(f"wrote {report.written:,} rows to {report.output}")
    if report.rejected_file is not None:
        say(f"rejected rows with their reasons: {report.rejected_file}")


def _brief(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return plain(value)
