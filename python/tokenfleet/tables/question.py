"""What can be asked of the rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from tokenfleet.tables.source import Bad, Source

ROW = "row"
REJECTED = pa.schema(
    [(ROW, pa.int64()), ("column", pa.string()), ("value", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class Answered:
    """Answers to a slice, and its rejected rows (`REJECTED`); both number rows from 0 at the
    slice's first. `counts` are added up over the file."""

    rows: pa.Table
    rejected: pa.Table
    counts: Mapping[str, int] = field(default_factory=dict)


class Answerer(Protocol):
    """Answers slices; one for each thread."""

    def answer(self, batch: pa.RecordBatch, bad: Sequence[Bad], schema: pa.Schema) -> Answered:
        """Answers to the rows of a slice. `bad` are lines of it that are no rows."""


class Question(Protocol):
    """A question; it can be pickled, and an answer depends on it and its row alone."""

    @property
    def texts(self) -> Sequence[str]:
        """Names of columns that hold words; `id` holds anything, all others numbers."""

    @property
    def larger_is_better(self) -> Sequence[str]:
        """Columns of the answers where more is better."""

    @property
    def ranked_by(self) -> str:
        """The column that ranks answers where the user names none."""

    @property
    def rows_at_once(self) -> int:
        """Rows of a slice, at most: answers to so many must not take much memory."""

    @property
    def counted(self) -> Sequence[str]:
        """Names of the counts."""

    def columns(self, header: Sequence[str], source: str) -> dict[str, str]:
        """Columns of a file by their names here.

        Raises:
            SchemaError: a column that is unknown, there twice or missing; names file and column.
        """

    def schema(self, source: Source, inputs: bool) -> pa.Schema:
        """Columns of the answers to a file; with `inputs` those of the file come first."""

    def identity(self) -> dict[str, Any]:
        """What answers depend on, but for the file and the version: what JSON can hold."""

    def answerer(self, threads: int) -> Answerer:
        """Prepared to answer, for this thread; what is costly stays for the next call."""

    def notes(self, source: Source) -> Sequence[str]:
        """What a reader of the answers should know."""
