"""Cells of a slice as numbers and words. Words stay dictionaries throughout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tokenfleet.tables.question import REJECTED, ROW
from tokenfleet.tables.source import LABEL, Bad

TEXT = pa.dictionary(pa.int32(), pa.string())
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_COMMA = r"^\s*[+-]?\d+,\d+\s*$"
Wrong = dict[int, tuple[str, str]]


def numeric(
    batch: pa.RecordBatch, texts: Sequence[str], whole: Sequence[str] = ()
) -> tuple[dict[str, pa.Array], Wrong]:
    """Columns with numbers as numbers; and rows whose text is no number, with column and text.

    Columns of whole numbers named in `whole` stay so, all others become real ones.
    """
    columns: dict[str, pa.Array] = {}
    wrong: Wrong = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in texts:
            columns[name] = _encoded(column)
        elif name == LABEL:
            columns[name] = column
        else:
            columns[name] = _parsed(column, name, wrong, name in whole)
    return columns, wrong


def _encoded(column: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    return column if column.type == TEXT else column.cast(TEXT)


def _parsed(column: pa.Array, name: str, wrong: Wrong, whole: bool) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        stays = whole and pa.types.is_integer(kind)
        return column if stays else column.cast(pa.float64(), safe=False)
    number = pc.match_substring_regex(column, _NUMBER)
    clean = pc.utf8_trim_whitespace(pc.if_else(number, column, None))
    for i in np.flatnonzero(pc.fill_null(pc.invert(number), False).to_numpy(zero_copy_only=False)):
        wrong.setdefault(int(i), (name, column[int(i)].as_py()))
    return clean.cast(pa.float64())


def not_a_number(text: str) -> str:
    """Why a text is rejected."""
    comma = bool(pc.match_substring_regex(pa.scalar(text), _COMMA).as_py())
    return "is not a number" + (": write a decimal point, not a comma" if comma else "")


def row_numbers(count: int, bad: Sequence[Bad]) -> NDArray[np.int64]:
    """Place of each row among the lines of the slice, those that are no rows counted."""
    places = np.arange(count + len(bad), dtype=np.int64)
    return np.delete(places, [b.row for b in bad]) if bad else places


def with_lines(rejected: pa.Table, bad: Sequence[Bad]) -> pa.Table:
    """Rejected rows with the lines that are no rows, in order."""
    if not bad:
        return rejected
    lines = [[b.row, "", b.text[:200], b.reason] for b in bad]
    more = pa.table([pa.array(c) for c in zip(*lines, strict=True)], schema=REJECTED)
    return pa.concat_tables([rejected, more]).sort_by(ROW)


def inputs_schema(
    columns: Iterable[str], texts: Sequence[str], label: pa.DataType | None, whole: Sequence[str]
) -> list[tuple[str, pa.DataType]]:
    """Fields of the columns of a file as they are repeated before answers."""
    kinds: dict[str, pa.DataType | None] = {LABEL: label}
    kinds |= dict.fromkeys(texts, TEXT) | dict.fromkeys(whole, pa.int64())
    return [(name, kinds.get(name, pa.float64())) for name in columns]


def as_type(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """The column in another type; a count that is no whole number, in a row that is rejected, is
    blank."""
    if column.type == kind:
        return column
    if pa.types.is_integer(kind) and pa.types.is_floating(column.type):
        whole = pc.and_(pc.is_finite(column), pc.equal(pc.trunc(column), column))
        inside = pc.and_(whole, pc.less(pc.abs(column), 2.0**53))
        column = pc.if_else(pc.fill_null(inside, False), column, None)
    return column.cast(kind, safe=False)
