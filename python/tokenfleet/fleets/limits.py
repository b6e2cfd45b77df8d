"""Limits that a fleet's systems keep or break whatever is routed through them.

Power, supply and capital are rows of the mix model over systems alone and are read off it; racks
are whole ones by pool, and a reserve is counted by pool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tokenfleet.mix.model import FleetModel, Row
from tokenfleet.mix.model.index import Power, Supply
from tokenfleet.problem_data import FloatArray, Systems

_ROWS = {"power": "kw", "supply": "systems", "capex": "usd"}


@dataclass(frozen=True, eq=False)
class Limit:
    """`weights @ counts` must be within `most`."""

    name: str
    unit: str
    weights: FloatArray  # by offer
    most: float

    def headroom(self, counts: FloatArray) -> FloatArray:
        """What is left (N,); negative: by how much it is broken."""
        return self.most - weighted(counts, self.weights)


def weighted(counts: FloatArray, weights: FloatArray) -> FloatArray:
    """`counts @ weights` (N,), added up in one order for every row, whatever is around it."""
    total = np.zeros(len(counts))
    for column in np.flatnonzero(weights):
        total += counts[:, column] * weights[column]
    return total


def linear_limits(m: FleetModel) -> list[Limit]:
    """Power by site, supply by offer or group, and the capital budget; each once."""
    labels = {v.name: label for label, v in m.columns.items()}
    constraints = {row.name: row for row in m.prob.constraints()}
    limits: dict[str, Limit] = {}
    for name, label in m.rows.items():
        if label.family not in _ROWS:
            continue
        row = constraints[name]
        weights = np.zeros(len(m.problem.offers))
        for variable, value in row.items():
            column = labels[variable.name]
            if isinstance(column, Systems):
                weights[column.offer] = float(value)
        shown = _named(m, label)
        limits.setdefault(shown, Limit(shown, _ROWS[label.family], weights, -float(row.constant)))
    return sorted(
        limits.values(), key=lambda limit: (list(_ROWS.values()).index(limit.unit), limit.name)
    )


def _named(m: FleetModel, row: Row) -> str:
    if isinstance(row, Power):
        return f"power of {m.problem.sites[row.site].id}"
    if isinstance(row, Supply):
        return f"supply of {m.problem.offers[row.offer].id}"
    return "capital budget"


def by_pool(m: FleetModel, counts: FloatArray) -> FloatArray:
    """Systems of each pool (N, P)."""
    pools = np.zeros((len(m.problem.offers), len(m.problem.pools)))
    for o, offer in enumerate(m.problem.offers):
        pools[o, offer.pool] = 1.0
    found: FloatArray = counts @ pools
    return found


def usable(m: FleetModel, pools: FloatArray) -> FloatArray:
    """Systems of each pool that are not its reserve (N, P)."""
    reserve = np.array([float(pool.reserve) for pool in m.problem.pools])
    found: FloatArray = np.maximum(pools - reserve, 0.0)
    return found


def reserve_missing(m: FleetModel, pools: FloatArray) -> FloatArray:
    """Systems that used pools lack of their reserve (N,)."""
    reserve = np.array([float(pool.reserve) for pool in m.problem.pools])
    lacking = np.where(pools > 0, np.maximum(reserve - pools, 0.0), 0.0)
    found: FloatArray = lacking.sum(axis=1)
    return found


def rack_headroom(m: FleetModel, pools: FloatArray) -> dict[str, FloatArray]:
    """Racks left by site that has a number of them (N,)."""
    left: dict[str, FloatArray] = {}
    for s, site in enumerate(m.problem.sites):
        if not math.isfinite(site.rack_limit):
            continue
        taken = np.zeros(len(pools))
        for p, pool in enumerate(m.problem.pools):
            if pool.site == s and not pool.hosted and math.isfinite(pool.systems_per_rack):
                taken += np.ceil(pools[:, p] / pool.systems_per_rack - 1e-9)
        left[f"racks of {site.id}"] = math.floor(site.rack_limit) - taken
    return left
