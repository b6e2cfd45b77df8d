"""What can serve: sites, offers of systems, hosted APIs, and the money they cost."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from tokenfleet.schema.fields import (
    HOURS_PER_DAY,
    AtLeastOne,
    Cooling,
    Count,
    CountLimit,
    Flag,
    Fraction,
    Limit,
    Name,
    NonNegative,
    Positive,
    PositiveCount,
    Score,
    Text,
    about,
    quantity,
)
from tokenfleet.schema.formats import Precision
from tokenfleet.schema.horizon import (
    Change,
    Expansion,
    LimitSteps,
    Points,
    Steps,
    When,
    Worth,
    ascending,
    change,
)
from tokenfleet.schema.offer_terms import refuse_wrong_terms
from tokenfleet.schema.rows import Row, rejected

OfferKind = Literal["buy", "rent", "on_demand", "spot", "owned", "all_in"]
PriceTier = Literal["market", "hyperscaler_own", "neocloud_own"]
Included = Literal["energy", "hosting", "maintenance", "staff", "network"]
EVERYTHING: tuple[Included, ...] = ("energy", "hosting", "maintenance", "staff", "network")
ELASTIC: frozenset[str] = frozenset({"on_demand", "spot"})  # there as long as they are needed
RENTED: frozenset[str] = frozenset({"rent", "on_demand", "spot"})


def _pue_tag(value: Any) -> str:
    return "<kinds>" if isinstance(value, dict) else "<number>"


Pue = Annotated[
    Annotated[AtLeastOne, Tag("<number>")] | Annotated[dict[Cooling, AtLeastOne], Tag("<kinds>")],
    Discriminator(_pue_tag),
]


def tariff(meaning: str, **options: Any) -> Any:
    """A price of electricity, with the band outside of which the unit is doubted."""
    return quantity(
        meaning,
        "USD/kWh",
        low=0.005,
        if_low="USD/Wh or a tariff in another currency unit",
        high=1.0,
        if_high="cents/kWh or USD/MWh",
        **options,
    )


class PeakTariff(Row):
    """A tariff with one price in the peak hours of every day and another in all others."""

    peak_usd_per_kwh: NonNegative = tariff("Price in the peak hours")
    off_peak_usd_per_kwh: NonNegative = tariff("Price in all other hours")
    peak_from_hour: Annotated[Count, Field(le=23)] = quantity("First peak hour", "hour of day")
    peak_until_hour: Annotated[Count, Field(le=24)] = quantity(
        "End of the peak; before peak_from_hour: it lasts past midnight", "hour of day"
    )

    @model_validator(mode="after")
    def _some_hours(self) -> PeakTariff:
        if self.peak_from_hour == self.peak_until_hour % HOURS_PER_DAY:
            raise rejected(
                f"the peak begins and ends at {self.peak_from_hour}",
                "peak_until_hour",
                "for one price all day write it as a number",
            )
        return self

    @property
    def hourly(self) -> tuple[float, ...]:
        """Price in each hour of a day."""
        first, end = self.peak_from_hour, self.peak_until_hour
        length = (end - first) % HOURS_PER_DAY
        return tuple(
            self.peak_usd_per_kwh
            if (hour - first) % HOURS_PER_DAY < length
            else self.off_peak_usd_per_kwh
            for hour in range(HOURS_PER_DAY)
        )


def _tariff_tag(value: Any) -> str:
    if isinstance(value, dict | PeakTariff):
        return "<peak>"
    return "<hours>" if isinstance(value, list | tuple) else "<number>"


Tariff = Annotated[
    Annotated[NonNegative, Tag("<number>")]
    | Annotated[tuple[NonNegative, ...], Tag("<hours>")]
    | Annotated[PeakTariff, Tag("<peak>")],
    Discriminator(_tariff_tag),
]


class Site(Row):
    """A place with power, cooling and racks."""

    id: Name = about("Identifier")
    region: Name = about("Region, matched against residency")
    power_kw: Limit = quantity(
        "Power that may be provisioned, in the stated basis",
        "kW",
        low=5,
        if_low="MW",
        high=1e6,
        if_high="W",
    )
    power_basis: Literal["it", "utility"] = about(
        "Whether power_kw is at the IT load or at the utility meter"
    )
    power_is_contracted: Flag = about("Power is paid used or not", default=False)
    power_usd_per_kw_year: NonNegative | None = quantity(
        "Price of contracted power, beside energy",
        "USD/kW-year",
        default=None,
        high=5_000,
        if_high="USD/MW-year",
    )
    pue: Pue | None = quantity(
        "Power usage effectiveness, a number or one per cooling kind; blank: catalog typical",
        "ratio",
        default=None,
        high=2.5,
        if_high="percent",
    )
    electricity_usd_per_kwh: Tariff | None = tariff(
        "Energy tariff: a number, 24 hourly prices (hours as in day_curve), or a peak tariff; "
        "blank: catalog typical",
        default=None,
    )
    racks: CountLimit = quantity("Rack positions", "racks", default="unlimited")
    rack_units: PositiveCount | None = quantity(
        "Height of a rack; needed when racks is a number",
        "U",
        default=None,
        high=60,
        if_high="cm",
    )
    rack_kw: Limit = quantity(
        "Power density limit per rack (IT)",
        "kW/rack",
        default="unlimited",
        low=1,
        if_low="MW",
        high=1_000,
        if_high="W",
    )
    cooling: tuple[Cooling, ...] = about("Cooling kinds the site can host")
    staff_usd_per_year: NonNegative | None = quantity(
        "Staff whatever the power, once own systems stand here; beside that by power",
        "USD/year",
        default=None,
        high=1e9,
        if_high="cents",
    )
    hosting_usd_per_kw_month: NonNegative | None = quantity(
        "Hosting price on provisioned IT kW; blank: catalog typical; 0: none",
        "USD/kW-month",
        default=None,
        high=1_000,
        if_high="USD/kW-year",
    )
    carbon_kg_per_kwh: NonNegative | None = quantity(
        "Carbon intensity of the grid", "kgCO2/kWh", default=None, high=2, if_high="g/kWh"
    )
    water_l_per_kwh: NonNegative | None = quantity(
        "Water use per IT kWh", "L/kWh", default=None, high=20, if_high="mL/kWh"
    )
    round_trip_ms: dict[Name, NonNegative] = quantity(
        "Network round trip from each origin",
        "ms",
        default_factory=dict,
        high=2_000,
        if_high="microseconds",
    )

    power_kw_by_date: LimitSteps | None = quantity(
        "Power from each date of the horizon on; power_kw may be written so itself",
        "kW",
        default=None,
    )
    racks_by_date: Annotated[tuple[tuple[When, CountLimit], ...], Field(min_length=1)] | None = (
        quantity("Rack positions from each date of the horizon on", "racks", default=None)
    )
    electricity_change_per_year: Change = change("Change of the tariff over the horizon")
    expansions: tuple[Expansion, ...] = about(
        "Blocks of power and racks that can be ordered over the horizon", default=()
    )

    @model_validator(mode="before")
    @classmethod
    def _by_date(cls, data: Any) -> Any:
        """Power and racks as lists of [date, value] are read as by date, the first as today's."""
        if not isinstance(data, dict):
            return data
        for name in ("power_kw", "racks"):
            steps = data.get(name)
            if isinstance(steps, list) and steps and isinstance(steps[0], list | tuple):
                data = {**data, f"{name}_by_date": steps, name: steps[0][-1]}
        return data

    @model_validator(mode="after")
    def _complete(self) -> Site:
        for name in ("power_kw_by_date", "racks_by_date"):
            ascending(getattr(self, name) or (), name)
        _racks(self)
        for row in self.expansions:
            brings = {"power_kw": row.kw, "racks": row.racks}
            for name in (name for name, n in brings.items() if n):
                if isinstance(getattr(self, name), str):
                    text = f"is unlimited, and expansion {row.id!r} brings more"
                    raise rejected(text, name, "give what there is before it")
        if self.power_is_contracted and self.power_usd_per_kw_year is None:
            raise rejected(
                "contracted power needs its price",
                "power_usd_per_kw_year",
                "give the yearly price per contracted kW (0 if it is in the tariff)",
            )
        if self.power_is_contracted and isinstance(self.power_kw, str):
            raise rejected("contracted power cannot be unlimited", "power_kw", "give the kW")
        hours = self.hourly_tariff_usd_per_kwh
        if hours is not None and len(hours) != HOURS_PER_DAY:
            raise rejected(
                f"has {len(hours)} prices, needs {HOURS_PER_DAY}",
                "electricity_usd_per_kwh",
                "one per hour",
            )
        return self

    @property
    def hourly_tariff_usd_per_kwh(self) -> tuple[float, ...] | None:
        """The tariff in each hour of a day; None where it is one number or blank."""
        given = self.electricity_usd_per_kwh
        if isinstance(given, PeakTariff):
            return given.hourly
        return given if isinstance(given, tuple) else None


def _racks(site: Site) -> None:
    """Racks that are counted have a height, and are counted at all dates."""
    counts = [site.racks, *(racks for _, racks in site.racks_by_date or ())]
    numbers = [racks for racks in counts if not isinstance(racks, str)]
    numbers += [row.racks for row in site.expansions]
    if site.rack_units is None and any(numbers):
        raise rejected("racks needs rack_units", "rack_units", "give the height of a rack in U")
    if {isinstance(racks, str) for racks in counts} == {True, False}:
        raise rejected("is unlimited at one date and a number at another", "racks", "give numbers")


def gpu_hour_price(meaning: str) -> Any:
    """A price per accelerator-hour, with the band outside of which the unit is doubted."""
    return quantity(
        meaning,
        "USD/GPU-h",
        default=None,
        low=0.05,
        if_low="USD per GPU-second or thousands of USD",
        high=20,
        if_high="USD per node-hour, or cents",
    )


def system_price(meaning: str) -> Any:
    """A price of a whole system, with its band."""
    return quantity(
        meaning,
        "USD/system",
        default=None,
        low=5_000,
        if_low="thousands of USD",
        high=2e7,
        if_high="cents or a price for many systems",
    )


def term(meaning: str) -> Any:
    """Length of a contract in years, with its band."""
    return quantity(meaning, "years", default=None, high=12, if_high="months")


class Offer(Row):
    """A way to get a system: buy, rent for a term, on demand, spot, owned, all-in $/GPU-h."""

    id: Name = about("Identifier")
    system: Name = about("Catalog id of the system")
    kind: OfferKind = about("How it is obtained")
    term_years: Positive | None = term("Length of a rental contract")
    price_usd_per_gpu_h: Positive | None = gpu_hour_price(
        "Price per accelerator-hour; blank: price book"
    )
    price_usd_per_system: Positive | None = system_price(
        "Purchase price of a whole system; blank: price book"
    )
    price_tier: PriceTier | None = about(
        "Whose price, where the price book has several of one kind", default=None
    )
    sites: Annotated[tuple[Name, ...], Field(min_length=1)] | None = about(
        "Sites where it may stand; blank: all", default=None
    )
    supply: CountLimit = quantity("Systems available", "systems", default="unlimited")
    includes: tuple[Included, ...] | None = about(
        "Costs inside the price; blank: everything, except for buy and owned", default=None
    )
    billed_hours: Annotated[PositiveCount, Field(le=HOURS_PER_DAY)] | None = quantity(
        "On demand and spot: hours that are billed at a time, the fewest pieces each day that hold "
        "the hours of a load block. Each block is billed by itself: a system that stands on into "
        "the next is billed anew there, so never too little; blank: as long as it runs",
        "h",
        default=None,
    )
    hosted: Flag | None = about(
        "Stands in the provider's hall; blank: true for rent, on_demand and spot", default=None
    )
    price_change_per_year: Change = change("Change of the price over the horizon")
    price_by_date: Steps | None = quantity(
        "Price from each date of the horizon on, in the unit of its kind",
        "USD/system or USD/GPU-h",
        default=None,
    )
    lead_months: NonNegative = quantity(
        "From order to delivery, over a horizon", "months", default=0.0, high=60, if_high="days"
    )
    order_from: When | None = about("First date of an order", default=None)
    order_until: When | None = about("Last date of an order", default=None)
    delivery_limit_per_period: CountLimit = quantity(
        "Systems that may be ordered in one period, and arrive in one",
        "systems",
        default="unlimited",
    )
    least_order: Count = quantity(
        "An order is of none or of at least so many", "systems", default=0
    )
    stay_months: NonNegative = quantity(
        "Bought and owned: age before which it is not sold", "months", default=0.0, high=120
    )
    removal_usd_per_system: NonNegative = quantity(
        "Bought and owned: cost to take a system out within the horizon, beside what it brings",
        "USD/system",
        default=0.0,
    )
    resale: Worth = about(
        "Worth by age: `book` (what the annuity implies), `market` (the catalog's residual "
        "values), or points [age in years, share of the price]",
        default="book",
    )
    ages: tuple[tuple[NonNegative, PositiveCount], ...] = quantity(
        "Owned systems as [age in years, count] at the start of the horizon; blank: age unknown",
        "years, systems",
        default=(),
    )
    life_years: Positive | None = quantity(
        "Owned: age at which it leaves; blank: it stays, and a warning says so beyond "
        "`finance.life_years`",
        "years",
        default=None,
        high=30,
    )
    market_usd_per_system: NonNegative = quantity(
        "Owned: price of a new one, which its resale is a share of", "USD/system", default=0.0
    )
    maintenance_by_age: Points | None = quantity(
        "Factor on maintenance as [age in years, factor]", "years, ratio", default=None
    )
    upfront_fraction: Fraction = quantity(
        "Share of a contract that is due at its start", "fraction", default=0.0
    )

    @model_validator(mode="after")
    def _priced(self) -> Offer:
        if self.price_usd_per_gpu_h is not None and self.price_usd_per_system is not None:
            hint = "keep one of price_usd_per_gpu_h, price_usd_per_system"
            raise rejected("has two prices", "", hint)
        per_hour = self.kind not in ("buy", "owned")
        if per_hour and self.price_usd_per_system is not None:
            hint = "give price_usd_per_gpu_h, or write kind: buy"
            raise rejected(f"{self.kind} is priced per GPU-hour", "price_usd_per_system", hint)
        if not per_hour and self.price_usd_per_gpu_h is not None:
            raise rejected(
                f"{self.kind} has no hourly price",
                "price_usd_per_gpu_h",
                "buy takes price_usd_per_system; all_in takes price_usd_per_gpu_h",
            )
        if self.kind == "owned":
            _owned(self)
        if self.billed_hours is not None and self.kind not in ELASTIC:
            raise rejected(
                f"{self.kind} is paid all year", "billed_hours", "leave it out, or write on_demand"
            )
        refuse_wrong_terms(self)
        return self

    @property
    def included(self) -> tuple[Included, ...]:
        """Costs inside the price, with the default of the kind."""
        if self.includes is not None:
            return self.includes
        return () if self.kind in ("buy", "owned") else EVERYTHING

    @property
    def is_ordered(self) -> bool:
        """Whether it comes by an order, a lead time after it; else it comes by the hour or is
        there already."""
        return self.kind == "buy" or (self.kind == "rent" and self.term_years is not None)

    @property
    def is_hosted(self) -> bool:
        """Whether it stands in the provider's hall and takes no site power or racks."""
        return self.kind in RENTED if self.hosted is None else self.hosted


def _owned(offer: Offer) -> None:
    if offer.price_usd_per_system is not None:
        raise rejected("owned stock has no price", "price_usd_per_system", "its price is sunk")
    if isinstance(offer.supply, str):
        raise rejected("owned stock needs a count", "supply", "give the number of systems owned")


class Api(Row):
    """A hosted API: an offer priced per token."""

    id: Name = about("Identifier")
    workload: Name = about("Workload it may serve")
    price: Name | None = about(
        "Entry of the price book (`apis` of a catalog file) whose prices hold; blank: those given "
        "here",
        default=None,
    )
    usd_per_mtok_input: NonNegative | None = quantity(
        "Price of input",
        "USD/Mtok",
        default=None,
        low=1e-3,
        if_low="USD per token or per 1,000 tokens",
        high=200,
        if_high="cents, or USD per billion tokens",
    )
    usd_per_mtok_output: NonNegative | None = quantity(
        "Price of output",
        "USD/Mtok",
        default=None,
        low=1e-3,
        if_low="USD per token or per 1,000 tokens",
        high=1_000,
        if_high="cents, or USD per billion tokens",
    )
    usd_per_request: NonNegative = quantity(
        "Price per request beside the tokens",
        "USD/request",
        default=0.0,
        high=10,
        if_high="USD per 1,000 requests",
    )
    max_requests_per_s: Limit = quantity("Rate limit", "requests/s", default="unlimited")
    region: Name = about("Region, matched against residency")
    quality: Score | None = quantity("Quality score", "score", default=None)
    ttft_p99_ms: Positive | None = quantity("Promised p99 TTFT", "ms", default=None)
    tpot_p99_ms: Positive | None = quantity("Promised p99 TPOT", "ms", default=None)
    slo_attested: Flag = about(
        "The buyer states that the provider's contract meets every limit", default=False
    )
    price_change_per_year: Change = change("Change of the price over the horizon")

    @model_validator(mode="after")
    def _priced(self) -> Api:
        given = {
            "usd_per_mtok_input": self.usd_per_mtok_input,
            "usd_per_mtok_output": self.usd_per_mtok_output,
        }
        missing = [name for name, value in given.items() if value is None]
        if self.price is None and missing:
            raise rejected(
                "field required",
                missing[0],
                "give the price in USD/Mtok, or name an entry of the price book in price",
            )
        if self.price is not None and len(missing) < len(given):
            raise rejected(
                "beside price, which names an entry of the price book",
                next(name for name in given if name not in missing),
                "leave one of them out",
            )
        return self


class Quality(Row):
    """Measured quality of a model at a precision, relative to its best."""

    model: Name = about("Model")
    precision: Precision = about("Weight precision")
    score: Score = quantity("Score, 1 is full quality", "score")
    source: Text = about("Where the score comes from")


class Speculation(Row):
    """Speculative decoding of a model: what is accepted, and what drafting costs."""

    model: Name = about("Model")
    method: Literal["mtp", "eagle3"] | None = about(
        "Who drafts: the model's own heads, or one trained apart; typical figures of the catalog "
        "stand in for acceptance and cost that are left out",
        default=None,
    )
    max_depth: Annotated[int, Field(strict=True, ge=1, le=16)] = quantity(
        "Most draft tokens per step", "tokens"
    )
    acceptance: Annotated[Fraction, Field(lt=1)] | None = quantity(
        "Chance that one draft token is accepted", "fraction", default=None
    )
    acceptance_table: tuple[AtLeastOne, ...] | None = quantity(
        "Tokens per step at depth 1..max_depth, the target's own included",
        "tokens/step",
        default=None,
    )
    draft_cost_fraction: NonNegative | None = quantity(
        "Time of one draft token over one target step",
        "fraction",
        default=None,
        high=1,
        if_high="percent",
    )
    source: Text | None = about("Where the figures come from", default=None)

    @model_validator(mode="after")
    def _stated(self) -> Speculation:
        if self.method is None:
            for name in ("draft_cost_fraction", "source"):
                if getattr(self, name) is None:
                    raise rejected("is needed without a method", name, "state it, or `method: mtp`")
        return self

    @model_validator(mode="after")
    def _accepted(self) -> Speculation:
        stated = (self.acceptance is not None) + (self.acceptance_table is not None)
        if stated == 2 or (stated == 0 and self.method is None):
            hint = "give one of them, or `method: mtp` alone for the catalog's"
            raise rejected("needs either acceptance or acceptance_table", "", hint)
        table = self.acceptance_table or ()
        if table and len(table) != self.max_depth:
            raise rejected(
                f"has {len(table)} values for max_depth {self.max_depth}",
                "acceptance_table",
                "one value per depth",
            )
        for depth, accepted in enumerate(table, start=1):
            if accepted > depth + 1:
                raise rejected(
                    f"{accepted:g} tokens at depth {depth} is more than {depth + 1}",
                    "acceptance_table",
                    "at most one more than the depth",
                )
        return self

    def accepted(self, depth: int) -> float:
        """Tokens per step at `depth`: (1 - a^(k+1))/(1 - a), or the table's; 1 at depth 0."""
        if depth == 0:
            return 1.0
        if self.acceptance_table is not None:
            return self.acceptance_table[depth - 1]
        a = self.acceptance or 0.0
        return float((1 - a ** (depth + 1)) / (1 - a))

    def draft_cost(self) -> float:
        """Time of one draft token over one target step."""
        return self.draft_cost_fraction or 0.0


class Finance(Row):
    """Money terms; a blank is the catalog's typical figure and is marked as such."""

    cost_of_capital: Fraction | None = quantity("Yearly rate", "1/year", default=None)
    life_years: Positive | None = quantity(
        "Depreciation life of IT", "years", default=None, high=15, if_high="months"
    )
    residual_fraction: Fraction | None = quantity(
        "Resale value at end of life over price", "fraction", default=None
    )
    maintenance_fraction_per_year: Fraction | None = quantity(
        "Maintenance over hardware capex", "1/year", default=None
    )
    network_fraction: Fraction | None = quantity(
        "Network share of total IT capex", "fraction", default=None
    )
    storage_fraction: Fraction | None = quantity(
        "Storage share of total IT capex", "fraction", default=None
    )
    integration_fraction: NonNegative | None = quantity(
        "Integration over server capex", "fraction", default=None, high=1, if_high="percent"
    )
    staff_usd_per_kw_year: NonNegative | None = quantity(
        "Operations staff", "USD/kW-year", default=None, high=10_000, if_high="USD/MW-year"
    )
    licence_usd_per_gpu_year: NonNegative | None = quantity(
        "Software licences", "USD/GPU-year", default=None, high=50_000, if_high="cents"
    )

    @model_validator(mode="after")
    def _shares(self) -> Finance:
        if (self.network_fraction or 0) + (self.storage_fraction or 0) >= 1:
            raise rejected(
                "network and storage shares leave nothing for servers",
                "network_fraction",
                "they are shares of total IT capex, below 1",
            )
        return self
