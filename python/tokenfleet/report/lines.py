"""Sentences in lines that fit: broken between words, below their own indent, never in a number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.text import Text

_BORDER = 6  # columns of a box's upper and lower line that no words may take
_DEEPER = "  "  # of a line that goes on, below the one that it continues


@dataclass(frozen=True)
class Lines:
    """Sentences, each from a line of its own; prints itself as wide as the console is."""

    texts: Sequence[str]
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines."""
        for text in self.texts:
            for line in fitted(text, options.max_width):
                yield Text(line, style=self.style)


@dataclass(frozen=True)
class Box:
    """Sentences in a frame; words that its border has no room for stand inside it."""

    within: Sequence[RenderableType]
    title: str
    subtitle: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The box."""
        above, below = (
            cell_len(words) <= options.max_width - _BORDER for words in (self.title, self.subtitle)
        )
        first = [] if above else [Lines([self.title])]
        last = [] if below else [Lines([self.subtitle])]
        yield Panel(
            Group(*first, *self.within, *last),
            title=Text(self.title) if above else None,
            subtitle=Text(self.subtitle) if self.subtitle and below else None,
            title_align="left",
            subtitle_align="right",
        )


def fitted(text: str, width: int) -> Iterator[str]:
    """The lines of a text, those that are too long in several; a long word ends behind a part."""
    for line in text.split("\n"):
        if cell_len(line) <= width:
            yield line
        else:
            yield from _broken(line, width)


def _broken(line: str, width: int) -> Iterator[str]:
    indent = line[: len(line) - len(line.lstrip())]
    room = width - len(indent) - len(_DEEPER)
    now = indent
    for piece in (p for word in re.findall(r"\S+\s*", line) for p in _fitting(word, room)):
        if now.strip() and cell_len(now) + cell_len(piece.rstrip()) > width:
            yield now.rstrip()
            now = indent + _DEEPER
        now += piece
    yield now.rstrip()


def _fitting(word: str, room: int) -> Iterator[str]:
    """The word, or what it is made of where it is longer than a line."""
    if cell_len(word.rstrip()) <= room:
        yield word
        return
    for piece in pieces(word):
        yield from chop_cells(piece, room) if cell_len(piece.rstrip()) > room else [piece]


def pieces(text: str) -> list[str]:
    """Parts of a text behind which a line may end: `eu-frankfurt` is `eu-` and `frankfurt`."""
    return re.findall(r".+?(?:[-_/@ ]+|$)", text)
