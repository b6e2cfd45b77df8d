"""Pools and offers: which systems can stand where, on what terms, and why others cannot."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from tokenfleet.catalog import Catalog, SystemRow, require
from tokenfleet.errors import CatalogError
from tokenfleet.problem.hardware import idle_kw
from tokenfleet.problem.money import (
    Price,
    Terms,
    carbon_per_kwh_it,
    energy_price,
    maintained_usd,
    price_of,
    site_hosting,
    site_pue,
    system_year,
)
from tokenfleet.problem_data import HOURS_PER_YEAR, OfferData, Pool, SiteData
from tokenfleet.schema import Offer, Scenario, Site, limit_value

ELASTIC = frozenset({"on_demand", "spot"})
DEFAULT_KINDS = ("buy", "rent", "on_demand")


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
    price_sources: dict[str, str] = field(default_factory=dict)

    def drop(self, what: str, reason: str) -> None:
        """Records an omission once."""
        note = NotConsidered(what, reason)
        if note not in self.not_considered:
            self.not_considered.append(note)


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


def build_supply(scenario: Scenario, catalog: Catalog, systems: list[str], terms: Terms) -> Supply:
    """Pools and offers at every site; a system without an offer or a figure is listed, not built."""
    supply = Supply()
    offers = offers_of(scenario, catalog, systems)
    for system in systems:
        if not any(o.system == system for o in offers):
            supply.drop(f"system {system}", "no sourced price and no offer: add an offer")
    for offer in offers:
        if offer.system in systems:
            _add_offer(supply, scenario, catalog, offer, terms)
        else:
            supply.drop(f"offer {offer.id}", f"system {offer.system} is not among the allowed ones")
    return supply


def _add_offer(
    supply: Supply, scenario: Scenario, catalog: Catalog, offer: Offer, terms: Terms
) -> None:
    row = catalog.system(offer.system)
    missing = catalog.missing_figures(row.id, hosted=offer.is_hosted)
    if missing:
        supply.drop(f"system {row.id}", f"no sourced figure for {', '.join(missing)}")
        return
    try:
        price = price_of(offer, scenario, catalog)
        maintained = maintained_usd(offer, price, scenario, catalog)
    except CatalogError as error:
        if scenario.offers:
            raise
        supply.drop(f"offer {offer.id}", error.message)
        return
    supply.price_sources[offer.id] = price.source
    for s, site in enumerate(scenario.sites):
        if offer.sites is not None and site.id not in offer.sites:
            continue
        _add_at_site(supply, scenario, catalog, offer, row, (s, site), price, maintained, terms)


def _add_at_site(
    supply: Supply,
    scenario: Scenario,
    catalog: Catalog,
    offer: Offer,
    row: SystemRow,
    at: tuple[int, Site],
    price: Price,
    maintained: float,
    terms: Terms,
) -> None:
    s, site = at
    what = f"offer {offer.id} at site {site.id}"
    placed = _placement(site, row, offer, catalog)
    if isinstance(placed, str):
        supply.drop(what, placed)
        return
    pue, per_rack = placed
    hosting = 0.0 if offer.is_hosted else site_hosting(site, catalog)
    items = dict(system_year(offer, price, maintained, row, terms, hosting))
    capex = items.pop("capex_usd")
    pool = _pool(scenario, catalog, offer, row, s, site, pue, per_rack)
    index = _pool_index(supply, pool)
    elastic = offer.kind in ELASTIC
    yearly = {name: value for name, value in items.items() if value != 0.0}
    supply.offers.append(
        OfferData(
            id=f"{offer.id}@{site.id}",
            pool=index,
            supply=limit_value(offer.supply),
            annual_cost_items_usd={} if elastic else yearly,
            hourly_usd=sum(yearly.values()) / HOURS_PER_YEAR if elastic else 0.0,
            capex_usd=capex,
            supply_group=offer.id,
        )
    )


def _placement(
    site: Site, row: SystemRow, offer: Offer, catalog: Catalog
) -> tuple[float, float] | str:
    """PUE and systems per rack, or why the system cannot stand here."""
    if offer.is_hosted:
        return 1.0, math.inf
    cooling = str(require(row, "cooling"))
    if cooling not in site.cooling:
        return f"the site has no {cooling} cooling"
    pue = site_pue(site, cooling, catalog)
    if pue is None:
        return f"the site states no PUE for {cooling} cooling"
    per_rack = _systems_per_rack(site, row)
    return per_rack if isinstance(per_rack, str) else (pue, per_rack)


def _systems_per_rack(site: Site, row: SystemRow) -> float | str:
    kw = float(require(row, "system_kw"))
    density = limit_value(site.rack_kw)
    if row.form == "rack":
        if kw > density:
            return f"draws {kw:g} kW in one rack; the site allows {density:g} kW"
        return 1.0
    by_power = math.inf if math.isinf(density) else math.floor(density / kw)
    if by_power < 1:
        return f"draws {kw:g} kW; the site allows {density:g} kW a rack"
    if math.isinf(limit_value(site.racks)):
        return by_power
    if row.rack_units is None:
        return "no sourced figure for rack_units, and the site counts racks"
    by_height = (site.rack_units or 0) // row.rack_units
    if by_height < 1:
        return f"is {row.rack_units} U high; the site's racks are {site.rack_units} U"
    return float(min(by_power, by_height))


def _pool(
    scenario: Scenario,
    catalog: Catalog,
    offer: Offer,
    row: SystemRow,
    s: int,
    site: Site,
    pue: float,
    per_rack: float,
) -> Pool:
    elastic = offer.kind in ELASTIC
    spot = offer.kind == "spot"
    pays_energy = "energy" not in offer.included
    known = row.system_kw is not None
    tenure = [
        "hosted" if offer.is_hosted else "on site",
        "energy paid" if pays_energy else "energy included",
        *(["elastic"] if elastic else []),
        *(["spot"] if spot else []),
    ]
    return Pool(
        id=f"{site.id} | {row.id} | {', '.join(tenure)}",
        site=s,
        system=row.id,
        gpus_per_system=int(require(row, "gpus")),
        provisioned_it_kw=float(row.system_kw or 0.0),
        idle_it_kw=idle_kw(catalog, row) if known else 0.0,
        elastic=elastic,
        interruptible=spot,
        hosted=offer.is_hosted,
        pue=pue,
        energy_usd_per_kwh_it=(
            energy_price(site, pue, scenario.objective, catalog) if pays_energy else 0.0
        ),
        carbon_kg_per_kwh_it=carbon_per_kwh_it(site, pue, scenario.objective),
        systems_per_rack=per_rack,
        reserve=scenario.reserve.systems_per_pool,
    )


def _pool_index(supply: Supply, pool: Pool) -> int:
    for i, known in enumerate(supply.pools):
        if known.id == pool.id:
            return i
    supply.pools.append(pool)
    return len(supply.pools) - 1
