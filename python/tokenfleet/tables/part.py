"""The unit of work: one part of a file, read, answered and left beside the output as three files.

Each file is written under another name and renamed when it is whole: the rows as Parquet, the best
of them and the rejected ones as Arrow streams. A part depends on nothing but the file, its place in
it, the question and the options, so it has the same bytes wherever it is made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tokenfleet.tables import record as kept
from tokenfleet.tables.question import REJECTED, ROW, Question
from tokenfleet.tables.rank import Ranking
from tokenfleet.tables.record import Record, checksums, part_file, unfinished
from tokenfleet.tables.select import condition, matching
from tokenfleet.tables.sink import GROUP_ROWS, parquet_writer
from tokenfleet.tables.source import Part, Source, read_slices


@dataclass(frozen=True)
class Task:
    """Part `number` of a source. `first` is the number of rows before it, None where nobody knows;
    `schema` the result's, serialised. With `only_best` no other rows are kept."""

    source: Source
    number: int
    first: int | None
    folder: str
    question: Question
    schema: bytes
    select: str | None
    ranking: Ranking
    only_best: bool
    threads: int

    @property
    def part(self) -> Part:
        """Where in the source it is."""
        return self.source.parts[self.number]


def work(task: Task) -> Record:
    """Makes a part. Rows are numbered from 1 in the file, or in the part where `first` is None.

    Raises:
        SchemaError: the file is damaged there.
        OSError: the disk is full.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    expression = condition(task.select, schema) if task.select else None
    answerer = task.question.answerer(task.threads)
    read = rejected = 0
    counts: Counter[str] = Counter()
    with ExitStack() as stack:

        def opened(ending: str, writer: Callable[[Any], Any]) -> Any:
            path = part_file(Path(task.folder), task.number, ending)
            return stack.enter_context(writer(stack.enter_context(unfinished(path))))

        rows = _Rows(opened(kept.ROWS, lambda file: parquet_writer(file, schema)))
        bests = opened(kept.BEST, lambda file: pa.ipc.new_stream(file, schema))
        bad = opened(kept.REJECTED, lambda file: pa.ipc.new_stream(file, REJECTED))
        best = schema.empty_table()
        for batch, lines in read_slices(task.source, task.part, task.question.rows_at_once):
            found = answerer.answer(batch, lines, schema)
            counts.update(found.counts)
            answers = found.rows if expression is None else matching(expression, found.rows)
            first = (task.first or 0) + read + 1
            answers = moved(answers, first)
            bad.write(moved(found.rejected, first))
            read += batch.num_rows + len(lines)
            rejected += found.rejected.num_rows
            best = task.ranking.better(best, answers)
            if not task.only_best:
                rows.add(answers)
        rows.flush()
        bests.write(best)
    folder = Path(task.folder)
    sums = checksums(folder, task.number)
    return Record(task.number, read, rows.count, rejected, dict(counts), sums)


class _Rows:
    """Row groups of a usual size from tables of any size."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self.count = 0

    def add(self, table: pa.Table) -> None:
        """Takes rows."""
        self.count += table.num_rows
        self._waiting.append(table)
        if sum(t.num_rows for t in self._waiting) >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what was taken."""
        table = pa.concat_tables(self._waiting) if self._waiting else None
        if table is not None and table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._waiting = []


def moved(table: pa.Table, by: int) -> pa.Table:
    """The same rows with larger numbers."""
    if not by or not table.num_rows:
        return table
    place = table.schema.get_field_index(ROW)
    numbers = table.column(place).to_numpy() + by
    return table.set_column(place, table.schema.field(place), pa.array(numbers))
