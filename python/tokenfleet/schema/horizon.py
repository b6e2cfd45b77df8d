"""Periods, outlooks, and what changes with the date: growth, price paths, lead times, power."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from tokenfleet.schema.fields import (
    Count,
    Fraction,
    Limit,
    Name,
    NonNegative,
    Number,
    OpenFraction,
    Positive,
    PositiveCount,
    about,
    quantity,
)
from tokenfleet.schema.rows import Row, rejected

MONTHS = {"quarter": 3, "half_year": 6, "year": 12, "month": 1}
MAX_PERIODS = 60
MAX_YEARS = 15.0
_MONTH = re.compile(r"\d{4}-\d{2}")
_PARTS = re.compile(r"(\d+) (month|quarter|half_year|year)s?")


def _date(value: Any) -> Any:
    """Accepts a date, or text such as 2026-10 or 2026-10-15."""
    if type(value) is date:
        return value
    if isinstance(value, str):
        text = f"{value}-01" if _MONTH.fullmatch(value) else value
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise PydanticCustomError("iso_date", "Input should be a date such as 2026-10 or 2026-10-01")


When = Annotated[date, BeforeValidator(_date)]


def ascending(steps: Sequence[tuple[Any, Any]], name: str) -> None:
    """Refuses rows by date that are out of order."""
    dates = [row[0] for row in steps]
    if any(a >= b for a, b in itertools.pairwise(dates)):
        raise rejected("its dates do not ascend", name, "put the rows in the order of their dates")


# A value holds from its date until the next.
Steps = Annotated[tuple[tuple[When, NonNegative], ...], Field(min_length=1)]
LimitSteps = Annotated[tuple[tuple[When, Limit], ...], Field(min_length=1)]
Points = Annotated[tuple[tuple[NonNegative, NonNegative], ...], Field(min_length=1)]


def _worth_tag(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<points>"


Worth = Annotated[
    Annotated[Literal["book", "market"], Tag("<word>")] | Annotated[Points, Tag("<points>")],
    Discriminator(_worth_tag),
]
Change = Annotated[Number, Field(gt=-1.0, le=10.0)]


def change(meaning: str) -> Any:
    """A change by the year, with the band outside of which the unit is doubted."""
    return quantity(
        meaning, "fraction/year", default=0.0, low=-0.9, if_low="percent", high=3.0,
        if_high="percent",
    )  # fmt: skip


def _factor_tag(value: Any) -> str:
    return "<factor>" if isinstance(value, int | float) else "<by name>"


Factors = Annotated[
    Annotated[NonNegative, Tag("<factor>")] | Annotated[dict[Name, NonNegative], Tag("<by name>")],
    Discriminator(_factor_tag),
]


def factor_of(factors: float | dict[str, float], name: str) -> float:
    """The factor of one row: one for all, or by name; 1 where it is not named."""
    return factors.get(name, 1.0) if isinstance(factors, dict) else factors


def _periods_tag(value: Any) -> str:
    return "<parts>" if isinstance(value, list | tuple) else "<count>"


Periods = Annotated[
    Annotated[Annotated[PositiveCount, Field(le=MAX_PERIODS)], Tag("<count>")]
    | Annotated[Annotated[tuple[Name, ...], Field(min_length=1)], Tag("<parts>")],
    Discriminator(_periods_tag),
]


class Horizon(Row):
    """Periods that purchases are planned over; without it the plan is of one steady year."""

    start: When = about("First day of the first period")
    periods: Periods = about(
        "How many, each as long as `period`; or parts such as [4 quarters, 3 years]"
    )
    period: Literal["month", "quarter", "half_year", "year"] = about(
        "Length of a period where `periods` is a number", default="year"
    )
    firm_periods: PositiveCount | None = about(
        "Periods whose numbers are whole; later ones are an outlook and may be fractions; blank: "
        "all are whole, or with outlooks those before the first news",
        default=None,
    )
    end_value_share: Fraction = quantity(
        "Share of the worth of what stands at the end that counts", "fraction", default=1.0
    )
    discount_rate: OpenFraction | None = quantity(
        "Rate at which cash of later dates counts for less; blank: finance.cost_of_capital",
        "1/year",
        default=None,
    )
    contracts_beyond: Literal["in_horizon", "full"] = about(
        "Whether contracts are paid to the end of the horizon only, or in full",
        default="in_horizon",
    )
    layout_change_usd_per_gpu: NonNegative = quantity(
        "What it costs to bring up a replica that did not run in the period before, by accelerator",
        "USD/GPU",
        default=0.0,
    )
    capex_budget_by_date: Steps | None = quantity(
        "Most capital due in one period, from each date on", "USD/period", default=None
    )
    max_unmet_probability: Fraction | None = quantity(
        "Most probability of futures in which some demand is not met", "probability", default=None
    )

    @model_validator(mode="after")
    def _sane(self) -> Horizon:
        months = self.months
        if len(months) > MAX_PERIODS or sum(months) > 12 * MAX_YEARS:
            raise rejected(
                f"is of {len(months)} periods and {sum(months) / 12:g} years",
                "periods",
                f"at most {MAX_PERIODS} periods and {MAX_YEARS:g} years",
            )
        if self.firm_periods is not None and self.firm_periods > len(months):
            raise rejected(
                f"{self.firm_periods} of {len(months)} periods",
                "firm_periods",
                "at most as many as there are periods, or leave it out",
            )
        if self.capex_budget_by_date is not None:
            ascending(self.capex_budget_by_date, "capex_budget_by_date")
        return self

    @property
    def months(self) -> tuple[int, ...]:
        """Length of every period in months."""
        if not isinstance(self.periods, tuple):
            return (MONTHS[self.period],) * self.periods
        found: list[int] = []
        for part in self.periods:
            match = _PARTS.fullmatch(part.strip())
            if match is None or not int(match[1]):
                raise rejected(
                    f"{part!r} is no length", "periods", "write parts such as `4 quarters`"
                )
            found += [MONTHS[match[2]]] * int(match[1])
        return tuple(found)

    def years_to(self, day: date) -> float:
        """Years from the start to a date, by months and days of a thirtieth of one."""
        months = 12 * (day.year - self.start.year) + day.month - self.start.month
        return (months + (day.day - self.start.day) / 30.0) / 12.0

    def first_day(self, months: int) -> date:
        """The date so many months after the start."""
        index = self.start.month - 1 + months
        return date(self.start.year + index // 12, index % 12 + 1, min(self.start.day, 28))


class Outlook(Row):
    """One way that things may go from a date on: factors on what the scenario states."""

    id: Name = about("Identifier")
    probability: Annotated[Positive, Field(le=1)] = quantity(
        "Probability; of outlooks that no other has as parent they add to 1", "probability"
    )
    parent: Name | None = about("Outlook that it is a part of", default=None)
    from_: When | None = about(
        "Date from which it is known and holds; blank: the earliest of the others",
        default=None,
        alias="from",
    )
    demand: Factors = quantity("Factor on demand, one for all or by workload", "ratio", default=1.0)
    prices: Factors = quantity(
        "Factor on prices, one for all or by offer and API", "ratio", default=1.0
    )
    tariff: Factors = quantity(
        "Factor on electricity, one for all or by site", "ratio", default=1.0
    )
    supply: Factors = quantity(
        "Factor on supply and on what is delivered in a period, by offer", "ratio", default=1.0
    )
    power: Factors = quantity("Factor on power limits, by site", "ratio", default=1.0)
    efficiency: Factors = quantity(
        "Factor on what replicas serve, by system type", "ratio", default=1.0
    )
    delivery_delay_months: dict[Name, NonNegative] = quantity(
        "How much later deliveries come, by offer", "months", default_factory=dict
    )
    power_delay_months: dict[Name, NonNegative] = quantity(
        "How much later power by date comes, by site", "months", default_factory=dict
    )

    @model_validator(mode="after")
    def _positive(self) -> Outlook:
        for name in ("prices", "efficiency"):
            given = getattr(self, name)
            values = list(given.values()) if isinstance(given, dict) else [given]
            if any(value <= 0 for value in values):
                raise rejected("must be above 0", name, "leave it out where nothing changes")
        return self


class Expansion(Row):
    """Blocks that a site can order: each brings so many kW and racks, so long after its order."""

    id: Name = about("Identifier")
    kw: NonNegative = quantity("Power of one block, in the basis of the site", "kW", high=1e6,
                               if_high="W", default=0.0)  # fmt: skip
    racks: Count = quantity("Racks of one block, and places for them", "racks", default=0)
    capex_usd: NonNegative = quantity("Price of one block, due when it is there", "USD")
    usd_per_year: NonNegative = quantity("What a block costs by the year", "USD/year", default=0.0)
    months: NonNegative = quantity("From order to power", "months", default=0.0)
    most: PositiveCount = quantity("Blocks that there are", "blocks", default=1)
    life_years: Positive = quantity(
        "Life over which its price is written off", "years", default=15.0
    )

    @model_validator(mode="after")
    def _brings_something(self) -> Expansion:
        if not (self.kw or self.racks):
            raise rejected("brings neither power nor racks", "kw", "give kw, racks, or both")
        return self


class RiskTerms(Row):
    """How much bad futures count beside the mean."""

    kind: Literal["cvar", "regret"] = about(
        "Mean cost of the worst futures, or the largest regret", default="cvar"
    )
    cvar_alpha: Annotated[Number, Field(gt=0, lt=1)] = quantity(
        "The worst futures are 1 - this", "probability", default=0.8
    )
    weight: Fraction = quantity("Weight of the tail against the mean", "fraction", default=0.25)
