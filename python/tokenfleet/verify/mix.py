"""Checks a mix against the problem from first principles; shares no code with the model.

Every figure is computed again from `Problem` and the numbers of systems, replicas and requests/s:
demand in every block, classes admitted, capacity, prefill = decode, places (each replica is put
into a system), reserve, power, racks, supply, budgets, whole numbers, and the yearly cost by item.
`verify_mix` returns what is wrong; an empty list is a clean plan.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet.errors import SolverError
from tokenfleet.problem_data import (
    Api,
    ByBlock,
    Figure,
    Flow,
    Problem,
    Racks,
    Replicas,
    Scale,
    Short,
    Slot,
    Systems,
    Used,
)
from tokenfleet.verify.places import fewest_systems

FEASIBLE = 1e-5  # relative: the solver's own tolerance is 1e-6 of a scaled row
COST = 1e-9
OBJECTIVE = 1e-6


@dataclass(frozen=True)
class Violation:
    """One requirement that does not hold: what, where, and by how much in its own unit."""

    rule: str
    where: str
    excess: float

    def __str__(self) -> str:
        return f"{self.rule}: {self.where} by {self.excess:.6g}"


@dataclass(frozen=True)
class _Mix:
    """The numbers under test, keyed as people speak of them."""

    problem: Problem
    systems: Mapping[tuple[int, int], float]  # (block, offer)
    replicas: Mapping[tuple[int, int, int], float]  # (block, pool, candidate)
    flows: Mapping[tuple[int, int, int, int], float]  # (block, pool, candidate, class)
    api: Mapping[tuple[int, int, int], float]  # (block, api, class)
    short: Mapping[tuple[int, int, int], float]  # (block, workload, class)
    scale: float


def verify_mix(
    problem: Problem,
    values: Mapping[Any, float],
    stated_items: Mapping[str, float] | None = None,
    stated_value: float | None = None,
) -> list[Violation]:
    """Everything that is wrong with the values; cost and goal are compared when they are given.

    `values` are keyed by the labels of `problem_data`.
    `stated_items` are the plan's cost items, each of which must be the recomputed one to 1e-9;
    `stated_value` is that of the goal in its own unit, compared to 1e-6.
    """
    mix = _spread(problem, values)
    found = [
        *_whole_numbers(values),
        *_demand(mix),
        *_capacity(mix),
        *_mixes(mix),
        *_pairs(mix),
        *_places(mix),
        *_power(mix),
        *_racks(mix),
        *_supply(mix),
        *_api_rates(mix),
        *_budgets(mix),
        *_numbers_of_kinds(mix),
    ]
    items = _cost_items(mix)
    if stated_items is not None:
        for item in sorted({*items, *stated_items}):
            stated, computed = stated_items.get(item, 0.0), items.get(item, 0.0)
            found += _differs(f"cost item {item}", stated, computed, COST)
    if stated_value is not None:
        found += _differs("objective", stated_value, _goal_value(mix), OBJECTIVE)
    return found


def refuse(broken: Sequence[object]) -> None:
    """Stops a plan of which a check found something broken: `refuse(verify_mix(...))`.

    Raises:
        SolverError: `broken`, violations or sentences, is not empty.
    """
    if broken:
        raise SolverError(
            f"the plan failed its independent check: {'; '.join(map(str, broken[:5]))}",
            "this is a bug: please report the scenario",
        )


def annual_cost_items(problem: Problem, values: Mapping[Any, float]) -> dict[str, float]:
    """Yearly cost by item in $, block by block."""
    return _cost_items(_spread(problem, values))


def _cost_items(mix: _Mix) -> dict[str, float]:
    problem = mix.problem
    items: dict[str, float] = defaultdict(float)
    for (b, o), count in mix.systems.items():
        offer = problem.offers[o]
        pool = problem.pools[offer.pool]
        for item, usd in offer.annual_cost_items_usd.items():
            items[item] += usd * count * _part_of_year(problem, b, elastic=pool.elastic)
        if pool.elastic:
            items["rental"] += _in_block(offer.hourly_usd, b) * _paid_hours(problem, b) * count
    for (p, b), kwh in _it_kwh(mix).items():
        pool = problem.pools[p]
        items["energy"] += kwh * _in_block(pool.energy_usd_per_kwh_it, b)
        items["carbon"] += kwh * _in_block(pool.carbon_usd_per_kwh_it, b)
        items["water"] += kwh * _in_block(pool.water_usd_per_kwh_it, b)
    for (b, a, k), rate in mix.api.items():
        price = problem.apis[a].cost_usd_per_request
        usd = float(price[b, k] if price.ndim == 2 else price[k])
        items["api_tokens"] += rate * _paid_hours(problem, b) * 3600.0 * usd
    for (b, w, _), rate in mix.short.items():
        usd = problem.workloads[w].shortfall_usd_per_request or 0.0
        items["shortfall"] += rate * _paid_hours(problem, b) * 3600.0 * usd
    contracted = sum(site.contracted_power_usd_per_year for site in problem.sites)
    further = max(len(_systems_of_types(mix)) - 1, 0) * problem.objective.usd_per_further_type
    looked_after = {
        problem.pools[problem.offers[o].pool].site
        for (_, o), count in mix.systems.items()
        if count > 0 and problem.offers[o].needs_staff
    }
    staff = sum(problem.sites[s].staff_usd_per_year for s in looked_after)
    for b, block in enumerate(problem.blocks):
        if block.hours > 0:
            items["further_system_types"] += (
                further * _paid_hours(problem, b) / _year_hours(problem, b)
            )
            year_part = _paid_hours(problem, b) / _year_hours(problem, b)
            items["contracted_power"] += contracted * year_part
            items["staff"] += staff * year_part
    return {item: usd for item, usd in sorted(items.items()) if usd}


def _in_block(price: ByBlock, b: int) -> float:
    return price[b] if isinstance(price, tuple) else price


def _paid_hours(problem: Problem, b: int) -> float:
    """Hours of a block, as often as they count."""
    return problem.blocks[b].hours * problem.blocks[b].weight


def _part_of_year(problem: Problem, b: int, *, elastic: bool) -> float:
    """Part of a year's price that block b bears: elastic systems pay by the hour of 8,760."""
    year = 8760.0 if elastic else _year_hours(problem, b)
    return _paid_hours(problem, b) / year


def _it_kwh(mix: _Mix) -> dict[tuple[int, int], float]:
    """kWh a year at the equipment, by pool and block."""
    problem = mix.problem
    kwh: dict[tuple[int, int], float] = defaultdict(float)
    for (b, o), count in mix.systems.items():
        p = problem.offers[o].pool
        pool = problem.pools[p]
        hours = 8760.0 * _part_of_year(problem, b, elastic=pool.elastic)
        kwh[p, b] += count * pool.idle_it_kw * hours
    for (b, p, c), count in mix.replicas.items():
        kwh[p, b] += count * problem.candidates[c].idle_w / 1000.0 * _paid_hours(problem, b)
    for (b, p, c, k), rate in mix.flows.items():
        requests = rate * _paid_hours(problem, b) * 3600.0
        kwh[p, b] += requests * float(problem.candidates[c].energy_j[k]) / 3.6e6
    return kwh


def _figures(mix: _Mix) -> dict[Figure, float]:
    """What goals are made of: cost, energy at the meter, carbon, tokens, value at its quality."""
    problem = mix.problem
    kwh = _it_kwh(mix).items()
    tokens = value = 0.0
    for b, w, k, rate, quality in _delivered(mix):
        data, requests = problem.workloads[w], rate * _paid_hours(problem, b) * 3600.0
        each = float(data.output_tokens[k])
        if problem.objective.denominator == "total":
            each += float(data.input_tokens[k])
        tokens += requests * each
        value += requests * float(data.value_usd_per_request[k]) * quality
    return {
        "cost": sum(_cost_items(mix).values()),
        "energy": sum(amount * problem.pools[p].pue for (p, _), amount in kwh),
        "carbon": sum(amount * problem.pools[p].carbon_kg_per_kwh_it for (p, _), amount in kwh),
        "tokens": tokens,
        "value": value,
    }


def _delivered(mix: _Mix) -> Iterable[tuple[int, int, int, float, float]]:
    """Block, workload, class, requests/s and quality of all that ends a request."""
    for (b, _, c, k), rate in mix.flows.items():
        candidate = mix.problem.candidates[c]
        if candidate.role != "prefill":
            yield b, candidate.workload, k, rate, candidate.quality
    for (b, a, k), rate in mix.api.items():
        api = mix.problem.apis[a]
        yield b, api.workload, k, rate, api.quality


def goal_value(problem: Problem, values: Mapping[Any, float]) -> float:
    """The value of the problem's goal, in its own unit."""
    return _goal_value(_spread(problem, values))


def _goal_value(mix: _Mix) -> float:
    goal, figures = mix.problem.objective.goal, _figures(mix)
    total = sum(weight * figures[name] for name, weight in goal.of.items())
    if goal.per is None:
        return total
    under = figures[goal.per] / goal.per_amount
    return total / under if under > 0 else math.inf


def _year_hours(problem: Problem, b: int) -> float:
    """Hours of all blocks of the block's year, over which a yearly price is spread."""
    year = (problem.blocks[b].period, problem.blocks[b].outlook)
    return sum(x.hours for x in problem.blocks if (x.period, x.outlook) == year)


def _spread(problem: Problem, values: Mapping[Any, float]) -> _Mix:
    """Numbers per block; what holds in several blocks holds where its site is up."""
    systems: dict[tuple[int, int], float] = {}
    replicas: dict[tuple[int, int, int], float] = {}
    flows, api, short = {}, {}, {}
    for label, value in values.items():
        if isinstance(label, Systems):
            pool = problem.pools[problem.offers[label.offer].pool]
            for b in _blocks(problem, label.scope, pool.site if pool.elastic else None):
                systems[(b, label.offer)] = value
        elif isinstance(label, Replicas):
            for b in _blocks(problem, label.scope, problem.pools[label.pool].site):
                replicas[(b, label.pool, label.candidate)] = value
        elif isinstance(label, Flow):
            flows[(label.block, label.pool, label.candidate, label.cls)] = value
        elif isinstance(label, Api):
            api[(label.block, label.api, label.cls)] = value
        elif isinstance(label, Short):
            short[(label.block, label.workload, label.cls)] = value
    return _Mix(problem, systems, replicas, flows, api, short, values.get(Scale(), 0.0))


def _blocks(problem: Problem, scope: int, site: int | None) -> list[int]:
    """The one block of a scope, or those of several in which the site is up (None: all)."""
    blocks = problem.scopes[scope].blocks
    up = [b for b in blocks if site is None or problem.blocks[b].lost_site != site]
    return list(blocks) if len(blocks) == 1 else up


def _differs(rule: str, stated: float, computed: float, tolerance: float) -> list[Violation]:
    excess = abs(stated - computed)
    if excess <= tolerance * max(abs(computed), 1.0):
        return []
    return [Violation(rule, f"stated {stated:.12g}, recomputed {computed:.12g}", excess)]


def _above(rule: str, where: str, amount: float, limit: float) -> list[Violation]:
    excess = amount - limit
    return [Violation(rule, where, excess)] if excess > FEASIBLE * max(1.0, abs(limit)) else []


def _whole_numbers(values: Mapping[Any, float]) -> Iterable[Violation]:
    for label, value in values.items():
        if isinstance(label, (Systems, Replicas, Racks, Used, Slot)) and value != round(value):
            yield Violation("whole numbers", str(label), abs(value - round(value)))
        if value < -FEASIBLE:
            yield Violation("negative", str(label), -value)


def _demand(mix: _Mix) -> Iterable[Violation]:
    served: dict[tuple[int, int, int], float] = defaultdict(float)
    for (b, _, c, k), rate in mix.flows.items():
        candidate = mix.problem.candidates[c]
        if candidate.role != "prefill":
            served[(b, candidate.workload, k)] += rate
    for (b, a, k), rate in mix.api.items():
        served[(b, mix.problem.apis[a].workload, k)] += rate
    for key, rate in mix.short.items():
        if mix.problem.workloads[key[1]].shortfall_usd_per_request is None:
            yield Violation("shortfall", f"workload {mix.problem.workloads[key[1]].id}", rate)
        served[key] += rate
    for w, data in enumerate(mix.problem.workloads):
        factor = mix.scale if data.free else 1.0
        if data.free:
            yield from _above("demand", f"{data.id} below its least scale", data.min_scale, factor)
            yield from _above("demand", f"{data.id} above its scale", factor, data.max_scale)
        for b in range(len(mix.problem.blocks)):
            for k, class_id in enumerate(data.class_ids):
                want = float(data.demand_rps[b, k]) * factor
                where = f"workload {data.id}, class {class_id}, block {b}"
                yield from _above("demand", where, want, served[(b, w, k)])
                yield from _above("served beyond demand", where, served[(b, w, k)], want)


def _capacity(mix: _Mix) -> Iterable[Violation]:
    used: dict[tuple[int, int, int], float] = defaultdict(float)
    for (b, p, c, k), rate in mix.flows.items():
        candidate, pool = mix.problem.candidates[c], mix.problem.pools[p]
        where = f"pool {pool.id}, candidate {candidate.id}, block {b}"
        if mix.problem.blocks[b].lost_site == pool.site:
            yield Violation("site loss", where, rate)
        if not math.isfinite(candidate.load[k]):
            yield Violation("class not admitted", where, rate)
            continue
        if candidate.system != pool.system or pool.site not in candidate.sites:
            yield Violation("candidate not allowed in pool", where, rate)
        if pool.interruptible and not mix.problem.workloads[candidate.workload].interruptible:
            yield Violation("interruptible pool", where, rate)
        used[(b, p, c)] += rate * float(candidate.load[k])
    for (b, p, c), load in used.items():
        where = f"pool {mix.problem.pools[p].id}, candidate {mix.problem.candidates[c].id}"
        carried = mix.replicas.get((b, p, c), 0.0) * _in_block(mix.problem.pools[p].speed, b)
        yield from _above("capacity", where, load, carried)


def _mixes(mix: _Mix) -> Iterable[Violation]:
    """Classes of a candidate with a mix are served in its proportions."""
    of_place: dict[tuple[int, int, int], dict[int, float]] = defaultdict(dict)
    for (b, p, c, k), rate in mix.flows.items():
        if mix.problem.candidates[c].mix is not None:
            of_place[b, p, c][k] = rate
    for (b, p, c), rates in of_place.items():
        share, total = np.array(mix.problem.candidates[c].mix), sum(rates.values())
        where = f"pool {mix.problem.pools[p].id}, candidate {mix.problem.candidates[c].id}"
        for k, part in enumerate(share / share.sum()):
            want, rate = float(part) * total, rates.get(k, 0.0)
            yield from _above(f"share of class {k}, block {b}", where, want, rate)
            yield from _above(f"more than the share of class {k}, block {b}", where, rate, want)


def _pairs(mix: _Mix) -> Iterable[Violation]:
    balance: dict[tuple[int, int, int, int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (b, p, c, k), rate in mix.flows.items():
        candidate = mix.problem.candidates[c]
        if candidate.role != "serve":
            key = (b, mix.problem.pools[p].site, candidate.workload, candidate.pair, k)
            balance[key][candidate.role == "decode"] += rate
    for key, (prefill, decode) in balance.items():
        where = f"block, site, workload, pair, class {key}"
        yield from _above("prefill above decode", where, prefill, decode)
        yield from _above("decode above prefill", where, decode, prefill)


def _places(mix: _Mix) -> Iterable[Violation]:
    """Each pool's replicas put into its systems, the reserve left empty."""
    counts: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for (b, p, c), n in mix.replicas.items():
        counts[(b, p)][mix.problem.candidates[c].gpus] += round(n)
    for (b, p), sizes in counts.items():
        pool = mix.problem.pools[p]
        usable = round(_pool_systems(mix, b, p)) - (pool.reserve if any(sizes.values()) else 0)
        need = fewest_systems(pool.gpus_per_system, dict(sizes), usable)
        yield from _above("packing", f"pool {pool.id}, block {b}", need, usable)


def _pool_systems(mix: _Mix, b: int, p: int) -> float:
    offers = [o for o, offer in enumerate(mix.problem.offers) if offer.pool == p]
    return sum(mix.systems.get((b, o), 0.0) for o in offers)


def _power(mix: _Mix) -> Iterable[Violation]:
    for s, site in enumerate(mix.problem.sites):
        for b in range(len(mix.problem.blocks)):
            kw = 0.0
            for p, pool in enumerate(mix.problem.pools):
                if pool.site == s and not pool.hosted:
                    basis = pool.pue if site.power_is_utility else 1.0
                    kw += _pool_systems(mix, b, p) * pool.provisioned_it_kw * basis
            yield from _above("power", f"site {site.id}, block {b}, kW", kw, site.power_limit_kw)


def _racks(mix: _Mix) -> Iterable[Violation]:
    for s, site in enumerate(mix.problem.sites):
        for b in range(len(mix.problem.blocks)):
            racks = 0.0
            for p, pool in enumerate(mix.problem.pools):
                if pool.site == s and not pool.hosted:
                    systems = _pool_systems(mix, b, p)
                    racks += math.ceil(systems / pool.systems_per_rack - 1e-9)
                    racks -= systems * pool.racks_brought
            yield from _above("racks", f"site {site.id}, block {b}", racks, site.rack_limit)


def _supply(mix: _Mix) -> Iterable[Violation]:
    taken: dict[tuple[int, str], float] = defaultdict(float)
    supply: dict[str, float] = {}
    for (b, o), count in mix.systems.items():
        offer = mix.problem.offers[o]
        name = offer.supply_group or f"offer {offer.id}"
        taken[(b, name)] += count
        supply[name] = min(supply.get(name, math.inf), offer.supply)
    for (b, name), count in taken.items():
        yield from _above("supply", f"{name}, block {b}", count, supply[name])


def _api_rates(mix: _Mix) -> Iterable[Violation]:
    rates: dict[tuple[int, int], float] = defaultdict(float)
    for (b, a, _), rate in mix.api.items():
        rates[(b, a)] += rate
    for (b, a), rate in rates.items():
        api = mix.problem.apis[a]
        yield from _above("API rate", f"API {api.id}, block {b}", rate, api.max_rps)


def _systems_of_types(mix: _Mix) -> dict[str, dict[int, float]]:
    """Systems of each type that stands, by block."""
    found: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for (b, o), count in mix.systems.items():
        if count > 0:
            found[mix.problem.pools[mix.problem.offers[o].pool].system][b] += count
    return found


def _numbers_of_kinds(mix: _Mix) -> Iterable[Violation]:
    """System types, systems of each, layouts of each workload."""
    objective, types = mix.problem.objective, _systems_of_types(mix)
    for name, counts in types.items():
        least, fewest = objective.least_systems_per_type, min(counts.values())
        yield from _above("systems of a type", name, least, fewest)
    if objective.most_system_types is not None:
        most_types = objective.most_system_types
        yield from _above("system types", ", ".join(sorted(types)), len(types), most_types)
    if objective.most_layouts_per_workload is not None:
        layouts: dict[int, set[int]] = defaultdict(set)
        for (_, _, c), n in mix.replicas.items():
            if n > 0:
                layouts[mix.problem.candidates[c].workload].add(c)
        for w, found in layouts.items():
            where = f"workload {mix.problem.workloads[w].id}"
            yield from _above("layouts", where, len(found), objective.most_layouts_per_workload)


def _budgets(mix: _Mix) -> Iterable[Violation]:
    objective = mix.problem.objective
    if objective.capex_budget_usd is not None:
        most: dict[int, float] = defaultdict(float)
        for (_, o), count in mix.systems.items():
            most[o] = max(most[o], count)
        capex = sum(mix.problem.offers[o].capex_usd * count for o, count in most.items())
        yield from _above("capex budget", "USD", capex, objective.capex_budget_usd)
    if objective.embodied_carbon_budget_kg is not None:
        standing: dict[int, float] = defaultdict(float)
        for (b, o), count in mix.systems.items():
            standing[b] += mix.problem.offers[o].embodied_carbon_kg * count
        kg = max(standing.values(), default=0.0)
        most_kg = objective.embodied_carbon_budget_kg
        yield from _above("embodied carbon budget", "kg CO2e", kg, most_kg)
    if objective.annual_budget_usd is not None:
        cost = sum(_cost_items(mix).values())
        yield from _above("annual budget", "USD", cost, objective.annual_budget_usd)
