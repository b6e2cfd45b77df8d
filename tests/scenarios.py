"""Small pieces of scenarios that tests put together."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

#: Design section 5: "Keys that every plan JSON has".
PLAN_KEYS = {
    "status",
    "objective",
    "objective_value",
    "bound",
    "gap",
    "annual_cost_usd",
    "cost_per_mtok_output_usd",
    "cost_per_mtok_total_usd",
    "tokens_per_year_output",
    "systems",
    "replicas",
    "sites",
    "candidates_evaluated",
    "candidates_kept",
    "seconds",
    "schema_version",
    "slo",
    "routing",
    "cost_items",
    "capex_usd",
    "limits",
    "not_considered",
    "best_single_system",
    "warnings",
}


def hall(**changes: Any) -> Json:
    """A site with air cooling and 200 kW of IT power."""
    base: Json = {
        "id": "hall",
        "region": "eu",
        "power_kw": 200,
        "power_basis": "it",
        "pue": 1.3,
        "electricity_usd_per_kwh": 0.1,
        "hosting_usd_per_kw_month": 10.0,
        "cooling": ["air"],
    }
    return {**base, **changes}


def buy(system: str = "h100_sxm_8", usd: float = 200_000, **changes: Any) -> Json:
    """An offer to buy, named after its system."""
    base = {"id": f"buy {system}", "system": system, "kind": "buy", "price_usd_per_system": usd}
    return {**base, **changes}
