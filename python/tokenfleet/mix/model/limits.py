"""Constraint families of the mix, one function each.

A family named in `FleetModel.relax` gets one slack column per row, so that an infeasible problem
can say by how much. Slack columns are labelled ("slack", family, ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pulp

from tokenfleet.mix.model.columns import (
    ALL_YEAR,
    FleetModel,
    blocks_of,
    scopes_of,
)
from tokenfleet.mix.model.packing import offers_of, pack_pools

LE, GE, EQ = pulp.LpConstraintLE, pulp.LpConstraintGE, pulp.LpConstraintEQ


def meet_demand(m: FleetModel) -> None:
    """serve f + decode f + api + short = demand, for every block, workload and class."""
    served = _served_flows(m)
    apis: dict[tuple[int, int, int], list[pulp.LpVariable]] = {}
    for label, column in m.columns.items():
        if label[0] == "api":
            key = (label[1], m.problem.apis[label[2]].workload, label[3])
            apis.setdefault(key, []).append(column)
    for w in m.order.workloads:
        data = m.problem.workloads[w]
        for b in range(len(m.problem.blocks)):
            for k in m.order.classes[w]:
                demand = float(data.demand_rps[b, k])
                if demand <= 0:
                    continue
                pairs = [(v, 1.0) for v in served.get((b, w, k), [])]
                pairs += [(v, 1.0) for v in apis.get((b, w, k), [])]
                if ("short", b, w, k) in m.columns:
                    pairs.append((m.columns[("short", b, w, k)], 1.0))
                pairs += [(v, -a) for v, a in m.slack("demand", (b, w, k))]
                if data.free:
                    pairs.append((m.columns[("theta",)], -demand))
                m.row(("demand", b, w, k), pairs, EQ, 0.0 if data.free else demand)


def _served_flows(m: FleetModel) -> dict[tuple[int, int, int], list[pulp.LpVariable]]:
    """Flows that end a request: a prefill alone serves nobody."""
    served: dict[tuple[int, int, int], list[pulp.LpVariable]] = {}
    for label, column in m.columns.items():
        if label[0] == "f":
            candidate = m.problem.candidates[label[3]]
            if candidate.role != "prefill":
                served.setdefault((label[1], candidate.workload, label[4]), []).append(column)
    return served


def respect_capacity(m: FleetModel) -> None:
    """sum over k of load[c, k] * f[b, p, c, k] <= n[b, p, c]."""
    for p in m.order.pools:
        for c in m.eligible[p]:
            load = m.problem.candidates[c].load
            classes = m.order.classes[m.problem.candidates[c].workload]
            for b in blocks_of(m.problem, p):
                pairs = [
                    (m.columns[("f", b, p, c, k)], load[k])
                    for k in classes
                    if ("f", b, p, c, k) in m.columns
                ]
                if pairs:
                    pairs.append((m.replica(b, p, c), -1.0))
                    m.row(("capacity", b, p, c), pairs, LE, 0.0)


def pair_phases(m: FleetModel) -> None:
    """Prefill rate = decode rate, per site, block, class and compatible pair."""
    sides: dict[tuple[int, ...], list[tuple[pulp.LpVariable, float]]] = {}
    for label, column in m.columns.items():
        if label[0] != "f":
            continue
        _, b, p, c, k = label
        candidate = m.problem.candidates[c]
        if candidate.role != "serve":
            place = (b, m.problem.pools[p].site, candidate.workload, candidate.pair, k)
            sign = 1.0 if candidate.role == "prefill" else -1.0
            sides.setdefault(place, []).append((column, sign))
    for key, pairs in sides.items():
        m.row(("pair", *key), pairs, EQ, 0.0)


def keep_reserve(m: FleetModel) -> None:
    """A pool with a reserve of k may hold systems only when used[b, p] = 1, which costs k of them;
    where its number differs by block, it keeps them in the blocks in which it holds any."""
    for p in m.order.pools:
        if not m.problem.pools[p].reserve or not m.eligible[p]:
            continue
        most = m.frame.useful[p]
        for b in scopes_of(m.problem, p, replicas=False):
            used = m.column(("used", b, p), 1.0, integer=True)
            systems = [m.columns[("x", b, o)] for o in offers_of(m, p)]
            bound = min(most, sum(math.inf if v.upBound is None else v.upBound for v in systems))
            pairs = [(v, 1.0) for v in systems] + [(used, -bound)]
            m.row(("reserve", p, b), pairs, LE, 0.0)


def limit_power(m: FleetModel) -> None:
    """Provisioned kW (times PUE where the limit is utility power) within each site's limit."""
    for s in m.order.sites:
        site = m.problem.sites[s]
        if not math.isfinite(site.power_limit_kw):
            continue
        pools = [p for p in m.order.pools if _stands_in(m, p, s)]
        for b in _site_scopes(m, pools):
            pairs = []
            for p in pools:
                pool = m.problem.pools[p]
                kw = pool.provisioned_it_kw * (pool.pue if site.power_is_utility else 1.0)
                pairs += [(v, kw) for v in _systems_in(m, p, b)]
            if pairs:
                pairs += m.slack("power", (s, b))
                m.row(("power", s, b), pairs, LE, site.power_limit_kw)


def _stands_in(m: FleetModel, p: int, s: int) -> bool:
    return p in m.open and m.problem.pools[p].site == s and not m.problem.pools[p].hosted


def _site_scopes(m: FleetModel, pools: list[int]) -> list[int]:
    """Every block up when some pool is elastic, else one row for all the year."""
    if any(m.problem.pools[p].elastic for p in pools):
        return blocks_of(m.problem, pools[0])
    return [ALL_YEAR]


def _systems_in(m: FleetModel, p: int, b: int) -> list[pulp.LpVariable]:
    scope = b if m.problem.pools[p].elastic else ALL_YEAR
    return [m.columns[("x", scope, o)] for o in offers_of(m, p)]


def limit_racks(m: FleetModel) -> None:
    """racks[p] * systems_per_rack >= systems, and the racks of a site within its number."""
    for s in m.order.sites:
        limit = m.problem.sites[s].rack_limit
        pools = [p for p in m.order.pools if _stands_in(m, p, s)]
        pools = [p for p in pools if math.isfinite(m.problem.pools[p].systems_per_rack)]
        if not math.isfinite(limit) or not pools:
            continue
        for b in _site_scopes(m, pools):
            taken = [(_racks(m, p, b), 1.0) for p in pools]
            m.row(("racks", s, b), taken + m.slack("racks", (s, b)), LE, math.floor(limit))


def _racks(m: FleetModel, p: int, b: int) -> pulp.LpVariable:
    per_rack = m.problem.pools[p].systems_per_rack
    racks = m.column(("racks", b, p), integer=True)
    pairs = [(v, 1.0) for v in _systems_in(m, p, b)] + [(racks, -per_rack)]
    m.row(("rack_space", p, b), pairs, LE, 0.0)
    return racks


def limit_supply(m: FleetModel) -> None:
    """Systems under an offer, or under all offers of one supply group, within the supply."""
    for key, offers in sorted(_supply_groups(m).items()):
        supply = min(m.problem.offers[o].supply for o in offers)
        if not math.isfinite(supply):
            continue
        scopes = {
            b
            for o in offers
            for b in scopes_of(m.problem, m.problem.offers[o].pool, replicas=False)
        }
        for b in sorted(scopes - {ALL_YEAR}) or [ALL_YEAR]:
            labels = dict.fromkeys(("x", t, o) for o in offers for t in (ALL_YEAR, b))
            pairs = [(m.columns[label], 1.0) for label in labels if label in m.columns]
            if not pairs:
                continue
            m.row(("supply", key, b), pairs + m.slack("supply", (key, b)), LE, math.floor(supply))


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
            labels = [("api", b, a, k) for k in m.order.classes[api.workload]]
            pairs = [(m.columns[la], 1.0) for la in labels if la in m.columns]
            if pairs and math.isfinite(api.max_rps):
                m.row(("api_rate", a, b), pairs, LE, api.max_rps)


def limit_capex(m: FleetModel) -> None:
    """sum of capex * x within the capex budget."""
    budget = m.problem.objective.capex_budget_usd
    if budget is None:
        return
    pairs = [
        (column, m.problem.offers[label[2]].capex_usd)
        for label, column in m.columns.items()
        if label[0] == "x" and m.problem.offers[label[2]].capex_usd
    ]
    if pairs:
        m.row(("capex",), pairs + m.slack("capex", ()), LE, budget)


def limit_annual_cost(m: FleetModel) -> None:
    """The yearly cost, contracted power included, within the annual budget."""
    budget = m.problem.objective.annual_budget_usd
    if budget is None:
        return
    usd: dict[pulp.LpVariable, float] = {}
    for term in m.terms:
        column = m.columns[term.label]
        usd[column] = usd.get(column, 0.0) + term.usd
    pairs = list(usd.items()) + m.slack("budget", ())
    m.row(("budget",), pairs, LE, budget - m.constant_usd)


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
