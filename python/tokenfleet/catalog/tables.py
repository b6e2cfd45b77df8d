"""CSV tables as validated rows; errors name file, row, field and value."""

from __future__ import annotations

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tokenfleet.errors import SchemaError
from tokenfleet.files.cures import broken_csv
from tokenfleet.files.read import read_text
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.rows import validate

_Model = TypeVar("_Model", bound=BaseModel)
_INTEGER = re.compile(r"([+-]?\d{1,18})(?:\.0*)?", re.ASCII)  # 8.0 as well, as pandas writes it
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NO_CSV = (".yaml", ".yml", ".json", ".toml", ".xlsx", ".xls", ".parquet", ".html")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header, and line number with non-blank cells by column.

    Raises:
        SchemaError: no CSV, no header, a column twice, or a row longer than the header.
    """
    if path.suffix.lower() in _NO_CSV:
        raise SchemaError(f"{path}: is no CSV file", "save the table as CSV, and name that file")
    reader = csv.reader(read_text(path).splitlines(), strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        header = [h.strip() for h in next(reader, [])]
        _check_header(path, header)
        for cells in reader:
            filled = {k: v for k, v in zip(header, map(str.strip, cells), strict=False) if v}
            if len(cells) > len(header) and any(map(str.strip, cells)):
                raise SchemaError(
                    f"{path}: row {reader.line_num}: {len(cells)} cells for {len(header)} columns",
                    "quote cells that contain a comma; write decimals with a point",
                )
            if filled:
                rows.append((reader.line_num, filled))
    except csv.Error as error:
        raise broken_csv(path, reader.line_num, error) from None
    return header, rows


def _check_header(path: Path, header: list[str]) -> None:
    if not any(header):
        raise SchemaError(f"{path}: is empty", "write a header with the names of the columns")
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        hint = "put commas between the columns, and write decimals with a point"
        raise SchemaError(f"{path}: its columns are not apart: {header[0][:80]!r}", hint)
    twice = sorted({h for h in header if header.count(h) > 1})
    if twice:
        raise SchemaError(f"{path}: column {twice[0]!r} appears twice", "keep one of them")


def typed(model: type[BaseModel], cells: dict[str, str], source: str) -> dict[str, Any]:
    """Cells as values: fields that carry a unit become numbers, the others text."""
    numeric = _numeric(model)
    return {k: _number(k, v, source) if k in numeric else v for k, v in cells.items()}


def _number(name: str, text: str, source: str) -> float:
    whole = _INTEGER.fullmatch(text)
    if whole:
        return int(whole[1])
    if _FLOAT.fullmatch(text):
        return float(text)
    comma = _DECIMAL_COMMA.fullmatch(text)
    hint = "write a plain number, or leave it blank"
    if comma:
        hint = "write decimals with a point, and thousands without commas"
    raise SchemaError(f"{source}: {name}: {text[:40]!r} is not a number", hint)


@cache
def _numeric(model: type[BaseModel]) -> frozenset[str]:
    """Fields that carry a unit."""
    extras = {name: field.json_schema_extra for name, field in model.model_fields.items()}
    return frozenset(
        n for n, extra in extras.items() if isinstance(extra, dict) and "unit" in extra
    )


def csv_table(path: Path, model: type[_Model]) -> list[_Model]:
    """All rows of a CSV file as `model`."""
    header, rows = read_csv(path)
    if not rows and not model.model_fields.keys() & set(header):
        known = did_you_mean(header[0], [f.alias or n for n, f in model.model_fields.items()])
        raise SchemaError(
            f"{path}: its first line names no known column: {header[0][:40]!r}", known
        )
    try:
        return [model.model_validate(typed(model, cells, "")) for _, cells in rows]
    except (SchemaError, ValidationError):  # again, with the name of every row at hand
        return [_csv_row(path, model, line, cells) for line, cells in rows]


def _csv_row(path: Path, model: type[_Model], line: int, cells: dict[str, str]) -> _Model:
    source = f"{path}: row {line}{label(cells)}"
    return validate(model, typed(model, cells, source), source)


def label(row: dict[str, Any]) -> str:
    """` (id 'x')` of a row, whatever its identifying column is called."""
    for key in ("id", "parameter", "system", "model"):
        if isinstance(row.get(key), str):
            return f" ({key} {row[key]!r})"
    return ""


def pick_table(path: Path, header: list[str], tables: dict[str, type[BaseModel]]) -> str:
    """The table whose columns a CSV header names.

    Raises:
        SchemaError: the header fits no table; names the nearest one and what does not fit.
    """
    misfit = {
        name: [h for h in header if h not in model.model_fields] for name, model in tables.items()
    }
    fitting = [n for n, m in tables.items() if not misfit[n] and _has_keys(n, header)]
    if len(fitting) == 1:
        return fitting[0]
    best = min(tables, key=lambda n: len(misfit[n]))
    if not misfit[best]:
        raise SchemaError(
            f"{path}: the columns {', '.join(header)[:120]} do not tell which table this is",
            "; ".join(f"{n} needs {', '.join(k)}" for n, k in _KEYS.items()),
        )
    wrong = misfit[best][0]
    raise SchemaError(
        f"{path}: column {wrong!r} is not known in table {best}",
        did_you_mean(wrong, tables[best].model_fields),
    )


_KEYS = {
    "systems": ("id",),
    "prices": ("system", "kind"),
    "tco": ("parameter",),
    "quality": ("model", "precision", "score"),
    "apis": ("id", "usd_per_mtok_input", "usd_per_mtok_output"),
    "checkpoints": ("model", "precision", "repository"),
}


def _has_keys(table: str, header: list[str]) -> bool:
    return all(k in header for k in _KEYS[table])
