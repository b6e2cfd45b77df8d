"""Slow, obvious answers to the mix: enumeration, and an independent model solved by SCIP.

Both are written from design section 4 and share nothing with `tokenfleet.mix.model`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyscipopt import Model, quicksum

from tokenfleet.problem_data import Pool, Problem


def at(price: float | tuple[float, ...], b: int) -> float:
    """A price in block b."""
    return price[b] if isinstance(price, tuple) else price


def usd_per_kwh(pool: Pool, b: int) -> float:
    """Everything that a kWh at the IT equipment costs in block b."""
    return (
        at(pool.energy_usd_per_kwh_it, b)
        + at(pool.carbon_usd_per_kwh_it, b)
        + at(pool.water_usd_per_kwh_it, b)
    )


def api_usd(problem: Problem, a: int, b: int, k: int) -> float:
    """Price of a request of class k to an API in block b."""
    cost = problem.apis[a].cost_usd_per_request
    return float(cost[b][k] if cost.ndim == 2 else cost[k])


def _pools_of(problem: Problem, c: int) -> list[int]:
    candidate = problem.candidates[c]
    return [
        p
        for p, pool in enumerate(problem.pools)
        if pool.system == candidate.system
        and pool.site in candidate.sites
        and (not pool.interruptible or problem.workloads[candidate.workload].interruptible)
    ]


def _fewest(gpus: int, sizes: tuple[int, ...]) -> int:
    """Bin packing by trying every place for every replica."""
    if not sizes:
        return 0
    best = len(sizes)

    def put(i: int, free: list[int]) -> None:
        nonlocal best
        if len(free) >= best:
            return
        if i == len(sizes):
            best = len(free)
            return
        for j in range(len(free)):
            if free[j] >= sizes[i]:
                put(i + 1, [*free[:j], free[j] - sizes[i], *free[j + 1 :]])
        put(i + 1, [*free, gpus - sizes[i]])

    put(0, [])
    return best


def brute_force(problem: Problem) -> float:
    """Least yearly cost by trying every useful number of replicas in every column.

    For one class per workload, one offer per pool, replicas no larger than a system, no relayout.
    Given the replicas, the flows of each workload fill the cheapest capacity first.
    """
    columns = []
    for c, candidate in enumerate(problem.candidates):
        for p in _pools_of(problem, c):
            peak = max(float(row[0]) for row in problem.workloads[candidate.workload].demand_rps)
            needed = math.ceil(peak * float(candidate.load[0]) - 1e-12)
            scopes = range(len(problem.blocks)) if problem.pools[p].elastic else [-1]
            columns += [(b, p, c, needed) for b in scopes]
    best = math.inf
    for counts in itertools.product(*(range(n + 1) for *_, n in columns)):
        replicas = {key[:3]: n for key, n in zip(columns, counts, strict=True) if n}
        fixed = _system_cost(problem, replicas)
        if fixed < best:
            best = min(best, fixed + _flow_cost(problem, replicas))
    return best


def _system_cost(problem: Problem, replicas: dict[tuple[int, int, int], int]) -> float:
    """Cost of systems and idle power; inf when a limit is broken."""
    cost, kw = 0.0, [0.0] * len(problem.sites)
    for p, pool in enumerate(problem.pools):
        offer = next(o for o in problem.offers if o.pool == p)
        for b in range(len(problem.blocks)) if pool.elastic else [-1]:
            here = [b] if b >= 0 else range(len(problem.blocks))
            sizes = [
                problem.candidates[c].gpus
                for (rb, rp, c), n in replicas.items()
                for _ in range(n)
                if rp == p and rb == b
            ]
            if not sizes:
                continue
            systems = _fewest(pool.gpus_per_system, tuple(sorted(sizes, reverse=True)))
            systems += pool.reserve
            if systems > offer.supply:
                return math.inf
            usd = sum(offer.annual_cost_items_usd.values())
            for t in here:
                hours = problem.blocks[t].hours
                hour = at(offer.hourly_usd, t) + pool.idle_it_kw * usd_per_kwh(pool, t)
                cost += systems * hours * (usd / 8760.0 + hour)
            if not pool.hosted:
                utility = problem.sites[pool.site].power_is_utility
                kw[pool.site] += systems * pool.provisioned_it_kw * (pool.pue if utility else 1)
    for (b, p, c), n in replicas.items():
        drawn_kw = n * problem.candidates[c].idle_w / 1000.0
        for t in [b] if b >= 0 else range(len(problem.blocks)):
            cost += drawn_kw * problem.blocks[t].hours * usd_per_kwh(problem.pools[p], t)
    over = any(k > s.power_limit_kw + 1e-9 for k, s in zip(kw, problem.sites, strict=True))
    return math.inf if over else cost


def _flow_cost(problem: Problem, replicas: dict[tuple[int, int, int], int]) -> float:
    cost = 0.0
    for b, block in enumerate(problem.blocks):
        for w, data in enumerate(problem.workloads):
            merit = [
                (
                    float(problem.candidates[c].energy_j[0]) / 3.6e6
                    * usd_per_kwh(problem.pools[p], b),
                    n / float(problem.candidates[c].load[0]),
                )
                for (rb, p, c), n in replicas.items()
                if rb in (-1, b) and problem.candidates[c].workload == w
            ]  # fmt: skip
            merit += [
                (api_usd(problem, a, b, 0), api.max_rps)
                for a, api in enumerate(problem.apis)
                if api.workload == w
            ]
            left = float(data.demand_rps[b, 0])
            for usd, rate in sorted(merit):
                used = min(left, rate)
                cost += used * usd * block.hours * 3600.0
                left -= used
            if left > 1e-9:
                return math.inf
    return cost


def _patterns(gpus: int, sizes: list[int]) -> list[tuple[int, ...]]:
    counts = itertools.product(*(range(gpus // g + 1) for g in sizes))
    return [n for n in counts if sum(a * g for a, g in zip(n, sizes, strict=True)) <= gpus]


@dataclass(frozen=True)
class Judged:
    """What SCIP says: the best value in the objective's own unit and sense, with its bound."""

    status: str  # optimal, infeasible, unbounded or undecided
    value: float
    bound: float


Weighted = list[tuple[float, Any]]  # coefficient and variable


class ScipMix:
    """The mix in SCIP, with every cutting pattern written out; any objective."""

    def __init__(self, problem: Problem, seconds: float = 60.0) -> None:
        self.problem = problem
        self.model = Model()
        self.model.hideOutput()
        self.model.setParam("limits/gap", 0.0)
        self.model.setParam("limits/time", seconds)
        self.model.setParam("numerics/feastol", 1e-9)
        self.usd: Weighted = []
        self.kwh: Weighted = []  # at the meter
        self.carbon: Weighted = []
        self.tokens: Weighted = []
        self.value: Weighted = []
        self.served: dict[tuple[int, int, int], Weighted] = {}
        self.phases: dict[tuple[int, ...], Weighted] = {}
        self.kw: dict[tuple[int, int], Weighted] = {}
        self.racks: dict[tuple[int, int], Weighted] = {}
        self.taken: dict[tuple[str, int], Weighted] = {}
        self.capex: Weighted = []
        self.contracted = sum(s.contracted_power_usd_per_year for s in problem.sites)
        self.embodied: dict[int, Weighted] = {}  # kg by block
        self.standing: dict[str, dict[int, list[Any]]] = {}  # by type and block: systems
        self.working: dict[str, dict[int, list[Any]]] = {}  # those on which something may run
        self.staffed: dict[int, list[Any]] = {}  # by site: systems that its staff looks after
        self.of_candidate: dict[int, list[Any]] = {}  # replicas
        self.scale = self._scale()
        for p in range(len(problem.pools)):
            self._pool(p)
        self._apis()
        self._shortfall()
        self._demand()
        self._kinds()
        self._limits()

    def cost(self) -> float:
        """Optimal cost; inf when SCIP proves that there is no plan."""
        judged = self.best("least_cost")
        assert judged.status in ("optimal", "infeasible"), judged
        return judged.value if judged.status == "optimal" else math.inf

    def best(self, kind: str | None = None) -> Judged:
        """The best value of an objective, by default the problem's own; not for ratios."""
        kind = kind or self.problem.objective.kind
        sign = -1.0 if kind in ("most_tokens", "most_value") else 1.0
        terms, constant = {
            "least_cost": (self.usd, self.contracted),
            "least_energy": (self.kwh, 0.0),
            "least_carbon": (self.carbon, 0.0),
            "most_tokens": (self.tokens, 0.0),
            "most_value": (self.value + _times(-1.0, self.usd), -self.contracted),
        }[kind]
        least = self._least(_times(sign, terms), sign * constant)
        return Judged(least.status, sign * least.value, sign * least.bound)

    def cost_minus(self, usd_per_token: float) -> Judged:
        """The least of cost - usd_per_token * tokens: below zero if a plan costs less a token."""
        return self._least(self.usd + _times(-usd_per_token, self.tokens), self.contracted)

    def _least(self, terms: Weighted, constant: float) -> Judged:
        # Yearly figures reach 1e15, beyond SCIP's tolerances: the largest weight becomes 1,000.
        factor = 1e3 / (max((abs(a) for a, _ in terms), default=0.0) or 1.0)
        self.model.setObjective(quicksum(a * factor * v for a, v in terms))
        self.model.optimize()
        status = self.model.getStatus()
        if status == "inforunbd":
            status = "unbounded"
        if status not in ("optimal", "infeasible", "unbounded"):
            status = "undecided"
        found = status in ("optimal", "undecided") and self.model.getNSols() > 0
        value = self.model.getObjVal() / factor + constant if found else math.nan
        bound = self.model.getDualbound() / factor + constant if found else math.nan
        return Judged(status, value, bound)

    def _whole(self, most: float) -> Any:
        return self.model.addVar(vtype="I", ub=None if math.isinf(most) else most)

    def _scale(self) -> Any:
        free = [w for w in self.problem.workloads if w.free]
        if not free:
            return None
        high = min(w.max_scale for w in free)
        low = max(w.min_scale for w in free)
        return self.model.addVar(lb=low, ub=None if math.isinf(high) else high)

    def _pool(self, p: int) -> None:
        problem, pool = self.problem, self.problem.pools[p]
        up = [b for b, block in enumerate(problem.blocks) if block.lost_site != pool.site]
        candidates = [c for c in range(len(problem.candidates)) if p in _pools_of(problem, c)]
        offers = [o for o, offer in enumerate(problem.offers) if offer.pool == p]
        year = {} if pool.elastic else self._systems(offers)
        self.capex += [(problem.offers[o].capex_usd, x) for o, x in year.items()]
        # Owned systems count towards their type also where a block has lost their site.
        self._stand(pool.system, range(len(problem.blocks)), year, bool(candidates))
        used = self.model.addVar(vtype="B")
        held: dict[int, Any] = {}
        for b in up:
            systems = year or self._systems(offers)
            total = quicksum(systems.values())
            if pool.elastic:
                used = self.model.addVar(vtype="B")
            if pool.reserve:
                self.model.addCons(total <= MOST_SYSTEMS * used)
            if pool.elastic:
                self._stand(pool.system, [b], systems, bool(candidates))
            self._pay(p, b, systems)
            self._room(p, b, systems)
            fixed = not pool.elastic and not problem.relayout
            if not held or not fixed:
                held = {c: self._whole(math.inf) for c in candidates}
                for c, n in held.items():
                    self.of_candidate.setdefault(c, []).append(n)
                self._pack(p, held, total - pool.reserve * used)
            self._flows(b, p, held)

    def _stand(
        self, system: str, blocks: Iterable[int], systems: dict[int, Any], able: bool
    ) -> None:
        """Notes systems of a type; those on which nothing may run do not count for its least."""
        for b in blocks:
            self.standing.setdefault(system, {}).setdefault(b, []).extend(systems.values())
            if able:
                self.working.setdefault(system, {}).setdefault(b, []).extend(systems.values())

    def _systems(self, offers: list[int]) -> dict[int, Any]:
        return {o: self._whole(min(self.problem.offers[o].supply, MOST_SYSTEMS)) for o in offers}

    def _pay(self, p: int, b: int, systems: dict[int, Any]) -> None:
        """Cost and energy of the systems that stand in a block."""
        pool, hours = self.problem.pools[p], self.problem.blocks[b].hours
        for o, x in systems.items():
            offer = self.problem.offers[o]
            if offer.needs_staff:
                self.staffed.setdefault(pool.site, []).append(x)
            usd = sum(offer.annual_cost_items_usd.values()) * hours / 8760.0
            self.usd.append((usd + at(offer.hourly_usd, b) * hours * pool.elastic, x))
            self._energy(p, b, pool.idle_it_kw * hours, x)

    def _energy(self, p: int, b: int, kwh: float, variable: Any) -> None:
        pool = self.problem.pools[p]
        self.usd.append((kwh * usd_per_kwh(pool, b), variable))
        self.kwh.append((kwh * pool.pue, variable))
        self.carbon.append((kwh * pool.carbon_kg_per_kwh_it, variable))

    def _room(self, p: int, b: int, systems: dict[int, Any]) -> None:
        """Power, racks and stock that the systems take in a block."""
        pool = self.problem.pools[p]
        for o, x in systems.items():
            offer = self.problem.offers[o]
            name = f"group {offer.supply_group}" if offer.supply_group else f"offer {o}"
            self.taken.setdefault((name, b), []).append((1.0, x))
            self.embodied.setdefault(b, []).append((offer.embodied_carbon_kg, x))
        if pool.hosted:
            return
        site = self.problem.sites[pool.site]
        kw = pool.provisioned_it_kw * (pool.pue if site.power_is_utility else 1.0)
        self.kw.setdefault((pool.site, b), []).extend((kw, x) for x in systems.values())
        if math.isfinite(pool.systems_per_rack) and math.isfinite(site.rack_limit):
            racks = self._whole(math.inf)
            self.model.addCons(quicksum(systems.values()) <= pool.systems_per_rack * racks)
            self.racks.setdefault((pool.site, b), []).append((1.0, racks))

    def _pack(self, p: int, held: dict[int, Any], usable: Any) -> None:
        gpus = self.problem.pools[p].gpus_per_system
        size = {c: self.problem.candidates[c].gpus for c in held}
        inside = sorted({g for g in size.values() if g < gpus})
        patterns = _patterns(gpus, inside) if inside else []
        cut = [self._whole(math.inf) for _ in patterns]
        for i, g in enumerate(inside):
            places = quicksum(q[i] * y for q, y in zip(patterns, cut, strict=True))
            self.model.addCons(quicksum(n for c, n in held.items() if size[c] == g) <= places)
        whole = quicksum(math.ceil(size[c] / gpus) * n for c, n in held.items() if size[c] >= gpus)
        self.model.addCons(quicksum(cut) + whole <= usable)

    def _flows(self, b: int, p: int, held: dict[int, Any]) -> None:
        problem, hours = self.problem, self.problem.blocks[b].hours
        for c, n in held.items():
            candidate = problem.candidates[c]
            self._energy(p, b, candidate.idle_w / 1000.0 * hours, n)
            loads = []
            flows: dict[int, Any] = {}
            for k, load in enumerate(candidate.load):
                if math.isinf(load):
                    continue
                f = flows[k] = self.model.addVar()
                loads.append(float(load) * f)
                self._energy(p, b, hours * 3600.0 * float(candidate.energy_j[k]) / 3.6e6, f)
                if candidate.role != "prefill":
                    self._serve(b, candidate.workload, k, f, candidate.quality)
                if candidate.role != "serve":
                    site = problem.pools[p].site
                    key = (b, site, candidate.workload, candidate.pair, k)
                    sign = 1.0 if candidate.role == "prefill" else -1.0
                    self.phases.setdefault(key, []).append((sign, f))
            self.model.addCons(quicksum(loads) <= n)
            if candidate.mix is not None:
                for k, f in flows.items():
                    part = candidate.mix[k] / sum(candidate.mix)
                    self.model.addCons(f == part * quicksum(flows.values()))

    def _serve(self, b: int, w: int, k: int, f: Any, quality: float) -> None:
        """Requests/s that end here: they count as served, by their tokens and their value."""
        data, seconds = self.problem.workloads[w], self.problem.blocks[b].hours * 3600.0
        self.served.setdefault((b, w, k), []).append((1.0, f))
        tokens = float(data.output_tokens[k])
        if self.problem.objective.denominator == "total":
            tokens += float(data.input_tokens[k])
        self.tokens.append((seconds * tokens, f))
        self.value.append((seconds * float(data.value_usd_per_request[k]) * quality, f))

    def _apis(self) -> None:
        for a, api in enumerate(self.problem.apis):
            for b, block in enumerate(self.problem.blocks):
                rates = []
                for k in range(api.cost_usd_per_request.shape[-1]):
                    usd = api_usd(self.problem, a, b, k)
                    if math.isfinite(usd):
                        f = self.model.addVar()
                        rates.append(f)
                        self.usd.append((float(usd) * block.hours * 3600.0, f))
                        self._serve(b, api.workload, k, f, api.quality)
                if math.isfinite(api.max_rps):
                    self.model.addCons(quicksum(rates) <= api.max_rps)

    def _shortfall(self) -> None:
        for w, data in enumerate(self.problem.workloads):
            if data.shortfall_usd_per_request is None or data.free:
                continue
            for b, block in enumerate(self.problem.blocks):
                for k in range(len(data.class_ids)) if block.hours > 0 else ():
                    f = self.model.addVar()
                    self.served.setdefault((b, w, k), []).append((1.0, f))
                    usd = data.shortfall_usd_per_request * block.hours * 3600.0
                    self.usd.append((usd, f))

    def _demand(self) -> None:
        for w, data in enumerate(self.problem.workloads):
            for b in range(len(self.problem.blocks)):
                for k, rate in enumerate(data.demand_rps[b]):
                    served = _sum(self.served.get((b, w, k), []))
                    asked = float(rate) * (self.scale if data.free else 1.0)
                    self.model.addCons(served - asked == 0)
        for flows in self.phases.values():
            self.model.addCons(_sum(flows) == 0)

    def _any(self, counts: list[Any], most: float) -> Any:
        """1 if any of these whole numbers is above 0."""
        used = self.model.addVar(vtype="B")
        for n in counts:
            self.model.addCons(n <= most * used)
        return used

    def _kinds(self) -> None:
        """System types, systems of each in every block, layouts of each workload."""
        objective = self.problem.objective
        for blocks in self.working.values():
            for systems in blocks.values():
                least = objective.least_systems_per_type
                self.model.addCons(quicksum(systems) >= least * self._any(systems, MOST_SYSTEMS))
        every = ([x for xs in blocks.values() for x in xs] for blocks in self.standing.values())
        types = [self._any(systems, MOST_SYSTEMS) for systems in every]
        if objective.most_system_types is not None:
            self.model.addCons(quicksum(types) <= objective.most_system_types)
        if objective.usd_per_further_type:
            further = self.model.addVar()
            self.model.addCons(further >= quicksum(types) - 1)
            self.usd.append((objective.usd_per_further_type, further))
        for s, usd in enumerate(site.staff_usd_per_year for site in self.problem.sites):
            if usd and self.staffed.get(s):
                self.usd.append((usd, self._any(self.staffed[s], MOST_SYSTEMS)))
        if objective.most_layouts_per_workload is not None:
            for w in range(len(self.problem.workloads)):
                used = [
                    self._any(found, MOST_SYSTEMS)
                    for c, found in self.of_candidate.items()
                    if self.problem.candidates[c].workload == w
                ]
                self.model.addCons(quicksum(used) <= objective.most_layouts_per_workload)

    def _limits(self) -> None:
        for (s, _), kw in self.kw.items():
            if math.isfinite(self.problem.sites[s].power_limit_kw):
                self.model.addCons(_sum(kw) <= self.problem.sites[s].power_limit_kw)
        for (s, _), racks in self.racks.items():
            self.model.addCons(_sum(racks) <= math.floor(self.problem.sites[s].rack_limit))
        for (name, _), systems in self.taken.items():
            supply = [
                offer.supply
                for o, offer in enumerate(self.problem.offers)
                if name in (f"group {offer.supply_group}", f"offer {o}")
            ]
            if math.isfinite(min(supply)):
                self.model.addCons(_sum(systems) <= math.floor(min(supply)))
        objective = self.problem.objective
        if objective.capex_budget_usd is not None:
            self.model.addCons(_sum(self.capex) <= objective.capex_budget_usd)
        if objective.embodied_carbon_budget_kg is not None:
            for kg in self.embodied.values():
                self.model.addCons(_sum(kg) <= objective.embodied_carbon_budget_kg)
        if objective.annual_budget_usd is not None:
            self.model.addCons(_sum(self.usd) <= objective.annual_budget_usd - self.contracted)


MOST_SYSTEMS = 10_000.0


def _times(factor: float, terms: Weighted) -> Weighted:
    return [(factor * a, v) for a, v in terms]


def _sum(terms: Weighted) -> Any:
    return quicksum(a * v for a, v in terms)


def scip_cost(problem: Problem) -> float:
    """Least yearly cost by SCIP."""
    return ScipMix(problem).cost()
