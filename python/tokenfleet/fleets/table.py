"""Files of fleets: counts by column in, answers by column out, slice by slice in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tokenfleet.candidates.part import better
from tokenfleet.candidates.select import condition, matching
from tokenfleet.candidates.sink import check_ending, open_sink
from tokenfleet.errors import SchemaError
from tokenfleet.fleets.evaluate import FleetAnswers, FleetEvaluator
from tokenfleet.schema import did_you_mean
from tokenfleet.whole_file import whole_file

SLICE_ROWS = 1 << 16
ROW, SCENARIO, LABEL = "row", "scenario", "id"


@dataclass(frozen=True)
class FleetOptions:
    """Which answers are written, and under which price and demand scenarios."""

    demand: tuple[float, ...] = (1.0,)
    energy_price: tuple[float, ...] = (1.0,)
    system_price: tuple[float, ...] = (1.0,)
    select: str | None = None
    top: int | None = None
    by: str = "annual_cost_usd"
    threads: int = 0
    force: bool = False


@dataclass(frozen=True)
class FleetReport:
    """What was done: rows read, answers written, fleets feasible, and the best answers."""

    rows: int
    answers: int
    feasible: int
    written: int
    best: pa.Table


def evaluate_fleet_file(
    evaluator: FleetEvaluator,
    path: Path,
    output: Path,
    options: FleetOptions | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> FleetReport:
    """Answers for every fleet of a .parquet, .arrow or .csv file, in a file.

    Columns are `offer@site` and, if wanted, `id`; offers without a column are not bought. The
    output gets its name when it is whole. Under several scenarios a fleet has one row for each.

    Raises:
        SchemaError: bad input or options, or an output that is there; names row and column.
        OSError: the disk is full.
    """
    options = options or FleetOptions()
    check_ending(output)
    if output.exists() and not options.force:
        raise SchemaError(f"{output}: is already there", "give another name, or --force")
    if options.top is not None and options.top < 1:
        raise SchemaError(f"--top: {options.top} is not a number of rows", "give 1 or more")
    with _opened(path) as (names, slices, total):
        label = _checked(names, evaluator.offers, path)
        schema = _answer(evaluator, _none(label), 0, options, label).schema
        answered = (
            (table.num_rows, _answer(evaluator, table, first, options, label))
            for first, table in _counted(slices)
        )
        return _written(
            answered, output, options, schema, lambda n: progress and progress(n, total)
        )


def _counted(slices: Iterator[pa.Table]) -> Iterator[tuple[int, pa.Table]]:
    """Slices with the number of rows before them."""
    first = 0
    for table in slices:
        yield first, table
        first += table.num_rows


def _written(
    answered: Iterator[tuple[int, pa.Table]],
    output: Path,
    options: FleetOptions,
    schema: pa.Schema,
    report: Callable[[int], object],
) -> FleetReport:
    """Selects, ranks and writes answers as they come: (fleets, their answers)."""
    expression = condition(options.select, schema) if options.select is not None else None
    numeric = [f.name for f in schema if pa.types.is_floating(f.type)]
    if options.by not in numeric:
        raise SchemaError(
            f"--by: unknown numeric column {options.by!r}", did_you_mean(options.by, numeric)
        )
    rows = answers = feasible = written = 0
    best = schema.empty_table()
    with whole_file(output) as file, open_sink(file, output.suffix.lower(), schema) as sink:
        for count, found in answered:
            rows += count
            answers += found.num_rows
            feasible += int(np.count_nonzero(found.column("feasible").to_numpy()))
            kept = found if expression is None else matching(expression, found)
            best = better(best, kept, options.by, options.top or 10)
            if options.top is None:
                sink.write(kept)
                written += kept.num_rows
            report(rows)
        if options.top is not None:
            sink.write(best)
            written = best.num_rows
    return FleetReport(rows, answers, feasible, written, best)


def _none(label: bool) -> pa.Table:
    return pa.table({LABEL: pa.array([], pa.string())} if label else {})


def _checked(names: Sequence[str], offers: Sequence[str], path: Path) -> bool:
    """Refuses unknown and repeated columns; whether fleets have names."""
    for name in names:
        if name not in offers and name != LABEL:
            raise SchemaError(f"{path}: unknown column {name!r}", did_you_mean(name, offers))
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise SchemaError(f"{path}: column {twice!r} is there twice", "keep one")
    if not set(names) & set(offers):
        raise SchemaError(
            f"{path}: has no column of counts", f"the columns are {', '.join(offers)[:300]}"
        )
    return LABEL in names


def _answer(
    evaluator: FleetEvaluator, table: pa.Table, first: int, options: FleetOptions, label: bool
) -> pa.Table:
    counts = np.zeros((table.num_rows, len(evaluator.offers)))
    for o, name in enumerate(evaluator.offers):
        if name in table.column_names:
            counts[:, o] = _column(table, name, first)
    found = evaluator.evaluate(
        evaluator.counts(counts, first),
        demand=options.demand,
        energy_price=options.energy_price,
        system_price=options.system_price,
        threads=options.threads,
    )
    return _as_table(found, table, first, label)


def _column(table: pa.Table, name: str, first: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    column = table.column(name)
    if column.null_count:
        row = first + int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
        raise SchemaError(f"row {row}, column {name!r}: is blank", "write 0 for none")
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        column = _cast(column, name, first)
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _cast(column: pa.ChunkedArray, name: str, first: int) -> pa.ChunkedArray:
    try:
        return column.cast(pa.float64())
    except (pa.ArrowException, ValueError):
        for i, value in enumerate(column.to_pylist()):
            try:
                float(value)
            except (TypeError, ValueError):
                raise SchemaError(
                    f"row {first + i + 1}, column {name!r}: {str(value)[:40]!r} is not a number",
                    "write a whole number of 0 or more",
                ) from None
        raise SchemaError(f"column {name!r}: is of type {column.type}", "write numbers") from None


def _as_table(found: FleetAnswers, table: pa.Table, first: int, label: bool) -> pa.Table:
    """Fleets in order, each with its scenarios in order."""
    scenarios, fleets = found["feasible"].shape
    columns: dict[str, pa.Array] = {
        ROW: pa.array(np.repeat(np.arange(first + 1, first + fleets + 1), scenarios))
    }
    if label:
        names = table.column(LABEL).cast(pa.string()).to_pylist()
        columns[LABEL] = pa.array([n for n in names for _ in range(scenarios)], pa.string())
    if scenarios > 1:
        columns[SCENARIO] = pa.array(np.tile(np.arange(1, scenarios + 1), fleets))
    for name, values in found.columns.items():
        flat = values.T.reshape(-1)
        kind = pa.string() if flat.dtype == object else None
        columns[name] = pa.array(flat, kind, from_pandas=flat.dtype.kind == "f")
    return pa.table(columns)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], Iterator[pa.Table], int]]:
    """Names, slices and rows (0: unknown) of a file; the readers' errors as ours."""
    if not path.is_file():
        raise SchemaError(f"{path}: no such file", "check the path")
    with path.open("rb") as file:
        head = file.read(8)
    try:
        if head.startswith(b"PAR1"):
            with pyarrow.parquet.ParquetFile(path, memory_map=True) as file:
                batches = file.iter_batches(SLICE_ROWS, use_threads=False)
                yield file.schema_arrow.names, map(_table, batches), file.metadata.num_rows
        elif head.startswith(b"ARROW1"):
            with pa.memory_map(str(path)) as memory, pa.ipc.open_file(memory) as file:
                yield file.schema.names, _arrow_slices(file), 0
        else:
            with pyarrow.csv.open_csv(path) as file:
                yield file.schema.names, map(_table, file), 0
    except (pa.ArrowException, EOFError, UnicodeDecodeError) as error:
        text = " ".join(str(error).split())[:300]
        raise SchemaError(
            f"{path}: {text or type(error).__name__}", "the file is damaged or no table"
        ) from None


def _table(batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([batch])


def _arrow_slices(file: pa.ipc.RecordBatchFileReader) -> Iterator[pa.Table]:
    for i in range(file.num_record_batches):
        batch = file.get_batch(i)
        batch.validate(full=True)
        for first in range(0, batch.num_rows, SLICE_ROWS):
            yield _table(batch.slice(first, SLICE_ROWS))
