"""Tables of text that fit any terminal and never cut a figure.

A table that fits is drawn as it is. In one that is too wide, what is the same in all rows is said
once above, names wrap behind their hyphens and underscores, and in the end the table is drawn in
parts below each other that begin with the first columns, as many as tell the rows apart. Numbers
are never broken.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from tokenfleet.files.plain import plain
from tokenfleet.report.lines import Lines, pieces

_GAP = 2  # blanks between columns
_SHORT, _LONG = 10, 18  # characters that a column of words keeps: at least, and for a long word
_KEYS = 2  # first columns of words that every part begins with, at the least


@dataclass(frozen=True)
class Column:
    """A column of words, or of numbers, which stand to the right."""

    title: str
    number: bool = False


def texts(*titles: str) -> tuple[Column, ...]:
    """Columns of words."""
    return tuple(Column(title) for title in titles)


def figures(*titles: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(title, number=True) for title in titles)


@dataclass
class Grid:
    """Rows of cells under titles; prints itself as wide as the console is.

    `sections` are rows before which a line is drawn; `notes` are sentences below the rows.
    """

    title: str
    columns: Sequence[Column]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    sections: Collection[int] = ()
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: object) -> None:
        """One more row; control characters of names are left out."""
        self.rows.append(tuple(plain(cell) for cell in cells))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, or its parts."""
        if self.title:
            yield Text(self.title, style="bold")
        shown = list(range(len(self.columns)))
        if self._least(shown) > options.max_width:
            same = [i for i in shown if len(self.rows) > 1 and self._is_same(i)]
            shown = [i for i in shown if i not in same]
            if same:
                cells = self.rows[0]
                titles = [self.columns[i].title for i in same]
                said = [
                    f"{t}: {cells[i]}" if t else cells[i] for t, i in zip(titles, same, strict=True)
                ]
                yield Lines([", ".join(said)])
        parts = list(self._parts(shown, options.max_width))
        for at, part in enumerate(parts):
            yield self._table(part, options.max_width)
            if self.notes and at == len(parts) - 1:
                yield Lines(self.notes)
            yield Text("")

    def _is_same(self, i: int) -> bool:
        return not self.columns[i].number and len({row[i] for row in self.rows}) == 1

    def _parts(self, shown: list[int], width: int) -> Iterator[list[int]]:
        """Columns of the parts, each of which begins with the same ones."""
        keys = self._keys(shown, width)
        part = list(keys)
        for i in (i for i in shown if i not in keys):
            if len(part) > len(keys) and self._least([*part, i]) > width:
                yield part
                part = list(keys)
            part.append(i)
        yield part

    def _keys(self, shown: list[int], width: int) -> list[int]:
        """The first columns of words that tell the rows apart, where there is room beside them for
        any other; else the first ones, or the first alone."""
        words = list(itertools.takewhile(lambda i: not self.columns[i].number, shown))
        for keys in (words[:n] for n in range(_KEYS, len(words) + 1)):
            if len({tuple(row[i] for i in keys) for row in self.rows}) == len(self.rows):
                if all(self._least([*keys, i]) <= width for i in shown if i not in keys):
                    return keys
                break
        first = words[:_KEYS] or shown[:1]
        return first if self._least(first) < width // 2 else first[:1]

    def _widest(self, i: int) -> int:
        return max(cell_len(text) for text in (self.columns[i].title, *self._cells(i)))

    def _narrowest(self, i: int) -> int:
        """Width below which a number would be broken, or words get too narrow to read."""
        if self.columns[i].number:
            title = max(map(cell_len, self.columns[i].title.split()), default=0)
            return max([title, *map(cell_len, self._cells(i))])
        parts = [cell_len(piece) for cell in self._cells(i) for piece in pieces(cell)]
        return min(self._widest(i), max([_SHORT, *(n for n in parts if n <= _LONG)]))

    def _cells(self, i: int) -> list[str]:
        return [row[i] for row in self.rows]

    def _least(self, columns: Sequence[int]) -> int:
        return sum(map(self._narrowest, columns)) + _GAP * (len(columns) - 1)

    def _widths(self, columns: Sequence[int], width: int) -> list[int]:
        """The widest columns give way first, none below its narrowest."""
        widths = [self._widest(i) for i in columns]
        least = [self._narrowest(i) for i in columns]
        room = width - _GAP * (len(columns) - 1)
        while sum(widths) > room and widths != least:
            most = max(w for w, low in zip(widths, least, strict=True) if w > low)
            at = next(j for j, w in enumerate(widths) if w == most and w > least[j])
            widths[at] -= 1
        return widths

    def _table(self, columns: Sequence[int], width: int) -> Table:
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        widths = dict(zip(columns, self._widths(columns, width), strict=True))
        for i, wide in widths.items():
            column = self.columns[i]
            table.add_column(
                Text(column.title),
                justify="right" if column.number else "left",
                width=wide,
                overflow="fold",
            )
        for at, row in enumerate(self.rows):
            if at in self.sections:
                table.add_section()
            table.add_row(*(Text(_wrapped(row[i], widths[i])) for i in columns))
        return table


def _wrapped(text: str, width: int) -> str:
    """The text in lines that end behind a part; a part that is too long is left to be folded."""
    lines = [""]
    for piece in pieces(text):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
