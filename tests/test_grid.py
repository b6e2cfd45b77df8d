"""Tables fit any terminal, and no cell loses a character."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tokenfleet.report.grid import Grid, figures, texts


def drawn(grid: Grid, width: int) -> list[str]:
    """Lines of the table on a console of some width."""
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(grid)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def wide() -> Grid:
    """Twelve columns, 130 characters wide; the same offer in every row."""
    numbers = [f"figure {i}" for i in range(8)]
    grid = Grid("Wide", (*texts("workload", "site", "offer", "system"), *figures(*numbers)))
    for i in range(3):
        cells = [f"{1_234_567 * (i + j + 1):,}" for j in range(8)]
        grid.add(f"assistant-{i}", f"eu-frankfurt-{i}", "one-offer", f"gb200_nvl72_{i}", *cells)
    return grid


def test_a_table_that_fits_is_drawn_as_it_is() -> None:
    grid = Grid("Systems", (*texts("site"), *figures("count")))
    grid.add("hall", "3")
    grid.add("a longer name", "12")
    assert drawn(grid, 80) == [
        "Systems",
        "site           count",
        "────────────────────",
        "hall               3",
        "a longer name     12",
        "",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    lines = drawn(wide(), width)
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width and "…" not in text
    for i in range(3):
        for j in range(8):
            assert f"{1_234_567 * (i + j + 1):,}" in text
    assert "one-offer" in text and "figure" in text


def test_what_is_the_same_in_all_rows_is_said_once_where_room_is_short() -> None:
    assert "offer: one-offer" in drawn(wide(), 100)
    assert sum("one-offer" in line for line in drawn(wide(), 200)) == 3


def test_parts_begin_with_the_same_columns() -> None:
    lines = drawn(wide(), 60)
    heads = [line for line in lines if line.startswith("workload")]
    assert len(heads) > 1 and all("site" in head for head in heads)


def test_names_end_their_lines_behind_hyphens_and_underscores() -> None:
    grid = Grid("", (*texts("site", "note"), *figures("count")))
    grid.add("eu-frankfurt-main-hall", "words that wrap where they have blanks", "1")
    assert drawn(grid, 38)[2:-1] == [
        "eu-frankfurt-   words that wrap      1",
        "main-hall       where they have",
        "                blanks",
    ]


def test_an_empty_table_prints_its_titles() -> None:
    assert drawn(Grid("", texts("site")), 80) == ["site", "────", ""]
