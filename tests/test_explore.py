"""Plans beside a plan: each is the plan of a scenario that was changed by hand."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import tokenfleet as tf
from test_cli import run
from test_plots import TINY
from test_report import DAY, Reader
from test_workbook import everything
from tokenfleet import Plan
from tokenfleet.explanation.explore import FACTORS, explore
from tokenfleet.plan.explored import Exploration, Resolved
from tokenfleet.report.explored import payback_years
from tokenfleet.report.page.render import html
from tokenfleet.report.redact import redacted

Json = dict[str, Any]
# A plan takes a simpler mix that costs hardly more; what is explored is the cheapest.
NEAR = 2e-3


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Stock, a purchase, a lease and an API, with measured columns."""
    return explore(tf.optimize_fleet(everything()), scenario=everything())


@pytest.fixture(scope="module")
def found(plan: Plan) -> Exploration:
    assert plan.exploration is not None
    return plan.exploration


def without(data: Json, **kept: Any) -> Json:
    changed = copy.deepcopy(data)
    if "kinds" in kept:
        changed["offers"] = [o for o in data["offers"] if o["kind"] in (*kept["kinds"], "owned")]
    if "systems" in kept:
        changed["offers"] = [o for o in data["offers"] if o["system"] in kept["systems"]]
    if kept.get("apis") is False:
        changed["apis"] = []
    if kept.get("offers") is False:
        changed["offers"] = [{**data["offers"][1], "supply": 0}]  # none at all: the price book's
    return changed


def same(solved: Resolved | None, data: Json) -> None:
    """The explored plan is no dearer than a fresh one, and not much cheaper; its money adds up."""
    try:
        fresh = tf.optimize_fleet(data)
    except tf.InfeasibleError:
        assert solved is None
        return
    assert solved is not None
    assert solved.annual_cost_usd <= fresh.annual_cost_usd * (1 + 1e-6)
    assert solved.annual_cost_usd == pytest.approx(fresh.annual_cost_usd, rel=NEAR)
    if sum(solved.systems.values()) == sum(row.count for row in fresh.systems):
        assert solved.capex_usd == pytest.approx(fresh.capex_usd, rel=1e-6)
        items = fresh.cost_items
        paid = items.get("capex_annuity", 0.0) + items.get("residual_credit", 0.0)
        running = fresh.annual_cost_usd - paid
        assert solved.running_usd_per_year == pytest.approx(running, rel=NEAR)
        assert solved.resale_usd_per_year == pytest.approx(-items.get("residual_credit", 0.0))


def test_alternatives_are_plans_of_scenarios_with_less(found: Exploration) -> None:
    rows = {row.name: row for row in found.alternatives}
    assert set(rows) == {
        "only buying", "only renting", "only h100_sxm_8", "only h200_sxm_8", "without hosted APIs",
        "only hosted APIs",
    }  # fmt: skip
    data = everything()
    same(found.today, data)
    same(rows["only buying"].plan, without(data, kinds=["buy"]))
    same(rows["only renting"].plan, without(data, kinds=["rent"]))
    same(rows["only h100_sxm_8"].plan, without(data, systems=["h100_sxm_8"]))
    same(rows["only h200_sxm_8"].plan, without(data, systems=["h200_sxm_8"]))
    same(rows["without hosted APIs"].plan, without(data, apis=False))
    same(rows["only hosted APIs"].plan, without(data, offers=False))
    for row in found.alternatives:
        assert (row.plan is None) == (row.reason is not None)
        assert row.reason is None or "supply" not in row.reason
    assert rows["only h200_sxm_8"].accelerator == "H200 SXM 141GB"
    costs = [row.plan.annual_cost_usd for row in found.alternatives if row.plan is not None]
    assert costs == sorted(costs) and costs[0] >= found.today.annual_cost_usd * (1 - 1e-9)


def test_inputs_are_turned_as_a_scenario_would_be(found: Exploration) -> None:
    rows = {row.input: row for row in found.sensitivity}
    for name, of, field in (
        ("price.buy h100_sxm_8", ("offers", 0), "price_usd_per_system"),
        ("cost_of_capital", ("finance",), "cost_of_capital"),
    ):
        for factor, value in ((0.8, rows[name].value_low), (1.2, rows[name].value_high)):
            data: Any = everything()
            at = data
            for key in of:
                at = at[key]
            at[field] *= factor
            assert value == pytest.approx(tf.optimize_fleet(data).annual_cost_usd, rel=NEAR)
    swings = [row.swing for row in found.sensitivity]
    assert swings == sorted(swings, reverse=True)


def test_measured_columns_have_no_other_limits(found: Exploration) -> None:
    assert found.frontier == ()
    assert "measured columns hold their latency limits" in found.notes[0]


def test_payback_by_hand() -> None:
    """200 more up front, 50 less a year: four years."""

    def solved(capex: float, running: float) -> Resolved:
        return Resolved(
            objective_value=1.0, annual_cost_usd=1.0, capex_usd=capex,
            running_usd_per_year=running, resale_usd_per_year=0.0, cost_per_mtok_output_usd=None,
            systems={}, how="re-solved and proven",
        )  # fmt: skip

    assert payback_years(solved(300.0, 20.0), solved(100.0, 70.0)) == 4.0
    assert payback_years(solved(300.0, 80.0), solved(100.0, 70.0)) is None
    assert payback_years(solved(100.0, 20.0), solved(300.0, 70.0)) is None


def test_a_page_shows_what_was_explored(plan: Plan) -> None:
    text = Reader(html(plan, DAY)).text
    for label in ("Against the alternatives", "Over the life", "What would change it"):
        assert label in text
    assert "Only H200 SXM 141GB" in text
    passed_on = redacted(plan)
    assert passed_on.exploration is None and "buy h100" not in html(passed_on, DAY)


def test_the_command_explores_within_its_time(tmp_path: Path) -> None:
    """Tighter limits cost no less; a plan that is read back is the same."""
    own, file = tmp_path / "own.yaml", tmp_path / "plan.json"
    own.write_text(json.dumps({**TINY, "confidence": "expected"}))
    done = run("plan", own, "-o", file, "--explore", "--verify", "none", "--plot",
               tmp_path / "front.svg")  # fmt: skip
    assert done.returncode == 0, done.stderr
    plan = Plan.load(file)
    found = plan.exploration
    assert found is not None and found.notes == ()
    assert [row.factor for row in found.frontier] == sorted([*FACTORS, 1.0])
    values = [row.plan.annual_cost_usd for row in found.frontier if row.plan is not None]
    assert values == sorted(values, reverse=True)
    data: Any = copy.deepcopy(TINY)
    data["workloads"][0]["slos"][0]["limit_ms"] *= 0.5
    same(found.frontier[0].plan, {**data, "confidence": "expected"})
    assert "over the latency limits" in (tmp_path / "front.svg").read_text()
    assert Plan.from_json(plan.to_json()) == plan
    brief = run("plan", own, "-o", file, "--force", "--explore", "--explore-limit", "1",
                "--verify", "none")  # fmt: skip
    assert brief.returncode == 0
    assert "were not solved in the time given" in str(Plan.load(file).exploration)
