"""Faults of what a scenario says over time: dates, probabilities, and names that outlooks use."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from tokenfleet.schema.faults import Fault
from tokenfleet.schema.horizon import Horizon, Outlook
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.supply import Offer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tokenfleet.schema.scenario import Scenario

_SURE = 1e-9
#: Fields that mean nothing to one steady year.
_TIMED = {
    "workloads": ("from_", "until"),
    "sites": (
        "power_kw_by_date", "racks_by_date", "electricity_change_per_year", "expansions",
    ),
    "offers": (
        "price_change_per_year", "price_by_date", "lead_months", "order_from", "order_until",
        "delivery_limit_per_period", "least_order", "ages", "life_years", "market_usd_per_system",
        "maintenance_by_age", "upfront_fraction", "resale", "stay_months", "removal_usd_per_system",
    ),
    "apis": ("price_change_per_year",),
}  # fmt: skip
_OF_DEMAND = ("growth_per_year", "requests_per_s_by_date")


def time_faults(scenario: Scenario) -> Iterator[Fault]:
    """What does not fit the horizon, or needs one."""
    if scenario.horizon is None:
        yield from _without_horizon(scenario)
        return
    yield from _dates(scenario, scenario.horizon)
    yield from _outlooks(scenario, scenario.horizon)
    if scenario.objective.risk is not None and not scenario.outlooks:
        hint = "add outlooks, or leave the risk out"
        yield Fault("objective.risk", "there is one future: nothing is at risk", hint)
    if scenario.objective.risk is not None and scenario.objective.kind != "least_cost":
        hint = "choose least_cost, or leave the risk out"
        yield Fault("objective.risk", f"is told of cost, not of {scenario.objective.kind}", hint)
    unmet = scenario.horizon.max_unmet_probability
    if unmet is not None and not any(w.shortfall_usd_per_request for w in scenario.workloads):
        yield Fault(
            "horizon.max_unmet_probability",
            "no workload may go unmet: none has a price of shortfall",
            "give workloads[].shortfall_usd_per_request, or leave it out",
        )


def without_time(plain: dict[str, Any]) -> dict[str, Any]:
    """A scenario of one steady year as plain data, without the fields that only a horizon reads.

    What identifies such a scenario is then what it was before there were any.
    """
    found = {k: v for k, v in plain.items() if k not in {"horizon", "outlooks"}}
    found["objective"] = {k: v for k, v in plain["objective"].items() if k != "risk"}
    for table, names in _TIMED.items():
        found[table] = [{k: v for k, v in row.items() if k not in names} for row in plain[table]]
    for row in found["workloads"]:
        row["demand"] = {k: v for k, v in row["demand"].items() if k not in _OF_DEMAND}
    return found


def _changed(row: BaseModel, name: str) -> bool:
    return bool(getattr(row, name) != type(row).model_fields[name].get_default())


def _path(table: str, i: int, row: Any) -> str:
    return f"{table}[{i}] (id {row.id!r})"


def _without_horizon(scenario: Scenario) -> Iterator[Fault]:
    hint = "add `horizon`, or leave it out"
    for table, names in _TIMED.items():
        for i, row in enumerate(getattr(scenario, table)):
            for name in names:
                if _changed(row, name):
                    key = f"{_path(table, i, row)}.{name.rstrip('_')}"
                    yield Fault(key, "has no effect in one steady year", hint)
    for i, workload in enumerate(scenario.workloads):
        for name in _OF_DEMAND:
            if name in type(workload.demand).model_fields and _changed(workload.demand, name):
                key = f"{_path('workloads', i, workload)}.demand.{name}"
                yield Fault(key, "has no effect in one steady year", hint)
    if scenario.outlooks:
        yield Fault("outlooks", "need periods to come true in", "add `horizon`")
    if scenario.objective.risk is not None:
        yield Fault("objective.risk", "is told over outlooks", "add `horizon` and `outlooks`")


def _dates(scenario: Scenario, horizon: Horizon) -> Iterator[Fault]:
    """Dates outside of the horizon, paths that begin too late, and orders that come too late."""
    end, last = horizon.first_day(sum(horizon.months)), _last_period(horizon)
    for i, offer in enumerate(scenario.offers):
        yield from _dates_of_offer(offer, horizon, end, _path("offers", i, offer))
    for i, site in enumerate(scenario.sites):
        path = _path("sites", i, site)
        for row in site.expansions:
            if row.months >= sum(horizon.months):
                yield _too_late(f"{path}.expansions (id {row.id!r}).months", horizon.start, end)
        for name in ("power_kw_by_date", "racks_by_date"):
            yield from _from_the_start(f"{path}.{name}", getattr(site, name), horizon)
    for i, workload in enumerate(scenario.workloads):
        path = _path("workloads", i, workload)
        if workload.from_ is not None and workload.from_ >= end:
            yield Fault(f"{path}.from", f"is after the horizon, which ends on {end}", "move it")
        if workload.until is not None and workload.until <= (workload.from_ or horizon.start):
            yield Fault(f"{path}.until", "is before it is asked for", "move it, or leave it out")
        steps = getattr(workload.demand, "requests_per_s_by_date", None)
        if steps is not None:
            path = f"{path}.demand.requests_per_s_by_date"
            yield from _from_the_start(path, steps, horizon)
            needed = min(last, workload.until or last)
            yield from _stops(horizon, path, steps, needed, "until")
    budget = horizon.capex_budget_by_date
    yield from _from_the_start("horizon.capex_budget_by_date", budget, horizon)


def _dates_of_offer(offer: Offer, horizon: Horizon, end: date, path: str) -> Iterator[Fault]:
    first = max(offer.order_from or horizon.start, horizon.start)
    arrives = horizon.years_to(first) + offer.lead_months / 12.0
    if offer.order_until is not None and offer.order_until < horizon.start:
        text = f"{offer.order_until} is before the horizon, which starts on {horizon.start}"
        yield Fault(f"{path}.order_until", text, "leave the offer out, or move the date")
    if offer.kind != "owned" and arrives >= sum(horizon.months) / 12.0:
        name = "lead_months" if offer.lead_months else "order_from"
        yield _too_late(f"{path}.{name}", first, end)
    shortest = min(horizon.months) / 12.0
    if offer.kind == "rent" and (offer.term_years or math.inf) < shortest - _SURE:
        text = f"{offer.term_years:g} years end within every period: the shortest is {shortest:g}"
        yield Fault(f"{path}.term_years", text, "write shorter periods, or leave the term out")
    steps = offer.price_by_date
    if steps is not None:
        if steps[0][0] > first:
            yield _starts_late(f"{path}.price_by_date", steps[0][0], first)
        last = _last_period(horizon)
        needed = min(last, offer.order_until or last)
        path = f"{path}.price_by_date"
        yield from _stops(horizon, path, steps, needed, "order_until")


def _last_period(horizon: Horizon) -> date:
    """First day of the last period."""
    return horizon.first_day(sum(horizon.months[:-1]))


def _too_late(path: str, ordered: date, end: date) -> Fault:
    text = f"ordered on {ordered}, it is delivered after the horizon, which ends on {end}"
    return Fault(path, text, "leave it out, or plan over a longer horizon")


def _from_the_start(
    path: str, steps: Sequence[tuple[date, Any]] | None, horizon: Horizon
) -> Iterator[Fault]:
    """What is stated by date holds from the first day on."""
    if steps is not None and steps[0][0] > horizon.start:
        yield _starts_late(path, steps[0][0], horizon.start)


def _stops(
    horizon: Horizon, path: str, steps: Sequence[tuple[date, float]], needed: date, ended_by: str
) -> Iterator[Fault]:
    """A path of several values that ends longer before the last that is needed than it goes between
    rows: whether its last value stays is for its author to say."""
    dates = [horizon.years_to(day) for day, _ in steps]
    longest = max((b - a for a, b in itertools.pairwise(dates)), default=math.inf)
    if horizon.years_to(needed) - dates[-1] > longest + _SURE:
        yield Fault(
            path,
            f"stops on {steps[-1][0]}, and a value is needed until {needed}",
            f"give a row for {needed}, with the same value where it stays, or `{ended_by}`",
        )


def _starts_late(path: str, first: date, needed: date) -> Fault:
    hint = f"give a row for {needed} or earlier"
    return Fault(path, f"begins on {first}, and a value is needed from {needed} on", hint)


def _outlooks(scenario: Scenario, horizon: Horizon) -> Iterator[Fault]:
    rows = {row.id: row for row in scenario.outlooks}
    parents = {row.parent for row in scenario.outlooks if row.parent is not None}
    end, last = horizon.first_day(sum(horizon.months)), _last_period(horizon)
    for i, row in enumerate(scenario.outlooks):
        path = _path("outlooks", i, row)
        yield from _names(scenario, row, path)
        yield from _delays(scenario, row, path)
        if row.parent is not None and row.parent not in rows:
            hint = did_you_mean(row.parent, rows)
            yield Fault(f"{path}.parent", f"unknown outlook {row.parent!r}", hint)
        elif row.parent is not None:
            if _is_own_ancestor(rows, row):
                yield Fault(f"{path}.parent", "is a part of itself", "let one have no parent")
            first = rows[row.parent].from_
            if row.from_ is None or (first is not None and row.from_ <= first):
                hint = "give `from`, a date after that of the parent"
                yield Fault(f"{path}.from", f"is known no later than {row.parent!r}", hint)
        if row.from_ is not None and not horizon.start < row.from_ < end:
            hint = f"give a date after {horizon.start} and before {end}"
            yield Fault(f"{path}.from", f"{row.from_} is not inside the horizon", hint)
        elif row.from_ is not None and row.from_ > last:
            text = f"{row.from_} is after {last}, when the last period starts: it changes nothing"
            yield Fault(f"{path}.from", text, f"give a date no later than {last}")
    for parent in (None, *sorted(parents & rows.keys())):
        children = [row for row in scenario.outlooks if row.parent == parent]
        total, whole = sum(row.probability for row in children), 1.0
        if parent is not None:
            whole = rows[parent].probability
        if children and abs(total - whole) > _SURE:
            of = "" if parent is None else f" of what {parent!r} is made of"
            hint = "they are never scaled for you: correct one"
            if parent is not None and abs(total - 1.0) <= _SURE:
                hint = f"write each as a part of all futures: {whole:g} times what it is now"
            text = f"probabilities{of} add to {total:.10g}, not {whole:g}"
            yield Fault("outlooks", text, hint)


def _delays(scenario: Scenario, row: Outlook, path: str) -> Iterator[Fault]:
    """Delays of what has no date."""
    for offer in scenario.offers:
        if offer.id in row.delivery_delay_months and not offer.is_ordered:
            text = f"{offer.id!r} is had without an order: nothing comes late"
            yield Fault(f"{path}.delivery_delay_months", text, "leave it out")
    for site in scenario.sites:
        if site.id in row.power_delay_months and site.power_kw_by_date is None:
            text = f"power of {site.id!r} has no dates: nothing comes late"
            yield Fault(
                f"{path}.power_delay_months", text, "give power_kw by date, or leave it out"
            )


def _is_own_ancestor(rows: dict[str, Outlook], row: Outlook) -> bool:
    seen, at = set(), row
    while at.parent is not None and at.parent in rows:
        if at.id in seen:
            return True
        seen.add(at.id)
        at = rows[at.parent]
    return False


def _names(scenario: Scenario, row: Outlook, path: str) -> Iterator[Fault]:
    """Names in factors that nothing in the scenario has."""
    workloads = [w.id for w in scenario.workloads]
    sites = [s.id for s in scenario.sites]
    offers = [o.id for o in scenario.offers]
    apis = [a.id for a in scenario.apis]
    systems = [o.system for o in scenario.offers]
    known: dict[str, Iterable[str]] = {
        "demand": workloads,
        "prices": [*offers, *apis],
        "tariff": sites,
        "supply": offers,
        "power": sites,
        "efficiency": systems if scenario.offers else (),
        "delivery_delay_months": offers,
        "power_delay_months": sites,
    }
    for field, names in known.items():
        given = getattr(row, field)
        if not isinstance(given, dict) or not names:
            continue
        for name in given:
            if name not in names:
                hint = did_you_mean(name, names)
                yield Fault(f"{path}.{field}", f"names {name!r}, which is not there", hint)
