"""Answers a whole file: parts on an engine, put together as they end, resumable at any moment.

While the work goes on a folder `.<output>.parts` lies beside the output: a manifest that says what
is made of what, and the parts that are done. The output is written from them in order, so it has
the same bytes however often the work was cut off, and on whichever engine it ran. The folder goes
when the output is there, its manifest last: until then a run can be taken up again.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from tokenfleet._core import __version__, file_checksum
from tokenfleet.compute import ComputeEngine, Outcome, in_order, open_engine
from tokenfleet.errors import SchemaError
from tokenfleet.files.whole import whole_file, write_whole
from tokenfleet.schema import did_you_mean
from tokenfleet.tables import record as kept
from tokenfleet.tables.part import Task, moved, work
from tokenfleet.tables.question import Question
from tokenfleet.tables.rank import Ranking
from tokenfleet.tables.record import Record, note, noted, part_file
from tokenfleet.tables.select import condition
from tokenfleet.tables.sink import Rejects, check_ending, open_sink, spliced
from tokenfleet.tables.source import Source, open_source

Progress = Callable[[int, int], None]
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class TableOptions:
    """What becomes of the answers.

    `select`: a condition that rows must meet. `top`: only so many rows, the best by column `by`
    (None: the question's own). `inputs`: whether the columns of the file go before the answers;
    None: only where rows are selected. `resume`: go on with an unfinished run; `force`: write over
    what is there. `show`: how many of the best rows the report holds.
    """

    select: str | None = None
    top: int | None = None
    by: str | None = None
    inputs: bool | None = None
    resume: bool = False
    force: bool = False
    show: int = 10

    @property
    def with_inputs(self) -> bool:
        """Whether results repeat the input: asked for, or not in line with it because rows left."""
        if self.inputs is not None:
            return self.inputs
        return self.select is not None or self.top is not None


@dataclass(frozen=True)
class TableReport:
    """What was done. `counts` are the question's; `best` has the first rows by the column `by`."""

    rows: int
    written: int
    rejected: int
    counts: Mapping[str, int]
    parts_done_before: int
    output: Path
    rejected_file: Path | None
    by: str
    best: pa.Table
    notes: tuple[str, ...] = ()


def evaluate_table(
    question: Question,
    path: Path,
    output: Path,
    options: TableOptions | None = None,
    *,
    engine: ComputeEngine | None = None,
    progress: Progress | None = None,
) -> TableReport:
    """Answers to every row of a file, in a file.

    `output` ends in .parquet, .csv or .arrow; rows that cannot be answered go to
    `<output>.rejected.csv` with the reason. `progress(rows, all_rows)` is called as parts end.

    Raises:
        SchemaError: bad input or options, an output that is there, or an unfinished run of other
            input; names file, row group and column.
        OSError: the disk is full; what is done stays for `resume`.
    """
    options = options or TableOptions()
    check_ending(output)
    source = open_source(path, question.columns, question.texts)
    schema = question.schema(source, options.with_inputs)
    ranking = _ranking(question, options, schema)
    rejected_file = output.with_name(f"{output.name}.rejected.csv")
    folder = output.with_name(f".{output.name}.parts")
    run = _Run(question, source, schema, options, ranking, folder)
    if not run.taken_up():
        _refuse(path, output, rejected_file, options)
        run.prepare()
    report = run.go(output, rejected_file, engine or open_engine("threads"), progress)
    _remove(folder)
    return report


def _ranking(question: Question, options: TableOptions, schema: pa.Schema) -> Ranking:
    """How rows are ranked; refuses a condition or a column that the result does not have."""
    if options.select is not None:
        condition(options.select, schema)
    by = options.by or question.ranked_by
    numeric = [f.name for f in schema if pa.types.is_floating(f.type)]
    if by not in numeric:
        raise SchemaError(f"--by: unknown numeric column {by!r}", did_you_mean(by, numeric))
    if options.top is not None and options.top < 1:
        raise SchemaError(f"--top: {options.top} is not a number of rows", "give 1 or more")
    keep = options.show if options.top is None else options.top
    return Ranking(by, keep, by in question.larger_is_better)


def _refuse(read: Path, output: Path, rejected: Path, options: TableOptions) -> None:
    if output.is_dir() or not output.parent.is_dir():
        raise SchemaError(f"{output}: is not a file in an existing folder", "give a file name")
    for path in (output, rejected):
        if path.exists() and path.samefile(read):
            raise SchemaError(f"{path}: is what is read, and would be lost", "give another name")
        if path.exists() and not options.force:
            unfinished = ", and no unfinished run of it" if options.resume else ""
            raise SchemaError(
                f"{path}: is already there{unfinished}", "give another name, or --force"
            )


def _remove(folder: Path) -> None:
    """Removes parts, and their manifest last: what is cut off here can be taken up."""
    for path in folder.iterdir():
        if path.name != _MANIFEST:
            path.unlink()
    shutil.rmtree(folder)


@dataclass
class _Run:
    """One evaluation of a file."""

    question: Question
    source: Source
    schema: pa.Schema
    options: TableOptions
    ranking: Ranking
    folder: Path
    done: dict[int, Record] = field(default_factory=dict)

    def taken_up(self) -> bool:
        """Takes up what an earlier run left, where that is wanted.

        Raises:
            SchemaError: parts are there and nobody said what to do, or they are of other input.
        """
        manifest = self.folder / _MANIFEST
        there = manifest.read_text() if manifest.is_file() else None
        if there is None or self.options.force:
            return False
        if not self.options.resume:
            raise SchemaError(
                f"{self.folder}: an unfinished run is there", "go on with --resume, or --force"
            )
        if there != self._manifest():
            raise SchemaError(
                f"{self.folder}: its parts are of another input, version or options",
                "start anew with --force",
            )
        found = (noted(self.folder, i) for i in range(len(self.source.parts)))
        self.done = {r.number: r for r in found if r is not None}
        return True

    def prepare(self) -> None:
        """Makes the folder of parts anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        write_whole(self.folder / _MANIFEST, self._manifest())

    def _manifest(self) -> str:
        """Everything that the parts depend on."""
        options, source = self.options, self.source
        identity = {
            "version": __version__,
            "input": file_checksum(source.path),
            "kind": source.kind,
            "columns": list(source.columns.items()),
            "parts": [[p.first, p.last] for p in source.parts],
            "question": self.question.identity(),
            "select": options.select,
            "top": options.top,
            "inputs": options.with_inputs,
            "by": self.ranking.by,
            "show": options.show,
        }
        return json.dumps(identity, sort_keys=True, indent=1)

    def go(
        self, output: Path, rejected_file: Path, engine: ComputeEngine, progress: Progress | None
    ) -> TableReport:
        """Makes the missing parts and writes the files as they come."""
        counts: Counter[str] = Counter(dict.fromkeys(self.question.counted, 0))
        rows = rejected = written = 0
        best = self.schema.empty_table()
        with ExitStack() as stack:
            rejects = stack.enter_context(Rejects(rejected_file))
            file = stack.enter_context(whole_file(output))
            append = self._appending(stack, file, output.suffix.lower())
            for record in self._records(engine, progress):
                after = 0 if self._numbered else rows
                best = self.ranking.better(best, moved(self._read(record, kept.BEST), after))
                rejects.write(moved(self._read(record, kept.REJECTED), after))
                append(record, after)
                rows += record.rows
                rejected += record.rejected
                written += record.kept
                counts.update(record.counts)
            if self.options.top is not None:
                stack.enter_context(open_sink(file, output.suffix.lower(), self.schema)).write(best)
                written = best.num_rows
        return TableReport(
            rows=rows,
            written=written,
            rejected=rejected,
            counts=counts,
            parts_done_before=len(self.done),
            output=output,
            rejected_file=rejected_file if rejected else None,
            by=self.ranking.by,
            best=best.slice(0, self.options.show),
            notes=tuple(self._notes(best)),
        )

    @property
    def _numbered(self) -> bool:
        """Whether parts know the numbers of their rows in the file."""
        return self.source.rows is not None

    def _appending(
        self, stack: ExitStack, file: Any, ending: str
    ) -> Callable[[Record, int], object]:
        """What puts the rows of a part into the output: as they are, decoded, or not at all."""
        if self.options.top is not None:
            return lambda record, after: None
        if ending == ".parquet" and self._numbered:
            like = self.folder / "empty.parquet"
            splicer = stack.enter_context(spliced(file, like, self.schema))
            return lambda record, after: splicer.append(self._file(record, kept.ROWS))
        sink = stack.enter_context(open_sink(file, ending, self.schema))

        def decoded(record: Record, after: int) -> None:
            words = [f.name for f in self.schema if pa.types.is_dictionary(f.type)]
            path = self._file(record, kept.ROWS)
            with pyarrow.parquet.ParquetFile(path, read_dictionary=words) as part:
                for group in range(part.num_row_groups):
                    sink.write(moved(part.read_row_group(group), after))

        return decoded

    def _notes(self, best: pa.Table) -> Iterator[str]:
        yield from self.question.notes(self.source)
        if not best.num_rows:
            yield f"no row has a {self.ranking.by}"

    def _records(self, engine: ComputeEngine, progress: Progress | None) -> Iterator[Record]:
        """Records of all parts in order, those that are missing made on the engine."""
        tasks = list(self._tasks(engine.jobs))
        outcomes = engine.run(work, tasks)
        ended = sum(r.rows for r in self.done.values())
        all_rows = self.source.rows

        def noting() -> Iterator[Outcome[Record]]:
            nonlocal ended
            for outcome in outcomes:
                record = outcome.require()
                note(self.folder, record)
                ended += record.rows
                if progress is not None:
                    progress(ended, all_rows or 0)
                yield outcome

        made = in_order(noting())
        try:
            for i in range(len(self.source.parts)):
                yield self.done[i] if i in self.done else next(made).require()
        finally:
            made.close()
            outcomes.close()  # cancels what has not ended

    def _tasks(self, jobs: int) -> Iterator[Task]:
        """Parts that are missing."""
        missing = len(self.source.parts) - len(self.done)
        schema = self.schema.serialize().to_pybytes()
        first: int | None = 0
        for i, part in enumerate(self.source.parts):
            if i not in self.done:
                yield Task(
                    source=self.source,
                    number=i,
                    first=first if self._numbered else None,
                    folder=str(self.folder.absolute()),
                    question=self.question,
                    schema=schema,
                    select=self.options.select,
                    ranking=self.ranking,
                    only_best=self.options.top is not None,
                    threads=max(1, jobs // missing),
                )
            first = None if first is None or part.rows is None else first + part.rows

    def _file(self, record: Record, ending: str) -> Path:
        return part_file(self.folder, record.number, ending)

    def _read(self, record: Record, ending: str) -> pa.Table:
        """A part's stream."""
        with pa.ipc.open_stream(self._file(record, ending).read_bytes()) as stream:
            return stream.read_all()
