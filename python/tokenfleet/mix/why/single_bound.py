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

import itertools
import math
from collections.abc import Iterator

import pulp

from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.problem_data import Api, Flow, Replicas, Scale, Short, Systems

_Demand = tuple[int, int, int]  # block, workload, class


def quick_bounds(m: FleetModel, systems: list[str]) -> dict[str, float]:
    """Lower bounds of the objective by system type; -inf where the closed form does not hold."""
    if m.prob.objective is None or m.prob.sense != pulp.LpMinimize or Scale() in m.columns:
        return dict.fromkeys(systems, -math.inf)
    weight = {v.name: float(a) for v, a in m.prob.objective.items()}
    if min(weight.values(), default=0.0) < 0:
        return dict.fromkeys(systems, -math.inf)
    prices = {label: weight.get(v.name, 0.0) for label, v in m.columns.items()}
    elsewhere, own = _unit_prices(m, prices)
    constant, demand = float(m.prob.objective.constant), _demand(m)
    return {s: constant + _bound(demand, own.get(s, {}), elsewhere) for s in systems}


def _demand(m: FleetModel) -> list[list[tuple[_Demand, float]]]:
    """What is asked for in each block, requests/s."""
    found: list[list[tuple[_Demand, float]]] = [[] for _ in m.problem.blocks]
    for w, data in enumerate(m.problem.workloads):
        for b, rates in enumerate(data.demand_rps.tolist()):
            found[b] += [((b, w, k), rate) for k, rate in enumerate(rates) if rate > 0]
    return found


_Units = dict[
    _Demand, list[tuple[float, float, bool]]
]  # price of a flow, of its replicas, by block?


def _unit_prices(
    m: FleetModel, prices: dict[Label, float]
) -> tuple[dict[_Demand, float], dict[str, _Units]]:
    """Least price of each demand outside systems, and every way of each type to serve it."""
    replica = _replica_prices(m, prices)
    load = [candidate.load.tolist() for candidate in m.problem.candidates]
    elsewhere: dict[_Demand, float] = {}
    own: dict[str, _Units] = {}
    other: Iterator[Api | Short] = itertools.chain(m.of(Api), m.of(Short))
    for label in other:
        w = m.problem.apis[label.api].workload if isinstance(label, Api) else label.workload
        demand = (label.block, w, label.cls)
        elsewhere[demand] = min(prices[label], elsewhere.get(demand, math.inf))
    for flow in m.of(Flow):
        b, p, c, k = flow.block, flow.pool, flow.candidate, flow.cls
        candidate, pool = m.problem.candidates[c], m.problem.pools[p]
        if candidate.role == "prefill":
            continue
        ways = own.setdefault(pool.system, {}).setdefault((b, candidate.workload, k), [])
        ways.append((prices[flow], load[c][k] * replica[b, p, c], pool.elastic))
    return elsewhere, own


def _replica_prices(m: FleetModel, prices: dict[Label, float]) -> dict[tuple[int, int, int], float]:
    """Least price of a replica that serves in a block, with its share of a system."""
    system = _system_prices(m, prices)
    found = {}
    for p, candidates in m.eligible.items():
        pool = m.problem.pools[p]
        for b in m.scopes.up(p):
            scope = m.scopes.replicas_in(p, b)
            of_system = min(system[p, s] for s in m.scopes.systems_in(p, b))
            for c in candidates:
                held = m.problem.candidates[c].gpus / pool.gpus_per_system * of_system
                found[b, p, c] = prices[Replicas(scope, p, c)] + held
    return found


def _system_prices(m: FleetModel, prices: dict[Label, float]) -> dict[tuple[int, int], float]:
    """Least price of a system of each pool, by scope of its column."""
    least: dict[tuple[int, int], float] = {}
    for label in m.of(Systems):
        key = (m.problem.offers[label.offer].pool, label.scope)
        least[key] = min(prices[label], least.get(key, math.inf))
    return least


def _bound(
    demand: list[list[tuple[_Demand, float]]], own: _Units, elsewhere: dict[_Demand, float]
) -> float:
    """The largest over the block that bears what is shared by blocks."""
    return max(
        sum(_block(asked, own, elsewhere, b == bearing) for b, asked in enumerate(demand))
        for bearing in range(len(demand))
    )


def _block(
    asked: list[tuple[_Demand, float]],
    own: _Units,
    elsewhere: dict[_Demand, float],
    bearing: bool,
) -> float:
    total = 0.0
    for key, rate in asked:
        least = elsewhere.get(key, math.inf)
        for flow, replicas, elastic in own.get(key, ()):
            least = min(least, flow + (replicas if bearing or elastic else 0.0))
        total += rate * least
    return total
