"""Work on a Ray cluster of two workers that these tests start on this machine, and stop."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from problems import random_problem
from test_batch import contents, write
from test_candidates import mixed
from test_fleet_files import fleets
from tokenfleet.batch import run_batch
from tokenfleet.compute import ComputeEngine, WorkLimits, on_ray, open_engine
from tokenfleet.errors import InfeasibleError
from tokenfleet.tables import evaluate_table, source
from tokenfleet.tables.fleets.question import FleetQuestion
from tokenfleet.tables.fleets.run import evaluate_fleet_file
from tokenfleet.tables.layouts import evaluate_file

if find_spec("ray") is None:
    pytest.skip("needs the extra tokenfleet[ray]", allow_module_level=True)


def fragile(item: tuple[str, int]) -> int:
    """Squares; the first attempt at 3 is killed in mid-run."""
    folder, x = item
    marker = Path(folder, f"attempt-{x}")
    if x == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if x == 5:
        raise InfeasibleError("too little power", ["power_kw"], "add some")
    return x * x


class FragileQuestion(FleetQuestion):
    """A question whose worker is killed in mid-run, once: when it first has answered a slice."""

    folder: str

    def answerer(self, threads: int) -> Any:
        """The answerer that kills."""
        return _Fragile(super().answerer(threads), Path(self.folder, "killed"))


class _Fragile:
    def __init__(self, answerer: Any, marker: Path) -> None:
        self.answerer, self.marker = answerer, marker

    def answer(self, *given: Any) -> Any:
        """Answers; the first time the process dies of it."""
        found = self.answerer.answer(*given)
        if not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return found


def sleepy(seconds: float) -> float:
    """Sleeps so long."""
    time.sleep(seconds)
    return seconds


@pytest.fixture(scope="module")
def cluster() -> Iterator[ComputeEngine]:
    """An engine on a cluster of two workers that listens on this machine only."""
    # Workers must find this module: they start with this path.
    before = os.environ.get("PYTHONPATH")
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, *([before] if before else [])])
    try:
        yield open_engine("ray", 2)
    finally:
        import_module("ray").shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def test_a_killed_worker_is_survived(cluster: ComputeEngine, tmp_path: Path) -> None:
    items = [(str(tmp_path), x) for x in range(8)]
    found = {o.index: o for o in cluster.run(fragile, items)}
    assert (tmp_path / "attempt-3").exists()
    assert {i: o.value for i, o in found.items() if i != 5} == {
        x: x * x for x in range(8) if x != 5
    }
    with pytest.raises(InfeasibleError) as caught:
        found[5].require()
    assert caught.value.hint == "add some"


def test_fleets_survive_a_killed_worker(
    cluster: ComputeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = random_problem(3, classes=2, peak_rps=30.0)
    path = fleets(tmp_path / "in.parquet", problem, 400, 100)
    monkeypatch.setattr(source, "PART_ROWS", 100)
    question = FragileQuestion(problem)
    object.__setattr__(question, "folder", str(tmp_path))
    evaluate_table(question, path, tmp_path / "killed.parquet", engine=cluster)
    assert (tmp_path / "killed").exists()
    evaluate_table(FleetQuestion(problem), path, tmp_path / "whole.parquet")
    for ending in ("", ".rejected.csv"):
        whole, killed = (
            Path(f"{tmp_path}/{n}.parquet{ending}").read_bytes() for n in ("whole", "killed")
        )
        assert whole == killed


def test_a_piece_out_of_time_is_stopped(
    cluster: ComputeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's clock stands still until the other piece is done, and leaps then."""
    now = [0.0]
    monkeypatch.setattr(on_ray, "time", SimpleNamespace(monotonic=lambda: now[0]))
    pieces = iter(cluster.run(sleepy, [600.0, 0.0], WorkLimits(seconds=6.0)))
    first = next(pieces)
    now[0] = 6.0
    found = [first, *pieces]
    assert [(o.index, o.kind) for o in found] == [(1, "done"), (0, "timeout")]


def test_the_cluster_listens_on_this_machine_only(cluster: ComputeEngine) -> None:
    assert cluster.name == "ray"
    assert {node["NodeManagerAddress"] for node in import_module("ray").nodes()} == {"127.0.0.1"}


def test_files_and_batches_have_the_bytes_of_the_local_engine(
    cluster: ComputeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "in.parquet"
    import_module("pyarrow.parquet").write_table(mixed(2000), table)
    for name, engine in (("here", open_engine("threads", 2)), ("ray", cluster)):
        evaluate_file(table, tmp_path / f"{name}.parquet", engine=engine)
    assert (tmp_path / "here.parquet").read_bytes() == (tmp_path / "ray.parquet").read_bytes()
    problem = random_problem(3, classes=3, peak_rps=30.0)
    shortlist = fleets(tmp_path / "fleets.parquet", problem, 600, 100)
    monkeypatch.setattr(source, "PART_ROWS", 100)
    for name, engine in (("here", open_engine("threads", 2)), ("ray", cluster)):
        evaluate_fleet_file(problem, shortlist, tmp_path / f"{name}-fleets.csv", engine=engine)
    assert (tmp_path / "here-fleets.csv").read_bytes() == (tmp_path / "ray-fleets.csv").read_bytes()
    for i in range(3):
        write(tmp_path / "in", f"s{i}.yaml", name=f"scenario {i}")
    for name, engine in (("here", open_engine("processes", 2)), ("ray", cluster)):
        run_batch([tmp_path / "in"], tmp_path / name, engine=engine)
    assert contents(tmp_path / "here") == contents(tmp_path / "ray")
