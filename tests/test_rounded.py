"""Rows that whole replicas imply: broken by parts of replicas, and never by whole ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from problems import one_pool, random_problem
from reference_mix import scip_cost
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.problem_data import FloatArray
from tokenfleet.verify.bound import Prices
from tokenfleet.verify.rounded import Rounding, with_rows
from tokenfleet.verify.second import Formulation, formulate


def test_half_a_replica_serves_no_more_than_a_whole_one_must() -> None:
    """Replicas serve one request/s each, and 3.5 are asked for. D = 3.5, K = 4 and r = 1/2:
    f - n / 2 <= 1.5, which 3.5 replicas break by 1/4 and 4 keep."""
    form = formulate(one_pool([[3.5]]), 0.0)
    rounding = Rounding(form)
    flow, replicas = int(np.flatnonzero(form.flow)[0]), int(rounding.replicas.max())
    plan = np.zeros(len(form.up))
    plan[flow], plan[replicas] = 3.5, 3.5
    new = rounding.broken(plan)
    assert new.columns.tolist() == [flow, replicas]
    assert new.values == pytest.approx([1.0, -0.5])
    assert new.up == pytest.approx([1.5])
    plan[replicas] = 4.0
    assert not len(rounding.broken(plan).up)


@pytest.mark.parametrize("seed", range(20))
def test_no_whole_plan_breaks_a_row(seed: int) -> None:
    """Rows of random parts of replicas hold for random flows in as many replicas as those take, and
    in one more."""
    rng = np.random.default_rng(seed)
    form = formulate(random_problem(seed, classes=3, peak_rps=40.0), 0.0)
    rounding = Rounding(form)
    parts = np.where(form.flow & (rng.random(len(form.up)) < 0.5), form.up, 0.0)
    load = np.bincount(rounding.rows, rounding.loads * parts[rounding.columns], rounding.count)
    loaded = rounding.replicas >= 0
    np.maximum.at(parts, rounding.replicas[loaded], load[loaded])
    new = rounding.broken(parts)
    assert len(new.up)
    for _ in range(200):
        plan = whole(form, rounding, rng)
        left = np.bincount(new.rows, new.values * plan[new.columns], len(new.up))
        assert (left <= new.up + 1e-9).all()


def whole(form: Formulation, rounding: Rounding, rng: np.random.Generator) -> FloatArray:
    """Random flows, many of them nothing or all that there is, and replicas that hold them."""
    share = np.clip(rng.uniform(-0.5, 1.5, len(form.up)), 0.0, 1.0)
    plan = np.where(form.flow, share * form.up, 0.0)
    load = np.bincount(rounding.rows, rounding.loads * plan[rounding.columns], rounding.count)
    for row in np.flatnonzero(rounding.replicas >= 0):
        n = rounding.replicas[row]
        plan[n] = max(plan[n], math.ceil(load[row] - 1e-12) + int(rng.integers(2)))
    return plan


@pytest.mark.parametrize("seed", range(12))
def test_prices_of_the_rows_stay_below_the_least_cost(seed: int) -> None:
    problem = random_problem(seed, classes=2)
    least = scip_cost(problem)
    form = formulate(problem, 0.0)
    prices = Prices(form, frozenset(form.pairs), Deadline(20.0))
    cost = form.figures["cost"]
    plain = prices.least(cost, form.contracted_usd, math.inf).bound
    rounded = prices.rounded(cost, form.contracted_usd, least, Deadline(20.0)).bound
    assert plain <= rounded <= least * (1.0 + 1e-6)
    again = Prices(
        with_rows(form, Rounding(form).broken(form.up / 3.0)), frozenset(), Deadline(20.0)
    )
    assert again.least(cost, form.contracted_usd, math.inf).bound <= least * (1.0 + 1e-6)
