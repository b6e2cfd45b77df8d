"""The command line: every command in words and in JSON, every exit code, every bad input.

Most commands run in this process, with its streams replaced; those about signals, imports and what
the solver itself might print run in their own.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from scenarios import hall
from terminals import METER, rest, until
from tokenfleet.cli.app import app
from tokenfleet.cli.plans import DEMO
from tokenfleet.files.plain import cell, plain
from tokenfleet.mix.solver.highs import QuietHighs

ROOT = Path(__file__).parent.parent
HYPERSCALER = ROOT / "examples" / "hyperscaler.yaml"
COMMAND = [sys.executable, "-m", "tokenfleet"]
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Done:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            app([str(a) for a in arguments], prog_name="tokenfleet")
        except SystemExit as end:
            code = int(end.code or 0)
    return Done(code, out.getvalue(), err.getvalue())


def answer(*arguments: str | Path) -> Any:
    """The JSON that a command prints, with nothing beside it on standard output."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def small() -> dict[str, Any]:
    """One workload, one site, measured rates: solved in no time."""
    return {
        "name": "small",
        "price_vintage": "2026-07",
        "systems": ["h100_sxm_8"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [
                    {"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}
                ],
                "slos": [{"metric": "ttft", "percentile": "p95", "limit_ms": 1000}],
                "demand": {"requests_per_s": 20},
            }
        ],
        "sites": [hall(power_kw=100, hosting_usd_per_kw_month=0)],
        "offers": [{"id": "h100", "system": "h100_sxm_8", "kind": "buy"}],
        "columns": [
            {
                "workload": "chat",
                "class": "turn",
                "system": "h100_sxm_8",
                "gpus": 1,
                "rate_rps": 5.0,
                "watts": 600,
            }
        ],
    }


@pytest.fixture
def scenario(tmp_path: Path) -> Callable[[Change], Path]:
    """Writes the small scenario after a change to it."""

    def write(change: Change = lambda _: None) -> Path:
        data = small()
        change(data)
        path = tmp_path / "scenario.yaml"
        path.write_text(yaml.safe_dump(data, sort_keys=False))
        return path

    return write


# Answers


def test_help_names_every_command_and_exit_code() -> None:
    text = run("--help").stdout
    for command in ("demo", "check", "plan", "evaluate", "compare", "catalog", "schema"):
        assert command in text
    assert "130 interrupted" in " ".join(text.split())


def test_version() -> None:
    assert run("--version").stdout.strip().count(".") == 2


def test_help_loads_neither_solver_nor_schema() -> None:
    code = (
        "import sys; sys.argv=['tokenfleet','--help']\n"
        "from tokenfleet.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "bad={'pulp','highspy','pydantic','numpy','yaml','polars'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_demo_answers_in_words(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    done = run("demo", "--save", copy)
    assert done.returncode == 0, done.stderr
    for text in ("48 GPUs", "owned already", "proven", "a year", "Not considered", "TTFT p95"):
        assert text in done.stdout
    assert copy.read_bytes() == DEMO.read_bytes()


def test_plan_json_has_the_promised_keys(scenario: Any, tmp_path: Path) -> None:
    output = tmp_path / "plan.json"
    found = answer("plan", scenario(), "-o", output)
    keys = (
        "status objective objective_value bound gap annual_cost_usd cost_per_mtok_output_usd "
        "cost_per_mtok_total_usd tokens_per_year_output systems replicas sites "
        "candidates_evaluated candidates_kept seconds schema_version slo routing cost_items "
        "capex_usd limits not_considered best_single_system warnings"
    )
    assert set(keys.split()) <= set(found)
    assert found["status"] == "optimal"
    assert json.loads(output.read_text())["systems"] == found["systems"]
    assert found["systems"][0]["kind"] == "buy"


def test_solver_prints_nothing() -> None:
    command = [*COMMAND, "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(done.stdout)["gpus"] == 48


def test_plan_in_words_stays_off_standard_error(scenario: Any) -> None:
    done = run("plan", scenario(), "--gap", "0", "--threads", "1", "--seed", "3")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "8 GPUs: 1 system of 8 H100 SXM 80GB (h100_sxm_8), bought, at hall" in done.stdout


def test_check_counts_without_solving() -> None:
    found = answer("check", DEMO)
    assert found["space_size"] > 1000
    assert any(
        n["what"] == "API us-api" and "residency" in n["reason"] for n in found["not_considered"]
    )
    assert any("system_kw" in n["reason"] for n in found["not_considered"])
    words = run("check", DEMO).stdout
    assert "the scenario is valid" in words
    assert "us-api" in words


def test_evaluate_writes_tables(tmp_path: Path) -> None:
    table = tmp_path / "points.csv"
    found = answer("evaluate", DEMO, "-o", table, "--top", "3", "--by", "ttft_p95_ms")
    assert len(found["points"]) == 3
    shown = [p["ttft_p95_ms"] for p in found["points"]]
    assert shown == sorted(shown)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == found["count"]
    assert min(float(r["ttft_p95_ms"]) for r in rows) == pytest.approx(shown[0])
    assert "req/s/GPU" in run("evaluate", DEMO, "--top", "2").stdout


def test_evaluate_writes_parquet(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    table = tmp_path / "points.parquet"
    count = answer("evaluate", DEMO, "-o", table, "--top", "0")["count"]
    assert polars.read_parquet(table).height == count


@pytest.mark.parametrize("group", ["systems", "models", "prices", "tco", "lengths"])
def test_catalog_lists(group: str) -> None:
    rows = answer("catalog", "list", group)["rows"]
    assert len(rows) == answer("catalog", "list")["tables"][group]
    assert next(str(v) for v in rows[0].values()) in run("catalog", "list", group).stdout


@pytest.mark.parametrize("name", ["h100_sxm_8", "deepseek-r1", "pue", "azure-2023-conv"])
def test_catalog_shows(name: str) -> None:
    row = answer("catalog", "show", name)["row"]
    assert name in (row.get("id"), row.get("parameter"))
    assert row["source"]
    assert "source:" in run("catalog", "show", name).stdout


def test_prices_of_a_system_are_a_table_that_fits() -> None:
    """Each price on a line of its own, newest edition first: $ per hour is that of all GPUs."""
    shown = run("catalog", "show", "h100_sxm_8").stdout
    lines = shown[shown.index("Prices") :].splitlines()
    rows = answer("catalog", "show", "h100_sxm_8")["prices"]
    priced = [line for line in lines if line[:2] == "20"]
    assert len(priced) == len(rows) and max(map(len, lines)) <= 80
    newest = max(row["vintage"] for row in rows)
    assert priced[0].startswith(newest)
    rented = next(row for row in rows if row["vintage"] == newest and row["term_years"] == 3.0)
    hourly = rented["price_usd_per_gpu_h"]
    line = next(line for line in priced if "rent 3 years" in line)
    assert f"{hourly:.2f}" in line and f"{8 * hourly:.2f}" in line and rented["as_of"] in line
    assert rented["source"] in " ".join(" ".join(lines).split())


def test_schema_is_a_schema_in_either_form(tmp_path: Path) -> None:
    assert "workloads" in answer("schema")["properties"]
    page = tmp_path / "scenario.md"
    assert run("schema", "--markdown", "-o", page).returncode == 0
    assert page.read_text() == run("schema", "--markdown").stdout


def test_fields_stand_where_a_newcomer_meets_them() -> None:
    """What to serve comes first; a type has its table after the one that first refers to it."""
    page = run("schema", "--markdown").stdout
    tables = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    first = re.findall(r"^\| `(\w+)`", tables["Scenario"], re.MULTILINE)
    assert first[:8] == ["name", "as_of", "workloads", "sites", "systems", "offers", "apis",
                         "finance"]  # fmt: skip
    schema = json.loads(run("schema").stdout)
    assert set(first) == set(schema["properties"]) and len(first) == len(set(first))
    assert set(tables) == {"Scenario", *schema["$defs"]}
    place = {name.lower(): i for i, name in enumerate(tables)}
    for i, text in enumerate(tables.values()):
        for named in re.findall(r"\]\(#(\w+)\)", text):
            refers = [k for k, t in enumerate(tables.values()) if f"](#{named})" in t]
            assert place[named] > min(refers) or place[named] == i


@pytest.mark.parametrize(("page", "options"), [("scenario.md", []), ("plan.md", ["--plan"])])
def test_pages_of_fields_are_up_to_date(page: str, options: list[str]) -> None:
    written = (ROOT / "docs" / page).read_text()
    assert written == run("schema", *options, "--markdown").stdout, (
        f"run: tokenfleet schema {' '.join(options)} --markdown -o docs/{page} --force"
    )


def test_compare_puts_both_generations_side_by_side() -> None:
    found = answer("compare")
    assert found["first"] == "h200_sxm_8"
    assert found["rows"]
    assert "gb300_nvl72" in run("compare").stdout


def test_backtest_reports_errors() -> None:
    found = answer("backtest")
    assert found["overall"]["n"] > 0
    assert "tokens/s/GPU" in run("backtest").stdout


# Exit codes


def test_infeasible_names_the_site_and_the_missing_power(scenario: Any) -> None:
    def starve(data: dict[str, Any]) -> None:
        data["sites"][0]["power_kw"] = 6

    path = scenario(starve)
    done = run("plan", path)
    assert done.returncode == 3
    assert "site hall: power short by 4.2 kW (limit 6 kW, IT)" in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""
    done = run("plan", path, "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["type"]) == (3, "InfeasibleError")
    assert any("4.2 kW" in text for text in error["conflicts"])


@pytest.fixture
def first_plan(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """Has something done to every HiGHS that is about to look for plans."""

    def set_up(prepare: Callable[[Any], None]) -> None:
        real = QuietHighs.callSolver

        def call(self: QuietHighs, lp: Any) -> None:
            if self.mip:
                prepare(lp.solverModel)
            real(self, lp)

        monkeypatch.setattr(QuietHighs, "callSolver", call)

    return set_up


def test_stopped_with_a_plan_that_is_not_proven(
    first_plan: Callable[[Callable[[Any], None]], None],
) -> None:
    """HiGHS gives up at its first plan, as it does when time is up, but on any machine."""
    first_plan(lambda highs: highs.setOptionValue("mip_max_improving_sols", 1))
    done = run("plan", DEMO, "--gap", "0", "--time-limit", "600", "--json")
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "feasible"  # the solver gave up, and not for want of time
    assert found["systems"]
    assert 0 < found["gap"] < 1


def test_a_plan_within_the_gap_asked_for_is_done(
    first_plan: Callable[[Callable[[Any], None]], None],
) -> None:
    """The first plan of HiGHS, which is not the best: 4 says that more was asked for, and 0 not."""
    first_plan(lambda highs: highs.setOptionValue("mip_max_improving_sols", 1))
    done = run("plan", DEMO, "--gap", "0.9", "--time-limit", "600", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["status"] == "within_gap"
    assert 0 < found["gap"] <= 0.9


def test_interrupt_keeps_the_plan(
    first_plan: Callable[[Callable[[Any], None]], None],
) -> None:
    """Pressed, once, when HiGHS says that it has found a plan."""
    pressed: list[Any] = []

    def press(event: Any) -> None:
        if not pressed:
            pressed.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    first_plan(lambda highs: highs.cbMipImprovingSolution.subscribe(press))
    done = run("plan", DEMO, "--gap", "0", "--time-limit", "600", "--json")
    found = json.loads(done.stdout)
    assert pressed and done.returncode == 130
    assert found["interrupted"] is True
    assert found["systems"]


def test_interrupt_before_a_plan_says_so() -> None:
    """Pressed as the layouts begin to be evaluated; of these there are seconds of work."""
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "plan", str(HYPERSCALER), "--json"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:
        os.close(theirs)
        shown = until(terminal, METER)
        process.send_signal(signal.SIGINT)
        shown += rest(terminal)
        output, _ = process.communicate(timeout=120)
    # Python dies of the signal where it came inside an `exec`; a shell says 130 of both.
    assert process.returncode in (130, -signal.SIGINT)
    assert json.loads(output)["error"]["type"] == "Interrupted"
    assert b"hint: no plan had been found yet" in shown


# Bad input: file, field, row and value in the message, and a hint


def _set(path: str, value: Any) -> Change:
    """Sets `workloads.0.slos.0.limit_ms` and the like."""

    def change(data: dict[str, Any]) -> None:
        *steps, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        node: Any = data
        for step in steps:
            node = node[step]
        node[last] = value

    return change


def _twice(data: dict[str, Any]) -> None:
    data["offers"].append(dict(data["offers"][0]))


def _far(data: dict[str, Any]) -> None:
    data["workloads"][0]["residency"] = ["mars"]


BAD = {
    "nan": (_set("sites.0.power_kw", float("nan")), ["sites[0] (id 'hall').power_kw", "nan"]),
    "infinite": (
        _set("workloads.0.demand.requests_per_s", float("inf")),
        ["requests_per_s", "inf"],
    ),
    "negative": (_set("offers.0.price_usd_per_system", -5.0), ["offers[0] (id 'h100')", "-5"]),
    "zero": (
        _set("workloads.0.slos.0.limit_ms", 0),
        ["workloads[0] (id 'chat').slos[0].limit_ms", "got 0"],
    ),
    "text for a number": (
        _set("sites.0.power_kw", "100"),
        ["sites[0] (id 'hall').power_kw", "100"],
    ),
    "true for a number": (_set("columns.0.rate_rps", True), ["columns[0].rate_rps", "got true"]),
    "duplicate": (_twice, ["offers[1]", "id 'h100' is already used by row 0"]),
    "unknown system": (
        _set("offers.0.system", "h100_smx_8"),
        ["offers[0] (id 'h100').system", "h100_smx_8", "did you mean h100_sxm_8"],
    ),
    "unknown model": (
        _set("workloads.0.model", "llama-3.1-8"),
        ["workloads[0] (id 'chat').model", "did you mean llama-3.1-8b"],
    ),
    "unknown field": (
        _set("sites.0.power_kilowatts", 5),
        ["sites[0] (id 'hall').power_kilowatts", "did you mean power_kw"],
    ),
    "residency that forbids all": (
        _far,
        ["workloads[0] (id 'chat').residency", "'mars' forbids every site", "eu"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_field(case: str, scenario: Any) -> None:
    change, texts = BAD[case]
    path = scenario(change)
    done = run("check", path, "--json")
    error = json.loads(done.stdout)["error"]
    said = f"{error['message']}\n{error['hint']}"
    assert done.returncode == 2
    assert str(path) in said
    for text in texts:
        assert text in said
    assert error["hint"]
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n"
    for a, b in zip("abcdefghijklm", "bcdefghijklmn", strict=True)
)
FILES = {
    "empty": ("", "scenario.yaml"),
    "bomb": (BOMB, "alias"),
    "a list": ("- 1\n", "is a list, not a group of fields"),
    "broken": ("name: [\n", "scenario.yaml"),
    "duplicate key": ("name: a\nname: b\n", "name"),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_file(case: str, tmp_path: Path) -> None:
    content, text = FILES[case]
    path = tmp_path / "scenario.yaml"
    path.write_text(content)
    done = run("plan", path, "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2
    assert str(path) in error["message"]
    assert text in error["message"]
    assert error["hint"]


def test_missing_file_is_bad_input(tmp_path: Path) -> None:
    done = run("plan", tmp_path / "absent.yaml")
    assert done.returncode == 2
    assert "absent.yaml" in done.stderr
    assert "hint:" in done.stderr


def test_wrong_unit_draws_a_warning(scenario: Any) -> None:
    path = scenario(_set("sites.0.electricity_usd_per_kwh", 18.0))
    warnings = answer("check", path)["warnings"]
    assert any("electricity_usd_per_kwh" in w and "18" in w and "cents" in w for w in warnings)


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["--gap", "-1"], ["command line: gap", "-1"]),
        (["--time-limit", "nan"], ["command line: time_limit_s", "nan"]),
        (["--threads", "0"], ["command line: threads", "0"]),
    ],
)
def test_bad_solver_option(arguments: list[str], texts: list[str], scenario: Any) -> None:
    done = run("plan", scenario(), *arguments)
    assert done.returncode == 2
    for text in texts:
        assert text in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["catalog", "show", "h100_smx_8"], "did you mean h100_sxm_8"),
        (["evaluate", str(DEMO), "--by", "tpot_p95"], "did you mean tpot_p95_ms"),
        (["evaluate", str(DEMO), "-o", "points.xlsx"], "end the name in .csv or .parquet"),
        (["compare", "h100_smx_8"], "did you mean h100_sxm_8"),
        (["backtest", "absent.csv"], "absent.csv"),
        (["schema", "--markdown", "--json"], "exclude each other"),
        (["plan"], "SCENARIO"),
    ],
)
def test_bad_argument(arguments: list[str], text: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert text in done.stderr


# Files


def test_output_is_not_overwritten_unless_asked(scenario: Any, tmp_path: Path) -> None:
    path, output = scenario(), tmp_path / "plan.json"
    output.write_text("precious")
    done = run("plan", path, "-o", output)
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert output.read_text() == "precious"
    assert run("plan", path, "-o", output, "--force").returncode == 0
    assert json.loads(output.read_text())["name"] == "small"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plan.json", "scenario.yaml"]


def test_output_into_a_folder_that_is_not_there(scenario: Any, tmp_path: Path) -> None:
    done = run("plan", scenario(), "-o", tmp_path / "absent" / "plan.json")
    assert done.returncode == 2
    assert "its folder is not there" in done.stderr


# Harmless text


def test_markup_of_a_name_is_not_obeyed(scenario: Any) -> None:
    path = scenario(_set("name", "[red]sale[/red] [link=http://x]y[/link]"))
    done = run("plan", path)
    assert done.returncode == 0
    assert "[red]sale[/red] [link=http://x]y[/link]" in done.stdout


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert plain("a\x1b[2Jb\x07\u202ec\x9b") == "a[2Jbc"


@pytest.mark.parametrize("text", ["=cmd", "+1", "-1", "@x", " =cmd", "\uff1dcmd", "\tx"])
def test_formulas_are_quoted_and_numbers_are_not(text: str) -> None:
    assert cell(text) == f"'{text}"
    assert cell(-1.5) == -1.5
    assert cell("plain-text") == "plain-text"
