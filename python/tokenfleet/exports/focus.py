"""A plan's year as forecast rows in the columns of FOCUS 1.2, to be reconciled with bills later.

The specification has no forecast data set yet: rows are marked `x_RowKind` = Forecast. Each cost
item of each lot of systems, of each hosted API and of contracted power is twelve equal rows. Their
`EffectiveCost` adds up to the plan's yearly cost. What is paid up front is billed in the first
month, and its cost is spread as the annuity.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from tokenfleet.errors import SchemaError
from tokenfleet.exports.tables import lines
from tokenfleet.plan.rows import Plan

MONTHS = 12
COLUMNS = (
    "BilledCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "ProviderName",
    "RegionId",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "x_RowKind",
    "x_CostItem",
    "x_PlanName",
    "x_ScenarioSha256",
)
_UPFRONT = ("capex_annuity", "residual_credit")  # spread over the life, not billed by the month
_API = "api_tokens"


@dataclass(frozen=True)
class _Charge:
    """What one thing costs a year under one item."""

    item: str
    usd: float
    resource: str
    kind: str
    service: str
    sku: str
    region: str | None = None
    quantity: float | None = None  # a year
    unit: str | None = None


def focus(plan: Plan, start: date | None = None) -> str:
    """CSV with a head line and a row for every charge and month, from the month of `start`.

    Raises:
        SchemaError: neither `start` nor the plan's `as_of` says in which month it begins.
    """
    first = start or (date.fromisoformat(plan.as_of) if plan.as_of else None)
    if first is None:
        raise SchemaError("the plan names no day to begin on", "give --start YYYY-MM")
    return lines(COLUMNS, _rows(plan, first.replace(day=1)))


def _rows(plan: Plan, first: date) -> Iterator[list[object]]:
    charges = list(_charges(plan))
    for n in range(MONTHS):
        begin, end = _month(first, n), _month(first, n + 1)
        if n == 0:
            for row in plan.systems:
                if row.capex_usd:
                    yield _purchase(plan, row.pool, row.system, row.capex_usd, (begin, end))
        for charge in charges:
            yield _row(plan, charge, begin, end)


def _month(first: date, n: int) -> str:
    years, month = divmod(first.month - 1 + n, MONTHS)
    return f"{first.year + years:04d}-{month + 1:02d}-01T00:00:00Z"


def _charges(plan: Plan) -> Iterator[_Charge]:
    """Every dollar of the plan once."""
    regions = {row.site: row.region for row in plan.sites}
    for row in plan.systems:
        for item, usd in row.cost_items_usd.items():
            yield _Charge(
                item, usd, row.pool, row.system, row.offer, row.offer, regions.get(row.site),
                *_quantity(item, row.hours_per_year, row.it_kwh_per_year * row.pue),
            )  # fmt: skip
    apis: dict[str, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for route in plan.routing:
        if route.api is not None:
            usd, tokens = apis[route.api]
            both = route.input_tokens_per_year + route.output_tokens_per_year
            apis[route.api] = usd + route.cost_usd_per_year, tokens + both
    for api, (usd, tokens) in sorted(apis.items()):
        yield _Charge(_API, usd, api, "hosted API", api, api, None, tokens, "Tokens")
    for site in plan.sites:
        if site.contracted_power_usd_per_year:
            usd = site.contracted_power_usd_per_year
            yield _Charge("contracted_power", usd, site.site, "power", site.site, "", site.region)
    for left in plan.unserved:
        name = f"{left.workload} {left.cls}"
        yield _Charge("shortfall", left.cost_usd_per_year, name, "unserved requests", name, "",
                      None, left.requests_per_year, "Requests")  # fmt: skip


def _quantity(item: str, system_hours: float, kwh: float) -> tuple[float | None, str | None]:
    if item == "energy":
        return kwh, "kWh"
    return system_hours, "System-hours"


def _row(plan: Plan, charge: _Charge, begin: str, end: str) -> list[object]:
    usd = charge.usd / MONTHS
    billed = 0.0 if charge.item in _UPFRONT else usd
    category = "Credit" if usd < 0 else "Usage"
    quantity = None if charge.quantity is None else charge.quantity / MONTHS
    return [
        billed, plan.currency, begin, end, category, charge.item.replace("_", " "), "Recurring",
        begin, end, quantity, charge.unit, usd, usd, usd, charge.service, charge.region,
        charge.resource, charge.kind, "AI and Machine Learning", charge.service, charge.sku or None,
        "Forecast", charge.item, plan.name, _fingerprint(plan),
    ]  # fmt: skip


def _purchase(
    plan: Plan, pool: str, system: str, usd: float, month: tuple[str, str]
) -> list[object]:
    """What is billed up front; its cost is in the annuity's rows."""
    begin, end = month
    return [
        usd, plan.currency, begin, end, "Purchase", "paid up front", "One-Time", begin, end, None,
        None, 0.0, 0.0, 0.0, system, None, pool, system, "AI and Machine Learning", system, None,
        "Forecast", "capex", plan.name, _fingerprint(plan),
    ]  # fmt: skip


def _fingerprint(plan: Plan) -> str | None:
    return plan.origin.scenario_sha256 if plan.origin is not None else None


def month_of(text: str) -> date:
    """The first day of a month written YYYY-MM.

    Raises:
        SchemaError: another text.
    """
    found = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
    if found is None:
        raise SchemaError(f"--start {text}: is no month", "write it as YYYY-MM")
    return date(int(found[1]), int(found[2]), 1)
