"""Operating points in bulk against one replica at a time; a bounded search against a full one."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import numpy as np
import pytest

import core_spec as cs
from tokenfleet import _core
from tokenfleet.points.kept import evaluate

COLUMNS = ("cost_per_mtok_output_usd", "ttft_p99_ms", "tpot_p99_ms")
PRICE, TARIFF = 2.5, 0.1


@pytest.fixture(scope="module")
def problem() -> _core.Space:
    return _core.Space(json.dumps(cs.spec()))


def serving(problem: _core.Space, count: int) -> list[int]:
    """Numbers of some configurations that serve, spread over the space."""
    step = max(1, problem.space_size // 4000)
    found = []
    for number in range(0, problem.space_size, step):
        row = problem.describe(number)
        if row["role"] == "serve" and bulk(problem, number, 0, [0.01]) is not None:
            found.append(number)
    return found[:: max(1, len(found) // count)]


def bulk(
    problem: _core.Space, number: int, k: int, rates: list[float]
) -> dict[str, np.ndarray] | None:
    rate = np.array(rates)
    points = _core.operating_points(
        problem, number, k, rate, np.full(len(rate), PRICE), np.full(len(rate), TARIFF)
    )
    return None if points is None else dict(points)


def test_points_are_those_of_a_replica_at_its_rate(problem: _core.Space) -> None:
    spec = cs.spec()
    seen = 0
    for number in serving(problem, 150):
        row = problem.describe(number)
        index = [w["id"] for w in spec["workloads"]].index(row["workload"])
        classes = spec["workloads"][index]["classes"]
        for k, one in enumerate(classes):
            if row["classes"] != [one["id"]]:
                continue
            for rate in (0.001, 0.1, 1.0, 5.0):
                points = bulk(problem, number, k, [rate])
                if points is None:  # The longest contexts of this class do not fit.
                    continue
                rates = np.zeros(len(classes))
                rates[k] = rate
                known = problem.recheck(number, 0, rates)
                if known["ttft_s"] is None:
                    assert math.isinf(points["ttft_p99_ms"][0])
                    assert points["output_tokens_per_s"][0] == 0
                    continue
                assert known["tpot_s"] is not None
                seen += 1
                for i, name in ((1, "p50"), (4, "p99")):
                    ttft, tpot = known["ttft_s"][k][i], known["tpot_s"][k][i]
                    assert points[f"ttft_{name}_ms"][0] == pytest.approx(1e3 * ttft, rel=1e-6)
                    assert points[f"tpot_{name}_ms"][0] == pytest.approx(1e3 * tpot, rel=1e-6)
                assert points["concurrency"][0] == pytest.approx(known["concurrency"], rel=1e-6)
                tokens = rate * one["output"]["at"][0]
                assert points["output_tokens_per_s"][0] == pytest.approx(tokens, rel=1e-12)
                gpus = row["tp"] * row["pp"] * row["attention_dp"]
                hour = gpus * PRICE + points["drawn_w"][0] / 1000 * TARIFF
                cost = hour / (tokens * 3600) * 1e6
                assert points["cost_per_mtok_output_usd"][0] == pytest.approx(cost, rel=1e-9)
    assert seen > 100


def test_rows_may_be_cut_anywhere(problem: _core.Space) -> None:
    number = serving(problem, 1)[0]
    rates = np.linspace(0.0, 3.0, 70_000)
    whole = bulk(problem, number, 0, list(rates))
    parts = [bulk(problem, number, 0, list(part)) for part in np.split(rates, [1, 63, 33_000])]
    assert whole is not None
    for name, column in whole.items():
        joined = np.concatenate([part[name] for part in parts if part is not None])
        assert column.tobytes() == joined.tobytes()


def test_rows_at_one_rate_are_those_of_each_alone(problem: _core.Space) -> None:
    """Rows that share a rate share their latencies; prices differ. Runs of one to three hundred."""
    number = serving(problem, 1)[0]
    rng = np.random.default_rng(5)
    runs = np.concatenate((rng.integers(1, 6, 400), np.ones(70, dtype=int), [300, 4, 64, 257]))
    rate = np.repeat(10.0 ** rng.uniform(-1.0, 3.0, len(runs)), runs)
    price, tariff = rng.uniform(1.0, 5.0, len(rate)), rng.uniform(0.0, 0.3, len(rate))
    together = _core.operating_points(problem, number, 0, rate, price, tariff)
    assert together is not None
    order = rng.permutation(len(rate))  # no two neighbours at one rate, but by chance
    apart = _core.operating_points(
        problem, number, 0, rate[order], price[order], tariff[order], threads=1
    )
    assert apart is not None and np.isinf(apart["cost_per_mtok_output_usd"]).any()
    for name, column in together.items():
        assert column[order].tobytes() == apart[name].tobytes()


def test_results_go_into_arrays_that_are_given(problem: _core.Space) -> None:
    number = serving(problem, 1)[0]
    rate, price = np.linspace(0.0, 3.0, 70_000), np.full(70_000, PRICE)
    known = _core.operating_points(problem, number, 0, rate, price, price)
    assert known is not None
    mine: Any = {name: np.full(70_000, np.nan) for name in known}
    found = _core.operating_points(problem, number, 0, rate, price, price, out=mine)
    assert found is mine
    for name, column in known.items():
        assert mine[name].tobytes() == np.asarray(column).tobytes()
    short = {**mine, "drawn_w": np.empty(69_999)}
    wide = {**mine, "drawn_w": np.empty(140_000)[::2]}
    single = {**mine, "drawn_w": np.empty(70_000, dtype=np.float32)}
    absent = {name: column for name, column in mine.items() if name != "drawn_w"}
    for wrong in (short, wide, single, absent):
        with pytest.raises(ValueError, match=r"out\[.drawn_w.\]: must be a contiguous"):
            _core.operating_points(problem, number, 0, rate, price, price, out=wrong)  # type: ignore[arg-type]
    twice = {**mine, "drawn_w": mine["concurrency"]}
    locked = {**mine, "drawn_w": np.empty(70_000)}
    locked["drawn_w"].flags.writeable = False
    for wrong in (twice, locked, {**mine, "concurrency": rate}):
        with pytest.raises(ValueError, match=r"out\["):
            _core.operating_points(problem, number, 0, rate, price, price, out=wrong)  # type: ignore[arg-type]


#: As many of the cheapest, and the points that none beats.
KEPT: Any = {"cheapest": 7, "by": "cost", "front": True}
ONE = {"rate_rps": [1.0]}


def search(problem: _core.Space, skip: bool, threads: int = 0) -> _core.PointSearch:
    offers = [[(3.0, 0.1), (2.0, 0.2), (2.0, 0.2), (4.0, 0.3)], [(5.0, 0.0)]]
    loads = list(np.linspace(0.005, 0.995, 150))
    found = _core.PointSearch(
        problem, loads={"utilisation": loads}, offers=offers, **{**KEPT, "skip": skip}
    )
    middle = problem.unit_count // 3
    found.extend(0, middle, threads)
    found.extend(middle, problem.unit_count, threads)
    return found


def beaten(rows: np.ndarray) -> np.ndarray:
    """Rows that another beats: no worse in all, better in one."""
    no_worse = (rows[None, :, :] <= rows[:, None, :]).all(axis=2)
    better = (rows[None, :, :] < rows[:, None, :]).any(axis=2)
    return (no_worse & better).any(axis=1)


def test_a_bounded_search_keeps_what_a_full_one_keeps(problem: _core.Space) -> None:
    bounded, full, alone = (search(problem, s, t) for s, t in ((True, 0), (False, 0), (True, 1)))
    for kind in ("front", "cheapest"):
        one, other = getattr(bounded, kind)(), getattr(full, kind)()
        for name, column in one.items():
            assert column.tobytes() == other[name].tobytes(), (kind, name)
    counts, all_counts = bounded.counts(), full.counts()
    assert counts == alone.counts()
    assert counts["total"] == all_counts["total"] == bounded.size
    assert counts["skipped_dominated"] > 0 and counts["skipped_beyond_limits"] > 0
    assert all_counts["computed"] > 2 * counts["computed"]
    front = bounded.front()
    for w, k in {*zip(front["workload_index"], front["class_index"], strict=True)}:
        of = (front["workload_index"] == w) & (front["class_index"] == k)
        assert not beaten(np.column_stack([front[name][of] for name in COLUMNS])).any()
    slos = cs.spec()["workloads"][0]["slos"]
    ttft = [s["limit_s"] for s in slos if s["metric"] == "ttft" and s["percentile"] == 4]
    if ttft:
        assert (front["ttft_p99_ms"][front["workload_index"] == 0] <= 1e3 * min(ttft)).all()


@pytest.mark.parametrize("by", ["cost", "ttft", "tpot"])
def test_the_best_alone_are_the_best_of_all(
    problem: _core.Space, by: Literal["cost", "ttft", "tpot"]
) -> None:
    offers = [[(3.0, 0.1), (2.0, 0.2)], [(5.0, 0.0)]]
    loads = list(np.linspace(0.005, 0.995, 40))

    def best(most: int, front: bool, skip: bool) -> Any:
        found = _core.PointSearch(
            problem,
            loads={"utilisation": loads},
            offers=offers,
            cheapest=most,
            by=by,
            front=front,
            skip=skip,
        )
        found.extend(0, problem.unit_count)
        assert found.counts()["total"] == found.size
        assert front or len(found.front()["number"]) == 0
        return found.cheapest()

    every = best(10**7, True, False)  # All that keep the limits.
    ranked = {"cost": COLUMNS[0], "ttft": COLUMNS[1], "tpot": COLUMNS[2]}[by]
    few = best(5, False, True)
    for w, k in {*zip(every["workload_index"], every["class_index"], strict=True)}:
        of = (every["workload_index"] == w) & (every["class_index"] == k)
        keys = zip(every[ranked][of], every[COLUMNS[0]][of], every["number"][of], strict=True)
        here = (few["workload_index"] == w) & (few["class_index"] == k)
        assert list(few["number"][here]) == [number for *_, number in sorted(keys)[:5]]


def test_what_is_out_of_range_is_refused(problem: _core.Space) -> None:
    offers = [[(2.0, 0.1)], [(2.0, 0.1)]]
    for axis, loads, match in (
        ("utilisation", [0.5, 1.0], "below 1"),
        ("utilisation", [0.5, 0.5], "above the load before"),
        ("rate_rps", [-1.0], "positive"),
        ("speed", [1.0], "loads: unknown variant `speed`"),
    ):
        with pytest.raises(ValueError, match=match):
            _core.PointSearch(problem, loads={axis: loads}, offers=offers, **KEPT)
    with pytest.raises(ValueError, match="by: unknown variant `watts`"):
        _core.PointSearch(problem, loads=ONE, offers=offers, **{**KEPT, "by": "watts"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one list per system"):
        _core.PointSearch(problem, loads=ONE, offers=offers[:1], **KEPT)
    with pytest.raises(ValueError, match="usd_per_gpu_h"):
        _core.PointSearch(problem, loads=ONE, offers=[[(-1.0, 0.0)], []], **KEPT)
    with pytest.raises(IndexError):
        _core.PointSearch(problem, loads=ONE, offers=offers, **KEPT).extend(
            0, problem.unit_count + 1
        )
    one = np.ones(1)
    with pytest.raises(ValueError, match="rate_rps"):
        _core.operating_points(problem, 0, 0, np.array([math.nan]), one, one)
    with pytest.raises(ValueError, match="rows"):
        _core.operating_points(problem, 0, 0, np.ones(2), one, one)
    with pytest.raises(IndexError):
        _core.operating_points(problem, 0, 9, one, one, one)


def test_points_of_nothing_have_their_columns() -> None:
    scenario = {
        "name": "does not fit",
        "workloads": [
            {
                "id": "w",
                "model": "llama-3.1-70b",
                "precisions": ["fp8"],
                "classes": [{"id": "c", "share": 1.0, "input_tokens": 900, "output_tokens": 100}],
                "demand": {"requests_per_s": 0.1},
            }
        ],
        "sites": [
            {
                "id": "s",
                "region": "us",
                "power_kw": "unlimited",
                "power_basis": "it",
                "cooling": ["air"],
            }
        ],
        "systems": ["h100_sxm_8"],
        "engines": ["vllm"],
        "offers": [{"id": "a", "system": "h100_sxm_8", "kind": "rent", "price_usd_per_gpu_h": 2.0}],
        "search": {"tensor_parallel": [2], "pipeline_parallel": [1]},
    }
    some = evaluate(scenario)
    none = evaluate({**scenario, "search": {"tensor_parallel": [1], "pipeline_parallel": [1]}})
    assert len(some["workload"]) > 0
    assert {name: values.dtype.kind for name, values in none.items()} == {
        name: values.dtype.kind for name, values in some.items()
    }
    assert {len(values) for values in none.values()} == {0}
