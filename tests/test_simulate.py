"""The simulator: conservation, stability, determinism, bad input, and the analytic model.

Run as a script, it prints the tables of ``docs/simulation.md``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import core_spec as cs
from tokenfleet import _core

Json = dict[str, Any]
PROMPT, OUTPUT = 1000, 200


Lengths = list[tuple[Any, Any]]


def lengths(prompt: int = PROMPT, output: int = OUTPUT) -> Lengths:
    """One class of fixed lengths."""
    return [(np.array([prompt], dtype=np.uint32), np.array([output], dtype=np.uint32))]


def varied(prompt: int, output: int) -> Lengths:
    """One class whose lengths are about as skewed as those of ``core_spec.spread``."""
    at = np.interp((np.arange(2000) + 0.5) / 2000, *zip(*QUANTILES, strict=True))
    order = np.random.default_rng(1).permutation(at)
    return [(np.ceil(prompt * at).astype(np.uint32), np.ceil(output * order).astype(np.uint32))]


#: Quantiles of a length as a multiple of its mean.
QUANTILES = [(0.0, 0.1), (0.5, 0.8), (0.9, 1.8), (0.95, 2.4), (0.99, 4.0), (1.0, 6.0)]


def measured(tokens: Any) -> Json:
    """What the analytic model is told of an array of lengths."""
    real = tokens.astype(float)
    at = [real.mean(), *np.quantile(real, [0.5, 0.9, 0.95, 0.99])]
    return {"at": [float(x) for x in at], "m2": float((real**2).mean()), "max": float(real.max())}


def one_class(model: str, sizes: Lengths | None = None, **changes: Any) -> Any:
    """A problem of one layout and one class."""
    prompt, output = map(measured, (sizes or lengths())[0])
    only = cs.request_class("only", 1.0, prompt, output)
    base: Json = {"classes": [only], "class_sets": [1], "slos": [], "round_trip_s": [[0.0]]}
    return _core.Space(json.dumps(cs.spec_of(model, **{**base, **changes})))


def load_s(problem: Any, id: int = 0) -> float:
    """Replica-seconds of one request at a full batch."""
    return float(problem.recheck(id, 0, np.array([1e-6]))["utilisation"]) / 1e-6


def at(problem: Any, utilisation: float, **changes: Any) -> Any:
    options: Json = {"requests": 3000, "replications": 4, "seed": 5, **changes}
    fleet = options.get("replicas", 1)
    rates = np.array([fleet * utilisation / load_s(problem)])
    sizes = options.pop("lengths", lengths())
    return _core.simulate(problem, 0, rates, sizes, **options)


def test_above_capacity_every_replication_is_unstable_and_below_none() -> None:
    problem = one_class("llama-8b")
    for replicas in (1, 4):
        above = at(problem, 1.2, replicas=replicas)
        assert above["unstable"] and above["unstable_replications"] == 4
        below = at(problem, 0.8, replicas=replicas)
        assert not below["unstable"] and below["unstable_replications"] == 0
        assert below["classes"][0]["unfinished"] == 0


@pytest.mark.parametrize("utilisation", [0.2, 0.5, 0.8])
def test_utilisation_is_offered_load_over_capacity(utilisation: float) -> None:
    mean, _ = at(one_class("llama-8b"), utilisation)["utilisation"]
    assert mean == pytest.approx(utilisation, rel=0.04)


def test_every_request_is_finished_rejected_or_in_flight() -> None:
    problem = one_class("llama-8b")
    for utilisation, limit in ((0.6, None), (1.5, None), (1.5, 3)):
        result = at(problem, utilisation, waiting_limit=limit)
        c = result["conservation"]
        assert c["arrived"] == c["finished"] + c["rejected"] + c["in_flight"]
        assert (c["rejected"] > 0) == (limit is not None)
        row = result["classes"][0]
        assert row["arrived"] == row["finished"] + row["rejected"] + row["unfinished"]


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads() -> None:
    draft = [{"depth": 2, "accepted": 1.8, "draft_cost": 0.05}]
    problem = one_class("llama-8b", speculation=draft)
    one, two = (repr(at(problem, 0.6, replicas=3, threads=n)) for n in (1, 2))
    assert one == two
    assert one != repr(at(problem, 0.6, replicas=3, seed=6))


def test_bursts_make_the_tail_longer() -> None:
    problem = one_class("llama-8b")
    tails = [at(problem, 0.6, burstiness=b)["classes"][0]["ttft_s"][4][0] for b in (4.0, 1.0, 0.2)]
    assert tails == sorted(tails)


def test_a_replay_is_one_sample() -> None:
    problem = one_class("llama-8b")
    n = 200
    times, zeros = np.arange(n) / 5.0, np.zeros(n, dtype=np.uint32)
    sizes = np.full(n, PROMPT, dtype=np.uint32), np.full(n, OUTPUT, dtype=np.uint32)
    trace = (times, zeros, *sizes)
    result = _core.replay(problem, 0, trace, warmup=0.0)
    mean, half_width = result["classes"][0]["ttft_s"][0]
    assert mean > 0 and np.isnan(half_width)
    assert (result["replications"], result["classes"][0]["finished"]) == (1, n)
    # Twice as many replicas, taken in turn, see half as much each.
    spread = _core.replay(problem, 0, trace, warmup=0.0, replicas=2, router="round_robin")
    assert spread["concurrency"][0] < result["concurrency"][0]


BAD_TRACES = [
    ([0.0, 2.0, 1.0], [9, 9, 9], [9, 9, 9], r"times\[2\]"),
    ([-1.0, 2.0], [9, 9], [9, 9], r"times\[0\]"),
    ([0.0, float("nan")], [9, 9], [9, 9], r"times\[1\]"),
    ([0.0, 1.0], [9, 0], [9, 9], r"row 1: input"),
    ([0.0, 1.0], [9, 9], [0, 9], r"row 0: output"),
    ([0.0, 1.0], [9, 131_072], [9, 9], r"row 1: .*longest context"),
    ([], [], [], "times"),
    ([0.0], [9, 9], [9], "equally long"),
]


@pytest.mark.parametrize(("times", "inputs", "outputs", "message"), BAD_TRACES)
def test_a_bad_trace_is_refused_by_row(
    times: list[float], inputs: list[int], outputs: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _core.replay(
            one_class("llama-8b"),
            0,
            (
                np.array(times, dtype=np.float64),
                np.zeros(len(times), dtype=np.uint32),
                np.array(inputs, dtype=np.uint32),
                np.array(outputs, dtype=np.uint32),
            ),
        )


def test_bad_options_are_refused_by_name() -> None:
    problem = one_class("llama-8b")
    for change, message in (
        ({"router": "random"}, "router: unknown variant `random`, expected"),
        ({"replica": 2}, "unknown field `replica`, expected"),
        ({"seed": 1.5}, "seed: "),
        ({"curve": {"weights": [1.0, "x"]}}, r"curve.weights\[1\]: "),
        ({"burstiness": 0.0}, "burstiness"),
        ({"requests": 0}, "requests"),
        ({"replicas": 0}, "replicas"),
        ({"replications": 0}, "replications"),
        ({"warmup": 1.0}, "warmup"),
        ({"lengths": lengths(0)}, r"lengths\[0\], row 0: input"),
        ({"lengths": [(np.array([], dtype=np.uint32),) * 2]}, r"rows of lengths\[0\]"),
        ({"lengths": []}, "one per class"),
    ):
        with pytest.raises(ValueError, match=message):
            at(problem, 0.5, **{"replicas": 1, **change})
    for rate in (-1.0, 0.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="rates"):
            _core.simulate(problem, 0, np.array([rate]), lengths())
    with pytest.raises(IndexError):
        _core.simulate(problem, problem.space_size, np.array([1.0]), lengths())
    with pytest.raises(IndexError):
        _core.simulate(problem, 0, np.array([1.0]), lengths(), latency_group=1)


#: Model, its degrees, prompt, output.
LAYOUTS: list[tuple[str, Json, int, int]] = [
    ("llama-8b", {}, 1000, 200),
    ("llama-8b", {"batches": [128]}, 500, 500),
    ("llama-8b", {"tp": [2], "pp": [2]}, 4000, 100),
    ("llama-70b", {"tp": [8], "batches": [64]}, 2000, 300),
    ("gpt-oss-120b", {"tp": [4], "batches": [128]}, 3000, 400),
    ("deepseek-v3", {"tp": [1], "adp": [16], "ep": [16], "batches": [256]}, 1000, 500),
    ("llama-8b", {"batches": [256]}, 200, 300),
    ("llama-8b", {"batches": [8]}, 1000, 200),
    ("llama-70b", {"tp": [8]}, 500, 1000),
    ("gpt-oss-120b", {"tp": [8], "batches": [256]}, 1000, 1000),
    ("deepseek-v3", {"tp": [8], "adp": [2], "ep": [16], "batches": [64]}, 4000, 300),
    ("deepseek-v3", {"tp": [1], "adp": [16], "ep": [16], "batches": [512]}, 300, 300),
    ("llama-70b", {"tp": [4], "pp": [2], "batches": [64]}, 1500, 250),
]


#: Near capacity a p99 settles slowly: fewer requests find it too low.
REQUESTS = 20_000


def comparison(kind: Callable[[int, int], Lengths]) -> list[Json]:
    """Analytic and simulated latency of every layout at three loads."""
    rows = []
    for model, degrees, prompt, output in LAYOUTS:
        sizes = kind(prompt, output)
        problem = one_class(model, sizes, **degrees)
        load = load_s(problem)
        full = _core.simulate(
            problem, 0, np.array([1.5 / load]), sizes, requests=4000, replications=2, seed=3
        )
        capacity = full["classes"][0]["served_per_s"][0] * load
        for utilisation in (0.3, 0.6, 0.85):
            rates = np.array([utilisation / load])
            said = problem.recheck(0, 0, rates)
            seen = _core.simulate(
                problem, 0, rates, sizes, requests=REQUESTS, replications=4, seed=3
            )
            row: Json = {"layout": f"{model} {prompt}/{output}", "load": utilisation}
            row["capacity"] = (1.0, capacity)
            for metric in ("ttft_s", "tpot_s"):
                for name, i in (("p50", 1), ("p99", 4)):
                    simulated = seen["classes"][0][metric][i][0]
                    row[f"{metric[:4]}_{name}"] = (said[metric][0][i], simulated)
            rows.append(row)
    return rows


COLUMNS = ("ttft_p50", "ttft_p99", "tpot_p50", "tpot_p99")


def print_comparison(rows: list[Json]) -> dict[str, float]:
    """The tables of docs/simulation.md; the median difference by column."""
    head = " | ".join(COLUMNS)
    print(f"| layout, input/output | capacity | load | {head} |\n|---|---|---|---|---|---|---|")
    for row in rows:
        cells = " | ".join(f"{1e3 * row[c][0]:.1f} / {1e3 * row[c][1]:.1f}" for c in COLUMNS)
        print(f"| {row['layout']} | {row['capacity'][1]:.3f} | {row['load']} | {cells} |")
    off = [[abs(row[c][0] / row[c][1] - 1.0) for row in rows] for c in ("capacity", *COLUMNS)]
    medians = dict(zip(("capacity", *COLUMNS), map(float, np.median(off, axis=1)), strict=True))
    cells = " | ".join(f"{100 * medians[c]:.1f} %" for c in COLUMNS)
    print(f"| median difference | {100 * medians['capacity']:.1f} % | | {cells} |\n")
    return medians


@pytest.mark.parametrize(("model", "degrees", "prompt", "output"), LAYOUTS)
def test_no_layout_is_unstable_below_capacity_or_stable_above(
    model: str, degrees: Json, prompt: int, output: int
) -> None:
    sizes = varied(prompt, output)
    problem = one_class(model, sizes, **degrees)
    for utilisation, burstiness, expected in ((0.9, 1.0, 0), (0.8, 0.2, 0), (1.2, 1.0, 10)):
        options: Json = {"burstiness": burstiness, "requests": 4000, "replications": 10}
        result = at(problem, utilisation, lengths=sizes, **options)
        assert result["unstable_replications"] == expected, utilisation


#: Most that a figure may be too low (the unsafe side) and too high, of any layout and load.
WORST = {
    "capacity": (0.05, 0.05),
    # Prompts of one step end together, which the form counts in full: up to 31 % too long.
    "ttft_p50": (0.20, 0.32),
    "ttft_p99": (0.45, 0.70),
    "tpot_p50": (0.10, 0.15),
    "tpot_p99": (0.20, 0.65),
}


@pytest.mark.parametrize("kind", [lengths, varied])
def test_analytic_and_simulated_latency_agree(kind: Callable[[int, int], Lengths]) -> None:
    rows = comparison(kind)
    medians = print_comparison(rows)
    assert medians["capacity"] < 0.02
    assert medians["ttft_p50"] < 0.10 and medians["tpot_p50"] < 0.05
    assert medians["ttft_p99"] < 0.15 and medians["tpot_p99"] < 0.10
    for name, (low, high) in WORST.items():
        off = [row[name][0] / row[name][1] - 1.0 for row in rows]
        assert -low < min(off) and max(off) < high, name


if __name__ == "__main__":
    for kind in (lengths, varied):
        print_comparison(comparison(kind))
