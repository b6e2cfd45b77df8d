"""What an offer says of dates, ages and orders, judged by itself."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tokenfleet.schema.horizon import ascending
from tokenfleet.schema.rows import rejected

if TYPE_CHECKING:
    from tokenfleet.schema.supply import Offer


def refuse_wrong_terms(offer: Offer) -> None:
    """What holds of the dates and ages of an offer by itself."""
    if offer.price_by_date is not None:
        ascending(offer.price_by_date, "price_by_date")
        if offer.price_change_per_year:
            raise rejected(
                "has its prices by date already", "price_change_per_year", "leave one of them out"
            )
    if offer.order_from and offer.order_until and offer.order_from > offer.order_until:
        raise rejected("is before order_from", "order_until", "swap them, or leave one out")
    limit = offer.delivery_limit_per_period
    if not isinstance(limit, str) and offer.least_order > limit:
        raise rejected(
            f"{offer.least_order} is above delivery_limit_per_period {limit}",
            "least_order",
            "lower it: no order could be placed",
        )
    if not isinstance(offer.supply, str) and offer.least_order > offer.supply:
        raise rejected(
            f"{offer.least_order} is above supply {offer.supply}",
            "least_order",
            "lower it: no order could be placed",
        )
    for name in ("stay_months", "removal_usd_per_system", "maintenance_by_age"):
        if getattr(offer, name) and offer.kind not in ("buy", "owned"):
            raise rejected(f"{offer.kind} is never sold", name, "leave it out")
    if offer.resale != "book" and offer.kind not in ("buy", "owned"):
        raise rejected(f"{offer.kind} is never sold", "resale", "leave it out")
    if offer.market_usd_per_system and offer.kind != "owned":
        raise rejected(f"{offer.kind} has a price", "market_usd_per_system", "leave it out")
    _ordered(offer)
    if isinstance(offer.resale, tuple):
        _falling(offer.resale)
    worn = [age for age, _ in offer.maintenance_by_age or ()]
    if any(a >= b for a, b in itertools.pairwise(worn)):
        raise rejected("its ages do not ascend", "maintenance_by_age", "put them in order")
    _aged(offer)


def _aged(offer: Offer) -> None:
    """Refuses ages and lives of what is not owned, and ages of other numbers of systems."""
    if offer.life_years is not None and offer.kind != "owned":
        hint = "leave it out: what is bought lives `finance.life_years`, a contract its term"
        raise rejected(f"{offer.kind} has another life", "life_years", hint)
    oldest = max((age for age, _ in offer.ages), default=0.0)
    if offer.life_years is not None and oldest >= offer.life_years:
        raise rejected(
            f"{oldest:g} years old, beyond its life_years of {offer.life_years:g}",
            "ages",
            "leave out what has left already, or state a longer life",
        )
    if offer.ages and offer.kind != "owned":
        raise rejected(f"{offer.kind} has no age yet", "ages", "write kind: owned, or leave it out")
    if offer.ages and sum(count for _, count in offer.ages) != offer.supply:
        raise rejected(
            f"count {sum(count for _, count in offer.ages)} systems, supply {offer.supply}",
            "ages",
            "let the counts add up to supply",
        )


def _ordered(offer: Offer) -> None:
    """Refuses terms of an order where nothing is ordered: what comes by the hour comes at once."""
    by_order = offer.is_ordered
    cure = "give `term_years`" if offer.kind == "rent" else "leave it out"
    limit = offer.delivery_limit_per_period
    for name in ("lead_months", "least_order", "upfront_fraction"):
        if getattr(offer, name) and not by_order:
            raise rejected(f"{offer.kind} is not ordered ahead", name, cure)
    if limit != "unlimited" and not by_order:
        hint = f"{cure}, or use `supply`"
        raise rejected(f"{offer.kind} is not delivered", "delivery_limit_per_period", hint)
    if offer.upfront_fraction and offer.kind == "buy":
        raise rejected("a purchase is paid at delivery", "upfront_fraction", "leave it out")
    for name in ("order_from", "order_until", "price_by_date"):
        if getattr(offer, name) is not None and offer.kind == "owned":
            raise rejected("owned stock is there already", name, "leave it out")


def _falling(points: tuple[tuple[float, float], ...]) -> None:
    ages, shares = [a for a, _ in points], [s for _, s in points]
    if any(a >= b for a, b in itertools.pairwise(ages)):
        raise rejected("its ages do not ascend", "resale", "put the points in the order of age")
    if any(a < b for a, b in itertools.pairwise(shares)) or shares[0] > 1.0:
        raise rejected(
            "is worth more old than new",
            "resale",
            "shares of the price fall with age and are at most 1",
        )
