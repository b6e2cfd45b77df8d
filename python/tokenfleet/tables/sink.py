"""Parts put together into the files that were asked for, in order, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tokenfleet._core import Splicer
from tokenfleet.errors import SchemaError
from tokenfleet.files.plain import cell
from tokenfleet.files.whole import whole_file
from tokenfleet.tables.question import ROW

_PAGE_BYTES, _PAGE_ROWS = 4 << 20, 1 << 16
GROUP_ROWS = 1 << 17  # of a row group that is written, at least
ENDINGS = (".parquet", ".csv", ".arrow")


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
        with parquet_writer(file, schema) as writer:
            yield _Parquet(writer)


def parquet_writer(file: Any, schema: pa.Schema) -> pyarrow.parquet.ParquetWriter:
    """The writer of Parquet files and of parts, so that either has the same bytes."""
    return pyarrow.parquet.ParquetWriter(
        file,
        schema,
        compression="NONE",  # numbers without a pattern do not get smaller
        use_dictionary=[f.name for f in schema if pa.types.is_dictionary(f.type)],
        write_statistics=[ROW],
        data_page_size=_PAGE_BYTES,
        write_batch_size=_PAGE_ROWS,
    )


@contextmanager
def spliced(file: BinaryIO, like: Path, schema: pa.Schema) -> Iterator[Splicer]:
    """Puts Parquet parts of this schema together as they are; `like` is a name for a scratch file
    of it without rows."""
    with parquet_writer(str(like), schema):
        pass
    splicer = Splicer(file.name, like)
    yield splicer
    splicer.close()


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
        self._stack = ExitStack()
        self._sink: Sink | None = None

    def __enter__(self) -> Rejects:
        return self

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        if table.num_rows:
            if self._sink is None:
                file = self._stack.enter_context(whole_file(self._path))
                self._sink = _Csv(file, table.schema)
            self._sink.write(table)

    def __exit__(self, *error: Any) -> None:
        """Gives the file its name, or removes it."""
        self._stack.__exit__(*error)
