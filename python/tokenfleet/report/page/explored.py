"""What `plan --explore` found: alternatives, cash over the life, other limits, other inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from tokenfleet.plan.explored import Alternative, Exploration, Relaxed, Resolved
from tokenfleet.plan.rows import Plan
from tokenfleet.report import explored as said
from tokenfleet.report import words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import difference
from tokenfleet.report.page import buy, changes, charts
from tokenfleet.report.page.look import Look
from tokenfleet.report.page.panel import Axis, Panel, Series
from tokenfleet.report.page.parts import (
    Cell,
    Folded,
    Lines,
    Part,
    Section,
    Table,
    TableRow,
    chart,
    drawn,
    figure,
    grid,
    row,
    text,
)

_LINES = 5  # plans whose cash is drawn
_COLOURS = ("s1", "s2", "s3", "s4", "s5")


def alternatives(look: Look, found: Exploration) -> Section | None:
    """This plan beside the best plans under one more rule; equal ones in one row."""
    plan, today = look.plan, found.today
    rows = [r for r in found.alternatives if r.plan is not None]
    if not found.alternatives:
        return None
    most = max([today.objective_value, *(r.plan.objective_value for r in rows if r.plan)])
    shown = [
        row(
            "This plan",
            Cell(mark=_bar(today.objective_value, most, "f-accent")),
            said.value(plan, today),
            "–",
            kind="this",
        )
    ]
    for names, solved in _joined(plan, rows):
        relative = said.more(today, solved)
        tie = words.is_tie(plan, relative)
        shown.append(
            row(
                Cell(sentence(", or ".join(names))),
                Cell(mark=_bar(solved.objective_value, most)),
                said.value(plan, solved),
                "as good" if tie else difference(relative),
            )
        )
    columns = (
        text("Plan"),
        chart("Beside each other"),
        figure(plan.objective_unit),
        figure("More or less"),
    )
    parts: list[Part] = [Table(grid(columns, shown), "bars")]
    notes = (*said.without_plan(found), said.STAYS, *said.solved_anew(plan, found), *found.notes)
    parts.append(Lines(notes))
    parts += buy.each_way(plan)
    title = said.alternatives_title(plan, found)
    return Section("Against the alternatives", title, tuple(parts))


def _bar(value: float, most: float, colour: str = "f-other") -> Markup:
    return charts.bar(value / most if most > 0 else 0.0, colour)


def _joined(plan: Plan, rows: Sequence[Alternative]) -> Iterator[tuple[list[str], Resolved]]:
    """Alternatives with the same systems at the same value are one."""
    found: list[tuple[list[str], Resolved]] = []
    for r in rows:
        assert r.plan is not None
        last = found[-1][1] if found else None
        same = last is not None and abs(
            last.objective_value - r.plan.objective_value
        ) <= 1e-6 * abs(r.plan.objective_value)
        if same and last is not None and last.systems == r.plan.systems:
            found[-1][0].append(said.rule(r))
        else:
            found.append(([said.rule(r)], r.plan))
    return iter(found)


def cash(look: Look, found: Exploration) -> Section | None:
    """Cash paid until each year of the life: where the lines cross, the purchase is paid back."""
    panel = cash_panel(look, found)
    if panel is None:
        return None
    title = said.payback_title(look.plan, found)
    return Section("Over the life", title, tuple(drawn(panel)))


def cash_panel(look: Look, found: Exploration) -> Panel | None:
    """A line for this plan, and one for each that pays more or less up front."""
    life = said.money_term(look.plan, "life_years")
    resale = said.money_term(look.plan, "residual_fraction") or 0.0
    rows = said.paying_otherwise(found)[:_LINES]
    if life is None or life <= 0 or not rows:
        return None
    lines = [("this plan", found.today, "accent")]
    lines += [
        (name, solved, colour) for (name, solved), colour in zip(rows, _COLOURS, strict=False)
    ]
    series = tuple(
        Series(name, tuple(said.cash_by_year(solved, life, resale)), colour, dots=False)
        for name, solved, colour in lines
    )
    title = "Cash paid until then, before tax and interest; resale at the end of the life"
    return Panel(title, "years", "USD", series, x=Axis(zero=True), y=Axis(zero=True))


def frontier(look: Look, found: Exploration) -> Section | None:
    """The value over times every latency limit."""
    plan, panel = look.plan, frontier_panel(look, found)
    if panel is None:
        return None
    table = grid(
        (text("Limits"), figure(plan.objective_unit), figure("More or less"), text("Systems")),
        [_relaxed(plan, r, found.today) for r in found.frontier],
    )
    notes = tuple(said.frontier_notes(plan, found))
    parts: list[Part] = [*drawn(panel), Lines(notes)]
    parts.append(Folded(f"{len(found.frontier)} settings of the limits", table))
    return Section("Cost against latency", said.frontier_title(plan, found), tuple(parts))


def frontier_panel(look: Look, found: Exploration) -> Panel | None:
    """A line over the settings of the limits; this plan is the full dot."""
    unit = look.plan.objective_unit
    solved = [(r.factor, r.plan) for r in found.frontier if r.plan is not None]
    if len(solved) < 2:
        return None
    points = tuple((100.0 * factor, of.objective_value) for factor, of in solved)
    here = (100.0, found.today.objective_value)
    ticks = tuple((100.0 * r.factor, f"{100 * r.factor:.0f}%") for r in found.frontier)
    series = (
        Series("", points, "accent", filled=False),
        Series("", (here,), "accent", labels=((here, "this plan"),)),
    )
    title = f"{sentence(unit)} over the latency limits, all moved together"
    x = Axis(log=True, ticks=ticks)
    return Panel(title, "of every latency limit", unit, series, x=x)


def figures(look: Look, found: Exploration) -> Iterator[Panel]:
    """The drawn charts, for a file of their own."""
    for panel in (cash_panel(look, found), frontier_panel(look, found)):
        if panel is not None:
            yield panel


def _relaxed(plan: Plan, r: Relaxed, today: Resolved) -> TableRow:
    share = f"{100 * r.factor:.0f}%"
    if r.plan is None:
        return row(share, "no plan", "–", "–")
    relative = said.more(today, r.plan)
    systems = clip(said.systems(r.plan), 90)
    return row(share, said.value(plan, r.plan), difference(relative), systems)


def sensitivity(look: Look, found: Exploration) -> Section | None:
    """Inputs lower and higher: which matters most."""
    return changes.tornado(found.today.objective_value, look.plan.objective_unit, found.sensitivity)
