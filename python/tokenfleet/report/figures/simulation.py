"""A plan over its load: latency and cost by offered load, and what waits and fills caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tokenfleet.report.page.panel import Axis, Mark, Panel, Series
from tokenfleet.simulation.loads import capacity, curves, time_columns
from tokenfleet.simulation.result import Simulation

_LOAD = "offered load over the plan's"
_LEVELS = (("p50", "s0"), ("p95", "s1"), ("p99", "s2"))
_COSTS = (
    ("cost_per_mtok_output_usd", "offered token", "s0"),
    ("cost_per_mtok_good_output_usd", "token within limits", "s1"),
)


def figures(points: Sequence[Simulation], over_time: Simulation) -> Iterator[Panel]:
    """`points` against their load, then what one of the plan's groups held over time."""
    columns = curves(points)
    limit = capacity(points)
    marks: tuple[Mark, ...] = (Mark(1.0, "the plan", "ink"),)
    marks += () if limit is None else (Mark(limit, "capacity", "warn"),)
    for metric in ("ttft", "tpot"):
        lines = tuple(
            _line(level, columns["load"], columns[f"{metric}_{level}_ms"], colour)
            for level, colour in _LEVELS
        )
        name = metric.upper()
        yield Panel(
            f"{name} of the worst class", _LOAD, f"{name}, ms", lines, marks, y=Axis(log=True)
        )
    costs = tuple(
        _line(said, columns["load"], columns[name], colour) for name, said, colour in _COSTS
    )
    usd = "USD per million output tokens"
    yield Panel("Cost of a token", _LOAD, usd, costs, marks, y=Axis(log=True))
    held = time_columns(over_time)
    for name, said, what in (
        ("waiting", "Requests waiting per replica", "requests"),
        ("cache_share", "Share of the KV cache in use", "share"),
    ):
        line = replace(_line("", held["at_s"], held[name], "accent"), dots=False)
        title = f"{said}, in the group with the fullest caches, at the plan's load"
        yield Panel(title, "simulated time, s", what, (line,), y=Axis(zero=True))


def _line(name: str, xs: Sequence[Any], ys: Sequence[Any], colour: str) -> Series:
    """The points that there are: a load of which no token is within limits has no cost of one."""
    points = tuple((x, y) for x, y in zip(xs, ys, strict=True) if y is not None)
    return Series(name, points, colour)
