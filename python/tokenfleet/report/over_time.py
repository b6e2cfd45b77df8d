"""A plan over a horizon in words and tables: what to order now, what waits for what, how bad it
gets. Reads a `Plan` and computes nothing but sums by year.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from tokenfleet.files.plain import plain
from tokenfleet.plan.horizon_rows import Held, Order, OverTime, Period
from tokenfleet.plan.rows import Plan
from tokenfleet.report import words
from tokenfleet.report.grid import Grid, figures, texts
from tokenfleet.report.lines import Box, Lines
from tokenfleet.report.numbers import dollars, number, percent, unit_price

_SHOWN = 12
_MOST = 24  # periods
_NAMED = 3  # periods, and costs, in a sentence
_LITTLE = 1e-3  # systems


def answer(plan: Plan, horizon: OverTime) -> Box:
    """The answer in a box: what it costs, how sure that is, and what to order now."""
    year = horizon.levelised_usd_per_year
    head = f"{dollars(year)} a year ({dollars(year / 12)} a month), levelised: every year alike"
    price = unit_price(horizon.levelised_cost_per_mtok_output_usd)
    money = [
        f"{dollars(horizon.npv_usd)} in today's money, at {percent(horizon.discount_rate)} a year, "
        "for all periods, less the worth of what stands at the end",
        f"{price} per million output tokens",
        _proof(plan),
        *([] if plan.confidence is None else [_held(plan.confidence)]),
        "",
    ]
    orders = [f"• {plain(line)}" for line in horizon.commitments or ("order nothing",)]
    parts = [
        Lines([head], style="bold"),
        Lines(money),
        Lines(["Now:"], style="bold"),
        Lines([*orders, *(f"• {line}" for line in paid_for_orders(horizon)), ""]),
    ]
    for title, lines in (
        ("Why this plan, and not another:", list(reasons(plan, horizon))),
        ("What may come, and what stands at the end:", list(sentences(horizon))),
    ):
        if lines:
            parts += [Lines([title], style="bold"), Lines([f"• {line}" for line in lines])]
    return Box(parts, title=plain(plan.name))


def paid_for_orders(horizon: OverTime) -> Iterator[str]:
    """What the orders of now cost in all, where there are several."""
    now = [order for order in horizon.orders if order.decided == "now"]
    bought = sum(order.pay_usd for order in now if order.kind != "rent")
    signed = sum(order.pay_usd for order in now if order.kind == "rent")
    if bought:
        yield f"up front for what is bought now: {dollars(bought)} in all, at delivery"
    if signed:
        yield f"contracts signed now: {dollars(signed)} in all within the horizon"
    if now and not bought:
        yield "nothing is paid up front for a purchase now"


def reasons(plan: Plan, horizon: OverTime) -> Iterator[str]:
    """Why this plan: other choices, what binds and when, where the money goes over all periods."""
    other = words.alternative(plan)
    if other is not None:
        yield other
    yield from ways_alone(plan)
    yield from _no_room(horizon)
    binding = words.binding(plan)
    if binding is not None:
        yield f"in the period below, {binding}"
    yield from _largest_costs(horizon)


def ways_alone(plan: Plan) -> Iterator[str]:
    """What each way to get the tokens costs alone: `rent alone costs 14% more`."""
    for way in plan.ways:
        if way.difference_relative is not None:
            verb = "costs" if plan.objective.startswith("least_cost") else "comes to"
            if words.is_tie(plan, way.difference_relative):
                yield plain(f"{way.name} alone is as good, within the proven gap")
                continue
            more = "more" if way.difference_relative > 0 else "less"
            share = percent(abs(way.difference_relative))
            yield plain(f"{way.name} alone {verb} {share} {more}")
        elif way.impossible:
            why = f": {way.why}" if way.why else ""
            yield plain(f"{way.name} alone has no plan{why}")
        else:
            yield plain(f"{way.name} alone: no plan was found in the short time that it was given")


def _no_room(horizon: OverTime) -> Iterator[str]:
    """Sites whose power leaves no room for one more system, with the periods in which."""
    full: dict[str, list[str]] = {}
    for period in horizon.periods:
        counts: dict[str, float] = {}
        for row in period.systems:
            counts[row.site] = counts.get(row.site, 0.0) + row.count
        for site in period.sites:
            count = counts.get(site.site, 0.0)
            if site.limit_kw is None or count < 1:
                continue
            if site.limit_kw - site.provisioned_kw < site.provisioned_kw / count:
                used = f"{number(site.provisioned_kw)} of {number(site.limit_kw)} kW"
                full.setdefault(site.site, []).append(f"{period.period} ({used})")
    for name, periods in full.items():
        more = f" and {len(periods) - _NAMED} more periods" if len(periods) > _NAMED else ""
        when = ", ".join(periods[:_NAMED])
        yield plain(f"the power of {name} has no room for one more system in {when}{more}")


def _largest_costs(horizon: OverTime) -> Iterator[str]:
    """The largest costs of all periods, each year as much as any other."""
    items: dict[str, float] = {}
    for period in horizon.periods:
        days = period.probability * (period.end - period.start).days
        for item, usd in period.cost_items.items():
            items[item] = items.get(item, 0.0) + days * usd
    whole = sum(items.values())
    if whole > 0:
        ranked = sorted(items.items(), key=lambda item: -item[1])[:_NAMED]
        named = [f"{words.item_name(k)} {percent(usd / whole)}" for k, usd in ranked if usd > 0]
        yield f"largest costs over all periods: {', '.join(named)}"


def tables(horizon: OverTime) -> Iterator[RenderableType]:
    """What is ordered later, every period, cash by year, and the futures."""
    every = (_later, _let_go, _periods, _cash, _futures)
    yield from (grid for grid in (of(horizon) for of in every) if grid.rows)


def _proof(plan: Plan) -> str:
    if plan.gap is None:
        return "nothing is proven of how much better a plan could be"
    said = f"proven: no plan is better by more than {percent(plan.gap)}"
    return said + (words.OWN_BOUND if plan.bound_check == "none" else "")


def _held(confidence: float) -> str:
    return f"latency limits and rates are held at {100 * confidence:.3g} % confidence"


def sentences(horizon: OverTime) -> Iterator[str]:
    """What to know of risk, and of what is not counted."""
    risk = horizon.risk
    if risk is not None:
        yield (
            f"The plan costs {dollars(risk.expected_usd)} on average, {dollars(risk.cvar_usd)} in "
            f"the worst {percent(1.0 - risk.cvar_alpha)} of futures"
        )
    yield from of_risk(horizon)
    yield from at_the_end(horizon)


def of_risk(horizon: OverTime) -> Iterator[str]:
    """What knowing, planning and waiting are worth."""
    risk = horizon.risk
    if risk is not None:
        if risk.evpi_usd is not None:
            between = _between(risk.evpi_low_usd, risk.evpi_high_usd)
            yield f"Knowing the future today is worth at most {dollars(risk.evpi_usd)}{between}"
        if risk.vss_usd is not None:
            yield (
                f"Planning for the mean future alone would cost {dollars(risk.vss_usd)} more "
                f"on average{_between(risk.vss_low_usd, risk.vss_high_usd)}"
            )
        if risk.waiting_usd is not None:
            waiting = dollars(risk.waiting_usd)
            yield f"Ordering nothing in the first period would cost {waiting} more"
        if risk.unmet_probability > 0:
            yield f"Some demand is unmet with probability {percent(risk.unmet_probability)}"


def at_the_end(horizon: OverTime) -> Iterator[str]:
    """What stands at the end, what runs on, and how firm later periods are."""
    worth = sum(p.probability * p.end_value_usd for p in horizon.periods)
    if worth:
        yield f"What stands at the end is counted as worth {dollars(worth)} then"
    if horizon.beyond.usd and not horizon.beyond.counted:
        yield (
            f"Contracts run past the horizon: {dollars(horizon.beyond.usd)} more, which is not "
            "counted"
        )
    if any(not period.firm for period in horizon.periods):
        yield "Later periods are an outlook: their numbers may be fractions"


def _between(low: float | None, high: float | None) -> str:
    """The interval that is proven, where it is one; one that holds 0 tells nothing apart."""
    if low is None or high is None or dollars(low) == dollars(high):
        return ""
    apart = "" if low > 0 else ", not told apart from nothing at this gap"
    return f" (proven: {dollars(low)} to {dollars(high)}{apart})"


def _later(horizon: OverTime) -> Grid:
    grid = Grid(
        "Decided later",
        (*texts("order on", "if", "system", "offer"), *figures("count", "USD")),
    )
    later = [order for order in horizon.orders if order.decided != "now"]
    for order in later[:_SHOWN]:
        grid.add(
            order.order_on.isoformat(),
            sign(order),
            order.system,
            order.offer,
            number(order.count),
            dollars(order.pay_usd),
        )
    if len(later) > _SHOWN:
        grid.add(f"{len(later) - _SHOWN} more", "(with --json)", *("" for _ in range(4)))
    return grid


def _let_go(horizon: OverTime) -> Grid:
    """What is sold, and contracts that end or are not renewed."""
    grid = Grid(
        "Sold, or let go at the end of a contract",
        (*texts("period", "system", "offer"), *figures("count", "brings USD")),
    )
    gone = [(p, row) for p in horizon.periods for row in p.systems if row.gone > _LITTLE]
    for period, row in gone[:_SHOWN]:
        brings = dollars(row.sold_usd) if row.sold_usd else ""
        grid.add(title(period), row.system, row.offer, number(row.gone), brings)
    if len(gone) > _SHOWN:
        grid.add(f"{len(gone) - _SHOWN} more", *("" for _ in range(4)))
    return grid


def sign(order: Order) -> str:
    """What an order waits for."""
    return "whatever comes" if order.decided.startswith("later") else order.decided


def _periods(horizon: OverTime) -> Grid:
    grid = Grid(
        "Periods",
        (*texts("period", "in service"), *figures("kW", "of kW", "USD a year", "$/Mtok out")),
    )
    for period in horizon.periods[:_MOST]:
        limits = [site.limit_kw for site in period.sites]
        known = [kw for kw in limits if kw is not None]
        grid.add(
            title(period),
            standing(period.systems),
            number(sum(site.provisioned_kw for site in period.sites)),
            number(sum(known)) if len(known) == len(limits) and known else "no limit",
            dollars(period.annual_cost_usd),
            unit_price(period.cost_per_mtok_output_usd),
        )
    if len(horizon.periods) > _MOST:
        grid.add(f"{len(horizon.periods) - _MOST} more", "(with --json)", *("" for _ in range(4)))
    return grid


def title(period: Period) -> str:
    """A period with the probability that things come to it."""
    share = "" if period.probability == 1.0 else f" ({percent(period.probability)})"
    return f"{period.period}{share}"


def standing(systems: tuple[Held, ...]) -> str:
    """What is in service, by offer."""
    counts: dict[str, float] = {}
    for row in systems:
        if row.count:
            counts[row.offer] = counts.get(row.offer, 0.0) + row.count
    return ", ".join(f"{number(count)} {offer}" for offer, count in counts.items()) or "none"


def _cash(horizon: OverTime) -> Grid:
    """Mean cash by calendar year, of the year in which a period begins; as it is paid then."""
    title = "Cash by the year in which a period begins, as it is paid then"
    grid = Grid(title, (*texts("year"), *figures("bought", "sold", "paid", "in all")))
    years: dict[int, list[float]] = {}
    for p in horizon.periods:
        row = years.setdefault(p.start.year, [0.0, 0.0, 0.0])
        for i, usd in enumerate((p.bought_usd, -p.sold_usd, p.paid_usd)):
            row[i] += p.probability * usd
    for year, row in years.items():
        grid.add(str(year), *map(dollars, row), dollars(sum(row)))
    totals = [sum(row[i] for row in years.values()) for i in range(3)]
    grid.add("all years", *map(dollars, totals), dollars(sum(totals)))
    return grid


def _futures(horizon: OverTime) -> Grid:
    grid = Grid(
        "Outlooks",
        (*texts("outlook", "sign"), *figures("probability", "USD today", "were it known")),
    )
    if len(horizon.outlooks) > 1:
        for row in horizon.outlooks:
            known = "" if row.least_npv_usd is None else dollars(row.least_npv_usd)
            share = percent(row.probability)
            grid.add(row.outlook, plain(row.sign), share, dollars(row.npv_usd), known)
    return grid
