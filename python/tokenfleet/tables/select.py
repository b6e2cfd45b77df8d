"""A condition on result rows: comparisons of columns with numbers and text, `and`, `or`, `not`.

The words of a condition are looked at before Polars reads it: columns of the result, numbers, text
in single quotes and a few operators. Nothing else gets through, no function and no code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from tokenfleet.errors import SchemaError
from tokenfleet.schema import did_you_mean

_LONGEST = 1000
_WORD = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<text>'(?:[^'\\]|'')*')|(?P<sign><=|>=|!=|<>|==|[-+*/<>=(),]))"
)
_KEYWORDS = ("and", "or", "not", "is", "null", "in", "between", "true", "false")


def condition(text: str, schema: pa.Schema) -> pl.Expr:
    """The condition as an expression over the columns of a schema.

    Raises:
        SchemaError: an unknown column, or no condition; names what was not understood.
    """
    words = _words(text, schema.names)
    try:
        found = pl.sql_expr(" ".join(words))
        empty = _frame(schema.empty_table(), found.meta.root_names())
        right = bool(empty.width) and empty.select(found).dtypes == [pl.Boolean]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        right = False
    if not right:
        raise SchemaError(
            f"--select: {text[:80]!r}: is no condition",
            "compare columns with numbers: ttft_p99_ms < 500 and watts < 900",
        )
    return found


def _words(text: str, columns: Sequence[str]) -> list[str]:
    words: list[str] = []
    position, end = 0, len(text.rstrip())
    if not end or end > _LONGEST:
        raise SchemaError(
            f"--select: has {end} characters, must have 1 to {_LONGEST}", "shorten the condition"
        )
    while position < end:
        match = _WORD.match(text, position)
        if match is None:
            raise SchemaError(
                f"--select: {text[position : position + 20]!r} is not understood",
                "use columns, numbers, 'text', comparisons, and, or, not, in, between, is null",
            )
        position = match.end()
        name = match["name"]
        if name is not None and name.lower() not in _KEYWORDS and name not in columns:
            raise SchemaError(f"--select: unknown column {name!r}", did_you_mean(name, columns))
        quoted = name is not None and name in columns
        word = f'"{name}"' if quoted else match.group().strip()
        words.append("=" if word == "==" else word)
    return words


def matching(expression: pl.Expr, table: pa.Table) -> pa.Table:
    """Rows for which the condition is true; it is not where a column in it is blank."""
    needed = expression.meta.root_names()
    mask = _frame(table, needed).select(expression.fill_null(False)).to_series().to_arrow()
    return table.filter(mask)


def _frame(table: pa.Table, names: Sequence[str]) -> pl.DataFrame:
    """Columns for Polars, words as words."""
    columns = {name: table.column(name) for name in names}
    for name, column in columns.items():
        if pa.types.is_dictionary(column.type):
            columns[name] = column.cast(column.type.value_type)
    return pl.DataFrame(pl.from_arrow(pa.table(columns)))
