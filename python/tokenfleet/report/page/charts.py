"""Charts as SVG, drawn here and nowhere else.

Colours are classes of the stylesheet, so that dark mode and print have their own. Nothing has a
`style` attribute: the page's policy allows one stylesheet and forbids the rest. Marks in tables
have coordinates in percent and stretch with their column; drawn charts exist in two widths.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from markupsafe import Markup, escape

from tokenfleet.report.numbers import short

SYSTEM_COLOURS = 6  # classes s0 to s5; what comes after them is s6, a grey
BROAD, NARROW = 720, 340  # px


def _percent(value: float) -> str:
    """A coordinate: within the column, whatever the figure was."""
    return f"{min(max(100.0 * value, 0.0), 100.0) if math.isfinite(value) else 100.0:.2f}%"


def place(value: float) -> str:
    """A coordinate in px."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


def drawing(
    body: Iterable[str],
    height: float,
    width: float | None = None,
    title: str = "",
    scale: float = 1.0,
) -> Markup:
    """An SVG of these elements; without a title it only repeats what stands beside it."""
    size = f'class="bar" width="100%" height="{place(height)}"'
    if width is not None:
        box = f"0 0 {place(width)} {place(height)}"
        size = f'width="{place(scale * width)}" height="{place(scale * height)}" viewBox="{box}"'
    said = 'aria-hidden="true"'
    if title:
        said = f'role="img" aria-label="{escape(title)}"'
    return Markup(f"<svg {size} {said}>{''.join(body)}</svg>")


def _bar(start: float, end: float, height: int, colour: str, top: int = 0) -> str:
    low, high = min(start, end), max(start, end)
    wide = max(min(high, 1.0) - max(low, 0.0), 0.0)
    return (
        f'<rect x="{_percent(low)}" y="{top}" width="{_percent(wide)}" height="{height}" '
        f'rx="2" class="{colour}"/>'
    )


def _upright(at: float, top: float, bottom: float, colour: str, width: float = 1) -> str:
    x = _percent(at)
    return (
        f'<line x1="{x}" x2="{x}" y1="{place(top)}" y2="{place(bottom)}" class="{colour}" '
        f'stroke-width="{width:g}"/>'
    )


# Marks in the cells of a table


def bar(share: float, colour: str = "f-other") -> Markup:
    """A bar from the left."""
    return drawing([_bar(0.0, share, 16, colour)], 16)


def bare_bar(share: float, credit: bool = False) -> Markup:
    """A bar that keeps its colour where every stylesheet is taken away: in a notebook."""
    colour, wide = ("#2f8a78" if credit else "#7d8da0"), 160
    body = f'<rect width="{place(max(wide * share, 1.0))}" height="12" rx="2" fill="{colour}"/>'
    return drawing([body], 12, wide)


def waterfall(start: float, end: float, colour: str, last: bool = False) -> Markup:
    """A step of a waterfall from `start` to `end`, of the whole width; `last` has nothing below."""
    join = "" if last else _upright(end, 16, 27, "l-soft")
    return drawing([_bar(start, end, 16, colour), join], 16)


def stacked(shares: Sequence[tuple[float, str]]) -> Markup:
    """Parts of a whole beside each other."""
    body, at = [], 0.0
    for share, colour in shares:
        body.append(_bar(at, at + share, 14, colour))
        at += share
    return drawing(body, 14)


def bullet(held: float, drawn: float, limit: float | None, binds: bool) -> Markup:
    """What is held (thick) and drawn (thin) of a limit, at which a line stands."""
    whole = max(limit or 0.0, held, drawn, 1e-300)
    return drawing(
        [
            _bar(0.0, 1.0, 16, "f-line"),
            _bar(0.0, held / whole, 16, "f-warn" if binds else "f-accent"),
            _bar(0.0, drawn / whole, 4, "f-paper", 6),
            "" if limit is None else _upright(limit / whole, -3, 19, "l-ink", 2),
        ],
        16,
    )


def against_limit(
    value: float | None,
    low: float | None,
    high: float | None,
    limit: float,
    held: float | None = None,
) -> Markup:
    """A value (dot) and its range (bar) on a scale from 0 to twice the limit (line); a ring is the
    value that is `held`."""
    most = 2.0 * limit
    if limit <= 0 or value is None:
        return drawing([_upright(0.5, 0, 18, "l-ink", 1.5)], 18)
    at = [min(x / most, 1.0) if math.isfinite(x / most) else 1.0 for x in (value, low or 0.0)]
    far = 1.0 if high is None or not math.isfinite(high / most) else min(high / most, 1.0)
    body = ['<line x1="0" x2="100%" y1="9" y2="9" class="l-line" stroke-width="1"/>']
    inside, start = min(far, 0.5), at[1]
    if inside > start:
        body.append(_span(start, inside, "l-accent", ""))
    if far > 0.5:
        body.append(_span(max(start, 0.5), far, "l-warn", ' stroke-dasharray="4 3"'))
    body.append(_upright(0.5, 0, 18, "l-ink", 1.5))
    if held is not None:
        body.append(
            f'<circle cx="{_percent(held / most)}" cy="9" r="4.5" '
            f'class="f-paper l-{_beyond(held, limit)}" stroke-width="2"/>'
        )
    body.append(
        f'<circle cx="{_percent(at[0])}" cy="9" r="4.5" class="f-{_beyond(value, limit)}"/>'
    )
    return drawing(body, 18)


def _beyond(value: float, limit: float) -> str:
    """The colour of a value: a warning beyond its limit."""
    return "warn" if value > limit * (1 + 1e-9) else "accent"


def _span(start: float, end: float, colour: str, dash: str) -> str:
    return (
        f'<line x1="{_percent(start)}" x2="{_percent(end)}" y1="9" y2="9" class="{colour}" '
        f'stroke-width="3"{dash}/>'
    )


def tornado(lower: float, higher: float, base: float, span: float) -> Markup:
    """Two cases as thin bars from the middle, the lower case above; green is cheaper."""
    body = [_upright(0.5, -2, 22, "l-soft")]
    for value, top in ((lower, 1), (higher, 11)):
        off = 0.5 * (value - base) / span if span > 0 else 0.0
        colour = "f-good" if off < 0 else "f-warn"
        body.append(_bar(0.5 + min(off, 0.0), 0.5 + max(off, 0.0), 8, colour, top))
    return drawing(body, 20)


# Racks and systems of a hall


def rack(servers: Sequence[str], places: int, scale: float = 1.0) -> Markup:
    """A rack with its servers from below, and empty places; `servers` are colours."""
    wide, high, gap = 34, 92, 3
    each = (high - 8 - gap * (places - 1)) / places if places else 0.0
    empty = ' stroke-dasharray="3 3"' if not servers else ""
    edge = "l-soft" if servers else "l-other"
    body = [
        f'<rect x="1" y="1" width="{wide - 2}" height="{high - 2}" rx="3" class="none {edge}" '
        f'stroke-width="1.5"{empty}/>'
    ]
    for i, colour in enumerate(servers):
        top = high - 4 - (i + 1) * each - i * gap
        body.append(
            f'<rect x="5" y="{place(top)}" width="{wide - 10}" height="{place(each)}" rx="2" '
            f'class="{colour}"/>'
        )
    return drawing(body, high, wide, scale=scale)


def squares(colours: Sequence[tuple[str, bool]], a_row: int = 20) -> Markup:
    """Squares of 13 px, `a_row` in a row: (colour, hosted) of each."""
    pitch = 15
    body = []
    for i, (colour, hosted) in enumerate(colours):
        x, y = (i % a_row) * pitch, (i // a_row) * pitch
        kind = f"{colour} hosted" if hosted else colour
        body.append(f'<rect x="{x}" y="{y}" width="13" height="13" rx="2" class="{kind}"/>')
    rows = max(math.ceil(len(colours) / a_row), 1)
    return drawing(body, rows * pitch, a_row * pitch)


# Drawn charts


class Figure(Protocol):
    """A drawn chart: what stands on a page, or alone in a file."""

    @property
    def title(self) -> str:
        """What it shows."""

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Classes of its colours, and what they stand for."""

    @property
    def height(self) -> float:
        """In px, whatever its width is."""

    def draw(self, width: float) -> Markup:
        """The drawing, so many px wide; empty where there is nothing to draw."""


@dataclass(frozen=True)
class Block:
    """Hours of a year beside what is stacked in them."""

    hours: float
    parts: tuple[tuple[float, str], ...]  # amount, colour
    name: str


@dataclass(frozen=True)
class Stack:
    """Stacked amounts over the hours of a day or a year: width is time, height is the amount."""

    title: str
    unit: str
    blocks: tuple[Block, ...]
    key: tuple[tuple[str, str], ...] = ()
    height: ClassVar[float] = 206.0

    def draw(self, width: float) -> Markup:
        """The drawing, so many px wide; empty where there is nothing to draw."""
        left, right, top, high = 62.0, 22.0, 22.0, 150.0
        most = max((sum(a for a, _ in block.parts) for block in self.blocks), default=0.0)
        total = sum(block.hours for block in self.blocks)
        if most <= 0 or total <= 0 or not math.isfinite(most):
            return Markup("")
        ticks = nice_ticks(most)
        scale = high / max(ticks[-1], most)
        body = [words(0, 10, self.unit)]
        for tick in ticks:
            y = top + high - tick * scale
            body.append(line(left, width - right, y, y, "l-line"))
            body.append(words(left - 8, y + 4, short(tick), "end"))
        x, free = left, 0.0
        for block in self.blocks:
            wide, y = (width - left - right) * block.hours / total, top + high
            for amount, colour in block.parts:
                tall = amount * scale
                y -= tall
                body.append(
                    f'<rect x="{place(x)}" y="{place(y)}" width="{place(max(wide - 1.5, 0.5))}" '
                    f'height="{place(tall)}" class="{colour}"/>'
                )
            middle, half = x + wide / 2, 3.5 * len(block.name)
            if middle - half >= free and middle + half <= width:
                body.append(words(middle, top + high + 17, block.name, "middle"))
                free = middle + half + 6
            x += wide
        return drawing(body, self.height, width, self.title)


def nice_ticks(most: float, about: int = 4) -> list[float]:
    """Round figures from 0 to at least `most`."""
    if most <= 0 or not math.isfinite(most):
        return [0.0]
    step = 10.0 ** math.floor(math.log10(most / about))
    step *= next(f for f in (1.0, 2.0, 2.5, 5.0, 10.0) if most / (f * step) <= about + 1)
    return [i * step for i in range(math.ceil(most / step) + 1)]


def line(x1: float, x2: float, y1: float, y2: float, colour: str, *, more: str = "") -> str:
    """A thin line; `more` are attributes of its stroke."""
    ends = f'x1="{place(x1)}" x2="{place(x2)}" y1="{place(y1)}" y2="{place(y2)}"'
    return f'<line {ends} class="{colour}" stroke-width="1" {more}/>'.replace(" />", "/>")


def words(x: float, y: float, said: str, anchor: str = "start", kind: str = "") -> str:
    """Text at a place; `kind` is its class."""
    named = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{place(x)}" y="{place(y)}" text-anchor="{anchor}"{named}>{escape(said)}</text>'
    )
