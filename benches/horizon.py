"""Plans over time: gap, CPU seconds and size by periods and outlooks.

    python benches/run.py --only horizon
    python benches/horizon.py [TEXT ...]     a table, row by row as it is measured; of all cases, or
                                             of those whose names have one of the texts in them;
                                             a whole name is that case alone

Each case is an example of `examples/` with other periods and outlooks; its demand grows by a tenth
of it a year where it states no growth. Outlooks come in the second year (in the middle of the
first, where there is no other) and spread demand from 0.6 to 1.95 of the base, and where demand is
free what systems cost and electricity. One run each, in a process of its own: `gap` is what was
proven of the plan, `cpu_s` of all threads, `s` by the clock, and `mb` the most memory.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml
from spread import cpu_timed, peak_mb

import tokenfleet as tf

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GROWTH = 0.1


@dataclass(frozen=True)
class Case:
    """An example with other periods and outlooks, and what is asked of it."""

    example: str
    periods: str
    outlooks: int
    gap: float
    limit_s: float
    cvar: float = 0.0  # weight of the mean of the worst fifth
    growth: float = 0.0  # of demand a year, where the example states none
    apart: bool = False  # prefill apart from decode, too


def grown(
    name: str, example: str, gap: float, limit_s: float, with_outlooks: float = 0.01
) -> dict[str, Case]:
    """An example by periods and outlooks; with outlooks a wider gap will do."""
    return {
        f"{name}_{periods}_quarters" + (f"_{outlooks}_outlooks" if outlooks > 1 else ""): Case(
            example,
            f"{periods} quarters",
            outlooks,
            gap if outlooks == 1 else with_outlooks,
            limit_s,
            growth=GROWTH,
        )
        for periods in (4, 8, 12, 20)
        for outlooks in (1, 3, 10)
    }


CASES: dict[str, Case] = {
    **grown("enterprise", "enterprise_horizon", 0.001, 60.0),
    **grown("lab", "lab_horizon", 0.01, 120.0),
    **grown("ai_factory", "ai_factory", 0.01, 120.0),
    **grown("hyperscaler", "hyperscaler", 0.01, 900.0, with_outlooks=0.02),
    "enterprise_12_quarters_3_outlooks_cvar": Case(
        "enterprise_horizon", "12 quarters", 3, 0.01, 60.0, cvar=0.25
    ),
    "enterprise_12_quarters_10_outlooks_prefill_apart": Case(
        "enterprise_horizon", "12 quarters", 10, 0.01, 60.0, growth=GROWTH, apart=True
    ),
    "hyperscaler_12_equal_quarters": Case("hyperscaler", "12 quarters", 1, 0.01, 180.0),
    "hyperscaler_12_quarters_10_outlooks_apart": Case(
        "hyperscaler", "12 quarters", 10, 0.02, 900.0
    ),
}


def measure(quick: bool) -> dict[str, Any]:
    """Gap and seconds of every case; of the smallest with `quick`."""
    names = [*CASES][:1] if quick else [*CASES]
    return {
        f"horizon_{name}_{what}": value
        for name, row in zip(names, measured(names), strict=True)
        for what, value in row.items()
    }


def named(texts: list[str]) -> list[str]:
    """Cases by their names or by texts in these, all by default."""
    by_text = [text for text in texts if text not in CASES]
    return [n for n in CASES if not texts or n in texts or any(text in n for text in by_text)]


def measured(names: Iterable[str]) -> Iterable[dict[str, Any]]:
    """What each case takes, one after another; text where it has no plan."""
    for name in names:
        with ProcessPoolExecutor(1, get_context("spawn")) as alone:
            yield alone.submit(row_of, name).result()


def row_of(name: str) -> dict[str, Any]:
    """What one case takes."""
    begun = time.perf_counter()
    try:
        plan, cpu_s = planned(CASES[name])
    except tf.TokenfleetError as error:
        return {"failed": str(error)}
    assert plan.horizon is not None
    return {
        "nodes": len(plan.horizon.periods),
        "gap": plan.gap,
        "check": plan.bound_check,
        "cpu_s": cpu_s,
        "s": time.perf_counter() - begun,
        "mb": peak_mb(),
    }


def printed(names: list[str]) -> None:
    """The table, row by row."""
    print("| case | nodes | gap | bound confirmed by | CPU s | s | MB |")
    print("|---|--:|--:|---|--:|--:|--:|")
    for name, row in zip(names, measured(names), strict=True):
        if "failed" in row:
            print(f"| {name} | {row['failed']} |", flush=True)
            continue
        gap = "none" if row["gap"] is None else f"{row['gap']:.4%}"
        figures = (f"{row[key]:.0f}" for key in ("cpu_s", "s", "mb"))
        cells = (name, str(row["nodes"]), gap, row["check"], *figures)
        print(f"| {' | '.join(cells)} |", flush=True)


def scenario(case: Case) -> Any:
    """An example with other periods and outlooks."""
    path = EXAMPLES / f"{case.example}.yaml"
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    data["horizon"] = {"start": "2026-10", **data.get("horizon", {}), "periods": [case.periods]}
    if case.periods == "4 quarters":  # too short for what is sold later
        data["offers"] = [offer for offer in data["offers"] if "order_from" not in offer]
    data["objective"].pop("risk", None)
    if case.cvar:
        data["objective"]["risk"] = {"cvar_alpha": 0.8, "weight": case.cvar}
    data["solver"] = {"gap": case.gap, "time_limit_s": case.limit_s}
    if case.apart:
        data["search"]["disaggregate"] = True
    is_free = any(w["demand"].get("free") for w in data["workloads"])
    if case.growth and not is_free:
        for workload in data["workloads"]:
            workload["demand"].setdefault("growth_per_year", case.growth)
    news = "2027-04" if case.periods == "4 quarters" else "2027-10"
    data["outlooks"] = [
        {"id": f"o{i}", "probability": 1.0 / case.outlooks, "from": news, **told(i, is_free)}
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


if __name__ == "__main__":
    printed(named(sys.argv[1:]))
