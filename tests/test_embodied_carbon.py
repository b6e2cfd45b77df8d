"""A budget for the carbon emitted to make systems: from the scenario to plan, fleet and check."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from problems import candidate, one_pool
from scenarios import buy, hall
from tokenfleet.catalog import load_catalog
from tokenfleet.errors import CatalogError, InfeasibleError
from tokenfleet.fleets import FleetEvaluator
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.problem import build
from tokenfleet.problem_data import EVERY_BLOCK, Block, OfferData, Pool, Problem, Systems
from tokenfleet.report.words import reasons
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.bound import with_checked_bound
from tokenfleet.verify.mix import verify_mix

EXACT = SolveOptions(gap=0.0)
KG = 1_500.0  # made up, as a user would give it


def two_types(budget_kg: float | None) -> Problem:
    """24 requests/s in three systems: each 90 $ and 100 kg, or 100 $ and 10 kg."""
    base = one_pool([[24.0]])
    offers = (
        OfferData("light", 0, annual_cost_items_usd={"rent": 100.0}, embodied_carbon_kg=10.0),
        OfferData("cheap", 1, annual_cost_items_usd={"rent": 90.0}, embodied_carbon_kg=100.0),
    )
    return replace(
        base,
        pools=(Pool("light", 0, "A", 8, 1.0, 0.0), Pool("cheap", 0, "B", 8, 1.0, 0.0)),
        offers=offers,
        candidates=tuple(candidate(i, 0, system, 1, [1.0]) for i, system in enumerate("AB")),
        objective=replace(base.objective, embodied_carbon_budget_kg=budget_kg),
    )


@pytest.mark.parametrize(
    ("budget_kg", "usd"), [(None, 270.0), (300.0, 270.0), (120.0, 290.0), (119.0, 300.0)]
)
def test_by_hand(budget_kg: float | None, usd: float) -> None:
    """120 kg hold one cheap system and two light ones; 119 kg only light ones."""
    problem = two_types(budget_kg)
    result = solve_mix(problem, EXACT)
    assert result.annual_cost_usd == pytest.approx(usd)
    assert verify_mix(problem, result.values, result.cost_items, result.value) == []


def test_what_is_short_is_said() -> None:
    with pytest.raises(InfeasibleError) as raised:
        solve_mix(two_types(29.0), EXACT)
    wanted = "embodied carbon budget short by 1 kg CO2e (limit 29 kg CO2e)"
    assert wanted in raised.value.conflicts


def test_plan_and_report_show_what_is_used() -> None:
    plan = plan_of(solve_mix(two_types(120.0), EXACT))
    (row,) = [row for row in plan.limits if row.what == "embodied_carbon_kg"]
    assert (row.where, row.used, row.limit, row.headroom) == ("all", 120.0, 120.0, 0.0)
    assert "what binds: embodied carbon budget 120 of 120 kg" in reasons(plan)


def test_fleets_are_judged_by_it() -> None:
    answers = FleetEvaluator(two_types(120.0)).evaluate(np.array([[2.0, 1.0], [1.0, 2.0]]))
    assert answers["feasible"][0].tolist() == [True, False]
    assert answers["limit"][0, 1] == "embodied carbon budget"
    assert answers["headroom_embodied_carbon_budget_kg"][0].tolist() == [0.0, -90.0]


def test_the_check_does_not_believe_a_plan_above_it() -> None:
    problem = two_types(119.0)
    result = solve_mix(two_types(120.0), EXACT)
    (found,) = verify_mix(problem, result.values)
    assert (found.rule, found.excess) == ("embodied carbon budget", 1.0)


def test_of_systems_by_the_hour_those_count_that_stand_at_once() -> None:
    """1 system in one block and 2 in the other: 20 kg, not 30."""
    base = two_types(20.0)
    light = replace(base.pools[0], elastic=True)
    problem = replace(
        base,
        blocks=(Block(4380.0), Block(4380.0)),
        workloads=(replace(base.workloads[0], demand_rps=np.array([[8.0], [16.0]])),),
        pools=(light,),
        offers=(replace(base.offers[0], annual_cost_items_usd={}, hourly_usd=1.0),),
        candidates=base.candidates[:1],
    )
    result = solve_mix(problem, EXACT)
    assert result.annual_cost_usd == pytest.approx(4380.0 * (1 + 2))
    (row,) = plan_of(result).limits
    assert (row.what, row.used) == ("embodied_carbon_kg", 20.0)
    assert not any(label == Systems(EVERY_BLOCK, 0) for label in result.values)


# From the scenario


def scenario(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """One model on H100 of 8, whose figure a file of the user gives."""
    (tmp_path / "mine.json").write_text(json.dumps({"systems": [h100_with_figure()]}))
    length = {"id": "a", "share": 1.0, "input_tokens": 500, "output_tokens": 100}
    base: dict[str, Any] = {
        "name": "test",
        "price_vintage": "2026-06",
        "systems": ["h100_sxm_8"],
        "catalog": [str(tmp_path / "mine.json")],
        "search": {"tensor_parallel": [1], "batch_limits": [16]},
        "objective": {"embodied_carbon_budget_kg": 4_000.0},
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [length],
                "slos": [{"metric": "ttft", "percentile": "p99", "limit_ms": 1500}],
                "demand": {"requests_per_s": 8.0},
            }
        ],
        "sites": [hall(power_kw=100, pue=1.5)],
        "offers": [buy(id="buy")],
    }
    return {**base, **changes}


def h100_with_figure() -> dict[str, Any]:
    """The shipped row of the system, with a figure for its making."""
    row = load_catalog().system("h100_sxm_8").model_dump(mode="json", exclude_none=True)
    return {**row, "embodied_carbon_kg": KG, "source": "test", "as_of": "2026-11"}


def test_the_figure_of_a_user_s_file_reaches_the_problem(tmp_path: Path) -> None:
    problem = build(load_scenario(scenario(tmp_path))).problem
    assert problem.objective.embodied_carbon_budget_kg == 4_000.0
    assert [offer.embodied_carbon_kg for offer in problem.offers] == [KG]


def test_without_a_budget_nothing_is_asked(tmp_path: Path) -> None:
    given = scenario(tmp_path, catalog=[], objective={})
    assert [o.embodied_carbon_kg for o in build(load_scenario(given)).problem.offers] == [0.0]


def test_systems_owned_already_count_none(tmp_path: Path) -> None:
    owned = {"id": "own", "system": "h100_sxm_8", "kind": "owned", "supply": 4}
    given = scenario(tmp_path, catalog=[], offers=[owned])
    assert [o.embodied_carbon_kg for o in build(load_scenario(given)).problem.offers] == [0.0]


def test_a_blank_figure_is_an_error_that_names_it_and_says_how_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as raised:
        build(load_scenario(scenario(tmp_path, catalog=[])))
    assert "table systems, row 'h100_sxm_8': embodied_carbon_kg" in raised.value.message
    assert "give it in a file named under `catalog`" in raised.value.hint


def test_of_prices_from_the_book_those_without_the_figure_are_left_out(tmp_path: Path) -> None:
    given = scenario(tmp_path, systems=["h100_sxm_8", "h200_sxm_8"])
    del given["offers"]
    built = build(load_scenario(given))
    assert {pool.system for pool in built.problem.pools} == {"h100_sxm_8"}
    left_out = {n.what: n.reason for n in built.not_considered}
    assert left_out["system h200_sxm_8"] == "no sourced figure for embodied_carbon_kg"


@pytest.mark.parametrize(("budget_kg", "usd"), [(None, 270.0), (120.0, 290.0), (119.0, 300.0)])
def test_the_second_formulation_confirms_what_is_claimed(
    budget_kg: float | None, usd: float
) -> None:
    """Without the row there the bound of the capped problems could not be confirmed."""
    problem = two_types(budget_kg)
    result = solve_mix(problem, EXACT)
    checked = with_checked_bound(result, 0.0, 20.0)
    assert checked.bound == pytest.approx(usd, rel=1e-6)
