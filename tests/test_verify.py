"""The independent check sees every kind of lie, and the plan says what the mix says."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from problems import candidate, one_pool, random_problem
from scenarios import PLAN_KEYS
from tokenfleet.mix.model import Label
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import Extras, plan_of
from tokenfleet.plan.known_rows import Notice
from tokenfleet.plan.rows import Placement
from tokenfleet.problem_data import Flow, Objective, Replicas, SiteData, Systems
from tokenfleet.verify.mix import annual_cost_items, verify_mix
from tokenfleet.verify.places import fewest_systems


@pytest.fixture(scope="module")
def mix() -> MixResult:
    return solve_mix(random_problem(8, classes=2), SolveOptions(gap=0.0))


def rules(mix: MixResult, values: dict[Any, float], **changes: Any) -> set[str]:
    problem = replace(mix.problem, **changes)
    return {violation.rule for violation in verify_mix(problem, values)}


def first(mix: MixResult, kind: type) -> Label:
    return next(label for label in mix.values if isinstance(label, kind))


def test_a_solved_mix_is_clean(mix: MixResult) -> None:
    assert verify_mix(mix.problem, mix.values, mix.cost_items, mix.value) == []


def test_items_sum_to_the_recomputed_cost(mix: MixResult) -> None:
    recomputed = annual_cost_items(mix.problem, mix.values)
    assert sum(recomputed.values()) == pytest.approx(mix.annual_cost_usd, rel=1e-9)
    assert recomputed == pytest.approx(dict(mix.cost_items), rel=1e-9)
    assert mix.value == pytest.approx(mix.annual_cost_usd, rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "factor", "rule"),
    [
        (Flow, 0.5, "demand"),
        (Flow, 2.0, "served beyond demand"),
        (Flow, 1000.0, "capacity"),
        (Replicas, 0.0, "capacity"),
        (Replicas, 0.5, "whole numbers"),
        (Replicas, 50.0, "packing"),
        (Systems, 0.0, "packing"),
        (Systems, 100.0, "supply"),
        (Flow, -1.0, "negative"),
    ],
)
def test_a_changed_number_is_seen(mix: MixResult, kind: type, factor: float, rule: str) -> None:
    values = dict(mix.values)
    label = first(mix, kind)
    values[label] *= factor
    if factor == 0.5 and kind is Replicas:
        values[label] = 0.5
    assert rule in rules(mix, values)


def test_limits_are_read_from_the_problem(mix: MixResult) -> None:
    values = dict(mix.values)
    sites = tuple(replace(s, power_limit_kw=0.1) for s in mix.problem.sites)
    assert "power" in rules(mix, values, sites=sites)
    pools = tuple(replace(p, reserve=9) for p in mix.problem.pools)
    assert "packing" in rules(mix, values, pools=pools)
    assert "annual budget" in rules(mix, values, objective=Objective(annual_budget_usd=1.0))


def test_racks_capex_site_loss_pairs_and_admission() -> None:
    problem = one_pool([[16.0]])
    mix = solve_mix(problem, SolveOptions(gap=0.0))
    values = dict(mix.values)
    tight = replace(problem.pools[0], systems_per_rack=1.0)
    one_rack = (SiteData("s", rack_limit=1.0),)
    assert "racks" in rules(mix, values, pools=(tight,), sites=one_rack)
    dear = (replace(problem.offers[0], capex_usd=1000.0),)
    budget = Objective(capex_budget_usd=1999.0)
    assert "capex budget" in rules(mix, values, offers=dear, objective=budget)
    lost = (replace(problem.blocks[0], lost_site=0),)
    assert "site loss" in rules(mix, values, blocks=lost)
    barred = (candidate(0, 0, "box", 1, [math.inf]),)
    assert "class not admitted" in rules(mix, values, candidates=barred)
    elsewhere = (replace(problem.candidates[0], system="other"),)
    assert "candidate not allowed in pool" in rules(mix, values, candidates=elsewhere)
    alone = (replace(problem.candidates[0], role="decode", pair=0),)
    assert "decode above prefill" in rules(mix, values, candidates=alone)


def test_stated_costs_are_compared(mix: MixResult) -> None:
    wrong = dict(mix.cost_items) | {"energy": mix.cost_items["energy"] * 1.001}
    assert [v.rule for v in verify_mix(mix.problem, mix.values, wrong)] == ["cost item energy"]
    off = mix.value * (1 + 1e-5)
    assert [v.rule for v in verify_mix(mix.problem, mix.values, None, off)] == ["objective"]


def test_eight_racks_hold_eight_replicas_of_64() -> None:
    assert fewest_systems(72, {64: 8, 8: 8}) == 8
    assert fewest_systems(72, {64: 9}) == 9
    assert fewest_systems(8, {16: 1, 8: 1, 4: 1}) == 4


def test_first_fit_is_not_trusted_where_it_is_not_exact() -> None:
    """39 GPUs fill three boxes of 13 as 6+4+3, 6+4+3, 5+5+3; first fit starts with 6+6."""
    sizes = {6: 2, 5: 2, 4: 2, 3: 3}
    assert fewest_systems(13, sizes, 0) == 3


def test_plan_has_the_promised_keys_and_no_nan(mix: MixResult) -> None:
    plan = plan_of(mix, Extras(candidates_evaluated=12, notices=(Notice(kind="k", text="w"),)))
    document = plan.to_json()
    assert document.keys() >= PLAN_KEYS
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text)["candidates_evaluated"] == 12
    assert sum(document["cost_items"].values()) == pytest.approx(plan.annual_cost_usd, rel=1e-12)


def test_plan_counts_by_hand() -> None:
    """16 requests/s of 100 output and 300 input tokens on two boxes of 1 kW at 100 $ a year."""
    problem = one_pool([[16.0]])
    pool = replace(problem.pools[0], idle_it_kw=0.5, pue=1.2)
    sites = (SiteData("s", power_limit_kw=5.0),)
    problem = replace(problem, pools=(pool,), sites=sites)
    plan = plan_of(solve_mix(problem, SolveOptions(gap=0.0)))
    tokens = 16 * 100 * 8760 * 3600.0
    assert plan.tokens_per_year_output == pytest.approx(tokens)
    assert plan.cost_per_mtok_output_usd == pytest.approx(200.0 / tokens * 1e6)
    assert plan.cost_per_mtok_total_usd == pytest.approx(200.0 / (4 * tokens) * 1e6)
    assert plan.cost_per_mtok_input_usd == pytest.approx(200.0 / (3 * tokens) * 1e6)
    assert plan.output_tokens_per_s_per_mw == pytest.approx(1600.0 / 0.0012)
    assert plan.joules_per_output_token == pytest.approx(1200.0 / 1600.0)
    assert plan.systems[0].count == 2
    assert plan.gpus == 16
    assert plan.placement == (Placement(pool="p", systems=2, replica_gpus=(1,) * 8),)
    assert plan.sites[0].provisioned_kw == pytest.approx(2.0)
    assert plan.sites[0].drawn_kw == pytest.approx(1.2)
    power = next(row for row in plan.limits if row.what == "power_kw")
    assert power.headroom == pytest.approx(3.0)
