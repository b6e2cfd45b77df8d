"""Tables and sentences fit any terminal, and no cell loses a character."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tokenfleet.report.grid import Grid, figures, texts
from tokenfleet.report.lines import Box, Lines, fitted


def drawn(grid: Grid | Box, width: int) -> list[str]:
    """Lines of the table or box on a console of some width."""
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


def test_parts_of_a_table_of_numbers_begin_with_its_first_column() -> None:
    grid = Grid("", figures("demand", *(f"figure {i}" for i in range(8))))
    grid.add("0.5", *(f"{1_234_567 * (j + 1):,}" for j in range(8)))
    lines = drawn(grid, 40)
    heads = [line for line in lines if "figure" in line]
    assert len(heads) > 1 and all(line.lstrip().startswith("demand") for line in heads)
    assert sum(line.startswith("   0.5 ") for line in lines) == len(heads)


def test_a_sentence_ends_its_lines_between_words_and_goes_on_below_its_indent() -> None:
    text = "  site eu-1: power short by 1,234,567 kW (limit 40 kW, IT)"
    assert list(fitted(text, 34)) == [
        "  site eu-1: power short by",
        "    1,234,567 kW (limit 40 kW, IT)",
    ]
    assert list(fitted("short\n\n  lines", 34)) == ["short", "", "  lines"]


@pytest.mark.parametrize("width", [24, 40, 80])
def test_a_long_word_ends_its_lines_behind_its_parts(width: int) -> None:
    path = "/srv/plans/" + "/".join(f"region-{i}" for i in range(12)) + "/plan_of_the_year.json"
    lines = list(fitted(f"wrote 1,234,567 rows to {path}", width))
    assert max(map(len, lines)) <= width
    assert "".join(line.strip() for line in lines).endswith(path)
    assert all(line.rstrip()[-1] in "/-_" for line in lines[1:-1])
    assert any("1,234,567" in line for line in lines)


def test_a_word_without_parts_is_folded_and_keeps_every_character() -> None:
    lines = list(fitted(f"sha {'0123456789abcdef' * 8}", 40))
    assert max(map(len, lines)) <= 40
    assert "".join(line.strip() for line in lines) == f"sha{'0123456789abcdef' * 8}"


def test_words_that_a_border_has_no_room_for_stand_in_the_box() -> None:
    name = "a plan of the enterprise with two server rooms, 12,345 users and an API"
    box = Box([Lines(["8 GPUs"])], title=name, subtitle="1,386 configurations in 12.7 s")
    wide, narrow = drawn(box, 100), drawn(box, 40)
    assert name in wide[0] and "1,386 configurations in 12.7 s" in wide[-1]
    assert "plan" not in narrow[0] and "…" not in "".join(narrow)
    assert " ".join(line.strip("│ ") for line in narrow[1:-2]) == name
    assert "1,386 configurations in 12.7 s" in narrow[-1]
    assert max(map(len, narrow)) <= 40


def test_parts_begin_with_what_tells_their_rows_apart() -> None:
    """A verdict in the second part belongs to a limit at a site, and says to which."""
    numbers = [f"figure number {i}" for i in range(6)]
    grid = Grid("", (*texts("workload", "class", "site", "limit"), *figures(*numbers)))
    for site, limit in (("one", "TTFT p95"), ("one", "TPOT p95"), ("two", "TTFT p95")):
        grid.add(f"chat {site}", "all", site, limit, *("1" for _ in numbers))
    lines = drawn(grid, 60)
    titles = [i for i, line in enumerate(lines) if "workload" in line]
    assert len(titles) > 1
    for line in (lines[i] for i in titles):
        assert "site" in line and "limit" in line


def test_a_column_without_a_title_is_said_without_one() -> None:
    grid = Grid("", (*texts("site", ""), *figures("figure of many letters")))
    grid.add("nordic-hall", "bought", "1,000,000,000")
    grid.add("nordic-hall", "bought", "2,000,000,000")
    text = " ".join(" ".join(drawn(grid, 30)).split())
    assert text.startswith("site: nordic-hall, bought figure")
