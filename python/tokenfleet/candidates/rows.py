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


def result_schema(columns: Mapping[str, str], label: pa.DataType | None) -> pa.Schema:
    """Schema of the answers to a file with these columns; `label` is the type of its `id`."""
    fields: list[tuple[str, pa.DataType]] = [(ROW, pa.int64())]
    for name in columns:
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
    known = {**_answered(found, layout, layouts), ROW: pa.array(row)}
    accepted = pa.table([_field(f, numbers, known, found) for f in schema], schema=schema)
    rejected = _rejected(numbers, layouts, layout, status, wrong)
    out = np.flatnonzero(status >= _FIRST_REJECTED)
    places = pa.array(row[out])
    table = pa.table([places, *rejected], schema=REJECTED)
    if bad:
        lines = [[b.row, "", b.text[:200], b.reason] for b in bad]
        more = pa.table([pa.array(c) for c in zip(*lines, strict=True)], schema=REJECTED)
        table = pa.concat_tables([table, more]).sort_by(ROW)
    if len(out):
        accepted = accepted.filter(pa.array(status < _FIRST_REJECTED))
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
    found: Mapping[str, NDArray[Any]], layout: NDArray[np.int32], layouts: Layouts
) -> dict[str, pa.Array]:
    """Answers in words, for every row of the slice; those to be rejected are still among them."""
    status = found["status"]
    places = np.array(layouts.provenance, dtype=np.int32)
    classes = places[np.maximum(layout, 0)] if len(places) else np.zeros(len(layout), np.int32)
    return {
        "fits": pa.array(status != 1),
        "status": _words(np.minimum(status, _FIRST_REJECTED - 1).astype(np.int32), _STATUS),
        "provenance": _words(classes, PROVENANCE),
    }


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
) -> list[list[str]]:
    """Column, value and reason of each rejected row."""
    reasons: list[tuple[str, str, str]] = []
    for i in np.flatnonzero(status >= _FIRST_REJECTED).tolist():
        if i in wrong:
            name, text = wrong[i]
            reasons.append((name, text[:80], _not_a_number(text)))
        elif status[i] == _LAYOUT:
            refusal = layouts.refusal(int(layout[i]))
            reasons.append((refusal.column, refusal.value, refusal.reason))
        else:
            name, reason = _REASONS[int(status[i])]
            value = columns[name][i].as_py() if name in columns else None
            reasons.append((name, "" if value is None else f"{value:g}", reason))
    return [list(column) for column in zip(*reasons, strict=True)] or [[], [], []]


def _not_a_number(text: str) -> str:
    comma = bool(pc.match_substring_regex(pa.scalar(text), _COMMA).as_py())
    return "is not a number" + (": write a decimal point, not a comma" if comma else "")
