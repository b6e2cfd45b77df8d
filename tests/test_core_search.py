"""The search of the space, and pruning."""

from __future__ import annotations

import itertools
import json
import math
import random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import core_spec as cs
import reference as ref
from core_problem import everything, ids, problem, sample, searched, setting
from tokenfleet import _core


def same(a: _core.CandidateSearch, b: _core.CandidateSearch) -> bool:
    left: Any = a.kept()
    right: Any = b.kept()
    bytes_of = [
        np.asarray(x).tobytes() if not isinstance(x, list) else json.dumps(x)
        for x in (*left.values(), *right.values())
    ]
    half = len(left)
    return a.counts() == b.counts() and bytes_of[:half] == bytes_of[half:]


def test_the_number_of_threads_changes_nothing() -> None:
    p = setting("main")[1]
    assert same(searched(p, 1), searched(p, 2))
    chosen = ids(*sample("main", 50, True))
    one: Any = p.points(chosen, 0, 1)
    two: Any = p.points(chosen, 0, 2)
    for name in one:
        assert np.array_equal(np.asarray(one[name]), np.asarray(two[name])) or np.array_equal(
            one[name], two[name], equal_nan=True
        )


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(0, 10**6), max_size=4), seed=st.integers(0, 2**32))
def test_any_partition_gives_the_same_kept_set(cuts: list[int], seed: int) -> None:
    p = setting("main")[1]
    edges = sorted({0, p.partition_count, *(cut % p.partition_count for cut in cuts)})
    ranges = list(itertools.pairwise(edges))
    random.Random(seed).shuffle(ranges)
    parts = _core.CandidateSearch()
    for first, last in ranges:
        parts.extend(p, first, last, 1)
    assert same(parts, searched(p))


def test_counts_cover_the_space_and_agree_with_points() -> None:
    _, p, configurations = setting("kinds")
    counts: dict[int, Any] = dict(searched(p).counts())
    near: Any = p.points(everything(p), 0)
    far: Any = p.points(everything(p), 1)
    for w, count in counts.items():
        mine = [c.id for c in configurations if c.workload == w]
        assert len(mine) == sum(v for k, v in count.items() if k != "evaluated")
        usable = [i for i in mine if "ok" in (near["status"][i], far["status"][i])]
        assert count["usable"] + count["dominated"] == len(usable)
        for reason in ("no_layout", "memory"):
            assert count[reason] == sum(near["status"][i] == reason for i in mine)
        late = count["ttft"] + count["tpot"] + count["e2e"]
        assert count["evaluated"] == count["usable"] + late


def nine_digits(x: float) -> float:
    return float(f"{x:.9e}")


def test_kept_is_what_brute_force_dominance_leaves() -> None:
    spec = cs.spec_with(
        [cs.MODELS["gpt-oss-120b"]],
        [cs.workload("w", 0, ep=[1, 2], adp=[1, 2], systems=[1], batches=[16, 64], pp=[1])],
    )
    spec["workloads"][0]["round_trip_s"] = [[0.0, 0.0]]
    p = problem(spec)
    capacity = p.points(everything(p))["capacity"]
    candidates = []
    for c in ref.configurations(spec):
        if not capacity[c.id] > 0:
            continue
        replica, u = ref.rate(c), float(capacity[c.id])
        assert isinstance(replica, ref.Replica)
        load, joules = [math.inf] * 2, [math.inf] * 2
        for k in c.members:
            load[k] = nine_digits(replica.classes[k].load / u)
            joules[k] = nine_digits(ref.joules_at_capacity(replica, k, u))
        quality = 1.0 if c.fields["precision"] == "bf16" else 0.99
        idle_w = nine_digits(ref.standing_w(replica)) - replica.layout.gpus * 300.0
        candidate = {"id": c.id, "gpus": replica.layout.gpus, "per_system": 16, "idle_w": idle_w}
        candidates.append({**candidate, "load": load, "joules": joules, "quality": quality})
    assert len(candidates) > 200
    left = [b["id"] for b in candidates if not any(ref.dominates(a, b) for a in candidates)]
    assert searched(p).kept()["id"].tolist() == left


SMALL = st.integers(1, 4).map(float)
ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 4, 6, 8, 16, 24]),
        st.tuples(SMALL | st.just(math.inf), SMALL),
        st.tuples(SMALL, SMALL),
        SMALL,
        st.sampled_from([0.9, 1.0]),
    ),
    min_size=1,
    max_size=25,
)


@given(rows=ROWS)
def test_prune_is_brute_force_dominance(rows: list[Any]) -> None:
    names = ("gpus", "load", "joules", "idle_w", "quality")
    candidates = [
        {"id": i, "per_system": 8, **dict(zip(names, row, strict=True))}
        for i, row in enumerate(rows)
    ]
    for one in candidates:
        one["load"], one["joules"] = list(one["load"]), list(one["joules"])
    left = [b["id"] for b in candidates if not any(ref.dominates(a, b) for a in candidates)]
    kept = _core.prune(
        [
            {
                "load_s": c["load"],
                "energy_j": c["joules"],
                **{name: c[name] for name in ("gpus", "idle_w", "quality")},
            }
            for c in candidates
        ],
        8,
    )
    assert kept == left
