"""Sweeps, differences and the model before the solve: hand cases, and plans made from scratch."""

from __future__ import annotations

import copy
import csv
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import highspy
import numpy as np
import pytest

import tokenfleet as tf
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.explanation.case import open_case
from tokenfleet.explanation.difference import difference, shapley
from tokenfleet.explanation.sweep import check_table, parse, points, tornado

SECONDS = 8760 * 3600


def hosted(requests_per_s: float, usd_per_year: float) -> dict[str, Any]:
    """One API that costs so much a year for each request/s."""
    return {
        "name": "hosted",
        "systems": [],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [
                    {"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}
                ],
                "slos": [{"metric": "ttft", "percentile": "p95", "limit_ms": 1000}],
                "demand": {"requests_per_s": requests_per_s},
            }
        ],
        "apis": [
            {
                "id": "api",
                "workload": "chat",
                "region": "eu",
                "usd_per_mtok_input": 0,
                "usd_per_mtok_output": 0,
                "usd_per_request": usd_per_year / SECONDS,
                "slo_attested": True,
            }
        ],
        "solver": {"threads": 1},
    }


def measured(requests_per_s: float = 20.0, price: float = 200_000.0) -> dict[str, Any]:
    """Boxes of 8 accelerators, of which each serves 5 requests/s, bought or by the API."""
    scenario = hosted(requests_per_s, 20_000.0)
    scenario["systems"] = ["h100_sxm_8"]
    scenario["sites"] = [
        {"id": "hall", "region": "eu", "power_kw": 100, "power_basis": "it", "cooling": ["air"]}
    ]
    offer = {"id": "h100", "system": "h100_sxm_8", "kind": "buy", "price_usd_per_system": price}
    scenario["offers"] = [offer]
    row = {"workload": "chat", "class": "turn", "system": "h100_sxm_8", "gpus": 1, "rate_rps": 5.0}
    scenario["columns"] = [row]
    return scenario


# Differences


def test_case_i_demand_9_and_price_minus_5() -> None:
    """Demand 2 to 3 and unit price 10 to 8: 20 to 24. In order it is +10 - 6 or +8 - 4."""
    found = tf.difference(hosted(2, 10), hosted(3, 8))
    assert (found.before, found.after) == pytest.approx((20, 24))
    assert {part.group: part.change for part in found.parts} == pytest.approx(
        {"prices": -5, "demand": 9}
    )
    assert found.parts[0].inputs == ("apis[api].usd_per_request",)
    assert sum(part.change for part in found.parts) == pytest.approx(found.change, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_mean_over_all_orders(seed: int) -> None:
    """Shapley against its definition by orders; parts add up, and who changes nothing gets 0."""
    rng = np.random.default_rng(seed)
    groups = list("abcd"[: int(rng.integers(2, 5))])
    table = {
        frozenset(s): float(rng.normal())
        for n in range(len(groups) + 1)
        for s in itertools.combinations(groups, n)
    }
    orders = list(itertools.permutations(groups))
    expected = dict.fromkeys(groups, 0.0)
    for order in orders:
        for i, group in enumerate(order):
            before = frozenset(order[:i])
            expected[group] += (table[before | {group}] - table[before]) / len(orders)
    parts = shapley(groups, table.__getitem__)
    assert parts == pytest.approx(expected, abs=1e-12)
    whole = table[frozenset(groups)] - table[frozenset()]
    assert sum(parts.values()) == pytest.approx(whole, abs=1e-9)
    idle = shapley([*groups, "idle"], lambda s: table[s - {"idle"}])
    assert idle["idle"] == pytest.approx(0, abs=1e-12)


def test_the_order_of_names_and_rows_is_no_change() -> None:
    scenario = measured()
    scenario["systems"] = ["h100_sxm_8", "h200_sxm_8"]
    scenario["workloads"][0]["slos"].append({"metric": "tpot", "percentile": "p50", "limit_ms": 50})
    other = copy.deepcopy(scenario)
    other["systems"].reverse()
    other["workloads"][0]["slos"].reverse()
    found = tf.difference(scenario, other)
    assert (found.change, found.parts) == (0.0, ())


def test_plans_of_other_goals_are_not_compared() -> None:
    other = {**hosted(2, 10), "objective": {"kind": "least_carbon"}}
    with pytest.raises(SchemaError, match="other goals: least_cost and least_carbon"):
        tf.difference(hosted(2, 10), other)


# Sweeps


def test_every_point_is_the_plan_from_scratch() -> None:
    case = open_case(measured())
    varied = [parse(case, "demand=0.5..2:4"), parse(case, "price.h100=0.5,1.5")]
    rows = list(points(case, varied))
    assert [tuple(row.factors.values()) for row in rows] == list(
        itertools.product((0.5, 1.0, 1.5, 2.0), (0.5, 1.5))
    )
    for row in rows:
        demand, price = row.factors.values()
        plan = tf.optimize_fleet(measured(20 * demand, 200_000 * price), compare_single=False)
        assert row.annual_cost_usd == pytest.approx(plan.annual_cost_usd, rel=1e-4)
        assert row.gpus == plan.gpus
    changed = [row.mix_changed for row in rows]
    assert changed[::2] == [False] * 4  # the first price of each demand has none before it


def test_the_cost_of_capital_goes_through_the_one_formula() -> None:
    """20 % more of it, and of a price: as the scenario with both written out."""
    case = open_case(measured())
    varied = [parse(case, "cost_of_capital=1.2"), parse(case, "price=1.2")]
    (row,) = points(case, varied)
    written = measured(price=240_000.0)
    written["finance"] = {"cost_of_capital": case.built.terms.cost_of_capital * 1.2}
    plan = tf.optimize_fleet(written, compare_single=False)
    assert row.annual_cost_usd == pytest.approx(plan.annual_cost_usd, rel=1e-6)


def test_the_tornado_is_of_plans_that_were_solved() -> None:
    rows = {row.input: row for row in tornado(open_case(measured()))}
    assert {"demand.chat", "price.h100", "speed.h100_sxm_8", "cost_of_capital"} <= set(rows)
    low = tf.optimize_fleet(measured(price=160_000.0), compare_single=False)
    assert rows["price.h100"].value_low == pytest.approx(low.annual_cost_usd, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("damand=1,2", "no such input"),
        ("demand.chit=1,2", "no demand of 'chit'"),
        ("demand=0..2:3", "factors above zero"),
        ("demand=1,x", "factors above zero"),
        ("demand=nan", "factors above zero"),
        ("demand", "factors above zero"),
    ],
)
def test_a_faulty_input_is_named(text: str, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        parse(open_case(measured()), text)


def test_the_command_writes_a_table(tmp_path: Path) -> None:
    scenario, output = tmp_path / "s.json", tmp_path / "points.csv"
    scenario.write_text(json.dumps(measured()))
    command = [sys.executable, "-m", "tokenfleet", "sweep", str(scenario), "-o", str(output)]
    done = subprocess.run(
        [*command, "--vary", "demand=1,2", "--json"], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    rows = list(csv.DictReader(output.open()))
    assert [float(row["demand"]) for row in rows] == [1, 2]
    assert [float(r["annual_cost_usd"]) for r in rows] == pytest.approx(
        [point["annual_cost_usd"] for point in said["points"]]
    )
    again = subprocess.run([*command, "--vary", "demand=1"], capture_output=True, check=False)
    assert again.returncode == 2  # the file is there


# The model before the solve


def test_a_constraint_of_ones_own_holds_and_is_listed() -> None:
    model = tf.build_model(measured(requests_per_s=90.0, price=50_000.0))
    free = model.solve()
    assert free.gpus == 24
    (systems,) = model.named("systems", site="hall")
    model.add("two boxes at most", {systems: 1.0}, "<=", 2)
    plan = model.solve()
    assert plan.gpus == 16 and plan.annual_cost_usd > free.annual_cost_usd
    said = [row.text for row in plan.warnings if "two boxes at most" in row.text]
    assert said == ["the plan keeps a constraint of its own: two boxes at most (<= 2)"]


@pytest.mark.parametrize("staff", [0.0, 5_000.0])
def test_a_constraint_may_ask_for_boxes_that_no_request_needs(staff: float) -> None:
    """One box of eight serves 20 requests/s; a contract of three has two idle ones, at two boxes'
    cost more. Nine fit the hall, and ten are no plan."""
    scenario = measured(requests_per_s=20.0, price=50_000.0)
    scenario["sites"][0]["staff_usd_per_year"] = staff
    model = tf.build_model(scenario)
    free = model.solve()
    (systems,) = model.named("systems", site="hall")
    columns = model.table("columns")
    each = columns["usd_per_year"][columns["name"].index(systems)]
    model.add("a contract of three", {systems: 1.0}, ">=", 3)
    plan = model.solve()
    assert (free.gpus, plan.gpus) == (8, 24)
    assert plan.annual_cost_usd == pytest.approx(free.annual_cost_usd + 2 * each)
    model.add("ten", {systems: 1.0}, ">=", 10)
    with pytest.raises(InfeasibleError, match="no plan keeps every constraint"):
        model.solve()


def test_the_files_hold_the_same_problem(tmp_path: Path) -> None:
    """MPS and LP, read by HiGHS alone, have the plan's cost."""
    scenario = measured(requests_per_s=90.0, price=50_000.0)
    model = tf.build_model(scenario)
    plan = tf.optimize_fleet(scenario, compare_single=False)
    for name in ("fleet.mps", "fleet.lp"):
        model.write(tmp_path / name)
        assert solved_from(tmp_path / name) == pytest.approx(plan.annual_cost_usd, rel=1e-6)
    with pytest.raises(SchemaError, match="unknown format"):
        model.write(tmp_path / "fleet.txt")


def solved_from(path: Path) -> float:
    """What HiGHS alone makes of a file."""
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.readModel(str(path))
    solver.run()
    return float(solver.getObjectiveValue())


def test_files_hold_what_is_paid_whatever_is_planned(tmp_path: Path) -> None:
    """A hall with 100 kW at 50 $ a kW that are paid used or not: the file's best is the plan's."""
    scenario = measured(requests_per_s=90.0, price=50_000.0)
    paid = {"power_is_contracted": True, "power_usd_per_kw_year": 50.0}
    scenario["sites"][0] |= paid
    plan = tf.optimize_fleet(scenario, compare_single=False)
    model = tf.build_model(scenario)
    for name in ("fleet.mps", "fleet.lp"):
        model.write(tmp_path / name)
        assert solved_from(tmp_path / name) == pytest.approx(plan.annual_cost_usd, rel=1e-6)
    again = model.solve()  # the model is as before
    assert again.annual_cost_usd == pytest.approx(plan.annual_cost_usd)


def test_what_is_maximised_is_so_in_files_and_duals(tmp_path: Path) -> None:
    """An API of at most 2 requests/s, 100 tokens each: one request/s more is worth its tokens."""
    scenario = hosted(2, 10)
    scenario["workloads"][0]["demand"] = {"free": True}
    scenario["apis"][0]["max_requests_per_s"] = 2
    scenario["objective"] = {"kind": "most_tokens", "denominator": "output"}
    model = tf.build_model(scenario)
    tokens = 100 * SECONDS
    for name in ("fleet.mps", "fleet.lp"):
        model.write(tmp_path / name)
        assert solved_from(tmp_path / name) == pytest.approx(2 * tokens)
    limits, costs = model.table("duals"), model.table("reduced_costs")
    found = [*limits["dual"], *costs["reduced_cost"]]
    assert [a for a in found if abs(a) > 1e-6] == pytest.approx([tokens])


def test_tables_have_labels_and_duals_say_what_the_relaxation_would_pay() -> None:
    """The dual of the demand row times the demand is the cost of an API without limits."""
    model = tf.build_model(hosted(2, 10))
    columns, duals = model.table("columns"), model.table("duals")
    assert columns["what"] == ["requests to API api"] and columns["workload"] == ["chat"]
    (row,) = [i for i, family in enumerate(duals["family"]) if family == "demand"]
    assert duals["dual"][row] == pytest.approx(10)
    assert model.table("rows")["limit"][row] == pytest.approx(2)
    assert model.table("reduced_costs")["reduced_cost"] == pytest.approx([0])


def test_faulty_constraints_are_named() -> None:
    model = tf.build_model(hosted(2, 10))
    (column,) = model.named("api")
    with pytest.raises(SchemaError, match="no column 'x'"):
        model.add("mine", {"x": 1.0}, "<=", 1)
    with pytest.raises(SchemaError, match="sense '<'"):
        model.add("mine", {column: 1.0}, "<", 1)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="finite"):
        model.add("mine", {column: math.nan}, "<=", 1)
    with pytest.raises(SchemaError, match="no column of kind 'systems'"):
        model.named("systems")
    with pytest.raises(SchemaError, match="no table"):
        model.table("prices")


# Bad input


@pytest.mark.parametrize(
    "text",
    [
        "demand", "demand=", "demand=0..2:3", "demand=-1,2", "demand=0.5..2:0", "demand=0.5..2:-3",
        "demand=nan", "demand=inf,1", "demand=1e400", "demand=0.5..2:99999", "demand=1,,2", "=1",
        "demand=0.5..2:2.5", "demand=1_0", "dmand=1", "demand.chatt=1", "price.nope=1",
        "cost_of_capital.x=1", "demand=0.5..2:99999999999999999999",
    ],
)  # fmt: skip
def test_settings_of_a_sweep_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="--vary"):
        parse(open_case(measured()), text)


def test_gaps_times_and_tables_that_are_none_are_refused(tmp_path: Path) -> None:
    for bad in (math.nan, -1.0, 1.0, math.inf):
        with pytest.raises(SchemaError, match="gap"):
            tf.explain(measured(), gap=bad)
    for bad in (math.nan, -1.0, 0.0):
        with pytest.raises(SchemaError, match="time limit"):
            tf.explain(measured(), time_limit_s=bad)
    with pytest.raises(SchemaError, match="format"):
        check_table(tmp_path / "points.docx")


def test_a_difference_with_a_scenario_without_a_plan_names_it(tmp_path: Path) -> None:
    dark = measured()
    dark["sites"][0]["power_kw"], dark["apis"] = 1, []
    path = tmp_path / "dark.json"
    path.write_text(json.dumps(dark))
    with pytest.raises(InfeasibleError, match=r"dark\.json") as caught:
        difference(measured(), path)
    assert "explain" in str(caught.value.hint)
    later = {**measured(), "horizon": {"start": "2026-10-01", "periods": ["4 quarters"]}}
    with pytest.raises(SchemaError, match="of a year and the other over time"):
        difference(measured(), later)


def test_an_edited_plan_is_told_from_the_one_solved_again(tmp_path: Path) -> None:
    """The scenario is untouched, so the fingerprint fits; its systems and cost are not those."""
    scenario = tmp_path / "s.json"
    scenario.write_text(json.dumps(measured()))
    plan = tf.optimize_fleet(scenario, compare_single=False)
    assert not tf.explain(plan, parts=["worth"]).notes
    (box,) = plan.systems
    edited = plan.model_copy(update={"systems": (box.model_copy(update={"count": 99}),)})
    (note,) = tf.explain(edited, parts=["worth"]).notes
    assert "99 h100@hall" in note and "edited" in note
