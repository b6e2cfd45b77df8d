"""Ways to get tokens, each alone: buying, renting for each term, on demand, hosted APIs.

A mix of ways may cost less than each, and a way alone may have no plan at all. For example, of a
scenario with servers to buy and an API the routes are `buy`, `API` and the `best mix`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tokenfleet.problem_data import Horizon, Node, OfferData, Problem

MIX = "best mix"
API = "API"


@dataclass(frozen=True)
class Way:
    """One way alone: the offers of the problem that it is of, and whether APIs are."""

    offers: frozenset[int]
    apis: bool = False


def ways_of(problem: Problem, terms: Mapping[str, float | None] | None = None) -> dict[str, Way]:
    """Ways to get tokens, by their names; nothing where there is but one.

    `terms` are years of a rental, by offer. What is owned already is of no way.
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
    found = {
        name: Way(frozenset(o for o, of in names.items() if of == name))
        for name in sorted(set(names.values()))
    }
    if problem.apis:
        found[API] = Way(frozenset(), apis=True)
    return found if len(found) > 1 else {}


def routes_of(
    problem: Problem, terms: Mapping[str, float | None] | None = None
) -> dict[str, Problem]:
    """The problem with one way alone, by its name, and as it is; nothing where there is but one."""
    found = {name: _alone(problem, way) for name, way in ways_of(problem, terms).items()}
    return {**found, MIX: problem} if found else {}


def _alone(problem: Problem, way: Way) -> Problem:
    """The problem with one way."""
    kept = tuple(
        offer if o in way.offers else replace(offer, supply=0.0, supply_group=f"none {o}")
        for o, offer in enumerate(problem.offers)
    )
    return replace(problem, offers=kept, apis=problem.apis if way.apis else ())


def in_all_nodes(tree: Horizon, offers: int, way: Way) -> Horizon:
    """The tree with one way to order. Beyond the first `offers` are blocks of power, which are of
    every way."""

    def changed(node: Node) -> Node:
        rows = tuple(
            offer if o in way.offers or o >= offers else closed(offer)
            for o, offer in enumerate(node.problem.offers)
        )
        apis = node.problem.apis if way.apis else ()
        return replace(node, problem=replace(node.problem, offers=rows, apis=apis))

    return replace(tree, nodes=tuple(map(changed, tree.nodes)))


def closed(offer: OfferData) -> OfferData:
    """The offer when nothing is to be had by it."""
    stock = None if offer.stock is None else replace(offer.stock, most_per_period=0.0)
    return replace(offer, supply=0.0, stock=stock)
