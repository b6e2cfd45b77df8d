"""Charts as SVG, drawn here and nowhere else.

Colours are classes of the stylesheet, so that dark mode and print have their own. Nothing has a
`style` attribute: the page's policy allows one stylesheet and forbids the rest. Marks in tables
have coordinates in percent and stretch with their column; drawn charts exist in two widths.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tokenfleet.report.numbers import short

SYSTEM_COLOURS = 6  # classes s0 to s5; what comes after them is s6, a grey
BROAD, NARROW = 720, 340  # px


def _percent(value: float) -> str:
    """A coordinate: within the column, whatever the figure was."""
    return f"{min(max(100.0 * value, 0.0), 100.0) if math.isfinite(value) else 100.0:.2f}%"


def _px(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _svg(
    body: Iterable[str],
    height: float,
    width: float | None = None,
    title: str = "",
    scale: float = 1.0,
) -> Markup:
    """An SVG of these elements; without a title it only repeats what stands beside it."""
    size = f'class="bar" width="100%" height="{_px(height)}"'
    if width is not None:
        box = f"0 0 {_px(width)} {_px(height)}"
        size = f'width="{_px(scale * width)}" height="{_px(scale * height)}" viewBox="{box}"'
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
        f'<line x1="{x}" x2="{x}" y1="{_px(top)}" y2="{_px(bottom)}" class="{colour}" '
        f'stroke-width="{width:g}"/>'
    )


# Marks in the cells of a table


def bar(share: float, colour: str = "f-other") -> Markup:
    """A bar from the left."""
    return _svg([_bar(0.0, share, 16, colour)], 16)


def bare_bar(share: float, credit: bool = False) -> Markup:
    """A bar that keeps its colour where every stylesheet is taken away: in a notebook."""
    colour, wide = ("#2f8a78" if credit else "#7d8da0"), 160
    body = f'<rect width="{_px(max(wide * share, 1.0))}" height="12" rx="2" fill="{colour}"/>'
    return _svg([body], 12, wide)


def waterfall(start: float, end: float, colour: str, last: bool = False) -> Markup:
    """A step of a waterfall from `start` to `end`, of the whole width; `last` has nothing below."""
    join = "" if last else _upright(end, 16, 27, "l-soft")
    return _svg([_bar(start, end, 16, colour), join], 16)


def stacked(shares: Sequence[tuple[float, str]]) -> Markup:
    """Parts of a whole beside each other."""
    body, at = [], 0.0
    for share, colour in shares:
        body.append(_bar(at, at + share, 14, colour))
        at += share
    return _svg(body, 14)


def bullet(held: float, drawn: float, limit: float | None, binds: bool) -> Markup:
    """What is held (thick) and drawn (thin) of a limit, at which a line stands."""
    whole = max(limit or 0.0, held, drawn, 1e-300)
    return _svg(
        [
            _bar(0.0, 1.0, 16, "f-line"),
            _bar(0.0, held / whole, 16, "f-warn" if binds else "f-accent"),
            _bar(0.0, drawn / whole, 4, "f-paper", 6),
            "" if limit is None else _upright(limit / whole, -3, 19, "l-ink", 2),
        ],
        16,
    )


def against_limit(
    value: float | None, low: float | None, high: float | None, limit: float
) -> Markup:
    """A value (dot) and its range (bar) on a scale from 0 to twice the limit (line)."""
    most = 2.0 * limit
    if limit <= 0 or value is None:
        return _svg([_upright(0.5, 0, 18, "l-ink", 1.5)], 18)
    at = [min(x / most, 1.0) if math.isfinite(x / most) else 1.0 for x in (value, low or 0.0)]
    far = 1.0 if high is None or not math.isfinite(high / most) else min(high / most, 1.0)
    body = ['<line x1="0" x2="100%" y1="9" y2="9" class="l-line" stroke-width="1"/>']
    inside, start = min(far, 0.5), at[1]
    if inside > start:
        body.append(_span(start, inside, "l-accent", ""))
    if far > 0.5:
        body.append(_span(max(start, 0.5), far, "l-warn", ' stroke-dasharray="4 3"'))
    body.append(_upright(0.5, 0, 18, "l-ink", 1.5))
    colour = "f-warn" if value > limit * (1 + 1e-9) else "f-accent"
    body.append(f'<circle cx="{_percent(at[0])}" cy="9" r="4.5" class="{colour}"/>')
    return _svg(body, 18)


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
    return _svg(body, 20)


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
            f'<rect x="5" y="{_px(top)}" width="{wide - 10}" height="{_px(each)}" rx="2" '
            f'class="{colour}"/>'
        )
    return _svg(body, high, wide, scale=scale)


def squares(colours: Sequence[tuple[str, bool]], a_row: int = 20) -> Markup:
    """Squares of 13 px, `a_row` in a row: (colour, hosted) of each."""
    pitch = 15
    body = []
    for i, (colour, hosted) in enumerate(colours):
        x, y = (i % a_row) * pitch, (i // a_row) * pitch
        kind = f"{colour} hosted" if hosted else colour
        body.append(f'<rect x="{x}" y="{y}" width="13" height="13" rx="2" class="{kind}"/>')
    rows = max(math.ceil(len(colours) / a_row), 1)
    return _svg(body, rows * pitch, a_row * pitch)


# Drawn charts


@dataclass(frozen=True)
class Block:
    """Hours of a year beside what is stacked in them."""

    hours: float
    parts: tuple[tuple[float, str], ...]  # amount, colour
    name: str


def over_hours(blocks: Sequence[Block], unit: str, title: str, width: int) -> Markup:
    """Stacked amounts over the hours of a year: width is time, height is the amount."""
    left, top, high, bottom = 46.0, 22.0, 150.0, 34.0
    most = max((sum(a for a, _ in block.parts) for block in blocks), default=0.0)
    total = sum(block.hours for block in blocks)
    if most <= 0 or total <= 0 or not math.isfinite(most):
        return Markup("")
    ticks = nice_ticks(most)
    scale = high / max(ticks[-1], most)
    body = [_text(0, 10, unit)]
    for tick in ticks:
        y = top + high - tick * scale
        body.append(_line(left, width, y, y, "l-line"))
        body.append(_text(left - 6, y + 4, short(tick), "end"))
    x = left
    for block in blocks:
        wide, y = (width - left) * block.hours / total, top + high
        for amount, colour in block.parts:
            tall = amount * scale
            y -= tall
            body.append(
                f'<rect x="{_px(x)}" y="{_px(y)}" width="{_px(max(wide - 1.5, 0.5))}" '
                f'height="{_px(tall)}" class="{colour}"/>'
            )
        if wide > 7.0 * len(block.name):
            body.append(_text(x + wide / 2, top + high + 17, block.name, "middle"))
        x += wide
    return _svg(body, top + high + bottom, width, title)


@dataclass(frozen=True)
class Dot:
    """A point of a line; what is filled is this plan."""

    x: float
    y: float
    label: str = ""
    filled: bool = False


def line(
    points: Sequence[Dot],
    x_name: str,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    *,
    title: str,
    width: int,
    joined: bool = True,
) -> Markup:
    """A line over points, or the points alone; labels stand above theirs."""
    left, right, top, high, bottom = 62.0, 22.0, 22.0, 190.0, 44.0
    xs, ys = [p.x for p in points], [p.y for p in points] + [y for y, _ in y_ticks]
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys), max(ys)
    wide = width - left - right

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - low_x) / (high_x - low_x) if high_x > low_x else 0.5
        up = (y - low_y) / (high_y - low_y) if high_y > low_y else 0.5
        return left + wide * across, top + high * (1.0 - up)

    body = []
    for value, name in y_ticks:
        y = at(low_x, value)[1]
        body += [_line(left, width - right, y, y, "l-line"), _text(left - 8, y + 4, name, "end")]
    taken = -1e9
    for value, name in x_ticks:
        x = at(value, low_y)[0]
        if x - taken > 7.2 * len(name) + 6:
            body.append(_text(x, top + high + 20, name, "middle"))
            taken = x
    body.append(_text(left + wide / 2, top + high + 38, x_name, "middle"))
    if joined and len(points) > 1:
        path = " ".join(f"{_px(x)},{_px(y)}" for x, y in (at(p.x, p.y) for p in points))
        body.append(f'<polyline points="{path}" class="none l-accent" stroke-width="2"/>')
    for p in points:
        x, y = at(p.x, p.y)
        kind = "f-accent" if p.filled else "f-paper"
        body.append(
            f'<circle cx="{_px(x)}" cy="{_px(y)}" r="4" class="{kind} l-accent" stroke-width="2"/>'
        )
        if p.label:
            side = "start" if x < left + 40 else "end" if x > width - right - 40 else "middle"
            body.append(_text(x, y - 10, p.label, side, "strong"))
    return _svg(body, top + high + bottom, width, title)


def nice_ticks(most: float, about: int = 4) -> list[float]:
    """Round figures from 0 to at least `most`."""
    if most <= 0 or not math.isfinite(most):
        return [0.0]
    step = 10.0 ** math.floor(math.log10(most / about))
    step *= next(f for f in (1.0, 2.0, 2.5, 5.0, 10.0) if most / (f * step) <= about + 1)
    return [i * step for i in range(math.ceil(most / step) + 1)]


def _line(x1: float, x2: float, y1: float, y2: float, colour: str) -> str:
    return (
        f'<line x1="{_px(x1)}" x2="{_px(x2)}" y1="{_px(y1)}" y2="{_px(y2)}" class="{colour}" '
        'stroke-width="1"/>'
    )


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{_px(x)}" y="{_px(y)}" text-anchor="{anchor}"{named}>{escape(words)}</text>'
