"""Large problems: proven infeasible, out of time, interrupted; on small instances, by events."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from interrupts import strikes
from problems import candidate, one_pool, random_problem, workload
from reference_mix import scip_cost
from tokenfleet.errors import InfeasibleError
from tokenfleet.mix import generated, solve
from tokenfleet.mix.generate import generation
from tokenfleet.mix.generate.master import Master
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.result import MixResult, Tightening
from tokenfleet.mix.search import rounding
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.solve import NoPlanError, NotInPartError, solve_mix
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.mix.why.infeasible import explain_infeasible
from tokenfleet.mix.why.infeasible_large import explain_large
from tokenfleet.problem_data import OfferData, Pool, Problem, SiteData, Systems
from tokenfleet.verify.mix import verify_mix

EXACT = SolveOptions(gap=0.0, time_limit_s=30.0)


@pytest.fixture(autouse=True)
def every_problem_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "LARGE", 0)
    monkeypatch.setattr(generation, "GENERATED", 0)


def hard(seed: int, times: float) -> Problem:
    """Without an API to fall back on, and so many times the demand."""
    drawn = random_problem(seed, classes=2, sizes=(1, 2, 4, 8))
    return replace(
        drawn,
        apis=(),
        relayout=False,
        pools=tuple(replace(p, reserve=0) for p in drawn.pools),
        candidates=tuple(c for c in drawn.candidates if c.role == "serve"),
        workloads=tuple(replace(w, demand_rps=w.demand_rps * times) for w in drawn.workloads),
        objective=replace(drawn.objective, annual_budget_usd=None),
    )


def relaxed_status(problem: Problem) -> str:
    model = build(problem)
    objective.set_goal(model, "least_cost")
    return run(model.prob, EXACT, mip=False).status


# --- no plan exists -------------------------------------------------------------------------------


def test_infeasible_is_claimed_exactly_when_the_whole_relaxation_is() -> None:
    seen = set()
    for seed in range(25):
        for times in (0.5, 2.0, 8.0):
            problem = hard(seed, times)
            found = generation.generate(Pairs.of(problem), Effort.of(EXACT))
            wanted = relaxed_status(problem)
            assert found.infeasible == (wanted == "infeasible"), (seed, times)
            assert found.served == (wanted == "optimal"), (seed, times)
            seen.add(wanted)
    assert seen == {"infeasible", "optimal"}


def test_the_planted_conflict_is_named_with_its_amount() -> None:
    """Ten replicas of one accelerator need 1.25 systems of 8; the site has power for one."""
    base = one_pool([[10.0]])
    problem = replace(base, sites=(SiteData("hall", power_limit_kw=1.0),))
    with pytest.raises(InfeasibleError) as caught:
        solve_mix(problem, EXACT)
    power = [text for text in caught.value.conflicts if "hall" in text]
    assert power == ["site hall: power short by 0.25 kW (limit 1 kW, IT)"]
    demand = [text for text in caught.value.conflicts if "cannot be served" in text]
    assert demand == ["workload w, class k0: 2 of 10 requests/s cannot be served"]


def test_two_limits_that_must_both_give_way_are_named_together() -> None:
    base = one_pool([[24.0]])
    problem = replace(
        base,
        sites=(SiteData("hall", power_limit_kw=1.0),),
        offers=tuple(replace(o, supply=2.0) for o in base.offers),
        workloads=(replace(base.workloads[0], demand_rps=np.array([[24.0]])),),
    )
    with pytest.raises(InfeasibleError) as caught:
        solve_mix(problem, EXACT)
    assert caught.value.conflicts == ("workload w, class k0: 16 of 24 requests/s cannot be served",)


@pytest.mark.parametrize("seed", range(10))
def test_the_repairs_are_those_of_the_whole_relaxation(seed: int) -> None:
    """The same families cure it as in the model built whole; whole systems may need more."""
    problem = hard(seed, 8.0)
    if relaxed_status(problem) != "infeasible":
        return
    found = explain_large(Pairs.of(problem), (), Effort.of(EXACT)).conflicts
    exact = explain_infeasible(problem).conflicts
    for word in ("power short", "supply short", "cannot be served"):
        by_relaxation = any(word in text for text in found)
        assert by_relaxation or not any(word in text for text in exact)
    assert any("cannot be served" in text for text in found)


# --- the price of unmet demand was too low --------------------------------------------------------


def test_a_low_price_of_unmet_demand_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenfleet.mix.generate.master._UNMET", 1e-3)
    for seed in range(6):
        problem = hard(seed, 0.5)
        if relaxed_status(problem) != "optimal":
            continue
        model = build(problem)
        objective.set_goal(model, "least_cost")
        relaxed = run(model.prob, EXACT, mip=False).value
        found = generation.generate(Pairs.of(problem), Effort.of(EXACT))
        assert found.served
        assert found.bound == pytest.approx(relaxed, rel=1e-6)


# --- out of time ----------------------------------------------------------------------------------


def test_out_of_time_there_is_a_plan_and_no_proof() -> None:
    """The limit cuts what improves a plan, never the first one."""
    result = solve_mix(hard(1, 0.5), replace(EXACT, time_limit_s=1e-9))
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []
    assert result.status == "feasible_time_limit"


def test_no_whole_plan_in_the_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relaxation is met, but neither rounding nor the search comes to a plan."""
    found = Found("error", math.nan, 1.0, {})
    monkeypatch.setattr(generated, "search", lambda *_, **__: found)
    with pytest.raises(NoPlanError):
        solve_mix(one_pool([[3.0]]), EXACT)


def one_rack(third: bool) -> Problem:
    """Boxes a and b hold 8 requests/s of their own workload at 1 $ a year; 4 of each are asked, and
    one rack is there, so that the relaxation takes half a box of each. c does both, at 100 $."""
    systems = ("a", "b", "c")[: 3 if third else 2]
    serves = [(0, "a"), (1, "b"), (0, "c"), (1, "c")]
    return replace(
        one_pool([[4.0]]),
        workloads=(workload("v", [[4.0]]), workload("w", [[4.0]])),
        sites=(SiteData("s", rack_limit=1.0),),
        pools=tuple(Pool(s, 0, s, 8, 1.0, 0.0, systems_per_rack=1.0) for s in systems),
        offers=tuple(
            OfferData(s, p, annual_cost_items_usd={"capex": 100.0 if s == "c" else 1.0})
            for p, s in enumerate(systems)
        ),
        candidates=tuple(
            candidate(c, w, s, 1, [1.0]) for c, (w, s) in enumerate(serves) if s in systems
        ),
    )


def test_pairs_that_the_relaxation_has_no_use_for_are_built_where_whole_systems_need_them() -> None:
    problem = one_rack(third=True)
    found = generation.generate(Pairs.of(problem), Effort.of(EXACT))
    assert found.served and {p for p, _ in found.pairs} == {0, 1}
    result = solve_mix(problem, EXACT)
    assert result.value == pytest.approx(100.0)
    assert result.bound == pytest.approx(1.0)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


def test_a_part_without_a_whole_plan_is_not_out_of_time() -> None:
    """Two boxes and one rack: no plan, though half a box of each would do."""
    with pytest.raises(NotInPartError, match="hold no plan in whole systems") as caught:
        solve_mix(one_rack(third=False), EXACT)
    assert "time" not in str(caught.value)
    assert "2 pairs" in caught.value.message


def test_rounds_share_one_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round takes all it is given, re-checks take their own time, and the sum is the limit."""
    now = [0.0]
    limits: list[float] = []
    real = solve._solve_once(one_pool([[1.0]]), EXACT, False)

    def spends(problem: Problem, options: SolveOptions, *_: object) -> MixResult:
        limits.append(options.time_limit_s)
        now[0] += options.time_limit_s
        return replace(real, problem=problem)

    def recheck(_: MixResult) -> list[Tightening]:
        now[0] += 1000.0
        return [Tightening(0, 1.01)]

    monkeypatch.setattr(solve, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(solve, "_solve_once", spends)
    result = solve_mix(one_pool([[1.0]]), replace(EXACT, time_limit_s=100.0), recheck)
    assert result.rounds == len(limits) == 4
    assert sum(limits) == pytest.approx(100.0)
    assert limits[0] >= 50.0


def test_a_round_without_a_plan_leaves_the_plan_before(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = solve._solve_once, []

    def once(*arguments: Any) -> MixResult:
        calls.append(arguments)
        if len(calls) > 1:
            raise solve.no_plan()
        return real(*arguments)

    monkeypatch.setattr(solve, "_solve_once", once)
    result = solve_mix(one_pool([[1.0]]), EXACT, lambda _: [Tightening(0, 1.01)])
    assert result.values and result.rounds == 1
    assert "still fail" in result.warnings[-1]


# --- Ctrl-C ---------------------------------------------------------------------------------------


def two_rounds() -> Problem:
    """Five accelerators of eight do most for an accelerator, but waste three: the pair built first
    is not the one to use."""
    return replace(
        one_pool([[30.0]]),
        candidates=(candidate(0, 0, "box", 1, [1.0]), candidate(1, 0, "box", 5, [0.15])),
    )


@pytest.mark.parametrize("target", ["generate.generation.Pairs.reduced_costs", "generated.build"])
def test_ctrl_c_in_the_relaxation_returns_a_plan(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a later round of generation, or while the model of the plan is built."""
    problem = two_rounds()
    where = f"tokenfleet.mix.{target}"
    owner = generation.Pairs if "Pairs" in target else generated
    name = target.rsplit(".", 1)[1]
    monkeypatch.setattr(where, strikes(getattr(owner, name), 2 if "Pairs" in target else 1))
    result = solve_mix(problem, EXACT)
    assert result.interrupted
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []
    exact = scip_cost(problem)
    assert result.bound <= exact * (1.0 + 1e-6) <= result.value * (1.0 + 2e-6)


def test_ctrl_c_before_demand_is_met_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Master, "solve", strikes(Master.solve, 1))
    with pytest.raises(KeyboardInterrupt):
        solve_mix(two_rounds(), EXACT)


def test_ctrl_c_while_more_is_proven_keeps_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pairs that a better plan may use are searched, and that search is stopped."""
    monkeypatch.setattr(generation, "LARGE", 20_000)
    monkeypatch.setattr(generation, "_NEAR", 0.0)
    monkeypatch.setattr(generated, "search", strikes(generated.search, 2))
    result = solve_mix(two_rounds(), EXACT)
    assert result.interrupted
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []


def test_a_second_ctrl_c_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "search", strikes(generated.search, 1))
    monkeypatch.setattr(generated, "first_plan", strikes(generated.first_plan, 1))
    with pytest.raises(KeyboardInterrupt):
        solve_mix(two_rounds(), EXACT)


# --- rounding under a limit that binds ------------------------------------------------------------


def test_rounding_lowers_by_less_where_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work for 4.994 systems rounds up to 6 where 5.02 have power. Taking the excess off asks for
    1.05 systems in the other site, which has power for one; half of it asks for 0.51."""
    base = one_pool([[20.05, 19.9]])
    alone = [candidate(0, 0, "box", 1, [1.0, math.inf]), candidate(1, 0, "box", 1, [math.inf, 1.0])]
    problem = replace(
        base,
        sites=(SiteData("cheap", power_limit_kw=5.02), SiteData("dear", power_limit_kw=1.0)),
        pools=(*base.pools, replace(base.pools[0], id="q", site=1)),
        offers=(
            *base.offers,
            replace(base.offers[0], id="dear", pool=1, annual_cost_items_usd={"capex": 150.0}),
        ),
        candidates=tuple(replace(c, sites=(0, 1)) for c in alone),
    )
    model = build(problem)
    objective.set_goal(model, "least_cost")
    relaxed = run(model.prob, EXACT, mip=False)
    plan = rounding.round_up(model, relaxed, Effort.of(EXACT))
    assert plan is not None
    systems = {la.offer: plan[v.name] for la, v in model.of(Systems).items()}
    assert systems == {0: 5.0, 1: 1.0}
    monkeypatch.setattr(rounding, "HALVINGS", 1)
    assert rounding.round_up(model, relaxed, Effort.of(EXACT)) is None
