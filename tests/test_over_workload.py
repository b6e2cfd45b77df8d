"""A limit over all requests of a workload: what it means does not depend on how lengths are cut."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from tokenfleet import Plan, optimize_fleet, simulate
from tokenfleet.errors import InfeasibleError
from tokenfleet.verify.latency import _later

Json = dict[str, Any]


@pytest.fixture(scope="module")
def cdf(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Log-normal lengths: prompts with a median of 700 tokens, answers of 200, both cut off."""
    rows = ["side,tokens,cdf"]
    for side, median, sigma, most in (("input", 700, 1.0, 8000), ("output", 200, 0.8, 1500)):
        last = 0
        for share in np.arange(0.005, 1.0, 0.005):
            tokens = round(median * math.exp(sigma * NormalDist().inv_cdf(float(share))))
            if last < tokens < most:
                rows.append(f"{side},{tokens},{share:.3f}")
                last = tokens
        rows.append(f"{side},{most},1")
    path: Path = tmp_path_factory.mktemp("lengths") / "cdf.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def chat(cdf: str, buckets: int, over: str = "workload", rps: float = 400.0) -> Json:
    """A chat on rented H100 servers, one server to a replica."""
    return {
        "name": "buckets",
        "as_of": "2026-07-15",
        "confidence": "expected",
        "systems": ["h100_sxm_8"],
        "engines": ["vllm"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-70b",
                "precisions": ["bf16"],
                "lengths": {"cdf": cdf, "buckets": buckets},
                "slos": [{"metric": "ttft", "percentile": "p99", "limit_ms": 1200, "over": over}],
                "demand": {"requests_per_s": rps},
            }
        ],
        "sites": [
            {
                "id": "hall",
                "region": "eu",
                "power_kw": "unlimited",
                "power_basis": "it",
                "cooling": ["air"],
            }
        ],
        "offers": [
            {"id": "h100", "system": "h100_sxm_8", "kind": "rent", "price_usd_per_gpu_h": 4.0}
        ],
        "search": {"tensor_parallel": [8], "pipeline_parallel": [1], "batch_limits": [128, 256]},
        "solver": {"gap": 0.005},
    }


def servers(plan: Plan) -> int:
    return sum(row.count for row in plan.systems)


@pytest.mark.parametrize(("confidence", "more"), [("expected", 1.1), (0.8, 1.0)])
def test_one_distribution_asks_for_as_much_in_one_bucket_as_in_eight(
    cdf: str, confidence: float | str, more: float
) -> None:
    """To a tenth as the model expects, and one server more, for they are whole."""
    asked = {n: {**chat(cdf, n), "confidence": confidence} for n in (1, 2, 4, 8)}
    counts = {n: servers(optimize_fleet(a, compare_single=False)) for n, a in asked.items()}
    assert max(counts.values()) <= more * min(counts.values()) + 1, counts


def test_a_limit_on_each_bucket_asks_for_more(cdf: str) -> None:
    """One in a hundred may be late: for the longest prompts alone the limit is hard to keep, and
    soon impossible."""

    def servers_at(limit_ms: float, over: str) -> int:
        scenario = chat(cdf, 8, over, rps=100.0)
        scenario["workloads"][0]["slos"][0]["limit_ms"] = limit_ms
        return servers(optimize_fleet(scenario, compare_single=False))

    assert servers_at(450, "class") >= 2 * servers_at(450, "workload")
    assert servers_at(350, "workload") > 0
    with pytest.raises(InfeasibleError, match="nothing can serve len8"):
        servers_at(350, "class")


def test_the_simulated_percentile_of_all_requests_is_within_what_is_promised(cdf: str) -> None:
    scenario = chat(cdf, 4, rps=100.0)
    scenario["workloads"][0]["slos"][0]["limit_ms"] = 350  # which the longest prompts alone miss
    plan = optimize_fleet(scenario, compare_single=False)
    (promise,) = plan.slo
    assert (promise.cls, promise.metric) == ("all", "ttft")
    assert promise.promised_ms is not None and promise.expected_ms is not None
    assert promise.promised_ms <= 350
    assert any(row.own_mix and len(row.classes) == 4 for row in plan.replicas)
    assert sum(sum(route.requests_per_s) for route in plan.routing) == pytest.approx(100.0)
    (limit,) = simulate(plan, scenario).limits
    assert limit["class"] == "all" and limit["verdict"] == "held"
    assert limit["promised_ms"] == promise.promised_ms
    assert limit["simulated_ms"] <= 1.15 * promise.expected_ms


def test_shares_between_known_percentiles() -> None:
    """The logarithm is straight: half of the way from p90 to p95, sqrt(0.1 * 0.05) are later."""
    times = np.array([1.2, 1.0, 2.0, 3.0, 5.0])
    assert [_later(times, t) for t in (2.0, 3.0, 5.0)] == pytest.approx([0.1, 0.05, 0.01])
    assert _later(times, 2.5) == pytest.approx(math.sqrt(0.1 * 0.05))
    assert _later(times, 7.0) == pytest.approx(0.01 / 5)
    assert _later(times, 0.75) == pytest.approx(0.75)
    assert _later(times, 0.4) == 1.0
