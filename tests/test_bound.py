"""The check of claimed bounds: confirms what is true, and nothing better."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from problems import candidate, free_problem, one_pool, random_problem, timed
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import Problem
from tokenfleet.verify import bound, second
from tokenfleet.verify.bound import Claim, Prices, _may_help, check_bound, with_checked_bound
from tokenfleet.verify.second import formulate

EXACT = SolveOptions(gap=0.0, time_limit_s=30.0)
BOTH = frozenset({(0, 0), (1, 1)})


def checked(problem: Problem, bound: float, value: float) -> tuple[float, str]:
    """What a bound turns out to be, and by what."""
    found = check_bound(problem, Claim(bound, value, BOTH), 20.0, 0.0)
    return found.bound, found.how


def test_prices_confirm_a_bound_that_the_relaxation_gives() -> None:
    """16 requests/s fill two boxes of 8 at 100 $ each: no whole number holds the bound up."""
    assert checked(one_pool([[16.0]]), 200.0, 200.0) == (200.0, "prices")


def test_a_search_confirms_a_bound_that_whole_numbers_hold_up() -> None:
    """9 requests/s take two boxes; the relaxation says 112.5 $."""
    assert checked(one_pool([[9.0]]), 200.0, 200.0) == (200.0, "search")


def test_a_bound_that_leaves_a_gap_is_raised_by_prices() -> None:
    """3.5 requests/s take 4 replicas, which are half of a box of 100 $; the relaxation says 43.75 $
    and no claim of 10 $ is the last word."""
    bound, how = checked(one_pool([[3.5]]), 10.0, 100.0)
    assert (bound, how) == (pytest.approx(50.0, rel=1e-6), "prices")


def test_a_rack_that_costs_more_than_the_plan_holds_no_bound_down() -> None:
    """9 requests/s of two boxes, 200 $. A rack of 100 at 500 $ serves them at 5 $ each, which a
    relaxation takes; a plan with one costs more than is known, and without it 112.50 $ are left."""
    base = one_pool([[9.0]])
    problem = replace(
        base,
        pools=(*base.pools, replace(base.pools[0], id="q", system="rack", gpus_per_system=100)),
        offers=(
            *base.offers,
            replace(base.offers[0], id="r", pool=1, annual_cost_items_usd={"capex": 500.0}),
        ),
        candidates=(*base.candidates, candidate(1, 0, "rack", 1, [1.0])),
    )
    check = bound._Check(problem, Claim(10.0, 200.0, BOTH), 20.0, 0.0)
    costs, constant = check._weights(check.goal.of, 1.0)
    assert check.prices.least(costs, constant, math.inf).bound == pytest.approx(112.5, rel=1e-6)
    assert checked(problem, 10.0, 200.0)[0] <= 200.0
    dearer = bound._Check(problem, Claim(10.0, 600.0, BOTH), 20.0, 0.0)
    assert dearer.prices.least(costs, constant, math.inf).bound == pytest.approx(45.0, rel=1e-6)


def test_a_false_bound_is_put_right() -> None:
    """Two boxes do; a plan of three and a bound of 300 $ are not the least cost."""
    bound, how = checked(one_pool([[9.0]]), 300.0, 300.0)
    assert how == "search"
    assert bound == pytest.approx(200.0, rel=1e-6)


def test_the_reserve_of_a_pool_without_systems_is_free() -> None:
    """Power for three boxes of A or two of B, a spare in each pool used: 2 requests/s by A.

    The claim is that of a bound that buys a spare of both types: 1 request/s.
    """
    problem = one_pool([[1.0]], gpus=1)
    pools = tuple(
        replace(problem.pools[0], id=name, system=name, provisioned_it_kw=kw, reserve=1)
        for name, kw in (("A", 1.0), ("B", 1.5))
    )
    problem = replace(
        problem,
        workloads=(replace(problem.workloads[0], free=True),),
        sites=(replace(problem.sites[0], power_limit_kw=3.2),),
        pools=pools,
        offers=tuple(replace(problem.offers[0], id=f"o{p}", pool=p) for p in range(2)),
        candidates=(candidate(0, 0, "A", 1, [1.0]), candidate(1, 0, "B", 1, [0.8])),
        objective=replace(problem.objective, kind="most_tokens"),
    )
    tokens = 100.0 * 8760.0 * 3600.0
    assert checked(problem, 2.0 * tokens, 2.0 * tokens)[0] == 2.0 * tokens
    refuted, _ = checked(problem, tokens, tokens)
    assert refuted >= 2.0 * tokens * (1.0 - 1e-9)


def test_a_plan_loses_its_proof_with_its_bound() -> None:
    problem = one_pool([[9.0]])
    result = replace(solve_mix(problem, EXACT), value=300.0, bound=300.0)
    put_right = with_checked_bound(result, 0.0, 20.0)
    assert put_right.status == "feasible"
    assert put_right.bound == pytest.approx(200.0, rel=1e-6)
    assert put_right.gap == pytest.approx(1.0 / 3.0, rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_bounds_of_exact_plans_are_confirmed(seed: int) -> None:
    problem = random_problem(seed, classes=2, sizes=(2, 3, 4, 8))
    problem = timed(problem, seed) if seed % 2 else problem
    result = with_checked_bound(solve_mix(problem, EXACT), 0.0, 20.0)
    assert result.status == "optimal"
    assert result.bound_check != "none"


@pytest.mark.parametrize("seed", range(6))
def test_no_bound_above_the_least_cost_is_confirmed(seed: int) -> None:
    problem = random_problem(seed, classes=2)
    least = solve_mix(problem, EXACT).value
    bound, _ = checked(problem, 1.02 * least, 1.02 * least)
    assert bound == pytest.approx(least, rel=1e-6)


def test_replicas_go_with_their_systems() -> None:
    """A box of B costs 900 $ more than the room that is left; its replicas and flows cost nothing,
    and are of no use without it."""
    problem = one_pool([[9.0]])
    pools = (problem.pools[0], replace(problem.pools[0], id="b", system="B"))
    offers = (problem.offers[0], replace(problem.offers[0], id="ob", pool=1))
    both = (*problem.candidates, replace(problem.candidates[0], id=len(problem.candidates)))
    both = (*both[:-1], replace(both[-1], system="B"))
    form = formulate(replace(problem, pools=pools, offers=offers, candidates=both), 0.0)
    reduced = np.zeros(len(form.up))
    systems = form.whole & (form.pair < 0)
    reduced[np.flatnonzero(systems)[-1]] = 1_000.0
    kept = _may_help(form, reduced, 100.0)
    of_b = form.pair == form.pairs.index((1, both[-1].id))
    assert not kept[of_b].any()
    assert kept[~of_b & ~systems].all()
    assert kept[systems].tolist() == [True, False]


@pytest.mark.parametrize("seed", range(6))
def test_too_many_ways_to_cut_a_system_leave_a_bound_that_holds(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes 3, 5 and 8 of 12: by area alone a bound is at most the least cost, and near it."""
    problem = random_problem(seed, classes=2, sizes=(3, 5, 8))
    pools = tuple(replace(pool, gpus_per_system=12) for pool in problem.pools)
    problem = replace(problem, pools=pools)
    least = solve_mix(problem, EXACT).value
    monkeypatch.setattr(second, "_MOST_WAYS", 0)
    bound, how = checked(problem, 1.5 * least, 1.5 * least)
    assert how != "none"
    assert 0.7 * least < bound <= least * (1 + 1e-6)


def test_a_plan_of_plainer_types_alone_opens_the_others() -> None:
    """The one type that the plan uses counts as another does, and is not written down here."""
    problem = one_pool([[16.0]])
    plainer = replace(problem.candidates[0], plainer=True)
    problem = replace(problem, candidates=(plainer, *problem.candidates))
    found = check_bound(problem, Claim(200.0, 200.0, frozenset({(0, 0)})), 20.0, 0.0)
    assert (found.bound, found.how) == (200.0, "prices")


@pytest.mark.parametrize("seed", range(6))
def test_a_bound_above_the_least_cost_is_not_confirmed_under_timed_prices(seed: int) -> None:
    problem = timed(random_problem(seed, classes=2), seed)
    least = solve_mix(problem, EXACT).value
    bound, _ = checked(problem, 1.02 * least, 1.02 * least)
    assert bound == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_ratios_are_confirmed_and_lower_ones_are_not(seed: int) -> None:
    result = solve_mix(free_problem(seed), SolveOptions(gap=1e-5, time_limit_s=30.0))
    confirmed = with_checked_bound(result, 1e-5, 20.0)
    assert confirmed.bound == result.bound
    dearer = result.bound * 1.01  # claims that no plan is as cheap as the one found
    assert with_checked_bound(replace(result, bound=dearer), 1e-5, 20.0).bound < result.value


def test_prices_count_their_rounding() -> None:
    """Prices that are a little off give a bound a little lower, and never one above the optimum."""
    problem = random_problem(3, classes=2)
    form = formulate(problem, 0.0)
    pairs = frozenset(form.pairs)
    best = Prices(form, pairs, Deadline(20.0)).least(form.figures["cost"], 0.0, math.inf)
    optimum = exact(problem).value
    assert best.bound <= optimum
    rng = np.random.default_rng(0)
    prices = rng.uniform(-100.0, 100.0, len(form.row_up))
    off, _ = Prices(form, pairs, Deadline(20.0)).bound(form.figures["cost"], prices)
    assert off <= optimum


def exact(problem: Problem) -> MixResult:
    return solve_mix(problem, EXACT)
