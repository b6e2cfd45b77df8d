"""What columns of the mix model cost, item by item, as far as a fleet knows the columns.

A fleet gives the systems, and the routing gives requests and replicas. A cost term that is booked
on anything else would be left out of the sum, so it is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.fleets.routing import Part, with_replicas
from tokenfleet.fleets.whole import WholePart
from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.problem_data import FloatArray, Problem, Replicas, Systems

ENERGY = "energy"  # the item that the energy price multiplies
_BESIDE_ENERGY = ("carbon", "water")  # booked by the kWh as well, but at prices of their own


def system_items(m: FleetModel) -> dict[str, FloatArray]:
    """USD a year of one system of each offer, by item; idle energy among them."""
    items: dict[str, FloatArray] = {}
    for term in m.terms:
        if isinstance(term.label, Systems):
            usd = items.setdefault(term.item, np.zeros(len(m.problem.offers)))
            usd[term.label.offer] += term.usd
    return items


def fixed_staff(problem: Problem, counts: FloatArray) -> FloatArray:
    """USD a year of the fixed part of staff (N,), at sites where a system needs it."""
    usd = np.zeros(len(counts))
    for s, site in enumerate(problem.sites):
        own = [
            o
            for o, offer in enumerate(problem.offers)
            if offer.needs_staff and problem.pools[offer.pool].site == s
        ]
        usd += site.staff_usd_per_year * problem.years * (counts[:, own] > 0).any(axis=1)
    return usd


def routed_items(m: FleetModel, columns: Sequence[Label]) -> dict[str, FloatArray]:
    """USD a year for each unit of the columns of a routing, by item, energy always among them."""
    items: dict[str, dict[Label, float]] = {ENERGY: {}}
    for term in m.terms:
        if not isinstance(term.label, Systems):
            usd = items.setdefault(term.item, {})
            usd[term.label] = usd.get(term.label, 0.0) + term.usd
    return {item: with_replicas(m, columns, usd) for item, usd in sorted(items.items())}


def require_known(m: FleetModel, parts: Iterable[Part | WholePart]) -> None:
    """Raise when a cost term is booked on a column that neither a fleet nor its routing has.

    Raises:
        SchemaError: names the cost item and the kind of column.
    """
    routed = {label for part in parts for label in part.columns}
    for term in m.terms:
        known = isinstance(term.label, (Systems, Replicas)) or term.label in routed
        if term.usd and not known:
            raise SchemaError(
                f"evaluating fleets cannot add the cost item {term.item!r}: it is booked on "
                f"{term.label.tag!r}, which a fleet does not tell",
                "leave out what costs it, or find the mix with `plan`",
            )


def multiple(item: str, energy_price: float, system_price: float = 1.0) -> float:
    """What an item is multiplied by where energy and systems are at multiples of their prices."""
    if item == ENERGY:
        return energy_price
    return 1.0 if item in _BESIDE_ENERGY else system_price


def priced(items: Mapping[str, FloatArray], energy_price: float) -> FloatArray:
    """USD of all items of a routing together, with energy at a multiple of its price."""
    total: FloatArray = np.sum(
        [usd * multiple(item, energy_price) for item, usd in items.items()], axis=0
    )
    return total
