"""Columns generated a part at a time: the bound and the plan of the whole model."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import highspy
import pytest

from problems import priced_by_block, random_problem, with_own_mixes
from reference_mix import scip_cost
from tokenfleet.mix.generate import generation
from tokenfleet.mix.generate.master import Master
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.generated import may_improve, restricted
from tokenfleet.mix.model import build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.index import Slack
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import ObjectiveKind, Problem
from tokenfleet.verify.mix import verify_mix

EXACT = SolveOptions(gap=0.0, time_limit_s=30.0)
KINDS: tuple[ObjectiveKind, ...] = ("least_cost", "least_energy", "least_carbon")


def of_kind(seed: int, kind: ObjectiveKind) -> Problem:
    """A random problem that generation applies to; every other one has prices by block."""
    problem = random_problem(seed, classes=3, sizes=(2, 3, 4, 8))
    problem = priced_by_block(problem, seed) if seed % 2 else problem
    pools = tuple(
        replace(p, reserve=0, carbon_kg_per_kwh_it=0.1 + 0.05 * i)
        for i, p in enumerate(problem.pools)
    )
    candidates = tuple(c for c in problem.candidates if c.role == "serve")
    kept = replace(problem.objective, kind=kind, annual_budget_usd=None)
    return replace(problem, pools=pools, candidates=candidates, relayout=False, objective=kept)


@pytest.mark.parametrize("seed", range(6))
def test_candidates_with_a_mix_are_priced_as_a_whole(seed: int) -> None:
    """The bound is that of the whole model, whose flows are held to the mix by rows."""
    problem = with_own_mixes(of_kind(seed, "least_cost"), seed)
    whole = build(problem)
    objective.set_goal(whole)
    relaxed = run(whole.prob, EXACT, mip=False).value
    found = generation.generate(Pairs.of(problem), Effort.of(EXACT))
    assert found.bound == pytest.approx(relaxed, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_a_part_has_the_pairs_of_its_candidates_and_the_whole_keeps_its_own(seed: int) -> None:
    whole = Pairs.of(of_kind(seed, "least_cost"))
    rows = list(zip(whole.pool.tolist(), whole.candidate.tolist(), strict=True))
    one = whole.problem.pools[rows[0][0]].system
    able = {
        p: found if whole.problem.pools[p].system == one else []
        for p, found in whole.frame.able.items()
    }
    part = whole.within(able)
    kept = list(zip(part.pool.tolist(), part.candidate.tolist(), strict=True))
    assert kept == [row for row in rows if whole.problem.pools[row[0]].system == one]
    assert list(zip(whole.pool.tolist(), whole.candidate.tolist(), strict=True)) == rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_the_bound_is_the_relaxation_of_the_whole_model(seed: int, kind: ObjectiveKind) -> None:
    problem = of_kind(seed, kind)
    assert generation.applies(problem)
    whole = build(problem)
    objective.set_goal(whole, kind)
    relaxed = run(whole.prob, EXACT, mip=False).value
    found = generation.generate(Pairs.of(problem), Effort.of(EXACT))
    assert found.served and not found.infeasible
    assert found.bound == pytest.approx(relaxed, rel=1e-6)
    assert found.bound <= relaxed * (1.0 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_reduced_costs_are_those_of_the_whole_model(seed: int) -> None:
    """With every pair built, no pair prices below zero and every pair in use prices at zero."""
    pairs = Pairs.of(of_kind(seed, "least_cost"))
    master = Master(pairs, EXACT)
    prices = master.objective_prices()
    master.use(prices)
    master.add(pairs.in_nodes(range(len(pairs))))
    answer = master.solve(30.0)
    (reduced,) = pairs.reduced_costs(master.duals(answer), prices.kwh)
    scale = answer.value
    assert (reduced >= -1e-6 * scale).all()
    used = pairs.rows_of(master.used(answer))
    assert len(used) and (reduced[used] <= 1e-6 * scale).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_the_arrays_are_the_pulp_model(seed: int, kind: ObjectiveKind) -> None:
    """Pairs added in two lots make the matrix, costs and rows of the model built with them."""
    pairs = Pairs.of(of_kind(seed, kind))
    master = Master(pairs, EXACT)
    first = master.lp.columns
    master.use(master.objective_prices())
    chosen = list(range(0, len(pairs), 2))
    master.add(pairs.in_nodes(chosen[1:]))
    master.add(pairs.in_nodes(chosen[:1]))
    model = build(
        pairs.problem,
        relax=frozenset({"demand"}),
        pairs=pairs.named(chosen),
        pools=pairs.pool.tolist(),
        frame=pairs.frame,
    )
    objective.set_goal(model, kind)
    costs = {v.name: a for v, a in model.prob.objective.items()}
    label_of = {v.name: label for label, v in model.columns.items()}
    wanted = {
        (model.rows[row.name], label_of[v.name]): float(a)
        for row in model.prob.constraints()
        for v, a in row.items()
    }
    right = {model.rows[row.name]: -float(row.constant) for row in model.prob.constraints()}
    lp = master.lp._solver.getLp()
    columns = {**{i: la for la, i in master.base.items()}, **dict(enumerate(master.labels, first))}
    rows = {i: label for label, i in master.rows.items()}
    assert {repr(la) for la in columns.values()} == {repr(la) for la in model.columns}
    entries, upper = entries_of(lp)
    assert {(rows[r], columns[c]): a for (r, c), a in entries.items()} == pytest.approx(wanted)
    assert {rows[i]: u for i, u in enumerate(upper)} == pytest.approx(right)
    for i, cost in enumerate(master.lp.costs().tolist()):
        if not isinstance(columns[i], Slack):
            assert cost == pytest.approx(costs.get(model.columns[columns[i]].name, 0.0), rel=1e-12)


def entries_of(lp: Any) -> tuple[dict[tuple[int, int], float], list[float]]:
    """Matrix by (row, column), and upper bounds of the rows."""
    matrix = lp.a_matrix_
    by_column = matrix.format_ == highspy.MatrixFormat.kColwise
    found = {}
    for line, (low, high) in enumerate(itertools.pairwise(matrix.start_)):
        for i in range(low, high):
            other = int(matrix.index_[i])
            found[(other, line) if by_column else (line, other)] = float(matrix.value_[i])
    return found, list(lp.row_upper_)


@pytest.mark.parametrize("seed", range(8))
def test_bound_optimum_plan(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound <= exact optimum (SCIP) <= the plan found among the generated columns."""
    problem = of_kind(seed, "least_cost")
    monkeypatch.setattr(generation, "LARGE", 0)
    monkeypatch.setattr(generation, "GENERATED", 0)
    result = solve_mix(problem, EXACT)
    assert verify_mix(result.problem, result.values, result.cost_items, result.value) == []
    exact = scip_cost(problem)
    assert result.bound <= exact * (1.0 + 1e-6)
    assert exact <= result.value * (1.0 + 1e-6)
    assert result.status in ("optimal", "within_gap", "feasible", "feasible_time_limit")


@pytest.mark.parametrize("seed", range(12))
def test_a_problem_that_could_be_built_whole_is_proven(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the generated pairs leave a gap, all that a better plan may use are built: the optimum
    of SCIP, proven."""
    problem = of_kind(seed, "least_cost")
    monkeypatch.setattr(generation, "GENERATED", 0)
    monkeypatch.setattr(generation, "_NEAR", 0.0)  # nothing beside what the relaxation uses
    result = solve_mix(problem, EXACT)
    exact = scip_cost(problem)
    assert result.value == pytest.approx(exact, rel=1e-6)
    assert result.bound == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_pairs_left_out_are_in_no_better_plan(seed: int) -> None:
    """Without them the optimum stays, for any value that is no better than it."""
    problem = of_kind(seed, "least_cost")
    pairs = Pairs.of(problem)
    found = generation.generate(pairs, Effort.of(EXACT))
    exact = scip_cost(problem)
    kept = may_improve(pairs, found, exact * (1.0 + 1e-9))
    m = restricted(problem, pairs.frame, kept)
    assert run(m.prob, EXACT).value == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_best_single_type_is_that_of_the_whole_model(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = of_kind(seed, "least_cost")
    whole = solve_mix(problem, EXACT).best_single
    monkeypatch.setattr(generation, "GENERATED", 0)
    found = solve_mix(problem, EXACT).best_single
    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        assert found.bound <= whole.value * (1.0 + 1e-6)
        assert whole.bound <= found.value * (1.0 + 1e-6)


def test_what_it_cannot_do_goes_the_whole_way() -> None:
    problem = of_kind(0, "least_cost")
    assert not generation.applies(replace(problem, relayout=True))
    assert not generation.applies(
        replace(problem, objective=replace(problem.objective, annual_budget_usd=1e9))
    )
    assert not generation.applies(
        replace(problem, pools=tuple(replace(p, reserve=1) for p in problem.pools))
    )


def test_a_large_problem_in_which_nothing_may_run_goes_to_its_apis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Spot systems alone, and no workload that may be interrupted: there is no pair at all."""
    monkeypatch.setattr(generation, "GENERATED", 0)
    problem = of_kind(1, "least_cost")
    spot = replace(problem, pools=tuple(replace(p, interruptible=True) for p in problem.pools))
    assert len(Pairs.of(spot)) == 0
    mix = solve_mix(spot, EXACT)
    assert set(mix.cost_items) == {"api_tokens"}
    assert mix.annual_cost_usd == pytest.approx(mix.bound)
