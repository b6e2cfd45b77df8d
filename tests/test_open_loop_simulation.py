"""Measured open-loop runs against the simulator, each on its own layout, rate and lengths."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
POINTS = ROOT.parent / "shared" / "facts" / "open_loop_points.csv"
sys.path.insert(0, str(ROOT / "benches"))

import open_loop  # noqa: E402


@pytest.mark.skipif(not POINTS.exists(), reason="measured runs are not beside the repository")
def test_simulated_latencies_are_those_of_measured_runs() -> None:
    rows, _ = open_loop.compare(POINTS)
    assert len(rows) >= 15
    off = open_loop.medians(rows)
    assert off["ttft_p50"]["simulated"] <= 0.20
    assert off["ttft_p99"]["simulated"] <= 0.35
    assert off["tpot_p50"]["simulated"] <= 0.12
