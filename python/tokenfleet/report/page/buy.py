"""What to get, where the money goes, and what else there was."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from tokenfleet.plan.rows import Plan, Systems
from tokenfleet.report import ages, findings, words
from tokenfleet.report.findings import clip
from tokenfleet.report.numbers import (
    NBSP,
    difference,
    exact_dollars,
    minus,
    part,
    percent,
    short_dollars,
)
from tokenfleet.report.page import charts
from tokenfleet.report.page.look import OTHER, Look
from tokenfleet.report.page.parts import (
    Cell,
    Hall,
    Lines,
    Part,
    Racks,
    Section,
    Table,
    TableRow,
    chart,
    figure,
    grid,
    row,
    text,
)

_HALLS = 24  # sites that are drawn
_RACKS, _TALL = 40, 12  # of a site: drawn one by one, and so at full height
_KEYS = 12  # systems of a key
_SQUARES = 160  # of a site, else one stands for more systems


def systems(look: Look) -> Section:
    """The order: every row of systems with its price, and the racks that they stand in."""
    plan = look.plan
    on = ages.day_of(plan, look.today)
    rows = [
        row(
            Cell(look.name(s.system), clip(s.system), key=look.colour(s.system)),
            Cell(words.obtained(s.kind), clip(s.offer)),
            clip(s.site),
            f"{s.count:,}",
            f"{s.gpus:,}",
            Cell(_price(s), _dated(s, ages.age_days(s.price_as_of, on)), under=True),
            short_dollars(s.capex_usd) if s.capex_usd else "–",
            short_dollars(s.annual_cost_usd),
        )
        for s in sorted(plan.systems, key=lambda s: (-s.gpus, s.site, s.offer))
    ]
    rows += _apis(plan)
    total = row(
        "Together",
        "",
        "",
        f"{sum(s.count for s in plan.systems):,}",
        f"{plan.gpus:,}",
        "",
        short_dollars(plan.capex_usd) if plan.capex_usd else "–",
        short_dollars(plan.annual_cost_usd),
        kind="total",
    )
    columns = (
        text("System"),
        text("How", "how"),
        text("Site", "site"),
        figure("Systems"),
        figure("GPUs"),
        figure("Unit price, USD"),
        figure("Up front, USD"),
        figure("A year, USD"),
    )
    parts: list[Part] = [Table(grid(columns, rows, [total]))]
    halls = tuple(_halls(look))
    if halls:
        parts.append(Racks(halls))
    spares = words.spares(plan)
    if spares is not None:
        parts.append(Lines((findings.sentence(spares),)))
    label = "What to get" if plan.horizon is None else "In the first period"
    return Section(label, findings.to_get(plan), tuple(parts))


def _price(s: Systems) -> str:
    if s.price_usd_per_system is not None:
        return exact_dollars(s.price_usd_per_system)
    if s.price_usd_per_gpu_h is not None:
        return f"{findings.money_per_mtok(s.price_usd_per_gpu_h)}/GPU-h"
    return "–"


def _dated(s: Systems, age: int | None) -> str:
    """The day of a price of the book, and its age."""
    if s.price_as_of is None:
        return ""
    return f"{s.price_as_of}, {age:,}{NBSP}days" if age is not None else s.price_as_of


def _apis(plan: Plan) -> list[TableRow]:
    """What is paid to each hosted API, and what leaving requests unserved is priced at."""
    lines = [
        row(
            Cell("Hosted API", clip(api), key=OTHER), "by the token", "–", "–", "–", "–", "–",
            short_dollars(paid),
        )
        for api, paid in words.paid_to_apis(plan)
    ]  # fmt: skip
    contracted = sum(s.contracted_power_usd_per_year for s in plan.sites)
    unserved = sum(u.cost_usd_per_year for u in plan.unserved)
    for name, how, paid in (
        ("Contracted power", "by the year", contracted),
        ("Requests left unserved", "at the scenario's price", unserved),
    ):
        if paid:
            blank = ("–",) * 5
            lines.append(row(Cell(name), how, *blank, short_dollars(paid)))
    return lines


# Racks


def _halls(look: Look) -> Iterable[Hall]:
    """Each site's systems, the largest site first."""
    found: dict[str, list[Systems]] = defaultdict(list)
    for s in look.plan.systems:
        found[s.site].append(s)
    limits = {r.where: r.limit for r in look.plan.limits if r.what == "racks"}
    largest = sorted(found.items(), key=lambda item: (-sum(s.gpus for s in item[1]), item[0]))
    for site, rows in largest[:_HALLS]:
        rows.sort(key=lambda s: (s.hosted, look.ranked.index(s.system), s.offer))
        yield _hall(look, site, rows, limits.get(site))


def _hall(look: Look, site: str, rows: Sequence[Systems], limit: float | None) -> Hall:
    """Racks one by one where they are few and all stand on site, else squares."""
    used, hosted = sum(_racks_of(s) for s in rows), any(s.hosted for s in rows)
    if not hosted and 0 < used <= _RACKS:
        marks = _rack_marks(look, rows, int(used), limit)
        of = "" if limit is None else f" of {limit:,.0f}"
        note = f"{used:,.0f}{of} racks" if of or used != 1 else "1 rack"
    else:
        each, colours = _square_marks(look, rows)
        marks = (charts.squares(colours),)
        note = "one square is one system" if each == 1 else f"one square is {each:,} systems"
        pale = "all" if all(s.hosted for s in rows) else "pale ones"
        note += f"; {pale} in the provider's hall" if hosted else ""
    by_system: dict[str, int] = defaultdict(int)
    for s in rows:
        by_system[s.system] += s.count
    key = [(look.colour(k), f"{n:,} {look.name(k)}") for k, n in by_system.items()]
    if len(key) > _KEYS:
        key = [*key[:_KEYS], (OTHER, f"{len(key) - _KEYS:,} more")]
    return Hall(clip(site), note, marks, tuple(key))


def _racks_of(s: Systems) -> float:
    """Racks of a row, or more than are drawn one by one where that is not known."""
    if s.systems_per_rack is None or s.systems_per_rack < 1:
        return _RACKS + 1.0
    return math.ceil(s.count / s.systems_per_rack - 1e-9)


def _rack_marks(
    look: Look, rows: Sequence[Systems], used: int, limit: float | None
) -> tuple[Markup, ...]:
    """Racks with their servers, then those that are free."""
    marks, scale = [], 1.0 if used <= _TALL else 0.5
    for s in rows:
        places, left = int(s.systems_per_rack or 1), s.count
        while left > 0:
            marks.append(charts.rack([look.colour(s.system)] * min(places, left), places, scale))
            left -= places
    free = 0 if limit is None else min(int(limit), _RACKS) - used
    return (*marks, *(charts.rack([], 0, scale) for _ in range(max(free, 0))))


def _square_marks(look: Look, rows: Sequence[Systems]) -> tuple[int, list[tuple[str, bool]]]:
    """How many systems a square is (1, 2, 5, 10, ...), and the colour of every square."""
    total = sum(s.count for s in rows)
    each = next(f * 10**k for k in range(16) for f in (1, 2, 5) if total <= f * 10**k * _SQUARES)
    return each, [
        (look.colour(s.system), s.hosted) for s in rows for _ in range(math.ceil(s.count / each))
    ][: 2 * _SQUARES]


# Money


def money(look: Look) -> Section | None:
    """A waterfall: the largest cost first, credits last, then the total."""
    plan = look.plan
    items = words.cost_rows(plan)
    if not items or plan.annual_cost_usd <= 0:
        return None
    costs, (_, total) = items[:-1], items[-1]
    costs.sort(key=lambda item: (item[1] < 0, -item[1]))
    most = max(sum(usd for _, usd in costs if usd > 0), total)
    rows, at = [], 0.0
    for name, usd in costs:
        mark = charts.waterfall(at / most, (at + usd) / most, "f-good" if usd < 0 else "f-money")
        at += usd
        rows.append(_bar_row(findings.sentence(name), mark, _whole(usd), part(usd, total)))
    last = charts.waterfall(0.0, total / most, "f-ink", last=True)
    totals = [_bar_row("Total a year", last, _whole(total), "100%", "total")]
    columns = (text("Item"), chart("Share of the total"), figure("USD a year"), figure("Share"))
    table = Table(grid(columns, rows, totals), "bars")
    label = "Where the money goes" + ("" if plan.horizon is None else " in the first period")
    return Section(label, findings.money_title(plan), (table,))


def _whole(usd: float) -> str:
    """Whole dollars, without a sign of the currency: it stands in the head."""
    return minus(exact_dollars(usd).replace("$", "")) if abs(usd) < 1e12 else exact_dollars(usd)


def _bar_row(name: str, mark: Markup, usd: str, share: str, kind: str = "") -> TableRow:
    return row(name, Cell(mark=mark), usd, share, kind=kind)


# Alternatives


def alternatives(look: Look) -> Section | None:
    """This plan beside the best plan of one system type, and of each way alone."""
    plan, single = look.plan, look.plan.best_single_system
    beside = each_way(plan)
    if single is None or not plan.systems or max(single.objective_value, plan.objective_value) <= 0:
        title = findings.ways_title(plan)
        return Section("Against the alternatives", title, tuple(beside)) if beside else None
    most = max(single.objective_value, plan.objective_value)
    names = words.accelerators(plan)
    relative = single.difference_relative or 0.0
    tie = words.is_tie(plan, relative)
    value = findings.money_per_mtok if "token" in plan.objective_unit else exact_dollars
    shown = value if plan.objective.startswith("least_cost") else lambda x: f"{x:,.4g}"
    rows = [
        row(
            "This plan",
            Cell(mark=charts.bar(plan.objective_value / most, "f-accent")),
            shown(plan.objective_value),
            "–",
            kind="this",
        ),
        row(
            findings.contested(names, single.system),
            Cell(mark=charts.bar(single.objective_value / most)),
            shown(single.objective_value),
            "as good" if tie else difference(relative),
        ),
    ]
    columns = (text("Plan"), chart("Beside each other"), figure(plan.objective_unit),
               figure("More or less"))  # fmt: skip
    parts = (Table(grid(columns, rows), "bars"), *beside)
    return Section("Against the alternatives", findings.single_title(plan), parts)


def each_way(plan: Plan) -> list[Part]:
    """Buying, renting and hosted APIs, each alone; why the plan has what is better avoided."""
    parts: list[Part] = []
    known = [way for way in plan.ways if way.annual_cost_usd is not None]
    if known:
        rows = [
            row(
                findings.sentence(clip(way.name)),
                exact_dollars(way.annual_cost_usd or 0.0),
                "–" if way.difference_relative is None else difference(way.difference_relative),
                short_dollars(way.capex_usd) if way.capex_usd else "–",
                f"{way.gpus or 0:,}",
                "–" if way.gap is None else percent(way.gap),
            )
            for way in known
        ]
        columns = (text("Way"), figure("A year, USD"), figure("Against this plan"),
                   figure("Up front, USD"), figure("GPUs"), figure("Proven within"))  # fmt: skip
        parts.append(Table(grid(columns, rows), heading=findings.EACH_WAY))
    without = [findings.sentence(line) for line in words.without(plan)]
    lines = [findings.WAYS_NOTE] if known else []
    lines += findings.no_way([way for way in plan.ways if way.annual_cost_usd is None])
    return [*parts, Lines((*lines, *without))] if lines or without else parts
