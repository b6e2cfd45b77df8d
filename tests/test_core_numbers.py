"""The Rust core against published and hand-worked numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import core_spec as cs
import reference as ref
from core_problem import OWNERSHIP, ROOT, Json, ids, problem
from tokenfleet import _core


def sizing(name: str, prompt: float = 1000.0, output: float = 24.0) -> Json:
    """One accelerator with memory for anything, one class of a fixed context."""
    one = cs.request_class("one", 1.0, cs.fixed(prompt), cs.fixed(output))
    spec = cs.spec_of(
        name, classes=[one], slos=[], class_sets=[1], batches=[8], round_trip_s=[[0.0]]
    )
    spec["systems"][1]["mem_bytes"] = 4e12
    return spec


def sizes(name: str, **changes: Any) -> tuple[float, float]:
    """Weight bytes, and KV bytes per token of one sequence at 1,024 tokens."""
    spec = sizing(name)
    spec["workloads"][0].update(changes)
    row = problem(spec).points(ids(0))
    return float(row["weight_bytes_per_gpu"][0]), float(row["kv_bytes_per_gpu"][0]) / 8 / 1024


def test_llama_8b_weighs_what_its_parameters_weigh() -> None:
    # 8,030,261,248 parameters, of which 65 norms of 4,096 are left out; 2 bytes each.
    assert sizes("llama-8b")[0] == 2 * (8_030_261_248 - 65 * 4096)


@pytest.mark.parametrize(
    ("name", "parameters"), [("deepseek-v3", 671.0e9), ("gpt-oss-120b", 116.8e9)]
)
def test_published_parameter_counts(name: str, parameters: float) -> None:
    assert sizes(name)[0] / 2 == pytest.approx(parameters, rel=2e-3)


def test_kv_bytes_per_token_by_hand() -> None:
    assert sizes("llama-70b")[1] == 2 * 80 * 8 * 128 * 2 == 327_680
    assert sizes("llama-70b", kv=[1])[1] == 163_840
    assert sizes("deepseek-v3")[1] == (512 + 64) * 61 * 2 == 70_272
    # Half of the layers see 128 of the 1,024 tokens: 18·(1 + 1/8) layers of 2·8·64 elements.
    assert sizes("gpt-oss-120b")[1] == 18 * 1.125 * 2 * 8 * 64 * 2


def test_kv_heads_divide_only_as_far_as_there_are_any() -> None:
    whole = sizes("llama-70b")[1]
    assert sizes("llama-70b", tp=[8])[1] == whole / 8
    assert sizes("llama-70b", tp=[16])[1] == whole / 8
    assert sizes("deepseek-v3", tp=[16])[1] == sizes("deepseek-v3")[1]


def toy() -> Json:
    """One layer of 10 M weights and a head of 1 M; only matrix products take time."""
    spec = sizing("llama-8b")
    layer = cs.layers(1, cs.gqa(10, 10, 100), cs.dense(2000))
    spec["models"] = [cs.model("toy", 1000, 1000, [layer])]
    kernel = spec["kernels"][2]
    assert (kernel["system"], kernel["engine"]) == (1, 0)
    for figure in ("layer_s", "step_s", "sequence_s", "interference", "ttft_fixed_s"):
        kernel[figure] = 0.0
    kernel["scales"] = {**dict.fromkeys(kernel["scales"], 0.0), "gemm": 1.0}
    kernel["gemm"][0] = {"t0": 1.0, "flops": 1e12, "bw": 1e12, "q": 1.0}
    kernel["elementwise_bw"] = 1e30
    return spec


def test_a_decode_step_by_hand() -> None:
    # Products 3000×1000, 1000×1000, 4000×1000, 1000×2000, head 1000×1000: 11 M weights.
    # Compute 2·11e6 flop = 22 us. Bytes: 2·11e6 weights, 2·6000 in, 2·10000 out = 22.032 us. q = 1.
    got = _core.closed_loop(problem(toy()), (0,) * 6, (1, 1, 1, 1), (1.0, 1000.0, 24.0))
    assert got is not None
    assert got["tpot_s"] == pytest.approx(44.032e-6, rel=1e-12)


def test_accepted_draft_tokens_divide_tpot_and_drafts_cost_time() -> None:
    spec = toy()
    plain = _core.closed_loop(problem(spec), (0,) * 6, (1, 1, 1, 1), (1.0, 1000.0, 24.0))
    # alpha = 0.5, k = 1: (1 − α²)/(1 − α) = 1.5 tokens a step; a draft costs 10 % of a step; two
    # tokens double compute, and double activations beside the weights.
    spec["workloads"][0]["speculation"] = [{"depth": 1, "accepted": 1.5, "draft_cost": 0.1}]
    drafted = _core.closed_loop(problem(spec), (0,) * 6, (1, 1, 1, 1), (1.0, 1000.0, 24.0))
    assert plain is not None
    assert drafted is not None
    assert drafted["tpot_s"] == pytest.approx((44e-6 + 22.064e-6) * 1.1 / 1.5, rel=1e-12)


def test_a_prefill_queue_with_exponential_work_is_mm1() -> None:
    length = {**cs.fixed(4000.0), "m2": 2 * 4000.0**2}
    one = cs.request_class("one", 1.0, length, cs.fixed(2.0))
    spec = cs.spec_of(
        "llama-8b", classes=[one], slos=[], class_sets=[1], round_trip_s=[[0.0]], splits=[0.5]
    )
    p = problem(spec)
    prefill = next(i for i in range(p.space_size) if p.describe(i)["role"] == "prefill")

    def ttft(rate: float) -> list[float]:
        rows = p.recheck(prefill, 0, np.array([rate]))["ttft_s"]
        assert rows is not None
        return rows[0]

    own = ttft(1e-9)[0]
    service = own - 0.04
    busy = 0.8
    loaded = ttft(busy / service)
    assert loaded[0] == pytest.approx(own + busy * service / (1 - busy), rel=1e-6)
    p99 = service / (1 - busy) * math.log(100 * busy)
    assert loaded[4] == pytest.approx(own + p99, rel=1e-6)


def test_the_published_price_rule() -> None:
    assert _core.usd_per_mtok(1.41, 93.25) == pytest.approx(4.20, abs=5e-3)
    assert _core.usd_per_mtok(2.652, 6000.0) == pytest.approx(0.1228, abs=5e-5)
    # The same from a year's totals at full load.
    tokens = 93.25 * 8760 * 3600
    assert _core.usd_per_mtok_delivered(1.41 * 8760, tokens) == pytest.approx(
        _core.usd_per_mtok(1.41, 93.25), rel=1e-12
    )


def test_annuities_from_the_textbook() -> None:
    # 10 % over 5 years: capital recovery 0.263797, sinking fund 0.163797.
    year = _core.system_year(OWNERSHIP)
    assert year["capex_annuity"] == pytest.approx(263_797.48, abs=0.01)
    assert year["residual_credit"] == pytest.approx(-32_759.50, abs=0.01)
    free = _core.system_year({**OWNERSHIP, "cost_of_capital": 0.0})
    assert free["capex_annuity"] == 200_000.0
    tiny = _core.system_year({**OWNERSHIP, "cost_of_capital": 1e-15})
    assert tiny["capex_annuity"] == pytest.approx(200_000.0, rel=1e-12)


@given(
    server=st.floats(1e3, 1e7),
    fractions=st.tuples(*[st.floats(0.0, 0.4)] * 4),
    rate=st.floats(0.001, 0.3),
    years=st.integers(1, 12),
    power=st.floats(0.1, 200.0),
)
def test_system_year_matches_the_reference(
    server: float, fractions: tuple[float, ...], rate: float, years: int, power: float
) -> None:
    network, storage, integration, residual = fractions
    o = {
        **OWNERSHIP,
        "server_usd": server,
        "network_fraction": network,
        "storage_fraction": storage,
        "integration_fraction": integration,
        "residual_fraction": residual,
        "cost_of_capital": rate,
        "life_years": float(years),
        "provisioned_kw": power,
        "rental_usd_per_gpu_h": 2.5,
    }
    got, want = _core.system_year(o), ref.system_year(o)
    assert set(got) == set(want)
    for item, usd in got.items():
        assert usd == pytest.approx(want[item], rel=1e-9)


@pytest.mark.parametrize("numbers", [(1.0, 0.0), (1.0, math.nan), (-1.0, 5.0)])
def test_a_price_of_nonsense_is_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        _core.usd_per_mtok(*numbers)


def test_a_bare_rental_costs_price_times_gpus_times_hours() -> None:
    bare = {**dict.fromkeys(OWNERSHIP, 0.0), "life_years": 1.0, "gpus": 8.0}
    year: Json = dict(_core.system_year({**bare, "rental_usd_per_gpu_h": 2.0}))
    assert year["rental"] == 2.0 * 8 * 8760
    assert sum(v for k, v in year.items() if k != "rental") == 0.0


def test_energy_price_at_the_it_equipment() -> None:
    # 1.25·0.08 $, 1.25·0.4 kg·50 $/t and 1.8 l·2 $/m3.
    terms = {"tariff_usd_per_kwh": 0.08, "pue": 1.25, "carbon_kg_per_kwh": 0.4}
    prices = {"carbon_usd_per_t": 50.0, "water_l_per_kwh_it": 1.8, "water_usd_per_m3": 2.0}
    cost = _core.kwh_it_cost({**terms, **prices})
    assert cost == pytest.approx({"energy": 0.1, "carbon": 0.025, "water": 0.0036})
    with pytest.raises(ValueError, match="pue"):
        _core.kwh_it_cost({"tariff_usd_per_kwh": 0.08, "pue": 0.9})


def table(section: str, text: str) -> dict[str, float]:
    """The two-column tables of a section of ``docs/model.md`` as name → number."""
    body = text.split(f"### {section}\n")[1].split("\n#", maxsplit=1)[0]
    rows = [line.split("|")[1:3] for line in body.splitlines() if line.startswith("| `")]
    return {key.strip().strip("`"): float(value.replace(",", "")) for key, value in rows}


def test_the_worked_cost_case_of_the_manual() -> None:
    text = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")
    given_numbers = table("A worked case: what is given", text)
    stated = table("A worked case: what it costs", text)
    ownership = {name: given_numbers.pop(name) for name in OWNERSHIP}
    year: Json = dict(_core.system_year(ownership))
    terms = {name: given_numbers[name] for name in ("tariff_usd_per_kwh", "pue")}
    price = _core.kwh_it_cost(terms)["energy"]
    requests = given_numbers["requests_per_year"]
    kwh = given_numbers["idle_kw"] * 8760 + requests * given_numbers["joules_per_request"] / 3.6e6
    year["energy"] = kwh * price
    year["energy_kwh"] = kwh
    items = [v for k, v in year.items() if k not in ("capex_usd", "energy_kwh")]
    year["annual_cost"] = sum(items)
    tokens = requests * given_numbers["output_tokens_per_request"]
    year["usd_per_mtok_output"] = _core.usd_per_mtok_delivered(year["annual_cost"], tokens)
    assert set(stated) == set(year)
    for item, value in stated.items():
        assert year[item] == pytest.approx(value, abs=0.006), item
