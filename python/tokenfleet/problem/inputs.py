"""Every figure that a scenario's money is reckoned with: its value, whose it is, and from where.

A field that the scenario leaves blank is filled with a typical figure of the catalog or with a
default. Such an input is *assumed*: the buyer may have a better one, and should be asked.

    finance.cost_of_capital  0.1  1/year  assumed  catalog typical of cost_of_capital_pct (2026-03)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from tokenfleet.calibration.maturity import MATURITY
from tokenfleet.catalog import Catalog
from tokenfleet.errors import SchemaError
from tokenfleet.problem.allowed import planned_formats
from tokenfleet.problem.drafts import assumed, filled
from tokenfleet.problem.money import Price, Terms, site_hosting, site_pue, site_tariff
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import Finance, LoadShape, Offer, Scenario, Site, Speculation

SCENARIO = "scenario"
GPU_MEMORY = "gpu_memory_utilization"
_API_PRICES = ("usd_per_mtok_input", "usd_per_mtok_output", "usd_per_request")


@dataclass(frozen=True)
class Input:
    """One figure. `what` is its path in the scenario, with the ids of rows in brackets."""

    what: str
    value: float | str
    unit: str
    assumed: bool
    source: str
    as_of: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Used:
    """Ids of what a plan uses, or of all that it could use."""

    offers: Collection[str]
    sites: Collection[str]
    apis: Collection[str]


def inputs(
    loaded: LoadedScenario, terms: Terms, prices: dict[str, Price], used: Used
) -> tuple[Input, ...]:
    """The figures that what is used is reckoned with."""
    scenario, catalog = loaded.scenario, loaded.catalog
    found: list[Input] = []
    if any(prices[name].is_owned for name in used.offers):
        found += _finance(scenario.finance, terms, catalog)
        found += _site_staff(scenario, used.sites)
    for site in scenario.sites:
        found += _site(site, catalog) if site.id in used.sites else ()
    found += _offers(scenario, catalog, {k: p for k, p in prices.items() if k in used.offers})
    found += _apis(scenario, catalog, used.apis)
    if used.offers and scenario.columns is None:
        found += (*_serving(loaded), *_drafts(scenario, catalog))
    return (*found, *_peaks(loaded, flat=bool(used.offers)))


def refuse_assumed(loaded: LoadedScenario, rows: Iterable[Input]) -> None:
    """Refuses a scenario of which anything is assumed.

    Raises:
        SchemaError: names every figure that was left blank, with what would stand there.
    """
    blank = []
    for row in rows:
        value = row.value if isinstance(row.value, str) else f"{row.value:g}"
        stands = f"{value} {row.unit}".strip()
        blank.append(f"{loaded.source_name}: {row.what}: left blank, {stands} by {row.source}")
    if blank:
        raise SchemaError("\n".join(blank), "state each of them, or leave out --strict")


def _finance(finance: Finance, terms: Terms, catalog: Catalog) -> Iterator[Input]:
    for name in Finance.model_fields:
        what, value, unit = f"finance.{name}", getattr(terms, name), _unit(Finance, name)
        parameters = terms.typical.get(name)
        if parameters:
            source = f"catalog typical of {' times '.join(parameters)}"
            dates = [row.as_of for row in map(catalog.tco_row, parameters) if row.as_of]
            yield Input(what, value, unit, True, source, min(dates, default=None))
        elif getattr(finance, name) is None:
            yield Input(what, value, unit, True, "left out: none")
        else:
            yield Input(what, value, unit, False, SCENARIO)


def _site_staff(scenario: Scenario, used: Collection[str]) -> Iterator[Input]:
    for site in scenario.sites:
        if site.id in used and scenario.horizon is None:
            name, usd = "staff_usd_per_year", site.staff_usd_per_year
            what, unit = f"sites[{site.id}].{name}", _unit(Site, name)
            source = "left out: none" if usd is None else SCENARIO
            yield Input(what, usd or 0.0, unit, usd is None, source)


def _site(site: Site, catalog: Catalog) -> Iterator[Input]:
    def row(name: str, value: float, parameter: str, key: str = "") -> Input:
        what, unit = f"sites[{site.id}].{name}{key}", _unit(Site, name)
        if getattr(site, name) is not None:
            return Input(what, value, unit, False, SCENARIO)
        source = f"catalog typical of {parameter}"
        return Input(what, value, unit, True, source, catalog.tco_row(parameter).as_of)

    hourly = site.hourly_tariff_usd_per_kwh
    if hourly is None:
        yield row("electricity_usd_per_kwh", site_tariff(site, catalog), "electricity_usd_per_kwh")
    else:
        what, unit = "electricity_usd_per_kwh", _unit(Site, "electricity_usd_per_kwh")
        span = f"{min(hourly):g} to {max(hourly):g} over the day"
        yield Input(f"sites[{site.id}].{what}", span, unit, False, SCENARIO)
    yield row("hosting_usd_per_kw_month", site_hosting(site, catalog), "colo_usd_per_kw_month")
    if isinstance(site.pue, dict):
        yield from (row("pue", pue, "pue", f".{kind}") for kind, pue in site.pue.items())
    else:
        pue = site_pue(site, None, catalog)
        assert pue is not None
        yield row("pue", pue, "pue")


def _offers(scenario: Scenario, catalog: Catalog, prices: dict[str, Price]) -> Iterator[Input]:
    if not scenario.offers and prices:
        source = f"price book {catalog.vintage(scenario.price_vintage)}: its market prices"
        yield Input("offers", f"{len(prices)} used", "", True, source)
    offers = {offer.id: offer for offer in scenario.offers}
    for name, price in sorted(prices.items()):
        hourly = price.usd_per_gpu_h > 0
        field = "price_usd_per_gpu_h" if hourly else "price_usd_per_system"
        value = price.usd_per_gpu_h if hourly else price.usd_per_system
        what = f"offers[{name}].{field}"
        unit, assumed = _unit(Offer, field), price.from_book or name not in offers
        yield Input(what, value, unit, assumed, price.source, price.as_of, price.note)
        offer = offers.get(name)
        if offer is not None and offer.includes is None and offer.included:
            listed, source = ", ".join(offer.included), f"default of {offer.kind}"
            yield Input(f"offers[{name}].includes", listed, "", True, source)


def _apis(scenario: Scenario, catalog: Catalog, used: Collection[str]) -> Iterator[Input]:
    for api in scenario.apis:
        row = api.price and catalog.api_price(api.price, scenario.price_vintage)
        source = f"price book {row.vintage}: {row.source}" if row else SCENARIO
        of_book = (row.as_of, row.notes) if row else (None, None)
        for name in _API_PRICES if api.id in used else ():
            what, unit = f"apis[{api.id}].{name}", _unit(type(api), name)
            yield Input(what, getattr(api, name), unit, False, source, *of_book)


def _serving(loaded: LoadedScenario) -> Iterator[Input]:
    """How sure, by which engines, in which formats and in how much of the memory models run."""
    scenario, given = loaded.scenario, loaded.scenario.model_fields_set
    if scenario.sure is not None:
        source = SCENARIO if "confidence" in given else "default"
        yield Input("confidence", scenario.sure, "", "confidence" not in given, source)
    if "engines" not in given:
        engines = ", ".join(scenario.engines)
        yield Input("engines", engines, "", True, "left out: every engine that is modelled")
    stated = GPU_MEMORY in given
    value, unit = scenario.gpu_memory_utilization, _unit(Scenario, GPU_MEMORY)
    yield Input(GPU_MEMORY, value, unit, not stated, SCENARIO if stated else "default")
    yield from _versions(scenario)
    for workload in scenario.workloads:
        named = workload.precisions is not None or workload.quality_floor is not None
        if workload.unit == "token" and not named:
            what = f"workloads[{workload.id}].precisions"
            formats = planned_formats(scenario, loaded.catalog, workload)
            source = "left out: those that weights are published in; name others to plan them"
            yield Input(what, ", ".join(formats), "", True, source)


def _versions(scenario: Scenario) -> Iterator[Input]:
    for engine in scenario.engines:
        what, trend = f"engine_versions[{engine}]", MATURITY.get(engine)
        version = scenario.engine_version(engine)
        if version is not None:
            yield Input(what, version, "", False, SCENARIO)
        elif trend is not None:
            source = f"left out: the version at which runs of 0.{trend.oldest} to 0.{trend.newest} "
            yield Input(what, f"0.{trend.standing}", "", True, f"{source}meet the model")


def _drafts(scenario: Scenario, catalog: Catalog) -> Iterator[Input]:
    for row in scenario.speculation:
        for field, parameter in assumed(row).items():
            what, value = f"speculation[{row.model}].{field}", getattr(filled(row, catalog), field)
            source, as_of = f"catalog typical of {parameter}", catalog.tco_row(parameter).as_of
            yield Input(what, value, _unit(Speculation, field), True, source, as_of)


def _peaks(loaded: LoadedScenario, *, flat: bool) -> Iterator[Input]:
    """What is not known of the peaks; `flat`: that there are none is assumed, too."""
    for workload in loaded.scenario.workloads:
        demand, path = workload.demand, f"workloads[{workload.id}].demand"
        if demand.peak_to_mean > 1 and "peak_hours_per_day" not in demand.model_fields_set:
            unit = _unit(LoadShape, "peak_hours_per_day")
            what = f"{path}.peak_hours_per_day"
            yield Input(what, demand.peak_hours_per_day, unit, True, "default")
        curved = workload.id in loaded.day_curves
        if flat and not curved and "peak_to_mean" not in demand.model_fields_set:
            unit = _unit(LoadShape, "peak_to_mean")
            yield Input(f"{path}.peak_to_mean", 1.0, unit, True, "default: the same all day")


def _unit(model: type[BaseModel], name: str) -> str:
    extra: Any = model.model_fields[name].json_schema_extra
    return str(extra["unit"])
