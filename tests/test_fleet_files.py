"""Files of fleets: answers as of the function, rejected rows, engines alike."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from problems import one_pool, random_problem
from tokenfleet.cli.app import app
from tokenfleet.compute import open_engine
from tokenfleet.fleets import FleetEvaluator, evaluate_fleets
from tokenfleet.problem_data import Problem

pa = pytest.importorskip("pyarrow")
pytest.importorskip("polars")

import pyarrow.csv  # noqa: E402
import pyarrow.parquet  # noqa: E402

from tokenfleet.tables import source  # noqa: E402
from tokenfleet.tables.fleets.question import FleetQuestion  # noqa: E402
from tokenfleet.tables.fleets.run import FleetOptions, evaluate_fleet_file  # noqa: E402

ROOT = Path(__file__).parent.parent
ENTERPRISE = ROOT / "examples" / "enterprise.yaml"

OFFER = "h100-buy@eu-frankfurt"


def shortlist(folder: Path, ending: str = ".parquet", **changes: list[Any]) -> Path:
    path = folder / f"fleets{ending}"
    columns = {"id": ["a", "b", "c"], OFFER: [1, 2, 3], "a100-stock@eu-dublin": [0, 3, 3]}
    table = pa.table({**columns, **changes})
    if ending == ".parquet":
        pyarrow.parquet.write_table(table, path)
    elif ending == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)
    return path


def command(*given: object) -> Any:
    return CliRunner().invoke(app, ["evaluate-fleets", *map(str, given)])


def rejects(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow"])
def test_a_file_gives_what_the_function_gives(ending: str, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    done = command(shortlist(tmp_path, ending), "-s", ENTERPRISE, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    found = pyarrow.parquet.read_table(out)
    counts = {OFFER: [1, 2, 3], "a100-stock@eu-dublin": [0, 3, 3]}
    answers = evaluate_fleets(ENTERPRISE, counts)
    assert found.column("id").to_pylist() == ["a", "b", "c"]
    for name, values in answers.columns.items():
        expected = values[0].tolist()
        assert found.column(name).to_pylist() == expected, name


def test_a_file_in_cases_selected_and_ranked(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    path = shortlist(tmp_path)
    options = ["--demand", 1, "--demand", 2, "--select", "feasible and case = 2", "--top", 1]
    done = command(path, "-s", ENTERPRISE, "-o", out, *options)
    assert done.exit_code == 0, done.output
    lines = out.read_text().splitlines()
    assert lines[0].startswith(f"row,id,{OFFER},a100-stock@eu-dublin,case,feasible")
    assert len(lines) == 2
    again = command(path, "-s", ENTERPRISE, "-o", out)
    assert again.exit_code == 2 and "already there" in again.output


def test_whole_replicas_on_request_and_the_text_says_which(tmp_path: Path) -> None:
    path, out = shortlist(tmp_path), tmp_path / "out.parquet"
    done = command(path, "-s", ENTERPRISE, "-o", out, "--whole-replicas")
    assert done.exit_code == 0, done.output
    assert "with whole replicas" in " ".join(done.output.split())
    table = pyarrow.parquet.read_table(out)
    counts = {OFFER: [1, 2, 3], "a100-stock@eu-dublin": [0, 3, 3]}
    answers = evaluate_fleets(ENTERPRISE, counts, whole_replicas=True)
    assert table.column("annual_cost_usd").to_pylist() == answers["annual_cost_usd"][0].tolist()
    said = command(path, "-s", ENTERPRISE, "-o", tmp_path / "fractions.parquet").output
    assert "with replicas as fractions" in " ".join(said.split())
    assert "--whole-replicas counts whole ones" in " ".join(said.split())


def test_a_schedule_over_a_horizon_is_a_plan_already(tmp_path: Path) -> None:
    path = shortlist(tmp_path)
    scenario = ROOT / "examples" / "enterprise_horizon.yaml"
    done = command(path, "-s", scenario, "-o", tmp_path / "x.parquet", "--whole-replicas")
    assert done.exit_code == 2 and "a schedule is planned" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({OFFER: ["1", "x", "3"]}, "is of type string, must be numbers"),
        ({"h100-bye@eu-frankfurt": [1, 1, 1]}, "did you mean h100-buy@eu-frankfurt"),
    ],
)
def test_files_of_other_columns_are_refused(
    changes: dict[str, list[Any]], text: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    done = command(shortlist(tmp_path, **changes), "-s", ENTERPRISE, "-o", out)
    assert done.exit_code == 2
    assert text in " ".join(done.output.split())
    assert not out.exists()


@pytest.mark.parametrize(
    ("cells", "row", "value", "reason"),
    [
        ([1, -2, 3], "2", "'-2", "must be a whole number from 0"),
        ([1.0, 2.0, 2.5], "3", "2.5", "must be a whole number from 0"),
        ([1.0, math.inf, 2.0], "2", "inf", "must be a whole number from 0"),
        ([None, 2, 3], "1", "", "is blank: write 0 for none"),
    ],
)
def test_a_wrong_fleet_is_named_and_costs_itself_only(
    cells: list[Any], row: str, value: str, reason: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    done = command(shortlist(tmp_path, **{OFFER: cells}), "-s", ENTERPRISE, "-o", out, "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["rows"], report["rejected"], report["written"]) == (3, 1, 2)
    (bad,) = rejects(Path(report["rejected_file"]))
    assert bad == {"row": row, "column": OFFER, "value": value, "reason": reason}
    rows = pyarrow.parquet.read_table(out).column("row").to_pylist()
    assert rows == [i for i in (1, 2, 3) if str(i) != row]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_file_without_a_right_row_is_bad_input(as_json: bool, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    cells = {OFFER: [-1, -2, -3]}
    flags = ["--json"] if as_json else []
    done = command(shortlist(tmp_path, **cells), "-s", ENTERPRISE, "-o", out, *flags)
    assert done.exit_code == 2
    said = " ".join(done.stderr.split())
    assert "every row is rejected, there are no answers" in said and ".rejected.csv" in said
    if as_json:
        report = json.loads(done.stdout)
        assert (report["rows"], report["rejected"], report["written"]) == (3, 3, 0)


def test_text_of_a_csv_that_is_no_count(tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text(f'{OFFER},id\n1,a\n"1,5",b\n\n2\n3,c\n')
    report = evaluate_fleet_file(ENTERPRISE, path, out)
    assert (report.rows, report.rejected, report.counts["answers"]) == (4, 2, 2)
    bad = rejects(Path(f"{out}.rejected.csv"))
    assert [b["row"] for b in bad] == ["2", "3"]
    assert "decimal point" in bad[0]["reason"] and "has 1 cells, the header 2" in bad[1]["reason"]
    assert [line["row"] for line in rejects(out)] == ["1", "4"]


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    path = shortlist(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    done = command(path, "-s", ENTERPRISE, "-o", tmp_path / "out.parquet")
    assert done.exit_code == 2 and "damaged" in done.output


# Parts and engines


def fleets(path: Path, problem: Problem, rows: int, group: int) -> Path:
    """A file of random fleets of a problem, a few of them wrong."""
    counts = np.random.default_rng(4).integers(0, 6, (rows, len(problem.offers))).astype(float)
    counts[::97, 0] = -1
    columns = {offer.id: counts[:, o] for o, offer in enumerate(problem.offers)}
    pyarrow.parquet.write_table(pa.table(columns), path, row_group_size=group)
    return path


def test_parts_and_engines_write_equal_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = random_problem(3, classes=3, peak_rps=30.0)
    options = FleetOptions(demand=(1.0, 1.5), energy_price=(1.0, 2.0), inputs=True)
    path = fleets(tmp_path / "in.parquet", problem, 1000, 100)
    monkeypatch.setattr(source, "PART_ROWS", 100)
    for name in ("threads", "processes"):
        engine = open_engine(name, 2)
        report = evaluate_fleet_file(
            problem, path, tmp_path / f"{name}.parquet", options, engine=engine
        )
        assert (report.rows, report.rejected, report.written) == (1000, 11, 2 * 989)
    both = [(tmp_path / f"{name}.parquet").read_bytes() for name in ("threads", "processes")]
    assert both[0] == both[1]
    found = pyarrow.parquet.read_table(tmp_path / "threads.parquet")
    counts = np.stack([found.column(offer.id).to_numpy() for offer in problem.offers], axis=1)
    answers = FleetEvaluator(problem).evaluate(
        counts[::2], demand=[1.0, 1.5], energy_price=[1.0, 2.0]
    )
    for name, values in answers.columns.items():
        assert found.column(name).to_pylist() == values.T.reshape(-1).tolist(), name


def test_the_best_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(3, classes=2, peak_rps=10.0)
    path = fleets(tmp_path / "in.parquet", problem, 600, 50)
    everything = evaluate_fleet_file(problem, path, tmp_path / "all.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    wanted = table.filter(table.column("feasible")).sort_by(
        [("annual_cost_usd", "ascending"), ("row", "ascending")]
    )
    assert 20 < wanted.num_rows < everything.written
    monkeypatch.setattr(source, "PART_ROWS", 50)
    options = FleetOptions(select="feasible", top=20, inputs=False)
    evaluate_fleet_file(problem, path, tmp_path / "top.parquet", options)
    assert pyarrow.parquet.read_table(tmp_path / "top.parquet").equals(wanted.slice(0, 20))


def test_the_key_of_a_problem_is_of_all_it_holds() -> None:
    base = one_pool([[20.0]])
    same = one_pool([[20.0]])
    assert FleetQuestion(base).key == FleetQuestion(same).key
    for other in (
        one_pool([[20.5]]),
        replace(base, relayout=True),
        replace(base, offers=(replace(base.offers[0], supply=3.0),)),
        replace(base, pools=(replace(base.pools[0], pue=1.5),)),
    ):
        assert FleetQuestion(other).key != FleetQuestion(base).key


def test_the_command_takes_engines_and_says_that_all_is_done(tmp_path: Path) -> None:
    path = shortlist(tmp_path)
    for name in ("threads", "processes"):
        options = ["-o", tmp_path / f"{name}.csv", "--engine", name, "--jobs", 1, "--resume"]
        done = command(path, "-s", ENTERPRISE, *options)
        assert done.exit_code == 0, done.output
    both = [(tmp_path / f"{name}.csv").read_bytes() for name in ("threads", "processes")]
    assert both[0] == both[1]
    again = command(path, "-s", ENTERPRISE, "-o", tmp_path / "threads.csv", "--resume")
    assert again.exit_code == 2 and "no unfinished run of it" in again.output
