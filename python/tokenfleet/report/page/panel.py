"""A panel: lines and dots over two axes, either of which may be logarithmic.

>>> front = Series("H100", ((20.0, 3.2), (40.0, 2.1)), "s0")
>>> Panel("Cost against latency", "TPOT, ms", "USD", (front,)).draw(720)[:4]
Markup('<svg')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

from tokenfleet.report.numbers import short
from tokenfleet.report.page.charts import drawing, line, nice_ticks, place, words

_LEFT, _RIGHT, _TOP, _HIGH, _BOTTOM = 62.0, 22.0, 26.0, 190.0, 44.0
_LETTER = 7.0  # px of a letter, at most on average
_CELL = 3.0  # px: of dots that fall together one is drawn

Point = tuple[float, float]
Tick = tuple[float, str]


@dataclass(frozen=True)
class Series:
    """Points of one name. `colour` is a colour of the stylesheet: s0 to s6, accent, warn, ..."""

    name: str
    points: tuple[Point, ...]
    colour: str
    joined: bool = True
    dots: bool = True
    filled: bool = True  # whether dots are full
    labels: tuple[tuple[Point, str], ...] = ()  # beside some of the points


@dataclass(frozen=True)
class Mark:
    """An upright line with a name."""

    x: float
    name: str
    colour: str = "soft"


@dataclass(frozen=True)
class Axis:
    """How figures of one direction are placed and written. `ticks` are found where none are given.

    With `zero` the axis begins at 0 whatever the figures are.
    """

    log: bool = False
    zero: bool = False
    shown: Callable[[float], str] = short
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True)
class Panel:
    """One drawing; what is not finite, or not above zero on a logarithmic axis, is left out."""

    title: str
    x_name: str
    y_name: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    x: Axis = Axis()
    y: Axis = Axis()
    height: ClassVar[float] = _TOP + _HIGH + _BOTTOM

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Class of the colour and name of every series that has a name."""
        return tuple((_fill(s.colour), s.name) for s in self.series if s.name)

    def draw(self, width: float) -> Markup:
        """The drawing, so many px wide; empty where there is nothing to draw."""
        points = [p for s in self.series for p in s.points if self._is_shown(p)]
        if not points:
            return Markup("")
        across = _Scale.over([x for x, _ in points] + [m.x for m in self.marks], self.x)
        up = _Scale.over([y for _, y in points], self.y)
        frame = _Frame(across, up, width)
        body = [words(0, 12, self.y_name), *frame.grid(self.x_name)]
        body += [text for mark in self.marks for text in frame.mark(mark)]
        for s in self.series:
            shown = [p for p in s.points if self._is_shown(p)]
            body += frame.series(s, shown)
        return drawing(body, self.height, width, self.title)

    def _is_shown(self, point: Point) -> bool:
        return all(
            math.isfinite(value) and (value > 0 or not axis.log)
            for value, axis in zip(point, (self.x, self.y), strict=True)
        )


@dataclass(frozen=True)
class _Scale:
    """From figures to shares of an axis."""

    low: float
    high: float
    log: bool
    ticks: tuple[Tick, ...]

    @classmethod
    def over(cls, values: Sequence[float], axis: Axis) -> _Scale:
        """The scale that holds the values, rounded outwards to its ticks."""
        low, high = min(values), max(values)
        ticks = axis.ticks
        if not ticks:
            if axis.log:
                found = list(_decades(low, high))
            else:
                found = _steps(0.0 if axis.zero or 0 <= low < 0.4 * high else low, high)
            ticks = tuple((tick, axis.shown(tick)) for tick in found)
        at = [tick for tick, _ in ticks]
        return cls(min(low, *at), max(high, *at), axis.log, ticks)

    def share(self, value: float) -> float:
        """Where a value stands, 0 to 1."""
        low, high = (math.log(v) if self.log else v for v in (self.low, self.high))
        at = math.log(value) if self.log else value
        return (at - low) / (high - low) if high > low else 0.5


@dataclass(frozen=True)
class _Frame:
    """The scales on so many px."""

    across: _Scale
    up: _Scale
    width: float

    def at(self, point: Point) -> Point:
        """The place of a point in px."""
        wide = self.width - _LEFT - _RIGHT
        x = _LEFT + wide * self.across.share(point[0])
        return x, _TOP + _HIGH * (1.0 - self.up.share(point[1]))

    def grid(self, x_name: str) -> Iterator[str]:
        """Lines of the ticks, and their figures where they have room."""
        for value, name in self.up.ticks:
            y = self.at((self.across.high, value))[1]
            yield line(_LEFT, self.width - _RIGHT, y, y, "l-line")
            yield words(_LEFT - 8, y + 4, name, "end")
        free = 0.0
        for value, name in self.across.ticks:
            x, half = self.at((value, self.up.high))[0], _LETTER * len(name) / 2
            if x - half >= free:
                yield words(x, _TOP + _HIGH + 18, name, "middle")
                free = x + half + 8
        yield words((_LEFT + self.width - _RIGHT) / 2, _TOP + _HIGH + 38, x_name, "middle")

    def mark(self, mark: Mark) -> Iterator[str]:
        """An upright line with its name at its head."""
        x = self.at((mark.x, self.up.high))[0]
        yield line(x, x, _TOP, _TOP + _HIGH, f"l-{mark.colour}", more='stroke-dasharray="4 3"')
        left = x > self.width / 2
        yield words(x - 5 if left else x + 5, _TOP - 4, mark.name, "end" if left else "start")

    def series(self, s: Series, points: Sequence[Point]) -> Iterator[str]:
        """A line, and dots of which no two stand on the same spot."""
        places = [self.at(p) for p in points]
        stroke = f"l-{s.colour}"
        if s.joined and len(places) > 1:
            path = " ".join(f"{place(x)},{place(y)}" for x, y in places)
            yield f'<polyline points="{path}" class="none {stroke}" stroke-width="2"/>'
        if s.dots or len(places) == 1:
            fill, seen = _fill(s.colour) if s.filled else "f-paper", set()
            for x, y in places:
                spot = (round(x / _CELL), round(y / _CELL))
                if spot not in seen:
                    seen.add(spot)
                    radius = 3.5 if s.joined else 2.5
                    yield (
                        f'<circle cx="{place(x)}" cy="{place(y)}" r="{radius:g}" '
                        f'class="{fill} {stroke}" stroke-width="1.5"/>'
                    )
        for point, text in s.labels:
            x, y = self.at(point)
            side = "start" if x < _LEFT + 60 else "end" if x > self.width - 90 else "middle"
            yield words(x, y - 9, text, side, "strong")


def _fill(colour: str) -> str:
    return colour if colour[0] == "s" and colour[1:].isdigit() else f"f-{colour}"


def _steps(low: float, high: float, about: int = 4) -> list[float]:
    """Round figures, evenly apart, from at most `low` to at least `high`."""
    if low >= 0 and high <= 0:
        return [0.0]
    span = high - low if high > low else abs(high)
    step = nice_ticks(span, about)[1]
    first = math.floor(low / step + 1e-9) if high > low else math.floor(low / step) - 1
    last = max(math.ceil(high / step - 1e-9), first + 1)
    return [i * step for i in range(first, last + 1)]


def _decades(low: float, high: float) -> Iterator[float]:
    """1, 2 and 5 times powers of ten; the powers alone over more than two of them."""
    parts = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    every = [
        f * 10.0**k
        for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for f in parts
    ]
    first = max((i for i, v in enumerate(every) if v <= low * (1 + 1e-9)), default=0)
    last = min((i for i, v in enumerate(every) if v >= high * (1 - 1e-9)), default=len(every) - 1)
    yield from every[first : max(last, first + 1) + 1]
