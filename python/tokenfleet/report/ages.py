"""How old the prices of a plan are on the day that it is read.

A source names a day, a month or a year. The age counts from the last day that it may mean, so that
it is "at least": 2025-08 is 2025-08-31, 2025 is 2025-12-31.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from tokenfleet.plan.rows import Plan

OLD_DAYS = 90  # a quarter: prices of accelerators move by several percent in it
_DATED = re.compile(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?")


@dataclass(frozen=True)
class Aged:
    """A price and its age."""

    what: str
    as_of: str
    days: int


def day_of(plan: Plan, today: date | None = None) -> date:
    """The day on which prices are judged: the plan's own, else the given one, else today's."""
    if plan.as_of is not None:
        return date.fromisoformat(plan.as_of)
    return today or date.today()


def age_days(as_of: str | None, on: date) -> int | None:
    """Days that a source is old at least; None where it names no day. Never below 0."""
    found = _DATED.match(as_of or "")
    if found is None:
        return None
    year, month = int(found[1]), int(found[2] or 12)
    try:
        day = int(found[3] or calendar.monthrange(year, month)[1])
        return max((on - date(year, month, day)).days, 0)
    except (ValueError, calendar.IllegalMonthError):
        return None


def prices(plan: Plan, today: date | None = None) -> Iterator[Aged]:
    """Every dated price that the plan pays, each once."""
    on, seen = day_of(plan, today), set()
    priced = [(row.offer, row.price_as_of) for row in plan.systems]
    priced += [
        (row.what.partition("[")[2].partition("]")[0], row.as_of)
        for row in plan.inputs
        if row.what.startswith("apis[")
    ]
    for what, as_of in priced:
        days = age_days(as_of, on)
        if as_of is not None and days is not None and (what, as_of) not in seen:
            seen.add((what, as_of))
            yield Aged(what, as_of, days)


def old_prices(plan: Plan, today: date | None = None) -> list[Aged]:
    """Prices older than `OLD_DAYS`, the oldest first."""
    found = [row for row in prices(plan, today) if row.days > OLD_DAYS]
    return sorted(found, key=lambda row: (-row.days, row.what))
