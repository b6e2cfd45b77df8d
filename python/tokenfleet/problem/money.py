"""What a system costs by the year under an offer: terms resolved, then `tco.rs` itemises."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenfleet import _core
from tokenfleet.catalog import Catalog, SystemRow, require
from tokenfleet.errors import CatalogError
from tokenfleet.problem_data import GOALS, ByBlock
from tokenfleet.schema import EVERYTHING, Finance, Objective, Offer, Scenario, Site

PERCENT = 100.0
KW_PER_MW = 1000.0


@dataclass(frozen=True)
class Terms:
    """Money terms with nothing left blank.

    `typical` has the fields that the catalog filled, with the cost parameters it filled them from.
    """

    cost_of_capital: float
    life_years: float
    residual_fraction: float
    maintenance_fraction_per_year: float
    network_fraction: float
    storage_fraction: float
    integration_fraction: float
    staff_usd_per_kw_year: float
    licence_usd_per_gpu_year: float
    typical: dict[str, tuple[str, ...]] = field(default_factory=dict)


def resolve_terms(finance: Finance, catalog: Catalog) -> Terms:
    """Fills blanks with typical figures; integration and licences count when asked for."""
    filled: dict[str, tuple[str, ...]] = {}

    def typical(name: str, parameter: str, scale: float = 1.0) -> float:
        given: float | None = getattr(finance, name)
        if given is not None:
            return given
        filled[name] = (parameter,)
        return float(require(catalog.tco_row(parameter), "typical")) / scale

    life = typical("life_years", "gpu_depreciation_years")
    staff = finance.staff_usd_per_kw_year
    if staff is None:
        staff = _typical_staff(catalog)
        filled["staff_usd_per_kw_year"] = _STAFF
    return Terms(
        cost_of_capital=typical("cost_of_capital", "cost_of_capital_pct", PERCENT),
        life_years=life,
        residual_fraction=_residual(finance, catalog, life, filled),
        maintenance_fraction_per_year=typical(
            "maintenance_fraction_per_year", "maintenance_pct_capex_per_year", PERCENT
        ),
        network_fraction=typical("network_fraction", "networking_pct_it_capex", PERCENT),
        storage_fraction=typical("storage_fraction", "storage_pct_capex", PERCENT),
        integration_fraction=finance.integration_fraction or 0.0,
        staff_usd_per_kw_year=staff,
        licence_usd_per_gpu_year=finance.licence_usd_per_gpu_year or 0.0,
        typical=filled,
    )


_STAFF = ("staff_fte_per_mw", "staff_usd_per_fte_year")


def _typical_staff(catalog: Catalog) -> float:
    people, pay = (float(require(catalog.tco_row(name), "typical")) for name in _STAFF)
    return people * pay / KW_PER_MW


def _residual(
    finance: Finance, catalog: Catalog, life_years: float, filled: dict[str, tuple[str, ...]]
) -> float:
    """Resale share at the end of life; the catalog states it for whole years one to five."""
    if finance.residual_fraction is not None:
        return finance.residual_fraction
    parameter = f"residual_value_pct_year{life_years:g}"
    if parameter not in catalog.tco:
        raise CatalogError(
            f"finance.residual_fraction: no resale value after {life_years:g} years in the catalog",
            "give finance.residual_fraction (0 if nothing is left)",
        )
    filled["residual_fraction"] = (parameter,)
    return float(require(catalog.tco_row(parameter), "typical")) / PERCENT


@dataclass(frozen=True)
class Price:
    """A price with where it comes from."""

    usd_per_system: float
    usd_per_gpu_h: float
    source: str
    maintained_usd: float  # value that maintenance is charged on
    is_owned: bool  # what it costs beside the price follows from the money terms
    from_book: bool = False  # of the price book, not the offer's own
    as_of: str | None = None  # of a price of the book
    note: str | None = None  # the book's caveat


def price_of(offer: Offer, scenario: Scenario, catalog: Catalog) -> Price:
    """The offer's own price, or the price book's.

    Raises:
        CatalogError: no price, or several.
    """
    given = (offer.price_usd_per_system, offer.price_usd_per_gpu_h)
    if offer.kind == "owned" or any(g is not None for g in given):
        source = "owned" if offer.kind == "owned" else "scenario"
        system, hourly = given[0] or 0.0, given[1] or 0.0
        maintained = _maintained_usd(offer, system, scenario, catalog)
        return Price(system, hourly, source, maintained, _is_owned(offer))
    row = catalog.price(offer, scenario.price_vintage)
    system = row.price_usd_per_system or 0.0
    return Price(
        system,
        row.price_usd_per_gpu_h or 0.0,
        f"price book {row.vintage} ({row.tier}): {row.source}",
        _maintained_usd(offer, system, scenario, catalog),
        _is_owned(offer),
        from_book=True,
        as_of=row.as_of,
        note=row.notes,
    )


def _is_owned(offer: Offer) -> bool:
    return offer.kind in ("buy", "owned") or set(offer.included) != set(EVERYTHING)


def _maintained_usd(
    offer: Offer, usd_per_system: float, scenario: Scenario, catalog: Catalog
) -> float:
    """Value that maintenance is charged on: the purchase price, also for systems owned already."""
    if "maintenance" in offer.included:
        return 0.0
    if usd_per_system > 0:
        return usd_per_system
    rows = catalog.price_rows(scenario.price_vintage, offer.system)
    bought = [r.price_usd_per_system for r in rows if r.price_usd_per_system is not None]
    if bought:
        return bought[0]
    raise CatalogError(
        f"offer {offer.id!r}: maintenance needs a purchase price, and {offer.system} has none",
        "write `includes: [maintenance]` if it is paid elsewhere, or add a buy price",
    )


def system_year(
    offer: Offer, row: SystemRow, terms: Terms, price: Price, hosting_usd_per_kw_month: float
) -> dict[str, float]:
    """Itemised yearly cost of one system, USD, with `capex_usd` beside it (see `tco.rs`)."""
    included = offer.included
    kw = 0.0 if row.system_kw is None else row.system_kw
    ownership = {
        "server_usd": price.usd_per_system,
        "network_fraction": 0.0 if "network" in included else terms.network_fraction,
        "storage_fraction": 0.0 if "network" in included else terms.storage_fraction,
        "integration_fraction": terms.integration_fraction,
        "cost_of_capital": terms.cost_of_capital,
        "life_years": terms.life_years,
        "residual_fraction": terms.residual_fraction,
        "maintenance_fraction": terms.maintenance_fraction_per_year,
        "maintained_usd": price.maintained_usd,
        "staff_usd_per_kw_year": 0.0 if "staff" in included else terms.staff_usd_per_kw_year,
        "licence_usd_per_gpu_year": terms.licence_usd_per_gpu_year,
        "hosting_usd_per_kw_month": 0.0 if "hosting" in included else hosting_usd_per_kw_month,
        "rental_usd_per_gpu_h": price.usd_per_gpu_h,
        "provisioned_kw": kw,
        "gpus": float(require(row, "gpus")),
    }
    items: dict[str, float] = {**_core.system_year(ownership)}  # type: ignore[dict-item]
    if offer.kind == "all_in":  # an owner's cost by the hour is no rent
        items["all_in"] = items.pop("rental")
    return items


def site_pue(site: Site, cooling: str | None, catalog: Catalog) -> float | None:
    """PUE of a site for a cooling kind; None when the site states PUEs but not for this kind."""
    if site.pue is None:
        return float(require(catalog.tco_row("pue"), "typical"))
    if isinstance(site.pue, dict):
        return site.pue.get(cooling) if cooling is not None else None  # type: ignore[call-overload]
    return float(site.pue)


def site_hosting(site: Site, catalog: Catalog) -> float:
    """Hosting price, USD per provisioned kW and month; blank is the catalog's typical."""
    if site.hosting_usd_per_kw_month is not None:
        return site.hosting_usd_per_kw_month
    return float(require(catalog.tco_row("colo_usd_per_kw_month"), "typical"))


def site_tariff(site: Site, catalog: Catalog) -> float:
    """One tariff for the whole day, USD/kWh; blank is the catalog's typical."""
    if isinstance(site.electricity_usd_per_kwh, int | float):
        return site.electricity_usd_per_kwh
    return float(require(catalog.tco_row("electricity_usd_per_kwh"), "typical"))


def kwh_prices(
    site: Site, pue: float, tariff_usd_per_kwh: ByBlock, objective: Objective
) -> dict[str, ByBlock]:
    """USD per kWh at the IT equipment by item (energy, carbon, water), the tariff by load block.

    Raises:
        CatalogError: carbon or water is priced and the site does not state how much it uses.
    """
    carbon_price = objective.carbon_price_usd_per_t or 0.0
    water_price = objective.water_price_usd_per_m3 or 0.0
    carbon = _stated(site, "carbon_kg_per_kwh", needed=carbon_price > 0)
    water = _stated(site, "water_l_per_kwh", needed=water_price > 0)

    terms = {
        "pue": pue,
        "carbon_kg_per_kwh": carbon,
        "carbon_usd_per_t": carbon_price,
        "water_l_per_kwh_it": water,
        "water_usd_per_m3": water_price,
    }

    def cost(tariff: float) -> dict[str, float]:
        return {**_core.kwh_it_cost({**terms, "tariff_usd_per_kwh": tariff})}  # type: ignore[dict-item]

    if not isinstance(tariff_usd_per_kwh, tuple):
        return {**cost(tariff_usd_per_kwh)}
    each = [cost(tariff) for tariff in tariff_usd_per_kwh]
    return {**each[0], "energy": tuple(of["energy"] for of in each)}


def carbon_per_kwh_it(site: Site, pue: float, objective: Objective) -> float:
    """Carbon of a kWh at the IT equipment, kg; 0 where it is neither stated nor asked for."""
    return pue * _stated(site, "carbon_kg_per_kwh", needed="carbon" in GOALS[objective.kind].of)


def _stated(site: Site, name: str, needed: bool) -> float:
    value: float | None = getattr(site, name)
    if value is None and needed:
        raise CatalogError(
            f"site {site.id!r}: {name} is needed by the objective and not stated",
            f"give sites[{site.id}].{name}",
        )
    return value or 0.0
