"""Tables of three kinds, cut into parts that can be read alone, and read slice by slice.

A part is a run of Parquet row groups, of Arrow record batches, or a range of bytes of a CSV file.
What a file says of itself is checked before anything is expanded: rows, bytes, column types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from tokenfleet.errors import SchemaError
from tokenfleet.files.read import require_file

LABEL = "id"  # the user's own name of a row, handed through
SLICE_ROWS = 1 << 18  # at most
PART_ROWS = 1 << 18  # at least, where row groups are smaller
MOST_ROWS = 1 << 33
MOST_GROUP_ROWS = 1 << 27
MOST_GROUP_BYTES = 4 << 30
_THRIFT_BYTES = 1 << 28  # of a footer's text and lists
_CSV_PART = 32 << 20  # bytes
_LONGEST_HEADER = 1 << 16
_PARQUET, _ARROW = b"PAR1", b"ARROW1"
_STREAM = b"\xff\xff\xff\xff"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PACKED = (b"PK\x03\x04", b"\x1f\x8b")  # .xlsx and .zip, .gz
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Part:
    """Row groups, batches or bytes from `first` to before `last`; `rows` where they are known."""

    first: int
    last: int
    rows: int | None


@dataclass(frozen=True)
class Source:
    """A table: its kind, its columns by our names, and its parts. `texts` are columns of words."""

    path: str
    kind: str  # parquet, arrow or csv
    columns: Mapping[str, str]
    texts: Sequence[str]
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int | None:
        """Rows, where the file says how many."""
        known = [p.rows for p in self.parts]
        return None if any(n is None for n in known) else sum(n or 0 for n in known)


Named = Callable[[Sequence[str], str], dict[str, str]]


def open_source(path: Path, named: Named, texts: Sequence[str]) -> Source:
    """Kind, columns and parts of a file; `named(header, source)` are its columns by our names.

    Raises:
        SchemaError: not such a table, corrupt, or larger than the limits; names what.
    """
    require_file(path)
    with path.open("rb") as file:
        head = file.read(8)
    with _understood(str(path), "its footer"):
        if head.startswith(_PARQUET):
            return _parquet(path, named, texts)
        if head.startswith(_ARROW):
            return _arrow(path, named, texts)
    return _csv(path, head, named, texts)


@contextmanager
def _understood(source: str, where: str) -> Iterator[None]:
    """Errors of the readers as ours."""
    try:
        yield
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, MemoryError) as error:
        text = " ".join(str(error).split())[:300]
        raise SchemaError(
            f"{source}: {where}: {text or type(error).__name__}",
            "the file is cut off or damaged: write it again",
        ) from None


# Parquet and Arrow


def _parquet_file(path: str, words: Sequence[str] = ()) -> pyarrow.parquet.ParquetFile:
    return pyarrow.parquet.ParquetFile(
        path,
        read_dictionary=list(words),
        memory_map=True,
        thrift_string_size_limit=_THRIFT_BYTES,
        thrift_container_size_limit=_THRIFT_BYTES,
    )


def _parquet(path: Path, named: Named, texts: Sequence[str]) -> Source:
    with _parquet_file(str(path)) as file:
        columns = _typed(file.schema_arrow, str(path), named, texts)
        meta = file.metadata
        if not 0 <= meta.num_rows <= MOST_ROWS:
            raise _too_large(path, f"{meta.num_rows:,} rows", MOST_ROWS)
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        for i, group in enumerate(groups):
            if not 0 <= group.num_rows <= MOST_GROUP_ROWS:
                raise _too_large(path, f"row group {i}: {group.num_rows:,} rows", MOST_GROUP_ROWS)
            if not 0 <= group.total_byte_size <= MOST_GROUP_BYTES:
                what = f"row group {i}: {group.total_byte_size:,} bytes"
                raise _too_large(path, what, MOST_GROUP_BYTES)
        if sum(g.num_rows for g in groups) != meta.num_rows:
            raise SchemaError(
                f"{path}: its footer counts {meta.num_rows:,} rows, its row groups "
                f"{sum(g.num_rows for g in groups):,}",
                "the file is damaged: write it again",
            )
        return Source(str(path), "parquet", columns, texts, _runs([g.num_rows for g in groups]))


def _arrow(path: Path, named: Named, texts: Sequence[str]) -> Source:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        columns = _typed(reader.schema, str(path), named, texts)
        rows = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
    return Source(str(path), "arrow", columns, texts, _runs(rows))


def label_type(source: Source) -> pa.DataType | None:
    """Type of the rows' own names."""
    if LABEL not in source.columns or source.kind == "csv":
        return pa.string() if LABEL in source.columns else None
    column = source.columns[LABEL]
    if source.kind == "parquet":
        with _parquet_file(source.path) as file:
            kind = file.schema_arrow.field(column).type
    else:
        with pa.memory_map(source.path) as memory, pa.ipc.open_file(memory) as reader:
            kind = reader.schema.field(column).type
    return pa.string() if _is_text(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    views = pa.types.is_string_view(kind)
    return bool(views or pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _too_large(path: Path, what: str, most: int) -> SchemaError:
    return SchemaError(
        f"{path}: {what} is over the limit of {most:,}", "write it in smaller row groups, or files"
    )


def _runs(rows: Sequence[int]) -> tuple[Part, ...]:
    """Groups brought together into parts of at least a slice."""
    parts: list[Part] = []
    first, count = 0, 0
    for i, n in enumerate(rows):
        count += n
        if count >= PART_ROWS or i == len(rows) - 1:
            parts.append(Part(first, i + 1, count))
            first, count = i + 1, 0
    return tuple(parts)


def _typed(schema: pa.Schema, source: str, named: Named, texts: Sequence[str]) -> dict[str, str]:
    """Columns by our names, whose types can be what they should.

    Raises:
        SchemaError: a column of another type; names it.
    """
    columns = named(schema.names, source)
    for name, column in columns.items():
        kind = schema.field(column).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        text = _is_text(value)
        number = pa.types.is_integer(value) or pa.types.is_floating(value)
        number = number or pa.types.is_decimal(value)
        blank = pa.types.is_null(value)
        wanted = "text" if name in texts else "numbers"
        if not blank and name != LABEL and not (text if name in texts else number):
            raise SchemaError(
                f"{source}: column {column!r}: is of type {kind}, must be {wanted}",
                f"write the column as {wanted}",
            )
        if name == LABEL and not (text or pa.types.is_integer(value) or blank):
            raise SchemaError(
                f"{source}: column {column!r}: is of type {kind}, must be text or whole numbers",
                "write the column as text",
            )
    return columns


# CSV


def _csv(path: Path, head: bytes, named: Named, texts: Sequence[str]) -> Source:
    if head.startswith(_STREAM):
        raise SchemaError(f"{path}: is an Arrow stream", "write it as an Arrow file, or Parquet")
    if head.startswith(_PACKED):
        hint = "save its sheet as CSV, or unpack it"
        raise SchemaError(f"{path}: is a workbook or packed, not a table", hint)
    if head.startswith(_UTF16) or b"\x00" in head:
        raise SchemaError(f"{path}: is UTF-16 or binary", "save it as UTF-8, Parquet or Arrow")
    with path.open("rb") as file:
        line = file.readline(_LONGEST_HEADER)
    if not line.strip() or (len(line) == _LONGEST_HEADER and not line.endswith(b"\n")):
        raise SchemaError(f"{path}: has no header line", "name the columns in the first line")
    with _understood(str(path), "its header"):
        header = _names(line, str(path))
    columns = named(header, str(path))
    return Source(str(path), "csv", columns, texts, _ranges(path, len(line)))


def _names(line: bytes, source: str) -> list[str]:
    text = line.removeprefix(_BOM).decode("utf-8")
    if ";" in text and "," not in text:
        raise SchemaError(
            f"{source}: its columns are separated by semicolons",
            "save it with commas between columns and points in numbers",
        )
    options = pyarrow.csv.ReadOptions(use_threads=False)
    names: list[str] = pyarrow.csv.read_csv(pa.BufferReader(text.encode()), options).column_names
    return names


def _ranges(path: Path, start: int) -> tuple[Part, ...]:
    """Ranges of bytes that begin and end between rows: at line ends outside quotes."""
    parts: list[Part] = []
    with path.open("rb") as file:
        file.seek(start)
        position, quoted = start, False
        while block := file.read(_CSV_PART):
            quoted ^= block.count(b'"') % 2 == 1
            position += len(block)
            while quoted or not block.endswith(b"\n"):
                block = file.readline(_CSV_PART)
                if not block:
                    break
                quoted ^= block.count(b'"') % 2 == 1
                position += len(block)
            if position - start > 2 * _CSV_PART:
                raise SchemaError(
                    f"{path}: a quote that opens after byte {start:,} does not close",
                    "close it, or leave quotes out",
                )
            parts.append(Part(start, position, None))
            start = position
    return tuple(parts)


def read_slices(
    source: Source, part: Part, rows: int
) -> Iterator[tuple[pa.RecordBatch, list[Bad]]]:
    """Slices of a part in order, of so many rows at most, with the rows in them that are no rows.

    Raises:
        SchemaError: what the file holds there cannot be read; names the part.
    """
    unit = {"parquet": "row groups", "arrow": "record batches", "csv": "bytes"}[source.kind]
    where = f"{unit} {part.first:,} to {part.last:,}"
    rows = min(rows, SLICE_ROWS)
    with _understood(source.path, where):
        if source.kind == "csv":
            yield from _cut(*_read_csv(source, part), rows)
        else:
            read = _read_parquet if source.kind == "parquet" else _read_arrow
            for batch in read(source, part, rows):
                yield batch, []


def _cut(
    batch: pa.RecordBatch, bad: Sequence[Bad], rows: int
) -> Iterator[tuple[pa.RecordBatch, list[Bad]]]:
    """Lines in slices: rows, and those that are none."""
    lines, taken = batch.num_rows + len(bad), 0
    for first in range(0, lines, rows):
        here = [replace(b, row=b.row - first) for b in bad if first <= b.row < first + rows]
        count = min(rows, lines - first) - len(here)
        yield batch.slice(taken, count), here
        taken += count


@dataclass(frozen=True)
class Bad:
    """A line that is no row: its place among the rows of the slice, and why."""

    row: int
    text: str
    reason: str


def _renamed(source: Source, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Our columns, under our names."""
    arrays = [_plain(batch.column(column)) for column in source.columns.values()]
    return pa.RecordBatch.from_arrays(arrays, names=list(source.columns))


def _plain(column: pa.Array) -> pa.Array:
    """Text in the layout that every function of Arrow takes."""
    if pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type):
        return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.string()))
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def _read_parquet(source: Source, part: Part, rows: int) -> Iterator[pa.RecordBatch]:
    words = [source.columns[name] for name in source.texts if name in source.columns]
    with _parquet_file(source.path, words) as file:
        batches = file.iter_batches(
            rows,
            row_groups=list(range(part.first, part.last)),
            columns=list(source.columns.values()),
            use_threads=False,
        )
        for batch in batches:
            yield _renamed(source, batch)


def _read_arrow(source: Source, part: Part, rows: int) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(source.path) as file, pa.ipc.open_file(file) as reader:
        for i in range(part.first, part.last):
            batch = reader.get_batch(i)
            batch.validate(full=True)
            for first in range(0, batch.num_rows, rows):
                yield _renamed(source, batch.slice(first, rows))


def _read_csv(source: Source, part: Part) -> tuple[pa.RecordBatch, list[Bad]]:
    bad: list[Bad] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        reason = f"has {row.actual_columns} cells, the header {row.expected_columns}"
        bad.append(Bad(row.number - 1, row.text or "", reason))
        return "skip"

    with Path(source.path).open("rb") as file:
        file.seek(part.first)
        data = file.read(part.last - part.first)
    names = list(source.columns.values())
    table = pyarrow.csv.read_csv(
        pa.BufferReader(data),
        pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=_CSV_PART * 2),
        pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=[""],
        ),
    )
    batch = table.combine_chunks().to_batches(max_chunksize=None)
    one = batch[0] if batch else pa.RecordBatch.from_pylist([], schema=table.schema)
    return _renamed(source, one), bad
