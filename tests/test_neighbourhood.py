"""A plan improved a few sites at a time: never worse, limits held, and what it takes to leave a bad
plan worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from problems import one_pool
from tokenfleet.mix.model import FleetModel, build
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.search.neighbourhood import improve, whole_columns
from tokenfleet.mix.solver.effort import Deadline, Effort
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import Flow, Problem, Replicas, SiteData, Systems

OPTIONS = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)


def sites(count: int, rps: float) -> Problem:
    """As many sites, each with systems of 4 replicas at 100 $; a replica serves 1 request/s."""
    problem = one_pool([[rps]], gpus=4, usd=100.0)
    return replace(
        problem,
        sites=tuple(SiteData(f"s{i}") for i in range(count)),
        pools=tuple(replace(problem.pools[0], id=f"p{i}", site=i) for i in range(count)),
        offers=tuple(replace(problem.offers[0], id=f"o{i}", pool=i) for i in range(count)),
        candidates=(replace(problem.candidates[0], sites=tuple(range(count))),),
    )


def model(problem: Problem) -> FleetModel:
    m = build(problem)
    set_goal(m, "least_cost")
    return m


def spread_out(m: FleetModel, rps: float) -> Incumbent:
    """The same part of the demand at every site, in a system of its own."""
    each = rps / len(m.problem.sites)
    value = {Systems: 1.0, Replicas: 1.0, Flow: each}
    best = Incumbent(m, 0.0, run(m.prob, OPTIONS, mip=False).value)
    best.offer_plan({v.name: value[type(label)] for label, v in m.columns.items()})
    return best


def test_sites_that_hold_little_are_emptied() -> None:
    """Eight sites with 0.45 requests/s in a system each, 800 $: 3.6 fit one system, 100 $."""
    m = model(sites(8, 3.6))
    best = spread_out(m, 3.6)
    assert best.value == pytest.approx(800.0)
    improve(m, Effort.of(OPTIONS), best)
    assert best.value == pytest.approx(100.0)


def test_bounds_are_as_they_were() -> None:
    m = model(sites(9, 3.0))
    before = [(v.lowBound, v.upBound) for v in m.columns.values()]
    best = spread_out(m, 3.0)
    improve(m, Effort.of(OPTIONS), best)
    assert [(v.lowBound, v.upBound) for v in m.columns.values()] == before
    assert run(m.prob, OPTIONS).value == pytest.approx(best.value)


def test_with_few_sites_nothing_is_tried() -> None:
    m = model(sites(7, 1.2))
    best = spread_out(m, 1.2)
    improve(m, Effort.of(OPTIONS), best)
    assert best.value == pytest.approx(700.0)


def test_no_time_leaves_the_plan() -> None:
    m = model(sites(8, 3.6))
    best = spread_out(m, 3.6)
    improve(m, Effort(OPTIONS, Deadline(0.0)), best)
    assert best.value == pytest.approx(800.0)


def test_whole_columns_stand_by_site() -> None:
    m = model(sites(3, 3.0))
    assert {s: len(columns) for s, columns in whole_columns(m).items()} == {0: 2, 1: 2, 2: 2}
