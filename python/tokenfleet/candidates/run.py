"""Evaluates a whole file: parts on an engine, put together as they end, resumable at any moment.

While the work goes on a folder `.<output>.parts` lies beside the output: a manifest that says what
is made of what, and the parts that are done. The output is written from them in order, so it has
the same bytes however often the work was cut off, and on whichever engine it ran.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from tokenfleet._core import __version__
from tokenfleet.candidates.part import Record, Task, better, digest, note, noted, work
from tokenfleet.candidates.rows import result_schema
from tokenfleet.candidates.select import condition
from tokenfleet.candidates.sink import Rejects, check_ending, numbered, open_sink
from tokenfleet.candidates.source import Source, label_type, open_source
from tokenfleet.engines import Engine, Outcome, in_order, open_engine
from tokenfleet.errors import SchemaError
from tokenfleet.schema import did_you_mean
from tokenfleet.whole_file import whole_file

Progress = Callable[[int, int], None]
SHOWN_BY = "cost_per_mtok_output_usd"


@dataclass(frozen=True)
class FileOptions:
    """What becomes of the answers.

    `select`: a condition that rows must meet. `top`: only so many rows, the best by column `by`.
    `inputs`: whether the columns of the file go before the answers; None: only where rows are
    selected. `catalogs`: files with rows over the shipped catalog's. `show`: how many of the best
    rows the report holds.
    """

    select: str | None = None
    top: int | None = None
    by: str = SHOWN_BY
    inputs: bool | None = None
    catalogs: tuple[Path, ...] = ()
    resume: bool = False
    force: bool = False
    show: int = 10


@dataclass(frozen=True)
class FileReport:
    """What was done. `best` has the first rows by the column `by`."""

    rows: int
    written: int
    rejected: int
    not_fitting: int
    above_capacity: int
    parts_done_before: int
    output: Path | None
    rejected_file: Path | None
    best: pa.Table
    notes: tuple[str, ...] = field(default=())


def evaluate_file(
    path: Path,
    output: Path,
    options: FileOptions | None = None,
    *,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> FileReport:
    """Answers for every row of a candidate file, in a file.

    `output` ends in .parquet, .csv or .arrow; rows that cannot be evaluated go to
    `<output>.rejected.csv` with the reason. `progress(rows, all_rows)` is called as parts end.

    Raises:
        SchemaError: bad input or options, an output that is there, or an unfinished run of other
            input; names file, row group and column.
        OSError: the disk is full; what is done stays for `resume`.
    """
    options = options or FileOptions()
    check_ending(output)
    source = open_source(path)
    schema = result_schema(source.columns, label_type(source), _with_inputs(options))
    _check(options, schema)
    folder = output.with_name(f".{output.name}.parts")
    rejected_file = output.with_name(f"{output.name}.rejected.csv")
    _refuse(output, rejected_file, options)
    run = _Run(source, schema, options, folder)
    run.prepare()
    report = run.go(output, rejected_file, engine or open_engine("threads"), progress)
    shutil.rmtree(folder)
    return report


def _with_inputs(options: FileOptions) -> bool:
    """Whether results repeat the input: asked for, or not in line with it because rows left."""
    if options.inputs is not None:
        return options.inputs
    return options.select is not None or options.top is not None


def _check(options: FileOptions, schema: pa.Schema) -> None:
    """Refuses a condition or a column that the result does not have."""
    if options.select is not None:
        condition(options.select, schema)
    numeric = [f.name for f in schema if pa.types.is_floating(f.type)]
    if options.by not in numeric:
        raise SchemaError(
            f"--by: unknown numeric column {options.by!r}", did_you_mean(options.by, numeric)
        )
    if options.top is not None and options.top < 1:
        raise SchemaError(f"--top: {options.top} is not a number of rows", "give 1 or more")


def _refuse(output: Path, rejected: Path, options: FileOptions) -> None:
    if output.is_dir() or not output.parent.is_dir():
        raise SchemaError(f"{output}: is not a file in an existing folder", "give a file name")
    for path in (output, rejected):
        if path.exists() and not options.force:
            raise SchemaError(f"{path}: is already there", "give another name, or --force")


@dataclass
class _Run:
    """One evaluation of a file."""

    source: Source
    schema: pa.Schema
    options: FileOptions
    folder: Path
    done: dict[int, Record] = field(default_factory=dict)

    def prepare(self) -> None:
        """Makes the folder of parts, or takes up what an earlier run left.

        Raises:
            SchemaError: parts are there and nobody said what to do, or they are of other input.
        """
        manifest = self.folder / "manifest.json"
        own = json.dumps(self._identity(), sort_keys=True, indent=1)
        there = manifest.read_text() if manifest.is_file() else None
        if there is not None and not self.options.resume and not self.options.force:
            raise SchemaError(
                f"{self.folder}: an unfinished run is there", "go on with --resume, or --force"
            )
        if self.options.resume and there == own:
            found = (noted(self.folder, i) for i in range(len(self.source.parts)))
            self.done = {r.number: r for r in found if r is not None}
            return
        if self.options.resume and there is not None and not self.options.force:
            raise SchemaError(
                f"{self.folder}: its parts are of another input, version or options",
                "start anew with --force",
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        unfinished = manifest.with_suffix(".part")
        unfinished.write_text(own)
        unfinished.replace(manifest)

    def _identity(self) -> dict[str, Any]:
        """Everything that the parts depend on."""
        options = self.options
        return {
            "version": __version__,
            "input": digest(Path(self.source.path)),
            "catalogs": [digest(p) for p in options.catalogs],
            "kind": self.source.kind,
            "columns": list(self.source.columns.items()),
            "parts": [[p.first, p.last] for p in self.source.parts],
            "select": options.select,
            "top": options.top,
            "inputs": _with_inputs(options),
            "by": options.by if options.top is not None else None,
        }

    def go(
        self, output: Path, rejected_file: Path, engine: Engine, progress: Progress | None
    ) -> FileReport:
        """Makes the missing parts and writes the files as they come."""
        totals = dict.fromkeys(("rows", "rejected", "not_fitting", "above_capacity"), 0)
        best = self.schema.empty_table()
        show = self.options.top if self.options.top is not None else self.options.show
        written, rejects = 0, Rejects(rejected_file)
        error: BaseException | None = None
        try:
            with ExitStack() as stack:
                file = stack.enter_context(whole_file(output))
                sink = stack.enter_context(open_sink(file, output.suffix.lower(), self.schema))
                for record in self._records(engine, progress):
                    table, bad = self._read(record)
                    first = totals["rows"]
                    rejects.write(bad, first)
                    table = numbered(table, first)
                    best = better(best, table, self.options.by, show)
                    if self.options.top is None:
                        sink.write(table)
                        written += table.num_rows
                    for name in totals:
                        totals[name] += getattr(record, name)
                if self.options.top is not None:
                    sink.write(best)
                    written = best.num_rows
        except BaseException as raised:
            error = raised
            raise
        finally:
            rejects.close(error)
        return FileReport(
            written=written,
            parts_done_before=len(self.done),
            output=output,
            rejected_file=rejected_file if totals["rejected"] else None,
            best=best.slice(0, self.options.show),
            notes=tuple(self._notes(best)),
            **totals,
        )

    def _notes(self, best: pa.Table) -> Iterator[str]:
        """What a reader of the costs should know."""
        columns = self.source.columns
        if "price_usd_per_gpu_h" not in columns:
            yield "no price_usd_per_gpu_h: there is no cost"
        elif "tariff_usd_per_kwh" not in columns:
            yield "no tariff_usd_per_kwh: prices are taken to include energy"
        elif "pue" not in columns:
            yield "no pue: energy is charged as metered at the IT equipment (PUE 1)"
        if "engine" not in columns:
            yield "no engine: rows are evaluated for vllm"
        if not best.num_rows:
            yield f"no row has a {self.options.by}"

    def _records(self, engine: Engine, progress: Progress | None) -> Iterator[Record]:
        """Records of all parts in order, those that are missing made on the engine."""
        missing = [i for i in range(len(self.source.parts)) if i not in self.done]
        tasks = [self._task(i) for i in missing]
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

    def _task(self, number: int) -> Task:
        options = self.options
        return Task(
            source=self.source,
            number=number,
            folder=str(self.folder.absolute()),
            schema=self.schema.serialize().to_pybytes(),
            catalogs=tuple(str(p.absolute()) for p in options.catalogs),
            select=options.select,
            keep=options.top,
            by=options.by,
        )

    def _read(self, record: Record) -> tuple[pa.Table, pa.Table]:
        base = self.folder / f"part-{record.number:06}"
        return _table(base.with_suffix(".rows")), _table(base.with_suffix(".rejected"))


def _table(path: Path) -> pa.Table:
    """A part's stream, in place on the disk."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.read_all()
