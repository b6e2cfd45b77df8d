"""Parts of an explanation side by side: the same answers, and Ctrl-C keeps what is done."""

from __future__ import annotations

import io
import threading
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
from rich.console import Console

import tokenfleet as tf
from test_explain import pressed
from test_mistakes_of_files import BASE, DEMAND, OFFER, written
from test_sweep_diff_model import measured
from tokenfleet.cli.plans import DEMO
from tokenfleet.errors import SchemaError
from tokenfleet.explanation import in_part
from tokenfleet.explanation.parts import PARTS
from tokenfleet.explanation.side_by_side import side_by_side
from tokenfleet.mix.solver.beside import Beside
from tokenfleet.mix.solver.highs import STOP
from tokenfleet.report.terminal import render
from tokenfleet.scenario.load import with_solver


def test_several_parts_at_a_time_answer_as_one_after_the_other() -> None:
    alone, together = (
        tf.explain(measured(), parts=list(PARTS), jobs=jobs).to_json() for jobs in (1, 3)
    )
    for found in (alone, together):
        found.pop("seconds")
    assert together == alone


def test_what_is_cut_in_pieces_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flip prices of a problem that is searched in part, with the ranges that go with them."""
    monkeypatch.setattr(in_part, "WHOLE", 0)
    alone, together = (
        tf.explain(measured(), parts=["flip", "ranges"], jobs=jobs) for jobs in (1, 2)
    )
    for rows in ("flip", "ranges"):
        one, two = ([row.name for row in getattr(found, rows)] for found in (alone, together))
        assert two == one and len(set(two)) == len(two) > 0


@pytest.mark.parametrize("jobs", [0, -2])
def test_fewer_jobs_than_one_are_refused(jobs: int) -> None:
    with pytest.raises(SchemaError, match=f"--jobs: {jobs} is not a number of jobs"):
        tf.explain(measured(), parts=["worth"], jobs=jobs)


def test_every_piece_is_told_to_stop_and_an_error_is_raised() -> None:
    seen: list[threading.Event | None] = []

    def listen() -> None:
        seen.append(STOP.get())

    side_by_side([listen, listen], 2)
    assert seen[0] is seen[1] is not None and STOP.get() is None
    with pytest.raises(ZeroDivisionError):
        side_by_side([lambda: None, lambda: 1 // 0 and None], 2)


def test_ctrl_c_stops_every_part_and_keeps_its_rows() -> None:
    """It comes while the flip price of the second offer is worked out, beside another part."""
    found = pressed(jobs=2)
    assert found["interrupted"] and [row["name"] for row in found["flip"]] == ["h100-buy"]
    assert found["notes"][0].startswith("stopped by the user: worth, flip,")


def test_a_piece_beside_has_the_value_that_it_has_alone() -> None:
    for threaded in (False, True):
        with Beside(threaded=threaded) as beside:
            first, second = (beside.begin(partial(pow, 2, n)) for n in (3, 4))
            assert (second(), first()) == (16, 8)
            with pytest.raises(ZeroDivisionError):
                beside.begin(lambda: 1 // 0)()


def test_what_runs_beside_is_stopped_at_the_end_and_at_ctrl_c() -> None:
    stopped: list[bool] = []

    def listen() -> None:
        stop = STOP.get()
        assert stop is not None
        stopped.append(stop.wait(60))

    with Beside(threaded=True) as beside:
        beside.begin(listen)
    with (
        Beside(threaded=True) as beside,
        mock.patch("tokenfleet.mix.solver.beside.wait", side_effect=KeyboardInterrupt),
    ):
        running, later = beside.begin(listen), beside.begin(lambda: 1)
        with pytest.raises(KeyboardInterrupt):
            running()
        with pytest.raises(KeyboardInterrupt):
            later()
    assert stopped == [True, True]


def test_both_answers_and_each_way_are_the_same_on_one_thread() -> None:
    """The enterprise example; on one thread nothing runs beside anything."""
    patient = with_solver(tf.load_scenario(DEMO), {"time_limit_s": 3600.0}, "test")
    alone, together = (
        tf.optimize_fleet(with_solver(patient, {"threads": n}, "test"), both=True, alone=True)
        for n in (1, 2)
    )
    assert alone.other == together.other
    assert alone.ways == together.ways
    assert alone.objective_value == together.objective_value


def test_a_way_alone_says_what_it_cannot_serve(tmp_path: Path) -> None:
    """One owned system of eight replicas of 5 requests/s serves 40 of 60; nothing is for sale."""
    text = BASE.replace(OFFER, "{id: h100, system: h100_sxm_8, kind: buy, supply: 1}")
    api = "{id: bill, workload: chat, region: eu, usd_per_mtok_input: 1, usd_per_mtok_output: 1"
    text = text.replace(DEMAND, "{requests_per_s: 60}").replace(
        "columns:", f"apis:\n  - {api}, max_requests_per_s: 30, slo_attested: true}}\ncolumns:"
    )
    plan = tf.optimize_fleet(written(tmp_path, text), alone=True)
    told = {way.name: (way.impossible, way.why) for way in plan.ways}
    chat = "workload chat, class turn:"
    assert told == {
        "buy": (True, f"{chat} 20 of 60 requests/s cannot be served"),
        "API": (True, f"{chat} 30 of 60 requests/s cannot be served"),
    }
    console = Console(file=io.StringIO(), width=80)
    render(plan, console)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert f"buy: {chat} 20 of 60 requests/s cannot be served" in said
