"""A plan over periods and outlooks: orders, cash and power by date, and how bad it gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from tokenfleet.files.plain import plain
from tokenfleet.plan.horizon_rows import OverTime, Period
from tokenfleet.report import findings, over_time, words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import exact_dollars, power, short, short_dollars, spelled
from tokenfleet.report.page import charts
from tokenfleet.report.page.charts import SYSTEM_COLOURS, Block, Stack
from tokenfleet.report.page.look import OTHER
from tokenfleet.report.page.panel import Axis, Panel, Point, Series
from tokenfleet.report.page.parts import (
    Cell,
    Folded,
    Lines,
    Part,
    Section,
    Table,
    chart,
    drawn,
    figure,
    grid,
    row,
    text,
)

_OPEN = 12  # periods that are shown unfolded


def sections(horizon: OverTime) -> Iterator[Section]:
    """Orders, then money and power by date, then the futures."""
    if horizon.orders:
        yield _orders(horizon)
    yield _periods(horizon)
    if len(horizon.outlooks) > 1:
        yield _futures(horizon)


def _orders(horizon: OverTime) -> Section:
    rows = [
        row(
            Cell(clip(o.system), clip(o.offer)),
            words.obtained(o.kind),
            clip(o.site),
            spelled(o.count),
            o.order_on.isoformat(),
            "–" if o.deliver_on is None else o.deliver_on.isoformat(),
            short_dollars(o.price_usd),
            short_dollars(o.pay_usd),
            Cell(tag="now", tone="good") if o.decided == "now" else clip(over_time.sign(o)),
        )
        for o in horizon.orders
    ]
    columns = (
        text("System"),
        text("How", "how"),
        text("Site", "site"),
        figure("Number"),
        figure("Ordered on"),
        figure("There on"),
        figure("Price of one, USD"),
        figure("Paid, USD"),
        text("Decided", "decided"),
    )
    title = findings.orders_title(horizon)
    return Section("What to order, and when", title, (Table(grid(columns, rows)),))


def _periods(horizon: OverTime) -> Section:
    parts: list[Part] = []
    for figure_of in (cash, purchases, held):
        parts += drawn(figure_of(horizon))
    rows = [
        row(
            clip(over_time.title(p)),
            Cell(clip(over_time.standing(p.systems), 90)),
            power(sum(s.provisioned_kw for s in p.sites)),
            short_dollars(p.annual_cost_usd),
            findings.money_per_mtok(p.cost_per_mtok_output_usd),
        )
        for p in horizon.periods
    ]
    columns = (
        text("Period"),
        text("In service", "in service"),
        figure("Power held"),
        figure("USD a year"),
        figure("USD per million out"),
    )
    parts.append(_cash_table(horizon))
    every = grid(columns, rows)
    name = findings.counted(len(rows), "period")
    parts.append(Folded(name, every) if len(rows) > _OPEN else Table(every, heading=name))
    said = tuple(sentence(plain(line)) for line in over_time.sentences(horizon))
    parts.append(Lines(said))
    return Section("Over time", findings.over_time_title(horizon), tuple(parts))


def _cash_table(horizon: OverTime) -> Table:
    """Cash by period, the mean of its outlooks, and its sum until then."""
    found: dict[str, list[float]] = {}
    for p in horizon.periods:
        sums = found.setdefault(_name(p), [0.0, 0.0, 0.0])
        for i, usd in enumerate((p.bought_usd, -p.sold_usd, p.paid_usd)):
            sums[i] += p.probability * usd
    rows, total = [], 0.0
    for name, sums in found.items():
        total += sum(sums)
        rows.append(row(clip(name), *map(short_dollars, (*sums, sum(sums), total))))
    columns = (
        text("Period"),
        figure("Bought, USD"),
        figure("Sold, USD"),
        figure("Running, USD"),
        figure("In all, USD"),
        figure("Until then, USD"),
    )
    return Table(grid(columns, rows), heading=findings.cash_heading(horizon))


def _name(period: Period) -> str:
    """The period without its outlook."""
    return period.period.split(" ", 1)[0]


def cash(horizon: OverTime) -> Panel:
    """Cash paid until each date, a line for each outlook."""
    title = f"Cash paid until then{_by_outlook(horizon)}"
    return _by_date(horizon, title, "USD paid until then", short, cash_of, summed=True)


def held(horizon: OverTime) -> Panel:
    """Power held in each period, a line for each outlook."""

    def kw(period: Period) -> float:
        return sum(site.provisioned_kw for site in period.sites)

    title = f"Power held{_by_outlook(horizon)}"
    return _by_date(horizon, title, "power held", power, kw, summed=False)


def _by_outlook(horizon: OverTime) -> str:
    return ", by outlook" if len(horizon.outlooks) > 1 else ""


def cash_of(period: Period) -> float:
    """Cash of a period: bought, less sold, and running."""
    return period.bought_usd - period.sold_usd + period.paid_usd


def _by_date(
    horizon: OverTime,
    title: str,
    name: str,
    shown: Callable[[float], str],
    amount: Callable[[Period], float],
    *,
    summed: bool,
) -> Panel:
    """An amount by date: a sum stands at the end of its period, a level holds over it."""
    mean: dict[date, float] = defaultdict(float)
    lines = []
    for outlook, periods in paths(horizon):
        points: list[Point] = []
        total = 0.0
        for p in periods:
            value = amount(p)
            total += value
            if summed:
                points += [(_day(p.start), 0.0)] if not points else []
                points.append((_day(p.end), total))
            else:
                points += [(_day(p.start), value), (_day(p.end), value)]
        lines.append((outlook, tuple(points)))
    for p in horizon.periods:
        mean[p.end] += p.probability * amount(p)
    series = _coloured(lines)
    days = sorted({p.start for p in horizon.periods} | {p.end for p in horizon.periods})
    ticks = tuple((_day(day), day.isoformat()[:7]) for day in days)
    if summed and len(lines) > 1:
        series += (Series("mean of the outlooks", _running(mean, days[0]), "ink", dots=False),)
    x, y = Axis(ticks=ticks), Axis(zero=True, shown=shown)
    return Panel(title, "", name, series, x=x, y=y)


def _running(amounts: Mapping[date, float], start: date) -> tuple[Point, ...]:
    points, total = [(_day(start), 0.0)], 0.0
    for day, amount in sorted(amounts.items()):
        total += amount
        points.append((_day(day), total))
    return tuple(points)


def _coloured(lines: Sequence[tuple[str, tuple[Point, ...]]]) -> tuple[Series, ...]:
    """A colour for each line; of too many, the highest, the lowest and the rest in grey."""
    if len(lines) <= SYSTEM_COLOURS:
        return tuple(
            Series(clip(name) if len(lines) > 1 else "", points, f"s{i}", dots=False)
            for i, (name, points) in enumerate(lines)
        )
    by_end = sorted(lines, key=lambda of: (of[1][-1][1], of[0]))
    grey = [Series("", points, OTHER, dots=False) for _, points in by_end[1:-1]]
    grey[0] = replace(grey[0], name=findings.counted(len(grey), "other outlook"))
    ends = [
        Series(f"{clip(name)} ({said})", points, colour, dots=False)
        for (name, points), said, colour in (
            (by_end[-1], "the most", "s1"),
            (by_end[0], "the least", "s3"),
        )
    ]
    return (*grey, *ends)


def paths(horizon: OverTime) -> list[tuple[str, tuple[Period, ...]]]:
    """Each future from the first period to its last, with the outlook that it is."""
    by_name = {p.period: p for p in horizon.periods}
    followed = {p.after for p in horizon.periods}
    found = []
    for last in horizon.periods:
        if last.period in followed:
            continue
        path = [last]
        while path[-1].after is not None:
            path.append(by_name[path[-1].after])
        found.append((last.outlook or "", tuple(reversed(path))))
    return found


def purchases(horizon: OverTime) -> Stack:
    """What is delivered in each period by system type, mean of the outlooks."""
    found: dict[date, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    names: dict[date, str] = {}
    total: dict[str, float] = defaultdict(float)
    for p in horizon.periods:
        of = found[p.start]
        names[p.start] = _name(p)
        for s in p.systems:
            of[s.system] += p.probability * s.delivered
            total[s.system] += p.probability * s.delivered
    ranked = sorted((s for s in total if total[s] > 0), key=lambda s: (-total[s], s))
    colours = {s: f"s{min(i, SYSTEM_COLOURS)}" for i, s in enumerate(ranked)}
    blocks = tuple(
        Block(1.0, tuple((of[s], colours[s]) for s in ranked if of.get(s)), names[day])
        for day, of in sorted(found.items())
    )
    key = tuple((colours[s], clip(s)) for s in ranked[:SYSTEM_COLOURS])
    mean = ", mean of the outlooks" if len(horizon.outlooks) > 1 else ""
    title = f"Systems delivered in each period by type{mean}"
    return Stack(title, "systems delivered", blocks, key)


def _day(day: date) -> float:
    return float(day.toordinal())


def _futures(horizon: OverTime) -> Section:
    most = max((abs(o.npv_usd) for o in horizon.outlooks), default=0.0) or 1.0
    rows = [
        row(
            Cell(clip(o.outlook), clip(o.sign)) if o.sign else clip(o.outlook),
            Cell(mark=charts.bar(abs(o.npv_usd) / most, "f-money")),
            f"{100 * o.probability:.0f}%",
            short_dollars(o.npv_usd),
            "–" if o.regret_usd is None else short_dollars(o.regret_usd),
        )
        for o in sorted(horizon.outlooks, key=lambda o: (-o.npv_usd, o.outlook))
    ]
    columns = (
        text("Outlook"),
        chart("Worth today of all cash"),
        figure("Probability"),
        figure("USD today"),
        figure("Regret, USD"),
    )
    title = findings.futures_title(horizon)
    return Section("How bad it gets", title, (Table(grid(columns, rows), "bars"),))


def tiles(horizon: OverTime) -> tuple[tuple[str, str, str], ...]:
    """Label, figure and note of what the horizon costs, in place of its first period."""
    levelised = findings.money_per_mtok(horizon.levelised_cost_per_mtok_output_usd)
    both = findings.money_per_mtok(horizon.levelised_cost_per_mtok_total_usd)
    now = sum(o.pay_usd for o in horizon.orders if o.decided == "now")
    return (
        ("Output tokens, per million", levelised, f"{both} counting input too"),
        (
            "Cost a year, levelised",
            short_dollars(horizon.levelised_usd_per_year),
            f"{short_dollars(horizon.npv_usd)} worth today",
        ),
        ("Ordered now", short_dollars(now), exact_dollars(now)),
    )
