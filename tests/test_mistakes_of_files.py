"""More mistakes: encodings, YAML's own traps, units in odd places, contradictions, edited plans,
outputs that would destroy something. Each is refused with its place and its cure, or warned of."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tokenfleet import Plan, optimize_fleet
from tokenfleet.cli.app import app
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.files.whole import write_whole
from tokenfleet.scenario.load import load_scenario

OFFER = "{id: h100, system: h100_sxm_8, kind: buy}"
SITE = "{id: hall, region: eu, power_kw: 100, power_basis: it, cooling: [air]}"
DEMAND = "{requests_per_s: 20}"
SLO = "{metric: ttft, percentile: p95, limit_ms: 1000}"
TURN = "{id: turn, share: 1.0, input_tokens: 500, output_tokens: 100}"
COLUMN = "{workload: chat, class: turn, system: h100_sxm_8, gpus: 1, rate_rps: 5.0, watts: 600}"
BASE = f"""\
name: chat
price_vintage: 2026-07
workloads:
  - id: chat
    model: llama-3.1-8b
    classes:
      - {TURN}
    slos:
      - {SLO}
    demand: {DEMAND}
sites:
  - {SITE}
systems: [h100_sxm_8]
offers:
  - {OFFER}
columns:
  - {COLUMN}
"""


def offer(text: str) -> tuple[str, str]:
    return OFFER, OFFER.replace("}", f", {text}}}")


def rented(text: str) -> tuple[str, str]:
    return OFFER, f"{{id: h100, system: h100_sxm_8, kind: rent, {text}}}"


def site(text: str) -> tuple[str, str]:
    return SITE, SITE.replace("}", f", {text}}}")


# Right and wrong text, where the fault is, what to do.
EDITS: dict[str, tuple[str, str, str, str]] = {
    "an alias of nothing": (DEMAND, "{<<: *d}", "line 10", "write out what it stands for"),
    "a merge key": (f"{DEMAND}", f"&d {DEMAND}\n  - <<: *d", "line 11", "write the fields out"),
    "a key twice": ("name: chat", "name: chat\nname: talk", "line 2", "keep one of them"),
    "a tag": ("name: chat", "name: !!python/name:os.system x", "line 1: tag", "remove the tag"),
    "a variable": (DEMAND, "{requests_per_s: ${RPS}}", "line 10", "write the value itself"),
    "a template": (DEMAND, "{requests_per_s: {{ rps }}}", "line 10", "write the value itself"),
    "a true number": (DEMAND, "{requests_per_s: true}", "got true", "a plain number"),
    "no number": (DEMAND, "{requests_per_s: about 20}", ".requests_per_s", "a plain number"),
    "a leading zero": (DEMAND, "{requests_per_s: 020}", ".requests_per_s", "without quotes: 20"),
    "negative zero": ("limit_ms: 1000", "limit_ms: -0.0", ".limit_ms", "zero and negative"),
    "less than a request a day": (DEMAND, "{requests_per_s: 1.0e-7}", "_per_s", "at least 1e-05"),
    "no amount of this world": (*offer("price_usd_per_system: 1.0e+200"), "_system", "its unit"),
    "more threads than memory": (
        "systems:", "solver: {threads: 100000}\nsystems:", "solver.threads", "at most 1024",
    ),
    "nothing but a name": ("systems: [h100_sxm_8]", "solver:", "solver", "leave the field out"),
    "a group for a list": (
        "- id: chat", "  id: chat", "workloads: should be a list, got a group of", "each entry",
    ),
    "limits by name": (f"- {SLO}", "  ttft: 1000", ".slos", "- {metric: ..., percentile: ..."),
    "limits as fields": (SLO, "ttft_p95_ms: 1000", ".slos[0].ttft_p95_ms", "{metric: ttft, perc"),
    "the median": ("percentile: p95", "percentile: median", ".percentile", "p50?"),
    "the average": ("percentile: p95", "percentile: avg", ".percentile", "mean?"),
    "another name of TPOT": ("metric: ttft", "metric: itl", ".metric", "tpot?"),
    "the average length": ("input_tokens: 500", "input_tokens: {avg: 500}", ".avg", "mean?"),
    "a score above one": ("    demand", "    quality_floor: 1.2\n    demand", "_floor", "most 1;"),
    "a ratio in percent": (*site("pue: 130%"), ".pue", "without quotes: 1.3"),
    "a kind of cooling": (*site("pue: {liquid: 1.1}"), ".pue.liquid: ", "direct liquid?"),
    "whole with decimals": (*offer("supply: 8.0"), ".supply", "without decimals: 8"),
    "a price of a month": (*rented("price_usd_per_gpu_month: 1460"), "_month", "_gpu_h: 2"),
    "a price of a MWh": (*site("electricity_usd_per_mwh: 80"), "_mwh", "usd_per_kwh: 0.08"),
    "cents": (*site("electricity_ct_per_kwh: 8"), "_ct_per_kwh", "electricity_usd_per_kwh: 0.08"),
    "grams": (*site("carbon_g_per_kwh: 380"), "carbon_g_per_kwh", "carbon_kg_per_kwh: 0.38"),
    "confidence with a sign": ("systems:", "confidence: 90%\nsystems:", "confidence", "0.9"),
    "free and stated": (DEMAND, "{free: true, requests_per_s: 20}", "beside free", "leave out"),
    "free or not": (DEMAND, "{free: false, requests_per_s: 20}", "beside free", "leave out free"),
    "a date for a name": ("id: h100,", "id: 2026-07-01,", "got 2026-07-01", '"2026-07-01"'),
    "a name with blanks": ("id: h100,", "id: ' h100',", "offers[0]", 'without: "h100"'),
    "a name with what nobody sees": ("id: h100,", 'id: "h1\\u200b00",', "nobody sees", "leave"),
    "another version": ("systems:", "schema_version: 2\nsystems:", "schema_version", "write 1"),
    "an engine of none": ("systems:", "engine_versions: {tgi: '2'}\nsystems:", "s.tgi: ", "one of"),
    "value of nothing": (
        "systems:", "objective: {kind: most_value}\nsystems:", "objective.kind", "most_tokens",
    ),
    "a folder of columns": (f"columns:\n  - {COLUMN}", "columns: '.'", "'.'", "relative to"),
}  # fmt: skip


def written(folder: Path, text: str) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def slips(base: str, edit: tuple[str, str, str, str], folder: Path) -> None:
    """A base with right text made wrong is refused, with the place and the cure."""
    right, wrong, place, cure = edit
    assert right in base
    with pytest.raises(SchemaError) as caught:
        load_scenario(written(folder, base.replace(right, wrong, 1)))
    assert place in caught.value.message
    assert cure in caught.value.hint


@pytest.mark.parametrize("case", EDITS)
def test_a_slip(case: str, tmp_path: Path) -> None:
    slips(BASE, EDITS[case], tmp_path)


def test_the_base_is_right(tmp_path: Path) -> None:
    assert not load_scenario(written(tmp_path, BASE)).warnings


BYTES = {
    "Latin-1": (BASE.replace("chat", "café").encode("latin-1"), "is not UTF-8", "UTF-8"),
    "UTF-16": (BASE.encode("utf-16"), "UTF-16", "UTF-8"),
    "a spreadsheet": (b"PK\x03\x04...", "a spreadsheet", "save the sheet as CSV"),
    "gzip": (b"\x1f\x8b\x08...", "compressed", "unpack"),
    "Parquet": (b"PAR1...", "a Parquet file", "save it as CSV"),
}


@pytest.mark.parametrize("case", BYTES)
@pytest.mark.parametrize("name", ["scenario.yaml", "cols.csv"])
def test_a_file_of_other_bytes(case: str, name: str, tmp_path: Path) -> None:
    raw, what, cure = BYTES[case]
    at = BASE.index("columns:")
    path = written(tmp_path, f"{BASE[:at]}columns: cols.csv\n")
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(SchemaError) as caught:
        load_scenario(path)
    assert f"{name}: " in caught.value.message and what in caught.value.message
    assert cure in caught.value.hint


HEADER = "workload,class,system,gpus,rate_rps,watts"
CELLS = {  # a row of a table, where the fault is, what to do
    "not a number": ("chat,turn,h100_sxm_8,1,nan,600", "rate_rps: 'nan'", "a plain number"),
    "without end": ("chat,turn,h100_sxm_8,1,1e400,600", "rate_rps", "finite"),
    "thousands": ('chat,turn,h100_sxm_8,1,"1,500",600', "rate_rps", "thousands without commas"),
    "a unit": ("chat,turn,h100_sxm_8,1,5 rps,600", "rate_rps: '5 rps'", "a plain number"),
    "nothing a second": ("chat,turn,h100_sxm_8,1,0,600", "rate_rps", "zero and negative"),
    "a half": ("chat,turn,h100_sxm_8,1.5,5,600", "gpus", "1 or 2"),
    "too few cells": ("chat,turn,h100_sxm_8", "row 2", "add this field"),
    "watts below nothing": ("chat,turn,h100_sxm_8,1,5,-600", "watts", "at least 0"),
}


def with_table(folder: Path, *rows: str, name: str = "cols.csv") -> Path:
    (folder / name).write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return written(folder, f"{BASE[: BASE.index('columns:')]}columns: {name}\n")


@pytest.mark.parametrize("case", CELLS)
def test_a_cell(case: str, tmp_path: Path) -> None:
    row, place, cure = CELLS[case]
    with pytest.raises(SchemaError) as caught:
        load_scenario(with_table(tmp_path, row))
    assert "cols.csv: row 2" in caught.value.message and place in caught.value.message
    assert cure in caught.value.hint


def test_a_table_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"cols\.json: is no CSV file"):
        load_scenario(with_table(tmp_path, name="cols.json"))


def test_whole_numbers_as_pandas_writes_them(tmp_path: Path) -> None:
    """A column of whole numbers with a blank in it becomes 8.0 on the way through pandas."""
    loaded = load_scenario(with_table(tmp_path, "chat,turn,h100_sxm_8,8.0,5.0,600.0"))
    assert [c.gpus for c in loaded.scenario.columns or () if not isinstance(c, str)] == [8]


WARNED = {  # accepted, and hardly ever meant
    "kilowatts for watts": ("watts: 600", "watts: 0.6", "did you mean kW?"),
    "free demand at the least cost": (DEMAND, "{free: true}", "serving nothing is best"),
    "most tokens of stated demand": (
        "systems:", "objective: {kind: most_tokens}\nsystems:", "every plan that serves it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNED)
def test_what_is_hardly_meant(case: str, tmp_path: Path) -> None:
    right, wrong, said = WARNED[case]
    (warning,) = load_scenario(written(tmp_path, BASE.replace(right, wrong, 1))).warnings
    assert said in str(warning)


NO_SYSTEM = {  # why none can be had
    "none for sale": (*offer("supply: 0"), "offer h100: no supply"),
    "no rack": (*site("racks: 0"), "the site's racks are 0"),
    "no cooling": ("cooling: [air]", "cooling: []", "the site has no air cooling"),
}


@pytest.mark.parametrize("case", NO_SYSTEM)
def test_no_system_says_why(case: str, tmp_path: Path) -> None:
    right, wrong, why = NO_SYSTEM[case]
    with pytest.raises(InfeasibleError, match="no system can be had") as caught:
        optimize_fleet(written(tmp_path, BASE.replace(right, wrong, 1)))
    assert why in caught.value.message


def test_an_api_that_lacks_something_says_what(tmp_path: Path) -> None:
    """A bill alone: its prices are there, and nothing says that it holds the limit."""
    api = "{id: bill, workload: chat, region: us, usd_per_mtok_input: 1, usd_per_mtok_output: 2}"
    text = BASE[: BASE.index("sites:")] + f"systems: []\napis:\n  - {api}\n"
    with pytest.raises(InfeasibleError, match="no hosted API may serve it") as caught:
        optimize_fleet(written(tmp_path, text))
    assert "API bill: states no ttft" in caught.value.message
    assert (
        "no system" not in caught.value.message and "what its hosted API lacks" in caught.value.hint
    )
    attested = text.replace("usd_per_mtok_output: 2", "usd_per_mtok_output: 2, slo_attested: true")
    assert optimize_fleet(written(tmp_path, attested)).gpus == 0


def test_limits_of_measured_rates_are_said_not_to_be_judged(tmp_path: Path) -> None:
    def said(text: str) -> list[str]:
        plan = optimize_fleet(written(tmp_path, text))
        return [w.text for w in plan.warnings if w.kind == "measured"]

    (warning,) = said(BASE)
    assert "latency limits of chat are not judged" in warning
    assert not said(BASE.replace(f"    slos:\n      - {SLO}\n", ""))


@pytest.mark.parametrize("rate_rps", [5.0, 1e3, 1e6])
@pytest.mark.parametrize("requests_per_s", ["0.00001", "0.001"])
def test_a_small_demand_takes_a_whole_system(
    rate_rps: float, requests_per_s: str, tmp_path: Path
) -> None:
    """A request a day beside a replica of a million a second is served, and by one system."""
    text = BASE.replace("rate_rps: 5.0", f"rate_rps: {rate_rps}")
    text = text.replace(DEMAND, f"{{requests_per_s: {requests_per_s}}}")
    plan = optimize_fleet(written(tmp_path, text))
    assert (plan.gpus, [r.count for r in plan.replicas]) == (8, [1])
    year = float(requests_per_s) * 8760 * 3600
    assert plan.tokens_per_year_output == pytest.approx(100 * year)


def test_a_small_demand_beside_a_large_one(tmp_path: Path) -> None:
    """Eight replicas fill the first system; nine requests a day of another model want a second."""
    small = BASE[BASE.index("  - id: chat") : BASE.index("sites:")]
    small = small.replace("id: chat", "id: small").replace(DEMAND, "{requests_per_s: 0.0001}")
    column = COLUMN.replace("chat", "small").replace("5.0", "5000.0")
    text = BASE.replace("rate_rps: 5.0", "rate_rps: 2.5").replace("sites:", f"{small}sites:", 1)
    plan = optimize_fleet(written(tmp_path, f"{text}  - {column}\n"))
    assert plan.gpus == 16
    assert {r.workload: r.count for r in plan.replicas} == {"chat": 8, "small": 1}


# Plans that somebody edited


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = written(tmp_path_factory.mktemp("plan"), BASE)
    data: dict[str, Any] = optimize_fleet(path).to_json()
    return data


PLANS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another count": (lambda p: p["systems"][0].update(count=3), "systems[0].gpus: is 8"),
    "half a system": (lambda p: p["systems"][0].update(count=1.5), "systems[0].count"),
    "another site": (lambda p: p["systems"][0].update(site="x"), "'x' is no site"),
    "another cost": (lambda p: p.update(annual_cost_usd=1.0), "annual_cost_usd: is 1"),
    "an older version": (lambda p: p.update(schema_version=1), "schema_version: is 1"),
    "no systems": (lambda p: p.update(systems=None), "systems: should be a list, got nothing"),
    "requests of nobody": (lambda p: p["routing"][0].update(workload="x"), "'x' is no workload"),
    "replicas of nobody": (lambda p: p["replicas"][0].update(workload="x"), "'x' is no workload"),
    "nothing up front": (lambda p: p.update(capex_usd=0.0), "capex_usd: is 0"),
    "another status": (lambda p: p.update(status="great"), "status"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANS)
def test_an_edited_plan(case: str, plan: dict[str, Any], tmp_path: Path) -> None:
    change, place = PLANS[case]
    edited = json.loads(json.dumps(plan))
    change(edited)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(edited), encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        Plan.load(path)
    assert f"{path}: " in caught.value.message and place in caught.value.message
    assert "make the plan again" in caught.value.hint


# Outputs


def refused(*arguments: str | Path) -> str:
    """What a command says that refuses its arguments."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        app([str(a) for a in arguments], prog_name="tokenfleet")
    assert ended.value.code == 2
    assert "Traceback" not in err.getvalue()
    return err.getvalue()


def test_an_output_never_takes_the_place_of_an_input(tmp_path: Path) -> None:
    path = written(tmp_path, BASE)
    said = refused("plan", path, "-o", path, "--force")
    assert "is what is read" in said and "another name" in said
    assert path.read_text(encoding="utf-8") == BASE


@pytest.mark.parametrize("named", ["{}", "chat={}"])
def test_an_output_never_takes_the_place_of_a_trace(named: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n", encoding="utf-8")
    given = ("--trace", named.format(trace), "-o", trace, "--force")
    assert "is what is read" in refused("plan", written(tmp_path, BASE), *given)
    assert "is what is read" in refused("simulate", tmp_path / "scenario.yaml", *given)


@pytest.mark.parametrize("written_over", ["table.csv", "out.csv.rejected.csv"])
def test_answers_never_take_the_place_of_their_table(written_over: str, tmp_path: Path) -> None:
    """Neither the output nor the file of rejected rows, which is named after it."""
    table, text = tmp_path / written_over, "id,h100@hall\na,1\n"
    table.write_text(text, encoding="utf-8")
    output = table if written_over == "table.csv" else tmp_path / "out.csv"
    scenario = written(tmp_path, BASE)
    said = refused("evaluate-fleets", table, "-s", scenario, "-o", output, "--force")
    assert "is what is read" in said and "another name" in said
    assert table.read_text(encoding="utf-8") == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_an_output_never_takes_the_place_of_a_device(tmp_path: Path) -> None:
    """Whoever may replace /dev/null by a rename must not do it by a slip."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    said = refused("plan", written(tmp_path, BASE), "-o", pipe, "--force")
    assert "a device or a pipe" in said and "standard output" in said
    with pytest.raises(OSError, match="no file that could be replaced"):
        write_whole(pipe, "text")
    assert not pipe.is_file()
    assert "a device or a pipe" in refused("check", pipe)


def test_an_output_in_no_folder(tmp_path: Path) -> None:
    said = refused("plan", written(tmp_path, BASE), "-o", tmp_path / "none" / "plan.json")
    assert "its folder is not there" in said and "make the folder" in said
    assert "is a folder" in refused("plan", tmp_path / "scenario.yaml", "-o", tmp_path)


def test_an_explanation_never_takes_the_place_of_a_plan(
    plan: dict[str, Any], tmp_path: Path
) -> None:
    """`explain plan.json -o .` would name its file as the plan is named."""
    path, other = tmp_path / "plan.json", tmp_path / "elsewhere"
    text = json.dumps(plan)
    path.write_text(text, encoding="utf-8")
    said = refused("explain", path, "-o", tmp_path)
    assert "is what is read" in said and path.read_text(encoding="utf-8") == text
    other.mkdir()
    (other / "plan.json").write_text("{}", encoding="utf-8")
    assert "no explanation" in refused("explain", path, "-o", other)
    assert (other / "plan.json").read_text(encoding="utf-8") == "{}"


OPTIONS = {  # what a command is given, and what it says
    "an engine of one plan": (("explain", "{}", "--engine", "spark"), "-o FOLDER"),
    "no time at all": (("batch", "{}", "-o", "{}.d", "--kill-after", "0"), "seconds above zero"),
    "time before now": (("batch", "{}", "-o", "{}.d", "--kill-after", "-1"), "seconds above zero"),
    "a gap of all scenarios": (("batch", "{}", "-o", "{}.d", "--gap", "5"), "gap"),
    "no time for a solver": (("batch", "{}", "-o", "{}.d", "--time-limit", "0"), "time_limit_s"),
    "a cluster of nobody": (
        ("batch", "{}", "-o", "{}.d", "--ray-address", "x"), "add --engine ray",
    ),
    "as many plans as seconds": (
        ("sweep", "{}", "--vary", "demand=0.5..2:1000000000"), "1,000,000,000 settings",
    ),
    "a square of plans": (
        ("sweep", "{}", "--vary", "demand=0.5..2:200", "--vary", "price.h100=0.5..2:200"),
        "40,000 settings",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_that_says_nothing(case: str, tmp_path: Path) -> None:
    words, said = OPTIONS[case]
    path = written(tmp_path, BASE)
    assert said in refused(*(word.format(path) for word in words))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
