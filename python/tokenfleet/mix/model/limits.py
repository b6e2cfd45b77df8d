"""Constraint families of the mix, one function each.

A family named in `FleetModel.relax` gets one slack column per row, so that an infeasible problem
can say by how much: `Slack` of the row.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pulp

from tokenfleet.mix.model.columns import FleetModel
from tokenfleet.mix.model.index import (
    ApiRate,
    Budget,
    Capacity,
    Capex,
    Demand,
    Pair,
    Power,
    RackLimit,
    RackSpace,
    Reserve,
    Supply,
)
from tokenfleet.mix.model.packing import pack_pools
from tokenfleet.problem_data import Api, Flow, Racks, Scale, Short, Systems, Used

LE, GE, EQ = pulp.LpConstraintLE, pulp.LpConstraintGE, pulp.LpConstraintEQ


def meet_demand(m: FleetModel) -> None:
    """serve f + decode f + api + short = demand, for every block, workload and class."""
    served = _served(m)
    for w in m.order.workloads:
        data = m.problem.workloads[w]
        for b in range(len(m.problem.blocks)):
            for k in m.order.classes[w]:
                demand = float(data.demand_rps[b, k])
                if demand <= 0:
                    continue
                row, short = Demand(b, w, k), m.columns.get(Short(b, w, k))
                pairs = [(v, 1.0) for v in served.get((b, w, k), [])]
                if short is not None:
                    pairs.append((short, 1.0))
                pairs += [(v, -a) for v, a in m.slack(row)]
                if data.free:
                    pairs.append((m.columns[Scale()], -demand))
                m.row(row, pairs, EQ, 0.0 if data.free else demand)


def _served(m: FleetModel) -> dict[tuple[int, int, int], list[pulp.LpVariable]]:
    """Flows that end a request, a prefill alone serves nobody, then requests to APIs; by block,
    workload and class (plain tuples: a label for each flow would be a tenth of the model's time).
    """
    served: dict[tuple[int, int, int], list[pulp.LpVariable]] = {}
    for flow, column in m.of(Flow).items():
        candidate = m.problem.candidates[flow.candidate]
        if candidate.role != "prefill":
            key = (flow.block, candidate.workload, flow.cls)
            served.setdefault(key, []).append(column)
    for api, column in m.of(Api).items():
        key = (api.block, m.problem.apis[api.api].workload, api.cls)
        served.setdefault(key, []).append(column)
    return served


def respect_capacity(m: FleetModel) -> None:
    """sum over k of load[c, k] * f[b, p, c, k] <= n[b, p, c]."""
    candidates = m.problem.candidates
    for place, found in itertools.groupby(m.of(Flow).items(), lambda item: _place(item[0])):
        row = Capacity(*place)
        load = candidates[row.candidate].load
        pairs = [(column, load[flow.cls]) for flow, column in found]
        pairs.append((m.columns[m.replicas_of(row)], -1.0))
        m.row(row, pairs, LE, 0.0)


def _place(flow: Flow) -> tuple[int, int, int]:
    """Block, pool and candidate of a flow, whose classes stand together."""
    return flow.block, flow.pool, flow.candidate


def pair_phases(m: FleetModel) -> None:
    """Prefill rate = decode rate, per site, block, class and compatible pair."""
    sides: dict[Pair, list[tuple[pulp.LpVariable, float]]] = {}
    for flow, column in m.of(Flow).items():
        candidate = m.problem.candidates[flow.candidate]
        if candidate.role != "serve":
            site = m.problem.pools[flow.pool].site
            row = Pair(flow.block, site, candidate.workload, candidate.pair, flow.cls)
            sign = 1.0 if candidate.role == "prefill" else -1.0
            sides.setdefault(row, []).append((column, sign))
    for row, pairs in sides.items():
        m.row(row, pairs, EQ, 0.0)


def keep_reserve(m: FleetModel) -> None:
    """A pool with a reserve of k may hold systems only when used[b, p] = 1, which costs k of them;
    where its number differs by block, it keeps them in the blocks in which it holds any."""
    for p in m.order.pools:
        if not m.problem.pools[p].reserve or not m.eligible[p]:
            continue
        most = m.frame.useful[p]
        for scope in m.scopes.systems(p):
            used = m.column(Used(scope, p), 1.0, integer=True)
            systems = m.systems(p, scope)
            bound = min(most, sum(math.inf if v.upBound is None else v.upBound for v in systems))
            pairs = [(v, 1.0) for v in systems] + [(used, -bound)]
            m.row(Reserve(p, scope), pairs, LE, 0.0)


def limit_power(m: FleetModel) -> None:
    """Provisioned kW (times PUE where the limit is utility power) within each site's limit."""
    standing = _standing(m)
    for s in m.order.sites:
        site, pools = m.problem.sites[s], standing.get(s, [])
        if not math.isfinite(site.power_limit_kw):
            continue
        for scope in _site_scopes(m, pools):
            pairs = []
            for p in pools:
                pool = m.problem.pools[p]
                kw = pool.provisioned_it_kw * (pool.pue if site.power_is_utility else 1.0)
                pairs += [(v, kw) for v in m.systems(p, scope)]
            if pairs:
                row = Power(s, scope)
                m.row(row, pairs + m.slack(row), LE, site.power_limit_kw)


def _standing(m: FleetModel) -> dict[int, list[int]]:
    """Pools that may hold systems, by the site whose power and racks they take."""
    pools: dict[int, list[int]] = {}
    for p in m.order.pools:
        if p in m.open and not m.problem.pools[p].hosted:
            pools.setdefault(m.problem.pools[p].site, []).append(p)
    return pools


def _site_scopes(m: FleetModel, pools: list[int]) -> list[int]:
    """The scopes in which a limit on all systems of some pools of one site must hold."""
    return m.scopes.finest(scope for p in pools for scope in m.scopes.systems(p))


def limit_racks(m: FleetModel) -> None:
    """racks[p] * systems_per_rack >= systems, and the racks of a site within its number."""
    standing, per_rack = _standing(m), [pool.systems_per_rack for pool in m.problem.pools]
    for s in m.order.sites:
        limit = m.problem.sites[s].rack_limit
        pools = [p for p in standing.get(s, []) if math.isfinite(per_rack[p])]
        if not math.isfinite(limit) or not pools:
            continue
        for scope in _site_scopes(m, pools):
            taken, row = [(_racks(m, p, scope), 1.0) for p in pools], RackLimit(s, scope)
            m.row(row, taken + m.slack(row), LE, math.floor(limit))


def _racks(m: FleetModel, p: int, scope: int) -> pulp.LpVariable:
    per_rack = m.problem.pools[p].systems_per_rack
    racks = m.column(Racks(scope, p), integer=True)
    pairs = [(v, 1.0) for v in m.systems(p, scope)] + [(racks, -per_rack)]
    m.row(RackSpace(p, scope), pairs, LE, 0.0)
    return racks


def limit_supply(m: FleetModel) -> None:
    """Systems under an offer, or under all offers of one supply group, within the supply."""
    for key, offers in sorted(_supply_groups(m).items()):
        supply = min(m.problem.offers[o].supply for o in offers)
        if not math.isfinite(supply):
            continue
        counted = (scope for o in offers for scope in m.scopes.systems(m.problem.offers[o].pool))
        for scope in m.scopes.finest(counted):
            pairs = [(v, 1.0) for o in offers for v in _under(m, o, scope)]
            if pairs:
                row = Supply(key, scope)
                m.row(row, pairs + m.slack(row), LE, math.floor(supply))


def _under(m: FleetModel, o: int, scope: int) -> list[pulp.LpVariable]:
    """Columns of the systems under an offer that stand throughout a scope."""
    labels = (Systems(s, o) for s in m.scopes.systems_over(m.problem.offers[o].pool, scope))
    return [m.columns[label] for label in labels if label in m.columns]


def _supply_groups(m: FleetModel) -> dict[int, list[int]]:
    """Offers that share a supply, keyed by the first of them; lone offers only when relaxed."""
    groups: dict[str, list[int]] = {}
    for o in m.order.offers:
        group = m.problem.offers[o].supply_group
        if group or "supply" in m.relax:
            groups.setdefault(f"group {group}" if group else f"offer {o}", []).append(o)
    return {offers[0]: offers for offers in groups.values()}


def limit_api_rate(m: FleetModel) -> None:
    """Requests/s of all classes through an API within its rate limit, in every block."""
    for a in m.order.apis:
        api = m.problem.apis[a]
        for b in range(len(m.problem.blocks)):
            labels = [Api(b, a, k) for k in m.order.classes[api.workload]]
            pairs = [(m.columns[la], 1.0) for la in labels if la in m.columns]
            if pairs and math.isfinite(api.max_rps):
                m.row(ApiRate(a, b), pairs, LE, api.max_rps)


def limit_capex(m: FleetModel) -> None:
    """sum of capex * x within the capex budget."""
    budget = m.problem.objective.capex_budget_usd
    if budget is None:
        return
    pairs = [
        (column, m.problem.offers[label.offer].capex_usd)
        for label, column in m.of(Systems).items()
        if m.problem.offers[label.offer].capex_usd
    ]
    if pairs:
        m.row(Capex(), pairs + m.slack(Capex()), LE, budget)


def limit_annual_cost(m: FleetModel) -> None:
    """The yearly cost, contracted power included, within the annual budget."""
    budget = m.problem.objective.annual_budget_usd
    if budget is None:
        return
    usd: dict[pulp.LpVariable, float] = {}
    for term in m.terms:
        column = m.columns[term.label]
        usd[column] = usd.get(column, 0.0) + term.usd
    pairs = list(usd.items()) + m.slack(Budget())
    m.row(Budget(), pairs, LE, budget - m.constant_usd)


FAMILIES: tuple[Callable[[FleetModel], None], ...] = (
    keep_reserve,
    pack_pools,
    respect_capacity,
    meet_demand,
    pair_phases,
    limit_power,
    limit_racks,
    limit_supply,
    limit_api_rate,
    limit_capex,
    limit_annual_cost,
)
