"""Problems whose prices are so many times as high: the slow way to find at which a plan changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tokenfleet.explanation.prices import Priced
from tokenfleet.problem_data import ByBlock, OfferData, Problem


def priced_alone(problem: Problem) -> dict[int, Priced]:
    """Of each offer everything it costs: of a problem whose prices nobody knows apart."""
    return {
        o: Priced(offer.annual_cost_items_usd, offer.hourly_usd, offer.capex_usd)
        for o, offer in enumerate(problem.offers)
    }


def offers_at(
    problem: Problem, parts: Mapping[int, Priced], factors: Mapping[int, float]
) -> Problem:
    """The problem with the prices of some offers so many times as high."""
    offers = [
        _at(offer, parts[o], factors[o]) if o in factors else offer
        for o, offer in enumerate(problem.offers)
    ]
    return replace(problem, offers=tuple(offers))


def _at(offer: OfferData, part: Priced, factor: float) -> OfferData:
    more, items = factor - 1.0, dict(offer.annual_cost_items_usd)
    for name, usd in part.items_usd.items():
        items[name] = items.get(name, 0.0) + more * usd
    return replace(
        offer,
        annual_cost_items_usd=items,
        hourly_usd=_sum(offer.hourly_usd, part.hourly_usd, more),
        capex_usd=offer.capex_usd + more * part.capex_usd,
    )


def _sum(price: ByBlock, part: ByBlock, more: float) -> ByBlock:
    if isinstance(price, tuple) or isinstance(part, tuple):
        blocks = len(price) if isinstance(price, tuple) else len(part)  # type: ignore[arg-type]
        both = (p if isinstance(p, tuple) else (p,) * blocks for p in (price, part))
        return tuple(usd + more * of for usd, of in zip(*both, strict=True))
    return price + more * part


def api_at(problem: Problem, a: int, factor: float) -> Problem:
    """The problem with the prices of an API so many times as high."""
    apis = list(problem.apis)
    apis[a] = replace(apis[a], cost_usd_per_request=apis[a].cost_usd_per_request * factor)
    return replace(problem, apis=tuple(apis))
