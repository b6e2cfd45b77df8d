"""A plan in the terminal: lays out what `words` says, with compact tables.

Everything that a user named goes through `Text`, so that no markup of a scenario is obeyed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan, Replicas
from tokenfleet.report import words
from tokenfleet.report.numbers import dollars, number, share

_SHOWN = 5  # rows of a list that may be long
_SHARE_OF_NOTE = 0.005  # smaller shares are not worth a reader's seconds


def render(plan: Plan, console: Console, names: Mapping[str, str] | None = None) -> None:
    """Print the answer: summary, then tables. `names` gives systems their hardware names."""
    console.print(_summary(plan, names or {}))
    for table in (_systems(plan, names or {}), _replicas(plan), _costs(plan), _promises(plan)):
        if table.row_count:
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


def _table(title: str, *columns: tuple[str, str]) -> Table:
    table = Table(
        title=title, box=SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False
    )
    for name, justify in columns:
        table.add_column(name, justify="right" if justify == "right" else "left")
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*(Text(plain(c)) for c in cells))


def _systems(plan: Plan, names: Mapping[str, str]) -> Table:
    right = "right"
    columns = (("site", ""), ("system", ""), ("offer", ""), ("", ""), ("count", right))
    table = _table("Systems", *columns, ("GPUs", right))
    for row in plan.systems:
        name = names.get(row.system, row.system)
        kind = words.obtained(row.kind)
        _row(table, row.site, name, row.offer, kind, f"{row.count:,}", f"{row.gpus:,}")
    return table


def _replicas(plan: Plan) -> Table:
    """Replicas of one workload, system and format together; their layouts beside them."""
    right = "right"
    columns = (("workload", ""), ("system", ""), ("weights", ""), ("replicas", right))
    table = _table("Replicas", *columns, ("GPUs", right), ("layouts", ""))
    groups: dict[tuple[str, str, str], list[Replicas]] = defaultdict(list)
    for row in plan.replicas:
        groups[(row.workload, row.system, row.precision or "measured")].append(row)
    for (workload, system, precision), rows in sorted(groups.items()):
        count = sum(r.count for r in rows)
        gpus = sum(r.count * r.gpus for r in rows)
        _row(table, workload, system, precision, f"{count:,}", f"{gpus:,}", words.layouts(rows))
    for workload, api in sorted({(r.workload, r.api) for r in plan.routing if r.api is not None}):
        _row(table, workload, f"API {api}", "", "", "", "")
    return table


def _costs(plan: Plan) -> Table:
    table = _table("Cost", ("item", ""), ("USD a year", "right"), ("share", "right"))
    for name, usd in sorted(plan.cost_items.items(), key=lambda item: -abs(item[1])):
        if abs(usd) >= _SHARE_OF_NOTE * plan.annual_cost_usd:
            _row(table, words.item_name(name), dollars(usd), share(usd, plan.annual_cost_usd))
    if table.row_count:
        _row(table, "total", dollars(plan.annual_cost_usd), "100%")
    return table


def _promises(plan: Plan) -> Table:
    columns = (("workload", ""), ("tightest class", ""), ("metric", ""), ("promised", "right"))
    more = (("interval", "right"), ("limit", "right"))
    sure = "" if plan.confidence is None else f" with {plan.confidence:.0%} confidence"
    table = _table(f"Latency promised{sure}, ms", *columns, *more)
    for row in words.tightest_promises(plan.slo):
        low, high = row.interval_ms
        _row(
            table,
            row.workload,
            row.cls,
            f"{row.metric.upper()} {row.percentile}",
            number(row.promised_ms),
            f"{number(low)}–{number(high)}",
            number(row.limit_ms),
        )
    return table


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
