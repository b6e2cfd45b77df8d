"""Fields of a scenario by the names that people use: one table for pages, form and sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldName:
    """What a field is called, what its share is of, and its unit: `staff`, of nothing, a year."""

    name: str
    of: str = ""
    unit: str = ""

    def whole(self) -> str:
        """Name and what it is of: `maintenance, of the server price`."""
        return f"{self.name}, {self.of}" if self.of else self.name

    def with_unit(self) -> str:
        """Name, what it is of, and the unit: `maintenance, of the server price, a year`."""
        return ", ".join(part for part in (self.name, self.of, self.unit) if part)


FIELDS: Mapping[str, FieldName] = {
    "demand": FieldName("demand"),
    "requests_per_s": FieldName("requests, mean"),
    "peak_to_mean": FieldName("peak over mean"),
    "peak_hours_per_day": FieldName("peak hours in a day"),
    "mix_share": FieldName("share of the product mix"),
    "min_requests_per_s": FieldName("requests, at least"),
    "max_requests_per_s": FieldName("requests, at most"),
    "power_kw": FieldName("power limit"),
    "electricity_usd_per_kwh": FieldName("electricity", unit="USD per kWh"),
    "pue": FieldName("PUE"),
    "racks": FieldName("racks"),
    "hosting_usd_per_kw_month": FieldName("hosting", unit="USD per kW and month"),
    "carbon_kg_per_kwh": FieldName("carbon"),
    "price_usd_per_system": FieldName("price of a system", unit="USD per system"),
    "price_usd_per_gpu_h": FieldName("price by the hour", unit="USD per accelerator-hour"),
    "supply": FieldName("available"),
    "includes": FieldName("costs inside the price"),
    "precisions": FieldName("weight formats"),
    "confidence": FieldName("confidence at which limits are held"),
    "engines": FieldName("serving engines"),
    "engine_versions": FieldName("version"),
    "gpu_memory_utilization": FieldName("memory that an engine may fill"),
    "usd_per_mtok_input": FieldName("price of input tokens", unit="USD per million input tokens"),
    "usd_per_mtok_output": FieldName(
        "price of output tokens", unit="USD per million output tokens"
    ),
    "usd_per_request": FieldName("price of a request", unit="USD per request"),
    "annual_budget_usd": FieldName("a year, at most"),
    "capex_budget_usd": FieldName("up front, at most"),
    "cost_of_capital": FieldName("cost of capital", unit="a year"),
    "life_years": FieldName("economic life", unit="years"),
    "residual_fraction": FieldName("resale at the end of life", "of what was paid"),
    "maintenance_fraction_per_year": FieldName("maintenance", "of the server price", "a year"),
    "network_fraction": FieldName("network", "of total IT capex"),
    "storage_fraction": FieldName("storage", "of total IT capex"),
    "integration_fraction": FieldName("integration", "of the server price"),
    "staff_usd_per_kw_year": FieldName("staff", unit="USD per kW of IT and year"),
    "staff_usd_per_year": FieldName("fixed staff", unit="USD a year"),
    "licence_usd_per_gpu_year": FieldName("licences", unit="USD per accelerator and year"),
}


def field_name(field: str) -> str:
    """A field of a scenario as the form calls it: `Power limit` for `power_kw`."""
    known = FIELDS.get(field)
    return field.replace("_", " ") if known is None else capital(known.name)


def capital(text: str) -> str:
    """The text with a capital letter in front."""
    return text[:1].upper() + text[1:]
