"""Residual capacity cuts against a hand-made case and against every whole plan of small ones;
probing against a search of the whole model."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from problems import candidate, one_pool, random_problem
from test_solve import solve
from tokenfleet.mix.model import FleetModel, Label, build
from tokenfleet.mix.model.index import ReplicaCut
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.search import stages
from tokenfleet.mix.search.cuts import Cut, Cuts
from tokenfleet.mix.search.relaxation import probe, tighten
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import Flow, Problem, Replicas, Systems

EXACT = SolveOptions(gap=0.0, time_limit_s=20.0, threads=1)


def model(problem: Problem) -> FleetModel:
    m = build(problem)
    set_goal(m, "least_cost")
    return m


def relaxed(m: FleetModel) -> float:
    return run(m.prob, EXACT, mip=False).value


def tightened(m: FleetModel) -> FleetModel:
    tighten(m, Effort.of(EXACT))
    return m


def test_half_a_replica_s_load_takes_a_whole_replica() -> None:
    """A load of 2.5 replicas, one GPU each, at 100 $: 250 $ by the relaxation, 300 $ by a plan."""
    m = model(one_pool([[2.5]], gpus=1, usd=100.0))
    assert relaxed(m) == pytest.approx(250.0)
    assert relaxed(tightened(m)) == pytest.approx(300.0)


def test_replicas_of_two_workloads_share_a_system() -> None:
    """Two workloads that load a quarter of a system of 4 GPUs each: one system, not half of one.

    Each replica of one GPU is half full. What replicas imply is 2 of 4 GPUs, 50 $; that a system
    is whole says 100 $.
    """
    problem = one_pool([[0.5, 0.5]], gpus=4, usd=100.0)
    problem = replace(problem, candidates=(candidate(0, 0, "box", 1, [1.0, 1.0]),))
    m = model(problem)
    assert relaxed(m) == pytest.approx(25.0)
    assert relaxed(tightened(m)) == pytest.approx(100.0)


def test_the_cut_of_a_set_worked_by_hand() -> None:
    """Classes that fill 0.6 and 0.9 replicas at n = 1.3 with the first served whole, the second to
    7/9: F/u = 1 and 0.78, both above 0.3. D = 1.5, K = 2, r = 0.5:
    0.6 F1/u1 + ... - 0.5 n <= 0.5 (K - 1) = 0.5, and 1.3 - 0.65 = 0.65 breaks it."""
    m, cuts = _of_two_classes()
    values = _values(m, flows=(0.6, 0.7), replicas=1.3)
    (cut,) = (c for c in cuts.broken(values) if isinstance(c.row, ReplicaCut))
    assert cut.upper == pytest.approx(0.5)
    assert _left(cut, values) == pytest.approx(0.65)
    assert not cuts.broken(_values(m, flows=(0.6, 0.4), replicas=2.0))


def _of_two_classes() -> tuple[FleetModel, Cuts]:
    problem = one_pool([[0.6, 0.9]], gpus=2, usd=100.0)
    m = model(replace(problem, candidates=(candidate(0, 0, "box", 1, [1.0, 1.0]),)))
    return m, Cuts(m, {v.name: i for i, v in enumerate(m.columns.values())})


def _values(m: FleetModel, flows: tuple[float, float], replicas: float) -> np.ndarray:
    """Values in the order of the columns, with as many systems as there is no question of."""
    known = {
        Replicas: lambda label: replicas,
        Systems: lambda label: 9.0,
        Flow: lambda label: flows[label.cls],
    }
    return np.array([known[type(label)](label) for label in m.columns])


def _left(cut: Cut, values: np.ndarray) -> float:
    return float(cut.coefficients @ values[cut.columns])


@pytest.mark.parametrize("seed", range(12))
def test_no_whole_plan_breaks_a_cut(seed: int) -> None:
    """Cuts found at random values, against every number of replicas with random loads below it."""
    draw = random.Random(seed)
    loads = [draw.uniform(0.1, 1.5) for _ in range(3)]
    demand = [draw.uniform(0.2, 2.0) for _ in range(3)]
    problem = one_pool([demand], gpus=2, usd=100.0)
    m = model(replace(problem, candidates=(candidate(0, 0, "box", 1, loads),)))
    cuts = Cuts(m, {v.name: i for i, v in enumerate(m.columns.values())})
    labels = list(m.columns)
    found: list[Cut] = []
    for _ in range(200):
        served = [d * draw.choice([0.0, draw.random(), 1.0]) for d in demand]
        n = sum(a * f for a, f in zip(loads, served, strict=True))
        found += cuts.broken(_at(labels, served, n, n / 2.0))
    assert found
    for parts in itertools.product((0.0, 0.3, 0.7, 1.0), repeat=3):
        served = [d * part for d, part in zip(demand, parts, strict=True)]
        least = int(np.ceil(sum(a * f for a, f in zip(loads, served, strict=True)) - 1e-12))
        for n in range(least, least + 3):
            values = _at(labels, served, n, np.ceil(n / 2.0))
            assert all(_left(cut, values) <= cut.upper + 1e-9 for cut in found)


def _at(labels: list[Label], served: list[float], n: float, x: float) -> np.ndarray:
    value = {Replicas: lambda _: n, Systems: lambda _: x, Flow: lambda label: served[label.cls]}
    return np.array([value[type(label)](label) for label in labels])


@pytest.mark.parametrize("seed", range(100, 112))
def test_tightened_models_keep_their_optimum(seed: int) -> None:
    problem = random_problem(seed, classes=2, sizes=(2, 3, 4, 8))
    m = model(problem)
    loose = relaxed(m)
    least = solve(problem).value
    assert loose - 1e-6 <= relaxed(tightened(m)) <= least * (1.0 + 1e-6)
    assert run(m.prob, EXACT).value == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize("seed", range(100, 112))
def test_probing_loses_no_better_plan(seed: int) -> None:
    """Just above the optimum, the optimum stays among what is kept."""
    problem = random_problem(seed, classes=2, sizes=(2, 3, 4, 8))
    least = solve(problem).value
    m = model(problem)
    pairs = {(p, c) for p, candidates in m.eligible.items() for c in candidates}
    kept = probe(m, Effort.of(EXACT), pairs, least * 1.001)
    with stages.only(m, kept):
        assert run(m.prob, EXACT).value == pytest.approx(least, rel=1e-6)
    assert kept <= pairs


def test_probing_leaves_out_what_costs_too_much() -> None:
    """Three boxes cost 300 $. One of the dear kind serves 2 of 2.5 requests/s at 260 $.

    The relaxation then takes half a box, 310 $ in all.
    """
    problem = one_pool([[2.5]], gpus=1, usd=100.0)
    dear = replace(problem.pools[0], id="dear", system="dear")
    offer = replace(problem.offers[0], id="dear", pool=1, annual_cost_items_usd={"capex": 260.0})
    problem = replace(
        problem,
        pools=(*problem.pools, dear),
        offers=(*problem.offers, offer),
        candidates=(*problem.candidates, candidate(1, 0, "dear", 1, [0.5])),
    )
    m = model(problem)
    assert probe(m, Effort.of(EXACT), {(0, 0), (1, 1)}, 305.0) == {(0, 0)}
    assert probe(m, Effort.of(EXACT), {(0, 0), (1, 1)}, 315.0) == {(0, 0), (1, 1)}
