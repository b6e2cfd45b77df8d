"""What the model has to show, a row a goal: errors of runs that no fit saw, in percent.

New cell: nothing of an accelerator and an architecture is in either fit; new kind: nothing of an
engine on a family, or of a format on a generation. A later round of a benchmark is in no fit.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tokenfleet.backtest.errors import METRICS, stats
from tokenfleet.backtest.regimes import HOST_BOUND
from tokenfleet.backtest.result import Result

_LATER = "a later round"
# Share of the most tokens/s that a layout was measured at.
_LOADS = (("at most a tenth", 0.0, 0.1), ("a quarter to a half", 0.25, 0.5), ("full", 0.8, 1.0))
_LOAD_GOAL = "-12 to 12"

Folds = Mapping[str, Mapping[str, Any]]


class _Goal(NamedTuple):
    """Where a figure stands in the folds: a split, a row of it by these two labels, a figure."""

    of: str
    figure: str
    goal: str
    split: str
    row: tuple[str, str]
    key: str


def _goals() -> Iterable[_Goal]:
    cell, kind = "new_cell", "new_kind"
    closed, pools = ("loop", "closed"), ("closed", "separate pools")
    for name, key, goal in (("TPOT", "tpot", "8"), ("tokens/s", "tokens_s_gpu", "8")):
        yield _Goal("closed loops", f"{name}, median", goal, cell, closed, f"{key}_median_pct")
    yield _Goal("closed loops", "TTFT, median", "22", cell, closed, "ttft_median_pct")
    yield _Goal("new kind", "TPOT, median", "15", kind, closed, "tpot_median_pct")
    yield _Goal("new kind", "inside 80 %", "75-85", kind, closed, "interval80_coverage_pct")
    yield _Goal("separate pools", "TPOT, mean", "12", cell, pools, "tpot_mape_pct")
    yield _Goal("separate pools", "tokens/s, mean", "15", cell, pools, "tokens_s_gpu_mape_pct")
    for scenario, goal in (("offline", "10"), ("server", "14"), ("interactive", "14")):
        row = ("offline" if scenario == "offline" else "server", f"MLPerf {scenario}")
        cells = "_cells" if scenario == "offline" else ""
        key = f"tokens_s_gpu{cells}_mape_pct"
        yield _Goal(f"MLPerf v5.1 {scenario}", "tokens/s, mean", goal, cell, row, key)
    amd, host = ("vendor", "AMD"), ("host", HOST_BOUND)
    yield _Goal("AMD, a model left out", "TPOT, median", "14", cell, amd, "tpot_median_pct")
    yield _Goal("host-bound", "tokens/s, median", "18", cell, host, "tokens_s_gpu_median_pct")


def goal_rows(
    folds: Folds, results: Sequence[Result], refused: Sequence[tuple[str, int]]
) -> list[dict[str, Any]]:
    """The rows; `results` carry predictions of the shipped calibration."""
    rows = []
    for goal in _goals():
        found = _row(folds, goal)
        if found is not None:
            n = found[f"{_metric(goal.key)}_n"]
            rows.append(_shown(goal.of, goal.figure, n, found[goal.key], goal.goal))
    rows += _later_rounds(results)
    rows += _joules(results)
    total = sum(n for _, n in refused)
    return [*rows, _shown("rows refused", f"for {len(refused)} reasons", total, None, "all true")]


def _shown(of: str, figure: str, n: int, found: float | None, goal: str) -> dict[str, Any]:
    return {"of": of, "figure": figure, "n": n, "found_pct": found, "goal": goal}


def _metric(key: str) -> str:
    """The metric of a figure; of all of a run's, TPOT counts them."""
    return next((m for m in METRICS if key.startswith(m)), "tpot")


def _row(folds: Folds, goal: _Goal) -> Mapping[str, Any] | None:
    tables = folds.get(goal.split, {})
    by_regime = ((r["by"], r["value"], r) for r in tables.get("regimes", ()))
    by_kind = ((r["kind"], r["benchmark"], r) for r in tables.get("benchmarks", ()))
    for by, value, row in (*by_kind, *by_regime):
        if (by, value) == goal.row:
            found: Mapping[str, Any] = row
            return found
    return None


def _later_rounds(results: Sequence[Result]) -> Iterable[dict[str, Any]]:
    later = [r for r in results if r.run.flag.startswith(_LATER)]
    for scenario, goal in (("offline", "10"), ("server", "14"), ("interactive", "14")):
        own = [r for r in later if r.run.benchmark == f"MLPerf {scenario}"]
        if own:
            found = stats(own)["tokens_s_gpu_mape_pct"]
            of = f"MLPerf v6.0 {scenario}, v5.1 known"
            yield _shown(of, "tokens/s, mean", len(own), found, goal)


def _joules(results: Sequence[Result]) -> Iterable[dict[str, Any]]:
    """J/token at the tokens/s that were measured, signed, by load."""
    metered = [
        r
        for r in results
        if r.run.kind == "closed" and "watts" in r.run.measured and "watts" in r.predicted
    ]
    most: dict[object, float] = {}
    for r in metered:
        rate = r.run.measured["tokens_s_gpu"]
        most[_same(r)] = max(most.get(_same(r), 0.0), rate)
    for name, low, high in _LOADS:
        own = [r for r in metered if low < r.run.measured["tokens_s_gpu"] / most[_same(r)] <= high]
        if own:
            off = [100.0 * (r.predicted["watts"] / r.run.measured["watts"] - 1.0) for r in own]
            found = statistics.fmean(off)
            yield _shown(f"load {name}", "J/token, signed mean", len(own), found, _LOAD_GOAL)


def _same(result: Result) -> object:
    return result.layout, result.run.input
