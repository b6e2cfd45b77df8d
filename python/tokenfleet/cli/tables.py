"""Commands on tables: one row in, answers out, on this machine or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, fail, note, say, say_json
from tokenfleet.cli.grid import brief, show_grid
from tokenfleet.cli.meter import metered
from tokenfleet.cli.where import Where, opened
from tokenfleet.errors import SchemaError, TokenfleetError

if TYPE_CHECKING:
    from tokenfleet.compute import ComputeEngine
    from tokenfleet.tables import TableReport

_CANDIDATES = {
    "row": "row",
    "id": "id",
    "system": "system",
    "model": "model",
    "precision": "weights",
    "tp": "TP",
    "output_tokens_per_s_per_gpu": "tok/s/GPU",
    "ttft_p99_ms": "TTFT p99 ms",
    "tpot_p99_ms": "TPOT p99 ms",
    "watts": "W",
    "cost_per_mtok_output_usd": "USD/Mtok out",
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
        from tokenfleet.tables.layouts import FileOptions, evaluate_file

    options = FileOptions(catalogs=tuple(catalogs), **given)

    def words(report: TableReport) -> str:
        counts = report.counts
        return (
            f"{report.rows:,} rows: {counts['not_fitting']:,} beyond the memory, "
            f"{counts['above_capacity']:,} above capacity, {report.rejected:,} rejected"
        )

    answer_table(
        path.name,
        lambda engine, progress: evaluate_file(
            path, output, options, engine=engine, progress=progress
        ),
        where,
        as_json,
        (words, _CANDIDATES),
    )


def answer_table(
    title: str,
    work: Callable[[ComputeEngine, Callable[[int, int], None] | None], TableReport],
    where: Where,
    as_json: bool,
    shown: tuple[Callable[[TableReport], str], Mapping[str, str]],
) -> None:
    """Runs work on rows under a meter and says what came out; Ctrl-C says how to go on. A file of
    which every row is rejected is bad input.

    `shown`: the first line for people, and titles of the columns that they see.
    """
    with metered(title, "rows") as progress:
        try:
            report = work(opened(where), progress)
        except KeyboardInterrupt:
            hint = "what is done is kept: --resume goes on from here"
            fail(as_json, TokenfleetError("stopped by the user", hint), "Interrupted")
            raise typer.Exit(INTERRUPTED) from None
    if as_json:
        say_json(_report_json(report))
    else:
        words, titles = shown
        say(words(report))
        _show_report(report, titles)
    if report.rows and report.rejected == report.rows:
        note(f"error: {title}: every row is rejected, there are no answers")
        note(f"hint: {report.rejected_file} has the reasons")
        raise typer.Exit(SchemaError.exit_code)


def _report_json(report: TableReport) -> dict[str, Any]:
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


def _show_report(report: TableReport, titles: Mapping[str, str]) -> None:
    """Notes, the best rows, and the files, for people. `titles` of the columns that are shown."""
    for text in report.notes:
        note(text)
    if report.best.num_rows:
        rows: list[dict[str, Any]] = report.best.to_pylist()
        shown = {**titles, report.by: titles.get(report.by, report.by)}
        shown = {name: title for name, title in shown.items() if name in rows[0]}
        say(f"the best by {shown[report.by]}:" if report.by in shown else "the best:")

        def words(name: str) -> bool:
            return any(isinstance(row[name], str | bool) for row in rows)

        show_grid(
            [(title, not words(name)) for name, title in shown.items()],
            ([brief(row[name]) for name in shown] for row in rows),
        )
    say(f"wrote {report.written:,} rows to {report.output}")
    if report.rejected_file is not None:
        say(f"rejected rows with their reasons: {report.rejected_file}")
