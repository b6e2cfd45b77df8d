"""Runs over tables that are killed at one moment after the other, and taken up again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("polars")

import pyarrow.csv
import pyarrow.parquet

from problems import random_problem
from test_candidates import mixed
from test_fleet_files import fleets

SEED = 3
PROBLEM = {"classes": 2, "peak_rps": 30.0}
# Every file of a run gets its name by a rename and loses it by an unlink: the process is killed
# before or after the n-th of them. 0: it lives, and says how many there are.
SCRIPT = f"""
import os, signal, sys
from pathlib import Path
from problems import random_problem
from tokenfleet.tables.layouts import FileOptions, evaluate_file
from tokenfleet.compute import open_engine
from tokenfleet.tables.fleets.run import FleetOptions, evaluate_fleet_file
from tokenfleet.tables import source
source.PART_ROWS = 100
kind, path, output, resume, point = sys.argv[1:]
given = dict(resume=resume == "resume", select="row > 7" if kind == "csv" else None)
calls = [0]

def counted(call):
    def of(*arguments, **more):
        calls[0] += 1
        if 2 * calls[0] - 1 == int(point):
            os.kill(os.getpid(), signal.SIGKILL)
        found = call(*arguments, **more)
        if 2 * calls[0] == int(point):
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return of

Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)
one = open_engine("threads", 1)
if kind == "fleets":
    problem = random_problem({SEED}, classes={PROBLEM["classes"]}, peak_rps={PROBLEM["peak_rps"]})
    evaluate_fleet_file(problem, Path(path), Path(output), FleetOptions(**given), engine=one)
else:
    evaluate_file(Path(path), Path(output), FileOptions(**given), engine=one)
print(2 * calls[0])
"""


def run(kind: str, path: Path, output: Path, *, resume: bool, point: int = 0) -> tuple[int, str]:
    """Exit code and what was printed."""
    given = [kind, str(path), str(output), "resume" if resume else "new", str(point)]
    child = subprocess.run(
        [sys.executable, "-c", SCRIPT, *given],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    return child.returncode, child.stdout + child.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder, hidden files that a kill left unfinished aside."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith(".part")
    }


@pytest.mark.parametrize("kind", ["parquet", "csv", "fleets"])
def test_a_run_killed_anywhere_ends_with_equal_bytes(kind: str, tmp_path: Path) -> None:
    source = tmp_path / ("in.csv" if kind == "csv" else "in.parquet")
    if kind == "fleets":
        fleets(source, random_problem(SEED, **PROBLEM), 300, 100)
    elif kind == "csv":
        pyarrow.csv.write_csv(mixed(300), source)
    else:
        pyarrow.parquet.write_table(mixed(300), source, row_group_size=100)
    name = "out.csv" if kind == "csv" else "out.parquet"
    (tmp_path / "whole").mkdir()
    code, printed = run(kind, source, tmp_path / "whole" / name, resume=False)
    assert code == 0, printed
    last = int(printed.split()[-1])
    wanted = contents(tmp_path / "whole")
    assert set(wanted) == {name, f"{name}.rejected.csv"} and last > 20
    # In the first part, among parts, at the outputs, at the very end.
    for point in (3, last // 3, last - 16, last - 1):
        folder = tmp_path / f"killed-{point}"
        folder.mkdir()
        code, printed = run(kind, source, folder / name, resume=False, point=point)
        assert code == -signal.SIGKILL, printed
        # Killed a second time on the way, and taken up again.
        run(kind, source, folder / name, resume=True, point=max(3, last // 4))
        code, printed = run(kind, source, folder / name, resume=True)
        if contents(folder) != wanted or code:
            # The only moment at which there is nothing to take up: all is done.
            assert "no unfinished run" in printed, (point, printed)
        assert contents(folder) == wanted, point
