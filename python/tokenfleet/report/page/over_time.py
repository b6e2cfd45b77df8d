"""A plan over periods and outlooks: orders, cash and power by date, and how bad it gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date

from tokenfleet.files.plain import plain
from tokenfleet.plan.horizon_rows import Order, OverTime, Period
from tokenfleet.report import findings, over_time, words
from tokenfleet.report import findings_over_time as over_years
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import (
    counted,
    exact_dollars,
    power,
    short_dollars,
    spelled,
    trimmed,
)
from tokenfleet.report.page import charts
from tokenfleet.report.page.charts import SYSTEM_COLOURS, Block, Stack
from tokenfleet.report.page.look import OTHER
from tokenfleet.report.page.panel import Axis, Panel, Point, Series
from tokenfleet.report.page.parts import (
    Cell,
    Folded,
    Grid,
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
_FEW = 6  # later orders that stand beside those of today


def sections(horizon: OverTime) -> Iterator[Section]:
    """Orders, then money and power by date, then the futures."""
    if horizon.orders:
        yield _orders(horizon)
    yield _periods(horizon)
    if len(horizon.outlooks) > 1:
        yield _futures(horizon)


def _orders(horizon: OverTime) -> Section:
    """Orders that are decided now; where many come later, those folded."""
    now = [o for o in horizon.orders if o.decided == "now"]
    later = [o for o in horizon.orders if o.decided != "now"]
    parts: list[Part] = []
    if len(later) <= _FEW:
        parts.append(Table(_order_table(horizon.orders)))
    else:
        parts += [Table(_order_table(now))] if now else []
        parts.append(Folded(over_years.later_orders(len(later)), _order_table(later)))
    if later:
        parts.append(Lines((over_years.LATER_ORDERS,)))
    title = over_years.orders_title(horizon)
    return Section("What to order, and when", title, tuple(parts))


def _order_table(orders: Sequence[Order]) -> Grid:
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
        for o in orders
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
    return grid(columns, rows)


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
    name = counted(len(rows), "period")
    parts.append(Folded(name, every) if len(rows) > _OPEN else Table(every, heading=name))
    parts.append(_said(over_time.at_the_end(horizon)))
    return Section("Over time", over_years.title(horizon), tuple(parts))


def _said(lines: Iterable[str]) -> Lines:
    return Lines(tuple(sentence(plain(line)) for line in lines))


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
    return Table(grid(columns, rows), heading=over_years.cash_heading(horizon))


def _name(period: Period) -> str:
    """The period without its outlook."""
    return period.period.split(" ", 1)[0]


def cash(horizon: OverTime) -> Panel:
    """Cash paid until each date, a line for each outlook."""
    title = f"Cash paid until then{_by_outlook(horizon)}"
    lines = [(name, tuple(_sums(periods))) for name, periods in paths(horizon)]
    series = _coloured(lines)
    if len(lines) > 1:
        series += (Series("mean of the outlooks", _mean_sums(horizon), "ink", dots=False),)
    y = Axis(zero=True)
    return Panel(title, "", "USD paid until then", series, x=_dates(horizon), y=y)


def _sums(periods: Iterable[Period]) -> Iterator[Point]:
    """What is bought and sold is cash of a period's first day; the rest is spread over it."""
    total = 0.0
    for p in periods:
        yield _day(p.start), total
        total += p.bought_usd - p.sold_usd
        yield _day(p.start), total
        total += p.paid_usd
        yield _day(p.end), total


def _mean_sums(horizon: OverTime) -> tuple[Point, ...]:
    """The same of the mean: periods that begin together are one."""
    starts: dict[date, list[Period]] = defaultdict(list)
    for p in horizon.periods:
        starts[p.start].append(p)

    merged = (
        of[0].model_copy(
            update={
                "bought_usd": sum(p.probability * p.bought_usd for p in of),
                "sold_usd": sum(p.probability * p.sold_usd for p in of),
                "paid_usd": sum(p.probability * p.paid_usd for p in of),
            }
        )
        for _, of in sorted(starts.items())
    )
    return tuple(_sums(merged))


def held(horizon: OverTime) -> Panel:
    """Power held in each period, a line for each outlook."""
    lines = []
    for name, periods in paths(horizon):
        levels = [(p, sum(site.provisioned_kw for site in p.sites)) for p in periods]
        points = [(_day(day), kw) for p, kw in levels for day in (p.start, p.end)]
        lines.append((name, tuple(points)))
    y = Axis(zero=True, shown=lambda kw: trimmed(power(kw)))
    title = f"Power held{_by_outlook(horizon)}"
    return Panel(title, "", "power held", _coloured(lines), x=_dates(horizon), y=y)


def _dates(horizon: OverTime) -> Axis:
    """An axis with the days on which periods begin and end."""
    days = sorted({p.start for p in horizon.periods} | {p.end for p in horizon.periods})
    return Axis(ticks=tuple((_day(day), day.isoformat()[:7]) for day in days))


def _by_outlook(horizon: OverTime) -> str:
    return ", by outlook" if len(horizon.outlooks) > 1 else ""


def _coloured(lines: Sequence[tuple[str, tuple[Point, ...]]]) -> tuple[Series, ...]:
    """A colour for each line; of too many, the highest, the lowest and the rest in grey."""
    if len(lines) <= SYSTEM_COLOURS:
        return tuple(
            Series(clip(name) if len(lines) > 1 else "", points, f"s{i}", dots=False)
            for i, (name, points) in enumerate(lines)
        )
    by_end = sorted(lines, key=lambda of: (of[1][-1][1], of[0]))
    grey = [Series("", points, OTHER, dots=False) for _, points in by_end[1:-1]]
    grey[0] = replace(grey[0], name=counted(len(grey), "other outlook"))
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
            "–" if o.least_npv_usd is None else short_dollars(o.least_npv_usd),
            "–" if o.regret_usd is None else short_dollars(o.regret_usd),
        )
        for o in sorted(horizon.outlooks, key=lambda o: (-o.npv_usd, o.outlook))
    ]
    columns = (
        text("Outlook"),
        chart("Worth today of all cash"),
        figure("Probability"),
        figure("USD today"),
        figure("Were it known"),
        figure("Regret, USD"),
    )
    title, table = over_years.futures_title(horizon), Table(grid(columns, rows), "bars")
    said = _said(over_time.of_risk(horizon))
    return Section("How bad it gets", title, (table, said) if said.notes else (table,))


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
