"""Pieces of work on threads and child processes: values, errors, crashes, limits, cancelling."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tokenfleet.compute import Outcome, WorkLimits, in_order, open_engine, processes
from tokenfleet.compute.base import WorkError
from tokenfleet.errors import InfeasibleError, SchemaError


def square(x: int) -> int:
    """A piece that cannot fail."""
    return x * x


def moody(x: Any) -> Any:
    """A piece that does what its item says."""
    if x == "raise":
        raise InfeasibleError("too little power", ["power_kw"], "add some")
    if x == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if x == "exit":
        os._exit(7)
    if x == "unsendable":
        return lambda: None
    if x == "talk":
        print("this must not reach the parent's standard output")
    return x


def mark(folder: str) -> None:
    """Leaves a file and sleeps."""
    Path(folder, f"{os.getpid()}").touch()
    time.sleep(600)


@pytest.mark.parametrize("name", ["threads", "processes"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_every_item_has_one_outcome(name: str, jobs: int) -> None:
    found = list(open_engine(name, jobs).run(square, range(7)))
    assert sorted((o.index, o.value) for o in found) == [(i, i * i) for i in range(7)]
    assert list(open_engine(name, jobs).run(square, [])) == []


def test_in_order_waits_for_those_before() -> None:
    outcomes = [Outcome(i, i) for i in (2, 0, 1, 3)]
    assert [o.index for o in in_order(outcomes)] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_an_error_keeps_its_type_and_hint(name: str) -> None:
    (outcome,) = open_engine(name, 1).run(moody, ["raise"])
    assert outcome.kind == "raised"
    with pytest.raises(InfeasibleError) as caught:
        outcome.require()
    assert (caught.value.hint, caught.value.conflicts) == ("add some", ("power_kw",))


def test_a_dead_child_costs_its_own_piece_only(capfd: pytest.CaptureFixture[str]) -> None:
    items = [1, "die", 2, "exit", 3, "unsendable", "talk", 4]
    found = {o.index: o for o in open_engine("processes", 2).run(moody, items)}
    assert [found[i].value for i in (0, 2, 4, 6, 7)] == [1, 2, 3, "talk", 4]
    assert found[1].kind == "crashed" and "SIGKILL" in found[1].error
    assert found[3].kind == "crashed" and "exit code 7" in found[3].error
    assert found[5].kind == "raised" and "cannot be sent" in found[5].error
    assert capfd.readouterr().out == ""
    with pytest.raises(WorkError, match="piece 1"):
        found[1].require()


def test_a_piece_out_of_time_is_stopped_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's clock stands still but for a leap once the first piece is at work."""

    def clock() -> float:
        return 1000.0 if any(tmp_path.iterdir()) else 0.0

    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=clock))
    engine = open_engine("processes", 1)
    found = list(engine.run(mark_or_return, [str(tmp_path), "", ""], WorkLimits(seconds=0.5)))
    assert [(o.index, o.kind) for o in found] == [(0, "timeout"), (1, "done"), (2, "done")]
    assert found[0].seconds == 1000.0 and "after 0.5 s" in found[0].error


def test_closing_the_iterator_ends_the_children(tmp_path: Path) -> None:
    outcomes = open_engine("processes", 2).run(mark_or_return, [str(tmp_path), ""])
    assert next(outcomes).index == 1
    while not (children := [int(p.name) for p in tmp_path.iterdir()]):
        time.sleep(0.05)
    outcomes.close()  # type: ignore[attr-defined]
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def mark_or_return(folder: str) -> None:
    """Returns at once, or marks and sleeps."""
    if folder:
        mark(folder)


def test_bad_engines_are_refused() -> None:
    with pytest.raises(SchemaError, match="unknown engine"):
        open_engine("gpu")
    with pytest.raises(SchemaError, match="--jobs"):
        open_engine("threads", 0)
    with pytest.raises(ValueError, match="processes"):
        open_engine("threads").run(square, [1], WorkLimits(seconds=1.0))
