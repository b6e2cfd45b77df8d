"""The simulator: engine steps and requests per second on one core, growth of memory, use of cores.

512 tokens in and 128 out, batch limit 64, 85 % of capacity, on the hand-made systems of
`tests/core_spec.py`. Needs the repository around it.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from spread import Spread, peak_mb, spread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import core_spec
from tokenfleet import _core

INPUT, OUTPUT, BATCH, LOAD = 512, 128, 64, 0.85
LENGTHS = [(np.array([INPUT], dtype=np.uint32), np.array([OUTPUT], dtype=np.uint32))]
#: Rounds of hashing in one piece of the arithmetic that the use of cores is held against.
ROUNDS = 400_000


def problem() -> tuple[_core.Space, float]:
    """One replica of llama-8b, and its capacity, requests/s."""
    sizes = map(core_spec.fixed, (INPUT, OUTPUT))
    only = core_spec.request_class("only", 1.0, *sizes)
    base: dict[str, Any] = {"classes": [only], "class_sets": [1], "slos": []}
    spec = core_spec.spec_of("llama-8b", round_trip_s=[[0.0]], batches=[BATCH], **base)
    core = _core.Space(json.dumps(spec))
    return core, 1e-6 / core.recheck(0, 0, np.array([1e-6]))["utilisation"]


def simulated(replicas: int, requests: int, replications: int = 1, threads: int = 1) -> Any:
    """A fleet of one group."""
    core, capacity = problem()
    rate = LOAD * capacity * replicas
    fleet = {
        "groups": [{"id": 0, "replicas": replicas, "shares": [1.0]}],
        "router": "join_shortest_queue",
        "arrivals": [{"kind": "drawn", "rates": [rate], "burstiness": 1.0}],
        "requests": requests,
        "warmup": 0.1,
        "replications": replications,
        "seed": 1,
    }
    return _core.simulate_fleet(core, fleet, lengths=LENGTHS, threads=threads)


def rates(replicas: int, requests: int, runs: int) -> tuple[Spread, Spread]:
    """Engine steps and requests per second of one core."""
    steps, served = [], []
    for _ in range(runs):
        begun = time.perf_counter()
        result = simulated(replicas, requests)
        took = time.perf_counter() - begun
        steps.append(result["steps"] / took)
        served.append(result["conservation"]["finished"] / took)
    return spread(steps), spread(served)


def use_of_cores(requests: int, runs: int) -> dict[str, Any]:
    """What a second thread gains on replications, over what it gains on hashing, in turn."""
    gains, ratios = [], []
    for _ in range(runs):
        one, two = (_seconds(lambda n=n: simulated(1, requests, 8, n)) for n in (1, 2))
        plain = _seconds(lambda: [_hash(0) for _ in range(2)])
        with ThreadPoolExecutor(2) as pool:
            both = _seconds(lambda pool=pool: list(pool.map(_hash, range(2))))
        gains.append(one / two)
        ratios.append(one / two / (plain / both))
    return {"gain_of_2_threads": spread(gains), "gain_over_arithmetic": spread(ratios)}


def _hash(_: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", b"arithmetic", b"only", ROUNDS)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def growth_mb(requests: int) -> float:
    """How much more memory ten times the requests take, MB."""
    simulated(1, requests)
    before = peak_mb()
    simulated(1, 10 * requests)
    return peak_mb() - before


def measure(quick: bool) -> dict[str, Any]:
    """Steps and requests per second with 1 and with 256 replicas, memory, use of cores."""
    runs, requests = (3, 100_000) if quick else (7, 400_000)
    out: dict[str, Any] = {}
    for replicas in (1, 256):
        steps, served = rates(replicas, requests, runs)
        out[f"simulated_steps_per_s_{replicas}"] = steps
        out[f"simulated_requests_per_s_{replicas}"] = served
    out["simulation_growth_mb"] = growth_mb(requests)
    return out | use_of_cores(requests // 4, runs)


def main() -> int:
    """Prints what was measured."""
    for name, value in measure("--quick" in sys.argv).items():
        shown = value["median"] if isinstance(value, dict) else value
        print(f"{name} {shown:,.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
