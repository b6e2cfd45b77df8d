"""The page of the catalog's columns, made from its rows by `schema --catalog --markdown`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tokenfleet.catalog.load import CSV_TABLES
from tokenfleet.catalog.rows import SourcedRow
from tokenfleet.schema.architecture import Attention, FeedForward

_HEAD = """# Columns of a catalog file

What the tables of a catalog file hold ([catalog](catalog.md)). This page is written by
`tokenfleet schema --catalog --markdown -o docs/catalog_columns.md --force`.

Every row may also have `source`, `as_of` (a date, a month or a year) and `notes`.
"""
# Filled where a user's row leaves them blank.
_FILLED = ("vintage", "valid_from", "confidence")


_MODELS = """
## models

A model is read from its `config.json`, or given by its shape: `{id, hidden, vocab, tied,
max_context, layers}`, where `layers` are groups of equal ones, each with `count`, and `attention`
and `ffn` of the kinds below, or of kind `none`:

```yaml
models:
  - id: our-model
    hidden: 4096
    vocab: 128256
    tied: false
    max_context: 131072
    layers:
      - count: 24
        attention: {kind: mamba, heads: 128, head_dim: 64, state_dim: 128, groups: 8}
        ffn: {kind: moe, experts: 64, topk: 4, inter: 2048, shared_inter: 2048}
      - count: 8
        attention: {kind: gqa, heads: 32, kv_heads: 8, head_dim: 128, v_head_dim: 128}
        ffn: {kind: none}
```
"""


def columns_page() -> str:
    """A table for each table of the catalog that a file may have, and for each kind of layer."""
    tables = "".join(_section(name, model) for name, model in CSV_TABLES.items())
    parts = (("attention", Attention), ("ffn", FeedForward))
    kinds = "".join(_kinds(part, union) for part, union in parts)
    return f"{_HEAD}{tables}{_MODELS}{kinds}"


def _kinds(part: str, union: Any) -> str:
    """A table for each kind of a part of a layer."""
    models: tuple[type[BaseModel], ...] = get_args(get_args(union)[0])
    of = [(model, model.model_fields["kind"].default) for model in models]
    return "".join(_section(f"{part}: {kind}", model) for model, kind in of if kind != "none")


def columns_schema() -> dict[str, Any]:
    """JSON Schema of each table's rows."""
    return {name: model.model_json_schema() for name, model in CSV_TABLES.items()}


def _section(name: str, model: type[BaseModel]) -> str:
    about = " ".join(str(model.__doc__).split("\n\n")[0].split())
    lines = "\n".join(_lines(model))
    return f"\n## {name}\n\n{about}\n\n| column | meaning | unit |\n|---|---|---|\n{lines}\n"


def _lines(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        names_the_table = name == "kind" and not field.is_required()
        if name not in SourcedRow.model_fields and not names_the_table:
            needed = ", must be given" if field.is_required() and name not in _FILLED else ""
            yield f"| `{name}` | {field.description}{needed} | {_unit(field)} |"


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""
