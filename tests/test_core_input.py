"""What the core refuses, and how it says so."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import core_spec as cs
from core_problem import OWNERSHIP, everything, ids, problem, setting
from tokenfleet import _core


def broken_spec(path: str, value: Any) -> str:
    """The main specification with one field replaced; ``path`` as in the error message."""
    spec = cs.spec()
    at: Any = spec
    *parents, last = path.replace("[", ".").replace("]", "").split(".")
    for step in parents:
        at = at[int(step)] if step.isdigit() else at[step]
    at[int(last) if last.isdigit() else last] = value
    return json.dumps(spec)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("systems[0].mem_bytes", -1.0, "mem_bytes"),
        ("systems[1].idle_w", 0.0, "idle_w"),
        ("systems[0].prefill_w", 100.0, "prefill_w"),
        ("systems[0].scale_out_bw", 0.0, "scale_out_bw"),
        ("systems[0].color", 1.0, "color"),
        ("systems[0].gpus", 2.5, "2.5"),
        ("models[0].hidden", 0, "hidden"),
        ("models[1].layers[0].ffn.topk", 0, "topk"),
        ("models[0].layers[0].attention.kind", "magic", "magic"),
        ("dtypes[0].weight_bytes", 0.0, "weight_bytes"),
        ("kv_dtypes[0].bytes", -2.0, "bytes"),
        ("kernels[0].gemm[0].q", 0.5, "gemm.q"),
        ("kernels[0].gemm[0].flops", 0.0, "gemm.flops"),
        ("kernels[0].chunk_tokens", 0, "chunk_tokens"),
        ("kernels[0].mem_fraction", 1.5, "mem_fraction"),
        ("workloads[0].classes", [], "classes"),
        ("workloads[0].classes[0].share", -0.1, "share"),
        ("workloads[0].classes[0].hit_rate", 1.0, "hit_rate"),
        ("workloads[0].classes[0].input.m2", 1.0, "input.m2"),
        ("workloads[0].classes[1].output.at[4]", -1.0, "output.at"),
        ("workloads[0].classes[1].output.max", 0.0, "output.max"),
        ("workloads[0].slos[0].limit_s", 0.0, "limit_s"),
        ("workloads[0].slos[0].metric", "speed", "speed"),
        ("workloads[0].slos[0].class", 2, "class"),
        ("workloads[0].slos[0].percentile", 5, "percentile"),
        ("workloads[0].round_trip_s", [], "round_trip_s"),
        ("workloads[0].round_trip_s[0]", [0.0], "round_trip_s"),
        ("workloads[0].class_sets[0]", 4, "class_sets"),
        ("workloads[0].class_sets[0]", 0, "class_sets"),
        ("workloads[0].quality", [1.0], "quality"),
        ("workloads[0].kv_allowed", [[True]], "kv_allowed"),
        ("workloads[0].tp[0]", 0, "tp"),
        ("workloads[0].batches[0]", 0, "batches"),
        ("workloads[1].splits[0]", 1.0, "splits"),
        ("workloads[0].speculation[1].accepted", 0.5, "accepted"),
    ],
)
def test_a_bad_specification_names_its_field(path: str, value: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        _core.Space(broken_spec(path, value))


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("workloads[0].model", r"workloads\[0\].*model"),
        ("workloads[0].systems[0]", r"workloads\[0\].*systems"),
        ("workloads[0].engines[0]", r"workloads\[0\].*engines"),
        ("workloads[0].precisions[0]", r"workloads\[0\].*precision"),
        ("workloads[0].kv[0]", r"workloads\[0\].*kv"),
        ("precisions[0].attention", r"precisions\[0\]"),
        ("kernels[0].system", r"kernels\[0\]\.system"),
        ("kernels[0].engine", r"kernels\[0\]\.engine"),
    ],
)
def test_an_index_that_points_nowhere_is_refused(path: str, named: str) -> None:
    with pytest.raises(ValueError, match=named + ".* = 99"):
        _core.Space(broken_spec(path, 99))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"systems": NaN}', '{"systems": 1e999}', "null"])
def test_text_that_is_no_specification(text: str) -> None:
    with pytest.raises(ValueError, match="specification"):
        _core.Space(text)


def test_missing_and_unknown_fields_are_named() -> None:
    spec = cs.spec()
    del spec["systems"][0]["idle_w"]
    with pytest.raises(ValueError, match="idle_w"):
        problem(spec)
    with pytest.raises(ValueError, match="servr_usd"):
        _core.system_year({**OWNERSHIP, "servr_usd": 1.0})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("life_years", 0.0),
        ("server_usd", -1.0),
        ("residual_fraction", 1.1),
        ("network_fraction", 1.0),
        ("cost_of_capital", -0.5),
        ("hosting_usd_per_kw_month", -1.0),
    ],
)
def test_impossible_finance_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        _core.system_year({**OWNERSHIP, field: value})


def test_numbers_past_the_end_raise_index_error() -> None:
    p = setting("main")[1]
    search = _core.CandidateSearch()
    calls: list[Callable[[], Any]] = [
        lambda: p.describe(p.space_size),
        lambda: p.points(ids(0, p.space_size)),
        lambda: p.points(ids(0), 2),
        lambda: p.recheck(p.space_size, 0, np.zeros(2)),
        lambda: p.recheck(0, 5, np.zeros(2)),
        lambda: search.extend(p, 0, p.partition_count + 1),
        lambda: _core.closed_loop(p, (9, 0, 0, 0, 0, 0), (1, 1, 1, 1), (1.0, 1.0, 1.0)),
        lambda: _core.closed_loop(p, (0, 9, 0, 0, 0, 0), (1, 1, 1, 1), (1.0, 1.0, 1.0)),
    ]
    for call in calls:
        with pytest.raises(IndexError):
            call()


@pytest.mark.parametrize(
    "rates", [[0.1], [0.1, 0.1, 0.1], [-0.1, 0.0], [math.nan, 0.0], [math.inf, 0.0], [0.0, 0.1]]
)
def test_bad_rates_are_refused(rates: list[float]) -> None:
    p = setting("main")[1]
    assert p.describe(0)["classes"] == ["short"]
    with pytest.raises(ValueError, match="rate"):
        p.recheck(0, 0, np.array(rates))


def test_no_layout_cannot_be_rechecked() -> None:
    _, p, configurations = setting("main")
    number = next(c.id for c in configurations if c.layout is None)
    with pytest.raises(ValueError, match="no_layout"):
        p.recheck(number, 0, np.zeros(2))


@pytest.mark.parametrize("load", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, math.nan)])
def test_bad_closed_loop_load_is_refused(load: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="load"):
        _core.closed_loop(setting("main")[1], (0,) * 6, (1, 1, 1, 1), load)


def test_bad_candidates_are_refused_by_prune() -> None:
    good = {"load_s": [1.0], "energy_j": [1.0], "gpus": 1, "idle_w": 1.0, "quality": 1.0}
    assert _core.prune([good, good], 8) == [0]
    cases: list[tuple[Any, str]] = [
        ({"energy_j": [1.0, 1.0]}, r"candidates\[1\].*equally long"),
        ({"load_s": [math.nan]}, r"candidates\[1\].*NaN"),
        ({"gpus": 0}, r"candidates\[1\]\.gpus"),
        ({"gpus": 1.5}, r"\[1\]\.gpus: "),
        ({"idle": 1.0}, "unknown field `idle`"),
    ]
    for change, named in cases:
        with pytest.raises(ValueError, match=named):
            _core.prune([good, {**good, **change}], 8)
    many = {"load_s": [1.0] * 17, "energy_j": [1.0] * 17}
    with pytest.raises(ValueError, match="number of classes = 17"):
        _core.prune([{**good, **many}], 8)


def test_a_system_without_scale_out_link_has_no_pools_of_one_role() -> None:
    spec = cs.spec_of("llama-8b", splits=[0.5])
    spec["systems"][1]["scale_out_bw"] = None
    p = problem(spec)
    status = p.points(everything(p))["status"]
    for number, what in enumerate(status):
        assert (what == "no_layout") == (p.describe(number)["role"] != "serve")
