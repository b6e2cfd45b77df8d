"""Constraint families of the mix, one function each, and the table of them.

A family named in `FleetModel.relax` gets one slack column per row, so that an infeasible problem
can say by how much: `Slack` of the row. A new limit is a function with its formula as docstring and
an entry of `FAMILIES`, which diagnosis, plan, report and `evaluate-fleets` read; its twin in
`verify` is written apart.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from operator import attrgetter

import numpy as np
import pulp

from tokenfleet.errors import Change
from tokenfleet.mix.model import choices
from tokenfleet.mix.model.columns import FleetModel
from tokenfleet.mix.model.family import (
    ALL,
    Amount,
    Family,
    StatedLimit,
    Unit,
    Usage,
    peak,
    total,
    when,
)
from tokenfleet.mix.model.index import (
    ApiRate,
    Budget,
    Capacity,
    Capex,
    Demand,
    EmbodiedCarbon,
    Mixed,
    Pair,
    Power,
    RackLimit,
    RackSpace,
    Reserve,
    Row,
    Supply,
)
from tokenfleet.mix.model.packing import pack_pools
from tokenfleet.mix.model.stock import hold_stock, limit_spending, price_changes
from tokenfleet.problem_data import Api, Flow, Problem, Racks, Short, Systems, Used, only_block

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
                    pairs.append((m.columns[m.scale_in(b)], -demand))
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


# Of a flow, whose classes stand together.
_PLACE = attrgetter("block", "pool", "candidate")


def respect_capacity(m: FleetModel) -> None:
    """sum over k of load[c, k] * f[b, p, c, k] <= speed[b, p] * n[b, p, c]."""
    pools = m.problem.pools
    loads = [candidate.load.tolist() for candidate in m.problem.candidates]
    for place, found in itertools.groupby(m.of(Flow).items(), lambda item: _PLACE(item[0])):
        row = Capacity(*place)
        load = loads[row.candidate]
        pairs = [(column, load[flow.cls]) for flow, column in found]
        speed = pools[row.pool].speed
        speed = speed[row.block] if isinstance(speed, tuple) else speed
        pairs.append((m.columns[m.replicas_of(row)], -speed))
        m.row(row, pairs, LE, 0.0)


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


def keep_mixes(m: FleetModel) -> None:
    """f[b, p, c, k] / share[k] = f[b, p, c, j] / share[j] for neighbours j, k of a mix."""
    mixed = [(f, v) for f, v in m.of(Flow).items() if m.problem.candidates[f.candidate].mix]
    for (block, p, c), found in itertools.groupby(mixed, lambda item: _PLACE(item[0])):
        share = m.problem.candidates[c].mix or ()
        for (one, f), (other, g) in itertools.pairwise(found):
            pairs = [(f, share[other.cls]), (g, -share[one.cls])]
            m.row(Mixed(block, p, c, other.cls), pairs, EQ, 0.0)


def keep_reserve(m: FleetModel) -> None:
    """A pool with a reserve of k may hold systems only when used[b, p] = 1, which costs k of them;
    where its number differs by block, it keeps them in the blocks in which it holds any."""
    for p in m.order.pools:
        if not m.problem.pools[p].reserve or not m.eligible[p]:
            continue
        most = m.frame.standing[p]
        for scope in m.scopes.systems(p):
            used = m.column(Used(scope, p), 1.0, integer=m.is_firm(scope))
            systems = m.systems(p, scope)
            bound = min(most, sum(math.inf if v.upBound is None else v.upBound for v in systems))
            pairs = [(v, 1.0) for v in systems] + [(used, -bound)]
            m.row(Reserve(p, scope), pairs, LE, 0.0)


def limit_power(m: FleetModel) -> None:
    """Provisioned kW (times PUE where the limit is utility power) within each site's limit."""
    standing = _standing(m)
    for s in m.order.sites:
        pools = standing.get(s, [])
        for scope in _site_scopes(m, pools):
            site, pairs = m.problem.at(scope).sites[s], []
            if not math.isfinite(site.power_limit_kw):
                continue
            for p in pools:
                kw = m.problem.pools[p].provisioned_it_kw * _basis(m.problem, p)
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
        pools = [p for p in standing.get(s, []) if math.isfinite(per_rack[p])]
        for scope in _site_scopes(m, pools):
            limit = m.problem.at(scope).sites[s].rack_limit
            if not math.isfinite(limit):
                continue
            taken, row = [(_racks(m, p, scope), 1.0) for p in pools], RackLimit(s, scope)
            for p in standing.get(s, []):
                if m.problem.pools[p].racks_brought:
                    brought = m.problem.pools[p].racks_brought
                    taken += [(v, -brought) for v in m.systems(p, scope)]
            m.row(row, taken + m.slack(row), LE, math.floor(limit))


def _racks(m: FleetModel, p: int, scope: int) -> pulp.LpVariable:
    per_rack = m.problem.pools[p].systems_per_rack
    racks = m.column(Racks(scope, p), integer=m.is_firm(scope))
    pairs = [(v, 1.0) for v in m.systems(p, scope)] + [(racks, -per_rack)]
    m.row(RackSpace(p, scope), pairs, LE, 0.0)
    return racks


def limit_supply(m: FleetModel) -> None:
    """Systems under an offer, or under all offers of one supply group, within the supply."""
    for key, offers in sorted(_supply_groups(m).items()):
        counted = (scope for o in offers for scope in m.scopes.systems(m.problem.offers[o].pool))
        for scope in m.scopes.finest(counted):
            supply = min(m.problem.at(scope).offers[o].supply for o in offers)
            if not math.isfinite(supply):
                continue
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
            most = m.problem.at(only_block(b)).apis[a].max_rps
            if pairs and math.isfinite(most):
                m.row(ApiRate(a, b), pairs + m.slack(ApiRate(a, b)), LE, most)


def limit_capex(m: FleetModel) -> None:
    """sum of capex * x within the capex budget; over a horizon `stock.limit_spending`."""
    budget = m.problem.objective.capex_budget_usd
    if budget is None or m.problem.horizon is not None:
        return
    pairs = [
        (column, m.problem.offers[label.offer].capex_usd)
        for label, column in m.of(Systems).items()
        if m.problem.offers[label.offer].capex_usd
    ]
    if pairs:
        m.row(Capex(), pairs + m.slack(Capex()), LE, budget)


def limit_embodied_carbon(m: FleetModel) -> None:
    """sum of embodied kg * x within the budget, over all systems that stand at once."""
    budget = m.problem.objective.embodied_carbon_budget_kg
    if budget is None:
        return
    offers = [o for o in m.order.offers if m.problem.offers[o].embodied_carbon_kg]
    counted = (scope for o in offers for scope in m.scopes.systems(m.problem.offers[o].pool))
    for scope in m.scopes.finest(counted):
        pairs = [
            (v, m.problem.offers[o].embodied_carbon_kg) for o in offers for v in _under(m, o, scope)
        ]
        if pairs:
            row = EmbodiedCarbon(scope)
            m.row(row, pairs + m.slack(row), LE, budget)


def limit_annual_cost(m: FleetModel) -> None:
    """The yearly cost, contracted power included, within the annual budget; over a horizon
    `stock.limit_spending`."""
    budget = m.problem.objective.annual_budget_usd
    if budget is None or m.problem.horizon is not None:
        return
    usd: dict[pulp.LpVariable, float] = {}
    for term in m.terms:
        column = m.columns[term.label]
        usd[column] = usd.get(column, 0.0) + term.usd
    pairs = list(usd.items()) + m.slack(Budget())
    m.row(Budget(), pairs, LE, budget - m.constant_usd)


# What the limits above say of themselves


def _basis(problem: Problem, p: int) -> float:
    """kW of a site's limit over kW of IT in the pool."""
    pool = problem.pools[p]
    return pool.pue if problem.sites[pool.site].power_is_utility else 1.0


def _own_pools(use: Usage, site: StatedLimit) -> list[int]:
    """Pools that stand in the site's own rooms."""
    pools = enumerate(use.problem.pools)
    return [p for p, pool in pools if pool.site in site.rows and not pool.hosted]


def power_places(problem: Problem) -> list[StatedLimit]:
    """Every site with its power limit, inf where none is stated."""
    return [
        StatedLimit(
            site.id, site.power_limit_kw, (s,), "utility" if site.power_is_utility else "IT"
        )
        for s, site in enumerate(problem.sites)
    ]


def power_used(use: Usage, site: StatedLimit) -> Amount:
    """kW that systems hold at a site, in the basis of its limit."""
    kw = {p: use.problem.pools[p].provisioned_it_kw for p in _own_pools(use, site)}
    held = ([use.in_pool(p, b) * kw[p] * _basis(use.problem, p) for p in kw] for b in use.blocks)
    return peak([total(amounts) for amounts in held])


def _rack_places(problem: Problem) -> list[StatedLimit]:
    return [StatedLimit(site.id, site.rack_limit, (s,)) for s, site in enumerate(problem.sites)]


def _racks_used(use: Usage, site: StatedLimit) -> Amount:
    per_rack = {p: use.problem.pools[p].systems_per_rack for p in _own_pools(use, site)}
    return peak(
        [total(np.ceil(use.in_pool(p, b) / per_rack[p] - 1e-9) for p in per_rack)
         for b in use.blocks]
    )  # fmt: skip


def _supply_places(problem: Problem) -> list[StatedLimit]:
    offers: dict[str, list[int]] = {}
    for o, offer in enumerate(problem.offers):
        offers.setdefault(offer.stated_as, []).append(o)
    return [
        StatedLimit(name, min(problem.offers[o].supply for o in found), tuple(found))
        for name, found in offers.items()
    ]


def _supply_used(use: Usage, supply: StatedLimit) -> Amount:
    return peak([total(use.systems(o, b) for o in supply.rows) for b in use.blocks])


def _api_places(problem: Problem) -> list[StatedLimit]:
    return [StatedLimit(api.id, api.max_rps, (a,)) for a, api in enumerate(problem.apis)]


def _api_used(use: Usage, api: StatedLimit) -> Amount:
    return peak([total(use.requests(a, b) for a in api.rows) for b in use.blocks])


def _budget(most: float | None) -> list[StatedLimit]:
    return [] if most is None else [StatedLimit(ALL, most)]


def capex_used(use: Usage, _: StatedLimit | None = None) -> Amount:
    """Capital of all systems, each offer at its peak."""
    offers = enumerate(use.problem.offers)
    return total(
        peak([use.systems(o, b) for b in use.blocks]) * offer.capex_usd for o, offer in offers
    )


def _embodied_carbon_used(use: Usage, _: StatedLimit) -> Amount:
    kg = {o: offer.embodied_carbon_kg for o, offer in enumerate(use.problem.offers)}
    return peak([total(use.systems(o, b) * kg[o] for o in kg) for b in use.blocks])


def _types_used(use: Usage, _: StatedLimit) -> Amount:
    of_type: dict[str, list[int]] = {}
    for p, pool in enumerate(use.problem.pools):
        of_type.setdefault(pool.system, []).append(p)
    most = (
        peak([use.in_pool(p, b) for p in found for b in use.blocks]) for found in of_type.values()
    )
    return total(np.minimum(np.ceil(amount), 1.0) for amount in most)


def _rate(rps: float) -> str:
    """A rate with four digits, whole from a thousand on: `22.74`, `24,000`."""
    return f"{rps:,.0f}" if rps >= 1e3 else f"{rps:.4g}"


class _Served(Family):
    """Demand: its rows are by class and block, and it is met or it is not."""

    def size(self, problem: Problem, row: Row) -> float:
        """Requests/s that are asked for."""
        assert isinstance(row, Demand)
        workload = problem.workloads[row.workload]
        scale = max(workload.min_scale, 1.0) if workload.free else 1.0
        return float(workload.demand_rps[row.block, row.cls]) * scale

    def short(self, problem: Problem, row: Row, amount: float) -> str:
        """Which class is not served, and how much of it."""
        assert isinstance(row, Demand)
        workload = problem.workloads[row.workload]
        class_id, size = workload.class_ids[row.cls], self.size(problem, row)
        return (
            f"workload {workload.id}, class {class_id}: {_rate(amount)} of {_rate(size)} "
            f"requests/s cannot be served{when(problem, row)}"
        )

    def change(self, problem: Problem, row: Row, amount: float) -> Change:
        """The same, field by field."""
        assert isinstance(row, Demand)
        workload = problem.workloads[row.workload]
        where = f"{workload.id}, {workload.class_ids[row.cls]}"
        size, text = self.size(problem, row), self.short(problem, row, amount)
        return Change("demand", where, amount, size, "requests_per_s", text)

    def loosened(self, problem: Problem, row: Row, amount: float) -> Problem:
        """The problem with so many requests/s less of a class in a block."""
        assert isinstance(row, Demand)
        workload = problem.workloads[row.workload]
        asked = workload.demand_rps.copy()
        share = amount / (workload.min_scale or 1.0) if workload.free else amount
        asked[row.block, row.cls] = max(asked[row.block, row.cls] - share, 0.0)
        less = replace(workload, demand_rps=asked)
        workloads = list(problem.workloads)
        workloads[row.workload] = less
        return replace(problem, workloads=tuple(workloads))


_KW = Unit("kw", "{:.6g} kW")
_RACKS = Unit("racks", "{:.6g}", whole=True)
_SYSTEMS = Unit("systems", "{:.6g}", whole=True)
_TYPES = Unit("types", "{:.6g}", whole=True)
_PER_S = Unit("requests_per_s", "{:.6g} requests/s")
_KG = Unit("kg", "{:,.0f} kg CO2e", step=1.0)
_USD = Unit("usd", "{:,.0f} USD", step=1.0)


def _budgets_by_year(problem: Problem) -> bool:
    """Whether a node of a horizon has a yearly budget."""
    stated = (year.objective.annual_budget_usd for year, _ in problem.parts)
    return problem.horizon is not None and any(usd is not None for usd in stated)


#: Every family of constraints, in the order in which the model adds them.
FAMILIES: tuple[Family, ...] = (
    Family(
        "reserve",
        keep_reserve,
        over="reserve",
        grows=False,
        holds=lambda problem: any(pool.reserve for pool in problem.pools),
    ),
    Family(
        "stock",
        hold_stock,
        over="systems",  # but for rows of reserves, which do not grow themselves
        holds=lambda problem: problem.horizon is not None,
        more_rows=("kept", "delivery", "least_order", "used_for"),
    ),
    Family(
        "change",
        price_changes,
        grows=False,
        holds=lambda problem: bool(problem.horizon and problem.horizon.change_usd_per_gpu),
    ),
    Family("pack", pack_pools, over="requests", grows=True, more_rows=("place", "slots", "whole")),
    Family("capacity", respect_capacity, over="requests", grows=True),
    _Served("demand", meet_demand, over="requests", grows=True, gives_way=True, unit=_PER_S),
    Family(
        "pair",
        pair_phases,
        over="requests",
        grows=False,
        holds=lambda problem: any(c.role != "serve" for c in problem.candidates),
    ),
    Family(
        "mixed",
        keep_mixes,
        over="requests",
        grows=True,
        holds=lambda problem: any(c.mix for c in problem.candidates),
    ),
    Family(
        "power",
        limit_power,
        over="systems",
        gives_way=True,
        words="power",
        key="power_kw",
        field="power_limit_kw",
        unit=_KW,
        of="site",
        places=power_places,
        used=power_used,
    ),
    Family(
        "racks",
        limit_racks,
        over="systems",
        more_rows=("rack_space",),
        gives_way=True,
        words="racks",
        key="racks",
        field="rack_limit",
        unit=_RACKS,
        of="site",
        places=_rack_places,
        used=_racks_used,
    ),
    Family(
        "supply",
        limit_supply,
        over="systems",
        gives_way=True,
        words="supply",
        key="supply_systems",
        field="supply",
        unit=_SYSTEMS,
        of="offer",
        places=_supply_places,
        used=_supply_used,
    ),
    Family(
        "api_rate",
        limit_api_rate,
        over="requests",
        grows=True,
        gives_way=True,
        words="API rate",
        key="api_requests_per_s",
        field="max_rps",
        unit=_PER_S,
        of="api",
        places=_api_places,
        used=_api_used,
    ),
    Family(
        "capex",
        limit_capex,
        over="systems",
        gives_way=True,
        words="capex budget",
        key="capex_usd",
        field="capex_budget_usd",
        unit=_USD,
        places=lambda problem: _budget(problem.objective.capex_budget_usd),
        used=capex_used,
    ),
    Family(
        "embodied_carbon",
        limit_embodied_carbon,
        over="systems",
        gives_way=True,
        words="embodied carbon budget",
        key="embodied_carbon_kg",
        field="embodied_carbon_budget_kg",
        unit=_KG,
        places=lambda problem: _budget(problem.objective.embodied_carbon_budget_kg),
        used=_embodied_carbon_used,
    ),
    Family(
        "least_per_type",
        choices.keep_types_together,
        holds=lambda problem: problem.objective.least_systems_per_type > 1,
    ),
    Family(
        "types",
        choices.limit_types,
        gives_way=True,
        words="system types",
        key="system_types",
        field="most_system_types",
        unit=_TYPES,
        places=lambda problem: _budget(problem.objective.most_system_types),
        used=_types_used,
    ),
    Family(
        "layouts",
        choices.limit_layouts,
        holds=lambda problem: problem.objective.most_layouts_per_workload is not None,
    ),
    Family(
        "further_type",
        choices.price_further_types,
        holds=lambda problem: problem.objective.usd_per_further_type > 0,
        more_rows=("if_used",),
    ),
    Family(
        "site_staff",
        choices.price_staff,
        holds=lambda problem: any(site.staff_usd_per_year > 0 for site in problem.sites),
        more_rows=("if_used",),
    ),
    Family(
        "spending",
        limit_spending,
        over="cost",
        grows=False,
        holds=_budgets_by_year,  # what is paid for orders alone holds for any pairs
    ),
    Family(
        "budget",
        limit_annual_cost,
        over="cost",
        grows=False,
        gives_way=True,
        words="annual budget",
        key="annual_cost_usd",
        field="annual_budget_usd",
        unit=_USD,
        places=lambda problem: _budget(problem.objective.annual_budget_usd),
        used=lambda use, _: use.annual_cost_usd,
    ),
)


def family_of(row: Row) -> Family | None:
    """The family that a row belongs to, if it is one of the table."""
    return next((f for f in FAMILIES if row.family in (f.name, *f.more_rows)), None)


def words_of(name: str) -> str:
    """What people call a family; a name that is none of them as it is.

    >>> words_of("budget"), words_of("TTFT limit")
    ('annual budget', 'TTFT limit')
    """
    return next((f.words for f in FAMILIES if f.name == name and f.words), name)


def size_of_limit(problem: Problem, row: Row) -> float:
    """The limit that a row of the table holds, in its own unit."""
    family = family_of(row)
    assert family is not None, row
    return family.size(problem, row)


def that_give_way(problem: Problem) -> list[str]:
    """Names of the families that bind in the problem and may be relaxed, demand last."""
    binding = [f for f in FAMILIES if f.gives_way and f.is_active(problem)]
    return [f.name for f in sorted(binding, key=lambda f: f.over == "requests")]
