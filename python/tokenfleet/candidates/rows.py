"""A slice of rows in, answers and rejected rows out. Text columns stay dictionaries throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenfleet._core import BLANK, distinct_rows
from tokenfleet.candidates.columns import COUNTS, KEYS, LABEL, NUMBERS, ROW, TEXTS, answers
from tokenfleet.candidates.layouts import PROVENANCE, Layouts
from tokenfleet.candidates.source import Bad

REJECTED = pa.schema(
    [(ROW, pa.int64()), ("column", pa.string()), ("value", pa.string()), ("reason", pa.string())]
)
_TEXT = pa.dictionary(pa.int32(), pa.string())
_STATUS = ("ok", "memory", "above_capacity")
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
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_COMMA = r"^\s*[+-]?\d+,\d+\s*$"

Decode = Callable[[int], Any]


def result_schema(
    columns: Mapping[str, str], label: pa.DataType | None, inputs: bool = True
) -> pa.Schema:
    """Schema of the answers to a file with these columns; `label` is the type of its `id`. With
    `inputs` the columns of the file come first."""
    fields: list[tuple[str, pa.DataType]] = [(ROW, pa.int64())]
    for name in columns if inputs else [n for n in columns if n == LABEL]:
        kind = _TEXT if name in TEXTS else pa.float64()
        fields.append((name, label if name == LABEL else pa.int64() if name in COUNTS else kind))
    kinds = {"fits": pa.bool_(), "status": _TEXT, "provenance": _TEXT}
    fields += [(name, kinds.get(name, pa.float64())) for name in answers(columns)]
    return pa.schema(fields)


def evaluate_slice(
    layouts: Layouts, batch: pa.RecordBatch, bad: list[Bad], schema: pa.Schema
) -> tuple[pa.Table, pa.Table]:
    """Answers and rejected rows; both count rows from 0 at the slice's first."""
    row = _row_numbers(batch.num_rows, bad)
    numbers, wrong = _numeric(batch)
    of_row, handles = _layouts(layouts, numbers)
    layout = handles[of_row]
    layout[list(wrong)] = -1
    found: Mapping[str, Any] = layouts.core.evaluate(
        layout, [_column(numbers, name) for name in NUMBERS]
    )
    status = found["status"]
    out, texts = _rejected(numbers, layouts, layout, status, wrong)
    table = pa.table([pa.array(row[out]), *texts], schema=REJECTED)
    kept = np.flatnonzero(status < _FIRST_REJECTED) if status.max(initial=0) > 2 else None
    known = {**_answered(found, layout, layouts, kept), ROW: pa.array(_of(row, kept))}
    if kept is not None:
        own = [name for name in schema.names if name in numbers]
        numbers = {**numbers, **{name: numbers[name].take(pa.array(kept)) for name in own}}
    accepted = pa.table([_field(f, numbers, known, found) for f in schema], schema=schema)
    if bad:
        lines = [[b.row, "", b.text[:200], b.reason] for b in bad]
        more = pa.table([pa.array(c) for c in zip(*lines, strict=True)], schema=REJECTED)
        table = pa.concat_tables([table, more]).sort_by(ROW)
    return accepted, table


def _row_numbers(count: int, bad: list[Bad]) -> NDArray[np.int64]:
    """Place of each row among the lines of the slice, those that are no rows counted."""
    places = np.arange(count + len(bad), dtype=np.int64)
    return np.delete(places, [b.row for b in bad]) if bad else places


# Reading cells


def _numeric(batch: pa.RecordBatch) -> tuple[dict[str, pa.Array], dict[int, tuple[str, str]]]:
    """Columns with numbers as numbers; and rows whose text is no number, with column and text."""
    columns: dict[str, pa.Array] = {}
    wrong: dict[int, tuple[str, str]] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in TEXTS:
            columns[name] = _encoded(column)
        elif name == LABEL:
            columns[name] = column
        else:
            columns[name] = _parsed(column, name, wrong)
    return columns, wrong


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column if column.type == _TEXT else column.cast(_TEXT)


def _parsed(column: pa.Array, name: str, wrong: dict[int, tuple[str, str]]) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        whole = name in COUNTS and pa.types.is_integer(kind)
        return column if whole else column.cast(pa.float64(), safe=False)
    number = pc.match_substring_regex(column, _NUMBER)
    clean = pc.utf8_trim_whitespace(pc.if_else(number, column, None))
    for i in np.flatnonzero(pc.fill_null(pc.invert(number), False).to_numpy(zero_copy_only=False)):
        wrong.setdefault(int(i), (name, column[int(i)].as_py()))
    return clean.cast(pa.float64())


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


def _answered(
    found: Mapping[str, NDArray[Any]],
    layout: NDArray[np.int32],
    layouts: Layouts,
    kept: NDArray[np.int64] | None,
) -> dict[str, pa.Array]:
    """Answers in words to the rows that are kept."""
    status = _of(found["status"], kept)
    places = np.array(layouts.provenance, dtype=np.int32)
    return {
        "fits": pa.array(status != 1),
        "status": _words(status.astype(np.int32), _STATUS),
        "provenance": _words(places[_of(layout, kept)], PROVENANCE),
    }


def _of(values: NDArray[Any], kept: NDArray[np.int64] | None) -> NDArray[Any]:
    return values if kept is None else values[kept]


def _field(
    field: pa.Field,
    columns: Mapping[str, pa.Array],
    known: Mapping[str, pa.Array],
    found: Mapping[str, NDArray[np.float64]],
) -> pa.Array:
    """A column of the result: in words, of the row itself, or a number found."""
    if field.name in known:
        return known[field.name]
    if field.name in columns:
        column = columns[field.name]
        return column if column.type == field.type else _cast(column, field.type)
    return _known(found[field.name])


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column in another type; a count that is no whole number, in a row that is rejected, is
    blank."""
    if pa.types.is_integer(kind) and pa.types.is_floating(column.type):
        whole = pc.and_(pc.is_finite(column), pc.equal(pc.trunc(column), column))
        inside = pc.and_(whole, pc.less(pc.abs(column), 2.0**53))
        column = pc.if_else(pc.fill_null(inside, False), column, None)
    return column.cast(kind, safe=False)


def _words(codes: NDArray[np.int32], words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words))


def _known(values: NDArray[np.float64]) -> pa.Array:
    """Numbers; blank where there is none."""
    missing = np.isnan(values)
    return pa.array(values, mask=missing) if missing.any() else pa.array(values)


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
        cells = [(wrong[i][0], wrong[i][1][:80], _not_a_number(wrong[i][1])) for i in rows.tolist()]
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


def _not_a_number(text: str) -> str:
    comma = bool(pc.match_substring_regex(pa.scalar(text), _COMMA).as_py())
    return "is not a number" + (": write a decimal point, not a comma" if comma else "")
