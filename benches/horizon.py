"""Plans over time: gap, CPU seconds and size by periods and outlooks.

    python benches/run.py --only horizon

Each case is an example of `examples/` with other periods and outlooks; outlooks come in the second
year and spread demand from 0.6 to 1.95 of the base, and where demand is free what systems cost and
electricity. One run each: `gap` is what was proven of the plan, `cpu_s` of all threads, `s` by the
clock, and `mb` the most memory so far, in the order of the table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from spread import cpu_timed, peak_mb

import tokenfleet as tf

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@dataclass(frozen=True)
class Case:
    """An example with other periods and outlooks, and what is asked of it."""

    example: str
    periods: str
    outlooks: int
    gap: float
    limit_s: float
    cvar: float = 0.0  # weight of the mean of the worst fifth


CASES: dict[str, Case] = {
    "enterprise_4_quarters": Case("enterprise_horizon", "4 quarters", 1, 0.001, 30.0),
    "enterprise_12_quarters": Case("enterprise_horizon", "12 quarters", 1, 0.001, 30.0),
    "enterprise_20_quarters": Case("enterprise_horizon", "20 quarters", 1, 0.001, 30.0),
    "enterprise_12_quarters_3_outlooks": Case("enterprise_horizon", "12 quarters", 3, 0.01, 60.0),
    "enterprise_12_quarters_10_outlooks": Case("enterprise_horizon", "12 quarters", 10, 0.01, 60.0),
    "enterprise_12_quarters_3_outlooks_cvar": Case(
        "enterprise_horizon", "12 quarters", 3, 0.01, 60.0, cvar=0.25
    ),
    "lab_6_quarters": Case("lab_horizon", "6 quarters", 1, 0.01, 60.0),
    "lab_12_quarters": Case("lab_horizon", "12 quarters", 1, 0.01, 60.0),
    "lab_20_quarters": Case("lab_horizon", "20 quarters", 1, 0.01, 60.0),
    "lab_12_quarters_3_outlooks": Case("lab_horizon", "12 quarters", 3, 0.01, 60.0),
    "lab_12_quarters_5_outlooks": Case("lab_horizon", "12 quarters", 5, 0.01, 60.0),
    "lab_12_quarters_10_outlooks": Case("lab_horizon", "12 quarters", 10, 0.01, 120.0),
    "ai_factory_12_quarters_10_outlooks": Case("ai_factory", "12 quarters", 10, 0.01, 120.0),
    "hyperscaler_4_quarters": Case("hyperscaler", "4 quarters", 1, 0.01, 180.0),
    "hyperscaler_12_quarters": Case("hyperscaler", "12 quarters", 1, 0.01, 180.0),
    "hyperscaler_20_quarters": Case("hyperscaler", "20 quarters", 1, 0.01, 180.0),
    "hyperscaler_12_quarters_3_outlooks": Case("hyperscaler", "12 quarters", 3, 0.02, 900.0),
    "hyperscaler_12_quarters_10_outlooks": Case("hyperscaler", "12 quarters", 10, 0.02, 900.0),
}


def measure(quick: bool) -> dict[str, Any]:
    """Gap and seconds of every case; of the smallest with `quick`."""
    found: dict[str, Any] = {}
    for name in [*CASES][:1] if quick else CASES:
        begun = time.perf_counter()
        plan, cpu_s = planned(CASES[name])
        found[f"horizon_{name}_gap"] = plan.gap
        found[f"horizon_{name}_cpu_s"] = cpu_s
        found[f"horizon_{name}_s"] = time.perf_counter() - begun
        found[f"horizon_{name}_mb"] = peak_mb()
        assert plan.horizon is not None
        found[f"horizon_{name}_nodes"] = len(plan.horizon.periods)
    return found


def scenario(case: Case) -> Any:
    """An example with other periods and outlooks."""
    path = EXAMPLES / f"{case.example}.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["horizon"] = {"start": "2026-10", **data.get("horizon", {}), "periods": [case.periods]}
    data["objective"].pop("risk", None)
    if case.cvar:
        data["objective"]["risk"] = {"cvar_alpha": 0.8, "weight": case.cvar}
    data["solver"] = {"gap": case.gap, "time_limit_s": case.limit_s}
    is_free = any(w["demand"].get("free") for w in data["workloads"])
    data["outlooks"] = [
        {"id": f"o{i}", "probability": 1.0 / case.outlooks, "from": "2027-10", **told(i, is_free)}
        for i in range(case.outlooks)
    ]
    if case.outlooks == 1:
        data["outlooks"] = []
    return data


def told(i: int, is_free: bool) -> dict[str, float]:
    """What one outlook says."""
    factor = 0.6 + 0.15 * i
    return {"prices": factor, "tariff": factor} if is_free else {"demand": factor}


def planned(case: Case) -> tuple[tf.Plan, float]:
    """The plan of a case and its CPU seconds."""
    return cpu_timed(lambda: tf.optimize_fleet(scenario(case)))
