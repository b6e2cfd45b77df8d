"""Limits that a fleet keeps or breaks, as their families say them (`mix.model.limits.FAMILIES`).

What is over systems alone is held against the counts, whatever is routed through them, and a budget
against the cost; what is over requests is in the routing. A reserve is counted by pool. A limit of
which its family does not say how it is used is refused, since a fleet would seem to keep it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model import limits as families
from tokenfleet.mix.model.family import Family
from tokenfleet.problem_data import FloatArray, Problem

_TOLERANCE = 1e-9


@dataclass(frozen=True, eq=False)
class Fleets:
    """Fleets as limits see them: systems that stand in every load block (`family.Usage`)."""

    problem: Problem
    counts: FloatArray  # (N, O)
    pools: FloatArray  # (N, P)
    annual_cost_usd: FloatArray  # (N,)
    blocks: tuple[int, ...] = (0,)

    def systems(self, o: int, b: int) -> FloatArray:
        """Systems under an offer (N,)."""
        return self.counts[:, o]

    def in_pool(self, p: int, b: int) -> FloatArray:
        """Systems of a pool (N,)."""
        return self.pools[:, p]

    def requests(self, a: int, b: int) -> FloatArray:
        """Nothing: the routing keeps the rates of APIs."""
        return np.zeros(len(self.counts))


@dataclass(frozen=True, eq=False)
class Headroom:
    """What is left of one limit (N,); negative: by how much it is broken."""

    name: str
    unit: str
    left: FloatArray
    rounding: float = _TOLERANCE  # so much may be missing


def headroom(fleets: Fleets, over: str) -> Iterator[Headroom]:
    """What is left of every stated limit over systems, or over the cost."""
    for family in families.FAMILIES:
        if family.over == over and family.used is not None:
            for place in sorted(family.stated(fleets.problem), key=lambda place: place.name):
                most = family.most(place)
                left = np.broadcast_to(most - family.used(fleets, place), len(fleets.counts))
                rounding = _TOLERANCE * max(abs(most), 1.0)
                yield Headroom(family.title(place), family.unit.name, left, rounding)


def require_judged(m: FleetModel) -> None:
    """Refuses a model with a constraint that neither the counts nor the routing decide.

    Raises:
        SchemaError: names the limit.
    """
    for row in m.rows.values():
        family = families.family_of(row)
        if family is None or not _is_judged(family):
            raise cannot_judge(row.family if family is None else family.words or family.name)


def cannot_judge(name: str) -> SchemaError:
    """The error about a limit that a fleet might break unseen."""
    return SchemaError(
        f"evaluating fleets cannot judge the limit {name!r}",
        "leave the limit out, or find the mix with `plan`",
    )


def _is_judged(family: Family) -> bool:
    return family.used is not None if family.over in ("systems", "cost") else bool(family.over)


def weighted(counts: FloatArray, weights: FloatArray) -> FloatArray:
    """`counts @ weights` (N,), added up in one order for every row, whatever is around it."""
    total = np.zeros(len(counts))
    for column in np.flatnonzero(weights):
        total += counts[:, column] * weights[column]
    return total


def by_pool(problem: Problem, counts: FloatArray) -> FloatArray:
    """Systems of each pool (N, P)."""
    pools = np.zeros((len(problem.offers), len(problem.pools)))
    for o, offer in enumerate(problem.offers):
        pools[o, offer.pool] = 1.0
    found: FloatArray = counts @ pools
    return found


def usable(problem: Problem, pools: FloatArray) -> FloatArray:
    """Systems of each pool that are not its reserve (N, P)."""
    reserve = np.array([float(pool.reserve) for pool in problem.pools])
    found: FloatArray = np.maximum(pools - reserve, 0.0)
    return found


def reserve_missing(problem: Problem, pools: FloatArray) -> FloatArray:
    """Systems that used pools lack of their reserve (N,)."""
    reserve = np.array([float(pool.reserve) for pool in problem.pools])
    lacking = np.where(pools > 0, np.maximum(reserve - pools, 0.0), 0.0)
    found: FloatArray = lacking.sum(axis=1)
    return found
