"""Yearly cost of one system."""

from __future__ import annotations

from reference.units import Json


def annuity(rate_per_year: float, years: int) -> float:
    """Yearly payment that repays one: found from the sum of discounted payments."""
    return 1.0 / sum((1.0 + rate_per_year) ** -year for year in range(1, years + 1))


def sinking_fund(rate_per_year: float, years: int) -> float:
    """Yearly payment that grows to one: found from the sum of compounded payments."""
    return 1.0 / sum((1.0 + rate_per_year) ** year for year in range(years))


def system_year(o: Json) -> Json:
    """Yearly cost of one system, itemised."""
    with_network = o["server_usd"] / (1.0 - o["network_fraction"] - o["storage_fraction"])
    capex = with_network + o["integration_fraction"] * o["server_usd"]
    rate_per_year, years = o["cost_of_capital"], int(o["life_years"])
    residual = capex * o["residual_fraction"]
    return {
        "capex_annuity": capex * annuity(rate_per_year, years),
        "residual_credit": -residual * sinking_fund(rate_per_year, years),
        "maintenance": o["maintained_usd"] * o["maintenance_fraction"],
        "staff": o["provisioned_kw"] * o["staff_usd_per_kw_year"],
        "licences": o["gpus"] * o["licence_usd_per_gpu_year"],
        "hosting": 12.0 * o["provisioned_kw"] * o["hosting_usd_per_kw_month"],
        "rental": 8760.0 * o["gpus"] * o["rental_usd_per_gpu_h"],
        "capex_usd": capex,
    }
