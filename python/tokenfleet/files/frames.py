"""Tables in memory: anything with the Arrow C interface in, and columns that have it out.

`offers`, `columns` and other lists of rows of a scenario may be a DataFrame, and so may the counts
of fleets; what comes out goes into one: `polars.DataFrame(points)`, `pyarrow.table(points)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from tokenfleet.errors import SchemaError

_STREAM = "__arrow_c_stream__"


class Columns(dict[str, Any]):
    """Columns of equal length by name, which any library of DataFrames reads."""

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Columns:
        """Columns of rows; a row that lacks a name is blank there.

        A column of numbers and words, such as the values of what is assumed, is one of words.
        """
        given = list(rows)
        names = dict.fromkeys(name for row in given for name in row)
        return cls({name: _of_one_kind([row.get(name) for row in given]) for name in names})

    def to_polars(self) -> Any:
        """The columns as a `polars.DataFrame`; a column of mappings has struct values.

        Raises:
            SchemaError: polars is not installed.
        """
        return _imported("polars").DataFrame(_pyarrow().table(dict(self)))

    def to_pandas(self) -> Any:
        """The columns as a `pandas.DataFrame`.

        Raises:
            SchemaError: pandas is not installed.
        """
        return _imported("pandas").DataFrame(dict(self))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        table = _pyarrow().table(dict(self))
        return table.__arrow_c_stream__(requested_schema)


def is_frame(value: Any) -> bool:
    """Whether a value is a DataFrame or another table with the Arrow C interface."""
    return hasattr(value, _STREAM)


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """Rows of a table; blanks (null, NaN) are left out, as a file's blank fields are."""
    rows: list[dict[str, Any]] = _pyarrow().table(frame).to_pylist()
    return [{k: v for k, v in row.items() if not _blank(v)} for row in rows]


def columns_of(frame: Any) -> dict[str, Any]:
    """Columns of a table as NumPy arrays."""
    table = _pyarrow().table(frame)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def _of_one_kind(values: list[Any]) -> list[Any]:
    kinds = {isinstance(value, str) for value in values if value is not None}
    return [None if v is None else str(v) for v in values] if len(kinds) > 1 else values


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _imported(library: str) -> Any:
    try:
        return import_module(library)
    except ImportError:
        raise SchemaError(
            f"the package {library} is not installed", f"pip install {library}"
        ) from None


def _pyarrow() -> Any:
    try:
        import pyarrow  # noqa: PLC0415 (an extra)
    except ImportError:
        raise SchemaError(
            "a DataFrame needs the package pyarrow", "pip install 'tokenfleet[tables]'"
        ) from None
    return pyarrow
