"""A request trace: when requests came, how long they were, and which prefix blocks they shared."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.files.cures import broken_csv
from tokenfleet.files.read import read_text

MAX_TRACE_BYTES = 512 * 1024 * 1024
MAX_TOKENS = 100_000_000
MAX_SHOWN = 10

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Trace:
    """Requests in order of arrival.

    `timestamp_s` counts from the first request. `blocks` are hashes of prompt blocks of
    `block_tokens` tokens, None where the format has none.
    """

    source: str
    timestamp_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    blocks: tuple[tuple[int, ...], ...] | None = None
    block_tokens: int = 0
    warnings: tuple[str, ...] = ()
    rows: Ints | None = None  # line of each request in the file
    unsorted_row: int | None = None  # first line that comes before the one above it

    def __len__(self) -> int:
        return len(self.timestamp_s)

    @property
    def span_s(self) -> float:
        """Seconds from the first to the last request."""
        return float(self.timestamp_s[-1])


@dataclass(frozen=True)
class Request:
    """One row of a trace."""

    time_s: float
    input_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()
    row: int = 0


class RowError(ValueError):
    """A row that cannot be used; the reader adds file and row number."""


class NoTokensError(RowError):
    """A row of a request without prompt or answer: nothing was served."""


def token_count(field: str, value: Any) -> int:
    """A token count of at least one.

    Raises:
        NoTokensError: zero.
        RowError: not a whole number, negative or absurdly large.
    """
    try:
        count = int(value) if isinstance(value, str) else value
    except ValueError:
        raise RowError(f"{field} {str(value)[:40]!r} is not a whole number") from None
    if isinstance(count, bool) or not isinstance(count, int):
        raise RowError(f"{field} {str(value)[:40]!r} is not a whole number")
    if count == 0:
        raise NoTokensError(f"{field} is 0")
    if not 1 <= count <= MAX_TOKENS:
        raise RowError(f"{field} is {count}; it should be 1 to {MAX_TOKENS}")
    return count


def csv_rows(
    path: Path,
    columns: Sequence[str],
    max_bytes: int = MAX_TRACE_BYTES,
    notes: list[str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column of a CSV file that has at least `columns`.

    Columns that are there and not asked for are told to `notes`.
    """
    reader = csv.reader(read_text(path, max_bytes).splitlines())
    header = [h.strip() for h in next(reader, [])]
    missing = [c for c in columns if c not in header]
    if missing:
        found = ", ".join(header)[:200] or "nothing"
        raise SchemaError(
            f"{path}: header lacks {', '.join(missing)}; it has {found}",
            "rename its columns so, or name the format that the file has",
        )
    unread = [c for c in header if c and c not in columns]
    if unread and notes is not None:
        notes.append(f"{path}: columns not read: {', '.join(unread)[:200]}")
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise broken_csv(path, reader.line_num, error) from None


def cell(row: dict[str, str], column: str) -> str:
    """A cell that must be there."""
    value = row.get(column, "").strip()
    if not value:
        raise RowError(f"{column} is empty")
    return value


def requests_of(
    path: Path, rows: Iterable[tuple[int, _Row]], request: Callable[[_Row, int], Request]
) -> tuple[list[Request], list[str], list[str]]:
    """Requests of rows, faults of those that cannot be used, and notes.

    A request without tokens asked for no work: it is left out, and the note says how many were.
    """
    requests, faults, empty = [], [], []
    for line, row in rows:
        try:
            requests.append(request(row, line))
        except NoTokensError:
            empty.append(line)
        except RowError as error:
            faults.append(f"row {line}: {error}")
    if not empty:
        return requests, faults, []
    note = f"{path}: {len(empty)} requests without tokens left out, the first in row {empty[0]}"
    return requests, faults, [note]


def build_trace(
    path: Path,
    requests: Sequence[Request],
    faults: Sequence[str],
    block_tokens: int = 0,
    warnings: Sequence[str] = (),
) -> Trace:
    """Arrays in order of arrival; out-of-order rows are sorted, with a warning.

    Raises:
        SchemaError: any faulty row (the first ones are named), or no row at all.
    """
    if faults:
        more = f"\n{path}: and {len(faults) - MAX_SHOWN} more" if len(faults) > MAX_SHOWN else ""
        lines = "\n".join(f"{path}: {fault}" for fault in faults[:MAX_SHOWN])
        raise SchemaError(lines + more, "fix or remove these rows")
    if not requests:
        raise SchemaError(f"{path}: has no requests", "give a trace with at least one row")
    times = np.array([r.time_s for r in requests], dtype=np.float64)
    notes = list(warnings)
    order = np.argsort(times, kind="stable")
    falls = np.flatnonzero(np.diff(times) < 0)
    rows = np.array([r.row for r in requests], dtype=np.int64)
    if len(falls):
        notes.append(f"{path}: rows are not in order of time and were sorted")
    blocks = tuple(requests[i].blocks for i in order) if block_tokens else None
    return Trace(
        source=str(path),
        timestamp_s=times[order] - times.min(),
        input_tokens=np.array([r.input_tokens for r in requests], dtype=np.int64)[order],
        output_tokens=np.array([r.output_tokens for r in requests], dtype=np.int64)[order],
        blocks=blocks,
        block_tokens=block_tokens,
        warnings=tuple(notes),
        rows=rows[order],
        unsorted_row=int(rows[falls[0] + 1]) if len(falls) else None,
    )
