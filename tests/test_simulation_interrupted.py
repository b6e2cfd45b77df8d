"""Ctrl-C during simulations: it is pressed at an event, never after a time."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokenfleet as tf
from terminals import METER, rest, until
from test_cli import COMMAND, run
from test_fleet_simulation import closed
from test_fleet_simulation import simulate as simulate_fleet
from test_simulate import lengths, load_s, one_class
from test_simulation import LIGHT, scenario, trace_file
from tokenfleet import _core
from tokenfleet.mix.solver.highs import wait_for
from tokenfleet.plan.known_rows import Position
from tokenfleet.simulation.fleet import Whole
from tokenfleet.simulation.loads import sweep
from tokenfleet.verify import bound

Json = dict[str, Any]
ENDLESS = replace(LIGHT, requests=200_000_000)


@pytest.fixture(scope="module")
def planned() -> tuple[Json, Json]:
    """A scenario, and its plan as JSON."""
    own = scenario()
    return own, tf.optimize_fleet(own).to_json()


def strike() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def striking(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """Presses Ctrl-C as the `call`-th simulation begins."""
    lock, begun = threading.Lock(), []

    def with_strike(simulation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            with lock:
                begun.append(args)
                if len(begun) == call:
                    strike()
            return simulation(*args, **options)

        return run

    for name in ("simulate", "replay", "simulate_fleet"):
        monkeypatch.setattr(_core, name, with_strike(getattr(_core, name)))


# Core


def test_a_flag_ends_a_run_with_what_was_simulated() -> None:
    """It is looked at every few thousand events: by then some requests are finished."""
    problem, flag = one_class("llama-8b"), _core.StopFlag()
    flag.set()
    rate = np.array([0.6 / load_s(problem)])
    found = _core.simulate(
        problem, 0, rate, lengths(), requests=2_000_000_000, warmup=0.0, stop=flag
    )
    total, row = found["conservation"], found["classes"][0]
    assert found["interrupted"] and found["replications"] == _core.SIMULATION["replications"]
    assert total["arrived"] == total["finished"] + total["rejected"] + total["in_flight"]
    assert 0 < row["finished"] < row["arrived"]
    assert all(s["judged"] == s["finished"] < s["arrived"] for s in row["samples"])
    whole = _core.simulate(
        problem, 0, rate, lengths(), requests=20, warmup=0.0, stop=_core.StopFlag()
    )
    assert not whole["interrupted"]
    assert all(s["judged"] == s["arrived"] for s in whole["classes"][0]["samples"])


def test_a_flag_ends_a_fleet_with_what_was_simulated() -> None:
    problem, flag = one_class("llama-8b"), _core.StopFlag()
    flag.set()
    found = simulate_fleet(
        problem,
        [{"id": 0}],
        rate=0.6 / load_s(problem),
        requests=2_000_000_000,
        warmup=0.0,
        replications=2,
        stop=flag,
    )
    assert found["interrupted"] and closed(found)
    row = found["classes"][0]
    assert 0 < row["finished"] < row["arrived"]
    assert row["unfinished"] == row["arrived"] - row["finished"]
    # Those under way are not counted as failed.
    assert row["attainment"][0] == row["good"] / row["finished"]


# Plans


def test_groups_that_were_simulated_stay(planned: tuple[Json, Json]) -> None:
    own, plan = planned

    def stop(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    found = tf.simulate(plan, own, settings=LIGHT, progress=stop)
    assert found.interrupted and not found.held
    assert len(found.groups) == 1 and found.latency[0]["finished"] > 0


def test_replications_that_were_simulated_stay(
    planned: tuple[Json, Json], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, plan = planned
    path = trace_file(tmp_path, [(0.5 * i, 1000, 200) for i in range(400)])
    settings = replace(LIGHT, replications=50, threads=1)
    striking(monkeypatch, 3)
    found = tf.simulate(plan, own, trace=path, lengths="trace", settings=settings)
    assert found.interrupted and not found.held
    (group,) = found.groups
    assert group["interrupted"] and 1 <= group["replications"] < 50
    assert {row["verdict"] for row in found.limits} <= {"held", "failed", "unclear"}
    assert found.delivered["good_share"] is not None


def test_nothing_is_said_of_what_was_not_measured(
    planned: tuple[Json, Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, plan = planned
    striking(monkeypatch, 1)
    found = tf.simulate(plan, own, settings=ENDLESS)
    assert found.interrupted and not found.held
    assert found.groups == () and found.limits == ()
    assert found.delivered["good_share"] is None
    assert found.delivered["cost_per_mtok_good_output_usd"] is None


def test_a_fleet_under_way_is_ended(
    planned: tuple[Json, Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its group, which is simulated first; nothing may have been measured of it yet."""
    own, plan = planned
    striking(monkeypatch, 2)
    found = tf.simulate(plan, own, settings=LIGHT, whole=Whole())
    assert found.interrupted and all(one["interrupted"] for one in found.fleets)
    assert [group["interrupted"] for group in found.groups] == [False]


def test_loads_that_were_simulated_stay(
    planned: tuple[Json, Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, plan = planned
    striking(monkeypatch, 2)
    points = sweep(lambda s: tf.simulate(plan, own, settings=s), LIGHT, (0.5, 1.0, 2.0))
    assert [one.interrupted for one in points] == [False, True]


@pytest.mark.parametrize("when", ["round 1: simulating group 1", "round 2: simulating group 1"])
def test_a_verified_plan_says_in_which_round_it_was(when: str) -> None:
    """Bursts that the formulas do not know make the first plan fail."""
    own = scenario(slos=[{"metric": "ttft", "percentile": "p95", "limit_ms": 120}])
    bursts = replace(LIGHT, burstiness=0.1)

    def note(text: str) -> None:
        if text.startswith(when):
            raise KeyboardInterrupt

    plan = tf.optimize_fleet(own, verify="simulate", simulation=bursts, note=note)
    told, number = plan.verification, int(when[6])
    assert plan.interrupted and plan.systems and told is not None
    assert told.holds is None and len(told.rounds) == number - 1
    assert told.interrupted == Position(round=number, groups_judged=0, groups=1)


# Command line


@pytest.mark.parametrize("options", [(), ("--plot", "load.svg")], ids=["simulate", "plot"])
def test_the_command_prints_what_was_simulated(
    planned: tuple[Json, Json], tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Pressed as the meter of the plan begins, or that of the loads of a plot."""
    own, plan = tmp_path / "own.yaml", tmp_path / "plan.json"
    own.write_text(json.dumps(planned[0]))
    assert run("plan", own, "-o", plan).returncode == 0
    many = ("--hours", "200") if not options else ("--requests", "20000")
    master, slave = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "simulate", str(plan), *many, "--json", *options],
        stdout=subprocess.PIPE,
        stderr=slave,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(slave)
        until(master, *[METER] * (2 if options else 1), b"0/1")
        process.send_signal(signal.SIGINT)
        drain = threading.Thread(target=rest, args=(master,), daemon=True)
        drain.start()
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    found = json.loads(output)
    assert found["interrupted"] is not bool(options)
    if options:  # the plan itself was simulated to the end
        assert found["groups"]


def test_ctrl_c_while_a_bound_is_checked_keeps_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """HiGHS's own wait would hear it and go on; the check ends, and a short one is made."""
    calls = []

    def stopped(solver: Any) -> bool:
        calls.append(wait_for(solver))
        return len(calls) == 1

    monkeypatch.setattr(bound, "wait_for", stopped)
    plan = tf.optimize_fleet(scenario())
    assert plan.interrupted and len(calls) > 1
    assert plan.bound_check != "none"
