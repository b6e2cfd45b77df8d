"""The plan over one turned input: what it costs, and where the mix changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenfleet.explanation.rows import SweepPoint
from tokenfleet.report.explained import input_name
from tokenfleet.report.page.panel import Axis, Mark, Panel, Series

_LINES = 6  # settings of a second input that have a line


def figures(points: Sequence[SweepPoint]) -> Iterator[Panel]:
    """Cost a year and of a token against the input; of two inputs the second, with a line for each
    setting of the first."""
    names = list(points[0].factors) if points else []
    if not names:
        return
    *first, across = names
    of: dict[float, list[SweepPoint]] = {}
    for point in points:
        of.setdefault(point.factors[first[0]] if first else 1.0, []).append(point)
    marks: tuple[Mark, ...] = ()
    if not first:
        marks = tuple(Mark(p.factors[across], "") for p in points if p.mix_changed)
    x_name = f"{input_name(across)}, times today's"
    if marks:
        x_name += "; dashed: another mix"
    for field, said in (
        ("annual_cost_usd", "USD a year"),
        ("cost_per_mtok_output_usd", "USD per million output tokens"),
    ):
        lines = tuple(
            Series(
                f"{input_name(first[0])} × {setting:g}" if first else "",
                tuple((p.factors[across], getattr(p, field)) for p in row if p.feasible),
                f"s{i}",
            )
            for i, (setting, row) in enumerate(list(of.items())[:_LINES])
        )
        title = f"{said} by {input_name(across).lower()}"
        yield Panel(title, x_name, said, lines, marks, x=Axis(shown=_factor))


def _factor(value: float) -> str:
    return f"{value:g}"
