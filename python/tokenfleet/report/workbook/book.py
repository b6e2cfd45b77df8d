"""Sheets with one look: XlsxWriter behind a few calls that no text of a user can turn into code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import Any

import xlsxwriter
from xlsxwriter.utility import xl_rowcol_to_cell

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan
from tokenfleet.report.workbook.expression import Cell, Expression

INK, SOFT, LINE, ACCENT, RUST = "#16202B", "#56626F", "#DFE4EA", "#0C5F6D", "#B3541E"
_INPUT, _INPUT_GROUND, _INPUT_LINE = "#1F3FBF", "#FFF7DC", "#D8CB96"
_FONT, _SIZE = "Arial", 10
_MOST = 32_000  # characters of a cell; a spreadsheet refuses more than 32,767
_DATED = datetime(2000, 1, 1)  # of files of plans without a day: the same plan, the same bytes

NUMBERS = {
    "usd": '"$"#,##0;-"$"#,##0;"–"',
    "cents": '"$"#,##0.00;-"$"#,##0.00',
    "usd4": '"$"#,##0.0000;-"$"#,##0.0000',
    "count": "#,##0",
    "number": "#,##0.00",
    "figure": "#,##0.####",
    "percent": "0.0%",
    "percent2": "0.00%",
    "change": '+0.0%;-0.0%;"–"',
    "ms": "#,##0.0",
    "date": "yyyy-mm-dd",
    "text": "@",
    "general": "General",
}


def address(row: int, column: int, sheet: str = "") -> str:
    """An absolute address: `Inputs!$B$7`."""
    cell = str(xl_rowcol_to_cell(row, column, row_abs=True, col_abs=True))
    return f"'{sheet}'!{cell}" if sheet else cell


def clean(value: object) -> str:
    """Text that every reader of workbooks takes: no control characters, no half of a pair."""
    text = plain(value).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


@dataclass
class Sheet:
    """One sheet. Rows and columns count from 0."""

    book: Book
    name: str
    of: Any  # the sheet of XlsxWriter
    row: int = 0  # the next free one

    def text(self, column: int, value: object, look: str = "plain") -> None:
        """Text in the current row; it is never read as a formula, a link or a number."""
        self.of.write_string(self.row, column, clean(value), self.book.look(look, "text"))

    def number(self, column: int, value: float | None, form: str, look: str = "plain") -> None:
        """A number in the current row; a dash for none."""
        if value is None:
            self.of.write_string(self.row, column, "–", self.book.look(f"{look} right", "text"))
        else:
            self.of.write_number(self.row, column, value, self.book.look(look, form))

    def formula(self, column: int, given: Expression, form: str, look: str = "plain") -> Expression:
        """A formula in the current row, and the cell it stands in."""
        cell = self.book.look(look, form)
        self.of.write_formula(self.row, column, f"={given.text}", cell, given.value)
        return self.at(column, given.value)

    def words(self, column: int, formula: str, value: str, look: str = "plain") -> None:
        """A formula that gives text."""
        self.of.write_formula(
            self.row, column, f"={formula}", self.book.look(look, "general"), value
        )

    def at(self, column: int, value: float, row: int | None = None) -> Expression:
        """A cell of this sheet, as other sheets may name it."""
        return Cell(address(self.row if row is None else row, column, self.name), value)

    def head(self, titles: Sequence[str], words: int = 1, frozen: bool = False) -> None:
        """A row of titles, the first of which are of words; `frozen` keeps it in sight."""
        for column, title in enumerate(titles):
            self.text(column, title, "head" if column < words else "head right")
        self.of.set_row(self.row, 30 if any(len(title) > 13 for title in titles) else 18)
        if frozen:
            self.of.freeze_panes(self.row + 1, 0)
            self.of.repeat_rows(self.row)
        self.row += 1

    def section(self, title: str) -> None:
        """A title inside a sheet, with room above it."""
        self.row += 1
        self.text(0, title, "section")
        self.row += 1


@dataclass
class Book:
    """A workbook in memory."""

    plan: Plan
    file: BytesIO = field(default_factory=BytesIO)
    sheets: dict[str, Sheet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Opens it, with every reading of text as something else turned off."""
        self.of = xlsxwriter.Workbook(
            self.file,
            {
                "in_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        self.of.set_properties({"title": clean(self.plan.name)[:255], "created": _day(self.plan)})
        self.of.set_calc_mode("auto")
        self._looks: dict[tuple[str, str], Any] = {}

    def sheet(self, name: str, note: str, widths: Sequence[float], title: str = "") -> Sheet:
        """A new sheet with a title, a note under it, and widths of its columns."""
        of = self.of.add_worksheet(name)
        of.hide_gridlines(2)
        of.set_landscape()
        of.set_paper(9)
        of.fit_to_pages(1, 0)
        of.set_margins(0.5, 0.5, 0.6, 0.6)
        short = clean(self.plan.name).replace("&", "&&")[:80]
        of.set_footer(f"&L&8{short}&C&8&A&R&8&P of &N")
        for column, width in enumerate(widths):
            of.set_column(column, column, width, self.look("plain", "general"))
        sheet = Sheet(self, name, of)
        sheet.text(0, title or name, "title")
        of.set_row(0, 24)
        sheet.row = 1
        sheet.text(0, note, "note")
        sheet.row = 3
        self.sheets[name] = sheet
        return sheet

    def look(self, look: str, form: str) -> Any:
        """A format, made once: a look (several words add up) and how a number is written."""
        key = (look, form)
        if key not in self._looks:
            made = {"font_name": _FONT, "font_size": _SIZE, "font_color": INK, "valign": "vcenter"}
            for word in look.split():
                made |= _LOOKS[word]
            self._looks[key] = self.of.add_format({**made, "num_format": NUMBERS[form]})
        return self._looks[key]

    def close(self) -> bytes:
        """The finished file."""
        self.of.close()
        return self.file.getvalue()


_LOOKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "right": {"align": "right"},
    "inset": {"indent": 1},
    "wrap": {"text_wrap": True, "valign": "top"},
    "bold": {"bold": True},
    "soft": {"font_color": SOFT},
    "title": {"bold": True, "font_size": 16},
    "lead": {"font_size": 12},
    "big": {"bold": True, "font_size": 13},
    "note": {"font_color": SOFT, "font_size": 9},
    "section": {"bold": True, "font_size": 12, "font_color": ACCENT},
    "head": {"bold": True, "bottom": 1, "text_wrap": True, "valign": "bottom"},
    "total": {"bold": True, "top": 1},
    "warn": {"font_color": RUST, "bold": True},
    "input": {
        "font_color": _INPUT,
        "bg_color": _INPUT_GROUND,
        "border": 1,
        "border_color": _INPUT_LINE,
        "locked": False,
    },
}


def _day(plan: Plan) -> datetime:
    try:
        return datetime.fromisoformat(plan.as_of or "")
    except ValueError:
        return _DATED
