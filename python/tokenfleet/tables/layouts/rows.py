"""A slice of rows in, answers and rejected rows out. Text columns stay dictionaries throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tokenfleet._core import BLANK, CANDIDATE_ANSWERS, distinct_rows
from tokenfleet.tables.cells import (
    TEXT,
    as_type,
    inputs_schema,
    not_a_number,
    numeric,
    row_numbers,
    with_lines,
)
from tokenfleet.tables.layouts.columns import COUNTS, KEYS, NUMBERS, TEXTS, answers
from tokenfleet.tables.layouts.layouts import PROVENANCE, Layouts
from tokenfleet.tables.question import REJECTED, ROW, Answered
from tokenfleet.tables.source import LABEL, Bad

_STATUS = ("ok", "memory", "above_capacity")
#: Counts of a report, by the core's status.
COUNTED = {"not_fitting": 1, "above_capacity": 2}
_FIRST_REJECTED = len(_STATUS)
_LAYOUT = 3
# By the core's status: the column to look at, and what is wrong with it.
_REASONS = {
    4: ("input_tokens", "must be a number above 0"),
    5: ("output_tokens", "must be a number from 1"),
    6: ("input_tokens", "with output_tokens is longer than the context of the model"),
    7: ("rate_rps", "is blank, and so is concurrency: give one of them"),
    8: ("rate_rps", "is given beside concurrency: give one of them"),
    9: ("rate_rps", "must be a number above 0"),
    10: ("concurrency", "must be a number from 1 to 1,000,000"),
    11: ("batch_limit", "must be a whole number from 1, and not below concurrency"),
    12: ("batch_limit", "must be a multiple of attention_dp x pp"),
    13: ("price_usd_per_gpu_h", "must be a number from 0"),
    14: ("tariff_usd_per_kwh", "must be a number from 0"),
    15: ("pue", "must be a number from 1"),
}
Decode = Callable[[int], Any]


def result_schema(
    columns: Mapping[str, str], label: pa.DataType | None, inputs: bool = True
) -> pa.Schema:
    """Schema of the answers to a file with these columns; `label` is the type of its `id`. With
    `inputs` the columns of the file come first."""
    own = [name for name in columns if inputs or name == LABEL]
    kinds = {"fits": pa.bool_(), "status": TEXT, "provenance": TEXT}
    found = [(name, kinds.get(name, pa.float64())) for name in answers(columns)]
    return pa.schema([(ROW, pa.int64()), *inputs_schema(own, TEXTS, label, COUNTS), *found])


def evaluate_slice(
    layouts: Layouts, batch: pa.RecordBatch, bad: Sequence[Bad], schema: pa.Schema
) -> Answered:
    """Answers and rejected rows; both count rows from 0 at the slice's first."""
    row = row_numbers(batch.num_rows, bad)
    numbers, wrong = numeric(batch, TEXTS, COUNTS)
    of_row, handles = _layouts(layouts, numbers)
    layout = handles[of_row]
    layout[list(wrong)] = -1
    status, found = _found(layouts, layout, [_column(numbers, name) for name in NUMBERS])
    out, texts = _rejected(numbers, layouts, layout, status, wrong)
    table = pa.table([pa.array(row[out]), *texts], schema=REJECTED)
    kept = np.flatnonzero(status < _FIRST_REJECTED) if status.max(initial=0) > 2 else None
    known = {**found, **_words_of(status, layout, layouts, kept), ROW: pa.array(_of(row, kept))}
    if kept is not None:
        own = [name for name in schema.names if name in numbers]
        numbers = {**numbers, **{name: numbers[name].take(pa.array(kept)) for name in own}}
    accepted = pa.table([_field(f, numbers, known) for f in schema], schema=schema)
    counts = {name: int(np.count_nonzero(status == code)) for name, code in COUNTED.items()}
    return Answered(accepted, with_lines(table, bad), counts)


def _column(columns: Mapping[str, pa.Array], name: str) -> NDArray[np.float64]:
    """Numbers for the core: blanks marked; empty where the file has no such column."""
    if name not in columns:
        return np.empty(0)
    column = columns[name]
    if column.null_count:
        column = column.fill_null(BLANK)
    values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False)
    return values


# Layouts


def _layouts(
    layouts: Layouts, columns: Mapping[str, pa.Array]
) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    """For each row which distinct layout it names, and the number of each of those."""
    there = [name for name in KEYS if name in columns]
    coded = {name: _codes(columns[name], name) for name in there}
    firsts, of_row = distinct_rows([codes for codes, _ in coded.values()])
    numbers = []
    for first in firsts.tolist():
        values = {name: decode(int(codes[first])) for name, (codes, decode) in coded.items()}
        numbers.append(layouts.number(tuple(values.get(name) for name in KEYS)))
    return of_row, np.array(numbers, dtype=np.int32)


def _codes(column: pa.Array, name: str) -> tuple[NDArray[np.uint32], Decode]:
    """A code for each cell, and what it stands for."""
    if name in COUNTS and pa.types.is_integer(column.type) and not column.null_count:
        values = column.to_numpy()
        if not len(values) or (values.min() >= 0 and values.max() < 1 << 31):
            return values.astype(np.uint32), int
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    indices = column.indices
    words = column.dictionary
    blank = len(words)
    if indices.null_count:
        indices = indices.fill_null(blank)
    codes = indices.to_numpy(zero_copy_only=False).astype(np.uint32)
    return codes, lambda code: None if code == blank else words[code].as_py()


# Answers


def _found(
    layouts: Layouts, layout: NDArray[np.int32], numbers: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.uint8], dict[str, pa.Array]]:
    """How rows ended, and answers in numbers to those that are not rejected.

    The core writes them where Arrow keeps them, so that nothing is copied.
    """
    room = max(len(layout), 1)
    status = np.empty(len(layout), np.uint8)
    values = [pa.allocate_buffer(8 * room) for _ in CANDIDATE_ANSWERS]
    valid = [pa.allocate_buffer((room + 7) // 8) for _ in CANDIDATE_ANSWERS]
    kept, missing = layouts.core.evaluate(
        layout,
        numbers,
        status,
        [
            (np.frombuffer(data, np.float64), np.frombuffer(bits, np.uint8))
            for data, bits in zip(values, valid, strict=True)
        ],
    )
    return status, {
        name: pa.Array.from_buffers(pa.float64(), kept, [bits if none else None, data], none)
        for name, data, bits, none in zip(CANDIDATE_ANSWERS, values, valid, missing, strict=True)
    }


def _words_of(
    status: NDArray[np.uint8],
    layout: NDArray[np.int32],
    layouts: Layouts,
    kept: NDArray[np.int64] | None,
) -> dict[str, pa.Array]:
    """Answers in words to the rows that are kept."""
    status = _of(status, kept)
    places = np.array(layouts.provenance, dtype=np.int32)
    return {
        "fits": pa.array(status != 1),
        "status": _words(status.astype(np.int32), _STATUS),
        "provenance": _words(places[_of(layout, kept)], PROVENANCE),
    }


def _of(values: NDArray[Any], kept: NDArray[np.int64] | None) -> NDArray[Any]:
    return values if kept is None else values[kept]


def _field(
    field: pa.Field, columns: Mapping[str, pa.Array], known: Mapping[str, pa.Array]
) -> pa.Array:
    """A column of the result: an answer, or of the row itself."""
    if field.name in known:
        return known[field.name]
    return as_type(columns[field.name], field.type)


def _words(codes: NDArray[np.int32], words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words))


# Rejected rows


def _rejected(
    columns: Mapping[str, pa.Array],
    layouts: Layouts,
    layout: NDArray[np.int32],
    status: NDArray[np.uint8],
    wrong: Mapping[int, tuple[str, str]],
) -> tuple[NDArray[np.int64], list[pa.Array]]:
    """Rejected rows of the slice: their places, and column, value and reason of each."""
    kinds = np.where(status == _LAYOUT, layout.astype(np.int64), status)
    kinds[list(wrong)] = np.iinfo(np.int64).max
    out = np.flatnonzero(status >= _FIRST_REJECTED)
    found: list[tuple[NDArray[np.int64], list[pa.Array]]] = []
    for kind in np.unique(kinds[out]).tolist():
        rows = out[kinds[out] == kind]
        found.append((rows, _why(columns, layouts, kind, rows, wrong)))
    if not found:
        return out, [pa.array([], pa.string())] * 3
    places = np.concatenate([rows for rows, _ in found])
    order = np.argsort(places, kind="stable")
    texts = [pa.concat_arrays([parts[i] for _, parts in found]) for i in range(3)]
    return places[order], [text.take(pa.array(order)) for text in texts]


def _why(
    columns: Mapping[str, pa.Array],
    layouts: Layouts,
    kind: int,
    rows: NDArray[np.int64],
    wrong: Mapping[int, tuple[str, str]],
) -> list[pa.Array]:
    """Column, value and reason of rows that are rejected for one reason."""
    if kind == np.iinfo(np.int64).max:
        cells = [(wrong[i][0], wrong[i][1][:80], not_a_number(wrong[i][1])) for i in rows.tolist()]
        return [pa.array(texts, pa.string()) for texts in zip(*cells, strict=True)]
    if kind < 0:
        refusal = layouts.refusal(kind)
        name, values = refusal.column, pa.repeat(refusal.value, len(rows))
        reason = refusal.reason
    else:
        name, reason = _REASONS[kind]
        values = pa.repeat("", len(rows))
        if name in columns:
            numbers = columns[name].take(pa.array(rows))
            values = pa.array(["" if v is None else f"{v:g}" for v in numbers.to_pylist()])
    return [pa.repeat(name, len(rows)), values.cast(pa.string()), pa.repeat(reason, len(rows))]
