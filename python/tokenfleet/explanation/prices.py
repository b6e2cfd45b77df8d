"""What of a plan's cost follows a price: of an offer, of a system type, of a hosted API.

Of a system only a part of the yearly cost follows its price (the annuity, the resale value, the
maintenance that is charged on it; not energy or hosting). That part is linear in the price, so it
is read off two prices, by the one formula that there is (`tco.rs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from tokenfleet.catalog import Catalog
from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.problem import Built
from tokenfleet.problem.money import Price, Terms
from tokenfleet.problem.supply import hourly_usd, offer_year, offers_of
from tokenfleet.problem_data import (
    HOURS_PER_YEAR,
    SECONDS_PER_HOUR,
    Api,
    ByBlock,
    OfferData,
    Systems,
)
from tokenfleet.schema import Offer, Site
from tokenfleet.schema.supply import ELASTIC


@dataclass(frozen=True)
class Priced:
    """The part of an offer's cost that follows its price, for one system."""

    items_usd: Mapping[str, float]  # by the year
    hourly_usd: ByBlock
    capex_usd: float
    price: float | None = None  # in `unit`; None where no price is stated
    unit: str = ""


def priced(built: Built) -> dict[int, Priced]:
    """Of each offer of a scenario's problem what follows its price."""
    loaded, problem = built.loaded, built.problem
    systems = sorted({pool.system for pool in problem.pools})
    offers = {offer.id: offer for offer in offers_of(loaded.scenario, loaded.catalog, systems)}
    sites = {site.id: site for site in loaded.scenario.sites}
    found = {}
    for o, data in enumerate(problem.offers):
        offer, price = offers[data.supply_group], built.supply.prices[data.supply_group]
        site = sites[problem.sites[problem.pools[data.pool].site].id]
        once, twice = (
            offer_year(offer, site, times(price, factor), built.terms, loaded.catalog)
            for factor in (1.0, 2.0)
        )
        part = {name: twice[name] - usd for name, usd in once.items() if twice[name] != usd}
        capex = part.pop("capex_usd", 0.0)
        by_hour = price.usd_per_gpu_h > 0
        stated = price.usd_per_gpu_h if by_hour else price.usd_per_system
        found[o] = Priced(
            {} if offer.kind in ELASTIC else part,
            hourly_usd(part, data.billed_per_hour) if offer.kind in ELASTIC else 0.0,
            capex,
            stated or None,
            "USD/GPU-h" if by_hour else "USD/system",
        )
    return found


def times(price: Price, factor: float) -> Price:
    """A price so many times as high; what is charged on a purchase price goes with it."""
    bought = price.usd_per_system > 0
    return replace(
        price,
        usd_per_system=price.usd_per_system * factor,
        usd_per_gpu_h=price.usd_per_gpu_h * factor,
        maintained_usd=price.maintained_usd * (factor if bought else 1.0),
    )


def spend_on_offers(
    m: FleetModel, parts: Mapping[int, Priced], offers: Iterable[int]
) -> dict[Label, float]:
    """USD a year that follow the prices of some offers, by the systems under them."""
    chosen = set(offers)
    found: dict[Label, float] = {}
    for label in m.of(Systems):
        if label.offer not in chosen:
            continue
        part, scope = parts[label.offer], m.problem.scopes[label.scope]
        usd = sum(part.items_usd.values()) * scope.hours / HOURS_PER_YEAR
        usd += m.frame.prices.mean(part.hourly_usd, scope.blocks) * scope.hours
        found[label] = usd
    return found


def spend_on_api(m: FleetModel, a: int) -> dict[Label, float]:
    """USD a year for requests through an API, by column."""
    costs = m.problem.apis[a].costs(len(m.problem.blocks))
    hours = [block.counted_hours for block in m.problem.blocks]
    return {
        label: float(costs[label.block, label.cls]) * hours[label.block] * SECONDS_PER_HOUR
        for label in m.of(Api)
        if label.api == a
    }


def offer_at(
    data: OfferData,
    offer: Offer,
    site: Site,
    *,
    price: Price,
    terms: Terms,
    catalog: Catalog,
) -> OfferData:
    """An offer of the problem at another price or other money terms."""
    items = offer_year(offer, site, price, terms, catalog)
    capex = items.pop("capex_usd")
    yearly = {name: usd for name, usd in items.items() if usd != 0.0}
    if offer.kind in ELASTIC:
        hourly = hourly_usd(yearly, data.billed_per_hour)
        return replace(data, hourly_usd=hourly, capex_usd=capex)
    return replace(data, annual_cost_items_usd=yearly, capex_usd=capex)
