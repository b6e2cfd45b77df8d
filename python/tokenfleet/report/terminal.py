"""A plan in the terminal: lays out what `words` says, with compact tables.

Everything that a user named goes through `Text`, so that no markup of a scenario is obeyed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan, Replicas
from tokenfleet.report import words
from tokenfleet.report.grid import Grid, figures, texts
from tokenfleet.report.numbers import dollars, number, share

_SHOWN = 5  # rows of a list that may be long


def render(plan: Plan, console: Console, names: Mapping[str, str] | None = None) -> None:
    """Print the answer: summary, then tables. `names` gives systems their hardware names."""
    console.print(_summary(plan, names or {}))
    for table in (_systems(plan, names or {}), _replicas(plan), _costs(plan), _promises(plan)):
        if table.rows:
            console.print(table)
    for block in (
        _notes("Not considered", words.not_considered(plan), len(plan.not_considered)),
        _notes("Warnings", plan.warnings, len(plan.warnings)),
    ):
        if block is not None:
            console.print(block)


# Summary


def _summary(plan: Plan, names: Mapping[str, str]) -> Panel:
    lines: list[RenderableType] = [
        Text(words.headline(plan, names), style="bold"),
        Text(words.price_line(plan)),
        Text(words.status_words(plan)),
        Text(""),
        *(Text(f"• {reason}") for reason in words.reasons(plan)),
    ]
    looked = f"{plan.candidates:,} configurations in {plan.seconds:.1f} s"
    return Panel(
        Group(*lines),
        title=Text(plain(plan.name)),
        subtitle=Text(looked) if plan.candidates else None,
        title_align="left",
        subtitle_align="right",
    )


# Tables


def _systems(plan: Plan, names: Mapping[str, str]) -> Grid:
    columns = (*texts("site", "system", "offer", ""), *figures("count", "GPUs"))
    grid = Grid("Systems", columns)
    for row in plan.systems:
        name = names.get(row.system, row.system)
        kind = words.obtained(row.kind)
        grid.add(row.site, name, row.offer, kind, f"{row.count:,}", f"{row.gpus:,}")
    return grid


def _replicas(plan: Plan) -> Grid:
    """Replicas of one workload, system and format together; their layouts beside them."""
    head = texts("workload", "system", "weights")
    grid = Grid("Replicas", (*head, *figures("replicas", "GPUs"), *texts("layouts")))
    groups: dict[tuple[str, str, str], list[Replicas]] = defaultdict(list)
    for row in plan.replicas:
        groups[(row.workload, row.system, row.precision or "measured")].append(row)
    for (workload, system, precision), rows in sorted(groups.items()):
        count = sum(r.count for r in rows)
        gpus = sum(r.count * r.gpus for r in rows)
        grid.add(workload, system, precision, f"{count:,}", f"{gpus:,}", words.layouts(rows))
    for workload, api in sorted({(r.workload, r.api) for r in plan.routing if r.api is not None}):
        grid.add(workload, f"API {api}", "", "", "", "")
    return grid


def _costs(plan: Plan) -> Grid:
    grid = Grid("Cost", (*texts("item"), *figures("USD a year", "share")))
    for name, usd in words.cost_rows(plan):
        grid.add(name, dollars(usd), share(usd, plan.annual_cost_usd))
    return grid


def _promises(plan: Plan) -> Grid:
    sure = "" if plan.confidence is None else f" with {plan.confidence:.0%} confidence"
    head = texts("workload", "tightest class", "metric")
    grid = Grid(f"Latency promised{sure}, ms", (*head, *figures("promised", "interval", "limit")))
    for row in words.tightest_promises(plan.slo):
        low, high = row.interval_ms
        grid.add(
            row.workload,
            row.cls,
            f"{row.metric.upper()} {row.percentile}",
            number(row.promised_ms),
            f"{number(low)}–{number(high)}",
            number(row.limit_ms),
        )
    return grid


# Notes


def _notes(title: str, rows: Sequence[str], count: int) -> Text | None:
    if not rows:
        return None
    text = Text(f"{title} ({count})", style="bold")
    for row in rows[:_SHOWN]:
        text.append(f"\n  {plain(row)}", style="not bold")
    if len(rows) > _SHOWN:
        text.append(f"\n  and {len(rows) - _SHOWN} more (see --json)", style="not bold")
    return text
