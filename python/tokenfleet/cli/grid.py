"""Rows of cells under titles, for people."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from tokenfleet.cli.answer import console
from tokenfleet.files.plain import plain


def show_grid(
    columns: Sequence[tuple[str, bool]],
    rows: Iterable[Sequence[str]],
    *,
    sections: Collection[int] = (),
) -> None:
    """Prints a table. `columns`: titles, and whether they hold numbers; `sections`: rows before
    which a new part begins."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title, number in columns:
        table.add_column(title, justify="right" if number else "left")
    for i, row in enumerate(rows):
        if i in sections:
            table.add_section()
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def brief(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return plain(value)
