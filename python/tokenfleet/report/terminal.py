"""A plan in the terminal: lays out what `words` says, with compact tables.

Everything that a user named goes through `Text`, so that no markup of a scenario is obeyed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console, Group
from rich.text import Text

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Plan, Replicas
from tokenfleet.report import inputs, over_time, words
from tokenfleet.report.grid import Grid, figures, texts
from tokenfleet.report.lines import Box, Lines
from tokenfleet.report.numbers import dollars, number, percent, share, unit_price

_SHOWN = 5  # rows of a list that may be long
_PER_MTOK = ("$/Mtok out", "$/Mtok in", "$/Mtok both")


def render(plan: Plan, console: Console) -> None:
    """Print the answer: summary, then tables; over a horizon that of all periods first."""
    if plan.horizon is not None:
        console.print(over_time.answer(plan, plan.horizon))
        for table in over_time.tables(plan.horizon):
            console.print(table)
        console.print(Text("One period: the first, or the one that --period names", style="bold"))
    else:
        console.print(summary(plan))
    for table in _tables(plan):
        if table.rows:
            console.print(table)
    console.print(Lines(words.above_range(plan)))
    for block in (
        _notes("Not considered", words.not_considered(plan), len(plan.not_considered)),
        _notes("Assumed", [inputs.assumed(row) for row in plan.inputs if row.assumed], shown=20),
        _notes("Warnings", words.warnings(plan)),
    ):
        if block is not None:
            console.print(block)


def _tables(plan: Plan) -> tuple[Grid, ...]:
    ways = _ways(plan)
    return _systems(plan), _workloads(plan), _replicas(plan), _costs(plan), ways, _promises(plan)


# Summary


def summary(plan: Plan) -> Box:
    """The answer in a box: what to get, its cost, its proof, the reasons."""
    lines = [
        words.money(plan),
        words.token_price(plan),
        words.status_words(plan),
        *words.certainty(plan),
        *words.simulated(plan),
        "",
        *(f"• {reason}" for reason in words.reasons(plan)),
    ]
    looked = f"{plan.candidates:,} configurations in {plan.seconds:.1f} s"
    return Box(
        [Lines([words.headline(plan)], style="bold"), Lines(lines)],
        title=plain(plan.name),
        subtitle=looked if plan.candidates else "",
    )


# Tables


def _systems(plan: Plan) -> Grid:
    numbers = figures("count", "GPUs", "kW", "USD up front", "USD a year")
    grid = Grid("Systems", (*texts("site", "system", "offer", ""), *numbers))
    names, unknown = words.accelerators(plan), words.powerless(plan)
    for row in plan.systems:
        grid.add(
            row.site,
            names.get(row.system, row.system),
            row.offer,
            words.obtained_for(row),
            f"{row.count:,}",
            f"{row.gpus:,}",
            number(None if row.system in unknown else row.count * row.provisioned_it_kw),
            dollars(row.capex_usd),
            dollars(row.annual_cost_usd),
        )
    return grid


def _ways(plan: Plan) -> Grid:
    """Buying, renting and hosted APIs, each alone."""
    paid = "USD up front" if plan.horizon is None else "USD bought"
    numbers = figures("USD a year", "to this plan", paid, "GPUs", "gap")
    grid = Grid("Each way alone", (*texts("way"), *numbers))
    for row in plan.ways:
        if row.annual_cost_usd is None:
            none = "impossible" if row.impossible else "none found"
            grid.add(row.name, *(none, "", "", "", ""))
            if row.why:
                grid.notes.append(plain(f"{row.name}: {row.why}"))
        else:
            more = "" if row.difference_relative is None else f"{row.difference_relative:+.1%}"
            grid.add(
                row.name,
                dollars(row.annual_cost_usd),
                more,
                dollars(row.capex_usd or 0.0),
                f"{row.gpus or 0:,}",
                "" if row.gap is None else percent(row.gap),
            )
    return grid


def _replicas(plan: Plan) -> Grid:
    """Replicas of one workload, system, engine and format together; their layouts beside them."""
    head = texts("workload", "system", "engine", "weights")
    grid = Grid("Replicas", (*head, *figures("replicas", "GPUs", "load"), *texts("layouts")))
    groups: dict[tuple[str, ...], list[Replicas]] = defaultdict(list)
    for row in plan.replicas:
        key = (row.workload, row.system, row.engine or "measured", row.precision or "measured")
        groups[key].append(row)
    for group, rows in sorted(groups.items()):
        count = sum(r.count for r in rows)
        gpus = sum(r.count * r.gpus for r in rows)
        load = sum(r.load_mean * r.count * r.gpus for r in rows)
        grid.add(*group, f"{count:,}", f"{gpus:,}", share(load, gpus), words.layouts(rows))
    return grid


def _workloads(plan: Plan) -> Grid:
    """What each workload gets and pays; its part of shared systems by accelerator-hours."""
    load = figures("requests/s", "GPUs", "by API", "USD a year")
    of_images = any(row.images_per_year is not None for row in plan.workloads)
    per_image = figures("$/1,000 images") if of_images else ()
    grid = Grid("Workloads", (*texts("workload"), *load, *figures(*_PER_MTOK), *per_image))
    seconds = sum(block.hours_per_year for block in plan.blocks) * 3600.0
    for row in plan.workloads:
        grid.add(
            row.workload,
            number(row.requests_per_year / seconds if seconds else 0.0),
            f"{row.gpus:,}",
            "–" if row.api_share is None else f"{row.api_share:.0%}",
            dollars(row.annual_cost_usd),
            unit_price(row.cost_per_mtok_output_usd),
            unit_price(row.cost_per_mtok_input_usd),
            unit_price(row.cost_per_mtok_total_usd),
            *([unit_price(row.cost_per_thousand_images_usd)] if of_images else ()),
        )
    return grid


def _costs(plan: Plan) -> Grid:
    grid = Grid("Cost", (*texts("item"), *figures("USD a year", "share")))
    for name, usd in words.cost_rows(plan):
        grid.add(name, dollars(usd), share(usd, plan.annual_cost_usd))
    return grid


def _promises(plan: Plan) -> Grid:
    head = texts("workload", "tightest class", "metric")
    held = () if plan.confidence is None else figures(words.held(plan.confidence))
    shown = (*held, *figures("expected", "80 %, same load", "limit"))
    grid = Grid("Latency promised, ms", (*head, *shown))
    for row in words.tightest_promises(plan.slo):
        low, high = row.interval_ms
        grid.add(
            row.workload,
            row.cls,
            f"{row.metric.upper()} {row.percentile}",
            *(number(row.promised_ms) for _ in held),
            number(row.expected_ms),
            f"{number(low)}–{number(high)}",
            number(row.limit_ms),
        )
    return grid


# Notes


def _notes(
    title: str, rows: Sequence[str], count: int | None = None, shown: int = _SHOWN
) -> Group | None:
    if not rows:
        return None
    lines = [f"  {plain(row)}" for row in rows[:shown]]
    if len(rows) > shown:
        lines.append(f"  and {len(rows) - shown} more (see --json)")
    return Group(Text(f"{title} ({count or len(rows)})", style="bold"), Lines(lines))
