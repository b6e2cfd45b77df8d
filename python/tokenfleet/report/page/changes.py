"""What would change a plan: sections made from an explanation of it, and the page of two plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenfleet.explanation.rows import Difference, Explanation, FlipPrice, Moved, RepairSet, Worth
from tokenfleet.files.plain import plain
from tokenfleet.plan.explored import Swing
from tokenfleet.report import explained, findings, inputs, words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.labels import capital
from tokenfleet.report.numbers import difference, exact_dollars, short, short_dollars, spelled
from tokenfleet.report.page import charts
from tokenfleet.report.page.charts import SYSTEM_COLOURS
from tokenfleet.report.page.panel import Axis, Panel, Series
from tokenfleet.report.page.parts import (
    Cell,
    Grid,
    Lines,
    Page,
    Part,
    Section,
    Table,
    TableRow,
    Tile,
    Way,
    chart,
    drawn,
    figure,
    grid,
    row,
    text,
)

_ROWS = 20  # of a table


def sections(found: Explanation, *, swings: bool = True) -> Iterator[Section]:
    """What would change the plan: inputs (unless the page has them already), prices, limits; plans
    that are nearly as good."""
    for make in (*((_tornado,) if swings else ()), _flips, _worth, _menu):
        section = make(found)
        if section is not None:
            yield section
    unit = found.objective_unit
    for label, title, lines in (
        ("Energy, speed and terms", findings.INPUTS, map(explained.flip_input, found.flip_inputs)),
        ("Precision", findings.PRECISION, map(explained.premium, found.premium)),
        ("Break-even", findings.BREAK_EVEN, map(explained.break_even, found.break_even)),
        ("Measure next", findings.MEASURE,
         (explained.measure(r, unit) for r in found.measure if r.changes)),
        ("Not answered", findings.NOT_ANSWERED, found.notes),
    ):  # fmt: skip
        said = tuple(sentence(plain(line)) for line in lines)[:_ROWS]
        if said:
            routes = _routes(found) if label == "Break-even" else []
            yield Section(label, title, (*routes, Lines(said)))


def _routes(found: Explanation) -> list[Part]:
    """What each way to get tokens costs, by volume and by utilisation."""
    parts: list[Part] = []
    for axis, name, shown in (
        ("volume", "times the demand", short),
        ("utilisation", "of the year at the peak", lambda at: f"{100 * at:.0f}%"),
    ):
        of: dict[str, list[tuple[float, float]]] = {}
        for r in found.crossover:
            if r.axis == axis and r.cost_per_mtok_output_usd is not None:
                of.setdefault(clip(r.route), []).append((r.at, r.cost_per_mtok_output_usd))
        lines = tuple(
            Series(route, tuple(points), f"s{i}", dots=False)
            for i, (route, points) in enumerate(list(of.items())[:SYSTEM_COLOURS])
        )
        title = f"What a million output tokens cost by each way, over {axis}"
        x, y = Axis(log=axis == "volume", shown=shown), Axis(log=True)
        parts += drawn(Panel(title, name, "USD per million", lines, x=x, y=y))
    return parts


def ways_out(rows: Sequence[RepairSet]) -> tuple[Way, ...]:
    """Sets of concessions, each with what the best plan costs after it."""
    return tuple(Way(sentence(explained.repair(row))) for row in rows)


def _value(value: float | None, unit: str) -> str:
    """A value of the objective, short."""
    if value is None:
        return "no plan"
    if unit.startswith("USD per year"):
        return short_dollars(value)
    return findings.money_per_mtok(value) if unit.startswith("USD per") else spelled(value)


def _tornado(found: Explanation) -> Section | None:
    if found.objective_value is None:
        return None
    return tornado(found.objective_value, found.objective_unit, found.tornado)


def tornado(base: float, unit: str, found: Sequence[Swing]) -> Section | None:
    """Inputs lower and higher, the largest swing first."""
    rows, swings = [], sorted(found, key=lambda s: (-s.swing, s.input))[:_ROWS]
    if not swings:
        return None
    ends = [v for s in swings for v in (s.value_low, s.value_high) if v is not None]
    span = max((abs(v - base) for v in ends), default=0.0)
    for s in swings:
        low, high = (base if v is None else v for v in (s.value_low, s.value_high))
        rows.append(
            row(
                explained.input_name(s.input),
                _beside(s.value_low, base, unit, s.mix_changes_low),
                Cell(mark=charts.tornado(low, high, base, span)),
                _beside(s.value_high, base, unit, s.mix_changes_high),
            )
        )
    by = f"{100 * swings[0].by:.0f}%"
    columns = (
        text("Planned again with"),
        figure(f"{by} less"),
        chart("Less above, more below; green is better"),
        figure(f"{by} more"),
    )
    title = findings.matters_most(
        explained.input_name(swings[0].input),
        by,
        _value(swings[0].value_low, unit),
        _value(swings[0].value_high, unit),
        unit,
    )
    return Section("What would change it", title, (Table(grid(columns, rows), "bars"),))


def _beside(value: float | None, base: float, unit: str, mix: bool) -> Cell:
    """A value and its difference; whether another mix is then best."""
    if value is None or not base:
        return Cell(_value(value, unit))
    changed = ", other mix" if mix else ""
    return Cell(_value(value, unit), f"{difference(value / base - 1.0)}{changed}", under=True)


def _flips(found: Explanation) -> Section | None:
    rows = sorted(found.flip, key=_nearness)[:_ROWS]
    if not rows:
        return None
    how = text("How got", "how")
    lines = [
        _solved(line, r.how) for r in rows for line in (explained.flip(r), *explained.takes(r))
    ]
    parts = [Table(grid((text("At which price the plan changes"), how), lines))]
    if found.ranges:
        stays = [_named(*_split(explained.stays(r)), r.how) for r in found.ranges[:_ROWS]]
        columns = (text("Price of"), text("Between which the plan stays the best", "between"), how)
        parts.append(Table(grid(columns, stays), heading=findings.RANGES))
    return Section("Prices that change it", explained.nearest(rows), tuple(parts))


def _nearness(r: FlipPrice) -> tuple[float, str]:
    far = float("inf") if r.discount is None else abs(r.discount)
    return far, r.name


def _named(name: str, said: str, how: str) -> TableRow:
    """A sentence without how it was got, which has a column, behind its name."""
    return row(name, *_solved(said, how).cells)


def _solved(said: str, how: str) -> TableRow:
    """A sentence without how it was got, which has a column."""
    proven = how == "re-solved and proven"
    tag = Cell(tag="proven" if proven else how, tone="good" if proven else "")
    return row(sentence(said.replace(f" [{how}]", "").strip()), tag)


def _worth(found: Explanation) -> Section | None:
    if not found.worth:
        return None
    unit = found.objective_unit
    nothing = [r for r in found.worth if r.unlimited == 0.0 and not any(s.worth for s in r.steps)]
    rows = sorted((r for r in found.worth if r not in nothing), key=_least_worth)[:_ROWS]
    parts: list[Part] = []
    if rows:
        lines = [_named(*_split(explained.worth(r, unit)), _how(r)) for r in rows]
        columns = (text("One more of"), text("What was solved", "solved"), text("How got", "how"))
        parts.append(Table(grid(columns, lines)))
    if nothing:
        parts.append(Lines((explained.worth_nothing(nothing),)))
    return Section("Worth of one more", explained.most_worth(found.worth, unit), tuple(parts))


def _least_worth(r: Worth) -> tuple[float, str]:
    known = [s.worth for s in r.steps if s.worth is not None and s.by > 0]
    return -max(known, default=0.0), f"{r.what} {r.where}"


def _split(said: str) -> tuple[str, str]:
    name, _, rest = said.partition(": ")
    return sentence(clip(name, 90)), rest


def _how(r: Worth) -> str:
    return "; ".join(dict.fromkeys(step.how for step in r.steps)) or "re-solved and proven"


def _menu(found: Explanation) -> Section | None:
    lines = explained.menu(found.menu)
    if not lines:
        return None
    better = len({r.wish for r in found.menu if r.within > 0})
    return Section(
        "Nearly as good", findings.menu_title(better), (Lines(tuple(map(sentence, lines))),)
    )


# Two plans


def page_of_difference(found: Difference, name: str) -> Page:
    """The page of a difference: what moved from one plan to another, and what it is due to."""
    unit = found.objective_unit
    parts = [
        Section("Due to", findings.due_to(len(found.parts)), (Table(_due(found), "bars"),)),
        *_moves(found),
    ]
    if found.notes:
        notes = tuple(sentence(plain(note)) for note in found.notes)
        parts.append(Section("Notes", "What to know of the parts", (Lines(notes),)))
    return Page(
        name=clip(name),
        topic="difference",
        dated=clip(name),
        tone="good" if found.how == "re-solved and proven" else "warn",
        pill=capital(found.how),
        heading=sentence(explained.difference(found)),
        lead="",
        tiles=(
            Tile("First plan", _value(found.before, unit), unit),
            Tile("Second plan", _value(found.after, unit), unit),
            Tile("Change", _value(found.change, unit), _relative(found)),
        ),
        sections=tuple(parts),
        foot=(findings.SHAPLEY, findings.SELF_CONTAINED),
    )


def _relative(found: Difference) -> str:
    return difference(found.change / found.before) if found.before else "–"


def _due(found: Difference) -> Grid:
    """Parts from the first value to the second, as a waterfall."""
    unit, at, rows = found.objective_unit, found.before, []
    reached = [found.before, found.after]
    for part in found.parts:
        at += part.change
        reached.append(at)
    low, span = min(reached), max(reached) - min(reached)
    at = found.before
    for i, part in enumerate(found.parts):
        ends = ((at - low) / span, (at + part.change - low) / span) if span else (0.0, 0.0)
        at += part.change
        colour = "f-good" if part.change < 0 else "f-warn"
        mark = charts.waterfall(*ends, colour, last=i == len(found.parts) - 1)
        named = ", ".join(clip(inputs.called(one)) for one in part.inputs[:4])
        rows.append(
            row(
                Cell(sentence(part.group), named, under=True),
                Cell(mark=mark),
                _value(part.change, unit),
            )
        )
    columns = (text("Inputs"), chart("From the first plan to the second"), figure(unit))
    return grid(columns, rows)


def _moves(found: Difference) -> Iterator[Section]:
    for label, title, rows in (
        ("Systems", findings.moved_title(len(found.systems), "lot of systems"), found.systems),
        ("Cost items", findings.moved_title(len(found.cost_items), "cost item"), found.cost_items),
        ("Requests at the peak", findings.moved_title(len(found.requests), "route"),
         found.requests),
    ):  # fmt: skip
        if rows:
            yield Section(label, title, (Table(_moved(rows, label == "Cost items")),))


def _moved(rows: Sequence[Moved], money: bool) -> Grid:
    shown = exact_dollars if money else spelled
    ordered = sorted(rows, key=lambda r: (-abs(r.change), r.what))
    lines = [
        row(
            sentence(words.item_name(r.what)) if money else clip(r.what, 90),
            shown(r.before),
            shown(r.after),
            f"{'+' if r.change > 0 else ''}{shown(r.change)}",
        )
        for r in ordered
    ]
    return grid((text("What"), figure("First"), figure("Second"), figure("Change")), lines)
