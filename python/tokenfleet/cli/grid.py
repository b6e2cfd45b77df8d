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
    from tokenfleet.report.grid import Column, Grid

    grid = Grid("", [Column(title, number) for title, number in columns], sections=sections)
    for row in rows:
        grid.add(*row)
    console().print(grid)


def brief(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return plain(value)
