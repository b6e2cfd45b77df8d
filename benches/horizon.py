"""Plans over time: gap, CPU seconds and size by periods and outlooks.

    python benches/run.py --only horizon

Each case is the enterprise or the lab of `examples/` with other periods and outlooks; outlooks come
in the second year and spread demand from 0.6 to 1.95 of the base. One run each: `gap` is what was
proven of the plan, `cpu_s` of all threads.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import yaml

import tokenfleet as tf

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
#: Name: (example, periods, outlooks, gap, seconds).
CASES: dict[str, tuple[str, Any, int, float, float]] = {
    "enterprise_4_quarters": ("enterprise", ["4 quarters"], 1, 0.01, 60.0),
    "enterprise_12_quarters": ("enterprise", ["12 quarters"], 1, 0.01, 60.0),
    "enterprise_20_quarters": ("enterprise", ["20 quarters"], 1, 0.01, 60.0),
    "enterprise_12_quarters_10_outlooks": ("enterprise", ["12 quarters"], 10, 0.01, 60.0),
    "lab_12_quarters": ("lab", ["12 quarters"], 1, 0.01, 60.0),
    "lab_12_quarters_10_outlooks": ("lab", ["12 quarters"], 10, 0.01, 120.0),
}


def measure(quick: bool) -> dict[str, Any]:
    """Gap and CPU seconds of every case; of the two smallest with `quick`."""
    found: dict[str, Any] = {}
    for name in [*CASES][:1] if quick else CASES:
        plan, seconds = planned(*CASES[name])
        found[f"horizon_{name}_gap"] = plan.gap
        found[f"horizon_{name}_cpu_s"] = seconds
        assert plan.horizon is not None
        found[f"horizon_{name}_nodes"] = len(plan.horizon.periods)
    return found


def scenario(example: str, periods: Any, outlooks: int, gap: float, limit_s: float) -> Any:
    """An example with other periods and outlooks."""
    path = EXAMPLES / f"{example}_horizon.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["horizon"] |= {"periods": periods}
    data["objective"] = {"kind": "least_cost"}
    data["solver"] = {"gap": gap, "time_limit_s": limit_s}
    data["outlooks"] = [
        {"id": f"o{i}", "probability": 1.0 / outlooks, "from": "2027-10", "demand": 0.6 + 0.15 * i}
        for i in range(outlooks)
    ]
    if outlooks == 1:
        data["outlooks"] = []
    return data


def planned(*case: Any) -> tuple[tf.Plan, float]:
    """The plan of a case and its CPU seconds."""
    begun = time.process_time()
    plan = tf.optimize_fleet(scenario(*case))
    return plan, time.process_time() - begun
