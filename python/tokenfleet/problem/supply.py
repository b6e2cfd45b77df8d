"""Pools and offers: which systems can stand where, on what terms, and why others cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenfleet.catalog import Catalog, SystemRow, require
from tokenfleet.catalog.rows import LEAST_WIDE_SHARE
from tokenfleet.errors import CatalogError
from tokenfleet.problem.hardware import idle_kw
from tokenfleet.problem.load_blocks import LoadBlocks
from tokenfleet.problem.money import (
    Price,
    Terms,
    carbon_per_kwh_it,
    kwh_prices,
    price_of,
    site_hosting,
    site_pue,
    site_tariff,
    system_year,
)
from tokenfleet.problem_data import (
    GOALS,
    HOURS_PER_YEAR,
    ByBlock,
    FloatArray,
    OfferData,
    Pool,
    SiteData,
    scaled,
)
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import Offer, Scenario, Site, limit_value
from tokenfleet.schema.fields import HOURS_PER_DAY
from tokenfleet.schema.supply import ELASTIC

DEFAULT_KINDS = ("buy", "rent", "on_demand")
_ROUNDING = 1e-9  # of a stretch of hours, that begins no other one


NO_FIGURE = "no sourced figure for"


@dataclass(frozen=True)
class NotConsidered:
    """Something that could have been in the plan and is not, and why."""

    what: str
    reason: str


@dataclass
class Supply:
    """Pools and offers, and what was left out."""

    pools: list[Pool] = field(default_factory=list)
    offers: list[OfferData] = field(default_factory=list)
    not_considered: list[NotConsidered] = field(default_factory=list)
    prices: dict[str, Price] = field(default_factory=dict)  # by offer
    refusals: dict[str, str] = field(default_factory=dict)  # system: why it has no pool

    def refusal(self, system: str) -> str:
        """Why a system has no pool: no_price, no_figure, no_supply, or no place at any site."""
        return self.refusals.get(system, "no_place")

    def drop(self, what: str, reason: str) -> None:
        """Records an omission once."""
        note = NotConsidered(what, reason)
        if note not in self.not_considered:
            self.not_considered.append(note)

    def pool_index(self, pool: Pool) -> int:
        """Index of the pool, added when it is new."""
        for i, known in enumerate(self.pools):
            if known.id == pool.id:
                return i
        self.pools.append(pool)
        return len(self.pools) - 1


def site_data(sites: Iterable[Site]) -> tuple[SiteData, ...]:
    """Limits of the sites."""
    return tuple(
        SiteData(
            id=s.id,
            power_limit_kw=limit_value(s.power_kw),
            power_is_utility=s.power_basis == "utility",
            rack_limit=limit_value(s.racks),
            contracted_power_usd_per_year=(
                limit_value(s.power_kw) * (s.power_usd_per_kw_year or 0.0)
                if s.power_is_contracted
                else 0.0
            ),
            staff_usd_per_year=s.staff_usd_per_year or 0.0,
        )
        for s in sites
    )


def offers_of(scenario: Scenario, catalog: Catalog, systems: list[str]) -> tuple[Offer, ...]:
    """The scenario's offers, or every market price of the book for the allowed systems."""
    if scenario.offers:
        return tuple(sorted(scenario.offers, key=lambda o: o.id))
    found = []
    for system in systems:
        for row in catalog.price_rows(scenario.price_vintage, system):
            if row.kind in DEFAULT_KINDS and row.tier == "market":
                term = "" if row.term_years is None else f"_{row.term_years:g}y"
                found.append(
                    Offer(
                        id=f"{system}/{row.kind}{term}",
                        system=system,
                        kind=row.kind,
                        term_years=row.term_years,
                        price_tier=row.tier,
                    )
                )
    return tuple(sorted(found, key=lambda o: o.id))


def site_tariffs(scenario: Scenario, catalog: Catalog, load: LoadBlocks) -> list[ByBlock]:
    """Tariff of each site in the load blocks, USD/kWh; one number where it never changes."""
    by_hour = iter(load.tariff.T.tolist())
    return [
        site_tariff(site, catalog)
        if site.hourly_tariff_usd_per_kwh is None
        else tuple(next(by_hour))
        for site in scenario.sites
    ]


@dataclass(frozen=True, eq=False)
class _Day:
    """What offers need of the load blocks: tariffs of each site, and which hours of a day."""

    tariffs: Sequence[ByBlock]  # USD/kWh
    hours: FloatArray  # (B,)
    clock: Sequence[frozenset[int] | None]  # as `LoadBlocks.clock`


def build_supply(
    loaded: LoadedScenario, systems: list[str], terms: Terms, load: LoadBlocks
) -> Supply:
    """Pools and offers at every site; what lacks an offer or a figure is listed, not built."""
    scenario, catalog = loaded.scenario, loaded.catalog
    hours_per_day = load.hours * (HOURS_PER_DAY / HOURS_PER_YEAR)
    day = _Day(site_tariffs(scenario, catalog, load), hours_per_day, load.clock)
    supply = Supply()
    offers = offers_of(scenario, catalog, systems)
    for system in systems:
        if not any(o.system == system for o in offers):
            supply.refusals[system] = "no_price"
            supply.drop(f"system {system}", "no sourced price and no offer: add an offer")
    for offer in offers:
        if offer.system in systems:
            _add_offer(supply, loaded, offer, terms, day)
        else:
            supply.drop(f"offer {offer.id}", f"system {offer.system} is not among the allowed ones")
    return supply


def _add_offer(
    supply: Supply,
    loaded: LoadedScenario,
    offer: Offer,
    terms: Terms,
    day: _Day,
) -> None:
    scenario, catalog = loaded.scenario, loaded.catalog
    row = catalog.system(offer.system)
    rated = scenario.columns is not None
    metered = GOALS[scenario.objective.kind].counts_energy
    missing = catalog.missing_figures(
        row.id, hosted=offer.is_hosted, rated=rated, metered=metered, alone=True
    )
    try:
        embodied_kg = _embodied_kg(scenario, offer, row)
    except CatalogError:
        if scenario.offers:
            raise
        missing = (*missing, "embodied_carbon_kg")
    if missing:
        supply.refusals[row.id] = "no_figure"
        supply.drop(f"system {row.id}", f"{NO_FIGURE} {', '.join(missing)}")
        return
    if not rated:
        _drop_unsourced_use(supply, row)
    if limit_value(offer.supply) <= 0:
        supply.refusals[row.id] = "no_supply"
        supply.drop(f"offer {offer.id}", "no supply")
        return
    try:
        price = price_of(offer, scenario, catalog)
    except CatalogError as error:
        if scenario.offers:
            raise
        supply.refusals[row.id] = "no_price"
        supply.drop(f"offer {offer.id}", error.message)
        return
    supply.prices[offer.id] = price
    billed = billed_per_hour(offer, day.hours, day.clock)
    placer = _Placer(
        supply, scenario, catalog, offer, row, price, terms, day.tariffs, billed, embodied_kg
    )
    for s, site in enumerate(scenario.sites):
        if offer.sites is None or site.id in offer.sites:
            placer.add(s, site)


def _drop_unsourced_use(supply: Supply, row: SystemRow) -> None:
    """Says what of a system is not planned, since a figure that it takes has no source."""
    if row.bf16_tflops is None:
        share = f"more than {LEAST_WIDE_SHARE:.0%} of the 8-bit peak in 16 bits"
        supply.drop(f"system {row.id}: {share}", f"{NO_FIGURE} bf16_tflops")
    if row.scale_up_gb_per_s_per_gpu is None and (row.scale_up_domain or 1) > 1:
        supply.drop(
            f"system {row.id}: replicas over its link",
            f"{NO_FIGURE} scale_up_gb_per_s_per_gpu",
        )


def billed_per_hour(
    offer: Offer, hours_per_day: FloatArray, clock: Sequence[frozenset[int] | None]
) -> ByBlock:
    """Hours billed for each hour that an offer's system is there, by load block.

    A block of known hours of the day is billed in the fewest pieces that hold them: 9 h and 17 h in
    pieces of 4 are two. One of unknown hours is a single stretch: 6 h of it are 8. Each block is
    billed by itself, since the systems that stand on into the next are known to the plan alone;
    so no system is billed too little. No more is billed for a block than the day has; a
    contingency, which is of no hours, is not billed.
    """
    at_once = offer.billed_hours
    if at_once is None:
        return 1.0
    each = []
    for hours, known in zip(hours_per_day.tolist(), clock, strict=True):
        single = math.ceil(hours / at_once - _ROUNDING)
        billed = (single if known is None else _fewest_pieces(known, at_once)) * at_once
        each.append(min(billed, HOURS_PER_DAY) / hours if hours > 0 else 1.0)
    return each[0] if len(set(each)) == 1 else tuple(each)


def _fewest_pieces(hours: frozenset[int], length: int) -> int:
    """Stretches of so many hours, without end over midnight, that hold all these hours."""

    def begun_at(first: int) -> int:
        pieces, end = 0, 0
        for after in range(HOURS_PER_DAY):
            if after >= end and (first + after) % HOURS_PER_DAY in hours:
                pieces, end = pieces + 1, after + length
        return pieces

    return min(map(begun_at, hours))


def hourly_usd(yearly: Mapping[str, float], billed: ByBlock) -> ByBlock:
    """What an hour that a system is there costs, by its cost items of a whole year."""
    return scaled(billed, sum(yearly.values()) / HOURS_PER_YEAR)


def offer_year(
    offer: Offer, site: Site, price: Price, terms: Terms, catalog: Catalog
) -> dict[str, float]:
    """What one system of an offer costs a year at a site at some price, USD by item; `capex_usd`
    stands beside the items.
    """
    hosting = 0.0 if offer.is_hosted else site_hosting(site, catalog)
    return system_year(offer, catalog.system(offer.system), terms, price, hosting)


def _embodied_kg(scenario: Scenario, offer: Offer, row: SystemRow) -> float:
    """Carbon emitted to make a system, where there is a budget for it; none if it is owned already.

    Raises:
        CatalogError: the figure has no source.
    """
    if scenario.objective.embodied_carbon_budget_kg is None or offer.kind == "owned":
        return 0.0
    return float(require(row, "embodied_carbon_kg"))


@dataclass(frozen=True)
class _Place:
    pue: float
    systems_per_rack: float


@dataclass(frozen=True)
class _Placer:
    """Puts one offer at sites."""

    supply: Supply
    scenario: Scenario
    catalog: Catalog
    offer: Offer
    row: SystemRow
    price: Price
    terms: Terms
    tariffs: Sequence[ByBlock]  # by site, USD/kWh
    billed: ByBlock  # hours billed for each hour there
    embodied_kg: float

    def add(self, s: int, site: Site) -> None:
        """A pool and an offer at a site, or a note why not."""
        offer = self.offer
        place = self._place(site)
        if isinstance(place, str):
            self.supply.drop(f"offer {offer.id} at site {site.id}", place)
            return
        items = offer_year(offer, site, self.price, self.terms, self.catalog)
        capex = items.pop("capex_usd")
        yearly = {name: value for name, value in items.items() if value != 0.0}
        elastic = offer.kind in ELASTIC
        self.supply.offers.append(
            OfferData(
                id=f"{_one_part(offer.id, '@')}@{_one_part(site.id, '@')}",
                pool=self.supply.pool_index(self._pool(s, site, place)),
                supply=limit_value(offer.supply),
                annual_cost_items_usd={} if elastic else yearly,
                hourly_usd=hourly_usd(yearly, self.billed) if elastic else 0.0,
                billed_per_hour=self.billed,
                needs_staff=not offer.is_hosted and "staff" not in offer.included,
                capex_usd=capex,
                supply_group=offer.id,
                kind=offer.kind,
                embodied_carbon_kg=self.embodied_kg,
            )
        )

    def _place(self, site: Site) -> _Place | str:
        """PUE and systems per rack, or why the system cannot stand here."""
        if self.offer.is_hosted:  # no provider states the PUE of the hall: the catalog's typical
            return _Place(float(require(self.catalog.tco_row("pue"), "typical")), math.inf)
        cooling = str(require(self.row, "cooling"))
        if cooling not in site.cooling:
            return f"the site has no {cooling} cooling"
        pue = site_pue(site, cooling, self.catalog)
        if pue is None:
            return f"the site states no PUE for {cooling} cooling"
        per_rack = _systems_per_rack(site, self.row)
        return per_rack if isinstance(per_rack, str) else _Place(pue, per_rack)

    def _pool(self, s: int, site: Site, place: _Place) -> Pool:
        offer, row, objective = self.offer, self.row, self.scenario.objective
        pays_energy = "energy" not in offer.included
        prices: dict[str, Any] = {}
        if pays_energy:
            prices = kwh_prices(site, place.pue, self.tariffs[s], objective)
        known = row.system_kw is not None
        tenure = [
            "hosted" if offer.is_hosted else "on site",
            "energy paid" if pays_energy else "energy included",
            *([offer.kind] if offer.kind in ELASTIC else []),
        ]
        return Pool(
            id=" | ".join([_one_part(site.id, "|"), _one_part(row.id, "|"), ", ".join(tenure)]),
            site=s,
            system=row.id,
            gpus_per_system=int(require(row, "gpus")),
            provisioned_it_kw=float(row.system_kw or 0.0),
            idle_it_kw=idle_kw(self.catalog, row) if known else 0.0,
            elastic=offer.kind in ELASTIC,
            interruptible=offer.kind == "spot",
            hosted=offer.is_hosted,
            pue=place.pue,
            **{f"{item}_usd_per_kwh_it": usd for item, usd in prices.items()},
            carbon_kg_per_kwh_it=carbon_per_kwh_it(site, place.pue, objective),
            systems_per_rack=place.systems_per_rack,
            reserve=self.scenario.reserve.systems_per_pool,
        )


def _one_part(name: str, cut: str) -> str:
    """A name inside an id whose parts are cut by `cut`: quoted if it holds that, or a quote.

    >>> _one_part("eu-1", "|"), _one_part("A | B", "|")
    ('eu-1', '"A | B"')
    """
    return json.dumps(name, ensure_ascii=False) if cut in name or '"' in name else name


def _systems_per_rack(site: Site, row: SystemRow) -> float | str:
    """How many systems stand in a rack, by power and by height; or why none does."""
    kw = float(require(row, "system_kw"))
    density = limit_value(site.rack_kw)
    if kw > density:
        return f"draws {kw:g} kW in one rack; the site allows {density:g} kW"
    if row.form == "rack":
        return 1.0
    by_power = math.inf if math.isinf(density) else math.floor(density / kw)
    if math.isinf(limit_value(site.racks)):
        return by_power
    if row.rack_units is None:
        return "no sourced figure for rack_units, and the site counts racks"
    by_height = (site.rack_units or 0) // row.rack_units
    if by_height < 1:
        racks = f"racks are {site.rack_units} U" if site.racks else "racks are 0"
        return f"is {row.rack_units} U high; the site's {racks}"
    return float(min(by_power, by_height))
