"""Mistakes that people make in a scenario: each error names the place and the cure."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenfleet import optimize_fleet
from tokenfleet.catalog import load_catalog, merge_files
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.files.read import parse_json, parse_toml
from tokenfleet.scenario.load import load_scenario

BASE = """\
name: chat
workloads:
  - id: chat
    model: llama-3.3-70b
    residency: [eu]
    classes:
      - {id: turn, share: 1.0, input_tokens: 1500, output_tokens: 300}
    slos:
      - {metric: ttft, percentile: p95, limit_ms: 2000}
      - {metric: tpot, percentile: p95, limit_ms: 50}
    demand: {requests_per_s: 5, peak_to_mean: 3}
sites:
  - {id: room, region: eu, power_kw: 25, power_basis: it, cooling: [air]}
systems: [h100_sxm_8]
"""
# What is written in place of what, where the fault is, and what to do.
EDITS = {
    "a name of the hub": ("llama-3.3-70b", "Llama-3.3-70B-Instruct", ".model", "llama-3.3-70b"),
    "an accelerator's name": ("h100_sxm_8", "H100", "systems[0]", "h100_sxm_8"),
    "a letter missing": ("requests_per_s", "request_per_s", ".demand", "requests_per_s"),
    "another word": ("requests_per_s", "qps", ".demand.qps", "requests_per_s"),
    "another unit's name": ("limit_ms: 2000", "limit_s: 2", ".slos[0].limit_s", "limit_ms"),
    "capitals": ("metric: ttft", "metric: TTFT", ".slos[0].metric", "ttft"),
    "a unit": ("power_kw: 25", "power_kw: 25000 W", ".power_kw", "of kW without quotes: 25"),
    "megawatts": ("power_kw: 25", "power_kw: 2 MW", "(id 'room').power_kw", "without quotes: 2000"),
    "seconds": ("limit_ms: 2000", "limit_ms: 2 s", ".slos[0].limit_ms", "without quotes: 2000"),
    "a field missing": ("power_basis: it, ", "", ".power_basis", "power_basis: it or utility"),
    "a level too high": ("    demand", "demand", "demand: unknown", "it is workloads[].demand"),
    "percent of a share": ("share: 1.0", "share: 100", ".share", "100 % is 1"),
    "no list": ("cooling: [air]", "cooling: air", ".cooling", "[air]"),
    "no list of text": ("[eu]", "eu", ".residency", "[eu]"),
    "no entry of a list": ("- id: chat", "id: chat", "line 4", "starts with -"),
    "a region in capitals": ("residency: [eu]", "residency: [EU]", ".residency", "eu"),
    "a bare percentile": ("percentile: p95", "percentile: 95", ".slos[0].percentile", "write p95"),
    "a tab": ("    model", "\tmodel", "line 4", "spaces"),
    "a colon in text": ("name: chat", "name: chat: ours", "line 1", "quotes"),
    "an open bracket": ("[air]}", "[air]", "line 14", "close the { of line 13"),
    "an open quote": ("name: chat", 'name: "chat', "line", "close the quotes of line 1"),
    "quotes about a number": (
        "requests_per_s: 5", 'requests_per_s: "5"', ".requests_per_s", "without quotes: 5",
    ),
    "too long a peak": ("peak_to_mean: 3", "peak_to_mean: 10", ".peak_hours_per_day", "2.4 h"),
    "a rate per minute": (
        "requests_per_s: 5", "requests_per_minute: 300", ".requests_per_minute",
        "write requests_per_s: 5",
    ),
    "more than the world asks": (
        "requests_per_s: 5", "requests_per_s: 1.0e+308", ".requests_per_s", "at most 1e+12",
    ),
    "power in MW": ("power_kw: 25", "power_mw: 0.025", ".power_mw", "write power_kw: 25"),
    "thousands of tokens": (
        "input_tokens: 1500", "input_tokens: 1.5k", ".input_tokens", "write input_tokens: 1500",
    ),
    "no tokens": ("output_tokens: 300", "output_tokens: 0", ".output_tokens", "one at least"),
    "a format of another kind": (
        "    model:", "    precisions: [int8]\n    model:", ".precisions[0]", "one of bf16, fp8",
    ),
    "a format alone, by another name": (
        "    model:", "    precisions: FP16\n    model:", ".precisions", "write a list: [bf16]",
    ),
    "more hours than a day has": (
        "peak_to_mean: 3", "peak_to_mean: 1.1, peak_hours_per_day: 30", ".peak_hours_per_day",
        "less than 24",
    ),
    "a name that is a star": ("model: llama-3.3-70b", "model: *m", "line 4, column 12", "quotes"),
    "two scenarios": ("systems:", "---\nsystems:", "line 14, column 1", "one scenario in a file"),
    "demand as a number": (
        "{requests_per_s: 5, peak_to_mean: 3}", "5", ".demand", "demand: {requests_per_s: 5}",
    ),
    "a comma in a number": (
        "input_tokens: 1500", "input_tokens: 1,500", ".classes[0]", "write numbers without commas: "
        "input_tokens: 1500",
    ),
    "blanks of typesetting": (
        "    model:", "\u00a0\u00a0\u00a0\u00a0model:", "line 4, column 1: U+00A0", "a plain one",
    ),
    "a colon of typesetting": ("name: chat", "name\uff1achat", "column 5: U+FF1A", "a plain one"),
    "equals signs": ("name: chat", "[scenario]\nname = chat", "line 2", "as `name: value`"),
    "a name of nothing": ("name: chat", "name: ''", "name", "write a name"),
    "a long name": ("name: chat", f"name: {'x' * 300}", "name", "at most 200 characters"),
    "groups as one word": (
        BASE[BASE.index("sites:") : BASE.index("systems:")],
        "sites: room\n",
        "sites",
        "- {id: room",
    ),
    "a limit in words": (
        "{metric: ttft, percentile: p95, limit_ms: 2000}", "ttft < 2 s", ".slos[0]", "- {metric: ",
    ),
    "tokens for requests": (
        "requests_per_s: 5", "tokens_per_s: 5", ".demand", "requests_per_s: those tokens",
    ),
    "users for requests": (
        "requests_per_s: 5", "users: 500", ".demand.users", "requests_per_s: users",
    ),
    "a name of formats": (
        "    model:", "    quantization: awq\n    model:", ".quantization", "precisions",
    ),
}  # fmt: skip
ADDED = {
    "percent": ("finance: {cost_of_capital: 8}", "finance.cost_of_capital", "8 % is 0.08"),
    "a goal alone": ("objective: least_cost", "objective", "objective: {kind: least_cost}"),
    "a goal by its sense": ("objective: cheapest", "objective", "{kind: least_cost}"),
    "a sum of money": (
        "objective: {annual_budget_usd: $2M}", "objective.annual_budget_usd", "2000000",
    ),
    "a limit at the top": ("slos: []", "slos: unknown", "it is workloads[].slos"),
    "a European day": ("as_of: 15/07/2026", "as_of", "2026-07-15"),
    "a day of two readings": ("as_of: 5.7.2026", "as_of", "2026-07-05 or 2026-05-07"),
    "confidence in percent": ("confidence: 80", "confidence", "80 % is 0.8"),
    "a purchase": ("offers: [{id: a, system: h100_sxm_8, kind: purchase}]", ".kind", "buy"),
    "a price of anything": (
        "offers: [{id: a, system: h100_sxm_8, kind: buy, price: 9}]",
        "offers[0] (id 'a').price", "price_usd_per_system",
    ),
    "a rent priced as a purchase": (
        "offers: [{id: a, system: h100_sxm_8, kind: rent, price_usd_per_system: 9}]",
        "offers[0] (id 'a').price_usd_per_system", "price_usd_per_gpu_h, or write kind: buy",
    ),
    "half a system": (
        "offers: [{id: a, system: h100_sxm_8, kind: buy, supply: 2.5}]",
        "offers[0] (id 'a').supply", "a whole number: 2 or 3",
    ),
    "a price of a thousand tokens": (
        "apis: [{id: x, workload: chat, region: eu, usd_per_1k_input: 0.0001, "
        "usd_per_mtok_output: 1}]", "apis[0] (id 'x').usd_per_1k_input", "usd_per_mtok_input: 0.1",
    ),
    "a day that no month has": ("as_of: 2026-13-45", "as_of", "no such day"),
    "a confidence in words": ("confidence: high", "confidence", "or expected"),
    "a currency": ("currency: EUR", "currency", "US dollars"),
    "a goal's type": ("objective: {type: least_cost}", "objective.type", "kind"),
    "spares": ("spares: 1", "spares", "reserve"),
    "speculation in the search": (
        "search: {speculation: yes}", "search.speculation", "speculation at the top",
    ),
    "an entry of no price book": (
        "apis: [{id: x, workload: chat, region: eu, price: gpt-5}]", "gpt-5", "; or give",
    ),
    "a month": ("as_of: July 2026", "as_of", "year-month-day: 2026-07-01"),
    "an engine's own name": ("engines: [vLLM]", "engines[0]", "vllm"),
    "an engine alone": ("engines: vllm", "engines", "[vllm]"),
    "a blank": ("confidence:\nprice_vintage:\nsearch:", "search", "leave the field out"),
    "another edition": ("price_vintage: 2026-08", "price_vintage", "2026-07"),
    "an unknown workload": (
        "apis: [{id: x, workload: chatt, region: eu, usd_per_mtok_input: 1, "
        "usd_per_mtok_output: 1}]", "apis[0] (id 'x').workload", "chat",
    ),
}  # fmt: skip


def refused(text: str, tmp_path: Path) -> SchemaError:
    path = tmp_path / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load_scenario(path)
    assert str(path) in caught.value.message
    return caught.value


@pytest.mark.parametrize("case", EDITS)
def test_a_slip(case: str, tmp_path: Path) -> None:
    right, wrong, place, cure = EDITS[case]
    assert right in BASE
    error = refused(BASE.replace(right, wrong, 1), tmp_path)
    assert place in error.message
    assert cure in error.hint


@pytest.mark.parametrize("case", ADDED)
def test_a_wrong_addition(case: str, tmp_path: Path) -> None:
    added, place, cure = ADDED[case]
    error = refused(f"{BASE}{added}\n", tmp_path)
    assert place in error.message
    assert cure in error.hint


def test_the_base_is_right(tmp_path: Path) -> None:
    (tmp_path / "scenario.yaml").write_text(BASE, encoding="utf-8")
    assert not load_scenario(tmp_path / "scenario.yaml").warnings


def test_hints_of_several_faults_name_their_places(tmp_path: Path) -> None:
    error = refused(BASE.replace("h100_sxm_8", "H100, B200"), tmp_path)
    first, second = error.hint.split("; ")
    assert first == "systems[0]: did you mean h100_pcie_8, h100_sxm_8?"
    assert second == "systems[1]: did you mean b200_sxm_8, gb200_nvl72?"


@pytest.mark.parametrize(
    ("slo", "limit_ms", "metric"), [(0, 20.0, "TTFT"), (1, 2.0, "TPOT")], ids=["ttft", "tpot"]
)
def test_the_best_limit_that_could_be_had(slo: int, limit_ms: float, metric: str) -> None:
    data: dict[str, Any] = yaml.safe_load(BASE)
    data["search"] = {"max_gpus_per_replica": 8, "batch_limits": [8], "pipeline_parallel": [1]}
    data["workloads"][0]["slos"][slo]["limit_ms"] = limit_ms
    with pytest.raises(InfeasibleError, match=f"{metric} p95 of ") as caught:
        optimize_fleet(data)
    best = float(str(caught.value).split(f"{metric} p95 of ")[1].split(" ms")[0])
    assert limit_ms < best
    loosened = copy.deepcopy(data)
    loosened["sites"][0]["power_kw"] = "unlimited"
    loosened["workloads"][0]["demand"] = {"requests_per_s": 0.01}
    loosened["workloads"][0]["slos"][slo]["limit_ms"] = 1.1 * best
    assert optimize_fleet(loosened).status == "optimal"
    loosened["workloads"][0]["slos"][slo]["limit_ms"] = 0.95 * best
    with pytest.raises(InfeasibleError):
        optimize_fleet(loosened)


def test_the_best_limit_of_a_class_that_nothing_serves() -> None:
    """Short questions are served in 400 ms, and long documents are not."""
    data: dict[str, Any] = yaml.safe_load(BASE)
    data["search"] = {"max_gpus_per_replica": 8, "batch_limits": [8], "pipeline_parallel": [1]}
    chat = data["workloads"][0]
    turn = chat["classes"][0]
    long = {**turn, "id": "long", "share": 0.5, "input_tokens": 60_000}
    chat["classes"] = [{**turn, "share": 0.5}, long]
    chat["slos"][0]["limit_ms"] = 400
    with pytest.raises(InfeasibleError, match="nothing can serve long within its limits") as caught:
        optimize_fleet(data)
    best = float(str(caught.value).split("TTFT p95 of ")[1].split(" ms")[0])
    assert best > 400
    chat["slos"][0]["limit_ms"] = 1.1 * best
    chat["demand"] = {"requests_per_s": 0.01}
    data["sites"][0]["power_kw"] = "unlimited"
    assert optimize_fleet(data).status == "optimal"


def test_a_format_that_no_system_computes_in() -> None:
    data: dict[str, Any] = yaml.safe_load(BASE)
    data["workloads"][0]["precisions"] = ["nvfp4"]
    with pytest.raises(InfeasibleError, match=r"nvfp4\); h100_sxm_8: bf16, fp8") as caught:
        optimize_fleet(data)
    assert "name a precision" in caught.value.hint
    assert "limit" not in caught.value.hint  # no limit is in the way


def test_weights_that_no_layout_holds() -> None:
    """70 billion weights in 16 bits take 140 GB, and one accelerator has 80."""
    data: dict[str, Any] = yaml.safe_load(BASE)
    data["workloads"][0]["precisions"] = ["bf16"]
    data["search"] = {"max_gpus_per_replica": 1}
    with pytest.raises(InfeasibleError, match="none fits the memory of its systems") as caught:
        optimize_fleet(data)
    assert "TTFT" not in caught.value.message
    assert "more memory" in caught.value.hint and "limit" not in caught.value.hint


def test_offers_of_systems_that_are_not_allowed() -> None:
    data: dict[str, Any] = yaml.safe_load(BASE)
    data["offers"] = [{"id": "a", "system": "h200_sxm_8", "kind": "buy"}]
    with pytest.raises(InfeasibleError, match="h200_sxm_8 is not among the allowed ones") as caught:
        optimize_fleet(data)
    assert "give an offer" in caught.value.hint


def test_a_file_of_another_kind_is_called_what_it_is(tmp_path: Path) -> None:
    def written(data: dict[str, Any]) -> Path:
        path = tmp_path / "file.yaml"
        path.write_text(yaml.safe_dump(data), encoding="utf-8")
        return path

    with pytest.raises(SchemaError, match="is a catalog file, not a scenario"):
        load_scenario(written({"systems": [{"id": "h100_x1", "gpus": 1}]}))
    with pytest.raises(SchemaError, match="is a plan, not a scenario"):
        load_scenario(written({"workloads": [], "systems": [], "routing": []}))
    with pytest.raises(SchemaError, match="is a scenario, not a catalog file"):
        merge_files(load_catalog(), [written(yaml.safe_load(BASE))])
    with pytest.raises(SchemaError, match="is a plan, not a catalog file"):
        merge_files(load_catalog(), [written({"workloads": [], "systems": [], "routing": []})])


JSON = {
    "a last comma": ('{"name": "x",}', "the comma before }"),
    "other quotes": ("{'name': 'x'}", "double quotes"),
    "a comment": ('{"name": "x" // why\n}', "leave comments out"),
    "no comma": ('{"name": "x" "as_of": "y"}', "a comma between entries"),
    "no end": ('{"name": "x"', "close its brackets"),
    "an open quote": ('{"name": "x}', "close the quotes"),
    "two values": ('{"name": "x"} {}', "keep one value"),
    "a bare name": ("{name: 1}", 'names as "name":'),
}
TOML = {
    "an open list": ("name = 'x'\nworkloads = [\n", "close its brackets"),
    "a name twice": ("name = 'x'\nname = 'y'\n", "keep one"),
    "a colon": ("name: 'x'\n", "name = value"),
}


@pytest.mark.parametrize("case", JSON)
def test_broken_json(case: str) -> None:
    text, cure = JSON[case]
    with pytest.raises(SchemaError, match=r"s\.json: line \d+, column \d+") as caught:
        parse_json(text, "s.json")
    assert cure in caught.value.hint


@pytest.mark.parametrize("case", TOML)
def test_broken_toml(case: str) -> None:
    text, cure = TOML[case]
    with pytest.raises(SchemaError, match=r"s\.toml: ") as caught:
        parse_toml(text, "s.toml")
    assert cure in caught.value.hint


HEADER = "workload,class,system,gpus,rate_rps"
ROWS = {  # of a table of measured columns: text, where the fault is, what to do
    "semicolons": (f"{HEADER}\n".replace(",", ";"), "csv: its columns", "put commas"),
    "another class": (
        f"{HEADER}\n\nchat,turns,h100_sxm_8,8,10\n", "csv: row 3: class: unknown", "mean turn?",
    ),
    "a name of an accelerator": (
        f"{HEADER}\nchat,turn,H100,8,10\n", "csv: row 2: system: unknown", "h100_sxm_8",
    ),
    "no first line": ("chat,turn,h100_sxm_8,8,10\n", "csv: its first line", "known: "),
    "an open quote": (
        f'{HEADER}\nchat,"turn,h100_sxm_8,8,10\n', "csv: row 2", "close the quotes",
    ),
    "a decimal comma": (
        f'{HEADER}\nchat,turn,h100_sxm_8,8,"10,5"\n', "csv: row 2", "decimals with a point",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ROWS)
def test_a_table_of_columns(case: str, tmp_path: Path) -> None:
    text, place, cure = ROWS[case]
    (tmp_path / "cols.csv").write_text(text, encoding="utf-8")
    path = tmp_path / "scenario.yaml"
    path.write_text(f"{BASE}columns: cols.csv\n", encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        load_scenario(path)
    assert caught.value.message.count("\n") == 0  # said once
    assert f"cols.{place}" in caught.value.message
    assert cure in caught.value.hint


OWN = {  # files of a catalog: text, where the fault is, what to do
    "an American day": (
        "prices: [{system: h100_sxm_8, kind: buy, price_usd_per_system: 1, source: q, "
        "as_of: 10/14/2026}]", "prices[0] (system 'h100_sxm_8').as_of", "2026-10-14",
    ),
    "a parameter of no plan": (
        "tco: [{parameter: electricity, typical: 0.1, unit: USD/kWh, source: q}]",
        "tco[0] (parameter 'electricity')", "electricity_usd_per_kwh",
    ),
    "a parameter in cents": (
        "tco: [{parameter: electricity_usd_per_kwh, typical: 11, unit: ct/kWh, source: q}]",
        "'ct/kWh' is not the unit", "in USD/kWh",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OWN)
def test_a_file_of_the_catalog(case: str, tmp_path: Path) -> None:
    text, place, cure = OWN[case]
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SchemaError) as caught:
        merge_files(load_catalog(), [path])
    assert place in caught.value.message.replace(": as_of", ".as_of")
    assert cure in caught.value.hint


def test_limits_that_another_implies(tmp_path: Path) -> None:
    """A p95 within 2 s says nothing beside a p99 within 1 s; one within 0.5 s does."""
    path = tmp_path / "scenario.yaml"
    first = "      - {metric: ttft"

    def warned(limit: str) -> list[str]:
        added = f"      - {{metric: ttft, {limit}}}\n{first}"
        path.write_text(BASE.replace(first, added, 1), encoding="utf-8")
        return [str(w) for w in load_scenario(path).warnings]

    (said,) = warned("percentile: p99, limit_ms: 1000")
    assert "slos[1]: says nothing beside slos[0]: p99 within 1000 ms" in said
    (said,) = warned("percentile: p95, limit_ms: 1000")
    assert "slos[1]: says nothing beside slos[0]: p95 within 1000 ms" in said
    (said,) = warned("percentile: p90, limit_ms: 2500")
    assert "slos[0]: says nothing beside slos[1]: p95 within 2000 ms" in said
    assert not warned("percentile: p90, limit_ms: 500")
    assert not warned("percentile: p99, limit_ms: 4000")


def test_degrees_that_no_layout_has() -> None:
    data: dict[str, Any] = yaml.safe_load(BASE)
    data["search"] = {"tensor_parallel": [3]}
    with pytest.raises(InfeasibleError, match="the search allows no layout") as caught:
        optimize_fleet(data)
    assert "tensor_parallel" in caught.value.hint and "memory" not in caught.value.hint


SHARED = Path(__file__).resolve().parents[2] / "shared" / "cases" / "newcomer" / "mistakes"


@pytest.mark.skipif(not SHARED.is_dir(), reason="shared cases are absent")
def test_mistakes_of_newcomers_have_a_cure() -> None:
    refusals = 0
    for path in sorted(SHARED.glob("*.yaml")):
        try:
            load_scenario(path)
        except SchemaError as error:
            assert error.hint, path
            assert error.hint != "fix the YAML", path
            refusals += 1
    assert refusals >= 25
