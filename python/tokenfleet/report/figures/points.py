"""The front of `search`: cost against latency of the points that none beats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.report.findings import clip
from tokenfleet.report.page.charts import SYSTEM_COLOURS
from tokenfleet.report.page.look import OTHER
from tokenfleet.report.page.panel import Axis, Panel, Point, Series

_CLASSES = 6  # of requests that are drawn
_METRICS = (("tpot_p99_ms", "TPOT p99, ms"), ("ttft_p99_ms", "TTFT p99, ms"))
_COST = "cost_per_mtok_output_usd"


def figures(front: Mapping[str, Any]) -> Iterator[Panel]:
    """Of each class of requests: cost against TPOT and against TTFT, a colour for each system.

    A line joins the points that are best in the two alone; the others are better in the third.
    """
    rows = {name: list(front[name]) for name in ("workload", "class", "system", _COST)} | {
        metric: list(front[metric]) for metric, _ in _METRICS
    }
    of_class: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(zip(rows["workload"], rows["class"], strict=True)):
        of_class.setdefault(key, []).append(i)
    for (workload, cls), chosen in list(of_class.items())[:_CLASSES]:
        for metric, name in _METRICS:
            points = [(float(rows[metric][i]), float(rows[_COST][i])) for i in chosen]
            systems = [str(rows["system"][i]) for i in chosen]
            title = f"{clip(workload)}, {clip(cls)}: cost of output against {name.split(',')[0]}"
            yield _front(title, name, points, systems)


def _front(title: str, name: str, points: list[Point], systems: list[str]) -> Panel:
    ranked = sorted(set(systems), key=lambda s: (-systems.count(s), s))
    colours = {s: f"s{i}" if i < SYSTEM_COLOURS else OTHER for i, s in enumerate(ranked)}
    best = Series("", tuple(staircase(points)), "soft", dots=False)
    dots = tuple(
        Series(
            clip(system),
            tuple(p for p, of in zip(points, systems, strict=True) if of == system),
            colours[system],
            joined=False,
        )
        for system in ranked
    )
    log = Axis(log=True)
    return Panel(title, name, "USD per million output tokens", (best, *dots), x=log, y=log)


def staircase(points: list[Point]) -> Iterator[Point]:
    """From left to right, the points below all that stand left of them.

    >>> list(staircase([(2.0, 3.0), (1.0, 5.0), (3.0, 4.0)]))
    [(1.0, 5.0), (2.0, 5.0), (2.0, 3.0)]
    """
    least = float("inf")
    for x, y in sorted(points):
        if y < least:
            if least < float("inf"):
                yield (x, least)
            yield (x, y)
            least = y
