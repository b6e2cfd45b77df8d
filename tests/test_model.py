"""The model builder: packing is exact, arrays cross unchanged, HiGHS is silent and honest."""

from __future__ import annotations

import math
from dataclasses import replace

import pulp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from problems import candidate, one_pool, random_problem
from reference_mix import _fewest
from tokenfleet.errors import SolverError
from tokenfleet.mix.model import build
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.model.packing import maximal_patterns, split_sizes
from tokenfleet.mix.search.rounding import systems_for
from tokenfleet.mix.solver.highs import SolveOptions, certify, relative_gap, run
from tokenfleet.problem_data import Replicas, Systems
from tokenfleet.verify.places import fewest_systems, place_replicas

EXACT = SolveOptions(gap=0.0)


@pytest.mark.parametrize("mip", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_arrays_and_calls_give_equal_objectives(seed: int, mip: bool) -> None:
    model = build(random_problem(seed, classes=3))
    set_goal(model, "least_cost")
    arrays = run(model.prob, EXACT, mip=mip)
    calls = run(model.prob, EXACT, mip=mip, as_arrays=False)
    assert arrays.value == pytest.approx(calls.value, rel=1e-9)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    model = build(random_problem(1))
    set_goal(model, "least_cost")
    run(model.prob, EXACT)
    assert capfd.readouterr() == ("", "")


def test_every_column_and_row_has_a_label() -> None:
    model = build(random_problem(2, classes=2))
    set_goal(model, "least_cost")
    names = {v.name for v in model.prob.variables()}
    assert names <= {v.name for v in model.columns.values()}
    assert [row.name for row in model.prob.constraints()] == list(model.rows)


def test_whole_columns_are_bounded() -> None:
    for label, column in build(random_problem(3)).columns.items():
        if isinstance(label, (Systems, Replicas)):
            assert column.upBound is not None


@pytest.mark.parametrize("arrays", [True, False])
def test_a_maximum_keeps_its_sign_and_constant(arrays: bool) -> None:
    prob = pulp.LpProblem("max", pulp.LpMaximize)
    x = prob.add_variable("x", 0, None, pulp.LpInteger)
    y = prob.add_variable("y", 0)
    prob += 3 * x + 2 * y + 5
    prob += x + y <= 4.5
    outcome = run(prob, EXACT, as_arrays=arrays)
    assert (outcome.status, outcome.value, outcome.bound) == ("optimal", 18.0, 18.0)


def test_statuses_are_told_apart() -> None:
    prob = pulp.LpProblem("p", pulp.LpMaximize)
    x = prob.add_variable("x", 0, None, pulp.LpInteger)
    prob += 1 * x
    prob += x >= 1
    unbounded = run(prob, EXACT)
    assert unbounded.status == "unbounded"
    assert unbounded.ray == ("x",)
    prob += x <= 0.5
    assert run(prob, EXACT).status == "infeasible"


def test_a_start_is_used_and_a_gap_is_told() -> None:
    model = build(random_problem(5, classes=3))
    set_goal(model, "least_cost")
    best = run(model.prob, EXACT)
    again = run(model.prob, EXACT, start=best.values)
    assert again.value == pytest.approx(best.value)
    assert certify(100.0, 100.0 - 1e-5, 0.0) == "optimal"
    assert certify(100.0, 99.0, 0.01) == "within_gap"
    assert certify(100.0, 98.0, 0.01) == "feasible"
    assert relative_gap(math.nan, 1.0) == math.inf


def test_patterns_are_maximal_and_complete() -> None:
    assert maximal_patterns(8, [3, 5]) == [(1, 1), (2, 0)]
    assert maximal_patterns(12, [4, 6]) == [(0, 2), (1, 1), (3, 0)]
    with pytest.raises(SolverError, match="ways"):
        maximal_patterns(720, [4, 5, 6, 7, 9, 11])


def test_sizes_split_into_rows_and_patterns() -> None:
    assert split_sizes([64, 8, 1]) == ([1, 8, 64], [])
    assert split_sizes([2, 4, 6, 12]) == ([2], [4, 6, 12])
    assert split_sizes([]) == ([], [])


chains = st.lists(st.integers(0, 4), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([8, 12, 20, 72]), chains)
def test_rows_of_a_chain_are_exact(gpus: int, counts: list[int]) -> None:
    sizes = {g: n for g, n in zip((1, 2, 4, 8), counts, strict=True) if g < gpus}
    placed = len(place_replicas(gpus, sizes))
    assert systems_for(gpus, sizes) == placed == fewest_systems(gpus, sizes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_patterns_equal_a_search_over_every_place(counts: list[int]) -> None:
    """Boxes of 10 and replicas of 3, 4 and 5 GPUs."""
    sizes = (5, 4, 3)
    everything = tuple(g for g, n in zip(sizes, counts, strict=True) for _ in range(n))
    exact = _fewest(10, everything)
    assert fewest_systems(10, dict(zip(sizes, counts, strict=True))) == exact
    if not everything:
        return
    base = one_pool([[1.0]], gpus=10)
    workloads = tuple(
        replace(base.workloads[0], id=f"w{g}", demand_rps=base.workloads[0].demand_rps * n)
        for g, n in zip(sizes, counts, strict=True)
    )
    candidates = tuple(candidate(i, i, "box", g, [1.0]) for i, g in enumerate(sizes))
    model = build(replace(base, workloads=workloads, candidates=candidates))
    set_goal(model, "least_cost")
    assert run(model.prob, EXACT).value == pytest.approx(100.0 * exact)
