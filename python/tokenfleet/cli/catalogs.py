"""`catalog list`, `show` and `check`: what the catalog knows, and what one's own files add."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import answering, say, say_json
from tokenfleet.cli.grid import show_grid
from tokenfleet.cli.options import CatalogOption, JsonOption, book
from tokenfleet.cli.priced import show_checkpoints, show_prices
from tokenfleet.files.plain import plain

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tokenfleet.catalog import Catalog

app = typer.Typer(help="Show the systems, models, prices and cost terms.", no_args_is_help=True)


class Group(str, Enum):
    """Tables of the catalog."""

    systems = "systems"
    models = "models"
    checkpoints = "checkpoints"
    prices = "prices"
    apis = "apis"
    tco = "tco"
    lengths = "lengths"


_COLUMNS: Mapping[Group, Sequence[str]] = {
    Group.systems: ("id", "accelerator", "gpus", "mem_gb", "bf16_tflops", "system_kw", "cooling"),
    Group.models: ("id", "layer_count", "total_params", "active_params", "native_precision"),
    Group.checkpoints: ("model", "precision", "repository", "as_of"),
    Group.prices: (
        "vintage", "system", "kind", "term_years", "tier", "price_usd_per_gpu_h",
        "price_usd_per_system",
    ),
    Group.apis: ("vintage", "id", "model", "usd_per_mtok_input", "usd_per_mtok_output"),
    Group.tco: ("parameter", "low", "typical", "high", "unit", "confidence"),
    Group.lengths: ("id", "requests", "input_mean", "output_mean", "peak_to_mean_1min"),
}  # fmt: skip


@app.command("list")
def list_rows(
    group: Annotated[Group | None, typer.Argument(help="Table; none: how long each is.")] = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a table of the catalog."""
    with answering(as_json):
        from tokenfleet.catalog import load_catalog

        known = book(catalog) or load_catalog()
        if group is None:
            _list_tables(known, as_json)
            return
        rows = [_brief(group, row) for row in _rows(known, group)]
        if as_json:
            say_json({"schema_version": 1, "table": group.value, "rows": rows})
        elif rows:
            _table(_COLUMNS[group], rows)
        else:
            say(f"no {group.value}: those of your own files are listed with --catalog FILE")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="System, model, cost term, lengths.")],
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything the catalog has under a name."""
    with answering(as_json):
        from tokenfleet.catalog import load_catalog
        from tokenfleet.catalog.find import find

        found = find(book(catalog) or load_catalog(), name)
        if as_json:
            say_json({"schema_version": 1, **found})
        else:
            prices, weights = found.pop("prices", []), found.pop("checkpoints", [])
            _say_tree(found, "")
            show_checkpoints(weights)
            show_prices(prices, found["row"].get("gpus", 1))


@app.command("check")
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Catalog files, in the order of use.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Check one's own catalog files: what they add or change, and what a plan would still miss."""
    with answering(as_json):
        from tokenfleet.catalog.check import check_files

        checked = check_files(files)
        if as_json:
            say_json({"schema_version": 1, **checked.to_json()})
            return
        for title, lines in (
            ("added", checked.added),
            ("changed", checked.changed),
            ("not planned with, for want of a figure", checked.missing),
            ("without a price", checked.unpriced),
            ("formats that weights are published in", checked.published),
            ("warnings", checked.warnings),
        ):
            if lines:
                say(f"{title} ({len(lines)})")
                for line in lines:
                    say(f"  {line}")


def _list_tables(catalog: Catalog, as_json: bool) -> None:
    counts = {group.value: len(_rows(catalog, group)) for group in Group}
    if as_json:
        say_json({"schema_version": 1, "tables": counts, "vintages": list(catalog.vintages)})
        return
    for table, count in counts.items():
        say(f"{table:11} {count:4} rows")
    say(f"price vintages: {', '.join(catalog.vintages)}")


def _rows(catalog: Catalog, group: Group) -> Sequence[BaseModel]:
    tables: Mapping[Group, Callable[[], Sequence[BaseModel]]] = {
        Group.systems: lambda: list(catalog.systems.values()),
        Group.models: lambda: list(catalog.models.values()),
        Group.checkpoints: lambda: list(catalog.checkpoints),
        Group.prices: lambda: list(catalog.prices),
        Group.apis: lambda: list(catalog.apis),
        Group.tco: lambda: list(catalog.tco.values()),
        Group.lengths: lambda: list(catalog.lengths.values()),
    }
    return tables[group]()


def _brief(group: Group, row: Any) -> dict[str, Any]:
    if group is Group.lengths:
        means = {"input_mean": row.input_tokens.mean, "output_mean": row.output_tokens.mean}
        own = {n: getattr(row, n) for n in _COLUMNS[group] if n not in means}
        return {n: {**own, **means}[n] for n in _COLUMNS[group]}
    return {name: getattr(row, name) for name in _COLUMNS[group]}


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    def number(name: str) -> bool:
        return all(isinstance(row[name], int | float | None) for row in rows)

    show_grid(
        [(name.replace("_", " "), number(name)) for name in columns],
        ([_shown(row[name]) for name in columns] for row in rows),
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:g}"
    if isinstance(value, int):
        return f"{value / 1e9:,.1f}e9" if value >= 10**9 else f"{value:,}"
    return "–" if value is None else plain(value)


def _say_tree(value: Any, indent: str) -> None:
    """Nested rows as indented lines; blanks are left out, except where they are the news."""
    items = value.items() if isinstance(value, dict) else enumerate(value, start=1)
    for key, item in items:
        if isinstance(item, dict | list) and item:
            say(f"{indent}{key}:")
            _say_tree(item, indent + "  ")
        elif item not in (None, "", []):
            say(f"{indent}{key}: {str(item).lower() if isinstance(item, bool) else item}")
