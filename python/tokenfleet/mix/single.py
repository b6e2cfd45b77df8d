"""A quick bound on what a plan of one system type costs, to rank types before any is solved.

A relaxation in closed form. Of one type S, pool p with G accelerators to a system and price a_x for
the cheapest, a replica of g takes at least g/G systems, hence a request/s of class k in block b
costs at least

    u = min over (p, c) in S of  a_f + share * load * (a_n + g/G * a_x)

or the price of an API or of a shortfall. Replicas that stay all year are shared by blocks: for any
block b', n >= load * f[b'], so all of their cost may be charged to block b' (share 1 there, 0
elsewhere); the largest of these bounds counts. Coefficients are those of the objective in the
model, which must not be negative.
"""

from __future__ import annotations

import math

import numpy as np
import pulp

from tokenfleet.mix.model import ALL_YEAR, FleetModel, Label
from tokenfleet.mix.model.columns import per_block

_Demand = tuple[int, int, int]  # block, workload, class


def quick_bounds(m: FleetModel, systems: list[str]) -> dict[str, float]:
    """Lower bounds of the objective by system type; -inf where the closed form does not hold."""
    if m.prob.objective is None or m.prob.sense != pulp.LpMinimize or ("theta",) in m.columns:
        return dict.fromkeys(systems, -math.inf)
    weight = {v.name: float(a) for v, a in m.prob.objective.items()}
    if min(weight.values(), default=0.0) < 0:
        return dict.fromkeys(systems, -math.inf)
    prices = {label: weight.get(v.name, 0.0) for label, v in m.columns.items()}
    elsewhere, own = _unit_prices(m, prices)
    return {
        s: float(m.prob.objective.constant) + _bound(m, own.get(s, {}), elsewhere) for s in systems
    }


_Units = dict[
    _Demand, list[tuple[float, float, bool]]
]  # price of a flow, of its replicas, by block?


def _unit_prices(
    m: FleetModel, prices: dict[Label, float]
) -> tuple[dict[_Demand, float], dict[str, _Units]]:
    """Least price of each demand outside systems, and every way of each type to serve it."""
    system = _system_prices(m, prices)
    elsewhere: dict[_Demand, float] = {}
    own: dict[str, _Units] = {}
    for label, price in prices.items():
        if label[0] in ("api", "short"):
            w = m.problem.apis[label[2]].workload if label[0] == "api" else label[2]
            demand = (label[1], w, label[3])
            elsewhere[demand] = min(price, elsewhere.get(demand, math.inf))
        elif label[0] == "f":
            _, b, p, c, k = label
            candidate, pool = m.problem.candidates[c], m.problem.pools[p]
            if candidate.role == "prefill":
                continue
            scope = b if per_block(m.problem, p) else ALL_YEAR
            held = (
                candidate.gpus / pool.gpus_per_system * system[p, b if pool.elastic else ALL_YEAR]
            )
            replicas = float(candidate.load[k]) * (prices["n", scope, p, c] + held)
            ways = own.setdefault(pool.system, {}).setdefault((b, candidate.workload, k), [])
            ways.append((price, replicas, pool.elastic))
    return elsewhere, own


def _system_prices(m: FleetModel, prices: dict[Label, float]) -> dict[tuple[int, int], float]:
    """Least price of a system of each pool, by scope of its column."""
    least: dict[tuple[int, int], float] = {}
    for label, price in prices.items():
        if label[0] == "x":
            key = (m.problem.offers[label[2]].pool, label[1])
            least[key] = min(price, least.get(key, math.inf))
    return least


def _bound(m: FleetModel, own: _Units, elsewhere: dict[_Demand, float]) -> float:
    """The largest over the block that bears what is shared by blocks."""
    blocks = range(len(m.problem.blocks))
    return max(
        sum(_block(m, own, elsewhere, b, b == bearing) for b in blocks) for bearing in blocks
    )


def _block(
    m: FleetModel, own: _Units, elsewhere: dict[_Demand, float], b: int, bearing: bool
) -> float:
    total = 0.0
    for w, data in enumerate(m.problem.workloads):
        for k in np.flatnonzero(data.demand_rps[b] > 0):
            ways = own.get((b, w, int(k)), [])
            prices = [f + (n if bearing or elastic else 0.0) for f, n, elastic in ways]
            least = min([*prices, elsewhere.get((b, w, int(k)), math.inf)])
            total += float(data.demand_rps[b, k]) * least
    return total
