"""The Rust core against the slow reference."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import numpy as np
import pytest

import core_spec as cs
import reference as ref
from core_problem import NO_WAY, ids, relative, sample, searched, setting
from tokenfleet import _core

SAMPLES = [("main", 100), ("kinds", 45)]


@pytest.mark.parametrize("name", ["main", "kinds"])
def test_the_space_is_the_product_of_its_axes_in_order(name: str) -> None:
    _, p, configurations = setting(name)
    assert p.space_size == len(configurations)
    for c in random.Random(3).sample(configurations, 200):
        assert p.describe(c.id) == c.fields


@pytest.mark.parametrize(("name", "count"), SAMPLES)
def test_points_match_the_reference(name: str, count: int) -> None:
    _, p, configurations = setting(name)
    chosen = sorted({*sample(name, count, True), *sample(name, 2 * count, False)})
    points = p.points(ids(*chosen))
    for row, number in enumerate(chosen):
        c = configurations[number]
        replica = ref.rate(c)
        if isinstance(replica, str):
            assert points["status"][row] == replica
            continue
        layout = replica.layout
        assert relative(points["weight_bytes_per_gpu"][row], ref.weight_bytes(layout)) < 1e-9
        needed = layout.adp if layout.role == "prefill" else c.batch
        kv = ref.longest_kv(layout, c.members) * needed / layout.adp
        assert relative(points["kv_bytes_per_gpu"][row], kv) < 1e-9
        check_capacity(points, row, c, replica)
        if points["capacity"][row] > 0:
            check_operating_point(points, row, c, replica)


def check_capacity(points: Any, row: int, c: ref.Configuration, replica: ref.Replica) -> None:
    found = points["capacity"][row]
    slowest = ref.capacity(replica, c.members, NO_WAY)
    assert (found > 0) == (slowest > 0)
    assert (points["status"][row] == "ok") == (found > 0)
    # Never above the true capacity (but for the tolerance of a quantile), and not far below it.
    assert 0.95 * slowest - 1e-6 <= found <= slowest * (1 + 1e-3)


def check_operating_point(
    points: Any, row: int, c: ref.Configuration, replica: ref.Replica
) -> None:
    u = points["capacity"][row]
    pressure = ref.of_any_mix(replica, c.members, u)
    assert pressure is not None
    for i, name in enumerate(cs.PERCENTILES):
        ttft = max(ref.ttft(replica, pressure, k, i, 0.0) for k in c.members)
        assert relative(points[f"ttft_{name}_ms"][row], 1e3 * ttft) < (1e-9 if i == 0 else 1e-3)
        if replica.layout.role == "prefill":
            assert math.isnan(points[f"tpot_{name}_ms"][row])
            continue
        tpot = max(ref.tpot(replica, pressure, k, i) for k in c.members)
        assert relative(points[f"tpot_{name}_ms"][row], 1e3 * tpot) < 1e-9
    assert relative(points["concurrency"][row], pressure.n) < 1e-9
    shares = [c.layout.workload["classes"][k]["share"] for k in c.members]  # type: ignore[union-attr]
    weights = [share / sum(shares) for share in shares]
    load = sum(w * replica.classes[k].load for w, k in zip(weights, c.members, strict=True))
    rate = u / load
    assert relative(points["requests_per_s"][row], rate) < 1e-9
    joules = sum(
        w * ref.joules_at_capacity(replica, k, u) for w, k in zip(weights, c.members, strict=True)
    )
    drawn = ref.standing_w(replica) + rate * joules
    assert relative(points["drawn_w"][row], drawn) < 1e-9


@pytest.mark.parametrize(("name", "count"), SAMPLES)
def test_recheck_matches_the_reference(name: str, count: int) -> None:
    _, p, configurations = setting(name)
    rng = random.Random(11)
    for number in sample(name, count, True):
        c = configurations[number]
        replica = ref.rate(c)
        assert isinstance(replica, ref.Replica)
        rates = [0.0] * len(replica.classes)
        for k in c.members:
            rates[k] = rng.random() * 1.1 / len(c.members) / replica.classes[k].load
        replicas = float(rng.choice((1, 1, 2, 7)))
        got = p.recheck(number, 0, np.array(rates), replicas)
        used = sum(f * one.load for f, one in zip(rates, replica.classes, strict=True))
        assert relative(got["utilisation"], used) < 1e-9
        pressure = ref.of_mix(replica, rates, replicas)
        if pressure is None:
            assert got["ttft_s"] is None
            assert got["broken"] == "ttft"
            continue
        assert got["ttft_s"] is not None
        assert got["tpot_s"] is not None
        for k in c.members:
            for i in range(5):
                ttft = ref.ttft(replica, pressure, k, i, 0.0)
                assert relative(got["ttft_s"][k][i], ttft) < (1e-9 if i == 0 else 1e-3)
                if replica.layout.role == "prefill":
                    assert math.isnan(got["tpot_s"][k][i])
                else:
                    tpot = ref.tpot(replica, pressure, k, i)
                    assert relative(got["tpot_s"][k][i], tpot) < 1e-9
        worst = max((e for e in ref.excesses(replica, pressure, c.members, NO_WAY)), default=None)
        if worst is not None and abs(worst[0]) > 1e-3:
            assert got["broken"] == (worst[1] if worst[0] > 0 else None)


Place = tuple[ref.Configuration, tuple[int, ...], tuple[int, int, int, int]]


def serving_places(name: str, count: int) -> list[Place]:
    """Configurations of role serve, with their positions on the axes and their degrees."""
    spec, _, configurations = setting(name)
    serve = [c for c in configurations if c.fields["role"] == "serve" and c.batch_position == 0]
    found = []
    for c in random.Random(5).sample(serve, count):
        w, f = spec["workloads"][c.workload], c.fields
        names = [precision["id"] for precision in spec["precisions"]]
        engines = [engine["id"] for engine in spec["engines"]]
        depths = [one["depth"] for one in w["speculation"]]
        axes = (
            c.workload,
            w["systems"].index(c.system),
            w["engines"].index(engines.index(f["engine"])),
            w["precisions"].index(names.index(f["precision"])),
            w["kv"].index(c.kv),
            depths.index(f["speculative_depth"]),
        )
        found.append((c, axes, (f["tp"], f["pp"], f["ep"], f["attention_dp"])))
    return found


@pytest.mark.parametrize("name", ["main", "kinds"])
def test_closed_loop_matches_the_reference(name: str) -> None:
    _, p, _ = setting(name)
    waited = 0
    for c, axes, degrees in serving_places(name, 150):
        for load in ((24.0, 3000.0, 300.0), (5000.0, 3000.0, 300.0)):
            got = _core.closed_loop(p, axes, degrees, load)
            if c.layout is None or not ref.has_figures(c.layout):
                assert got is None
                continue
            want = ref.closed_loop(c.layout, *load)
            assert got is not None
            assert max(map(relative, got.values(), want)) < 1e-9
            waited += got["ttft_s"] > 100.0
    assert waited > 10  # caches that hold fewer than 5,000 requests


@pytest.mark.parametrize("name", ["main", "kinds"])
def test_the_loop_of_pools_matches_the_reference(name: str) -> None:
    _, p, _ = setting(name)
    whole = [
        place
        for place in serving_places(name, 80)
        if place[0].layout is not None and ref.has_figures(place[0].layout)
    ]
    waited = 0
    for reads, answers in itertools.pairwise(whole):
        if reads[1][0] != answers[1][0]:  # of another workload
            continue
        for load in ((24.0, 3000.0, 300.0), (5000.0, 3000.0, 300.0)):
            got = _core.pool_loop(p, (*reads[1:], 2), (*answers[1:], 3), load)
            assert reads[0].layout is not None
            assert answers[0].layout is not None
            want = ref.pool_loop(reads[0].layout, 2, answers[0].layout, 3, load)
            assert got is not None
            assert max(map(relative, got.values(), want)) < 1e-6
            waited += got["ttft_s"] > 10.0
    assert waited > 5


def test_bad_pools_are_refused() -> None:
    _, p, _ = setting("main")
    pool = ((0,) * 6, (1, 1, 1, 1), 1)
    for wrong in ((*pool[:2], 0), ((9, *pool[0][1:]), *pool[1:])):
        with pytest.raises((ValueError, IndexError)):
            _core.pool_loop(p, pool, wrong, (1.0, 1.0, 1.0))


RUNS = [
    (64, False, math.inf, None),
    (4096, True, 500.0, None),
    (256, False, math.inf, 1.0),
    (256, False, math.inf, 8.0),
]


@pytest.mark.parametrize("name", ["main", "kinds"])
@pytest.mark.parametrize(("batch", "reserved", "requests", "replicas"), RUNS)
def test_throughput_matches_the_reference(
    name: str, batch: int, reserved: bool, requests: float, replicas: float | None
) -> None:
    """Under limits where a number of replicas is given."""
    _, p, _ = setting(name)
    rated, limited = 0, replicas is not None
    for c, axes, degrees in serving_places(name, 60):
        how = {"reserved": reserved, "requests": requests, "limited": limited}
        got = _core.throughput(p, axes, degrees, batch, **how, replicas=replicas or 1.0)
        if c.layout is None or not ref.has_figures(c.layout):
            assert got is None
            continue
        want = ref.throughput(c.layout, batch, reserved, requests, replicas)
        if want is None or got is None:
            assert want is got is None
            continue
        rated += 1
        assert got["sequences"] == want[1]
        assert got["output_tokens_per_s_gpu"] == pytest.approx(
            want[0], rel=2e-3 if limited else 1e-9, abs=1e-12
        )
    assert rated > 10


def test_bad_throughput_runs_are_refused() -> None:
    _, p, _ = setting("main")
    for batch, wrong in ((0, {}), (1, {"requests": 0.0}), (1, {"requests": math.nan})):
        with pytest.raises(ValueError, match=r"batch|requests"):
            _core.throughput(p, (0,) * 6, (1, 1, 1, 1), batch, **wrong)
    with pytest.raises(ValueError, match="replicas"):
        _core.throughput(p, (0,) * 6, (1, 1, 1, 1), 1, replicas=0.5)
    with pytest.raises(IndexError):
        _core.throughput(p, (9, 0, 0, 0, 0, 0), (1, 1, 1, 1), 1)


def test_kept_candidates_carry_load_and_joules() -> None:
    spec, p, configurations = setting("main")
    kept = searched(p).kept()
    for row in random.Random(13).sample(range(len(kept["id"])), 100):
        c = configurations[int(kept["id"][row])]
        replica = ref.rate(c)
        assert isinstance(replica, ref.Replica)
        u = float(kept["capacity"][row])
        assert spec["systems"][kept["system"][row]]["id"] == c.fields["system"]
        assert kept["role"][row] == c.fields["role"]
        assert kept["gpus"][row] == replica.layout.gpus
        for k, one in enumerate(replica.classes):
            if k not in c.members:
                assert kept["load_s"][row][k] == kept["energy_j"][row][k] == math.inf
                continue
            assert relative(kept["load_s"][row][k], one.load / u) < 1e-9
            joules = ref.joules_at_capacity(replica, k, u)
            assert relative(kept["energy_j"][row][k], joules) < 1e-9
