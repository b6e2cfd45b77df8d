"""The page of the catalog's columns, made from its rows by `schema --catalog --markdown`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tokenfleet.catalog.load import CSV_TABLES
from tokenfleet.catalog.rows import SourcedRow

_HEAD = """# Columns of a catalog file

What the tables of a catalog file hold ([catalog](catalog.md)). This page is written by
`tokenfleet schema --catalog --markdown -o docs/catalog_columns.md --force`.

Every row may also have `source`, `as_of` (a date, a month or a year) and `notes`.
"""
# Filled where a user's row leaves them blank.
_FILLED = ("vintage", "valid_from", "confidence")


def columns_page() -> str:
    """A table for each table of the catalog that a file may have."""
    return _HEAD + "".join(_section(name, model) for name, model in CSV_TABLES.items())


def columns_schema() -> dict[str, Any]:
    """JSON Schema of each table's rows."""
    return {name: model.model_json_schema() for name, model in CSV_TABLES.items()}


def _section(name: str, model: type[BaseModel]) -> str:
    about = " ".join(str(model.__doc__).split("\n\n")[0].split())
    lines = "\n".join(_lines(model))
    return f"\n## {name}\n\n{about}\n\n| column | meaning | unit |\n|---|---|---|\n{lines}\n"


def _lines(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if name not in SourcedRow.model_fields:
            needed = ", must be given" if field.is_required() and name not in _FILLED else ""
            yield f"| `{name}` | {field.description}{needed} | {_unit(field)} |"


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""
