"""Random mix problems for the tests: small enough for an independent judge."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tokenfleet.problem_data import (
    ApiData,
    Block,
    Candidate,
    Objective,
    OfferData,
    Pool,
    Problem,
    SiteData,
    WorkloadData,
)


def workload(name: str, demand: list[list[float]], **changes: object) -> WorkloadData:
    """A workload with demand (block, class), 100 output and 300 input tokens a request."""
    rates = np.array(demand, dtype=float)
    classes = rates.shape[1]
    base = WorkloadData(
        id=name,
        class_ids=tuple(f"k{k}" for k in range(classes)),
        demand_rps=rates,
        output_tokens=np.full(classes, 100.0),
        input_tokens=np.full(classes, 300.0),
        value_usd_per_request=np.zeros(classes),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def candidate(
    c: int, w: int, system: str, gpus: int, load: list[float], **changes: object
) -> Candidate:
    """A serve candidate at site 0 that draws nothing above idle."""
    base = Candidate(
        id=c,
        workload=w,
        system=system,
        gpus=gpus,
        sites=(0,),
        load=np.array(load, dtype=float),
        energy_j=np.zeros(len(load)),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def one_pool(demand: list[list[float]], *, gpus: int = 8, usd: float = 100.0) -> Problem:
    """One workload, one site, one system of `gpus` at `usd` a year, one replica of 1 GPU = 1/s."""
    hours = 8760.0 / len(demand)
    classes = len(demand[0])
    return Problem(
        name="one-pool",
        blocks=tuple(Block(hours) for _ in demand),
        workloads=(workload("w", demand),),
        sites=(SiteData("s"),),
        pools=(Pool("p", 0, "box", gpus, 1.0, 0.0),),
        offers=(OfferData("o", 0, annual_cost_items_usd={"capex": usd}),),
        candidates=(candidate(0, 0, "box", 1, [1.0] * classes),),
    )


def random_problem(
    seed: int,
    *,
    classes: int = 1,
    sizes: tuple[int, ...] = (1, 2, 4),
    workload_count: int = 2,
    peak_rps: float = 6.0,
) -> Problem:
    """Two sites, two systems, some workloads, two blocks; always feasible through an API."""
    rng = np.random.default_rng(seed)
    workloads = tuple(
        workload(f"w{i}", rng.uniform(1.0, peak_rps, (2, classes)).round(2).tolist())
        for i in range(workload_count)
    )
    sites = tuple(
        SiteData(
            f"s{i}",
            power_limit_kw=float(rng.integers(3, 9)),
            power_is_utility=bool(rng.integers(2)),
        )
        for i in range(2)
    )
    pools, offers = [], []
    for p in range(3):
        elastic = p == 2
        pools.append(
            Pool(
                f"p{p}",
                p % 2,
                f"sys{p % 2}",
                int(rng.choice([4, 6, 8])) if p < 2 else pools[0].gpus_per_system,
                provisioned_it_kw=float(rng.uniform(1.0, 2.0)),
                idle_it_kw=float(rng.uniform(0.1, 0.5)),
                elastic=elastic,
                hosted=elastic,
                pue=1.2,
                energy_usd_per_kwh_it=0.0 if elastic else 0.1,
                reserve=int(rng.integers(2)) if p == 0 else 0,
            )
        )
        items = {} if elastic else {"capex": float(rng.uniform(2_000, 9_000))}
        offers.append(
            OfferData(
                f"o{p}",
                p,
                supply=float(rng.integers(2, 5)),
                annual_cost_items_usd=items,
                hourly_usd=float(rng.uniform(0.5, 2.0)) if elastic else 0.0,
            )
        )
    candidates: list[Candidate] = []
    for w in range(len(workloads)):
        for system in ("sys0", "sys1"):
            gpus = int(rng.choice(sizes))
            load = (rng.uniform(0.5, 1.5, classes) * 2.0 / gpus).round(3)
            if classes > 1 and rng.random() < 0.3:
                load[int(rng.integers(classes))] = math.inf
            candidates.append(
                candidate(
                    len(candidates),
                    w,
                    system,
                    gpus,
                    load.tolist(),
                    sites=(0, 1),
                    energy_j=rng.uniform(10, 500, classes),
                    idle_w=float(rng.choice([0.0, 50.0])),
                )
            )
    apis = tuple(
        ApiData(f"api{w}", w, rng.uniform(1e-4, 2e-3, classes)) for w in range(len(workloads))
    )
    return Problem(
        name=f"random-{seed}",
        blocks=(Block(6000.0), Block(2760.0)),
        workloads=workloads,
        sites=sites,
        pools=tuple(pools),
        offers=tuple(offers),
        candidates=tuple(candidates),
        apis=apis,
        objective=Objective(),
    )


def with_own_mixes(problem: Problem, seed: int) -> Problem:
    """The same problem, each workload at one mix in all blocks, with cheaper candidates that take
    all its classes in that mix."""
    rng = np.random.default_rng(seed)
    workloads, candidates = [], list(problem.candidates)
    for w, data in enumerate(problem.workloads):
        mix = rng.dirichlet(np.full(len(data.class_ids), 2.0))
        demand = np.outer(data.demand_rps.sum(axis=1), mix)
        workloads.append(replace(data, demand_rps=demand))
        for c in [c for c in problem.candidates if c.workload == w and np.isfinite(c.load).all()]:
            faster = c.load * rng.uniform(0.5, 1.0)
            row = replace(c, id=len(candidates), load=faster, mix=tuple(mix.tolist()))
            candidates.append(row)
    return replace(problem, workloads=tuple(workloads), candidates=tuple(candidates))


def priced_by_block(problem: Problem, seed: int) -> Problem:
    """The same problem with energy, carbon, water, rental and APIs at another price a block."""
    rng = np.random.default_rng(seed)
    blocks = len(problem.blocks)

    def prices(low: float, high: float) -> tuple[float, ...]:
        return tuple(rng.uniform(low, high, blocks).tolist())

    pools = tuple(
        replace(
            pool,
            energy_usd_per_kwh_it=prices(0.02, 0.5),
            carbon_usd_per_kwh_it=prices(0.0, 0.1),
            water_usd_per_kwh_it=0.02,
        )
        for pool in problem.pools
    )
    offers = tuple(
        replace(offer, hourly_usd=prices(0.3, 3.0)) if offer.hourly_usd else offer
        for offer in problem.offers
    )
    apis = tuple(
        replace(
            api, cost_usd_per_request=api.cost_usd_per_request * rng.uniform(0.5, 2, (blocks, 1))
        )
        for api in problem.apis
    )
    return replace(problem, pools=pools, offers=offers, apis=apis)


def timed(problem: Problem, seed: int) -> Problem:
    """The same problem with prices by block, and blocks that count by their weight."""
    problem = priced_by_block(problem, seed)
    weights = np.random.default_rng(seed).uniform(0.3, 1.0, len(problem.blocks)).tolist()
    blocks = (replace(b, weight=w) for b, w in zip(problem.blocks, weights, strict=True))
    return replace(problem, blocks=tuple(blocks))


def free_problem(seed: int) -> Problem:
    """`random_problem` with free demand, an annual budget and no API."""
    problem = random_problem(seed)
    workloads = tuple(
        replace(w, free=True, min_scale=0.5, demand_rps=w.demand_rps / 4.0)
        for w in problem.workloads
    )
    objective = Objective(kind="least_cost_per_token", ratio_tolerance=0.0)
    return replace(problem, workloads=workloads, apis=(), objective=objective)
