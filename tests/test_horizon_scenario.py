"""A scenario over time: what it says becomes nodes, orders and errors with place and cure."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import tokenfleet as tf
from scenarios import buy, hall
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.horizon.run import risk_of
from tokenfleet.problem import build
from tokenfleet.problem.over_time import mean_growth, tree_of
from tokenfleet.report.terminal import render
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema.over_time import without_time
from tokenfleet.tables.fleets.run import FleetOptions, evaluate_fleet_file

LENGTH = {"mean": 100, "p50": 100, "p90": 100, "p95": 100, "p99": 100, "max": 100}
NEWS = [
    {"id": "up", "probability": 0.5, "from": "2027-10", "demand": 2.0},
    {"id": "down", "probability": 0.5, "from": "2027-10", "demand": 0.5},
]


def scenario(**changes: Any) -> dict[str, Any]:
    """One workload of 9 requests/s on replicas of one GPU that serve 1/s: two systems hold it."""
    base: dict[str, Any] = {
        "name": "over time",
        "finance": {"cost_of_capital": 0.08, "life_years": 4, "residual_fraction": 0.2},
        "systems": ["h100_sxm_8"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.3-70b",
                "classes": [
                    {"id": "q", "share": 1.0, "input_tokens": LENGTH, "output_tokens": LENGTH}
                ],
                "demand": {"requests_per_s": 9},
            }
        ],
        "sites": [hall()],
        "offers": [buy()],
        "columns": [
            {"workload": "chat", "class": "q", "system": "h100_sxm_8", "gpus": 1, "rate_rps": 1.0,
             "watts": 500}
        ],
        "solver": {"gap": 1e-6, "time_limit_s": 30},
    }  # fmt: skip
    return {**base, **changes}


def over(periods: Any = 2, **changes: Any) -> dict[str, Any]:
    """The horizon of a scenario, of years from October 2026."""
    return {"start": "2026-10", "periods": periods, **changes}


CHAT = scenario()["workloads"][0]


def owned(**changes: Any) -> dict[str, Any]:
    """Three servers that stand already, their maintenance paid."""
    old = {"id": "old", "system": "h100_sxm_8", "kind": "owned", "supply": 3}
    return {**old, "includes": ["maintenance"], **changes}


def asked(steps: list[Any], **changes: Any) -> dict[str, Any]:
    """The workload of `scenario` with demand by date."""
    return {**CHAT, "demand": {"requests_per_s": 9, "requests_per_s_by_date": steps}, **changes}


def orders(plan: Any) -> list[tuple[str, str, float, str]]:
    """Orders as (date, delivery, count, decided)."""
    return [
        (row.order_on.isoformat(), str(row.deliver_on), row.count, row.decided)
        for row in plan.horizon.orders
    ]


@pytest.mark.parametrize("periods", [1, 3, ["2 half_years"], ["4 quarters", "1 year"]])
def test_equal_periods_cost_what_a_year_costs(periods: Any) -> None:
    year = tf.optimize_fleet(scenario())
    plan = tf.optimize_fleet(scenario(horizon=over(periods)))
    assert plan.horizon is not None
    levelised = plan.horizon.levelised_usd_per_year
    assert levelised == pytest.approx(year.annual_cost_usd, rel=1e-9)
    assert plan.annual_cost_usd == pytest.approx(year.annual_cost_usd, rel=1e-9)
    assert orders(plan) == [("2026-10-01", "2026-10-01", 2.0, "now")]
    assert plan.proven


def test_equal_years_are_proven_by_their_year(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing over time is searched where no period can cost less than the year; where systems keep
    their price, one can, and where what is there is worth something, it counts."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the horizon was searched")

    def planned(**changes: Any) -> Any:
        return tf.optimize_fleet(scenario(horizon=over(3), offers=[buy(**changes)]))

    cheaper = planned(resale=[[1, 1.0], [4, 1.0]])
    year = tf.optimize_fleet(scenario())
    monkeypatch.setattr("tokenfleet.horizon.run._solve", never)
    plan = planned()
    assert plan.objective_value == pytest.approx(year.objective_value, rel=1e-9)
    assert plan.bound == pytest.approx(year.bound, rel=1e-9)
    assert plan.bound_check == year.bound_check != "none"
    assert cheaper.objective_value < 0.9 * year.objective_value
    for change in (
        {"price_change_per_year": -0.1},
        {"resale": [[1, 0.99], [4, 0.9]]},
        {"lead_months": 12},
    ):
        with pytest.raises(AssertionError, match="searched"):
            planned(**change)


def test_a_year_without_horizon_says_nothing_of_it(tmp_path: Path) -> None:
    plan = tf.optimize_fleet(scenario())
    assert "horizon" not in plan.to_json()
    plain = load_scenario(scenario()).scenario.model_dump(mode="json")
    assert not {"horizon", "outlooks"} & without_time(plain).keys()
    assert "lead_months" not in without_time(plain)["offers"][0]


def test_growth_is_the_mean_of_the_period() -> None:
    assert mean_growth(0.0, 1.0, 2.0) == 1.0
    assert mean_growth(1.0, 0.0, 1.0) == pytest.approx(1.4426950408889634)  # 1 / ln 2
    data = scenario(horizon=over(2))
    data["workloads"][0]["demand"]["growth_per_year"] = 1.0
    tree = tree_of(build(load_scenario(data)))
    rates = [float(node.problem.workloads[0].demand_rps[0, 0]) for node in tree.nodes]
    assert rates == pytest.approx([9 * 1.4426950408889634, 18 * 1.4426950408889634])


def test_an_order_in_time_for_what_grows() -> None:
    data = scenario(horizon=over(2))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [["2026-10", 9], ["2027-10", 20]]
    data["offers"] = [
        buy(lead_months=12),
        {"id": "cloud", "system": "h100_sxm_8", "kind": "on_demand", "price_usd_per_gpu_h": 2.5},
    ]
    plan = tf.optimize_fleet(data)
    assert orders(plan) == [("2026-10-01", "2027-10-01", 3.0, "now")]
    first, second = plan.horizon.periods  # type: ignore[union-attr]
    assert [(row.offer, row.count) for row in first.systems][-1] == ("cloud", 2.0)
    assert second.bought_usd == pytest.approx(3 * first.bought_usd if first.bought_usd else
                                              second.bought_usd)  # fmt: skip
    assert plan.horizon.commitments[0].startswith(  # type: ignore[union-attr]
        "order 3 x h100_sxm_8 (buy h100_sxm_8) at hall by 2026-10-01 for 2027-10-01"
    )


def test_power_by_date_and_blocks_of_power() -> None:
    data = scenario(horizon=over(3))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [["2026-10", 8], ["2028-10", 16]]
    kw = 10.2
    data["sites"] = [hall(power_kw=[["2026-10", kw], ["2029-06", 9 * kw]])]
    with pytest.raises(InfeasibleError, match=r"2028-10: site hall: power short by 10\.2 kW"):
        tf.optimize_fleet(data)
    with pytest.raises(InfeasibleError, match=r"2028-10: .*, until more arrives in 2029-10"):
        tf.optimize_fleet({**data, "horizon": over(4)})
    block = {"id": "b", "kw": 15, "capex_usd": 1e5, "months": 36, "most": 1}
    data["sites"] = [hall(power_kw=[["2026-10", kw]], expansions=[block])]
    with pytest.raises(InfeasibleError, match=r"until b at hall may arrive in 2029-10"):
        tf.optimize_fleet({**data, "horizon": over(4)})
    block["months"] = 24
    data["sites"] = [hall(power_kw=[["2026-10", kw]], expansions=[block])]
    plan = tf.optimize_fleet(data)
    assert orders(plan)[:2] == [
        ("2026-10-01", "2026-10-01", 1.0, "now"),
        ("2026-10-01", "2028-10-01", 1.0, "now"),
    ]
    last = plan.horizon.periods[-1]  # type: ignore[union-attr]
    assert last.sites[0].limit_kw == pytest.approx(kw + 15)


def test_racks_by_block() -> None:
    """One rack of one system, and more of them by order: a row of racks each."""
    data = scenario(horizon=over(3))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [
        *(["2026-10", 0], ["2027-10", 8], ["2028-10", 24]),
    ]
    row = {"id": "row", "racks": 1, "capex_usd": 5e4, "months": 12, "most": 3}
    data["sites"] = [hall(racks=0, rack_units=40, rack_kw=15, expansions=[row])]
    assert orders(tf.optimize_fleet(data)) == [
        ("2026-10-01", "2027-10-01", 1.0, "now"),  # a row
        ("2027-10-01", "2027-10-01", 1.0, "later, whatever comes"),
        ("2027-10-01", "2028-10-01", 2.0, "later, whatever comes"),  # two rows
        ("2028-10-01", "2028-10-01", 2.0, "later, whatever comes"),
    ]
    row["months"] = 24
    short = r"2027-10: site hall: racks short by 1 .*, until row at hall may arrive in 2028-10"
    with pytest.raises(InfeasibleError, match=short):
        tf.optimize_fleet(data)


def test_what_arrives_in_one_period_is_within_the_delivery_limit() -> None:
    """With nine months of lead, orders of several quarters arrive on the first day of a year."""
    data = scenario(horizon=over(["4 quarters", "2 years"]))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [["2026-10", 0], ["2028-10", 40]]
    cloud = {"id": "cloud", "system": "h100_sxm_8", "kind": "on_demand", "price_usd_per_gpu_h": 20}
    data["offers"] = [buy(lead_months=9, delivery_limit_per_period=2), cloud]
    plan = tf.optimize_fleet(data)
    delivered = [row.delivered for p in plan.horizon.periods for row in p.systems]  # type: ignore[union-attr]
    assert (max(delivered), sum(delivered)) == (2, 5)


def test_what_is_had_by_the_hour_has_dates_too() -> None:
    cloud = {"id": "cloud", "system": "h100_sxm_8", "kind": "on_demand", "price_usd_per_gpu_h": 3}
    cheap = {**cloud, "id": "cheap", "price_usd_per_gpu_h": 1.5, "order_from": "2027-10"}
    plan = tf.optimize_fleet(scenario(horizon=over(2), offers=[cloud, cheap]))
    held = [[row.offer for row in p.systems] for p in plan.horizon.periods]  # type: ignore[union-attr]
    assert held == [["cloud"], ["cheap"]]


def test_maintenance_by_age_is_of_the_price_of_the_order() -> None:
    """Twice the maintenance at every age, of systems bought at half the price: as much again."""
    data = scenario(horizon=over(2))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [["2026-10", 0], ["2027-10", 8]]
    data["finance"]["maintenance_fraction_per_year"] = 0.05
    data["offers"] = [buy(price_change_per_year=-0.5, maintenance_by_age=[[0, 2.0]])]
    plan = tf.optimize_fleet(data)
    items = plan.horizon.periods[1].cost_items  # type: ignore[union-attr]
    assert items["maintenance"] > 0 and items["ageing"] == pytest.approx(items["maintenance"])


def test_owned_systems_leave_at_their_life_or_outlive_it_with_a_warning() -> None:
    """Two servers three years old, where what is bought lives four: with a life of four they leave
    after a year, and two new ones cost their annuity and maintenance in the second, each worth
    1/1.08 at the start of its year and that 1/1.08 now."""

    def planned(**changes: Any) -> Any:
        offers = [owned(supply=2, ages=[[3, 2]], **changes), buy()]
        return tf.optimize_fleet(scenario(horizon=over(2), offers=offers))

    year = tf.optimize_fleet(scenario()).cost_items
    items = [year[item] for item in ("capex_annuity", "residual_credit", "maintenance")]
    kept, left, worn = planned(), planned(life_years=4), planned(maintenance_by_age=[[0, 1]])
    assert orders(kept) == orders(worn) == [] and len(orders(left)) == 1
    assert orders(left)[0][:3] == ("2027-10-01", "2027-10-01", 2.0)
    more = left.horizon.npv_usd - kept.horizon.npv_usd
    assert more == pytest.approx(sum(items) / 1.08**2, rel=1e-9)
    assert left.warnings == worn.warnings == ()
    (warning,) = kept.warnings
    assert "offers[old]: held to an age of 5 years, beyond the life of 4" in warning.text
    assert "state maintenance_by_age, or life_years" in warning.text


def test_none_of_what_has_no_limit_is_nothing() -> None:
    """No supply and no power in an outlook, where neither has a limit; what stands stays."""
    steps = [["2026-10", 9], ["2027-10", 20]]
    news = [{**row, "demand": 1.0} for row in NEWS]
    news[0]["supply"] = 0
    data = scenario(horizon=over(2, firm_periods=2), outlooks=news)
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = steps
    assert orders(tf.optimize_fleet(data)) == [("2026-10-01", "2026-10-01", 3.0, "now")]
    news[0] = {**NEWS[0], "power": 0}
    data |= {"outlooks": news, "sites": [hall(power_kw="unlimited")]}
    with pytest.raises(InfeasibleError, match=r"2027-10 up: site hall: power short by"):
        tf.optimize_fleet(data)


def test_outlooks_decide_later_orders(tmp_path: Path) -> None:
    data = scenario(horizon=over(2, firm_periods=2), outlooks=NEWS)
    plan = tf.optimize_fleet(data)
    horizon = plan.horizon
    assert horizon is not None and horizon.risk is not None
    assert orders(plan)[0][3] == "now" and {row[3] for row in orders(plan)[1:]} <= {"up", "down"}
    assert [row.outlook for row in horizon.outlooks] == ["up", "down"]
    assert horizon.risk.evpi_usd == pytest.approx(0.0, abs=1.0)  # orders arrive at once
    assert len(horizon.risk.regret_usd) == 2
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan.to_json()))
    again = tf.optimize_fleet(data, fixed=tf.Plan.load(path))
    assert again.horizon is not None
    assert again.horizon.npv_usd == pytest.approx(horizon.npv_usd)
    console = Console(width=80, record=True, file=io.StringIO())
    render(plan, console)
    text = console.export_text()
    assert "order 2 x h100_sxm_8" in text and "2027-10 up" in text
    assert horizon.outlooks[0].sign == "demand x 2, from 2027-10-01" and "demand x 2" in text
    assert [horizon.risk.regret_usd[i][i] for i in range(2)] == [0.0, 0.0]
    shown = tf.optimize_fleet(data, period="2027-10 up")
    assert shown.systems[0].count == 3


def test_a_tail_that_counts_for_nothing_is_the_mean() -> None:
    data = scenario(horizon=over(2), outlooks=NEWS)
    mean = tf.optimize_fleet(data)
    data["objective"] = {"risk": {"cvar_alpha": 0.5, "weight": 0.0}}
    risk = risk_of(build(load_scenario(data)))
    assert (risk.kind, risk.weight, risk.alpha) == ("cvar", 0.0, 0.5)
    again = tf.optimize_fleet(data)
    assert mean.horizon is not None and again.horizon is not None
    assert again.horizon.npv_usd == pytest.approx(mean.horizon.npv_usd)
    data["objective"] = {"risk": {"cvar_alpha": 0.5, "weight": 1.0}}
    tail = tf.optimize_fleet(data)
    assert tail.horizon is not None and tail.horizon.risk is not None
    assert tail.horizon.risk.cvar_usd == pytest.approx(tail.objective_value * tail.horizon.years)


def test_cost_per_token_of_equal_years_is_that_of_one() -> None:
    data = scenario(objective={"kind": "least_cost_per_token"}, sites=[hall(power_kw=40)])
    data["workloads"][0]["demand"] = {"free": True}
    year = tf.optimize_fleet(data)
    plan = tf.optimize_fleet({**data, "horizon": over(3)})
    assert plan.horizon is not None
    assert plan.objective_value == pytest.approx(year.objective_value, rel=1e-9)
    assert plan.objective_unit == f"{year.objective_unit}, levelised"
    levelised = plan.horizon.levelised_cost_per_mtok_output_usd
    assert levelised == pytest.approx(year.cost_per_mtok_output_usd, rel=1e-9)


def test_what_comes_up_later_is_an_item_of_its_period() -> None:
    """From 9 to 18 replicas of one GPU: the first two systems have all their 16 up from the start,
    and two are brought up in the second year, at 100 USD each."""
    data = scenario(horizon=over(2, layout_change_usd_per_gpu=100))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [["2026-10", 9], ["2027-10", 18]]
    plan = tf.optimize_fleet(data)
    free = tf.optimize_fleet({**data, "horizon": over(2)})
    assert plan.horizon is not None and free.horizon is not None
    first, second = plan.horizon.periods
    assert "layout_changes" not in first.cost_items
    weight = 1.08**-1 * (1 - 1.08**-1) / 0.08
    paid = second.cost_items["layout_changes"] * weight
    assert paid == pytest.approx(200 / 1.08)
    assert plan.horizon.npv_usd == pytest.approx(free.horizon.npv_usd + paid)
    assert second.annual_cost_usd == pytest.approx(sum(second.cost_items.values()))


def test_equal_outlooks_are_the_chain() -> None:
    same = [{**row, "demand": 1.0} for row in NEWS]
    plan = tf.optimize_fleet(scenario(horizon=over(2, firm_periods=2), outlooks=same))
    chain = tf.optimize_fleet(scenario(horizon=over(2)))
    assert plan.horizon is not None and chain.horizon is not None
    assert plan.horizon.npv_usd == pytest.approx(chain.horizon.npv_usd, rel=1e-9)


def test_a_workload_follows_another() -> None:
    data = scenario(horizon=over(2))
    old = data["workloads"][0]
    data["workloads"] = [
        {**old, "until": "2027-10"},
        {**old, "id": "next", "from": "2027-10"},
    ]
    data["columns"] = [*data["columns"], {**data["columns"][0], "workload": "next"}]
    plan = tf.optimize_fleet(data)
    assert orders(plan) == [("2026-10-01", "2026-10-01", 2.0, "now")]


@pytest.mark.parametrize(
    ("change", "place", "cure"),
    [
        ({"outlooks": [NEWS[0]]}, "outlooks: probabilities add to 0.5, not 1", "never scaled"),
        (
            {"outlooks": [{**NEWS[0], "parent": "nobody"}, NEWS[1]]},
            r"outlooks\[0\] \(id 'up'\).parent: unknown outlook 'nobody'",
            "did you mean|known",
        ),
        (
            {"outlooks": [{**NEWS[0], "demand": {"chad": 2.0}}, NEWS[1]]},
            r"outlooks\[0\] \(id 'up'\).demand: names 'chad'",
            "did you mean chat",
        ),
        (
            {"sites": [hall(power_kw=[["2027-10", 9], ["2026-10", 9]])]},
            r"sites\[0\].*power_kw_by_date: its dates do not ascend",
            "order of their dates",
        ),
        (
            {"offers": [buy(lead_months=24)]},
            r"offers\[0\].*lead_months: ordered on .* delivered after the horizon",
            "longer horizon",
        ),
        ({"horizon": over(["0 quarters"])}, "periods: .0 quarters. is no length", "write parts"),
        (
            {"offers": [buy(price_by_date=[["2026-10", 2e5]], price_change_per_year=-0.1)]},
            "price_change_per_year: has its prices by date already",
            "leave one",
        ),
        (
            {"outlooks": NEWS, "objective": {"kind": "most_tokens", "risk": {"kind": "regret"}}},
            "objective.risk: is told of cost, not of most_tokens",
            "choose least_cost",
        ),
        (
            {"offers": [buy(price_by_date=[["2027-01", 2e5]])]},
            "price_by_date: begins on 2027-01-01, and a value is needed from 2026-10-01",
            "a row for 2026-10-01",
        ),
        (
            {"offers": [buy(resale=[[1, 0.5], [2, 0.6]])]},
            "worth more old than new",
            "fall with age",
        ),
        (
            {"horizon": over(3), "offers": [buy(resale=[[1, 0.6], [2, 0.4]])]},
            r"resale: ends at an age of 2 years, and what is bought may reach 3",
            "to that age, or `book`",
        ),
        (
            {"horizon": over(3), "workloads": [asked([["2026-10", 9], ["2027-04", 20]])]},
            r"demand.requests_per_s_by_date: stops on 2027-04-01, and a value is needed "
            "until 2028-10-01",
            "a row for 2028-10-01, with the same value where it stays, or `until`$",
        ),
        (
            {"offers": [buy(least_order=5, delivery_limit_per_period=4)]},
            "least_order: 5 is above delivery_limit_per_period 4",
            "lower it",
        ),
        (
            {"horizon": over(3), "offers": [buy(price_by_date=[["2026-10", 2], ["2027-01", 1]])]},
            "price_by_date: stops on 2027-01-01, and a value is needed until 2028-10-01",
            "a row for 2028-10-01",
        ),
        (
            {
                "offers": [
                    buy(),
                    {
                        **buy(),
                        "id": "r",
                        "price_usd_per_system": None,
                        "kind": "rent",
                        "term_years": 0.5,
                    },
                ]
            },
            "term_years: 0.5 years end within every period: the shortest is 1",
            "shorter periods",
        ),
        (
            {"sites": [hall(expansions=[{"id": "b", "kw": 5, "capex_usd": 1, "months": 24}])]},
            r"months: ordered on 2026-10-01, it is delivered after the horizon",
            "longer horizon",
        ),
        (
            {"outlooks": [{**NEWS[0], "power_delay_months": {"hall": 3}}, NEWS[1]]},
            r"outlooks\[0\] \(id 'up'\).power_delay_months: power of 'hall' has no dates",
            "by date",
        ),
        ({"offers": [buy(order_until="2026-01")]}, "order_until: 2026-01-01 is before", "move"),
        (
            {"horizon": over(2, capex_budget_by_date=[["2027-10", 1e6]])},
            "capex_budget_by_date: begins on 2027-10-01",
            "a row for 2026-10-01",
        ),
        (
            {"objective": {"risk": {"cvar_alpha": 1.0}}, "outlooks": NEWS},
            "cvar_alpha: input should be less than 1",
            "write less than 1",
        ),
        ({"offers": [buy(price_by_date=[["2026-10", -1]])]}, "price_by_date", "or equal to 0"),
        ({"offers": [buy(upfront_fraction=0.5)]}, "upfront_fraction.*paid at delivery", "leave it"),
        (
            {"offers": [{**buy(), "price_usd_per_system": None, "kind": "rent", "lead_months": 3}]},
            "lead_months.*rent is not ordered ahead",
            "give `term_years`",
        ),
        (
            {"offers": [buy(maintenance_by_age=[[2, 1.5], [1, 1.0]])]},
            "maintenance_by_age.*its ages do not ascend",
            "in order",
        ),
        (
            {
                "sites": [
                    hall(power_kw="unlimited", expansions=[{"id": "b", "kw": 5, "capex_usd": 1}])
                ]
            },
            "power_kw.*is unlimited, and expansion 'b' brings more",
            "what there is before",
        ),
        (
            {"sites": [hall(expansions=[{"id": "b", "capex_usd": 1}])]},
            "brings neither power nor racks",
            "give kw, racks, or both",
        ),
        ({"horizon": over(["3 weeks"])}, "'3 weeks' is no length", "4 quarters"),
        ({"horizon": over(61)}, "periods", "60"),
        (
            {"outlooks": [{**NEWS[0], "from": "2030-01"}, NEWS[1]]},
            "2030-01-01 is not inside the horizon",
            "before 2028-10-01",
        ),
        ({"offers": [buy(life_years=4)]}, "life_years.*buy has another life", "finance.life_years"),
        (
            {"offers": [owned(ages=[[1, 1], [6, 2]], life_years=6)]},
            "ages.*6 years old, beyond its life_years of 6",
            "a longer life",
        ),
        (
            {"workloads": [{**CHAT, "demand": {"requests_per_s": 9, "growth_per_year": -1.5}}]},
            "growth_per_year.*greater than -1",
            "write more than -1",
        ),
        ({"horizon": None, "offers": [buy(lead_months=3)]}, "lead_months", "add `horizon`"),
        ({"horizon": None, "outlooks": NEWS}, "outlooks: need periods", "add `horizon`"),
    ],
)
def test_faults_over_time_name_place_and_cure(
    change: dict[str, Any], place: str, cure: str
) -> None:
    with pytest.raises(SchemaError, match=place) as error:
        tf.optimize_fleet(scenario(**{"horizon": over(2), **change}))
    assert re.search(cure, str(error.value) + error.value.hint)


def test_demand_by_date_may_end_where_the_workload_does() -> None:
    """A path is needed until the last period, or until its workload ends; one row says all."""
    steps = [["2026-10", 9], ["2027-04", 9]]
    follows = asked([["2026-10", 9]], id="next", **{"from": "2027-10"})
    data = scenario(horizon=over(3), workloads=[asked(steps, until="2027-10"), follows])
    data["columns"] = [*data["columns"], {**data["columns"][0], "workload": "next"}]
    assert orders(tf.optimize_fleet(data)) == [("2026-10-01", "2026-10-01", 2.0, "now")]


def test_schedules_are_scored_as_the_plan_that_has_their_orders(tmp_path: Path) -> None:
    data = scenario(horizon=over(2))
    data["workloads"][0]["demand"]["requests_per_s_by_date"] = [["2026-10", 9], ["2027-10", 20]]
    plan = tf.optimize_fleet(data)
    assert plan.horizon is not None
    (tmp_path / "schedules.csv").write_text(
        "buy h100_sxm_8@hall 2026-10,buy h100_sxm_8@hall 2027-10\n2,1\n3,0\n2,0\n", "utf-8"
    )
    report = evaluate_fleet_file(data, tmp_path / "schedules.csv", tmp_path / "answers.csv")
    assert report.counts == {"answers": 3, "feasible": 2}
    with (tmp_path / "answers.csv").open(encoding="utf-8") as file:
        first, second, third = csv.DictReader(file)
    usd = [float(row["npv_usd"]) for row in (first, second)]
    assert usd[0] == pytest.approx(plan.horizon.npv_usd)
    assert usd[1] > usd[0]  # the third stands idle for a year
    assert third["feasible"] == "false"
    assert third["limit"].startswith("2027-10: workload chat, class q: 4 of 20 requests/s")
    with pytest.raises(SchemaError, match="cases of demand"):
        evaluate_fleet_file(
            data, tmp_path / "schedules.csv", tmp_path / "x.csv", FleetOptions(demand=(2.0,))
        )
