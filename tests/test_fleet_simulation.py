"""Fleets on the simulator: routing, pools of one role, prefix caches, failures, day curves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import core_spec as cs
from test_simulate import Json, Lengths, lengths, load_s, measured, one_class, varied
from tokenfleet import _core


def simulate(problem: Any, groups: list[Json], sizes: Lengths | None = None, **changes: Any) -> Any:
    """A fleet; ``rate`` is that of Poisson arrivals of its one class."""
    arrays = {
        name: changes.pop(name)
        for name in ("trace", "hashes", "threads", "stop")
        if name in changes
    }
    rate = changes.pop("rate", None)
    drawn = {"kind": "drawn", "rates": [rate], "burstiness": 1.0}
    fleet: Json = {
        "groups": [{"replicas": 1, "shares": [1.0], **group} for group in groups],
        "router": "join_shortest_queue",
        "arrivals": [] if rate is None else [drawn],
        "requests": None if rate is None else 4000,
        "warmup": 0.25,
        "replications": 3,
        "seed": 5,
        **changes,
    }
    return _core.simulate_fleet(problem, fleet, lengths=sizes or lengths(), **arrays)


def closed(result: Any) -> bool:
    """Whether every request is accounted for."""
    c = result["conservation"]
    ends = c["finished"] + c["rejected"] + c["lost"] + c["in_flight"]
    return bool(c["arrived"] == ends)


def p(result: Any, metric: str, i: int) -> float:
    return float(result["classes"][0][metric][i][0])


def pools() -> Any:
    """Configurations 0 serve, 1 prefill, 2 decode of one layout."""
    sizes = lengths()
    only = cs.request_class("only", 1.0, *map(measured, sizes[0]))
    base: Json = {"classes": [only], "class_sets": [1], "round_trip_s": [[0.0]], "splits": [0.5]}
    limits = [cs.slo("ttft", "p95", 0.5), cs.slo("tpot", "p95", 0.02)]
    return _core.Space(json.dumps(cs.spec_of("llama-8b", slos=limits, **base)))


def test_one_group_is_the_simulation_of_one_configuration() -> None:
    problem = one_class("llama-8b")
    rate = 3 * 0.7 / load_s(problem)
    fleet = simulate(problem, [{"id": 0, "replicas": 3}], rate=rate)
    same: Json = {"replicas": 3, "requests": 4000, "replications": 3, "seed": 5}
    single = _core.simulate(problem, 0, np.array([rate]), lengths(), **same)
    assert fleet["steps"] == single["steps"] and closed(fleet)
    for metric in ("ttft_s", "tpot_s", "e2e_s"):
        for i in range(5):
            assert p(fleet, metric, i) == pytest.approx(p(single, metric, i), rel=4e-3)
    assert fleet["groups"][0]["utilisation"] == pytest.approx(single["utilisation"])


def test_pools_of_one_role_wait_and_step_as_the_analytic_model_says() -> None:
    problem = pools()
    prefill, decode = load_s(problem, 1), load_s(problem, 2)
    for utilisation in (0.3, 0.6):
        rate = utilisation / max(prefill, decode)
        seen = simulate(problem, [{"id": 1}, {"id": 2}], rate=rate, requests=10_000)
        assert closed(seen) and not seen["unstable"]
        first, second = (problem.recheck(i, 0, np.array([rate])) for i in (1, 2))
        for i in (1, 4):
            said = first["ttft_s"][0][i] + second["ttft_s"][0][i]
            assert p(seen, "ttft_s", i) == pytest.approx(said, rel=0.15)
            assert p(seen, "tpot_s", i) == pytest.approx(second["tpot_s"][0][i], rel=0.05)
        used = [group["utilisation"][0] for group in seen["groups"]]
        expected = [rate * prefill, rate * decode]
        # Few answers at once charge the decode pool for steps as if they were shared by many.
        assert used[1] == pytest.approx(expected[1], rel=0.04)
        assert used[0] > 0.5 * expected[0]


def test_a_slow_link_is_waited_for_and_limits_what_is_served() -> None:
    spec = json.loads(json.dumps(cs.spec_of("llama-8b", splits=[0.5], class_sets=[1])))
    fast = simulate(_core.Space(json.dumps(spec)), [{"id": 1, "shares": [1.0, 0.0]},
                    {"id": 2, "shares": [1.0, 0.0]}], lengths() * 2, arrivals=[drawn2(5.0)],
                    requests=2000)  # fmt: skip
    # 1000 tokens of 131,072 bytes in a fifth of a second.
    spec["systems"][1]["scale_out_bw"] = 1000 * 131_072 / 0.2
    problem = _core.Space(json.dumps(spec))
    groups = [{"id": 1, "shares": [1.0, 0.0]}, {"id": 2, "shares": [1.0, 0.0]}]
    slow = simulate(problem, groups, lengths() * 2, arrivals=[drawn2(3.0)], requests=2000)
    # An M/D/1 queue at 0.6: 0.2·(1 + 0.6/0.8) s in all.
    assert p(slow, "ttft_s", 0) - p(fast, "ttft_s", 0) == pytest.approx(0.35, rel=0.15)
    above = simulate(problem, groups, lengths() * 2, arrivals=[drawn2(6.0)], requests=2000)
    assert above["unstable_replications"] == 3 and closed(above)
    served = above["classes"][0]["served_per_s"][0]
    assert served == pytest.approx(5.0, rel=0.05)


def drawn2(rate: float) -> Json:
    return {"kind": "drawn", "rates": [rate, 0.0], "burstiness": 1.0}


def test_shares_route_as_planned_and_spill_helps_the_smaller_group() -> None:
    sizes = lengths()
    problem = one_class("llama-8b", sizes, batches=[8, 32])
    small, large = load_s(problem, 0), load_s(problem, 1)
    # The plan asks 1.3 times what the small group can do, and little of the large one.
    rates = [1.3 / small, 0.3 / large]
    groups = [{"id": 0, "shares": [rates[0]]}, {"id": 1, "shares": [rates[1]], "site": 1}]
    kept = simulate(problem, groups, rate=sum(rates), router="plan")
    spilt = simulate(problem, groups, rate=sum(rates), router="plan", spill=True)
    assert kept["unstable_replications"] == 3 and spilt["unstable_replications"] == 0
    sites = [site["finished"] for site in spilt["classes"][0]["sites"]]
    assert sum(sites) == spilt["classes"][0]["finished"]
    assert sites[1] / sum(sites) > 1.2 * rates[1] / sum(rates)
    assert closed(kept) and closed(spilt)


def test_overload_is_unstable_in_every_replication() -> None:
    problem = one_class("llama-8b")
    for router in ("plan", "round_robin", "least_loaded", "join_shortest_queue"):
        groups = [{"id": 0, "replicas": 2}, {"id": 0, "replicas": 1}]
        shares = [{**g, "shares": [float(g["replicas"])]} for g in groups]
        for times, unstable in ((1.2, 5), (0.8, 0)):
            rate = 3 * times / load_s(problem)
            options: Json = {"router": router, "replications": 5}
            result = simulate(problem, shares, rate=rate, **options)
            assert result["unstable_replications"] == unstable, (router, times)


def test_failed_replicas_restart_or_lose_their_requests_and_all_are_counted() -> None:
    problem = one_class("llama-8b")
    rate = 4 * 0.5 / load_s(problem)
    groups = [{"id": 0, "replicas": 4}]
    failing: Json = {"mtbf_h": 0.02, "mttr_h": 0.005}
    kept = simulate(problem, groups, rate=rate, failures={**failing, "restart": True})
    lost = simulate(problem, groups, rate=rate, failures={**failing, "restart": False})
    steady = simulate(problem, groups, rate=rate)
    assert all(map(closed, (kept, lost, steady)))
    assert kept["failures"] > 0 and kept["restarted"] > 0 and kept["conservation"]["lost"] == 0
    assert lost["conservation"]["lost"] > 0 and lost["restarted"] == 0
    assert p(kept, "e2e_s", 4) > p(steady, "e2e_s", 4)
    # Up 0.02 of 0.025 h: four fifths of the replicas.
    up = simulate(problem, groups, rate=rate, failures={**failing, "restart": True},
                  requests=40_000)["series"]["replicas_up"]  # fmt: skip
    assert 2.8 < np.mean(up) < 3.6


def test_maintenance_drains_and_nothing_is_lost() -> None:
    problem = one_class("llama-8b")
    rate = 2 * 0.4 / load_s(problem)
    window = {"group": 0, "replicas": 1, "start_s": 50.0, "seconds": 100.0}
    result = simulate(problem, [{"id": 0, "replicas": 2}], rate=rate, maintenance=[window])
    assert closed(result) and result["conservation"]["lost"] == result["restarted"] == 0
    at, running = (np.array(result["series"][name]) for name in ("at_s", "running"))
    inside = running[(at > 60) & (at < 140)].mean()
    outside = running[(at > 170) & (at < 250)].mean()
    # One replica alone steps with larger batches: more are in flight.
    assert inside > 1.05 * outside


def test_a_day_curve_changes_the_load_and_keeps_the_mean() -> None:
    problem = one_class("llama-8b")
    rate = 0.5 / load_s(problem)
    curve = {"weights": [0.2, 1.8], "period_s": 200.0}
    arrivals = [{"kind": "drawn", "rates": [rate], "burstiness": 1.0, "curve": curve}]
    result = simulate(problem, [{"id": 0}], arrivals=arrivals, requests=10_000, warmup=0.0)
    assert 10_000 / result["window_s"][0] == pytest.approx(rate, rel=0.05)
    at, running = (np.array(result["series"][name]) for name in ("at_s", "running"))
    quiet = running[(at % 200 > 20) & (at % 200 < 100)].mean()
    busy = running[at % 200 > 120].mean()
    assert busy > 4 * quiet


def trace_of(n: int, rate: float) -> tuple[Any, ...]:
    times = np.cumsum(np.random.default_rng(3).exponential(1 / rate, n))
    sizes = np.full(n, 1000, dtype=np.uint32), np.full(n, 50, dtype=np.uint32)
    return (times, np.zeros(n, dtype=np.uint32), *sizes)


def test_a_trace_is_scaled_and_mixed() -> None:
    problem = one_class("llama-8b")
    trace = trace_of(2000, 2.0)
    alone = {"kind": "trace", "scale": 2.0}
    result = simulate(problem, [{"id": 0}], trace=trace, arrivals=[alone], warmup=0.0)
    assert (result["replications"], result["classes"][0]["finished"]) == (1, 2000)
    assert result["window_s"][0] == pytest.approx((trace[0][-1] - trace[0][0]) / 2.0)
    drawn = {"kind": "drawn", "rates": [6.0], "burstiness": 1.0}
    mixed = simulate(problem, [{"id": 0}], trace=trace, arrivals=[alone, drawn], requests=3000)
    assert 3000 / mixed["window_s"][0] == pytest.approx(10.0, rel=0.1)
    assert closed(mixed)


def test_prefixes_are_found_while_there_is_room_for_them() -> None:
    problem = one_class("llama-8b")
    n = 400
    trace = trace_of(n, 4.0)
    arrivals = [{"kind": "trace", "scale": 1.0}]
    starts = np.arange(n + 1, dtype=np.uint64) * 2

    def hits(first: Any, tokens: int = 500) -> float:
        ids = np.stack([first, n + np.arange(n)], axis=1).ravel().astype(np.uint64)
        result = simulate(problem, [{"id": 0}], trace=trace, hashes=(ids, starts, tokens),
                          arrivals=arrivals, warmup=0.0)  # fmt: skip
        return float(result["groups"][0]["hit_rate"][0])

    # All begin alike: half of every prompt but the first few, which come before it is read.
    assert hits(np.zeros(n)) == pytest.approx(0.5, abs=0.01)
    # Ten conversations in turn.
    assert hits(np.arange(n) % 10) == pytest.approx(0.5 * (n - 10) / n, abs=0.02)
    assert hits(np.arange(n)) == 0.0


def test_prefixes_that_do_not_fit_are_forgotten() -> None:
    spec = cs.spec_of("llama-8b", class_sets=[1])
    spec["systems"][1]["mem_bytes"] = 4.0e10
    problem = _core.Space(json.dumps(spec))
    n, turns = 600, 150
    trace = trace_of(n, 1.0)
    starts = np.arange(n + 1, dtype=np.uint64) * 2

    def hits(turns: int) -> float:
        ids = np.stack([np.arange(n) % turns, n + np.arange(n)], axis=1).ravel()
        groups = [{"id": 0, "shares": [1.0, 0.0]}]
        hashes = (ids.astype(np.uint64), starts, 500)
        options: Json = {"arrivals": [{"kind": "trace", "scale": 1.0}], "warmup": 0.0}
        result = simulate(problem, groups, trace=trace, hashes=hashes, **options)
        return float(result["groups"][0]["hit_rate"][0])

    # 40 GB hold 16 GB of weights and about 145,000 tokens: the last 145 prompts, not the last 150.
    assert hits(50) == pytest.approx(0.5 * (n - 50) / n, abs=0.02)
    assert hits(turns) < 0.1


def test_energy_is_idle_watts_those_of_any_decode_and_what_sequences_add() -> None:
    problem = one_class("llama-8b")
    rate = 0.6 / load_s(problem)
    result = simulate(problem, [{"id": 0, "replicas": 2}], rate=rate, replications=1)
    group = result["groups"][0]
    watts, (busy, _) = group["drawn_w"][0], group["busy"]
    # Two accelerators: 300 W idle, 800 W as soon as there is a sequence, up to 1,200 W in decode.
    assert 600 + 2 * busy * 500 < watts < 600 + 2 * busy * 900
    assert group["energy_j"][0] == pytest.approx(watts * result["window_s"][0], rel=1e-6)


def test_a_layout_rated_slower_is_simulated_slower() -> None:
    prompt, output = map(measured, lengths()[0])
    only = cs.request_class("only", 1.0, prompt, output)
    base: Json = {"classes": [only], "class_sets": [1], "slos": [], "round_trip_s": [[0.0]]}
    spec = cs.spec_of("llama-8b", **base)
    plain = _core.Space(json.dumps(spec))
    factors = {"ttft": 1.4, "tpot": 1.2, "load": 1.1, "prefill_load": 1.0}
    spec["workloads"][0] |= {"time_factors": [factors], "time_factors_of": [0, 0, 0]}
    slower = _core.Space(json.dumps(spec))
    assert load_s(slower) == pytest.approx(1.1 * load_s(plain))
    # At the same utilisation every time is longer by its own factor.
    seen = [simulate(x, [{"id": 0}], rate=0.6 / load_s(x), seed=9) for x in (plain, slower)]
    for metric, factor in (("ttft_s", 1.4), ("tpot_s", 1.2)):
        for i in range(4):
            ratio = p(seen[1], metric, i) / p(seen[0], metric, i)
            assert ratio == pytest.approx(factor, rel=0.01), (metric, i)
    used = [result["groups"][0]["utilisation"][0] for result in seen]
    assert used[1] == pytest.approx(used[0], rel=0.01)


def test_good_requests_meet_their_limits() -> None:
    sizes = varied(1000, 200)
    prompt, output = map(measured, sizes[0])
    only = cs.request_class("only", 1.0, prompt, output)
    limits = [cs.slo("ttft", "p95", 0.07), cs.slo("tpot", "p95", 0.009)]
    base: Json = {"classes": [only], "class_sets": [1], "slos": limits, "round_trip_s": [[0.0]]}
    problem = _core.Space(json.dumps(cs.spec_of("llama-8b", **base)))
    result = simulate(problem, [{"id": 0}], sizes, rate=0.6 / load_s(problem), requests=10_000)
    row = result["classes"][0]
    both, (first, _), (later, _) = row["attainment"][0], *row["within"]
    assert 0 < both <= min(first, later) < 1
    assert both >= first + later - 1
    # p50 of TTFT is below its limit when more than half of the requests keep it.
    assert (first > 0.5) == (p(result, "ttft_s", 1) < 0.07)
    assert row["good_per_s"][0] == pytest.approx(both * 10_000 / result["window_s"][0], rel=0.02)
    assert 0 < row["good_tokens_per_s"][0] < row["tokens_per_s"][0]


def test_the_same_seed_gives_the_same_result_on_any_number_of_threads() -> None:
    problem = one_class("llama-8b")
    rate = 3 * 0.7 / load_s(problem)
    groups = [{"id": 0, "replicas": 2}, {"id": 0, "site": 1}]
    options: Json = {
        "rate": rate,
        "router": "plan",
        "failures": {"mtbf_h": 0.05, "mttr_h": 0.01, "restart": True},
    }
    one, two = (repr(simulate(problem, groups, threads=n, **options)) for n in (1, 2))
    assert one == two
    assert one != repr(simulate(problem, groups, seed=6, **options))


def test_samples_over_time_take_no_more_memory_in_a_longer_run() -> None:
    problem = one_class("llama-8b")
    rate = 0.5 / load_s(problem)
    for requests in (200, 20_000):
        result = simulate(problem, [{"id": 0}], rate=rate, requests=requests, replications=1)
        assert 200 <= len(result["series"]["at_s"]) < 512


BAD: list[tuple[Json, str]] = [
    ({"groups": []}, "at least one"),
    ({"router": "random"}, "router"),
    ({"replications": 0}, "replications"),
    ({"warmup": 1.0}, "warmup"),
    ({"requests": None}, "requests"),
    ({"requests": 0}, "requests"),
    ({"surprise": 1}, "surprise"),
    ({"failures": {"mtbf_h": 0.0, "mttr_h": 1.0, "restart": True}}, "mtbf_h"),
    (
        {"maintenance": [{"group": 0, "replicas": 2, "start_s": 0, "seconds": 1}]},
        r"maintenance\[0\]",
    ),
    ({"arrivals": []}, "arrivals"),
    ({"arrivals": [{"kind": "drawn", "rates": [0.0], "burstiness": 1.0}]}, "sum of rates"),
    ({"arrivals": [{"kind": "drawn", "rates": [1.0, 1.0], "burstiness": 1.0}]}, "one per class"),
    ({"arrivals": [{"kind": "drawn", "rates": [1.0], "burstiness": 0.0}]}, "burstiness"),
    (
        {
            "arrivals": [
                {"kind": "drawn", "rates": [1.0], "burstiness": 1, "curve": {"weights": [0.0]}}
            ]
        },
        "weights",
    ),
    ({"arrivals": [{"kind": "trace", "scale": 1.0}]}, "rows of times"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_fleets_are_refused_by_name(change: Json, message: str) -> None:
    problem = one_class("llama-8b")
    drawn = {"kind": "drawn", "rates": [1.0], "burstiness": 1.0}
    options: Json = {"arrivals": [drawn], "requests": 100, **change}
    groups = options.pop("groups", [{"id": 0}])
    with pytest.raises(ValueError, match=message):
        simulate(problem, groups, **options)


def test_a_pool_without_its_other_half_is_refused() -> None:
    for lonely in ([{"id": 1}], [{"id": 2}], [{"id": 0}, {"id": 2}]):
        with pytest.raises(ValueError, match="pools of one role only"):
            simulate(pools(), lonely, rate=1.0)
    with pytest.raises(ValueError, match="no group takes"):
        simulate(pools(), [{"id": 0, "shares": [0.0]}], rate=1.0)
    with pytest.raises(IndexError):
        simulate(pools(), [{"id": 99}], rate=1.0)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, [0.0, 2.0, 1.0], r"times\[2\]"),
        (0, [-1.0, 0.0, 1.0], r"times\[0\]"),
        (1, [0, 1, 0], r"classes\[1\]"),
        (2, [9, 0, 9], "row 1: input"),
        (3, [9, 9, 0], "row 2: output"),
        (2, [9, 131_072, 9], "row 1: .*longest context"),
    ],
)
def test_bad_rows_of_a_trace_are_named(column: int, value: list[Any], message: str) -> None:
    trace = list(trace_of(3, 1.0))
    trace[column] = np.array(value, dtype=trace[column].dtype)
    arrivals = [{"kind": "trace", "scale": 1.0}]
    with pytest.raises(ValueError, match=message):
        simulate(one_class("llama-8b"), [{"id": 0}], trace=tuple(trace), arrivals=arrivals)


def test_hashes_that_do_not_fit_their_rows_are_refused() -> None:
    trace, arrivals = trace_of(2, 1.0), [{"kind": "trace", "scale": 1.0}]
    ids = np.arange(4, dtype=np.uint64)
    for starts, message in (
        ([0, 3, 4], "row 0: hashes"),
        ([0, 2, 3], "end at the number"),
        ([0, 3, 2, 4], "rise"),
    ):
        hashes = (ids, np.array(starts, dtype=np.uint64), 500)
        with pytest.raises(ValueError, match=message):
            simulate(one_class("llama-8b"), [{"id": 0}], trace=trace, hashes=hashes,
                     arrivals=arrivals)  # fmt: skip
