"""What an infeasible answer says would help: applied as it is written, each of them does."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

import tokenfleet as tf
from problems import one_pool, random_problem, workload
from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import Objective, Problem

OPTIONS = SolveOptions(gap=1e-3, time_limit_s=20.0)


def conflicts(problem: Problem) -> tuple[str, ...]:
    with pytest.raises(InfeasibleError) as caught:
        solve_mix(problem, OPTIONS)
    return caught.value.conflicts


def test_a_budget_is_short_by_a_dollar_at_least() -> None:
    """Two boxes at 100.4 $ beside a budget of 200.7 $: 0.1 $ is short, and no budget is by 0."""
    problem = replace(one_pool([[9.0]], usd=100.4), objective=Objective(annual_budget_usd=200.7))
    (budget,) = [text for text in conflicts(problem) if "budget" in text]
    assert budget == "annual budget short by 1 USD (limit 201 USD)"


def test_stock_that_several_sites_share_is_short_once() -> None:
    """Three boxes are needed and the two sites share a stock of one: two more, not two for each."""
    problem = one_pool([[20.0]])
    problem = replace(
        problem,
        sites=(problem.sites[0], replace(problem.sites[0], id="t")),
        pools=(problem.pools[0], replace(problem.pools[0], id="q", site=1)),
        offers=tuple(
            replace(problem.offers[0], id=f"o{p}", pool=p, supply=1.0, supply_group="stock")
            for p in range(2)
        ),
        candidates=(replace(problem.candidates[0], sites=(0, 1)),),
    )
    (supply,) = [text for text in conflicts(problem) if "supply" in text]
    assert supply == "offer stock: supply short by 2 (limit 1)"


@pytest.mark.parametrize("seed", range(8))
def test_power_that_is_said_to_be_short_is_enough_when_given(seed: int) -> None:
    problem = replace(random_problem(seed), apis=())
    tight = tuple(replace(site, power_limit_kw=site.power_limit_kw * 0.4) for site in problem.sites)
    problem = replace(problem, sites=tight)
    try:
        solve_mix(problem, OPTIONS)
    except InfeasibleError as error:
        short = [c for c in error.conflicts if "power short" in c]
        for site in problem.sites if short else ():
            found = [re.search(rf"{site.id}: power short by (\S+)", text) for text in short]
            given = max((float(match[1]) for match in found if match), default=0.0)
            more = replace(site, power_limit_kw=site.power_limit_kw + given)
            sites = tuple(more if s.id == site.id else s for s in problem.sites)
            problem = replace(problem, sites=sites)
        if short:
            assert solve_mix(problem, OPTIONS).values


def test_demand_beyond_any_supply_is_said_within_the_time() -> None:
    case = Path(__file__).parent / "cases" / "beyond_any_supply.json"
    begun = time.process_time()
    with pytest.raises(InfeasibleError, match="requests/s cannot be served"):
        tf.optimize_fleet(case)
    assert time.process_time() - begun < 60.0  # 8 s are given; it ran for ever


def test_several_workloads_give_way_together() -> None:
    problem = one_pool([[9.0]])
    offer = replace(problem.offers[0], supply=1.0)
    other = workload("v", [[9.0]])
    problem = replace(
        problem,
        offers=(offer,),
        workloads=(*problem.workloads, other),
        candidates=(*problem.candidates, replace(problem.candidates[0], id=1, workload=1)),
    )
    assert "offer o: supply short by 2 (limit 1)" in conflicts(problem)
