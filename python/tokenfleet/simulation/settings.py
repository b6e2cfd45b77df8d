"""How groups are simulated. Defaults that the core has too are read from there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tokenfleet._core import SIMULATION
from tokenfleet.errors import SchemaError

ROUTERS = ("join_shortest_queue", "least_loaded", "round_robin")


@dataclass(frozen=True)
class SimulationSettings:
    """How groups are simulated."""

    scale: float = 1.0  # offered load over the plan's
    hours: float | None = None  # measured time; None: as `requests` and the stays ask for
    requests: int = SIMULATION[
        "requests"
    ]  # measured in each group and replication, at least; in bursts more
    replications: int = SIMULATION["replications"]
    seed: int = SIMULATION["seed"]
    router: str = SIMULATION["router"]
    burstiness: float = SIMULATION[
        "burstiness"
    ]  # shape of the Gamma times between requests; 1 is Poisson
    requests_in_herds: int = 0  # the same where answers come in herds (`Group.in_herds`)
    trace_share: float = 1.0  # of the requests, where there is a trace; the others are drawn
    day: bool = False  # drawn rates follow the workload's load over a day
    threads: int = 0

    @classmethod
    def brief(cls, seed: int = 0, threads: int = 0) -> SimulationSettings:
        """Few requests, so that a plan is judged in about a second; herds take more to form."""
        return cls(
            requests=2000, requests_in_herds=10_000, replications=4, seed=seed, threads=threads
        )

    @property
    def needed(self) -> int:
        """Requests to measure: in bursts of shape s, counts vary as those of s times as many."""
        return math.ceil(self.requests / min(self.burstiness, 1.0))

    def check(self) -> None:
        """Refuses settings that make no simulation.

        Raises:
            SchemaError: names the setting.
        """
        for name in ("scale", "requests", "replications", "burstiness", "hours"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e12:
                raise SchemaError(f"{name} is {value!r}", "it should be a number above zero")
        if not 0 < self.trace_share <= 1:
            raise SchemaError(
                f"trace_share is {self.trace_share!r}", "it should be above zero and at most 1"
            )
        if min(self.seed, self.threads, self.requests_in_herds) < 0:
            raise SchemaError(
                "seed, threads and requests_in_herds cannot be negative", "write 0 or more"
            )
        if self.router not in ROUTERS:
            raise SchemaError(f"unknown router {self.router!r}", f"one of {', '.join(ROUTERS)}")
