"""Prices that differ by load block, and carbon and water as items: numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from problems import candidate, one_pool, priced_by_block, random_problem
from reference_mix import brute_force, scip_cost
from scenarios import buy, hall
from tokenfleet import optimize_fleet
from tokenfleet.errors import SchemaError
from tokenfleet.fleets import FleetEvaluator
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem import build
from tokenfleet.problem.load_blocks import load_blocks
from tokenfleet.problem_data import ApiData, Block, OfferData, Problem, Systems, mean_price
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema import Demand, Site
from tokenfleet.verify.mix import annual_cost_items, verify_mix

EVENING = {
    "peak_usd_per_kwh": 0.3,
    "off_peak_usd_per_kwh": 0.1,
    "peak_from_hour": 17,
    "peak_until_hour": 21,
}


def solved(problem: Problem) -> MixResult:
    """The proven plan, checked by the independent code."""
    result = solve_mix(problem, SolveOptions(gap=0.0, threads=1))
    assert result.status == "optimal"
    assert verify_mix(problem, result.values, result.cost_items, result.value) == []
    assert annual_cost_items(problem, result.values) == pytest.approx(
        dict(result.cost_items), rel=1e-9
    )
    return result


# --- a day in blocks ----------------------------------------------------------------------------


def test_a_flat_load_under_a_peak_tariff_has_two_blocks() -> None:
    """4 of 24 hours at 0.3: 1,460 h a year, and 7,300 h at 0.1."""
    blocks = load_blocks([Demand(requests_per_s=1.0)], [None], [Site(**hall(
        electricity_usd_per_kwh=EVENING)).hourly_tariff_usd_per_kwh])  # fmt: skip
    assert blocks.hours.tolist() == pytest.approx([1460.0, 7300.0])
    assert blocks.tariff.tolist() == [[0.3], [0.1]]
    assert blocks.multiplier.tolist() == [[1.0], [1.0]]


def test_a_peak_of_unknown_time_meets_the_dearest_hours() -> None:
    """Twice the mean in 6 hours: 4 of them at 0.3, since nothing says otherwise, 2 at 0.1."""
    shape = Demand(requests_per_s=1.0, peak_to_mean=2.0, peak_hours_per_day=6.0)
    hourly = [0.3 if 17 <= hour < 21 else 0.1 for hour in range(24)]
    blocks = load_blocks([shape], [None], [hourly])
    assert blocks.hours.tolist() == pytest.approx([4 * 365.0, 2 * 365.0, 18 * 365.0])
    assert blocks.tariff[:, 0].tolist() == [0.3, 0.1, 0.1]
    assert blocks.multiplier[:, 0].tolist() == pytest.approx([2.0, 2.0, 12 / 18])


def test_a_day_curve_keeps_its_hours() -> None:
    """Busy from 8 to 12 when power is cheap, dear from 17 to 21 when nothing goes on."""
    curve = np.array([3.0 if 8 <= hour < 12 else 0.6 for hour in range(24)])
    hourly = [0.3 if 17 <= hour < 21 else 0.1 for hour in range(24)]
    blocks = load_blocks([Demand(requests_per_s=1.0)], [curve], [hourly])
    found = zip(blocks.hours, blocks.multiplier[:, 0], blocks.tariff[:, 0], strict=True)
    assert sorted(tuple(map(float, row)) for row in found) == [
        pytest.approx((1460.0, 0.6, 0.3)),
        pytest.approx((1460.0, 3.0, 0.1)),
        pytest.approx((5840.0, 0.6, 0.1)),
    ]


def test_a_peak_may_last_past_midnight() -> None:
    site = Site(**hall(electricity_usd_per_kwh={**EVENING, "peak_from_hour": 22,
                                                "peak_until_hour": 2}))  # fmt: skip
    hours = site.hourly_tariff_usd_per_kwh
    assert hours is not None
    assert [hour for hour, usd in enumerate(hours) if usd == 0.3] == [0, 1, 22, 23]


@pytest.mark.parametrize(
    ("tariff", "match"),
    [
        ([0.1] * 23, "has 23 prices, needs 24"),
        ("12x", r"electricity_usd_per_kwh.*got '12x'"),
        (True, r"electricity_usd_per_kwh.*got true"),
        (-0.1, r"electricity_usd_per_kwh.*got -0.1"),
        ([], "has 0 prices, needs 24"),
        ({**EVENING, "peak_until_hour": 17}, "peak begins and ends at 17"),
        ({**EVENING, "peak_from_hour": 24}, "peak_from_hour"),
        ([*[0.1] * 23, -0.1], r"electricity_usd_per_kwh\[23\]"),
        ({"peak_usd_per_kwh": 0.3}, "off_peak_usd_per_kwh"),
    ],
)
def test_a_wrong_tariff_is_named(tariff: Any, match: str) -> None:
    with pytest.raises(SchemaError, match=match):
        load_scenario(scenario(sites=[hall(electricity_usd_per_kwh=tariff)]))


def test_an_hour_in_cents_draws_a_warning() -> None:
    sites = [hall(electricity_usd_per_kwh=[0.1] * 23 + [12.0])]
    (warning,) = load_scenario(scenario(sites=sites)).warnings
    assert "electricity_usd_per_kwh[23]" in str(warning)
    assert "cents" in str(warning)


# --- from the scenario to prices ----------------------------------------------------------------


def scenario(**changes: Any) -> dict[str, Any]:
    """A measured replica of one accelerator that serves 2 requests/s, in a hall of PUE 1.5."""
    base: dict[str, Any] = {
        "name": "tariffs",
        "price_vintage": "2026-06",
        "systems": ["h100_sxm_8"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [{"id": "a", "share": 1.0, "input_tokens": 300, "output_tokens": 100}],
                "demand": {"requests_per_s": 12.0},
            }
        ],
        "sites": [hall(pue=1.5)],
        "offers": [buy()],
        "columns": [
            {
                "workload": "chat",
                "class": "a",
                "system": "h100_sxm_8",
                "gpus": 1,
                "rate_rps": 2.0,
                "watts": 500.0,
                "source": "test",
            }
        ],
    }
    return {**base, **changes}


PRICED = {"carbon_price_usd_per_t": 100.0, "water_price_usd_per_m3": 2.0}


def test_a_kwh_by_item_and_block() -> None:
    """PUE 1.5: 0.45 and 0.15 $; 1.5 x 0.4 kg x 100 $/t = 0.06 $; 1.8 l x 2 $/m3 = 0.0036 $."""
    sites = [hall(pue=1.5, electricity_usd_per_kwh=EVENING, carbon_kg_per_kwh=0.4,
                  water_l_per_kwh=1.8)]  # fmt: skip
    (pool,) = build(load_scenario(scenario(sites=sites, objective=PRICED))).problem.pools
    assert pool.energy_usd_per_kwh_it == pytest.approx((0.45, 0.15))
    assert pool.carbon_usd_per_kwh_it == pytest.approx(0.06)
    assert pool.water_usd_per_kwh_it == pytest.approx(0.0036)


def test_blocks_of_a_lost_site_have_its_tariffs_again() -> None:
    sites = [hall(electricity_usd_per_kwh=EVENING), hall(id="other", pue=1.0)]
    changes: dict[str, Any] = {"sites": sites, "reserve": {"survive_site_loss": True}}
    problem = build(load_scenario(scenario(**changes))).problem
    assert [(b.hours, b.lost_site) for b in problem.blocks] == [
        (1460.0, -1), (7300.0, -1), (0.0, 0), (0.0, 0), (0.0, 1), (0.0, 1)
    ]  # fmt: skip
    by_site = {p.site: p.energy_usd_per_kwh_it for p in problem.pools}
    assert by_site[0] == pytest.approx((0.39, 0.13) * 3)
    assert by_site[1] == pytest.approx(0.1)


def test_a_plan_pays_each_hour_at_its_tariff() -> None:
    """The load is flat, so a sixth of the kWh is bought at 0.3 $ and the rest at 0.1 $."""
    sites = [hall(pue=1.5, carbon_kg_per_kwh=0.4, water_l_per_kwh=1.8)]
    flat = optimize_fleet(scenario(sites=sites)).to_json()["cost_items"]
    assert set(flat) >= {"energy"}
    assert not set(flat) & {"carbon", "water"}
    kwh = flat["energy"] / (1.5 * 0.1)  # at the IT equipment
    sites[0]["electricity_usd_per_kwh"] = EVENING
    items = optimize_fleet(scenario(sites=sites, objective=PRICED)).to_json()["cost_items"]
    assert items["energy"] == pytest.approx(kwh * 1.5 * (0.3 + 5 * 0.1) / 6, rel=1e-9)
    assert items["carbon"] == pytest.approx(kwh * 1.5 * 0.4 * 100 / 1000, rel=1e-9)
    assert items["water"] == pytest.approx(kwh * 1.8 * 2 / 1000, rel=1e-9)
    assert {k: v for k, v in items.items() if k not in ("energy", "carbon", "water")} == {
        k: v for k, v in flat.items() if k != "energy"
    }


def test_24_equal_prices_are_one_number() -> None:
    one = optimize_fleet(scenario()).to_json()
    day = optimize_fleet(scenario(sites=[hall(pue=1.5, electricity_usd_per_kwh=[0.1] * 24)]))
    assert day.cost_items == pytest.approx(one["cost_items"], rel=1e-12)


# --- by hand ------------------------------------------------------------------------------------


def two_blocks(**changes: Any) -> Problem:
    """3,650 h of 4 requests/s at 0.2 $/kWh and 5,110 h of 2 at 0.08; 0.05 $ of carbon, 0.01 of
    water. A box of 0.5 kW idle; a request takes 3,600 J = 0.001 kWh."""
    base = one_pool([[4.0], [2.0]])
    pool = replace(
        base.pools[0],
        idle_it_kw=0.5,
        energy_usd_per_kwh_it=(0.2, 0.08),
        carbon_usd_per_kwh_it=0.05,
        water_usd_per_kwh_it=0.01,
    )
    job = candidate(0, 0, "box", 1, [1.0], energy_j=np.array([3600.0]))
    blocks = (Block(3650.0), Block(5110.0))
    return replace(base, blocks=blocks, pools=(pool,), candidates=(job,), **changes)


def test_two_blocks_and_two_tariffs_by_hand() -> None:
    """Idle 0.5 x (730 + 408.8) = 569.4 $; 4 x 3.6 x 3,650 = 52,560 kWh at 0.2 $ and
    2 x 3.6 x 5,110 = 36,792 kWh at 0.08 $; 4,380 kWh idle, 93,732 kWh in all."""
    items = solved(two_blocks()).cost_items
    assert items == pytest.approx(
        {
            "capex": 100.0,
            "energy": 569.4 + 52_560 * 0.2 + 36_792 * 0.08,
            "carbon": 93_732 * 0.05,
            "water": 93_732 * 0.01,
        }
    )


def test_loaded_idle_power_is_paid_at_each_block_s_tariff() -> None:
    """4 replicas all year draw 100 W more each: 0.4 x (730 + 408.8) = 455.52 $ of energy."""
    problem = two_blocks()
    job = replace(problem.candidates[0], idle_w=100.0, energy_j=np.zeros(1))
    items = solved(replace(problem, candidates=(job,))).cost_items
    assert items["energy"] == pytest.approx(569.4 + 455.52)


def test_an_api_that_is_cheap_in_one_block_serves_that_block() -> None:
    """A request on the box takes 0.001 kWh: 0.00026 $ in the first block, 0.00014 $ in the second.
    The API asks 0.0001 $ and 0.01 $: 4 x 3,650 x 3,600 requests go there."""
    api = ApiData("api", 0, np.array([[1e-4], [1e-2]]))
    items = solved(two_blocks(apis=(api,))).cost_items
    assert items["api_tokens"] == pytest.approx(4 * 3650 * 3600 * 1e-4)
    assert items["energy"] == pytest.approx(569.4 + 36_792 * 0.08)


def test_on_demand_is_paid_at_each_block_s_price() -> None:
    """One box in both blocks: 3 x 3,650 + 1 x 5,110 = 16,060 $."""
    problem = two_blocks(offers=(OfferData("o", 0, hourly_usd=(3.0, 1.0)),))
    pool = replace(problem.pools[0], elastic=True)
    assert solved(replace(problem, pools=(pool,))).cost_items["rental"] == pytest.approx(16_060.0)


def test_a_block_counts_with_its_weight() -> None:
    """Two years paid at 0.9 and 0.7: the box costs 160 $, 8 requests/s a year 252,288 kWh each at
    0.1 and 0.2 $; two futures of equal chance cost their mean."""
    base = one_pool([[8.0], [8.0]])
    job = candidate(0, 0, "box", 1, [1.0], energy_j=np.array([3600.0]))
    pool = replace(base.pools[0], energy_usd_per_kwh_it=(0.1, 0.2))
    years = (Block(8760.0, weight=0.9), Block(8760.0, weight=0.7, period=1))
    problem = replace(base, blocks=years, pools=(pool,), candidates=(job,))
    kwh = 8 * 3.6 * 8760
    assert solved(problem).cost_items == pytest.approx(
        {"capex": 160.0, "energy": kwh * (0.9 * 0.1 + 0.7 * 0.2)}
    )
    futures = (Block(8760.0, weight=0.5), Block(8760.0, weight=0.5, outlook=1))
    assert solved(replace(problem, blocks=futures)).cost_items == pytest.approx(
        {"capex": 100.0, "energy": kwh * 0.15}
    )


def test_prices_by_block_are_one_per_block() -> None:
    problem = two_blocks()
    pool = replace(problem.pools[0], energy_usd_per_kwh_it=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="pool p, energy: 3 prices for 2 load blocks"):
        replace(problem, pools=(pool,))
    assert mean_price((0.2, 0.08), (10, 14)) == pytest.approx(0.13)
    assert mean_price((0.2, 0.08), (0, 0)) == 0.0


# --- independent judges -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_the_least_cost_is_that_of_trying_everything(seed: int) -> None:
    problem = priced_by_block(random_problem(seed, sizes=(2, 4), workload_count=1), seed)
    assert solved(problem).value == pytest.approx(brute_force(problem), rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_least_cost_is_that_of_scip(seed: int) -> None:
    problem = priced_by_block(random_problem(seed, classes=1 + seed % 3), seed)
    problem = replace(problem, relayout=seed % 4 == 3)
    assert solved(problem).value == pytest.approx(scip_cost(problem), rel=1e-6)


# --- whole fleets -------------------------------------------------------------------------------


def test_a_fleet_of_the_plan_costs_what_the_plan_costs_by_item() -> None:
    problem = two_blocks()
    items = solved(problem).cost_items
    answers = FleetEvaluator(problem).evaluate(
        np.array([[1.0]]), energy_price=[1.0, 2.0], system_price=[1.0, 3.0]
    )
    for item, factor in (("energy", 2.0), ("carbon", 1.0), ("water", 1.0), ("capex", 3.0)):
        found = answers[f"{item}_usd"][:, 0].tolist()
        assert found == pytest.approx([items[item], factor * items[item]]), item


@pytest.mark.parametrize("seed", range(12))
def test_fleets_and_plans_agree_under_prices_by_block(seed: int) -> None:
    """One free replica type of one accelerator to a system: relaxed replicas change nothing."""
    drawn = priced_by_block(random_problem(seed, classes=2, sizes=(1,), workload_count=1), seed)
    problem = replace(
        drawn,
        pools=tuple(replace(pool, elastic=False) for pool in drawn.pools),
        offers=tuple(
            replace(offer, hourly_usd=0.0, annual_cost_items_usd={"capex": 3_000.0 + 500 * o})
            for o, offer in enumerate(drawn.offers)
        ),
        candidates=tuple(replace(c, idle_w=0.0) for c in drawn.candidates),
    )
    result = solved(problem)
    counts = np.zeros((1, len(problem.offers)))
    for label, value in result.values.items():
        if isinstance(label, Systems):
            counts[0, label.offer] = value
    answers = FleetEvaluator(problem).evaluate(counts)
    assert answers["feasible"][0, 0]
    assert answers["annual_cost_usd"][0, 0] == pytest.approx(result.value, rel=1e-6)
