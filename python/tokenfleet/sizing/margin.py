"""What is left when a plan's tokens are sold: margin and payback."""

from __future__ import annotations

from dataclasses import dataclass

from tokenfleet.plan.rows import Plan

_CAPITAL = ("capex_annuity", "residual_credit")  # cost items that are no running cost


@dataclass(frozen=True)
class Margin:
    """A year of a plan whose output is sold at one price."""

    price_usd_per_mtok_output: float
    revenue_usd: float  # a year
    margin_usd: float  # a year: revenue less the whole cost, capital included
    margin_share: float | None  # of the revenue; None without any
    payback_years: float | None  # of what is paid up front; None: nothing is, or never


def margin_of(plan: Plan, price_usd_per_mtok_output: float) -> Margin:
    """Margin of selling every output token of the plan at a price, USD/Mtok.

    Payback is simple: what is paid up front over revenue less running cost, where running cost is
    the cost without the annuity and without the resale value.
    """
    revenue = plan.tokens_per_year_output * price_usd_per_mtok_output / 1e6
    margin = revenue - plan.annual_cost_usd
    running = plan.annual_cost_usd - sum(plan.cost_items.get(item, 0.0) for item in _CAPITAL)
    left = revenue - running
    pays_back = plan.capex_usd > 0 and left > 0
    return Margin(
        price_usd_per_mtok_output=price_usd_per_mtok_output,
        revenue_usd=revenue,
        margin_usd=margin,
        margin_share=margin / revenue if revenue else None,
        payback_years=plan.capex_usd / left if pays_back else None,
    )
