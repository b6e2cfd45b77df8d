"""Seeded mix problems of a chosen size, and the time the mix takes on them.

    python benches/generate_mix.py --seed 1 --workloads 8 --sites 4 --systems 12 --kept 10

Prints the seconds, the status, the bound, the gap, and the gap to the bound as it was checked.
Figures are drawn at random in the range of real servers and racks; nothing here is a fact about a
product.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass

import numpy as np

from tokenfleet.problem_data import (
    Block,
    Candidate,
    Objective,
    OfferData,
    Pool,
    Problem,
    SiteData,
    Systems,
    WorkloadData,
)


@dataclass(frozen=True)
class Shape:
    """Size of a generated problem; `fleet` is about how many systems of 8 GPUs it needs."""

    workloads: int = 8
    sites: int = 4
    systems: int = 12
    kept: int = 10
    fleet: float = 2000.0
    rented: bool = True
    free: bool = False  # free demand: the stated rates are a shape


@dataclass(frozen=True)
class SystemType:
    """Drawn figures of one system type."""

    name: str
    gpus: int
    kw: float
    usd_per_year: float
    speed: float  # of one GPU, relative


def generate(seed: int, shape: Shape, objective: Objective | None = None) -> Problem:
    """A feasible problem with two load blocks and power limits that bind."""
    rng = np.random.default_rng(seed)
    types = [_system(rng, i) for i in range(shape.systems)]
    workloads = tuple(_workload(rng, i, shape.free) for i in range(shape.workloads))
    scale = shape.fleet / shape.workloads
    sites = tuple(
        SiteData(f"site{i}", power_limit_kw=float(shape.fleet * 12 / shape.sites))
        for i in range(shape.sites)
    )
    pools, offers = _pools(rng, types, shape)
    candidates = _candidates(rng, types, workloads, shape, scale)
    return Problem(
        name=f"generated-{seed}",
        blocks=(Block(7300.0), Block(1460.0)),
        workloads=workloads,
        sites=sites,
        pools=pools,
        offers=offers,
        candidates=candidates,
        objective=objective or Objective(),
    )


def _system(rng: np.random.Generator, i: int) -> SystemType:
    gpus = int(rng.choice([4, 8, 8, 8, 8, 64, 72]))
    speed = float(rng.uniform(1.0, 12.0))
    kw_per_gpu = 0.5 + 0.1 * speed
    usd = gpus * (2_000 + 2_600 * speed * float(rng.uniform(0.8, 1.2)))
    return SystemType(f"system{i:02d}", gpus, gpus * kw_per_gpu, usd, speed)


def _workload(rng: np.random.Generator, i: int, free: bool) -> WorkloadData:
    classes = int(rng.integers(2, 7))
    share = rng.dirichlet(np.full(classes, 2.0))
    mean = float(rng.uniform(20, 400))
    return WorkloadData(
        id=f"workload{i}",
        class_ids=tuple(f"class{k}" for k in range(classes)),
        demand_rps=np.outer([0.85 * mean, 1.75 * mean], share),
        output_tokens=rng.uniform(100, 1500, classes),
        input_tokens=rng.uniform(200, 12_000, classes),
        value_usd_per_request=np.zeros(classes),
        free=free,
        min_scale=0.1 if free else 0.0,
    )


def _pools(
    rng: np.random.Generator, types: list[SystemType], shape: Shape
) -> tuple[tuple[Pool, ...], tuple[OfferData, ...]]:
    pools: list[Pool] = []
    offers: list[OfferData] = []
    for s in range(shape.sites):
        tariff = float(rng.uniform(0.05, 0.14))
        for system in types:
            power = {"provisioned_it_kw": system.kw, "idle_it_kw": 0.3 * system.kw}
            pools.append(
                Pool(f"p{len(pools):03d}", s, system.name, system.gpus, **power,
                     pue=1.25, energy_usd_per_kwh_it=1.25 * tariff)
            )  # fmt: skip
            items = {"capex": 0.8 * system.usd_per_year, "hosting": 0.2 * system.usd_per_year}
            offers.append(OfferData(f"o{len(offers):03d}", len(pools) - 1, math.inf, items))
            if shape.rented and s == 0:
                pools.append(
                    Pool(f"p{len(pools):03d}", s, system.name, system.gpus, **power,
                         elastic=True, hosted=True)
                )  # fmt: skip
                hourly = 2.2 * system.usd_per_year / 8760
                offers.append(
                    OfferData(f"o{len(offers):03d}", len(pools) - 1, 200.0, hourly_usd=hourly)
                )
    return tuple(pools), tuple(offers)


def _candidates(
    rng: np.random.Generator,
    types: list[SystemType],
    workloads: tuple[WorkloadData, ...],
    shape: Shape,
    scale: float,
) -> tuple[Candidate, ...]:
    found: list[Candidate] = []
    for w, workload in enumerate(workloads):
        peak = workload.demand_rps[1]
        for system in types:
            sizes = [g for g in (1, 2, 4, 8, 16, 32, 64) if g <= system.gpus]
            for _ in range(shape.kept):
                gpus = int(rng.choice(sizes))
                # GPU-seconds per request such that about `scale` systems of 8 serve the peak
                work = rng.uniform(0.7, 1.4, len(peak)) * scale * 8 / peak.sum()
                load = work * 6.0 / (system.speed * gpus)
                load = np.where(rng.random(len(peak)) < 0.3, math.inf, load)
                found.append(
                    Candidate(
                        len(found), w, system.name, gpus, tuple(range(shape.sites)),
                        load, np.where(np.isfinite(load), load, 0.0) * gpus * 500.0,
                    )
                )  # fmt: skip
    return tuple(found)


def main() -> None:
    """Solve one generated problem and print what was proven."""
    from tokenfleet.mix.solve import solve_mix  # noqa: PLC0415
    from tokenfleet.mix.solver.highs import SolveOptions  # noqa: PLC0415 (generate needs no solver)
    from tokenfleet.verify.bound import with_checked_bound  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("seed", 1), ("workloads", 8), ("sites", 4), ("systems", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kept", type=int, default=10)
    parser.add_argument("--fleet", type=float, default=2000.0)
    parser.add_argument("--gap", type=float, default=0.005)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--objective", default="least_cost")
    args = parser.parse_args()
    free = args.objective in ("least_cost_per_token", "most_tokens")
    size = (args.workloads, args.sites, args.systems, args.kept, args.fleet)
    shape = Shape(*size, rented=not free, free=free)
    problem = generate(args.seed, shape, Objective(kind=args.objective))
    begun = time.perf_counter()
    result = solve_mix(problem, SolveOptions(gap=args.gap, time_limit_s=args.seconds, threads=2))
    seconds = time.perf_counter() - begun
    checked = with_checked_bound(result, args.gap, args.seconds)
    systems = sum(v for label, v in result.values.items() if isinstance(label, Systems))
    print(
        f"{seconds:.1f} s  {result.status}  value {result.value:.6g}  bound {result.bound:.6g}  "
        f"gap {result.gap:.3%}  checked {checked.gap:.3%}  systems {systems:.0f}"
    )


if __name__ == "__main__":
    main()
