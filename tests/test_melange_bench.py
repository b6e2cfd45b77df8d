"""The bench of Mélange plans: its draws, and that it runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benches"))

import melange  # noqa: E402


def test_a_seed_is_one_draw() -> None:
    texts = [json.dumps(melange.draw(seed, **melange.QUICK)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_full_shape_is_that_of_the_goal() -> None:
    drawn = melange.draw(1)
    assert len(drawn["gpu_info"]) == 256
    assert sum(map(len, drawn["workload_distribution"])) == 60
    assert sum(map(sum, drawn["workload_distribution"])) == pytest.approx(1.0)
    assert all(0.5 <= info["cost"] <= 12.0 for info in drawn["gpu_info"].values())


def test_the_bench_runs() -> None:
    figures = melange.measure(quick=True)
    seconds, optimizing = figures["melange_s"], figures["melange_optimize_s"]
    assert 0 < optimizing["low"] < seconds["low"] <= seconds["median"] <= seconds["high"]
    assert 0 <= figures["melange_gap"] <= 1e-4  # the solver's default
    # A rate falls with the lengths and is at most 1.6 x 1.3 x 20 of $1/h in the shortest bucket.
    assert figures["melange_usd_per_h"]["low"] > melange.REQUESTS_PER_S / (1.6 * 1.3 * 20)
