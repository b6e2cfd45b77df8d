"""Findings of a plan over periods and outlooks: its titles and sentences on a page."""

from __future__ import annotations

from tokenfleet.plan.horizon_rows import OverTime
from tokenfleet.report.findings import LOTS, clip, money_per_mtok
from tokenfleet.report.numbers import counted, exact_dollars, part, short_dollars


def heading(horizon: OverTime) -> str:
    """What a million output tokens cost over the whole horizon."""
    ends = [period.end for period in horizon.periods]
    starts = [period.start for period in horizon.periods]
    price = money_per_mtok(horizon.levelised_cost_per_mtok_output_usd)
    if not ends:
        return f"A million output tokens for {price}"
    return f"A million output tokens for {price}, from {min(starts):%Y-%m} to {max(ends):%Y-%m}"


def commitments(horizon: OverTime) -> str:
    """What is to be ordered or signed now."""
    if not horizon.commitments:
        return "Order nothing now."
    shown = [clip(line, 110) for line in horizon.commitments[:LOTS]]
    rest = len(horizon.commitments) - LOTS
    if rest > 0:
        shown.append(f"{rest} more")
    return f"Now: {'; '.join(shown)}."


def levelised(horizon: OverTime) -> str:
    """The yearly cost that is worth as much as all cash of the horizon."""
    return f"{exact_dollars(horizon.levelised_usd_per_year)} a year, levelised."


def orders_title(horizon: OverTime) -> str:
    """How many orders are decided now, and how many wait."""
    now = sum(order.decided == "now" for order in horizon.orders)
    waiting = sum(not order.decided.startswith(("now", "later")) for order in horizon.orders)
    later = len(horizon.orders) - now - waiting
    if not later and not waiting:
        return f"{counted(now, 'order')}, all decided now"
    title = f"{counted(now, 'order')} now"
    if later:
        title += f", {later:,} later whatever comes"
    verb = "waits" if waiting == 1 else "wait"
    return f"{title}; {waiting:,} {verb} for what comes" if waiting else title


LATER_ORDERS = (
    "Orders that are not decided now show what the plan rests on, and may be fractions: plan again "
    "before each of them."
)


def later_orders(number: int) -> str:
    """The heading of orders that are not decided now."""
    return counted(number, "later order")


def cash_heading(horizon: OverTime) -> str:
    """What the table of cash by period shows."""
    return "Cash by period" + (", mean of the outlooks" if len(horizon.outlooks) > 1 else "")


def title(horizon: OverTime) -> str:
    """The yearly cost in the first and in the last period, there the mean of the outlooks."""
    if not horizon.periods:
        return "No period"
    first, end = horizon.periods[0], max(p.start for p in horizon.periods)
    if first.start == end:
        return f"{short_dollars(first.annual_cost_usd)} a year"
    last = [p for p in horizon.periods if p.start == end]
    mean = sum(p.probability * p.annual_cost_usd for p in last)
    return (
        f"From {short_dollars(first.annual_cost_usd)} a year in {clip(first.period)} to "
        f"{short_dollars(mean)} in {clip(last[0].period.split(' ', 1)[0])}"
        f"{', mean of the outlooks' if len(last) > 1 else ''}"
    )


def futures_title(horizon: OverTime) -> str:
    """The mean of the futures, and of the worst of them."""
    risk = horizon.risk
    if risk is None:
        return f"{counted(len(horizon.outlooks), 'outlook')}"
    worst = part(1.0 - risk.cvar_alpha, 1.0)
    return (
        f"{short_dollars(risk.expected_usd)} on average, {short_dollars(risk.cvar_usd)} in the "
        f"worst {worst} of futures"
    )
