"""Rows of a plan over a horizon: orders, periods, outlooks, and how bad it gets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from pydantic import model_validator

from tokenfleet.schema.fields import Flag, NonNegative, Number, Word, about, quantity
from tokenfleet.schema.rows import Row, rejected

_ROUNDING = 1e-6  # of what adds up


class Held(Row):
    """Systems under one offer in a period."""

    site: Word = about("Where they stand")
    system: Word = about("System type")
    offer: Word = about("Offer")
    kind: Word = about("How they are obtained")
    count: NonNegative = quantity("In service, at the peak", "systems")
    ordered: NonNegative = quantity("Ordered, or contracts signed, in this period", "systems")
    delivered: NonNegative = quantity("Delivered, or contracts begun, in this period", "systems")
    gone: NonNegative = quantity("Sold, or let go at their end, at its start", "systems")
    bought_usd: NonNegative = quantity("Cash: price of what is delivered", "USD")
    sold_usd: NonNegative = quantity("Cash: what sales bring", "USD")
    upfront_usd: NonNegative = quantity("Cash: prepaid of contracts that begin", "USD")
    priced_usd_per_year: Number = quantity(
        "Cash: what of a year follows its price, which is rent and maintenance", "USD/year"
    )
    end_value_usd: NonNegative = quantity("Worth at the end of the horizon", "USD")


class SitePower(Row):
    """Power of a site in a period."""

    site: Word = about("Site")
    provisioned_kw: NonNegative = quantity("Held by systems, in the basis of the limit", "kW")
    limit_kw: NonNegative | None = quantity("What there is; null: no limit", "kW")


class Period(Row):
    """One period of one outlook: what stands, what it costs, what it delivers."""

    period: Word = about("Name of the period, with its outlook where several are possible")
    start: date = about("First day")
    end: date = about("First day after it")
    after: Word | None = about("Period before it; null: it is the first")
    outlook: Word | None = about("Outlook that is known to hold; null: none yet")
    probability: Number = quantity("That things come to here", "probability")
    firm: Flag = about("Numbers are whole; else an outlook, and may be fractions")
    systems: tuple[Held, ...] = about("Systems by site and offer")
    sites: tuple[SitePower, ...] = about("Power by site")
    annual_cost_usd: Number = quantity("Cost: holding and running", "USD/year")
    cost_items: dict[Word, Number] = quantity("The same by item", "USD/year")
    bought_usd: NonNegative = quantity("Cash: price of what is delivered", "USD")
    sold_usd: NonNegative = quantity("Cash: what sales bring", "USD")
    paid_usd: Number = quantity("Cash: contracts and running, over the period", "USD")
    end_value_usd: NonNegative = quantity("Worth of what stands at the end of the horizon", "USD")
    tokens_output: NonNegative = quantity("Output tokens delivered in the period", "tokens")
    cost_per_mtok_output_usd: Number | None = quantity("Cost of output", "USD/Mtok")
    unmet_requests: NonNegative = quantity("Requests not served in the period", "requests")


class Order(Row):
    """One order: what, when, for when, at what price, and whether it is decided now."""

    offer: Word = about("Offer")
    system: Word = about("System type, or block of power")
    site: Word = about("Where it goes")
    kind: Word = about("How it is obtained")
    count: NonNegative = quantity("How many", "systems")
    order_on: date = about("Date of the order")
    deliver_on: date | None = about("Date of delivery; null: not within the horizon")
    pay_usd: NonNegative = quantity("Price at delivery; of a contract what it pays in all", "USD")
    price_usd: NonNegative = quantity("Price of one; of a contract by the year", "USD")
    decided: Word = about("`now`, or what it waits for: the outlook in which it is ordered")

    def sentence(self, *, paid: bool = True) -> str:
        """`order 6 x gb300_nvl72 (gb300) at hall by 2026-10-01 for 2027-04-01, $18,600,000`."""
        verb = "sign" if self.kind == "rent" else "order"
        there = f" for {self.deliver_on}" if self.deliver_on not in (None, self.order_on) else ""
        price = f", ${self.pay_usd:,.0f}" if paid else ""
        what = f"{self.count:g} x {self.system} ({self.offer}) at {self.site}"
        return f"{verb} {what} by {self.order_on}{there}{price}"


class OutlookRow(Row):
    """One future and what it costs."""

    outlook: Word = about("Outlook; empty: the only one")
    probability: Number = quantity("Its probability", "probability")
    npv_usd: Number = quantity("Worth today of all cash", "USD")
    least_npv_usd: Number | None = quantity(
        "The same, were it known today; null: not solved for", "USD"
    )
    regret_usd: Number | None = quantity("The difference", "USD")
    unmet_requests: NonNegative = quantity("Requests not served over the horizon", "requests")
    sign: Word = about(
        "What it says, and from when on: by this it is known that it holds", default=""
    )


class Risk(Row):
    """How bad it gets, and what knowing would be worth. Null: not solved for."""

    expected_usd: Number = quantity("Mean worth of all cash", "USD")
    cvar_usd: Number = quantity("Mean of the worst futures", "USD")
    cvar_alpha: Number = quantity("The worst futures are 1 - this", "probability")
    worst_usd: Number = quantity("The dearest future", "USD")
    unmet_probability: Number = quantity("That some demand is not met", "probability")
    wait_and_see_usd: Number | None = quantity("Mean, were each future known today", "USD")
    evpi_usd: Number | None = quantity("What knowing today is worth at most", "USD")
    evpi_low_usd: Number | None = quantity(
        "The same, no less by what is proven of the plans; null: of the mean nothing is", "USD"
    )
    evpi_high_usd: Number | None = quantity("The same, no more by what is proven", "USD")
    eev_usd: Number | None = quantity(
        "Mean, if today's orders are those of the mean future; null: they leave no plan", "USD"
    )
    vss_usd: Number | None = quantity("What planning with outlooks saves over that", "USD")
    vss_low_usd: Number | None = quantity("The same, no less by what is proven", "USD")
    vss_high_usd: Number | None = quantity("The same, no more by what is proven", "USD")
    waiting_usd: Number | None = quantity(
        "What it costs more to order nothing in the first period; null: that leaves no plan", "USD"
    )
    regret_usd: tuple[tuple[Number | None, ...], ...] = quantity(
        "Regret of today's orders of each future's own plan (rows) in each (columns), in the "
        "order of `outlooks`; null: they leave no plan",
        "USD",
    )


class Beyond(Row):
    """Contracts that run past the horizon."""

    usd: NonNegative = quantity("What they pay after it, undiscounted, on average", "USD")
    counted: Flag = about("Whether it is part of the cost")


class OverTime(Row):
    """A plan over periods and outlooks. The other keys of a plan are those of its first period."""

    npv_usd: Number = quantity("Mean worth today of all cash", "USD")
    npv_bound_usd: Number | None = quantity("No plan is worth less; null: nothing proven", "USD")
    levelised_usd_per_year: Number = quantity("Yearly cost of the same worth", "USD/year")
    levelised_cost_per_mtok_output_usd: Number | None = quantity(
        "Worth of all cash over discounted output tokens", "USD/Mtok"
    )
    levelised_cost_per_mtok_total_usd: Number | None = quantity(
        "The same over input and output tokens", "USD/Mtok"
    )
    discount_rate: Number = quantity("Rate at which later cash counts for less", "1/year")
    years: Number = quantity("Discounted years of the horizon", "years")
    owned_at_start_usd: NonNegative = quantity(
        "Market value of what is there at the start: a cost of holding it, and no cash", "USD"
    )
    orders: tuple[Order, ...] = about("Every order, the earliest first")
    periods: tuple[Period, ...] = about("Every period of every outlook")
    outlooks: tuple[OutlookRow, ...] = about("Every future")
    risk: Risk | None = about("Over several outlooks; null: there is one")
    beyond: Beyond = about("What contracts pay after the horizon")
    commitments: tuple[Word, ...] = about("What is to be ordered or signed now, in words")

    @model_validator(mode="after")
    def _periods_follow_each_other(self) -> OverTime:
        """Every period comes after one that stands before it, but the first."""
        known: set[str] = set()
        for i, period in enumerate(self.periods):
            if period.after is not None and period.after not in known:
                text = f"{period.after!r} is no period before it"
                raise rejected(text, f"periods[{i}].after", "plan again")
            known.add(period.period)
        return self

    @model_validator(mode="after")
    def _cash_adds_up(self) -> OverTime:
        """The worth over its outlooks, the cost of a period over its items, an order over its
        systems."""
        if self.outlooks:
            _same("outlooks", 1.0, (row.probability for row in self.outlooks))
            worth = (row.probability * row.npv_usd for row in self.outlooks)
            _same("npv_usd", self.npv_usd, worth)
        if self.years > 0:
            _same(
                "levelised_usd_per_year", self.levelised_usd_per_year, [self.npv_usd / self.years]
            )
        for i, period in enumerate(self.periods):
            items = period.cost_items.values()
            _same(f"periods[{i}].annual_cost_usd", period.annual_cost_usd, items)
            bought = (row.bought_usd for row in period.systems)
            _same(f"periods[{i}].bought_usd", period.bought_usd, bought)
        for i, order in enumerate(self.orders):
            if order.kind == "buy":
                _same(f"orders[{i}].pay_usd", order.pay_usd, [order.count * order.price_usd])
        return self


def _same(key: str, stated: float, parts: Iterable[float]) -> None:
    found = list(parts)
    total = sum(found)
    if abs(total - stated) > _ROUNDING * max(1.0, sum(map(abs, found))):
        raise rejected(f"is {stated:.6g}, and its parts make {total:.6g}", key, "plan again")
