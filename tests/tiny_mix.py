"""Mix problems small enough to try every plan: systems with a capacity, a price and a power draw.

A system holds one replica, which serves `capacity` requests/s; one workload, one class, one block.
`Tiny.plans` lists every plan, `problem` gives the same to the solver.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from problems import candidate, workload
from tokenfleet.problem_data import ApiData, Block, Objective, OfferData, Pool, Problem, SiteData


@dataclass(frozen=True)
class Kind:
    """One system type under one offer."""

    capacity: float
    price: float
    most: int
    kw: float = 1.0
    kind: str = "buy"
    capex: float = 0.0


@dataclass(frozen=True)
class Tiny:
    """A demand in requests/s, and what may serve it."""

    kinds: tuple[Kind, ...]
    demand: float
    power_kw: float = math.inf
    api_usd: float | None = None  # for a request/s all year
    capex_budget_usd: float | None = None

    def plans(self) -> Iterator[tuple[tuple[int, ...], float]]:
        """Counts of every plan with its yearly cost, the API taking what is left."""
        for counts in itertools.product(*(range(k.most + 1) for k in self.kinds)):
            left = self.demand - sum(
                n * k.capacity for n, k in zip(counts, self.kinds, strict=True)
            )
            kw = sum(n * k.kw for n, k in zip(counts, self.kinds, strict=True))
            capex = sum(n * k.capex for n, k in zip(counts, self.kinds, strict=True))
            if self.capex_budget_usd is not None and capex > self.capex_budget_usd + 1e-9:
                continue
            if kw > self.power_kw + 1e-9 or (left > 1e-9 and self.api_usd is None):
                continue
            cost = sum(n * k.price for n, k in zip(counts, self.kinds, strict=True))
            yield counts, cost + max(left, 0.0) * (self.api_usd or 0.0)

    def least(self) -> float:
        """The least cost; inf where there is no plan."""
        return min((cost for _, cost in self.plans()), default=math.inf)

    def problem(self) -> Problem:
        """The same for the solver."""
        apis = ()
        if self.api_usd is not None:
            per_request = self.api_usd / (8760.0 * 3600.0)
            apis = (ApiData("api", 0, np.array([per_request])),)
        return Problem(
            name="tiny",
            blocks=(Block(8760.0),),
            workloads=(workload("w", [[self.demand]]),),
            sites=(SiteData("s", power_limit_kw=self.power_kw),),
            pools=tuple(
                Pool(f"p{i}", 0, f"sys{i}", 1, k.kw, 0.0) for i, k in enumerate(self.kinds)
            ),
            offers=tuple(
                OfferData(
                    f"o{i}",
                    i,
                    supply=float(k.most),
                    annual_cost_items_usd={"price": k.price},
                    kind=k.kind,
                    capex_usd=k.capex,
                )
                for i, k in enumerate(self.kinds)
            ),
            candidates=tuple(
                candidate(i, 0, f"sys{i}", 1, [1.0 / k.capacity]) for i, k in enumerate(self.kinds)
            ),
            apis=apis,
            objective=Objective(capex_budget_usd=self.capex_budget_usd),
        )


def random_tiny(seed: int, kinds: int = 3, *, api: bool = False, tight: bool = False) -> Tiny:
    """Three kinds of systems, whole figures; with power for most of the demand where `tight`."""
    rng = np.random.default_rng(seed)
    found = tuple(
        Kind(
            capacity=float(rng.integers(2, 10)),
            price=float(rng.integers(20, 100)),
            most=int(rng.integers(2, 6)),
            kw=float(rng.integers(5, 25)),
            kind=str(rng.choice(["buy", "rent"])),
            capex=float(rng.integers(50, 200)),
        )
        for _ in range(kinds)
    )
    demand = float(rng.integers(8, 20))
    tiny = Tiny(found, demand, api_usd=float(rng.integers(8, 30)) if api else None)
    if tight:
        power = float(rng.integers(30, 90))
        tiny = replace(tiny, power_kw=power)
    return tiny


def tiny_with_plans(seed: int) -> Tiny:
    """A random one; with a hosted API where its systems alone cannot serve the demand."""
    tiny = random_tiny(seed)
    return tiny if list(tiny.plans()) else replace(tiny, api_usd=40.0)
