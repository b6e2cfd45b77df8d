"""How often a plain plan keeps its promises in the simulator: one model, one class, one system.

    python benches/plain_plans.py [--seeds 0..200] [--requests 10000] [--replications 4] [--verify]

Each seed draws a model with its format, a system, an engine, lengths (one, or log-normal ones),
two limits and a rate; the scenario is planned at the model's expectation and simulated. With
--verify the plan is verified in brief, as that of the command line is by default, and then
simulated by other random numbers. A line for each limit, then how many figures lie above 1.15 of
what was promised and below 0.75 of it.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import tokenfleet as tf

Json = dict[str, Any]
SYSTEMS = ("a100_sxm_8", "h100_sxm_8", "h200_sxm_8", "b200_sxm_8")
# Model, formats, how large it is.
MODELS = (
    ("llama-3.1-8b", ("bf16", "fp8"), 1.0),
    ("qwen3-32b", ("bf16", "fp8"), 1.0),
    ("llama-3.1-70b", ("bf16", "fp8"), 3.0),
    ("gpt-oss-120b", ("mxfp4",), 1.5),
    ("qwen3-235b-a22b", ("fp8_block",), 5.0),
)
MOST, LEAST = 1.15, 0.75  # simulated over promised


@dataclass(frozen=True)
class Held:
    """A limit of a plan: what was promised and what was simulated, ms."""

    metric: str
    percentile: str
    promised_ms: float
    simulated_ms: float

    @property
    def ratio(self) -> float:
        """Simulated over promised."""
        return self.simulated_ms / self.promised_ms


def log_normal(mean: int, sigma: float) -> Json:
    """A length of that mean, with the percentiles of a log-normal one."""

    def at(z: float) -> int:
        return max(1, round(mean * math.exp(sigma * z - sigma * sigma / 2.0)))

    levels = {"p50": 0.0, "p90": 1.2816, "p95": 1.6449, "p99": 2.3263, "max": 2.8}
    return {"mean": mean, **{name: at(z) for name, z in levels.items()}}


def scenario(seed: int) -> Json:
    """The scenario of a seed."""
    draw = random.Random(seed)
    model, formats, size = draw.choice(MODELS)
    weights = draw.choice(formats)
    system = draw.choice(SYSTEMS if weights == "bf16" else SYSTEMS[1:])
    tokens_in, tokens_out = int(2 ** draw.uniform(8, 13)), int(2 ** draw.uniform(6, 10.5))
    ttft_ms = draw.choice((300, 500, 1000, 2000, 5000)) * (1 + tokens_in / 8000)
    lengths: Json = {"input_tokens": tokens_in, "output_tokens": tokens_out}
    if draw.random() < 0.5:
        lengths = {
            "input_tokens": log_normal(tokens_in, 0.8),
            "output_tokens": log_normal(tokens_out, 0.7),
        }
    engine = draw.choice(("vllm", "trtllm", "sglang"))
    slos = [
        {"metric": "ttft", "percentile": draw.choice(("p90", "p95", "p99", "p99"))},
        {"metric": "tpot", "percentile": draw.choice(("p90", "p95", "p99"))},
    ]
    slos[0]["limit_ms"] = round(ttft_ms)
    slos[1]["limit_ms"] = draw.choice((20, 30, 50, 80, 100))
    rate = 10 ** draw.uniform(0.3, 2.5) / size * min(1, 2000 / (tokens_in + 4 * tokens_out))
    return {
        "name": f"plain {seed}",
        "as_of": "2026-07-15",
        "price_vintage": "2026-07",
        "confidence": "expected",
        "systems": [system],
        "engines": [engine],
        "workloads": [
            {
                "id": "chat",
                "model": model,
                "precisions": [weights],
                "classes": [{"id": "turn", "share": 1.0, **lengths}],
                "slos": slos,
                "demand": {"requests_per_s": round(rate + 0.2, 2)},
            }
        ],
        "sites": [
            {
                "id": "hall",
                "region": "eu",
                "power_kw": "unlimited",
                "power_basis": "it",
                "cooling": ["air", "direct liquid"],
            }
        ],
        "offers": [
            {
                "id": "rented",
                "system": system,
                "kind": "rent",
                "term_years": 3,
                "price_usd_per_gpu_h": 3.0,
            }
        ],
    }


def held(
    seed: int, requests: int, replications: int, verify: Literal["brief"] | None = None
) -> Iterator[Held]:
    """The limits of a seed's plan; none where there is no plan."""
    asked = scenario(seed)
    try:
        plan = tf.optimize_fleet(asked, compare_single=False, verify=verify)
    except tf.TokenfleetError:
        return
    settings = tf.SimulationSettings(requests=requests, replications=replications, seed=1)
    for row in tf.simulate(plan, asked, settings=settings).limits:
        yield Held(row["metric"], row["percentile"], row["promised_ms"], row["simulated_ms"])


def main(arguments: list[str]) -> None:
    """Prints every limit and the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0..200", help="first..last, the last left out")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--replications", type=int, default=4)
    parser.add_argument("--verify", action="store_true", help="plans as `tokenfleet plan` has them")
    given = parser.parse_args(arguments)
    first, last = map(int, given.seeds.split(".."))
    ratios = []
    for seed in range(first, last):
        verify: Literal["brief"] | None = "brief" if given.verify else None
        for row in held(seed, given.requests, given.replications, verify):
            ratios.append(row.ratio)
            print(
                f"{seed:4} {row.metric} {row.percentile}: promised {row.promised_ms:.1f} ms, "
                f"simulated {row.simulated_ms:.1f} ms, {row.ratio:.2f}",
                flush=True,
            )
    above, below = sum(r > MOST for r in ratios), sum(r < LEAST for r in ratios)
    print(f"{len(ratios)} limits: {above} above {MOST}, {below} below {LEAST}")


if __name__ == "__main__":
    main(sys.argv[1:])
