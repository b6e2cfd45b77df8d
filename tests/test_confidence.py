"""Factors on times: a fleet that is slower by nature is the judge of one that is rated slower."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import measure_confidence
from core_spec import spec as whole_spec
from core_spec import spec_of
from scenarios import buy, hall
from tokenfleet import _core, evaluate, optimize_fleet
from tokenfleet.backtest import backtest
from tokenfleet.calibration import SHIPPED, Calibration, Spread
from tokenfleet.catalog import load_catalog
from tokenfleet.errors import Change, InfeasibleError, SchemaError, WayOut
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.optimize import solve_options
from tokenfleet.plan.other import other_answer
from tokenfleet.problem import Built, build
from tokenfleet.problem.build import at_confidence
from tokenfleet.problem.knowledge import PROMISED, Judge, deviations, time_factors
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.latency import verify_latency
from tokenfleet.verify.routed import recheck

Json = dict[str, Any]
ONE = {"ttft": 1.0, "tpot": 1.0, "load": 1.0, "prefill_load": 1.0}
LATENCIES = [f"{m}_{p}_ms" for m in ("ttft", "tpot") for p in ("mean", "p50", "p90", "p95", "p99")]


def with_factors(spec: Json, **factors: float) -> Json:
    """The specification with the same factors on every layout."""
    spec = deepcopy(spec)
    for w in spec["workloads"]:
        cells = math.prod(len(w[axis]) for axis in ("systems", "engines", "precisions", "kv"))
        w["time_factors"] = [{**ONE, **factors}]
        w["time_factors_of"] = [0] * (3 * cells)
    return spec


def slowed(spec: Json, g: float) -> Json:
    """The specification with everything that takes time taking g times as long; sites stay near."""
    spec = deepcopy(spec)
    slower = {"t0", "a1", "a2", "alpha", "layer_s", "step_s", "sequence_s", "ttft_fixed_s"}
    faster = {"flops", "bw", "act_bw", "mla_flops", "mla_bw", "bw1", "bw2", "elementwise_bw"}

    def walk(node: Any) -> None:
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(value, dict | list):
                walk(value)
            elif key in slower:
                node[key] = g * value
            elif key in faster:
                node[key] = value / g

    walk(spec["kernels"])
    for system in spec["systems"]:
        system["scale_out_bw"] /= g
    return spec


def every_point(spec: Json) -> dict[str, Any]:
    """Operating points at the far group of sites of one configuration in forty."""
    core = _core.Space(json.dumps(spec))
    return core.points(np.arange(0, core.space_size, 41, dtype=np.uint64), 1)


@pytest.mark.parametrize("g", [1.25, 2.0])
def test_rated_slower_is_being_slower(g: float) -> None:
    """All factors alike are one slower clock: kernels, links and engine g times as slow."""
    rated = every_point(with_factors(whole_spec(), ttft=g, tpot=g, load=g, prefill_load=g))
    slow = every_point(slowed(whole_spec(), g))
    ok = np.array(slow["status"]) == "ok"
    assert ok.sum() > 50
    assert rated["status"] == slow["status"]
    for name in ("capacity", "requests_per_s", "drawn_w", *LATENCIES):
        a, b = np.asarray(rated[name])[ok], np.asarray(slow[name])[ok]
        assert a == pytest.approx(b, rel=1e-6, nan_ok=True), name


def test_a_given_mix_is_slower_too() -> None:
    spec = spec_of("llama-8b", class_sets=[0b11], slos=[], batches=[4])
    rates = np.array([0.3, 0.01])
    rated = _core.Space(json.dumps(with_factors(spec, ttft=1.5, tpot=1.5, load=1.5)))
    slow = _core.Space(json.dumps(slowed(spec, 1.5)))
    a, b = rated.recheck(0, 0, rates), slow.recheck(0, 0, rates)
    assert a["utilisation"] == pytest.approx(b["utilisation"], rel=1e-12)
    for name in ("ttft_s", "tpot_s", "concurrency"):
        assert np.array(a[name]) == pytest.approx(np.array(b[name]), rel=1e-9)


@pytest.mark.parametrize(("metric", "percentile"), [("ttft", 4), ("tpot", 3)])
def test_a_factor_on_a_latency_is_a_tighter_limit(metric: str, percentile: int) -> None:
    """With the round trip at zero, 1.3 times a latency within L is a latency within L/1.3."""
    limit = {"ttft": 2.0, "tpot": 0.012}[metric]

    def capacity(limit_s: float, factor: float) -> float:
        slo = {"metric": metric, "percentile": percentile, "limit_s": limit_s, "class": None}
        spec = with_factors(spec_of("llama-8b", slos=[slo]), **{metric: factor})
        points = _core.Space(json.dumps(spec)).points(np.array([0], dtype=np.uint64))
        return float(points["capacity"][0])

    assert capacity(limit, 1.3) == pytest.approx(capacity(limit / 1.3, 1.0), rel=2e-3)
    assert 0.0 < capacity(limit, 1.3) < capacity(limit, 1.0) * 0.99


def test_the_load_grows_by_its_own_factor() -> None:
    """Without limits a replica may be full: rates fall and joules grow by the factor alone."""
    spec = spec_of("llama-8b", slos=[])
    points = [
        _core.Space(json.dumps(with_factors(spec, load=g))).points(np.array([0], np.uint64))
        for g in (1.0, 1.6)
    ]
    rate = [float(p["requests_per_s"][0]) for p in points]
    assert rate[0] / rate[1] == pytest.approx(1.6, rel=1e-12)
    assert points[0]["drawn_w"][0] == pytest.approx(points[1]["drawn_w"][0], rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_factors_of": [0]}, "time_factors_of"),
        ({"time_factors_of": [0, 0, 1]}, "time_factors_of"),
        ({"time_factors": [{**ONE, "tpot": 0.0}]}, "time_factors"),
        ({"time_factors": [], "time_factors_of": [0, 0, 0]}, "time_factors_of"),
        ({"time_factors": [{"tpot": 1.0}]}, "missing field"),
    ],
)
def test_broken_factors_are_refused(change: Json, message: str) -> None:
    spec = with_factors(spec_of("llama-8b"))
    spec["workloads"][0].update(change)
    with pytest.raises(ValueError, match=message):
        _core.Space(json.dumps(spec))


# --- from residuals to factors ------------------------------------------------------------------


def scenario(**changes: Any) -> Json:
    """A small fleet of H100 for a model and engine version that the shipped calibration knows."""
    base: Json = {
        "name": "confidence",
        "confidence": "expected",
        "as_of": "2026-07-01",
        "systems": ["h100_sxm_8"],
        "engines": ["trtllm"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "precisions": ["bf16"],
                "classes": [
                    {"id": "all", "share": 1.0, "input_tokens": 1000, "output_tokens": 300}
                ],
                "slos": [
                    {"metric": "ttft", "percentile": "p99", "limit_ms": 1500},
                    {"metric": "tpot", "percentile": "p95", "limit_ms": 25},
                ],
                "demand": {"requests_per_s": 150.0, "peak_to_mean": 1.5},
            }
        ],
        "sites": [hall(power_kw="unlimited")],
        "offers": [buy(id="buy")],
        "search": {"tensor_parallel": [1, 2], "pipeline_parallel": [1], "class_sets": "singles"},
        "solver": {"gap": 1e-6},
    }
    return {**base, **changes}


def built(**changes: Any) -> Built:
    """The problem of a scenario."""
    return build(load_scenario(scenario(**changes)))


def spreads(calibration: Calibration, level: str) -> dict[str, float]:
    """Half-widths of a level, of what a plan promises."""
    own = [s for s in calibration.spreads if s.level == level and s.metric in PROMISED]
    return {s.metric: s.log_half_width for s in own}


def test_the_upper_end_of_the_interval_is_ninety_percent() -> None:
    """One side of an 80 % interval: e^h. And z(0.95) = 1.644854, z(0.9) = 1.281552."""
    assert deviations(0.5) == 0.0
    assert deviations(0.9) == pytest.approx(1.0, abs=1e-12)
    assert deviations(0.95) == pytest.approx(1.644854 / 1.281552, rel=1e-5)


def test_without_biases_the_spread_is_that_of_a_cell_nobody_measured() -> None:
    problem = built(confidence=0.9)
    assert problem.specification is not None
    judge = Judge(problem.loaded, problem.specification)
    known = judge.of(0, problem.problem.candidates[0].label)
    wide = spreads(Calibration.read(SHIPPED), "new_cell")
    assert known.provenance == "calibrated"
    assert known.log_bias == 0.0
    assert dict(known.half_width) == wide
    assert time_factors(known, 0.9) == pytest.approx(
        {
            "ttft": math.exp(wide["ttft"]),
            "tpot": math.exp(wide["tpot"]),
            "load": math.exp(wide["capacity"]),
            "prefill_load": math.exp(wide["capacity"]),
        }
    )


def test_loads_carry_the_factor_when_no_limit_binds() -> None:
    """Limits far off: at 0.9 a request takes e^h times as many replica-seconds."""
    loose = deepcopy(scenario()["workloads"])
    loose[0]["slos"] = []
    plain, sure = built(workloads=loose), built(workloads=loose, confidence=0.9)
    h = spreads(Calibration.read(SHIPPED), "new_cell")["capacity"]
    loads = [
        {plain.origins[c.id][0]: c.load[0] for c in plain.problem.candidates},
        {sure.origins[c.id][0]: c.load[0] for c in sure.problem.candidates},
    ]
    shared = set(loads[0]) & set(loads[1])
    assert shared
    for number in shared:
        assert loads[1][number] == pytest.approx(math.exp(h) * loads[0][number], rel=1e-9)


def test_efficiencies_of_another_generation_are_wider_and_of_the_same_are_not() -> None:
    """MI300X has NVIDIA's efficiencies; B300 takes experts' from B200, which changed nothing."""
    problem = built(systems=["h100_sxm_8", "mi300x_8"], engines=["vllm"], offers=[])
    assert problem.specification is not None
    judge = Judge(problem.loaded, problem.specification)
    layout = {"engine": "vllm", "precision": "bf16", "kv_dtype": "bf16", "tp": 1, "attention_dp": 1}
    own = judge.of(0, {**layout, "system": "h100_sxm_8"})
    foreign = judge.of(0, {**layout, "system": "mi300x_8"})
    assert foreign.provenance == "inherited"
    for metric, factor in (("tpot", 3.25), ("capacity", 1.5), ("ttft", 1.25)):
        assert foreign.half_width[metric] == pytest.approx(factor * own.half_width[metric])

    workloads = deepcopy(scenario()["workloads"])
    workloads[0] |= {"model": "qwen3.5-397b-a17b", "precisions": ["nvfp4"]}
    near = built(systems=["b300_sxm_8"], engines=["vllm"], offers=[], workloads=workloads)
    assert near.specification is not None
    routed = {**layout, "precision": "nvfp4", "kv_dtype": "fp8", "system": "b300_sxm_8"}
    known = Judge(near.loaded, near.specification).of(0, {**routed, "tp": 8})
    assert known.provenance == "inherited"
    assert dict(known.half_width) == spreads(Calibration.read(SHIPPED), "new_cell")


def test_every_operating_point_says_how_it_is_known() -> None:
    table = evaluate(scenario(systems=["h100_sxm_8", "mi300x_8"], engines=["vllm"], offers=[]))
    wide = spreads(Calibration.read(SHIPPED), "new_cell")
    own = table["system"] == "h100_sxm_8"
    assert own.any() and (~own).any()
    assert set(table["provenance"][own]) == {"calibrated"}
    assert set(table["provenance"][~own]) == {"inherited"}
    for metric in PROMISED:
        column = table[f"{metric}_interval80_pct"]
        assert column[own] == pytest.approx(100 * math.expm1(wide[metric]))
        assert (column[~own] > column[own].max()).all()


# --- biases -------------------------------------------------------------------------------------


def level_bias(calibration: Calibration, version_cell: str) -> float:
    """Sum of a version's TPOT levels by hand, H100 and Llama-3.1-8B in bf16."""
    keys = {
        ("accelerator", "h100_sxm_8"),
        ("engine_family", "trtllm | dense"),
        ("precision_generation", "bf16 | NVIDIA fp8"),
        ("cell", "h100_sxm_8 | llama-3.1-8b"),
        ("version_cell", version_cell),
    }
    own = [
        e.log_bias
        for e in calibration.effects
        if e.time == "tpot" and e.term == "level" and (e.kind, e.key) in keys
    ]
    assert len(own) == len(keys)
    return sum(own)


def shipped_version() -> str:
    """A version of TensorRT-LLM that was measured with Llama-3.1-8B on H100."""
    of_cell = [
        e.key
        for e in Calibration.read(SHIPPED).effects
        if e.kind == "version_cell" and e.key.startswith("trtllm ")
    ]
    return next(k for k in of_cell if k.endswith("| h100_sxm_8 | llama-3.1-8b")).split(" ")[1]


def test_a_bias_is_applied_where_its_version_is_named() -> None:
    version = shipped_version()
    calibration = Calibration.read(SHIPPED)
    bias = level_bias(calibration, f"trtllm {version} | h100_sxm_8 | llama-3.1-8b")
    problem = built(calibration="shipped", engine_versions={"trtllm": version})
    assert problem.specification is not None
    known = Judge(problem.loaded, problem.specification).of(0, problem.problem.candidates[0].label)
    assert (known.level, known.provenance) == ("known_cell", "calibrated")
    assert known.log_bias == pytest.approx(bias, abs=1e-12)
    assert known.runs > 0
    wide = spreads(calibration, "new_cell")
    assert known.half_width["tpot"] <= wide["tpot"]
    assert known.half_width["ttft"] == wide["ttft"]
    factors = problem.specification.data["workloads"][0]["time_factors"]
    changed = [f for f in factors if f["tpot"] != 1.0]
    assert changed
    for row in changed:
        assert row == pytest.approx({**ONE, "tpot": math.exp(bias), "load": math.exp(bias)})
    assert not problem.loaded.warnings


@pytest.mark.parametrize("versions", [{}, {"trtllm": "99.1"}])
def test_a_version_that_nobody_measured_gets_no_bias_and_a_warning(versions: Json) -> None:
    plain, asked = built(), built(calibration="shipped", engine_versions=versions)
    assert asked.specification is not None and plain.specification is not None
    assert asked.specification.data == plain.specification.data
    assert any("no bias is applied" in str(w) for w in asked.loaded.warnings)


def test_versions_without_a_calibration_draw_a_warning() -> None:
    loaded = load_scenario(scenario(engine_versions={"trtllm": "1.0"}))
    assert any("no effect without a calibration" in str(w) for w in loaded.warnings)


def test_a_calibration_file_of_ones_own(tmp_path: Path) -> None:
    """Another step time and twice the shipped half-widths in a file: both are used."""
    shipped = Calibration.read(SHIPPED)
    wider = tuple(
        Spread(level=s.level, metric=s.metric, log_half_width=2 * s.log_half_width, n=s.n)
        for s in shipped.spreads
    )
    slow = tuple(
        c.model_copy(update={"value": 7.5}) if (c.name, c.engine) == ("step_ms", "trtllm") else c
        for c in shipped.constants
    )
    own = shipped.model_copy(update={"spreads": wider, "constants": slow})
    own.write(tmp_path / "own.json")
    data = scenario(calibration="own.json", engine_versions={"trtllm": shipped_version()})
    problem = build(load_scenario(data, tmp_path))
    assert problem.specification is not None
    known = Judge(problem.loaded, problem.specification).of(0, problem.problem.candidates[0].label)
    assert known.half_width["ttft"] == pytest.approx(2 * spreads(shipped, "new_cell")["ttft"])
    assert problem.loaded.catalog.kernels.engines["trtllm"]["step_ms"] == 7.5
    assert built().loaded.catalog.kernels.engines["trtllm"]["step_ms"] != 7.5
    with pytest.raises(SchemaError, match=r"absent\.json"):
        load_scenario(scenario(calibration="absent.json"), tmp_path)


# --- what was measured --------------------------------------------------------------------------


def test_the_confidence_is_what_measured_runs_show() -> None:
    """Shipped runs at 0.9: nine in ten are no slower. First tokens have the heavier tail."""
    widths = spreads(Calibration.read(SHIPPED), "new_cell")
    held = measure_confidence.held(backtest().measured_runs(), widths, 0.9)
    assert {metric: n > 100 for metric, (_, n) in held.items()} == dict.fromkeys(PROMISED, True)
    assert 0.85 < held["tpot"][0] < 0.98
    assert 0.85 < held["capacity"][0] < 0.98
    assert 0.80 < held["ttft"][0] < 0.98


def test_a_bias_helps_its_own_version_and_no_other() -> None:
    """Why a plan needs the version's name: mean error of TPOT on runs left out of the fit."""
    points = [p for p in backtest().measured_runs() if p.kind == "closed"][::4]
    own = measure_confidence.left_out(points, "known_cell", measure_confidence.level_only)
    other = measure_confidence.left_out(points, "new_version", measure_confidence.predecessors)
    plain, corrected = (float(np.mean(np.abs(logs))) for logs in own)
    assert corrected < 0.9 * plain
    plain, corrected = (float(np.mean(np.abs(logs))) for logs in other)
    assert corrected > 0.97 * plain


def test_inheriting_within_a_generation_costs_no_accuracy_and_across_it_does() -> None:
    """H100 with the kernels of H200, and with those of no Hopper at all; half-widths of TPOT."""
    book = load_catalog()
    own, near, far = (
        measure_confidence.half_width(
            measure_confidence.of_accelerator(book, gone, "h100_sxm_8", []), "tpot"
        )
        for gone in ((), ("h100_sxm",), ("h100_sxm", "h200_sxm"))
    )
    assert near < 1.2 * own
    assert 1.5 * own < far < 2.4 * own


# --- plans --------------------------------------------------------------------------------------


def test_half_is_what_the_model_expects() -> None:
    plain = optimize_fleet(scenario()).to_json()
    half = optimize_fleet(scenario(confidence=0.5)).to_json()
    for plan in (plain, half):
        plan.pop("seconds")
        plan["origin"].pop("scenario_sha256")  # one states the field; the model is the same
        plan["inputs"] = [row for row in plan["inputs"] if row["what"] != "confidence"]
    assert (plain.pop("confidence"), half.pop("confidence")) == (None, 0.5)
    assert plain == half


def test_a_sure_plan_shows_what_it_promises() -> None:
    plan = optimize_fleet(scenario(confidence=0.9))
    assert plan.confidence == 0.9
    half_widths = spreads(Calibration.read(SHIPPED), "new_cell")
    for row in plan.slo:
        low, high = row.interval_ms
        h = half_widths[row.metric]
        assert row.promised_ms <= row.limit_ms * (1 + 1e-6)
        # The reserve on the rate is in the promise too: it is e^h times what is expected or more.
        assert row.promised_ms >= math.exp(h) * row.expected_ms * (1 - 1e-6)
        assert (low, high) == pytest.approx(
            (row.expected_ms * math.exp(-h), row.expected_ms * math.exp(h))
        )
    row = next(r for r in plan.provenance if r.what.startswith("throughput"))
    assert row.cls == "calibrated"
    model = row.models[0]
    assert model.runs > 0
    for metric in PROMISED:
        assert getattr(model, f"{metric}_interval80_pct") == pytest.approx(
            100 * math.expm1(half_widths[metric])
        )


def test_a_tail_that_nobody_measured_is_said_to_be_extrapolated() -> None:
    said = [
        any(row.kind == "confidence" for row in optimize_fleet(scenario(confidence=c)).warnings)
        for c in (0.95, 0.99)
    ]
    assert said == [False, True]


@settings(max_examples=8, deadline=None)
@given(
    rps=st.floats(20.0, 400.0),
    levels=st.lists(st.integers(10, 19), min_size=2, max_size=2, unique=True),
    goal=st.sampled_from(["least_cost", "least_energy"]),
)
def test_to_be_surer_never_costs_less(rps: float, levels: list[int], goal: str) -> None:
    workloads = deepcopy(scenario()["workloads"])
    workloads[0]["demand"] = {"requests_per_s": rps, "peak_to_mean": 1.5}
    low, high = sorted(levels)
    values = [
        optimize_fleet(
            scenario(workloads=workloads, objective={"kind": goal}, confidence=c),
            compare_single=False,
        ).objective_value
        for c in (0.5, low / 20, high / 20)
    ]
    for less, more in pairwise(values):
        assert more >= less * (1 - 1e-5)


def test_the_check_of_promises_finds_a_reserve_that_is_too_small() -> None:
    """Factors of 0.6 in the search, 0.95 in the check: what the search allows breaks limits."""
    weak = built(confidence=0.6)
    result = solve_mix(
        weak.problem, solve_options(weak.loaded.scenario), lambda found: recheck(weak, found)
    )
    assert verify_latency(weak, result) == []
    strict = weak.loaded.scenario.model_copy(update={"confidence": 0.95})
    asked = replace(weak, loaded=replace(weak.loaded, scenario=strict))
    assert {v.rule for v in verify_latency(asked, result)} == {"latency at its confidence, s"}


def test_pools_keep_their_share_at_a_confidence() -> None:
    search = {**scenario()["search"], "disaggregate": True}
    workloads = deepcopy(scenario()["workloads"])
    workloads[0]["slos"].append({"metric": "e2e", "percentile": "p90", "limit_ms": 12_000})
    asked = built(confidence=0.8, search=search, workloads=workloads)
    assert {c.role for c in asked.problem.candidates} == {"serve", "prefill", "decode"}
    assert optimize_fleet(asked.loaded).status == "optimal"


@pytest.mark.parametrize("value", [0.4, 0.999, 1, "0.9", True])
def test_confidences_that_mean_nothing_are_refused(value: Any) -> None:
    with pytest.raises(SchemaError, match="confidence"):
        load_scenario(scenario(confidence=value))


def test_plans_are_held_at_four_in_five_unless_asked() -> None:
    asked = scenario(confidence=0.8)
    silent = {name: value for name, value in asked.items() if name != "confidence"}
    assert load_scenario(silent).scenario.sure == load_scenario(asked).scenario.sure == 0.8
    assert load_scenario(scenario()).scenario.sure is None


def test_the_answer_at_both_stands_beside_each_other() -> None:
    held = optimize_fleet(scenario(confidence=0.8), both=True)
    expected = optimize_fleet(scenario(), both=True)
    assert held.other is not None and expected.other is not None
    assert (held.other.confidence, expected.other.confidence) == (None, 0.8)
    assert held.other.annual_cost_usd == pytest.approx(expected.annual_cost_usd)
    assert expected.other.annual_cost_usd == pytest.approx(held.annual_cost_usd)
    assert (held.other.gpus, held.other.systems) == (
        expected.gpus,
        {"h100_sxm_8": expected.gpus // 8},
    )
    assert held.other.undecided is None
    assert held.gpus > expected.gpus


def test_a_choice_inside_the_error_names_the_run_that_settles_it() -> None:
    def answer(system: str, confidence: float | str) -> tuple[Built, MixResult]:
        offer = {"id": system, "system": system, "kind": "rent", "term_years": 3}
        offers = [{**offer, "price_usd_per_gpu_h": 2.0}]
        asked = built(systems=[system], engines=["vllm"], offers=offers, confidence=confidence)
        return asked, solve_mix(asked.problem, solve_options(asked.loaded.scenario))

    known, ours = answer("h100_sxm_8", 0.8)
    apart, theirs = answer("mi300x_8", "expected")
    other = other_answer(ours, known, theirs, apart)
    assert other.undecided is not None and set(other.systems) == {"mi300x_8"}
    left = other.undecided
    assert (left.taken, left.instead) == (("h100_sxm_8",), ("mi300x_8",))
    # An accelerator without kernels of its own vendor is the least known.
    assert [text.split(",")[0] for text in left.measure] == [
        "llama-3.1-8b on mi300x_8 under vllm",
        "llama-3.1-8b on h100_sxm_8 under vllm",
    ]
    assert other_answer(ours, known, ours, known).undecided is None


def test_a_plan_that_is_held_bounds_the_expected_answer() -> None:
    """Cut by time, the search at the expectation may end in a worse plan, or in none."""
    known, apart = built(confidence=0.8), built()
    held = solve_mix(known.problem, solve_options(known.loaded.scenario))
    expected = solve_mix(apart.problem, solve_options(apart.loaded.scenario))
    worse = replace(expected, value=2.0 * held.value, bound=0.9 * held.value)
    for cut, gap in ((worse, pytest.approx(0.1)), (None, None)):
        other = other_answer(held, known, cut, apart)
        assert (other.same_plan, other.confidence, other.gap) == (True, None, gap)
        assert other.objective_value == held.value
        assert other.annual_cost_usd == pytest.approx(held.annual_cost_usd)
    # Nothing follows the other way round: what is expected may not be held.
    assert other_answer(expected, apart, None, known).annual_cost_usd is None
    dearer = other_answer(expected, apart, held, known)
    assert (dearer.same_plan, dearer.objective_value) == (False, held.value)


def test_a_limit_that_only_an_expectation_keeps_says_so() -> None:
    def asked(limit_ms: float) -> Json:
        slos = [{"metric": "ttft", "percentile": "p99", "limit_ms": limit_ms}]
        return scenario(workloads=[{**scenario()["workloads"][0], "slos": slos}])

    def kept(limit_ms: float) -> bool:
        try:
            return bool(optimize_fleet(asked(limit_ms), compare_single=False))
        except InfeasibleError as error:
            assert "confidence: expected" not in str(error)
            return False

    tight = asked(next(limit_ms for limit_ms in range(30, 80, 5) if kept(limit_ms)))
    tight.pop("confidence")
    with pytest.raises(InfeasibleError, match="confidence: expected"):
        optimize_fleet(tight)


def test_ways_out_stay_where_the_confidence_is_named() -> None:
    """A hall of 12 kW holds one server of eight: the same repair, asked for or by default."""
    asked = scenario(sites=[hall(power_kw=12.0)], confidence=0.8)
    silent = {name: value for name, value in asked.items() if name != "confidence"}
    with pytest.raises(InfeasibleError) as stated:
        optimize_fleet(asked, compare_single=False)
    with pytest.raises(InfeasibleError, match="confidence: expected") as told:
        optimize_fleet(silent, compare_single=False)
    changes = [change for way in stated.value.repairs for change in way.changes]
    assert [c.limit for c in changes if c.what == "power_kw"] == [12.0]
    assert told.value.repairs == stated.value.repairs
    assert told.value.to_json()["repairs"] == stated.value.to_json()["repairs"]


def test_what_simulation_took_away_keeps_the_ways_out() -> None:
    change = Change("power_kw", "hall", 3.0, 12.0, "kW", "power short by 3 kW")
    error = InfeasibleError("none", ["power"], "add power", [WayOut(0.25, (change,))])
    more = error.saying(message="after 2 rounds none", conflicts=["TTFT p99"], hint="or wait")
    assert (more.message, more.hint) == ("after 2 rounds none", "add power; or wait")
    assert more.conflicts == ("power", "TTFT p99")
    assert more.repairs == error.repairs


def test_measured_columns_have_no_confidence() -> None:
    column = {
        "workload": "chat",
        "class": "all",
        "system": "h100_sxm_8",
        "gpus": 1,
        "rate_rps": 5.0,
    }
    for extra in ({"confidence": 0.9}, {"calibration": "shipped"}):
        with pytest.raises(SchemaError, match="no effect on measured columns"):
            load_scenario(scenario(columns=[column], **extra))


def test_the_command_line_takes_a_confidence(tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps(scenario()))
    command = [sys.executable, "-m", "tokenfleet", "plan", str(path), "--json", "--confidence"]
    found = subprocess.run([*command, "0.9"], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["confidence"] == 0.9
    wrong = subprocess.run([*command, "0.2"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "confidence" in wrong.stderr


@pytest.mark.parametrize("goal", ["least_cost_per_token", "most_tokens", "most_value"])
def test_free_demand_pays_for_confidence_too(goal: str) -> None:
    """Eight servers at most: a token costs more, and fewer are made or less is earned."""
    workloads = deepcopy(scenario()["workloads"])
    workloads[0]["demand"] = {"free": True, "min_requests_per_s": 100.0, "peak_to_mean": 1.5}
    workloads[0]["value_usd_per_mtok_output"] = 20.0
    offers = [{**scenario()["offers"][0], "supply": 8}]
    values = [
        optimize_fleet(
            scenario(
                workloads=workloads, offers=offers, objective={"kind": goal}, confidence=level
            ),
            compare_single=False,
        ).objective_value
        for level in (0.5, 0.7, 0.9)
    ]
    worse = 1 if goal == "least_cost_per_token" else -1
    for less, more in pairwise(values):
        assert worse * more > worse * less


# --- the simulator ------------------------------------------------------------------------------


def simulated(spec: Json, rate: float, limit_s: float = 0.5) -> Any:
    """One replica of Llama-3.1-8B at the same seeded requests."""
    spec = deepcopy(spec)
    spec["workloads"][0]["slos"] = [
        {"metric": "ttft", "percentile": 3, "limit_s": limit_s, "class": None}
    ]
    core = _core.Space(json.dumps(spec))
    lengths = (np.array([1000, 400], dtype=np.uint32), np.array([100, 300], dtype=np.uint32))
    none = (np.array([], dtype=np.uint32), np.array([], dtype=np.uint32))
    return _core.simulate(
        core, 0, np.array([rate, 0.0]), [lengths, none], requests=2000, replications=2, seed=5
    )


def test_the_simulator_runs_the_slower_fleet_too() -> None:
    """As above: factors alike are kernels, links and engine as slow, in all that is measured."""
    spec = spec_of("llama-8b", class_sets=[0b11], batches=[4])
    rated = simulated(with_factors(spec, ttft=1.5, tpot=1.5, load=1.5), 1.0)
    slow = simulated(slowed(spec, 1.5), 1.0)
    plain = simulated(spec, 1.0)
    for name in ("utilisation", "busy", "concurrency"):
        assert rated[name] == pytest.approx(slow[name], rel=1e-6)
    mine, theirs, fast = (found["classes"][0] for found in (rated, slow, plain))
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        a, b = np.array(mine[name])[:, 0], np.array(theirs[name])[:, 0]
        assert a == pytest.approx(b, rel=0.01)  # buckets of 0.4 %
        assert (a > 1.2 * np.array(fast[name])[:, 0]).all()
    assert mine["served_per_s"] == pytest.approx(theirs["served_per_s"], rel=1e-6)


def test_a_replayed_trace_is_felt_slower_too() -> None:
    spec = spec_of("llama-8b", class_sets=[0b11], batches=[4], slos=[])
    times = np.cumsum(np.full(400, 0.8))
    classes = np.zeros(400, dtype=np.uint32)
    tokens = (np.full(400, 900, dtype=np.uint32), np.full(400, 120, dtype=np.uint32))
    rated, slow = (
        _core.replay(_core.Space(json.dumps(s)), 0, (times, classes, *tokens), warmup=0.0)
        for s in (with_factors(spec, ttft=1.5, tpot=1.5, load=1.5), slowed(spec, 1.5))
    )
    for name in ("ttft_s", "tpot_s", "e2e_s", "served_per_s"):
        a, b = (np.array(found["classes"][0][name]) for found in (rated, slow))
        assert a.ravel() == pytest.approx(b.ravel(), rel=0.01, nan_ok=True)


@pytest.mark.parametrize(("first", "then"), [(0.8, "expected"), ("expected", 0.9)])
def test_another_confidence_is_as_if_it_had_been_asked_for(first: Any, then: Any) -> None:
    changed, whole = at_confidence(built(confidence=first), then), built(confidence=then)
    assert changed.specification is not None and whole.specification is not None
    assert changed.specification.data == whole.specification.data
    assert changed.loaded.scenario.sure == whole.loaded.scenario.sure
    assert (changed.counts, changed.origins) == (whole.counts, whole.origins)
    for ours, theirs in zip(changed.problem.candidates, whole.problem.candidates, strict=True):
        assert ours.label == theirs.label
        assert ours.load.tolist() == theirs.load.tolist()
