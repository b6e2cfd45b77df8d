"""Parts put together into the files that were asked for, in order, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tokenfleet.candidates.columns import ROW
from tokenfleet.errors import SchemaError
from tokenfleet.text import cell
from tokenfleet.whole_file import whole_file

_PAGE_BYTES, _PAGE_ROWS = 4 << 20, 1 << 16
ENDINGS = (".parquet", ".csv", ".arrow")


def numbered(table: pa.Table, first: int) -> pa.Table:
    """Rows that count from `first` with their numbers in the file, from 1."""
    place = table.schema.get_field_index(ROW)
    numbers = table.column(place).to_numpy() + (first + 1)
    return table.set_column(place, table.schema.field(place), pa.array(numbers))


class Sink(Protocol):
    """Takes tables one after the other."""

    def write(self, table: pa.Table) -> None:
        """Appends rows."""


def check_ending(path: Path) -> None:
    """Refuses a name that says no format.

    Raises:
        SchemaError: another ending.
    """
    if path.suffix.lower() not in ENDINGS:
        raise SchemaError(f"{path}: unknown table format", f"end the name in {', '.join(ENDINGS)}")


@contextmanager
def open_sink(file: BinaryIO, ending: str, schema: pa.Schema) -> Iterator[Sink]:
    """The writer of a format."""
    if ending == ".csv":
        yield _Csv(file, schema)
    elif ending == ".arrow":
        plain = pa.schema([(f.name, _plain(f.type)) for f in schema])
        with pa.ipc.new_file(file, plain) as writer:
            yield _Plain(writer.write_table, plain)
    else:
        words = [f.name for f in schema if pa.types.is_dictionary(f.type)]
        with pyarrow.parquet.ParquetWriter(
            file,
            schema,
            compression="NONE",  # numbers without a pattern do not get smaller
            use_dictionary=words,
            write_statistics=[ROW],
            data_page_size=_PAGE_BYTES,
            write_batch_size=_PAGE_ROWS,
        ) as writer:
            yield _Parquet(writer)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


class _Parquet:
    def __init__(self, writer: pyarrow.parquet.ParquetWriter) -> None:
        self._writer = writer

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._writer.write_table(table, row_group_size=1 << 20)


class _Plain:
    """Arrow files: words as words, because dictionaries of the parts differ."""

    def __init__(self, write: Callable[[pa.Table], None], schema: pa.Schema) -> None:
        self._write, self._schema = write, schema

    def write(self, table: pa.Table) -> None:
        if table.num_rows:
            self._write(table.cast(self._schema))


class _Csv:
    """CSV: numbers stay numbers; text that a spreadsheet would run gets a quote before it."""

    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        self._file.write((",".join(schema.names) + "\n").encode())

    def write(self, table: pa.Table) -> None:
        columns = [_safe(column) for column in table.columns]
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
        pyarrow.csv.write_csv(pa.table(columns, names=table.schema.names), self._file, options)


def _safe(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text cells made harmless; each distinct word once."""
    if not pa.types.is_string(_plain(column.type)):
        return column
    chunks = []
    for chunk in column.chunks:
        words = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        safe = pa.array([cell(w) for w in words.dictionary.to_pylist()], pa.string())
        chunks.append(pa.DictionaryArray.from_arrays(words.indices, safe).dictionary_decode())
    return pa.chunked_array(chunks, pa.string())


class Rejects:
    """The side file of rejected rows; it is there only when a row was rejected."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._context: Any = None
        self._file: Any = None
        self._sink: Sink | None = None

    def write(self, table: pa.Table, first: int) -> None:
        """Appends rows whose numbers count from `first`, as numbers from 1."""
        if not table.num_rows:
            return
        if self._sink is None:
            self._context = whole_file(self._path)
            self._file = self._context.__enter__()
            self._sink = _Csv(self._file, table.schema)
        self._sink.write(numbered(table, first))

    def close(self, error: BaseException | None) -> None:
        """Gives the file its name, or removes it."""
        if self._context is None:
            return
        kind = type(error) if error is not None else None
        self._context.__exit__(kind, error, None)
