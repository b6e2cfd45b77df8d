"""`quick`: a question in one line is the plan of the scenario that it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from problems import one_pool
from test_cli import run
from tokenfleet import InfeasibleError, Plan, SchemaError, optimize_fleet
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.report import sizing, words
from tokenfleet.scenario.load import load_scenario
from tokenfleet.sizing.answer import Answer, quick, quick_rates
from tokenfleet.sizing.margin import margin_of
from tokenfleet.sizing.question import Question, as_yaml

ASKED = Question(
    "llama-3.1-8b",
    rate_rps=40,
    ttft_ms=1000,
    tpot_ms=40,
    systems=("h100_sxm_8", "mi300x_8"),
)


def by_name(question: Question) -> dict[str, Answer]:
    return {answer.name: answer for answer in quick(question)}


def plan(answer: Answer) -> Plan:
    assert answer.plan is not None
    return answer.plan


def slowest_tpot_ms(plan: Plan) -> float:
    return max(row.promised_ms or 0.0 for row in plan.slo if row.metric == "tpot")


@pytest.fixture(scope="module")
def answers() -> dict[str, Answer]:
    return by_name(ASKED)


def test_each_plan_is_what_its_name_says(answers: dict[str, Answer]) -> None:
    plans = {name: plan(answer) for name, answer in answers.items()}
    assert list(plans) == ["cheapest", "simplest", "fastest", "least power"]
    kw = {n: sum(s.mean_drawn_kw_with_hosted for s in p.sites) for n, p in plans.items()}
    tpot = {
        n: max(r.promised_ms or 0 for r in p.slo if r.metric == "tpot") for n, p in plans.items()
    }
    usd = {n: p.annual_cost_usd for n, p in plans.items()}
    assert usd["cheapest"] == min(usd.values())
    assert kw["least power"] == min(kw.values())
    assert tpot["fastest"] == min(tpot.values())
    assert len({row.system for row in plans["simplest"].systems}) == 1
    limit = answers["fastest"].tpot_limit_ms
    assert limit is not None and tpot["fastest"] <= limit < 40


def test_the_scenario_that_is_written_has_the_same_plan(
    answers: dict[str, Answer], tmp_path: Path
) -> None:
    first = answers["cheapest"]
    file = tmp_path / "asked.yaml"
    file.write_text(as_yaml(first.scenario, "tokenfleet quick\nevil: 1"))
    assert yaml.safe_load(file.read_text()) == first.scenario
    again = optimize_fleet(file)
    assert again.annual_cost_usd == pytest.approx(plan(first).annual_cost_usd, rel=1e-9)


def test_a_budget_serves_what_costs_it_and_no_more() -> None:
    """The inverse against the question itself: at its rate the budget holds, at more it breaks."""
    asked = replace(ASKED, rate_rps=None, budget_usd_per_year=200_000.0)
    found = plan(by_name(asked)["most tokens"])
    seconds = 8760 * 3600
    rate = found.tokens_per_year_output / asked.output_tokens / seconds
    assert found.annual_cost_usd <= 200_000
    within = replace(ASKED, rate_rps=rate * 0.99, budget_usd_per_year=200_000.0)
    assert optimize_fleet(within.scenario("least_cost")).annual_cost_usd <= 200_000
    over = replace(within, rate_rps=rate * 1.01)
    with pytest.raises(InfeasibleError):
        optimize_fleet(over.scenario("least_cost"))


def test_a_megawatt_is_never_exceeded() -> None:
    asked = replace(ASKED, rate_rps=None, power_mw=0.1, get="buy", systems=("h100_sxm_8",))
    found = plan(by_name(asked)["most tokens"])
    assert found.sites[0].provisioned_kw <= 100
    assert {row.kind for row in found.systems} == {"buy"}
    one_more = found.sites[0].provisioned_kw / found.systems[0].count
    assert found.sites[0].provisioned_kw + one_more > 100


def test_more_demand_never_costs_less() -> None:
    rows = list(quick_rates(ASKED, [10, 40, 160]))
    usd = [plan(answer).annual_cost_usd for _, answer in rows]
    assert [rate for rate, _ in rows] == [10, 40, 160]
    assert usd == sorted(usd)


def test_margin_and_payback_by_hand() -> None:
    """1 Mtok sold at 500 $ against 200 $ a year, of which 120 $ repay 300 $ less 20 $ of resale."""
    base = plan_of(solve_mix(one_pool([[16.0]]), SolveOptions(gap=0.0)))
    sold = base.model_copy(
        update={
            "tokens_per_year_output": 1e6,
            "annual_cost_usd": 200.0,
            "cost_items": {"capex_annuity": 120.0, "residual_credit": -20.0, "energy": 100.0},
            "capex_usd": 300.0,
        }
    )
    found = margin_of(sold, 500.0)
    assert (found.revenue_usd, found.margin_usd, found.margin_share) == (500.0, 300.0, 0.6)
    assert found.payback_years == 300.0 / 400.0
    assert "earned back in 0.8 years" in words.sold(sold, found)
    loss = margin_of(sold, 50.0)
    assert loss.margin_usd == -150.0 and loss.payback_years is None
    assert "loss $150" in words.sold(sold, loss) and "never earned back" in words.sold(sold, loss)


def test_without_a_plan_the_reason_stands_in_its_place() -> None:
    """Two H100 servers' worth of money: the fastest plan needs more."""
    asked = replace(ASKED, systems=("h100_sxm_8",), budget_usd_per_year=150_000.0, rate_rps=200)
    found = by_name(asked)
    assert plan(found["cheapest"]).annual_cost_usd <= 150_000
    assert found["fastest"].plan is None and "budget" in found["fastest"].conflict


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rate_rps": 0.0}, "--rate 0: must be above 0"),
        ({"tpot_ms": float("nan")}, "--tpot nan"),
        ({"rate_rps": None}, "neither a demand nor a limit"),
        ({"rate_rps": None, "power_mw": 1.0}, "--mw limits what stands at your own site"),
        ({"percentile": "p97"}, "--percentile p97: not known"),
        ({"model": "llama-3.1-8c"}, "did you mean llama-3.1-8b"),
        ({"model": "llama-3.1-8c"}, "tokenfleet import config.json -o own.yaml"),
        ({"systems": ("h100",)}, "unknown system 'h100'"),
        ({"systems": ("mi300x_8",), "get": "buy"}, "nothing to buy"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_cure(changes: Any, says: str) -> None:
    with pytest.raises(SchemaError) as raised:
        list(quick(replace(ASKED, **changes)))
    assert says in str(raised.value) and raised.value.hint


def test_two_requests_a_second_are_served_by_one_accelerator() -> None:
    """One H100 at 4.29 USD an hour, 8,760 hours; eight at 2.95 are 206,736 USD."""
    small = replace(ASKED, rate_rps=2, systems=("h100_sxm_1", "h100_sxm_8"), get="rent")
    found = plan(by_name(small)["cheapest"])
    assert (found.gpus, [row.system for row in found.systems]) == (1, ["h100_sxm_1"])
    assert found.annual_cost_usd == pytest.approx(4.29 * 8760)
    assert words.headline(found).startswith("1 GPU: ")


def test_parts_of_servers_are_asked_of_where_no_system_is_named() -> None:
    everything = replace(ASKED, systems=None)
    loaded = load_scenario(everything.scenario("least_cost"))
    assert loaded.catalog.systems["l40s_1"].gpus == 1
    rented = replace(everything, get="rent").scenario("least_cost")
    offered = {row["system"]: row for row in rented["offers"]}
    assert offered["h100_sxm_4"] == {
        "id": "h100_sxm_4/on_demand",
        "system": "h100_sxm_4",
        "kind": "on_demand",
        "price_tier": "market",
    }
    bought = replace(everything, get="buy").scenario("least_cost")
    assert not any(row["system"].endswith(("_1", "_2", "_4")) for row in bought["offers"])
    older = {**everything.scenario("least_cost"), "price_vintage": "2026-06"}
    assert "l40s_1" not in load_scenario(older).catalog.systems


def test_power_that_nobody_published_is_a_dash() -> None:
    small = replace(ASKED, rate_rps=2, systems=("l40s_1",))
    found = plan(by_name(small)["cheapest"])
    assert sizing._figures(found)[4] == "–"
    whole = plan(by_name(replace(small, systems=("l40s_8",)))["cheapest"])
    assert sizing._figures(whole)[4] == "–"  # the server's rating is not sourced either


def test_limits_that_serve_nothing_are_no_answer() -> None:
    """One kW holds no system: that is said, not a plan of nothing."""
    nothing = replace(ASKED, rate_rps=None, power_mw=0.001, get="buy", systems=("h100_sxm_8",))
    with pytest.raises(InfeasibleError, match=r"0\.001 MW: less than one system needs") as raised:
        list(quick(nothing))
    assert raised.value.hint == "raise --mw or --budget"


def test_the_command_answers_in_words_and_in_json(tmp_path: Path) -> None:
    line = ["quick", "llama-3.1-8b", "--rate", "40", "--systems", "h100_sxm_8", "--price", "2"]
    file = tmp_path / "mine.yaml"
    done = run(*line, "-o", file)
    assert done.returncode == 0, done.stderr
    for text in ("Side by side", "cheapest", "least power", "sold at $2.00", "assumed, because"):
        assert text in done.stdout
    assert yaml.safe_load(file.read_text())["workloads"][0]["model"] == "llama-3.1-8b"
    assert run(*line, "-o", file).returncode == 2
    found = json.loads(run(*line, "--json").stdout)["answers"]
    assert [row["name"] for row in found] == ["cheapest", "simplest", "fastest", "least power"]
    assert found[0]["sold"]["price_usd_per_mtok_output"] == 2.0
    table = run(*line[:2], "--rates", "10,20", "--systems", "h100_sxm_8")
    assert "By rate" in table.stdout and table.returncode == 0
    assert run(*line[:2], "--rates", "10,x").returncode == 2
    assert "--rate beside --rates" in run(*line[:4], "--rates", "10,20").stderr
    for price in ("nan", "0", "-2"):
        refused = run(*line[:4], "--price", price)
        assert refused.returncode == 2 and "--price" in refused.stderr and not refused.stdout
    both = run(*line[:2], "--rates", "10,20", "-o", tmp_path / "none.yaml")
    assert both.returncode == 2 and "--rate R --save FILE" in both.stderr
    assert not (tmp_path / "none.yaml").exists()
