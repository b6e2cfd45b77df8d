"""Ctrl-C and the time limit over a horizon: whenever a plan is in hand, it is the answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from interrupts import strikes
from test_horizon_scenario import CHAT, NEWS, over, scenario
from tokenfleet.horizon import proof, run
from tokenfleet.mix.horizon import measures, search, steady
from tokenfleet.mix.search import ratio

GROWS = [{**CHAT, "demand": {"requests_per_s": 9, "growth_per_year": 0.5}}]
TAIL = {"kind": "least_cost", "risk": {"cvar_alpha": 0.8, "weight": 1.0}}
RATIO = {"kind": "least_cost_per_token"}
NEWS_LATER = {"horizon": over(4), "outlooks": NEWS, "workloads": GROWS}


@pytest.fixture(autouse=True)
def _as_at_a_terminal() -> Iterator[None]:
    """Python's own handler, which a shell's background job would not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("changes", "owner", "name", "on"),
    [
        (NEWS_LATER, search, "_exactly", 1),
        (NEWS_LATER, search, "_kept", 1),
        (NEWS_LATER, proof, "confirm_horizon_bound", 1),
        (NEWS_LATER, run, "verify_horizon", 1),
        (NEWS_LATER, run, "verify_latency", 2),
        (NEWS_LATER, run, "recheck", 2),
        (NEWS_LATER, measures, "_alone", 2),
        ({**NEWS_LATER, "objective": TAIL}, search, "_exactly", 2),  # of least mean cost
        ({**NEWS_LATER, "objective": RATIO}, search, "_exactly", 1),
        ({**NEWS_LATER, "objective": RATIO}, ratio.RatioSearch, "below", 1),
        ({"horizon": over(3)}, run, "as_proven", 1),
        ({"horizon": over(3)}, steady, "solve_horizon", 1),
        ({"horizon": over(3)}, run, "with_checked_bound", 1),
    ],
)
def test_ctrl_c_keeps_the_plan_in_hand(
    changes: dict[str, Any], owner: Any, name: str, on: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tf.optimize_fleet(scenario(**changes))
    monkeypatch.setattr(owner, name, strikes(getattr(owner, name), on))
    plan = tf.optimize_fleet(scenario(**changes))
    assert plan.horizon is not None and whole.horizon is not None
    best = whole.best_objective_value or whole.objective_value
    assert best * (1 - 1e-6) <= plan.objective_value <= 1.2 * best


def test_ctrl_c_in_the_batch_keeps_plans_over_time(tmp_path: Path) -> None:
    """Pressed when the second plan of many is there; what was not begun says so, and is resumed."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(30):
        data = scenario(name=f"s{i:02}", **NEWS_LATER)
        (folder / f"s{i:02}.json").write_text(json.dumps(data), "utf-8")
    script = (
        "import signal, sys\n"
        "from pathlib import Path\n"
        "from tokenfleet.batch.run import run_batch\n"
        "from tokenfleet.compute import open_engine\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def told(done, total):\n"
        "    if done == 2: signal.raise_signal(signal.SIGINT)\n"
        "source, out = map(Path, sys.argv[1:])\n"
        "engine = open_engine('processes', 1)\n"
        "report = run_batch([source], out, engine=engine, progress=told)\n"
        "print(report.interrupted, sum(r['meaning'] == 'done' for r in report.rows))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "2"], done.stderr[-2000:]
    for path in (out / "plans").iterdir():
        plan = json.loads(path.read_text("utf-8"))
        assert plan["horizon"]["risk"]["evpi_usd"] is not None


def test_nothing_is_measured_after_the_time_limit() -> None:
    """The plan is waited for, and what its outlooks are worth is not."""
    data = scenario(**NEWS_LATER, solver={"gap": 1e-6, "time_limit_s": 1e-3})
    plan = tf.optimize_fleet(data)
    assert plan.horizon is not None and plan.horizon.risk is not None
    assert plan.objective_value == pytest.approx(
        tf.optimize_fleet(scenario(**NEWS_LATER)).objective_value, rel=0.2
    )
    assert plan.horizon.risk.expected_usd > 0
    assert plan.horizon.risk.evpi_usd is None and plan.horizon.risk.vss_usd is None
