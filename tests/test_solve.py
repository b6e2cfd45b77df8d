"""The mix: equal to independent judges, right on cases worked by hand, and lawful."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import (
    candidate,
    free_problem,
    one_pool,
    random_problem,
    with_own_mixes,
    workload,
)
from reference_mix import brute_force, scip_cost
from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.mix.model import build
from tokenfleet.mix.model.index import Power
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.mix.why.infeasible import UnboundedError
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.problem_data import (
    ApiData,
    Block,
    Flow,
    Objective,
    OfferData,
    Pool,
    Problem,
    Replicas,
    Short,
    SiteData,
    Systems,
)
from tokenfleet.verify.bound import Claim, check_bound
from tokenfleet.verify.mix import verify_mix

EXACT = SolveOptions(gap=0.0, time_limit_s=30.0)


def solve(problem: Problem) -> MixResult:
    """Solve to zero gap, and let the independent check agree."""
    result = solve_mix(problem, EXACT)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []
    assert result.status == "optimal"
    return result


def relaxation(problem: Problem) -> float:
    model = build(problem)
    set_goal(model, "least_cost")
    return run(model.prob, EXACT, mip=False).value


def count(result: MixResult, kind: type) -> float:
    return sum(v for label, v in result.values.items() if isinstance(label, kind))


# --- independent judges -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_optimum_equals_brute_force(seed: int) -> None:
    problem = random_problem(seed, workload_count=1, peak_rps=3.0)
    assert solve(problem).value == pytest.approx(brute_force(problem), rel=1e-6)


@pytest.mark.parametrize("seed", range(100, 122))
def test_optimum_equals_scip(seed: int) -> None:
    problem = random_problem(seed, classes=2, sizes=(2, 3, 4, 8))
    assert solve(problem).value == pytest.approx(scip_cost(problem), rel=1e-6)


@pytest.mark.parametrize("seed", range(200, 212))
def test_replicas_that_take_all_classes_in_a_mix_as_scip_has_them(seed: int) -> None:
    problem = with_own_mixes(random_problem(seed, classes=3, sizes=(2, 3, 4, 8)), seed)
    result = solve(problem)
    assert result.value == pytest.approx(scip_cost(problem), rel=1e-6)
    assert verify_mix(problem, result.values) == []
    assert check_bound(problem, _claim(result), 20.0, 0.0).bound == result.bound


def _claim(result: MixResult) -> Claim:
    used = (label for label in result.values if isinstance(label, Replicas))
    return Claim(result.bound, result.value, frozenset((r.pool, r.candidate) for r in used))


def test_a_mix_is_kept_by_hand() -> None:
    """Three short requests a second and one long one.

    A replica of the mix takes 0.2 s of each, 0.8 of them; by themselves short ones take 0.1 s and
    long ones cannot be served at all. With four long ones for three short, some are left over.
    """
    mixed = candidate(0, 0, "box", 1, [0.2, 0.2], mix=(0.75, 0.25))
    alone = candidate(1, 0, "box", 1, [0.1, math.inf])
    problem = replace(one_pool([[3.0, 1.0]], gpus=1), candidates=(mixed, alone))
    assert solve(problem).value == pytest.approx(100.0)
    more = replace(one_pool([[3.0, 4.0]], gpus=1), candidates=(mixed, alone))
    with pytest.raises(InfeasibleError, match="class k1"):
        solve(more)
    flows = {Flow(0, 0, 0, 0): 3.0, Flow(0, 0, 0, 1): 1.0}
    kept = {**flows, Replicas(0, 0, 0): 1.0, Systems(0, 0): 1.0}
    assert verify_mix(problem, kept) == []
    spoilt = {**kept, Flow(0, 0, 0, 0): 2.5, Flow(0, 0, 1, 0): 0.5, Replicas(0, 0, 1): 1.0}
    spoilt[Systems(0, 0)] = 2.0
    assert any("share of class" in v.rule for v in verify_mix(problem, spoilt))


def test_large_and_small_way_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_problem(7, classes=3)
    whole = solve(problem).value
    monkeypatch.setattr("tokenfleet.mix.search.stages.SMALL", 0)
    assert solve(problem).value == pytest.approx(whole, rel=1e-6)


# --- cases worked by hand -----------------------------------------------------------------------


def racks_of_72(racks: float) -> Problem:
    """Racks of 72 GPUs at 100 $ a year; each replica of 64 GPUs serves 1 request/s."""
    problem = one_pool([[9.0]], gpus=72, usd=100.0)
    offer = replace(problem.offers[0], supply=racks)
    return replace(problem, offers=(offer,), candidates=(candidate(0, 0, "box", 64, [1.0]),))


def test_nine_replicas_of_64_need_nine_racks() -> None:
    assert solve(racks_of_72(math.inf)).value == pytest.approx(900.0)


def test_eight_racks_of_72_do_not_hold_nine_replicas_of_64() -> None:
    """8 * 72 = 576 = 9 * 64, yet no rack holds more than one."""
    with pytest.raises(InfeasibleError, match="supply short by 1"):
        solve(racks_of_72(8.0))


def test_overflow_to_an_api_beats_buying_for_the_peak() -> None:
    """10/s for 20 h, 40/s for 4 h; 30 $/h per 10/s owned, 1.5 $ per 1,000 requests hosted.

    One system: 24 * 30 = 720 $; overflow 30/s * 4 h * 3600 * 0.0015 = 648 $: 1,368 $ a day,
    against 4 systems at 2,880 $.
    """
    problem = Problem(
        name="overflow",
        blocks=(Block(20 * 365.0), Block(4 * 365.0)),
        workloads=(workload("w", [[10.0], [40.0]]),),
        sites=(SiteData("s"),),
        pools=(Pool("p", 0, "box", 1, 1.0, 0.0),),
        offers=(OfferData("o", 0, annual_cost_items_usd={"rental": 30.0 * 8760}),),
        candidates=(candidate(0, 0, "box", 1, [0.1]),),
        apis=(ApiData("api", 0, np.array([0.0015])),),
    )
    result = solve(problem)
    assert result.value / 365.0 == pytest.approx(1368.0, rel=1e-9)
    assert result.cost_items["api_tokens"] / 365.0 == pytest.approx(648.0, rel=1e-9)


def test_a_reserve_costs_its_systems_once_per_pool_used() -> None:
    """10 requests/s on boxes of 8: two boxes, and one more in reserve."""
    problem = one_pool([[10.0]])
    pool = replace(problem.pools[0], reserve=1)
    assert solve(problem).value == pytest.approx(200.0)
    assert solve(replace(problem, pools=(pool,))).value == pytest.approx(300.0)


def two_sites(*, contingency: bool) -> Problem:
    problem = one_pool([[8.0]])
    blocks: tuple[Block, ...] = (Block(8760.0),)
    demand = [[8.0]]
    if contingency:
        blocks += (Block(0.0, lost_site=0), Block(0.0, lost_site=1))
        demand = [[8.0]] * 3
    return replace(
        problem,
        blocks=blocks,
        workloads=(workload("w", demand),),
        sites=(SiteData("a"), SiteData("b")),
        pools=(problem.pools[0], replace(problem.pools[0], id="q", site=1)),
        offers=(problem.offers[0], replace(problem.offers[0], id="r", pool=1)),
        candidates=(replace(problem.candidates[0], sites=(0, 1)),),
    )


def test_surviving_the_loss_of_a_site_doubles_one_box() -> None:
    assert solve(two_sites(contingency=False)).value == pytest.approx(100.0)
    result = solve(two_sites(contingency=True))
    assert result.value == pytest.approx(200.0)
    assert count(result, Systems) == 2


def test_prefill_and_decode_stand_on_different_hardware() -> None:
    """4 requests/s; boxes of 4 GPUs: A at 100 $, B at 60 $.

    A prefills in 1 GPU-second and decodes in 4, B the other way round. One of each is 160 $;
    A alone needs 4 + 16 = 20 GPUs, 500 $; B alone 20 GPUs, 300 $.
    """
    roles = (
        ("A", "prefill", 1.0),
        ("A", "decode", 4.0),
        ("B", "prefill", 4.0),
        ("B", "decode", 1.0),
    )
    problem = Problem(
        name="phases",
        blocks=(Block(8760.0),),
        workloads=(workload("w", [[4.0]]),),
        sites=(SiteData("s"),),
        pools=(Pool("a", 0, "A", 4, 1.0, 0.0), Pool("b", 0, "B", 4, 1.0, 0.0)),
        offers=(
            OfferData("oa", 0, annual_cost_items_usd={"capex": 100.0}),
            OfferData("ob", 1, annual_cost_items_usd={"capex": 60.0}),
        ),
        candidates=tuple(
            candidate(i, 0, system, 1, [load], role=role, pair=0)
            for i, (system, role, load) in enumerate(roles)
        ),
    )
    result = solve(problem)
    assert result.value == pytest.approx(160.0)
    assert result.best_single is not None
    assert result.best_single.system == "B"
    assert result.best_single.value == pytest.approx(300.0)


def test_the_best_plan_of_one_type_stands_beside_an_api_that_wins() -> None:
    """7 requests/s for 70 $ a year by API; each system costs 100 $ or more."""
    base = one_pool([[7.0]])
    price = 10.0 / (8760.0 * 3600.0)  # $ a request, so that a request/s is 10 $ a year
    problem = replace(
        base,
        pools=(base.pools[0], Pool("q", 0, "other", 8, 1.0, 0.0)),
        offers=(*base.offers, OfferData("p", 1, annual_cost_items_usd={"capex": 120.0})),
        candidates=(*base.candidates, candidate(1, 0, "other", 1, [1.0])),
        apis=(ApiData("api", 0, np.array([price])),),
    )
    result = solve(problem)
    assert result.value == pytest.approx(70.0)
    assert not any(isinstance(label, Systems) for label in result.values)
    assert result.best_single is not None
    assert result.best_single.value == pytest.approx(70.0)
    plan = plan_of(result)
    assert plan.best_single_system is not None
    assert plan.best_single_system.difference_relative == pytest.approx(0.0, abs=1e-9)


def test_pairs_of_different_kv_formats_do_not_meet() -> None:
    problem = one_pool([[1.0]])
    candidates = (
        candidate(0, 0, "box", 1, [1.0], role="prefill", pair=0),
        candidate(1, 0, "box", 1, [1.0], role="decode", pair=1),
    )
    with pytest.raises(InfeasibleError, match="nothing can serve"):
        solve(replace(problem, candidates=candidates))


def test_sizes_that_do_not_divide_one_another() -> None:
    """Boxes of 8 hold a 3 and a 5, or two 3s: three 5s and three 3s fill three boxes, not four."""
    problem = replace(
        one_pool([[3.0]]),
        workloads=(workload("v", [[3.0]]), workload("w", [[3.0]])),
        candidates=(candidate(0, 0, "box", 5, [1.0]), candidate(1, 1, "box", 3, [1.0])),
    )
    assert solve(problem).value == pytest.approx(300.0)
    only_fives = replace(
        problem, candidates=(problem.candidates[0], candidate(1, 1, "box", 5, [1.0]))
    )
    assert solve(only_fives).value == pytest.approx(600.0)


def test_a_replica_larger_than_a_system_takes_whole_systems() -> None:
    problem = replace(one_pool([[2.0]]), candidates=(candidate(0, 0, "box", 16, [1.0]),))
    assert solve(problem).value == pytest.approx(400.0)


def test_spot_serves_interruptible_work_only() -> None:
    problem = one_pool([[1.0]])
    spot = replace(problem, pools=(replace(problem.pools[0], interruptible=True),))
    with pytest.raises(InfeasibleError, match="nothing can serve"):
        solve(spot)
    willing = workload("w", [[1.0]], interruptible=True)
    assert solve(replace(spot, workloads=(willing,))).value == pytest.approx(100.0)


def test_elastic_systems_are_paid_by_the_hour() -> None:
    """1 box all year, a second for 1,000 h at 2 $/h: 8,760 * 2 + 1,000 * 2 = 19,520 $."""
    problem = replace(
        one_pool([[8.0], [16.0]]),
        blocks=(Block(7760.0), Block(1000.0)),
        pools=(Pool("p", 0, "box", 8, 1.0, 0.0, elastic=True, hosted=True),),
        offers=(OfferData("o", 0, hourly_usd=2.0),),
    )
    assert solve(problem).value == pytest.approx(19_520.0)


def test_racks_are_whole() -> None:
    """3 boxes, 2 to a rack: 2 racks."""
    problem = one_pool([[24.0]])
    pools = (replace(problem.pools[0], systems_per_rack=2.0),)
    fits = replace(problem, pools=pools, sites=(SiteData("s", rack_limit=2.0),))
    assert solve(fits).value == pytest.approx(300.0)
    with pytest.raises(InfeasibleError, match="racks short by 1"):
        solve(replace(fits, sites=(SiteData("s", rack_limit=1.0),)))


def test_owned_stock_is_shared_by_its_group() -> None:
    problem = two_sites(contingency=False)
    offers = tuple(replace(o, supply=1.0, supply_group="stock") for o in problem.offers)
    assert solve(replace(problem, offers=offers)).value == pytest.approx(100.0)
    busy = replace(problem, offers=offers, workloads=(workload("w", [[16.0]]),))
    with pytest.raises(InfeasibleError, match="offer stock: supply short by 1"):
        solve(busy)


def test_most_tokens_fills_the_power() -> None:
    """Boxes of 1 kW within 3.5 kW: three boxes, 24 requests/s of 100 tokens all year."""
    free = workload("w", [[1.0]], free=True)
    problem = replace(
        one_pool([[1.0]]),
        workloads=(free,),
        sites=(SiteData("s", power_limit_kw=3.5),),
        objective=Objective(kind="most_tokens"),
    )
    assert solve(problem).value == pytest.approx(24 * 100 * 8760 * 3600.0)


def test_most_value_leaves_what_does_not_pay() -> None:
    """A request is worth 2 $ a year per request/s-year at most; the ninth needs a whole box."""
    year = 8760 * 3600.0
    paid = workload(
        "w", [[9.0]], shortfall_usd_per_request=0.0, value_usd_per_request=np.array([20.0 / year])
    )
    problem = replace(one_pool([[9.0]]), workloads=(paid,), objective=Objective(kind="most_value"))
    result = solve(problem)
    assert result.value == pytest.approx(8 * 20.0 - 100.0)
    assert result.values[Short(0, 0, 0)] == pytest.approx(1.0)


def test_least_energy_and_carbon_read_the_same_columns() -> None:
    problem = one_pool([[8.0]])
    pool = replace(problem.pools[0], idle_it_kw=0.5, pue=1.5, carbon_kg_per_kwh_it=0.3)
    for kind, expected in (("least_energy", 0.5 * 8760 * 1.5), ("least_carbon", 0.5 * 8760 * 0.3)):
        variant = replace(problem, pools=(pool,), objective=Objective(kind=kind))  # type: ignore[arg-type]
        assert solve(variant).value == pytest.approx(expected)


# --- cost per token -----------------------------------------------------------------------------


def ratio_problem(max_scale: float, contracted: float, tolerance: float = 0.0) -> Problem:
    """Boxes of 8 requests/s at 100 $ a year and contracted power paid used or not."""
    free = workload("w", [[1.0]], free=True, min_scale=1.0, max_scale=max_scale)
    return replace(
        one_pool([[1.0]]),
        workloads=(free,),
        sites=(SiteData("s", contracted_power_usd_per_year=contracted),),
        objective=Objective(kind="least_cost_per_token", ratio_tolerance=tolerance),
    )


def by_enumeration(max_scale: float, contracted: float) -> float:
    """$ per Mtok: the best of all whole numbers of boxes, each as full as it can be."""
    plans = [(contracted + 100.0 * n, min(8.0 * n, max_scale)) for n in range(1, 50)]
    return min(cost / rate for cost, rate in plans) * 1e6 / (100 * 8760 * 3600)


@pytest.mark.parametrize(
    ("top", "contracted"), [(20.0, 0.0), (20.0, 50.0), (33.0, 500.0), (17.5, 80.0)]
)
def test_least_cost_per_token_equals_enumeration(top: float, contracted: float) -> None:
    result = solve(ratio_problem(top, contracted))
    assert result.value == pytest.approx(by_enumeration(top, contracted), rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_least_cost_per_token_is_below_every_fixed_scale(seed: int) -> None:
    """At any scale theta the least cost over tokens is no better than the ratio found."""
    problem = free_problem(seed)
    result = solve(problem)
    for theta in np.linspace(0.5, max(result.scale * 1.5, 1.0), 7):
        workloads = tuple(
            replace(w, free=False, demand_rps=w.demand_rps * theta) for w in problem.workloads
        )
        fixed = replace(problem, workloads=workloads, objective=Objective())
        try:
            cost = solve_mix(fixed, EXACT, compare_single=False).value
        except InfeasibleError:
            continue
        hours = np.array([b.hours for b in problem.blocks])
        requests = sum(float(hours @ w.demand_rps.sum(axis=1)) for w in workloads) * 3600.0
        assert result.value <= cost / (requests * 100.0) * 1e6 * (1 + 1e-6)


def test_within_the_tolerance_the_larger_fleet_wins() -> None:
    """Without fixed cost every full box has the same ratio: the most tokens are 16 of 20."""
    result = solve_mix(ratio_problem(20.0, 0.0, 1e-3), EXACT)
    assert result.scale == pytest.approx(16.0, rel=2e-3)
    assert result.status == "optimal"
    assert result.bound <= result.value <= result.bound * 1.001001


def test_the_best_single_type_is_shown_beside_the_ratio() -> None:
    """A second type makes 8 requests/s for 200 $: twice the price of a token, never the answer."""
    problem = ratio_problem(16.0, 0.0)
    dear_pool = replace(problem.pools[0], id="dear", system="dear")
    dear_offer = replace(
        problem.offers[0], id="dear", pool=1, annual_cost_items_usd={"rental": 200.0}
    )
    dear = replace(problem.candidates[0], id=1, system="dear")
    both = replace(
        problem,
        pools=(*problem.pools, dear_pool),
        offers=(*problem.offers, dear_offer),
        candidates=(*problem.candidates, dear),
    )
    result = solve_mix(both, EXACT)
    assert result.best_single is not None
    assert result.best_single.system == problem.pools[0].system
    assert result.best_single.value == pytest.approx(result.value)
    assert result.value == pytest.approx(by_enumeration(16.0, 0.0), rel=1e-6)


def test_unlimited_free_demand_is_reported() -> None:
    with pytest.raises(UnboundedError, match="without end") as caught:
        solve_mix(ratio_problem(math.inf, 0.0), EXACT)
    assert "power limit" in caught.value.hint


# --- infeasible ---------------------------------------------------------------------------------


def test_the_planted_conflict_is_named_with_its_amount() -> None:
    """3 boxes of 1 kW against 2.5 kW: half a kW short."""
    problem = replace(one_pool([[24.0]]), sites=(SiteData("eu-1", power_limit_kw=2.5),))
    with pytest.raises(InfeasibleError) as caught:
        solve(problem)
    assert any(
        c.startswith("site eu-1: power short by 0.5 kW (limit 2.5 kW")
        for c in caught.value.conflicts
    )
    assert any("requests/s cannot be served" in c for c in caught.value.conflicts)


def test_budgets_are_named() -> None:
    problem = replace(one_pool([[24.0]]), objective=Objective(annual_budget_usd=250.0))
    with pytest.raises(InfeasibleError, match="annual budget short by 50 USD"):
        solve(problem)


def test_numbers_too_far_apart_are_refused() -> None:
    problem = replace(one_pool([[1.0, 1.0]]), candidates=(candidate(0, 0, "box", 1, [1.0, 1e-10]),))
    with pytest.raises(SolverError, match="too far apart"):
        solve(problem)


# --- loops --------------------------------------------------------------------------------------


def test_the_recheck_tightens_until_it_is_content() -> None:
    """10 requests/s on loads 1.0, 1.3, 1.69: 10, 13 and 17 GPUs, so two, two and three boxes."""
    seen: list[float] = []

    def recheck(result: MixResult) -> list[Tightening]:
        seen.append(result.value)
        return [Tightening(0, 1.3)] if len(seen) < 3 else []

    result = solve_mix(one_pool([[10.0]]), EXACT, recheck)
    assert seen == pytest.approx([200.0, 200.0, 300.0])
    assert result.rounds == 3
    assert not result.warnings


def test_a_recheck_that_never_ends_leaves_a_warning() -> None:
    result = solve_mix(one_pool([[1.0]]), EXACT, lambda _: [Tightening(0, 1.01)], max_rounds=2)
    assert "still fail" in result.warnings[0]


def test_ctrl_c_returns_the_incumbent() -> None:
    """Pressed when HiGHS has found a plan; unheard, the search would go on for an hour."""
    script = (
        "import signal, os, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1] / 'benches')!r})\n"
        "from generate_mix import generate, Shape\n"
        "from tokenfleet.mix.solver import highs\n"
        "from tokenfleet.mix.solve import solve_mix\n"
        "p = generate(3, Shape(workloads=3, sites=2, systems=4, kept=5))\n"
        "pressed = []\n"
        "def press(event):\n"
        "    if not pressed:\n"
        "        pressed.append(event); os.kill(os.getpid(), signal.SIGINT)\n"
        "real = highs.QuietHighs.callSolver\n"
        "def call(self, lp):\n"
        "    if self.mip:\n"
        "        lp.solverModel.cbMipImprovingSolution.subscribe(press)\n"
        "    real(self, lp)\n"
        "highs.QuietHighs.callSolver = call\n"
        "options = highs.SolveOptions(gap=0.0, time_limit_s=3600)\n"
        "r = solve_mix(p, options, compare_single=False)\n"
        "print(len(pressed), r.interrupted, bool(r.values))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split() == ["1", "True", "True"], done.stderr[-2000:]


# --- invariants of robustness.md 5.3 ------------------------------------------------------------

seeds = st.integers(0, 10_000)
few = settings(max_examples=8, deadline=None)


@few
@given(seeds)
def test_adding_a_candidate_never_costs_more(seed: int) -> None:
    problem = random_problem(seed)
    fewer = replace(problem, candidates=problem.candidates[:-1])
    assert solve(problem).value <= solve(fewer).value * (1 + 1e-6)


@few
@given(seeds)
def test_more_power_and_supply_never_cost_more(seed: int) -> None:
    problem = random_problem(seed)
    sites = tuple(replace(s, power_limit_kw=s.power_limit_kw * 1.5) for s in problem.sites)
    offers = tuple(replace(o, supply=o.supply + 1) for o in problem.offers)
    roomy = replace(problem, sites=sites, offers=offers)
    assert solve(roomy).value <= solve(problem).value * (1 + 1e-6)


@few
@given(seeds, st.sampled_from([0.5, 3.0]))
def test_prices_times_k_are_cost_times_k(seed: int, k: float) -> None:
    problem = random_problem(seed)
    dearer = replace(
        problem,
        pools=tuple(
            replace(p, energy_usd_per_kwh_it=p.energy_usd_per_kwh_it * k) for p in problem.pools
        ),
        offers=tuple(
            replace(
                o,
                hourly_usd=o.hourly_usd * k,
                annual_cost_items_usd={i: v * k for i, v in o.annual_cost_items_usd.items()},
            )
            for o in problem.offers
        ),
        apis=tuple(
            replace(a, cost_usd_per_request=a.cost_usd_per_request * k) for a in problem.apis
        ),
    )
    assert solve(dearer).value == pytest.approx(solve(problem).value * k, rel=1e-6)


def shuffled(problem: Problem, seed: int) -> Problem:
    """The same problem with candidates, offers and pools in another order under other names."""
    rng = np.random.default_rng(seed)
    pools = rng.permutation(len(problem.pools))
    place = {int(old): new for new, old in enumerate(pools)}
    return replace(
        problem,
        pools=tuple(replace(problem.pools[p], id=f"z{9 - i}") for i, p in enumerate(pools)),
        offers=tuple(
            replace(problem.offers[o], id=f"y{9 - i}", pool=place[problem.offers[o].pool])
            for i, o in enumerate(rng.permutation(len(problem.offers)))
        ),
        candidates=tuple(
            replace(problem.candidates[c], id=i)
            for i, c in enumerate(rng.permutation(len(problem.candidates)))
        ),
    )


@few
@given(seeds)
def test_order_and_names_change_nothing(seed: int) -> None:
    problem = random_problem(seed, classes=2)
    first, second = solve(problem), solve(shuffled(problem, seed))
    assert second.value == first.value
    assert sorted(first.values.values()) == sorted(second.values.values())
    assert first.cost_items == pytest.approx(second.cost_items)


@few
@given(seeds)
def test_twice_the_demand_and_the_limits_is_twice_the_relaxation(seed: int) -> None:
    problem = random_problem(seed)
    pools = tuple(replace(p, reserve=0) for p in problem.pools)
    problem = replace(problem, pools=pools)
    double = replace(
        problem,
        workloads=tuple(replace(w, demand_rps=w.demand_rps * 2) for w in problem.workloads),
        sites=tuple(replace(s, power_limit_kw=s.power_limit_kw * 2) for s in problem.sites),
        offers=tuple(replace(o, supply=o.supply * 2) for o in problem.offers),
    )
    assert relaxation(double) == pytest.approx(2 * relaxation(problem), rel=1e-6)


@few
@given(seeds)
def test_relaxation_below_optimum(seed: int) -> None:
    problem = random_problem(seed)
    assert relaxation(problem) <= solve(problem).value * (1 + 1e-9)


def test_dual_of_power_is_the_slope_of_the_cost() -> None:
    """One box serves 8/s at 100 $ and 1 kW, the API at 200 $ per request/s-year: 1 kW is worth
    8 * 200 - 100 = 1,500 $ in the relaxation."""
    year = 8760 * 3600.0
    base = replace(one_pool([[80.0]]), apis=(ApiData("api", 0, np.array([200.0 / year])),))

    def cost(kw: float) -> float:
        return relaxation(replace(base, sites=(SiteData("s", power_limit_kw=kw),)))

    assert cost(3.0) - cost(4.0) == pytest.approx(1500.0, rel=1e-6)
    model = build(replace(base, sites=(SiteData("s", power_limit_kw=3.0),)))
    set_goal(model, "least_cost")
    run(model.prob, EXACT, mip=False, as_arrays=False)
    dual = model.prob.solverModel.getSolution().row_dual
    power = next(i for i, label in enumerate(model.rows.values()) if isinstance(label, Power))
    assert dual[power] == pytest.approx(-1500.0, rel=1e-6)


def test_a_candidate_enters_when_its_price_falls_by_its_reduced_cost() -> None:
    """Box B at 130 $ does what A does at 100 $: it enters below 100 $ and not before."""
    problem = one_pool([[8.0]])
    for price, chosen in ((130.0, "o"), (100.5, "o"), (99.5, "b")):
        both = replace(
            problem,
            pools=(problem.pools[0], replace(problem.pools[0], id="q", system="other")),
            offers=(
                problem.offers[0],
                OfferData("b", 1, annual_cost_items_usd={"capex": price}),
            ),
            candidates=(problem.candidates[0], candidate(1, 0, "other", 1, [1.0])),
        )
        result = solve(both)
        bought = {both.offers[la.offer].id for la in result.values if isinstance(la, Systems)}
        assert bought == {chosen}
