"""Slow, obvious answers to the mix: enumeration, and an independent model solved by SCIP.

Both are written from design section 4 and share nothing with `tokenfleet.mix.model`.
"""

from __future__ import annotations

import itertools
import math

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


class ScipMix:
    """The least-cost mix in SCIP, with every cutting pattern written out."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.model = Model()
        self.model.hideOutput()
        self.cost: list[object] = []
        self.served: dict[tuple[int, int, int], list[object]] = {}
        self.phases: dict[tuple[int, ...], list[object]] = {}
        self.kw: dict[tuple[int, int], list[object]] = {}
        for p in range(len(problem.pools)):
            self._pool(p)
        self._apis()
        self._balance()
        self.model.setObjective(quicksum(self.cost))
        self.model.setParam("limits/gap", 0.0)
        self.model.setParam("limits/time", 60.0)
        self.model.setParam("numerics/feastol", 1e-9)

    def solve(self) -> float:
        """Optimal cost; inf when SCIP proves that there is no plan."""
        self.model.optimize()
        status = self.model.getStatus()
        assert status in ("optimal", "infeasible"), status
        return float(self.model.getObjVal()) if status == "optimal" else math.inf

    def _pool(self, p: int) -> None:
        problem, pool = self.problem, self.problem.pools[p]
        up = [b for b, block in enumerate(problem.blocks) if block.lost_site != pool.site]
        candidates = [c for c in range(len(problem.candidates)) if p in _pools_of(problem, c)]
        offers = [o for o, offer in enumerate(problem.offers) if offer.pool == p]
        year = {} if pool.elastic else {o: self._whole(problem.offers[o].supply) for o in offers}
        used = self.model.addVar(vtype="B")
        held: dict[int, object] = {}
        for b in up:
            systems = year or {o: self._whole(problem.offers[o].supply) for o in offers}
            hours = problem.blocks[b].hours
            fraction = hours / 8760.0
            for o, x in systems.items():
                offer = problem.offers[o]
                usd = sum(offer.annual_cost_items_usd.values()) * fraction
                usd += at(offer.hourly_usd, b) * hours * pool.elastic
                usd += pool.idle_it_kw * hours * usd_per_kwh(pool, b)
                self.cost.append(usd * x)
            total = quicksum(systems.values())
            self.model.addCons(total <= 10_000 * used)
            if not pool.hosted:
                utility = problem.sites[pool.site].power_is_utility
                kw = pool.provisioned_it_kw * (pool.pue if utility else 1.0)
                self.kw.setdefault((pool.site, b), []).append(kw * total)
            fixed = not pool.elastic and not problem.relayout
            if not held or not fixed:
                held = {c: self._whole(math.inf) for c in candidates}
                self._pack(p, held, total - pool.reserve * used)
            self._flows(b, p, held)

    def _whole(self, most: float) -> object:
        return self.model.addVar(vtype="I", ub=None if math.isinf(most) else most)

    def _pack(self, p: int, held: dict[int, object], usable: object) -> None:
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

    def _flows(self, b: int, p: int, held: dict[int, object]) -> None:
        problem, pool = self.problem, self.problem.pools[p]
        hours = problem.blocks[b].hours
        for c, n in held.items():
            candidate = problem.candidates[c]
            price = usd_per_kwh(pool, b)
            self.cost.append(n * (candidate.idle_w / 1000.0 * hours * price))
            loads = []
            for k, load in enumerate(candidate.load):
                if math.isinf(load):
                    continue
                f = self.model.addVar()
                loads.append(float(load) * f)
                joules = float(candidate.energy_j[k])
                self.cost.append(f * (hours * 3600.0 * joules / 3.6e6 * price))
                if candidate.role != "prefill":
                    self.served.setdefault((b, candidate.workload, k), []).append(f)
                if candidate.role != "serve":
                    key = (b, pool.site, candidate.workload, candidate.pair, k)
                    sign = 1 if candidate.role == "prefill" else -1
                    self.phases.setdefault(key, []).append(sign * f)
            self.model.addCons(quicksum(loads) <= n)

    def _apis(self) -> None:
        for a, api in enumerate(self.problem.apis):
            for b, block in enumerate(self.problem.blocks):
                rates = []
                for k in range(api.cost_usd_per_request.shape[-1]):
                    usd = api_usd(self.problem, a, b, k)
                    if math.isfinite(usd):
                        f = self.model.addVar()
                        rates.append(f)
                        self.cost.append(f * (usd * block.hours * 3600.0))
                        self.served.setdefault((b, api.workload, k), []).append(f)
                if math.isfinite(api.max_rps):
                    self.model.addCons(quicksum(rates) <= api.max_rps)

    def _balance(self) -> None:
        for w, data in enumerate(self.problem.workloads):
            for b in range(len(self.problem.blocks)):
                for k, rate in enumerate(data.demand_rps[b]):
                    served = quicksum(self.served.get((b, w, k), []))
                    self.model.addCons(served >= float(rate))
        for flows in self.phases.values():
            self.model.addCons(quicksum(flows) == 0)
        for (s, _), kw in self.kw.items():
            if math.isfinite(self.problem.sites[s].power_limit_kw):
                self.model.addCons(quicksum(kw) <= self.problem.sites[s].power_limit_kw)


def scip_cost(problem: Problem) -> float:
    """Least yearly cost by SCIP."""
    return ScipMix(problem).solve()
