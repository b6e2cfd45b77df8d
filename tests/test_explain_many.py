"""Many plans explained by an engine, each into a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tokenfleet as tf
from test_sweep_diff_model import measured
from tokenfleet.cli.app import app


def scenarios(folder: Path) -> list[Path]:
    """One with a plan, one of twice its demand, and one that has none."""
    found = []
    for name, rate in (("one", 20.0), ("two", 40.0)):
        data = measured()
        data["workloads"][0]["demand"] = {"requests_per_s": rate}
        found.append(folder / f"{name}.json")
        found[-1].write_text(json.dumps(data))
    (folder / "bad.json").write_text("{")
    return [*found, folder / "bad.json"]


@pytest.fixture(params=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an engine; a cluster that was started is ended, others have their own."""
    if request.param == "ray" and find_spec("ray") is None:
        pytest.skip("needs the extra tokenfleet[ray]")
    yield request.param
    if request.param == "ray":  # loaded by the engine, which says first where it may listen
        import_module("ray").shutdown()


def test_each_plan_has_a_file_and_a_bad_one_is_said(tmp_path: Path, engine: str) -> None:
    paths, out = scenarios(tmp_path), tmp_path / "why"
    command = ["explain", *map(str, paths), "-o", str(out), "--engine", engine, "--jobs", "2"]
    done = CliRunner().invoke(app, [*command, "--worth", "--json"])
    assert done.exit_code == 1, done.output
    rows = {Path(row["source"]).stem: row for row in json.loads(done.stdout)["explanations"]}
    assert rows["bad"]["file"] is None and "bad.json" in rows["bad"]["error"]
    for path in paths[:2]:
        found = json.loads(Path(rows[path.stem]["file"]).read_text())
        alone = tf.explain(path, parts=["worth"]).to_json()
        assert found["worth"] == alone["worth"] and not found["flip"]


def test_what_cannot_be_is_said_before_any_work(tmp_path: Path) -> None:
    paths = [str(path) for path in scenarios(tmp_path)]
    for more, said in (
        ([], "give -o FOLDER"),
        (["-o", str(tmp_path), "--engine", "threads"], "a process of its own"),
        (["-o", str(tmp_path), "--near", paths[0]], "of one plan"),
        ([paths[0], "-o", str(tmp_path)], "would be explained in one.json"),
    ):
        done = CliRunner().invoke(app, ["explain", *paths, *more])
        assert done.exit_code == 2 and said in done.output.replace("\n", " "), (more, done.output)
