"""The best plan is told as it moves: values and bounds only get better, and end at the answer."""

from __future__ import annotations

import json
import math
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from problems import one_pool
from terminals import rest
from test_ui import hard
from tokenfleet import optimize_fleet
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.report.words import best_so_far


def test_a_long_solve_tells_its_plans_and_its_bound() -> None:
    data = yaml.safe_load(hard())
    data["solver"] = {"gap": 0.0, "time_limit_s": 3}
    told: list[tuple[float, float]] = []
    plan = optimize_fleet(data, watch=lambda value, bound: told.append((value, bound)))
    values, bounds = zip(*told, strict=True)
    assert list(values) == sorted(values, reverse=True)
    assert list(bounds) == sorted(bounds)
    assert all(bound <= value for value, bound in told)
    assert len(set(values)) > 1 or len(set(bounds)) > 1
    best = plan.best_objective_value  # some of it may be given up for a simpler plan
    assert (plan.objective_value if best is None else best) <= values[-1] + 1e-6
    assert plan.bound is not None and bounds[-1] <= plan.objective_value


def test_a_small_problem_tells_its_answer() -> None:
    told: list[tuple[float, float]] = []
    found = solve_mix(
        one_pool([[16.0]]),
        SolveOptions(gap=0.0),
        watch=lambda value, bound: told.append((value, bound)),
    )
    assert told[-1][0] == pytest.approx(found.value)
    assert told[-1][1] == pytest.approx(found.bound)


def test_the_child_of_the_page_says_how_far_it_is() -> None:
    data = yaml.safe_load(hard())
    data["solver"] = {"gap": 0.0, "time_limit_s": 3}
    request = json.dumps({"text": yaml.safe_dump(data), "folder": "."})
    command = [sys.executable, "-m", "tokenfleet.ui.child"]
    done = subprocess.run(command, input=f"{request}\n", capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "loaded" and kinds[-1] == "plan"
    solve = next(event for event in events if event["event"] == "solve")
    assert solve["unit"] == "USD per year" and 0 < solve["bound"] <= solve["value"]


def test_a_plan_in_hand_is_said_in_words() -> None:
    assert best_so_far(200.0, 198.0, "USD per year") == "best so far $200 a year, within 1.0%"
    assert best_so_far(200.0, -math.inf, "USD per year") == "best so far $200 a year"


def test_a_terminal_shows_the_best_plan_so_far(tmp_path: Path) -> None:
    file = tmp_path / "hard.yaml"
    file.write_text(hard().replace("time_limit_s: 20", "time_limit_s: 3"))
    terminal, theirs = pty.openpty()
    command = [sys.executable, "-m", "tokenfleet", "plan", str(file), "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    ) as running:
        os.close(theirs)
        shown = rest(terminal)
        running.wait()
    assert re.search(rb"best so far \$[\d,]+ a year, within", shown)
