"""A plan over periods and outlooks: orders, cash and power by date, and how bad it gets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date

from tokenfleet.files.plain import plain
from tokenfleet.plan.horizon_rows import OverTime, Period
from tokenfleet.report import findings, over_time, words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import exact_dollars, power, short, short_dollars, spelled
from tokenfleet.report.page import charts
from tokenfleet.report.page.parts import (
    Cell,
    Drawn,
    Lines,
    Part,
    Section,
    Table,
    chart,
    figure,
    grid,
    row,
    text,
)


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
    cash = _by_start(horizon.periods, lambda p: p.bought_usd - p.sold_usd + p.paid_usd)
    held = _by_start(horizon.periods, lambda p: sum(s.provisioned_kw for s in p.sites))
    spent, total = [], 0.0
    for day, usd in cash:
        total += usd
        spent.append((day, total))
    for series, name, shown in (
        (spent, "cash paid until then, mean of the outlooks, USD", short),
        (held, "power held, mean of the outlooks", power),
    ):
        if len(series) > 1:
            parts.append(_line(series, name, shown))
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
    parts.append(Table(grid(columns, rows)))
    said = tuple(sentence(plain(line)) for line in over_time.sentences(horizon))
    parts.append(Lines(said))
    return Section("Over time", findings.over_time_title(horizon), tuple(parts))


def _by_start(
    periods: Sequence[Period], amount: Callable[[Period], float]
) -> list[tuple[date, float]]:
    """Mean over the outlooks of an amount, by the first day of the period."""
    found: dict[date, float] = defaultdict(float)
    for p in periods:
        found[p.start] += p.probability * amount(p)
    return sorted(found.items())


def _line(series: Sequence[tuple[date, float]], name: str, shown: Callable[[float], str]) -> Drawn:
    """An amount by date, in both widths."""
    points = [
        charts.Dot(float(day.toordinal()), value, shown(value) if i == len(series) - 1 else "")
        for i, (day, value) in enumerate(series)
    ]
    days = [(float(day.toordinal()), day.isoformat()[:7]) for day, _ in series]
    most = max((value for _, value in series), default=0.0)
    ticks = [(tick, shown(tick)) for tick in charts.nice_ticks(most)]
    broad, narrow = (
        charts.line(points, name, days, ticks, title=sentence(name), width=width)
        for width in (charts.BROAD, charts.NARROW)
    )
    return Drawn(broad, narrow)


def _futures(horizon: OverTime) -> Section:
    most = max((abs(o.npv_usd) for o in horizon.outlooks), default=0.0) or 1.0
    rows = [
        row(
            clip(o.outlook),
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
