"""Break-even points and what to measure next: hand cases, and every plan tried."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import tokenfleet as tf
from problems import candidate, one_pool
from test_inputs import API
from test_plan_rows import MEASURED
from test_sweep_diff_model import measured
from tiny_mix import Kind, random_tiny
from tokenfleet.explanation.crossover import Crossover, at_utilisation, at_volume
from tokenfleet.explanation.measure import Unsure, stakes
from tokenfleet.explanation.study import Study
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.mix.why.routes import routes_of
from tokenfleet.problem_data import ApiData, OfferData, Pool, Problem

OPTIONS = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)


def case_j() -> Problem:
    """A box of 8 owned for 80,000 $ a year, the same at 2.5 $/GPU-h, and an API at 0.001 $ a
    request, for 10 requests/s."""
    problem = one_pool([[10.0]], gpus=8, usd=80_000.0)
    elastic = Pool("q", 0, "cloud", 8, 1.0, 0.0, elastic=True, hosted=True)
    return replace(
        problem,
        pools=(problem.pools[0], elastic),
        offers=(
            replace(problem.offers[0], kind="buy"),
            OfferData("on demand", 1, hourly_usd=20.0, kind="on_demand"),
        ),
        candidates=(
            candidate(0, 0, "box", 8, [0.1]),
            candidate(1, 0, "cloud", 8, [0.1]),
        ),
        apis=(ApiData("api", 0, np.array([0.001])),),
    )


def test_case_j_owning_wins_above_46_and_25_per_cent() -> None:
    study = Study(case_j(), OPTIONS)
    crossover = Crossover(study, routes_of(study.problem))
    found = list(crossover.crossings("utilisation", (0.05, 0.2, 0.6, 1.0)))
    at = {(c.cheaper_below, c.cheaper_above): c.at for c in found}
    assert at == {
        ("on demand", "buy"): pytest.approx(0.45662100, abs=1e-7),
        ("API", "buy"): pytest.approx(0.25367834, abs=1e-7),
    }
    assert not any(c.jump for c in found)
    table = {(row.at, row.route): row.usd for row in crossover.table("utilisation", (0.2, 1.0))}
    assert table[0.2, "buy"] == pytest.approx(80_000)
    assert table[0.2, "on demand"] == pytest.approx(0.2 * 175_200)
    assert table[1.0, "API"] == pytest.approx(315_360)
    mix = [table[at, "best mix"] - min(table[at, r] for r in ("buy", "API")) for at in (0.2, 1.0)]
    assert max(mix) <= 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_costs_of_a_route_equal_trying_every_plan(seed: int) -> None:
    """Over the volume; and where two routes cross the cheaper one is another on either side."""
    tiny = random_tiny(seed, api=True)
    study = Study(tiny.problem(), OPTIONS)
    crossover = Crossover(study, routes_of(study.problem))
    grid = (0.3, 0.7, 1.2)
    kinds = {"buy": "buy", "rent": "rent"}
    for row in crossover.table("volume", grid):
        demand = tiny.demand * row.at
        if row.route in kinds:
            kept = tuple(
                k if k.kind == kinds[row.route] else replace(k, most=0) for k in tiny.kinds
            )
            least = replace(tiny, kinds=kept, demand=demand, api_usd=None).least()
        elif row.route == "API":
            least = demand * tiny.api_usd
        else:
            least = replace(tiny, demand=demand).least()
        expected = pytest.approx(least, rel=1e-6) if math.isfinite(least) else None
        assert row.usd == expected, (seed, row)
    for c in crossover.crossings("volume", grid):
        for side, cheaper, other in ((-1, c.cheaper_below, c.cheaper_above),
                                     (1, c.cheaper_above, c.cheaper_below)):  # fmt: skip
            moved = [
                study.again(at_volume(crossover.routes[name], c.at * (1 + side * 1e-4)))
                for name in (cheaper, other)
            ]
            if None not in moved:
                assert moved[0].loss <= moved[1].loss + 1e-3


def test_at_full_utilisation_the_peak_is_there_all_year() -> None:
    problem = at_utilisation(case_j(), 1.0)
    assert [block.hours for block in problem.blocks] == [8760.0]
    half = at_utilisation(case_j(), 0.5)
    assert half.workloads[0].demand_rps.tolist() == [[10.0], [0.0]]


# What to measure next


@pytest.mark.parametrize("seed", range(20))
def test_the_money_at_stake_equals_trying_every_plan(seed: int) -> None:
    tiny = random_tiny(seed, api=True)
    study = Study(tiny.problem(), OPTIONS)
    today = min(tiny.plans(), key=lambda plan: plan[1])
    ties = sum(abs(cost - today[1]) < 1e-6 for _, cost in tiny.plans())
    if ties > 1:
        tiny = replace(
            tiny,
            kinds=tuple(replace(k, price=k.price + 0.01 * i) for i, k in enumerate(tiny.kinds)),
        )
        study = Study(tiny.problem(), OPTIONS)
        today = min(tiny.plans(), key=lambda plan: plan[1])
    for o in range(len(tiny.kinds)):
        (stake,) = stakes(study, [Unsure(f"sys{o}", "w", math.log(1.25))])
        expected = 0.0
        for factor in (1.25, 1 / 1.25):
            kinds = list(tiny.kinds)
            kinds[o] = replace(kinds[o], capacity=kinds[o].capacity * factor)
            truth = replace(tiny, kinds=tuple(kinds))
            held = min(
                cost
                for n, cost in truth.plans()
                if all(a >= b for a, b in zip(n, today[0], strict=True))
            )
            expected += 0.3 * (held - truth.least())
        assert stake.value == pytest.approx(expected, abs=1e-5), (seed, o)


def test_the_explanation_names_what_to_measure() -> None:
    found = tf.explain(measured(), parts=["crossover", "measure"])
    assert {row.route for row in found.crossover} == {"buy", "API", "best mix"}
    assert found.measure == () and "measured columns" in found.notes[0]


def test_a_demand_a_hair_above_whole_systems_has_a_plan() -> None:
    """HiGHS 1.16 alone says that this is optimal, and that its value is not a number."""
    tiny = random_tiny(1, api=True)
    kinds = tuple(k if k.kind == "rent" else replace(k, most=0) for k in tiny.kinds)
    hair = replace(tiny, kinds=kinds, api_usd=None, demand=8.00000014923)
    found = Study(_without_the_bought(hair.problem(), kinds), OPTIONS).base
    # One of capacity 8, by the solver's tolerance, or two.
    assert any(found.loss == pytest.approx(usd, rel=1e-6) for usd in (95.0, 181.0))


def _without_the_bought(problem: Problem, kinds: tuple[Kind, ...]) -> Problem:
    offers = tuple(
        replace(offer, supply=0.0, supply_group=f"none {o}") if kinds[o].most == 0 else offer
        for o, offer in enumerate(problem.offers)
    )
    return replace(problem, offers=offers)


def test_each_way_alone_stands_beside_the_plan() -> None:
    """20 requests/s of 500 + 100 tokens: by API at 80 USD a million requests 50,458 USD a year; one
    H100 server serves them, rented at 2 USD per GPU-h for 140,160, on demand at 3 for 210,240."""
    server = {"system": "h100_sxm_8", "includes": ["energy", "hosting", "maintenance", "staff"]}
    offers = [
        {"id": "r", "kind": "rent", "term_years": 1, "price_usd_per_gpu_h": 2.0, **server},
        {"id": "od", "kind": "on_demand", "price_usd_per_gpu_h": 3.0, **server},
    ]
    asked = {**MEASURED, "offers": offers, "apis": [API]}
    plan = tf.optimize_fleet(asked, alone=True)
    found = {row.name: row.annual_cost_usd for row in plan.ways}
    api = 20 * 8760 * 3600 * 80e-6
    assert found == pytest.approx({"API": api, "rent 1 year": 140_160.0, "on demand": 210_240.0})
    assert [row.gpus for row in plan.ways] == [0, 8, 8]
    assert plan.ways[1].difference_relative == pytest.approx(140_160.0 / api - 1.0)
    few = {**API, "max_requests_per_s": 1.0}
    (none,) = (
        row
        for row in tf.optimize_fleet({**asked, "apis": [few]}, alone=True).ways
        if row.name == "API"
    )
    assert none.annual_cost_usd is None and none.impossible
    assert not any(row.impossible for row in plan.ways)
    assert tf.optimize_fleet(asked).ways == ()
