"""Ways to get tokens, each alone: buying, renting for each term, on demand, hosted APIs.

A mix of ways may cost less than each, and a way alone may have no plan at all. For example, of a
scenario with servers to buy and an API the routes are `buy`, `API` and the `best mix`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tokenfleet.problem_data import Problem

MIX = "best mix"
API = "API"


def routes_of(
    problem: Problem, terms: Mapping[str, float | None] | None = None
) -> dict[str, Problem]:
    """The problem with one way alone, by its name, and as it is; nothing where there is but one.

    `terms` are years of a rental, by offer. What is owned already is of no route.
    """
    names: dict[int, str] = {}
    for o, offer in enumerate(problem.offers):
        years = (terms or {}).get(offer.supply_group)
        if offer.kind in ("on_demand", "spot") or problem.pools[offer.pool].elastic:
            names[o] = "on demand"
        elif offer.kind == "rent":
            names[o] = "rent" if years is None else f"rent {years:g} year{'s' * (years != 1)}"
        elif offer.kind != "owned":
            names[o] = "buy"
    found: dict[str, Problem] = {}
    for name in sorted(set(names.values())):
        kept = {o for o, of in names.items() if of == name}
        found[name] = _alone(problem, kept, apis=False)
    if problem.apis:
        found[API] = _alone(problem, set(), apis=True)
    return {**found, MIX: problem} if len(found) > 1 else {}


def _alone(problem: Problem, offers: set[int], *, apis: bool) -> Problem:
    """The problem with some offers and, or, the APIs."""
    kept = tuple(
        offer if o in offers else replace(offer, supply=0.0, supply_group=f"none {o}")
        for o, offer in enumerate(problem.offers)
    )
    return replace(problem, offers=kept, apis=problem.apis if apis else ())
