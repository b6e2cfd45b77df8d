"""Capacities that hold for every mix of request classes."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core_spec as cs
from core_problem import Json, everything, problem, searched
from tokenfleet import _core


def class_loads(p: _core.Space, number: int, members: list[int], classes: int) -> list[float]:
    loads = []
    for k in range(classes):
        rates = np.zeros(classes)
        if k in members:
            rates[k] = 1e-9
        used = p.recheck(number, 0, rates)["utilisation"]
        loads.append(used / 1e-9 if k in members else math.inf)
    return loads


def test_two_percent_of_long_requests_break_the_short_class() -> None:
    """Replicas tuned for short requests, at the utilisation those allow, given 2 % long ones."""
    short = cs.request_class("short", 0.98, cs.fixed(500.0), cs.fixed(100.0))
    long = cs.request_class("long", 0.02, cs.fixed(60_000.0), cs.fixed(500.0))
    limit = cs.slo("ttft", "p99", 1.0, only=0)
    spec = cs.spec_of(
        "llama-8b", classes=[short, long], slos=[limit], class_sets=[0b01, 0b11], batches=[8]
    )
    p = problem(spec)
    alone, shared = p.points(everything(p))["capacity"]
    assert 0 < shared < 0.8 * alone
    loads = class_loads(p, 1, [0, 1], 2)
    mean_load = 0.98 * loads[0] + 0.02 * loads[1]

    def at(utilisation: float) -> _core._Recheck:
        rate = utilisation / mean_load
        return p.recheck(1, 0, np.array([0.98 * rate, 0.02 * rate]))

    assert p.recheck(0, 0, np.array([alone / loads[0], 0.0]))["broken"] is None
    tuned_for_short = at(alone)
    assert tuned_for_short["broken"] == "ttft"
    assert tuned_for_short["ttft_s"] is not None
    assert tuned_for_short["ttft_s"][0][4] > 1.0
    assert at(shared)["broken"] is None


LENGTHS = st.builds(
    lambda mean, skewed: cs.spread(mean) if skewed else cs.fixed(mean),
    st.floats(10.0, 20_000.0),
    st.booleans(),
)
LEFT_SKEWED = st.floats(100.0, 5000.0).map(
    lambda m: {"at": [m, 1.3 * m, 1.4 * m, 1.4 * m, 1.4 * m], "m2": 1.4 * m * m, "max": 1.4 * m}
)
CLASSES = st.lists(
    st.builds(
        lambda prompt, output, hit: cs.request_class("c", 1.0, prompt, output, hit),
        LENGTHS | LEFT_SKEWED,
        LENGTHS,
        st.sampled_from([0.0, 0.5, 0.9]),
    ),
    min_size=3,
    max_size=3,
)
PERCENTILE = st.sampled_from(cs.PERCENTILES)
LIMITS = st.lists(
    st.builds(
        lambda metric, percentile, scale: cs.slo(
            metric, percentile, scale * {"ttft": 5.0, "tpot": 0.05, "e2e": 60.0}[metric]
        ),
        st.sampled_from(["ttft", "tpot", "e2e"]),
        PERCENTILE,
        st.floats(0.1, 5.0),
    ),
    min_size=1,
    max_size=3,
)
SHAPES = st.sampled_from(
    [
        {"name": "llama-8b"},
        {"name": "llama-8b", "pp": [2]},
        {"name": "gpt-oss-120b", "tp": [2], "ep": [2], "adp": [2]},
        {"name": "deepseek-v3", "tp": [1], "ep": [16], "adp": [16], "precisions": [1]},
        {"name": "hybrid", "tp": [2], "precisions": [1], "splits": [0.6]},
    ]
)


@st.composite
def small_specs(draw: Callable[[Any], Any]) -> Json:
    shape = dict(draw(SHAPES))
    return cs.spec_of(
        shape.pop("name"),
        classes=draw(CLASSES),
        slos=draw(LIMITS),
        class_sets=[0b001, 0b010, 0b101, 0b111],
        round_trip_s=[[0.0, 0.01, 0.2]],
        batches=[16, 128],
        **shape,
    )


@settings(max_examples=60, deadline=None)
@given(spec=small_specs(), seed=st.integers(0, 2**32))
def test_below_capacity_no_mix_breaks_a_limit(spec: Json, seed: int) -> None:
    p, rng = problem(spec), random.Random(seed)
    points = p.points(everything(p))
    for number in np.flatnonzero(np.array(points["status"]) == "ok"):
        mask = spec["workloads"][0]["class_sets"][number % 4]
        members = [k for k in range(3) if mask >> k & 1]
        loads = class_loads(p, int(number), members, 3)
        for _ in range(4):
            u = points["capacity"][number] * rng.choice([1.0, rng.random()]) * (1 - 1e-9)
            part = [rng.random() ** 3 if k in members else 0.0 for k in range(3)]
            rates = np.array(
                [u * x / sum(part) / load for x, load in zip(part, loads, strict=True)]
            )
            got = p.recheck(int(number), 0, rates)
            assert got["utilisation"] == pytest.approx(u)
            assert got["broken"] is None, (number, u, rates)


@settings(max_examples=30, deadline=None)
@given(spec=small_specs())
def test_loads_and_percentiles_are_in_order(spec: Json) -> None:
    p = problem(spec)
    points = p.points(everything(p))
    held = points["capacity"] > 0
    assert np.all(points["capacity"][held] <= 1.0)
    assert np.all(points["requests_per_s"][held] > 0)
    for metric in ("ttft", "tpot"):
        columns: Any = points
        rows = [columns[f"{metric}_{name}_ms"][held] for name in cs.PERCENTILES]
        for low, high in itertools.pairwise(rows[1:]):
            full = ~np.isnan(low)
            assert np.all(low[full] <= high[full] * (1 + 2e-4))
    kept = searched(p).kept()
    assert np.all(np.array(kept["load_s"]) >= 0)
    assert np.all(np.array(kept["energy_j"]) >= 0)


@settings(max_examples=30, deadline=None)
@given(spec=small_specs(), tighter=st.floats(0.3, 0.95))
def test_capacity_falls_when_a_limit_tightens(spec: Json, tighter: float) -> None:
    loose = problem(spec).points(everything(problem(spec)))["capacity"]
    spec["workloads"][0]["slos"][0]["limit_s"] *= tighter
    tight = problem(spec).points(everything(problem(spec)))["capacity"]
    both = ~np.isnan(loose)
    assert np.array_equal(both, ~np.isnan(tight))
    # The search stops within 1e-3 of a limit: a few per cent of utilisation where latency is flat.
    assert np.all(tight[both] <= loose[both] * 1.05 + 1e-6)


@settings(max_examples=20, deadline=None)
@given(spec=small_specs(), more=st.floats(1.0, 4.0))
def test_more_memory_never_makes_less_fit(spec: Json, more: float) -> None:
    spec["systems"][1]["mem_bytes"] = 6e10
    before = problem(spec).points(everything(problem(spec)))["status"]
    spec["systems"][1]["mem_bytes"] *= more
    after = problem(spec).points(everything(problem(spec)))["status"]
    for old, new in zip(before, after, strict=True):
        assert old in (new, "memory")
