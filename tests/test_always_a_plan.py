"""A time limit cuts what improves a plan, never the first one, however slow the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from problems import free_problem, random_problem
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.effort import Slowness
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.mix import verify_mix

NO_TIME = SolveOptions(gap=0.0, time_limit_s=1e-9)
ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
A_TENTH = 10  # the niceness at which a process gets about a tenth of what one at 0 gets beside it


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_no_time_at_all_gives_a_plan(
    seed: int, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes that do not divide one another are not rounded: there the solver finds a first plan."""
    if large:
        monkeypatch.setattr("tokenfleet.mix.search.stages.SMALL", 0)
    problem = random_problem(seed, classes=2, sizes=(1, 2, 4) if seed % 2 else (2, 3, 4))
    result = solve_mix(problem, NO_TIME)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


@pytest.mark.parametrize("seed", range(4))
def test_no_time_at_all_gives_a_ratio(seed: int) -> None:
    result = solve_mix(free_problem(seed), NO_TIME)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_have_a_plan_in_no_time(path: Path) -> None:
    """And the answer at the expectation, which has no time either, is never a worse plan."""
    loaded = load_scenario(path)
    solver = loaded.scenario.solver.model_copy(update={"time_limit_s": 1e-6})
    scenario = loaded.scenario.model_copy(update={"solver": solver})
    plan = tf.optimize_fleet(replace(loaded, scenario=scenario), both=True)
    assert plan.systems
    assert plan.bound is not None
    if loaded.scenario.horizon is None:
        assert plan.confidence == 0.8
        assert plan.other is not None and plan.other.objective_value is not None
        assert plan.other.objective_value <= plan.objective_value


@pytest.fixture
def busy() -> Iterator[None]:
    """Every processor has a process that never rests."""
    spin = [sys.executable, "-c", "while True: pass"]
    spinning = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)]
    yield
    for process in spinning:
        process.kill()
        process.wait()


def planned(path: Path, *options: str, niceness: int = 0) -> dict[str, Any]:
    """The plan of the command line in a second, with its exit code as `code`."""
    command = [sys.executable, "-m", "tokenfleet", "plan", str(path), "--time-limit", "1"]
    ran = subprocess.run(
        [*command, *options, "--json"],
        capture_output=True,
        check=False,
        preexec_fn=lambda: os.nice(niceness),
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return {**found, "code": ran.returncode}


def keeps_its_word(found: dict[str, Any]) -> bool:
    """A plan with its gap; what is not proven within the gap asked for ends in 4, else in 0."""
    proven = found["status"] in ("optimal", "within_gap")
    in_time = found["status"] in ("feasible", "feasible_time_limit")
    return found["gap"] is not None and found["code"] == (0 if proven else 4 if in_time else -1)


@pytest.mark.skipif(not hasattr(os, "nice"), reason="processes have no niceness here")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_examples_in_a_second_of_a_tenth_of_a_processor(path: Path, busy: None) -> None:
    """`ALL_BUSY=1` before pytest asks every example, which takes ten minutes on two cores."""
    if path.stem != "ai_factory" and not os.environ.get("ALL_BUSY"):
        pytest.skip("takes a minute: set ALL_BUSY=1")
    options = ("--confidence", "expected", "--verify", "none")
    assert keeps_its_word(planned(path, *options, niceness=A_TENTH))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_big_draws_in_a_second(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sites of the bench of big plans, solved by generation of columns as a big one is."""
    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    import generate_scenario  # noqa: PLC0415 (of the benches)

    monkeypatch.setattr("tokenfleet.mix.generate.generation.LARGE", 0)
    monkeypatch.setattr("tokenfleet.mix.generate.generation.GENERATED", 0)
    drawn = generate_scenario.scenario(seed, 5_000.0, sites=3, systems=6, workloads=3)
    drawn["solver"]["time_limit_s"] = 1.0
    plan = tf.optimize_fleet(generate_scenario.write(tmp_path, drawn))
    assert plan.systems and plan.gap is not None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_big_mixes_in_a_second(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    import generate_mix  # noqa: PLC0415 (of the benches)

    problem = generate_mix.generate(seed, generate_mix.Shape())
    result = solve_mix(problem, SolveOptions(gap=1e-6, time_limit_s=1.0))
    assert result.gap < 1.0
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


def test_a_machine_that_is_busy_elsewhere_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds for one of work: a check that has 15 s on an idle machine has 150 s there."""
    now = {"wall": 0.0, "cpu": 0.0}
    monkeypatch.setattr("time.perf_counter", lambda: now["wall"])
    monkeypatch.setattr("time.process_time", lambda: now["cpu"])
    slowness = Slowness()
    now |= {"wall": 50.0, "cpu": 5.0}
    assert slowness.factor() == pytest.approx(10.0)
    now["cpu"] = 80.0  # two threads at work
    assert slowness.factor() == 1.0
    now["wall"] = 1e6
    assert slowness.factor() == 20.0
    two = Slowness(threads=2)
    now |= {"wall": 1e6 + 10.0, "cpu": 100.0}  # two seconds of work a second: nobody waits
    assert two.factor() == 1.0
    now["wall"] += 90.0  # a tenth of a processor for each
    assert two.factor() == pytest.approx(10.0)
