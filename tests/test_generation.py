"""Columns generated a part at a time: the bound and the plan of the whole model."""

from __future__ import annotations

from dataclasses import replace

import pytest

from problems import random_problem
from reference_mix import scip_cost
from tokenfleet.mix import generation
from tokenfleet.mix.highs import SolveOptions, run
from tokenfleet.mix.model import build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.solve import solve_mix
from tokenfleet.problem_data import ObjectiveKind, Problem
from tokenfleet.verify import verify_mix

EXACT = SolveOptions(gap=0.0, time_limit_s=30.0)
SETTERS = {
    "least_cost": objective.least_cost,
    "least_energy": objective.least_energy,
    "least_carbon": objective.least_carbon,
}


def of_kind(seed: int, kind: ObjectiveKind) -> Problem:
    problem = random_problem(seed, classes=3, sizes=(2, 3, 4, 8))
    pools = tuple(
        replace(p, reserve=0, carbon_kg_per_kwh_it=0.1 + 0.05 * i)
        for i, p in enumerate(problem.pools)
    )
    candidates = tuple(c for c in problem.candidates if c.role == "serve")
    kept = replace(problem.objective, kind=kind, annual_budget_usd=None)
    return replace(problem, pools=pools, candidates=candidates, relayout=False, objective=kept)


@pytest.mark.parametrize("kind", list(SETTERS))
@pytest.mark.parametrize("seed", range(12))
def test_the_bound_is_the_relaxation_of_the_whole_model(seed: int, kind: ObjectiveKind) -> None:
    problem = of_kind(seed, kind)
    assert generation.applies(problem)
    whole = build(problem)
    SETTERS[kind](whole)
    relaxed = run(whole.prob, EXACT, mip=False).value
    found = generation.generate(problem, EXACT)
    assert found is not None
    assert found.bound == pytest.approx(relaxed, rel=1e-6)
    assert found.bound <= relaxed * (1.0 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_reduced_costs_are_those_of_the_whole_model(seed: int) -> None:
    """With every pair built, no pair prices below zero and every pair in use prices at zero."""
    problem = of_kind(seed, "least_cost")
    pricing = generation._Pricing(problem)
    every = frozenset(pricing.index)
    m, outcome = generation._relaxation(problem, every, pricing, EXACT)
    reduced = pricing.reduced_costs(m, outcome)
    scale = outcome.value
    assert (reduced >= -1e-6 * scale).all()
    for label, v in m.columns.items():
        if label[0] == "n" and outcome.values[v.name] > 1e-6:
            assert reduced[pricing.index[label[2], label[3]]] <= 1e-6 * scale


@pytest.mark.parametrize("seed", range(8))
def test_bound_optimum_plan(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound <= exact optimum (SCIP) <= the plan found among the generated columns."""
    problem = of_kind(seed, "least_cost")
    monkeypatch.setattr("tokenfleet.mix.generation.LARGE", 0)
    result = solve_mix(problem, EXACT)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []
    exact = scip_cost(problem)
    assert result.bound <= exact * (1.0 + 1e-6)
    assert exact <= result.value * (1.0 + 1e-6)
    assert result.status in ("optimal", "within_gap", "feasible_time_limit")


def test_what_it_cannot_do_goes_the_whole_way() -> None:
    problem = of_kind(0, "least_cost")
    assert not generation.applies(replace(problem, relayout=True))
    assert not generation.applies(
        replace(problem, objective=replace(problem.objective, annual_budget_usd=1e9))
    )
    assert not generation.applies(
        replace(problem, pools=tuple(replace(p, reserve=1) for p in problem.pools))
    )
