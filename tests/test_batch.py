"""Batches: what fails costs itself only, what is done stays, and a resumed batch has equal bytes.

Hand-computed: the small scenario needs 20/5 = 4 GPUs, so one server of eight.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from test_cli import run, small
from test_mistakes_of_files import BASE, DEMAND, written
from tokenfleet.batch import BatchOptions, run_batch
from tokenfleet.batch.files import find_scenarios, result_name, write_inside
from tokenfleet.batch.solve import Answer, Task, solve
from tokenfleet.cli.app import app
from tokenfleet.compute import open_engine, processes
from tokenfleet.errors import SchemaError, SolverError

FLAKY = "first attempt"


def write(folder: Path, name: str, /, **changes: Any) -> Path:
    """A small scenario, changed."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump({**small(), **changes}))
    return path


def faulty(task: Task) -> Answer:
    """Solves, but some names make the process die, hang or fail, always or once."""
    name = Path(task.path).stem
    if name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "hangs":
        time.sleep(600)
    if name == "flaky" and task.attempt == 0:
        raise SolverError(FLAKY)
    return solve(task)


def slow(task: Task) -> Answer:
    """Solves after a while."""
    time.sleep(0.3)
    return solve(task)


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of everything but the manifest, whose seconds are the clock's."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.jsonl"
    }


def by_name(rows: Any) -> dict[str, dict[str, Any]]:
    """Summary rows by scenario."""
    return {row["scenario"]: row for row in rows}


class Counted:
    """An engine, with how many pieces have ended."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.ended = engine, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def run(self, *arguments: Any) -> Iterator[Any]:
        """As `ComputeEngine.run`."""
        for outcome in self.engine.run(*arguments):
            self.ended += 1
            yield outcome


def test_each_scenario_ends_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's clock stands still, and leaps when only the piece that hangs is left: after five
    others, and, with two others that are tried again, after eight in all."""
    folder, engine = tmp_path / "in", Counted(open_engine("processes", 2))

    def clock() -> float:
        return 1e6 * ((engine.ended >= 5) + (engine.ended >= 8))

    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=clock))
    for name in ("dies", "hangs", "flaky", "fine"):
        write(folder, f"{name}.yaml")
    (folder / "broken.yaml").write_text("name: [")
    write(folder, "much.yaml", offers=[{**small()["offers"][0], "supply": 0}])
    report = run_batch(
        [folder],
        tmp_path / "out",
        BatchOptions(retries=1, kill_after_s=1.0, solver={"threads": 1}),
        engine=engine,
        work=faulty,
    )
    rows = by_name(report.rows)
    ends = {name: (row["exit_code"], row["meaning"]) for name, row in rows.items()}
    assert ends == {
        "dies.yaml": (1, "crashed"),
        "hangs.yaml": (1, "timed out"),
        "flaky.yaml": (0, "done"),
        "fine.yaml": (0, "done"),
        "broken.yaml": (2, "bad input"),
        "much.yaml": (3, "infeasible"),
    }
    assert "SIGKILL" in rows["dies.yaml"]["error"]
    assert rows["fine.yaml"]["systems"] == "1 h100_sxm_8 at hall"
    assert rows["much.yaml"]["error"] and rows["much.yaml"]["file"]
    manifest = (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()
    attempts = {e["scenario"]: e["attempts"] for e in map(json.loads, manifest)}
    assert (attempts["dies.yaml"], attempts["flaky.yaml"], attempts["fine.yaml"]) == (2, 2, 1)
    # What the clock or a crash ended is tried again; what its content decides is not.
    again = run_batch([folder], tmp_path / "out", BatchOptions(solver={"threads": 1}))
    assert again.skipped == 4  # fine, flaky, broken, much
    assert {row["meaning"] for row in again.rows} == {"done", "bad input", "infeasible"}


def test_a_killed_batch_resumes_to_equal_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for i in range(6):
        write(folder, f"s{i}.yaml", name=f"scenario {i}")
    run_batch([folder], tmp_path / "whole", engine=open_engine("processes", 2))
    script = (
        "from pathlib import Path; from test_batch import slow\n"
        "from tokenfleet.batch import run_batch; from tokenfleet.compute import open_engine\n"
        "if __name__ == '__main__':\n"
        f"    run_batch([Path({str(folder)!r})], Path({str(tmp_path / 'cut')!r}),"
        " engine=open_engine('processes', 1), work=slow)\n"
    )
    (tmp_path / "cut.py").write_text(script)
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.Popen([sys.executable, str(tmp_path / "cut.py")], env=paths)
    manifest = tmp_path / "cut" / "manifest.jsonl"
    while not manifest.is_file() or manifest.read_text().count("\n") < 2:
        assert child.poll() is None
        time.sleep(0.02)
    child.kill()
    child.wait()
    assert manifest.read_text().count("\n") < 6
    with manifest.open("a") as file:
        file.write('{"scenario": "s5.yaml", "exit_co')  # a line that the kill cut off
    report = run_batch([folder], tmp_path / "cut", engine=open_engine("processes", 2))
    assert 2 <= report.skipped < 6
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    assert run_batch([folder], tmp_path / "cut").skipped == 6


def test_a_changed_input_is_solved_again(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    table = tmp_path / "rates.csv"
    table.write_text("workload,class,system,gpus,rate_rps\nchat,turn,h100_sxm_8,1,5\n")
    write(folder, "a.yaml", columns="../rates.csv")
    write(folder, "b.yaml")
    out = tmp_path / "out"
    first = by_name(run_batch([folder], out).rows)
    assert first["a.yaml"]["gpus"] == 8
    # A slower accelerator: 20/2 = 10 GPUs, two servers. Only the scenario that reads it is solved.
    table.write_text("workload,class,system,gpus,rate_rps\nchat,turn,h100_sxm_8,1,2\n")
    second = run_batch([folder], out)
    assert second.skipped == 1
    assert by_name(second.rows)["a.yaml"]["gpus"] == 16
    # A result that was damaged is made again, and so is everything under another setting.
    damaged = out / by_name(second.rows)["b.yaml"]["file"]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-9])
    assert run_batch([folder], out).skipped == 1
    assert damaged.read_bytes() == whole
    assert run_batch([folder], out, BatchOptions(solver={"seed": 5})).skipped == 0


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for i in range(40):
        write(folder, f"s{i:02}.yaml")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tokenfleet", "batch", str(folder), "-o", str(out), "--json"]
    child = subprocess.Popen([*command, "-j", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    manifest = out / "manifest.jsonl"
    while not manifest.is_file() or manifest.read_text().count("\n") < 2:
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    printed, _ = child.communicate()
    assert child.returncode == 130
    found = json.loads(printed)
    assert found["interrupted"] is True
    ended = [row["meaning"] for row in found["scenarios"]]
    assert ended.count("done") >= 2 and "not solved yet" in ended
    assert len(list((out / "plans").iterdir())) == ended.count("done")


def test_the_summary_runs_no_formula(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder, "=cmd.yaml", name="=HYPERLINK(1)")
    out = tmp_path / "out"
    done = run("batch", folder, "-o", out, "-j", "1")
    assert done.returncode == 0, done.stderr
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["scenario"], row["name"]) == ("'=cmd.yaml", "'=HYPERLINK(1)")
    assert float(row["annual_cost_usd"]) > 0


def test_a_horizon_has_its_own_costs(tmp_path: Path) -> None:
    """Demand of 20, then 60 requests/s, at 5 a GPU: one server, then two, rented by the year. Each
    year costs what it does by itself, C and D; at 8 % they weigh 1/1.08 and 1/1.08^2."""
    folder, out = tmp_path / "in", tmp_path / "out"

    def asked(name: str, demand: dict[str, Any], **more: Any) -> None:
        data = small()
        rent = {"id": "h", "system": "h100_sxm_8", "kind": "rent", "term_years": 1}
        offers = [{**rent, "price_usd_per_gpu_h": 2.0}]
        work = [{**data["workloads"][0], "demand": demand}]
        finance = {"cost_of_capital": 0.08}
        write(folder, name, workloads=work, finance=finance, offers=offers, **more)

    asked("first.yaml", {"requests_per_s": 20})
    asked("second.yaml", {"requests_per_s": 60})
    steps = {"requests_per_s_by_date": [["2026-10", 20], ["2027-10", 60]]}
    over = {"start": "2026-10", "periods": 2}
    asked("both.yaml", {"requests_per_s": 20, **steps}, horizon=over)
    options = BatchOptions(solver={"threads": 1})
    rows = by_name(run_batch([folder], out, options).rows)
    both, years = rows["both.yaml"], [rows["first.yaml"], rows["second.yaml"]]
    weights = [1 / 1.08, 1 / 1.08**2]
    npv = sum(w * row["annual_cost_usd"] for w, row in zip(weights, years, strict=True))
    assert years[1]["annual_cost_usd"] > 1.5 * years[0]["annual_cost_usd"]
    assert both["npv_usd"] == pytest.approx(npv, rel=1e-9)
    assert both["levelised_usd_per_year"] == pytest.approx(npv / sum(weights), rel=1e-9)
    tokens = [w * row["tokens_per_year_output"] for w, row in zip(weights, years, strict=True)]
    per_mtok = npv / (sum(tokens) / 1e6)
    assert both["levelised_cost_per_mtok_output_usd"] == pytest.approx(per_mtok, rel=1e-9)
    of_a_year = ("annual_cost_usd", "cost_per_mtok_output_usd", "cost_per_mtok_total_usd")
    assert [both[name] for name in of_a_year] == [None] * 3
    assert both["systems"] == years[0]["systems"] and both["first_period"].startswith("2026")
    over_time = [
        name for name in both if "levelised" in name or name in ("npv_usd", "first_period")
    ]
    assert len(over_time) == 5
    assert all(row[name] is None for row in years for name in over_time)
    with (out / "summary.csv").open(newline="") as file:
        found = by_name(csv.DictReader(file))
    assert float(found["both.yaml"]["levelised_usd_per_year"]) == both["levelised_usd_per_year"]
    assert found["both.yaml"]["annual_cost_usd"] == found["first.yaml"]["npv_usd"] == ""


@pytest.mark.parametrize(
    "name", ["CON.yaml", "..\\..\\x.yaml", "a/../../b.yaml", "\u202ex.yaml", ".yaml", "é" * 300]
)
def test_result_names_are_plain(name: str) -> None:
    made = result_name(name, "0123456789abcdef")
    assert made.endswith("-0123456789ab.json") and len(made) < 70
    assert not set(made) - set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert not made.startswith(("-", "."))


def test_nothing_is_written_outside_the_folder(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.json").symlink_to(victim)
    write_inside(folder, "a.json", b"new")
    assert victim.read_text() == "mine" and not (folder / "a.json").is_symlink()
    for name in ("../a.json", "/a.json", ".a.json", "a\\b.json"):
        with pytest.raises(SchemaError):
            write_inside(folder, name, b"")


def test_folders_that_are_not_a_batch_are_left_alone(tmp_path: Path) -> None:
    scenario = write(tmp_path / "in", "a.yaml")
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.doc").touch()
    with pytest.raises(SchemaError, match="not empty"):
        run_batch([scenario], other)
    with pytest.raises(SchemaError, match="is a file"):
        run_batch([scenario], other / "thesis.doc")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "plans").symlink_to(other)
    with pytest.raises(SchemaError, match="is a link"):
        run_batch([scenario], linked, BatchOptions(force=True))
    with pytest.raises(SchemaError, match="no such file"):
        find_scenarios([tmp_path / "nowhere"])
    with pytest.raises(SchemaError, match="holds no scenario"):
        find_scenarios([other])


def test_a_reason_is_told_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of 80 columns has no room for it: it stands below, to its last word."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "worse.yaml").write_text("name: x\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        app(["batch", str(tmp_path / "in"), "-o", str(tmp_path / "out")], prog_name="tokenfleet")
    said = capsys.readouterr().out
    assert "…" not in said and max(map(len, said.splitlines())) <= 80
    assert "workloads: field required" in " ".join(said.split())


def test_a_goal_without_end_is_bad_input_and_not_tried_again(tmp_path: Path) -> None:
    text = BASE.replace(DEMAND, "{free: true}").replace("power_kw: 100", "power_kw: unlimited")
    text = text.replace("systems:", "objective: {kind: most_tokens}\nsystems:", 1)
    (tmp_path / "in").mkdir()
    written(tmp_path / "in", text)
    report = run_batch([tmp_path / "in"], tmp_path / "out", BatchOptions(retries=3))
    (row,) = report.rows
    assert (row["exit_code"], row["meaning"]) == (2, "bad input")
    assert "improves without end" in row["error"]
    (entry,) = (tmp_path / "out" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(entry)["attempts"] == 1
