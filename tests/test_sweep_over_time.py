"""Inputs turned over time: every row is the plan of a scenario that says so from the start."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet as tf
from test_sweep_diff_model import measured
from tokenfleet.explanation.over_time import OverTime, open_either
from tokenfleet.explanation.sweep import parse
from tokenfleet.explanation.sweep_over_time import points_over_time

Scenario = dict[str, Any]


def dated() -> Scenario:
    """Boxes to buy, to rent and an API over four half-years, with everything that may have dates:
    power, prices, demand, a lead time, and a boom that shows after a year."""
    scenario = measured(90.0)
    buy = scenario["offers"][0]
    buy |= {"price_by_date": [["2026-10", 200_000], ["2027-10", 150_000]], "lead_months": 6}
    rent = {"id": "year", "system": "h100_sxm_8", "kind": "rent", "term_years": 1, "supply": 1}
    scenario["offers"].append({**rent, "price_usd_per_gpu_h": 1.9, "price_change_per_year": -0.1})
    scenario["apis"][0]["price_change_per_year"] = -0.2
    scenario["sites"][0] |= {
        "power_kw": [["2026-10", 11], ["2027-10", 17]], "electricity_usd_per_kwh": 0.1,
        "electricity_change_per_year": 0.05,
    }  # fmt: skip
    scenario["workloads"][0]["demand"] = {
        "requests_per_s": 80,
        "requests_per_s_by_date": [["2026-10", 80], ["2027-10", 110]],
    }
    return {
        **scenario,
        "finance": {"cost_of_capital": 0.08},
        "horizon": {"start": "2026-10", "periods": 4, "period": "half_year", "discount_rate": 0.1},
        "outlooks": [
            {"id": "base", "probability": 0.6},
            {"id": "boom", "probability": 0.4, "from": "2027-10", "demand": 1.4},
        ],
        "solver": {"threads": 1, "gap": 1e-6},
    }  # fmt: skip


def demand(s: Scenario, factor: float) -> None:
    """Requests at all dates."""
    stated = s["workloads"][0]["demand"]
    stated["requests_per_s"] *= factor
    rows = stated["requests_per_s_by_date"]
    stated["requests_per_s_by_date"] = [[day, rps * factor] for day, rps in rows]


def tariff(s: Scenario, factor: float) -> None:
    """The price of power."""
    s["sites"][0]["electricity_usd_per_kwh"] *= factor


def price(s: Scenario, factor: float) -> None:
    """What is bought."""
    s["offers"][0]["price_usd_per_system"] *= factor
    rows = s["offers"][0]["price_by_date"]
    s["offers"][0]["price_by_date"] = [[day, usd * factor] for day, usd in rows]


def rental(s: Scenario, factor: float) -> None:
    """What is rented."""
    s["offers"][1]["price_usd_per_gpu_h"] *= factor


def api_price(s: Scenario, factor: float) -> None:
    """The API."""
    s["apis"][0]["usd_per_request"] *= factor


def power(s: Scenario, factor: float) -> None:
    """Power at all dates."""
    s["sites"][0]["power_kw"] = [[day, kw * factor] for day, kw in s["sites"][0]["power_kw"]]


def speed(s: Scenario, factor: float) -> None:
    """Requests/s of an accelerator."""
    s["columns"][0]["rate_rps"] *= factor


def cost_of_capital(s: Scenario, factor: float) -> None:
    """What capital costs, and the rate by which cash is discounted."""
    s["finance"]["cost_of_capital"] *= factor
    s["horizon"]["discount_rate"] *= factor


TURNS: dict[str, Callable[[Scenario, float], None]] = {
    "demand": demand, "demand.chat": demand, "tariff.hall": tariff, "price.h100": price,
    "price.year": rental, "api_price": api_price, "api_price.api": api_price,
    "power": power, "speed.h100_sxm_8": speed,
    "cost_of_capital": cost_of_capital,
}  # fmt: skip


def scratch(*turns: tuple[str, float]) -> tf.Plan:
    """The plan of the scenario written with inputs so many times what they are."""
    scenario = copy.deepcopy(dated())
    for name, factor in turns:
        TURNS[name](scenario, factor)
    return tf.optimize_fleet(scenario, compare_single=False)


@pytest.fixture(scope="module")
def asked() -> OverTime:
    found = open_either(dated())
    assert isinstance(found, OverTime)
    return found


@pytest.mark.parametrize("name", TURNS)
def test_each_input_turned_is_the_plan_of_the_scenario_that_says_so(
    asked: OverTime, name: str
) -> None:
    (row,) = points_over_time(asked, [parse(asked, f"{name}=1.25")])
    plan = scratch((name, 1.25))
    assert plan.horizon is not None
    assert row.how == "re-solved and proven" and plan.bound is not None
    assert row.objective_value == pytest.approx(plan.objective_value, rel=2e-6)
    assert row.annual_cost_usd == pytest.approx(plan.horizon.levelised_usd_per_year, rel=2e-6)
    per_mtok = plan.horizon.levelised_cost_per_mtok_output_usd
    assert row.cost_per_mtok_output_usd == pytest.approx(per_mtok, rel=2e-6)
    assert abs(asked.base.value - row.objective_value) > 1.0


def test_two_inputs_turn_together_and_first_orders_mark_where_the_mix_changes(
    asked: OverTime,
) -> None:
    varied = [parse(asked, "price.h100=0.5,1.5"), parse(asked, "demand=0.5..1.5:3")]
    rows = list(points_over_time(asked, varied))
    assert [tuple(row.factors.values()) for row in rows] == [
        (f, g) for f in (0.5, 1.5) for g in (0.5, 1.0, 1.5)
    ]
    for i, row in enumerate(rows):
        plan = scratch(("price.h100", row.factors["price.h100"]), ("demand", row.factors["demand"]))
        assert row.objective_value == pytest.approx(plan.objective_value, rel=2e-6)
        before = rows[i - 1]
        other = (row.systems, row.first_orders) != (before.systems, before.first_orders)
        assert row.mix_changed is (i % 3 > 0 and other)
    assert {row.mix_changed for row in rows} == {True, False}
    assert len({json.dumps(row.first_orders) for row in rows}) > 1


def test_the_tornado_is_the_plans_of_both_ends(asked: OverTime) -> None:
    found = tf.explain(dated(), parts=["tornado"])
    assert found.notes == ()
    swings = [row.swing for row in found.tornado]
    assert swings == sorted(swings, reverse=True) and swings[0] > 1000
    for row in found.tornado:
        ends = [scratch((row.input, factor)).objective_value for factor in (0.8, 1.2)]
        assert [row.value_low, row.value_high] == pytest.approx(ends, rel=2e-6)
        values = [*ends, asked.base.value]
        assert row.swing == pytest.approx(max(values) - min(values), abs=0.5)


def test_a_setting_without_a_plan_is_a_row_and_the_table_has_first_orders(tmp_path: Path) -> None:
    """Without the API, what 11 kW hold serves no demand of nine times the size."""
    scenario = dated()
    scenario["apis"] = []
    scenario["offers"][0]["lead_months"] = 0
    scenario["workloads"][0]["demand"] = {"requests_per_s": 40}
    file = tmp_path / "s.yaml"
    file.write_text(yaml.safe_dump(scenario))
    command = [
        sys.executable, "-m", "tokenfleet", "sweep", str(file), "--vary", "demand=1,9", "--json",
        "-o", str(tmp_path / "points.csv"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["points"]
    assert [row["feasible"] for row in rows] == [True, False]
    assert rows[1]["mix_changed"]
    assert "first_orders" in (tmp_path / "points.csv").read_text().splitlines()[0]
