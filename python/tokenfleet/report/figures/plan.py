"""A plan's charts for engineers: power and load over the day; cash and power over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tokenfleet.plan.rows import Plan
from tokenfleet.report.page import day, explored, over_time
from tokenfleet.report.page.charts import Figure
from tokenfleet.report.page.look import Look


def figures(plan: Plan) -> Iterator[Figure]:
    """What the report draws, for a file of its own."""
    look = Look(plan)
    if plan.horizon is not None:
        for of in (over_time.cash, over_time.purchases, over_time.held):
            yield of(plan.horizon)
    if plan.exploration is not None:
        yield from explored.figures(look, plan.exploration)
    for figure in (day.power(look), day.utilisation(look)):
        if figure is not None:
            yield figure
    requests = day.requests(look)
    if requests is not None:
        yield replace(requests, key=day.key_of_systems(look))
