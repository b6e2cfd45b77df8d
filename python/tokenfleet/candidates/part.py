"""The unit of work: one part of a file, read, evaluated and left beside the output as two files.

A part is written under another name and renamed when it is whole; the record that is returned says
what it holds, and is kept in `part-<n>.json`. A part depends on nothing but the file, its place in
it and the options, so it has the same bytes wherever it is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tokenfleet.candidates.columns import LARGER_IS_BETTER, ROW
from tokenfleet.candidates.layouts import Layouts
from tokenfleet.candidates.rows import REJECTED, evaluate_slice
from tokenfleet.candidates.select import condition, matching
from tokenfleet.candidates.source import Part, Source, read_slices
from tokenfleet.catalog import load_catalog, merge_files

_BLOCK = 1 << 22
_prepared = threading.local()  # layouts of this thread, by catalog files


@dataclass(frozen=True)
class Task:
    """Part `number` of a source. `schema` is the result's, serialised; `keep` rows at most, the
    best by column `by`, where it is not None."""

    source: Source
    number: int
    folder: str
    schema: bytes
    catalogs: tuple[str, ...]
    select: str | None
    keep: int | None
    by: str

    @property
    def part(self) -> Part:
        """Where in the source it is."""
        return self.source.parts[self.number]


@dataclass(frozen=True)
class Record:
    """What a part holds. `rows` were read, `kept` are in its file; digests are SHA-256."""

    number: int
    rows: int
    kept: int
    rejected: int
    not_fitting: int
    above_capacity: int
    sha256: str
    rejected_sha256: str


def work(task: Task) -> Record:
    """Makes a part.

    Raises:
        SchemaError: the file is damaged there.
        OSError: the disk is full.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(task.schema))
    expression = condition(task.select, schema) if task.select else None
    layouts = _layouts(task.catalogs)
    counts = {"rows": 0, "kept": 0, "rejected": 0, "not_fitting": 0, "above_capacity": 0}
    best = schema.empty_table()
    base = Path(task.folder, f"part-{task.number:06}")
    rejects = base.with_suffix(".rejected")
    with _stream(base.with_suffix(".rows"), schema) as rows, _stream(rejects, REJECTED) as bad:
        for batch, lines in read_slices(task.source, task.part):
            answers, rejected = evaluate_slice(layouts, batch, lines, schema)
            counts["not_fitting"] += answers.num_rows - _true(answers, "fits")
            counts["above_capacity"] += _count(answers, "above_capacity")
            if expression is not None:
                answers = matching(expression, answers)
            answers, rejected = (_moved(t, counts["rows"]) for t in (answers, rejected))
            counts["rows"] += batch.num_rows + len(lines)
            counts["rejected"] += rejected.num_rows
            bad.write(rejected)
            if task.keep is None:
                counts["kept"] += answers.num_rows
                rows.write(answers)
            else:
                best = better(best, answers, task.by, task.keep)
        if task.keep is not None:
            counts["kept"] = best.num_rows
            rows.write(best)
    return Record(
        number=task.number,
        sha256=digest(base.with_suffix(".rows")),
        rejected_sha256=digest(rejects),
        **counts,
    )


def _layouts(catalogs: tuple[str, ...]) -> Layouts:
    """Prepared layouts of this thread; they stay for its next part."""
    if getattr(_prepared, "catalogs", None) != catalogs:
        _prepared.layouts = Layouts(merge_files(load_catalog(), [Path(c) for c in catalogs]))
        _prepared.catalogs = catalogs
    layouts: Layouts = _prepared.layouts
    return layouts


def top(table: pa.Table, by: str, keep: int) -> pa.Table:
    """The best rows by a column, best first; blank ones never, equal ones in order of their row."""
    sign = -1.0 if by in LARGER_IS_BETTER else 1.0
    values = sign * table.column(by).to_numpy()
    if keep < len(values):  # blank ones are NaN, which are sorted last
        least = np.partition(values, keep - 1)[keep - 1] if keep else -np.inf
        there = np.flatnonzero(~(values > least) & ~np.isnan(values))
    else:
        there = np.flatnonzero(~np.isnan(values))
    rows = table.column(ROW).take(pa.array(there)).to_numpy()
    order = there[np.lexsort((rows, values[there]))]
    return table.take(pa.array(order[:keep]))


def better(best: pa.Table, table: pa.Table, by: str, keep: int) -> pa.Table:
    """The best rows of the best so far and of a table."""
    return top(pa.concat_tables([best, top(table, by, keep)]), by, keep)


def _moved(table: pa.Table, first: int) -> pa.Table:
    """The same rows with their numbers counted from `first`."""
    if not first or not table.num_rows:
        return table
    place = table.schema.get_field_index(ROW)
    numbers = table.column(place).to_numpy() + first
    return table.set_column(place, table.schema.field(place), pa.array(numbers))


def _true(table: pa.Table, name: str) -> int:
    return sum(chunk.true_count for chunk in table.column(name).chunks)


def _count(table: pa.Table, word: str) -> int:
    total = 0
    for chunk in table.column("status").chunks:
        words = chunk.dictionary.to_pylist()
        if word in words:
            total += int(np.count_nonzero(chunk.indices.to_numpy() == words.index(word)))
    return total


@contextmanager
def _stream(path: Path, schema: pa.Schema) -> Iterator[Any]:
    """A stream of record batches, under its own name when it is whole."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            yield stream
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def note(folder: Path, record: Record) -> None:
    """Keeps a part's record beside it, whole."""
    path = folder / f"part-{record.number:06}.json"
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(asdict(record), sort_keys=True))
    unfinished.replace(path)


def noted(folder: Path, number: int) -> Record | None:
    """The record of a part that is there whole, with the bytes that it had."""
    base = folder / f"part-{number:06}"
    try:
        data: Mapping[str, Any] = json.loads(base.with_suffix(".json").read_text())
        record = Record(**data)
        whole = digest(base.with_suffix(".rows")) == record.sha256
        whole = whole and digest(base.with_suffix(".rejected")) == record.rejected_sha256
    except (OSError, ValueError, TypeError):
        return None
    return record if whole and record.number == number else None
