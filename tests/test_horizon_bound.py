"""Bounds over time by a second formulation: what is confirmed holds, and what is false is not.

Right values are worked out by hand or by trying everything (`horizon_brute`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tokenfleet as tf
from horizon_brute import Brute, random_tree
from horizon_instance import EXACT, Instance
from scenarios import hall
from test_horizon_cases import CASES
from test_horizon_scenario import NEWS, over, scenario
from tokenfleet.errors import InfeasibleError
from tokenfleet.horizon import proof, run
from tokenfleet.mix.horizon import search
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem import build
from tokenfleet.problem.over_time import tree_of as tree_of_scenario
from tokenfleet.problem_data import Horizon, pairs_used
from tokenfleet.report.words import OWN_BOUND, status_words
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.bound import Checked
from tokenfleet.verify.horizon_bound import check_horizon_bound, confirm_horizon_bound
from tokenfleet.verify.horizon_ratio import confirm_horizon_ratio

GAP = 1e-4
Prices = Mapping[tuple[int, int], float]


def kept_idle(**changes: Any) -> Horizon:
    """Demand of 10, then none, and systems that cost 50 to be rid of before the end and bring
    nothing: ten are bought for 100 each and stay, as the API costs 150. The least is 1,000."""
    buy = {"id": "buy", "kind": "buy", "system": "A", "price": 100.0, "life_periods": 3,
           "resale": [1, 0, 0, 0], "removal_usd": 50.0, "until": 0}  # fmt: skip
    data = {
        "discount_rate": 0.0,
        "period_years": [1.0, 1.0],
        "systems": [{"id": "A", "capacity": 1, "kw": 1}],
        "offers": [{**buy, **changes}, {"id": "api", "kind": "api", "price": 150.0}],
        "nodes": [
            {"period": 0, "parent": -1, "prob": 1.0, "demand": 10},
            {"period": 1, "parent": 0, "prob": 1.0, "demand": 0},
        ],
    }
    return Instance(data).horizon()


@pytest.mark.parametrize("most", [None, 10, 50])
def test_a_price_below_nothing_leaves_a_bound(most: int | None) -> None:
    """Systems that stand idle in the second year at -40 take off 400 of the 1,400 that the first
    pays: a year that counted no more systems than it has work for would leave 1,400."""
    horizon = kept_idle() if most is None else kept_idle(max_per_period=most)
    problem, pairs = combined("case", horizon), frozenset({(0, 0)})
    assert solve_horizon("case", horizon, EXACT).npv_usd == pytest.approx(1000.0)
    for first in (0.0, 90.0, 100.0, 140.0, 150.0, 500.0):
        for second in (60.0, 0.0, -10.0, -40.0, -50.0, -500.0):
            prices = {(0, 0): first, (1, 0): second}
            found = check_horizon_bound(problem, prices, math.inf, pairs)
            assert found.bound <= 1000.0 + 1e-6, prices
    found = check_horizon_bound(problem, {(0, 0): 140.0, (1, 0): -40.0}, 1400.0, pairs)
    if most == 10:  # as many as serve, so that nothing is lost
        assert found.bound == pytest.approx(1000.0)


def test_an_outlook_may_hold_fractions() -> None:
    """Demand of 3.5 on systems of 1 kW where there are 3.5 kW: 3.5 of them at 100 hold it, not 3
    with half by an API at 1,000, which would be 800."""
    data = {
        "discount_rate": 0.0,
        "period_years": [1.0],
        "power_kw": 3.5,
        "systems": [{"id": "A", "capacity": 1, "kw": 1}],
        "offers": [
            {"id": "buy", "kind": "buy", "system": "A", "price": 100.0, "life_periods": 1,
             "resale": [1, 0], "max_per_period": 5},
            {"id": "api", "kind": "api", "price": 1000.0},
        ],
        "nodes": [{"period": 0, "parent": -1, "prob": 1.0, "demand": 3.5}],
    }  # fmt: skip
    horizon = Instance(data).horizon()
    for firm, least in ((True, 800.0), (False, 350.0)):
        tree = replace(horizon, nodes=tuple(replace(n, firm=firm) for n in horizon.nodes))
        assert solve_horizon("case", tree, EXACT).npv_usd == pytest.approx(least)
        problem, pairs = combined("case", tree), frozenset({(0, 0)})
        found = check_horizon_bound(problem, {(0, 0): 100.0}, math.inf, pairs)
        assert found.bound == pytest.approx(least)


def confirmed(result: HorizonResult, claimed: float, prices: Prices | None = None) -> Checked:
    """What is confirmed of a claim, where whatever is within the gap of it is of use."""
    return confirm_horizon_bound(
        result.problem,
        result.prices if prices is None else prices,
        claimed,
        result.values,
        least=claimed - GAP * abs(claimed),
        seconds=60.0,
    )


def tree_of(seed: int, *, states: bool) -> dict[str, Any]:
    """A random tree, without least orders: half of them are out of reach of any price."""
    data = random_tree(seed)
    data["offers"][0]["min_order"] = 0
    if states:
        data["power_kw"] = 1000.0  # no limit, as on demand shares it
    return data


@pytest.mark.parametrize(("states", "most"), [(True, 9), (False, 4)])
def test_true_bounds_are_confirmed_and_false_ones_are_not(
    states: bool, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 12 random trees, against trying everything: a bound a hundredth above the least cost is
    never confirmed, whatever the prices are and whatever the plan in hand pays."""
    if states:
        monkeypatch.setattr(search, "FEW", 0)
    count = 0
    for seed in range(12):
        data = tree_of(seed, states=states)
        least = Brute(data).least()
        if states:
            del data["power_kw"]
        result = solve_horizon("case", Instance(data).horizon(), EXACT)
        assert result.npv_usd == pytest.approx(least, rel=1e-7, abs=1e-6)
        found = confirmed(result, result.bound)
        count += found.how != "none"
        assert found.how == "none" or found.bound <= least + 1e-6 * abs(least)
        dearer = replace(result, values={la: 3.0 * n for la, n in result.values.items()})
        rng = np.random.default_rng(seed)
        for usd in (0.0, 30.0):
            moved = {at: price + rng.normal(0, usd) for at, price in result.prices.items()}
            assert confirmed(result, least + 0.01 * abs(least), moved).how == "none"
            best = confirm_horizon_bound(
                result.problem, moved, math.inf, dearer.values, least=-math.inf, seconds=60.0
            )
            assert best.bound <= least + 1e-6 * max(1.0, abs(least))
        assert confirmed(dearer, least + 0.01 * abs(least)).how == "none"
    assert count >= most


def test_no_false_bound_of_a_hand_case_is_confirmed() -> None:
    """`test_horizon_cases` compares their least cost with another model in another solver."""
    count = solved = 0
    for name, data in CASES.items():
        try:
            result = solve_horizon(name, Instance(data).horizon(), EXACT)
        except InfeasibleError:
            continue
        solved += 1
        least = result.npv_usd
        found = confirmed(result, result.bound)
        count += found.how != "none"
        assert found.how == "none" or found.bound <= least + 1e-6 * abs(least), name
        assert confirmed(result, least + max(0.01 * abs(least), 1.0)).how == "none", name
        dearer = {la: 3.0 * n for la, n in result.values.items()}
        best = confirm_horizon_bound(
            result.problem, result.prices, math.inf, dearer, least=-math.inf, seconds=60.0
        )
        assert best.bound <= least + 1e-6 * max(1.0, abs(least)), name
    assert count >= solved / 2


@pytest.mark.parametrize("firm_periods", [1, 3])
def test_reserves_are_kept_in_whole_years_and_in_outlooks(firm_periods: int) -> None:
    """With a system of each pool in reserve no bound is above the least cost, at any prices, nor
    where later years may hold fractions; at the right ones most are confirmed."""
    count = 0
    for seed in range(8):
        horizon = Instance(tree_of(seed, states=False)).horizon()
        nodes = []
        for node in horizon.nodes:
            pools = node.problem.pools
            stay = tuple(replace(pool, reserve=int(not pool.elastic)) for pool in pools)
            firm = node.period < firm_periods
            nodes.append(replace(node, problem=replace(node.problem, pools=stay), firm=firm))
        result = solve_horizon("case", replace(horizon, nodes=tuple(nodes)), EXACT)
        count += confirmed(result, result.bound).how != "none"
        dearer = {la: 3.0 * n for la, n in result.values.items()}
        rng = np.random.default_rng(seed)
        for usd in (0.0, 10.0, 30.0):
            moved = {at: price + rng.normal(0, usd) for at, price in result.prices.items()}
            best = confirm_horizon_bound(
                result.problem, moved, math.inf, dearer, least=-math.inf, seconds=60.0
            )
            assert best.bound <= result.value + 1e-6 * max(1.0, abs(result.value))
    assert count >= (4 if firm_periods == 1 else 1)


@pytest.mark.parametrize("outlooks", [[], NEWS])
def test_a_plan_says_proven_where_it_is_confirmed(
    outlooks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = scenario(horizon=over(3), outlooks=outlooks)
    data["workloads"][0]["demand"]["growth_per_year"] = 0.5
    plan = tf.optimize_fleet(data)
    assert plan.bound_check in ("prices", "search") and plan.proven
    assert OWN_BOUND not in status_words(plan)
    assert plan.bound is not None and plan.bound <= plan.objective_value
    found = run.confirmed

    def without_prices(result: HorizonResult, risk: Risk, gap: float, seconds: float) -> Any:
        return found(replace(result, prices={}), risk, gap, seconds)

    monkeypatch.setattr(run, "confirmed", without_prices)
    same = tf.optimize_fleet(data)
    assert same.bound_check == "none" and OWN_BOUND in status_words(same)
    assert same.objective_value == pytest.approx(plan.objective_value)
    assert same.bound == pytest.approx(plan.bound, rel=1e-6)


def test_a_stop_while_the_bound_is_checked_keeps_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    data = scenario(horizon=over(3), outlooks=NEWS)
    data["workloads"][0]["demand"]["growth_per_year"] = 0.5
    whole = tf.optimize_fleet(data)

    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(proof, "confirm_horizon_bound", stopped)
    monkeypatch.setattr(run, "_measure", stopped)  # nobody waits for what the outlooks are worth
    plan = tf.optimize_fleet(data)
    assert plan.interrupted and plan.bound_check == "none"
    assert plan.objective_value == pytest.approx(whole.objective_value)


def at_risk(seed: int) -> tuple[Horizon, dict[str, tuple[Risk, float]]]:
    """A random tree with its tails and its largest regret, and what each is at the least by SCIP
    (regret to the third of a million that its rows hold to)."""
    judge = pytest.importorskip("horizon_scip")
    data = tree_of(seed, states=False)
    horizon = Instance(data).horizon()
    known = [judge.Extensive(judge.along(data, leaf)).least() for leaf in horizon.leaves]
    found = {
        f"{weight} of {alpha}": (
            Risk("cvar", weight, alpha),
            judge.Extensive(data).least(weight, alpha),
        )
        for weight, alpha in ((0.25, 0.8), (1.0, 0.5))
    }
    regret = Risk("regret", least=dict(zip(horizon.leaves, known, strict=True)))
    return horizon, {**found, "regret": (regret, judge.Extensive(data).least(known=known))}


def test_a_tail_and_a_regret_are_confirmed_and_never_more_than_them() -> None:
    """Of 16 random trees: bounds above what SCIP finds are never confirmed, at the right prices and
    probabilities or at others; what is confirmed is no more than it."""
    count, rng = 0, np.random.default_rng(1)
    for seed in range(16):
        horizon, judged = at_risk(seed)
        if len(horizon.leaves) < 2:
            continue
        size = max(abs(solve_horizon("case", horizon, EXACT).npv_usd), 1.0)
        for words, (risk, least) in judged.items():
            result = solve_horizon("case", horizon, EXACT, risk)
            assert result.value == pytest.approx(least, abs=1e-5 * size), (seed, words)
            _, how = run.confirmed(result, risk, GAP, 60.0)
            count += how != "none"
            above = least + 0.01 * size
            dearer = {la: 3.0 * n for la, n in result.values.items()}
            shares = {leaf: float(rng.uniform()) for leaf in horizon.leaves}
            for changes in (
                {},
                {"values": dearer},
                {"futures": shares},
                {"futures": {}, "prices": {}},
                {"values": dearer, "prices": {at: usd + 9.0 for at, usd in result.prices.items()}},
            ):
                claim = replace(result, bound=above, value=above, **changes)
                assert run.confirmed(claim, risk, GAP, 60.0)[1] == "none", (seed, words, changes)
    assert count >= 8


def test_the_mean_does_not_confirm_a_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail costs more than the mean, which bounds it only so far; at the chances by which its
    futures count it is confirmed."""
    data = scenario(horizon=over(3), outlooks=NEWS)
    data["objective"] = {"kind": "least_cost", "risk": {"cvar_alpha": 0.5, "weight": 0.5}}
    data["solver"] = {**data.get("solver", {}), "gap": 0.01}
    plan = tf.optimize_fleet(data)
    assert plan.bound_check in ("prices", "search") and plan.proven
    found = run.confirmed

    def by_the_mean(result: HorizonResult, risk: Risk, gap: float, seconds: float) -> Any:
        return found(result, Risk(), gap, seconds)

    monkeypatch.setattr(run, "confirmed", by_the_mean)
    same = tf.optimize_fleet(data)
    assert same.bound_check == "none" and OWN_BOUND in status_words(same)


@pytest.mark.parametrize("demand", [{"requests_per_s": 9, "growth_per_year": 0.5}, {"free": True}])
def test_a_cost_per_token_is_confirmed_and_never_more_than_a_plan_pays(
    demand: dict[str, Any],
) -> None:
    """With stated demand it is the least cost, over tokens that are the same in all plans; what is
    confirmed at any prices is no more than what the plan pays, whose cash is verified."""
    news = [{**row, "prices": 0.8 + 0.4 * i} for i, row in enumerate(NEWS)]
    power_kw = 40 if "free" in demand else 100
    data = scenario(horizon=over(3), outlooks=news, sites=[hall(power_kw=power_kw)])
    data["workloads"][0]["demand"] = demand
    data["solver"]["gap"] = 0.02
    least_cost = None if "free" in demand else tf.optimize_fleet(data)
    data["objective"] = {"kind": "least_cost_per_token"}
    plan = tf.optimize_fleet(data)
    assert plan.bound_check in ("prices", "search") and plan.proven
    if least_cost is not None:
        assert plan.horizon is not None and least_cost.horizon is not None
        assert plan.horizon.npv_usd == pytest.approx(least_cost.horizon.npv_usd, rel=0.02)
    built = build(load_scenario(data))
    options = SolveOptions(gap=0.02, time_limit_s=30.0)
    result = solve_horizon("case", tree_of_scenario(built), options)
    pairs, rng = pairs_used(result.values), np.random.default_rng(2)
    assert result.value == pytest.approx(plan.objective_value, rel=0.02)
    confirmed = 0
    for spread in (0.0, 0.0, 1e3, 1e4, 1e5):
        prices = {at: usd + rng.normal(0, spread) for at, usd in result.prices.items()}
        for claimed in (result.bound, 1.005 * result.value, 3.0 * result.value):
            found = confirm_horizon_ratio(
                result.problem, prices, claimed, pairs, least=0.0, seconds=60.0
            )
            confirmed += found.how != "none"
            assert found.how == "none" or found.bound <= result.value * (1.0 + 1e-6)
    assert confirmed >= 2
