"""Evaluates a file of candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenfleet.compute import ComputeEngine
from tokenfleet.tables import TableOptions, TableReport, evaluate_table
from tokenfleet.tables.layouts.question import CandidateQuestion
from tokenfleet.tables.run import Progress


@dataclass(frozen=True)
class FileOptions(TableOptions):
    """As `TableOptions`. `catalogs`: files with rows over the shipped catalog's."""

    catalogs: tuple[Path, ...] = ()


def evaluate_file(
    path: Path,
    output: Path,
    options: FileOptions | None = None,
    *,
    engine: ComputeEngine | None = None,
    progress: Progress | None = None,
) -> TableReport:
    """Answers for every row of a candidate file, in a file; see `evaluate_table`.

    Counts of the report: `not_fitting`, `above_capacity`.

    Raises:
        SchemaError: bad input or options, an output that is there, or an unfinished run of other
            input; names file, row group and column.
        OSError: the disk is full; what is done stays for `resume`.
    """
    options = options or FileOptions()
    question = CandidateQuestion(tuple(str(p.absolute()) for p in options.catalogs))
    return evaluate_table(question, path, output, options, engine=engine, progress=progress)
