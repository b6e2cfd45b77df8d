"""The Rust core against the slow reference, against published numbers, and against itself."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import core_spec as cs
import reference as ref
from tokenfleet import _core

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
NO_WAY = [0.0, 0.0]


def problem(spec: Json) -> _core.Problem:
    return _core.Problem(json.dumps(spec))


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


def everything(p: _core.Problem) -> np.ndarray:
    return np.arange(p.space_size, dtype=np.uint64)


def searched(p: _core.Problem, threads: int = 1) -> _core.Search:
    search = _core.Search()
    search.extend(p, 0, p.partition_count, threads)
    return search


def relative(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b), 1e-300)


# -- the reference --------------------------------------------------------------------------------


def attention_kinds() -> Json:
    """Linear, gated and sparse attention, which the main specification has no model for."""
    shape = {"tp": [1, 2], "pp": [1, 2], "ep": [1, 4], "adp": [1, 4], "precisions": [1]}
    narrow = {**shape, "quality": [1.0], "batches": [8, 64], "splits": [0.6]}
    models = [cs.MODELS["hybrid"], cs.MODELS["sparse"]]
    large = {**narrow, "tp": [4], "adp": [1, 4], "ep": [4, 16], "systems": [1]}
    e2e = [cs.slo("e2e", "p90", 60.0), cs.slo("ttft", "p50", 3.0, only=0)]
    works = [cs.workload("h", 0, **narrow, slos=e2e), cs.workload("s", 1, **large, slos=e2e)]
    return cs.spec_with(models, works)


@cache
def setting(name: str) -> tuple[Json, _core.Problem, list[ref.Configuration]]:
    spec = cs.spec() if name == "main" else attention_kinds()
    return spec, problem(spec), list(ref.configurations(spec))


def sample(name: str, count: int, only_ok: bool) -> list[int]:
    _, p, _ = setting(name)
    status = p.points(everything(p))["status"]
    pool = [i for i, s in enumerate(status) if s == "ok" or not only_ok]
    return sorted(random.Random(7).sample(pool, count))


SAMPLES = [("main", 150), ("kinds", 60)]


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
    n = max(pressure.n, 1.0)
    joules = sum(
        w * ref.request_joules(replica, k, n) for w, k in zip(weights, c.members, strict=True)
    )
    drawn = replica.layout.gpus * replica.layout.system["idle_w"] + rate * joules
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
        got = p.recheck(number, 0, np.array(rates))
        used = sum(f * one.load for f, one in zip(rates, replica.classes, strict=True))
        assert relative(got["utilisation"], used) < 1e-9
        pressure = ref.of_mix(replica, rates)
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
            got = p.closed_loop(axes, degrees, load)
            if c.layout is None or not ref.has_figures(c.layout):
                assert got is None
                continue
            want = ref.closed_loop(c.layout, *load)
            assert got is not None
            assert max(map(relative, got, want)) < 1e-9
            waited += got[0] > 100.0
    assert waited > 10  # caches that hold fewer than 5,000 requests


RUNS = [(64, False, math.inf, False), (4096, True, 500.0, False), (256, False, math.inf, True)]


@pytest.mark.parametrize("name", ["main", "kinds"])
@pytest.mark.parametrize(("batch", "reserved", "requests", "limited"), RUNS)
def test_throughput_matches_the_reference(
    name: str, batch: int, reserved: bool, requests: float, limited: bool
) -> None:
    _, p, _ = setting(name)
    rated = 0
    for c, axes, degrees in serving_places(name, 60):
        options = {"reserved": reserved, "requests": requests, "limited": limited}
        got = _core.throughput(p, axes, degrees, batch, **options)
        if c.layout is None or not ref.has_figures(c.layout):
            assert got is None
            continue
        want = ref.throughput(c.layout, batch, reserved, requests, limited)
        if want is None or got is None:
            assert want is got is None
            continue
        rated += 1
        assert got[1] == want[1]
        assert got[0] == pytest.approx(want[0], rel=2e-3 if limited else 1e-9, abs=1e-12)
    assert rated > 10


def test_bad_throughput_runs_are_refused() -> None:
    _, p, _ = setting("main")
    for batch, requests in ((0, 1.0), (1, 0.0), (1, math.nan)):
        with pytest.raises(ValueError, match="throughput"):
            _core.throughput(p, (0,) * 6, (1, 1, 1, 1), batch, requests=requests)
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
        pressure = ref.of_any_mix(replica, c.members, u)
        n = max(pressure.n, 1.0) if pressure else replica.batch
        assert spec["systems"][kept["system"][row]]["id"] == c.fields["system"]
        assert kept["role"][row] == c.fields["role"]
        assert kept["gpus"][row] == replica.layout.gpus
        for k, one in enumerate(replica.classes):
            if k not in c.members:
                assert kept["load_s"][row][k] == kept["energy_j"][row][k] == math.inf
                continue
            assert relative(kept["load_s"][row][k], one.load / u) < 1e-9
            joules = ref.request_joules(replica, k, n)
            assert relative(kept["energy_j"][row][k], joules) < 1e-9


# -- published and hand-worked numbers ------------------------------------------------------------


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
    got = problem(toy()).closed_loop((0,) * 6, (1, 1, 1, 1), (1.0, 1000.0, 24.0))
    assert got is not None
    assert got[1] == pytest.approx(44.032e-6, rel=1e-12)


def test_accepted_draft_tokens_divide_tpot_and_drafts_cost_time() -> None:
    spec = toy()
    plain = problem(spec).closed_loop((0,) * 6, (1, 1, 1, 1), (1.0, 1000.0, 24.0))
    # alpha = 0.5, k = 1: (1 − α²)/(1 − α) = 1.5 tokens a step; a draft costs 10 % of a step; two
    # tokens double compute, and double activations beside the weights.
    spec["workloads"][0]["speculation"] = [{"depth": 1, "accepted": 1.5, "draft_cost": 0.1}]
    drafted = problem(spec).closed_loop((0,) * 6, (1, 1, 1, 1), (1.0, 1000.0, 24.0))
    assert plain is not None
    assert drafted is not None
    assert drafted[1] == pytest.approx((44e-6 + 22.064e-6) * 1.1 / 1.5, rel=1e-12)


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


OWNERSHIP: Json = {
    "server_usd": 1e6,
    "network_fraction": 0.0,
    "storage_fraction": 0.0,
    "integration_fraction": 0.0,
    "cost_of_capital": 0.1,
    "life_years": 5.0,
    "residual_fraction": 0.2,
    "maintenance_fraction": 0.05,
    "maintained_usd": 1e6,
    "staff_usd_per_kw_year": 100.0,
    "licence_usd_per_gpu_year": 50.0,
    "hosting_usd_per_kw_month": 150.0,
    "rental_usd_per_gpu_h": 0.0,
    "provisioned_kw": 10.0,
    "gpus": 8.0,
}


def test_annuities_from_the_textbook() -> None:
    # 10 % over 5 years: capital recovery 0.263797, sinking fund 0.163797.
    year = _core.system_year(json.dumps(OWNERSHIP))
    assert year["capex_annuity"] == pytest.approx(263_797.48, abs=0.01)
    assert year["residual_credit"] == pytest.approx(-32_759.50, abs=0.01)
    free = _core.system_year(json.dumps({**OWNERSHIP, "cost_of_capital": 0.0}))
    assert free["capex_annuity"] == 200_000.0
    tiny = _core.system_year(json.dumps({**OWNERSHIP, "cost_of_capital": 1e-15}))
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
    got, want = _core.system_year(json.dumps(o)), ref.system_year(o)
    assert set(got) == set(want)
    for item, usd in got.items():
        assert usd == pytest.approx(want[item], rel=1e-9)


@pytest.mark.parametrize("numbers", [(1.0, 0.0), (1.0, math.nan), (-1.0, 5.0)])
def test_a_price_of_nonsense_is_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        _core.usd_per_mtok(*numbers)


def test_a_bare_rental_costs_price_times_gpus_times_hours() -> None:
    bare = {**dict.fromkeys(OWNERSHIP, 0.0), "life_years": 1.0, "gpus": 8.0}
    year: Json = dict(_core.system_year(json.dumps({**bare, "rental_usd_per_gpu_h": 2.0})))
    assert year["rental"] == 2.0 * 8 * 8760
    assert sum(v for k, v in year.items() if k != "rental") == 0.0


def test_energy_price_at_the_it_equipment() -> None:
    # 1.25·(0.08 + 0.4 kg·50 $/t) + 1.8 l·2 $/m3 = 0.125 + 0.0036.
    assert _core.energy_usd_per_kwh_it(0.08, 1.25, 0.4, 50.0, 1.8, 2.0) == pytest.approx(0.1286)


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
    year: Json = dict(_core.system_year(json.dumps(ownership)))
    price = _core.energy_usd_per_kwh_it(
        given_numbers["tariff_usd_per_kwh"], given_numbers["pue"], 0.0, 0.0, 0.0, 0.0
    )
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


# -- every mix ------------------------------------------------------------------------------------


def class_loads(p: _core.Problem, number: int, members: list[int], classes: int) -> list[float]:
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


# -- search and pruning ---------------------------------------------------------------------------


def same(a: _core.Search, b: _core.Search) -> bool:
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
    parts = _core.Search()
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
        pressure = ref.of_any_mix(replica, c.members, u)
        assert pressure is not None
        n = max(pressure.n, 1.0)
        load, joules = [math.inf] * 2, [math.inf] * 2
        for k in c.members:
            load[k] = nine_digits(replica.classes[k].load / u)
            joules[k] = nine_digits(ref.request_joules(replica, k, n))
        quality = 1.0 if c.fields["precision"] == "bf16" else 0.99
        candidate = {"id": c.id, "gpus": replica.layout.gpus, "per_system": 16, "idle_w": 0.0}
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
        np.array([c["load"] for c in candidates]),
        np.array([c["joules"] for c in candidates]),
        np.array([c["gpus"] for c in candidates], dtype=np.uint32),
        np.array([c["idle_w"] for c in candidates]),
        np.array([c["quality"] for c in candidates]),
        8,
    )
    assert kept == left


# -- bad input ------------------------------------------------------------------------------------


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
        _core.Problem(broken_spec(path, value))


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
        _core.Problem(broken_spec(path, 99))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"systems": NaN}', '{"systems": 1e999}', "null"])
def test_text_that_is_no_specification(text: str) -> None:
    with pytest.raises(ValueError, match="specification"):
        _core.Problem(text)


def test_missing_and_unknown_fields_are_named() -> None:
    spec = cs.spec()
    del spec["systems"][0]["idle_w"]
    with pytest.raises(ValueError, match="idle_w"):
        problem(spec)
    with pytest.raises(ValueError, match="servr_usd"):
        _core.system_year(json.dumps({**OWNERSHIP, "servr_usd": 1.0}))


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
        _core.system_year(json.dumps({**OWNERSHIP, field: value}))


def test_numbers_past_the_end_raise_index_error() -> None:
    p = setting("main")[1]
    search = _core.Search()
    calls: list[Callable[[], Any]] = [
        lambda: p.describe(p.space_size),
        lambda: p.points(ids(0, p.space_size)),
        lambda: p.points(ids(0), 2),
        lambda: p.recheck(p.space_size, 0, np.zeros(2)),
        lambda: p.recheck(0, 5, np.zeros(2)),
        lambda: search.extend(p, 0, p.partition_count + 1),
        lambda: p.closed_loop((9, 0, 0, 0, 0, 0), (1, 1, 1, 1), (1.0, 1.0, 1.0)),
        lambda: p.closed_loop((0, 9, 0, 0, 0, 0), (1, 1, 1, 1), (1.0, 1.0, 1.0)),
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
        setting("main")[1].closed_loop((0,) * 6, (1, 1, 1, 1), load)


def test_bad_arrays_are_refused_by_prune() -> None:
    one, two = np.ones((2, 1)), np.ones(2)
    gpus = np.ones(2, dtype=np.uint32)
    cases: list[tuple[Any, Any, Any, Any, Any]] = [
        (one, np.ones((2, 2)), gpus, two, two),
        (one, one, gpus[:1], two, two),
        (np.full((2, 1), math.nan), one, gpus, two, two),
        (one, one, gpus * 0, two, two),
        (np.ones((2, 17)), np.ones((2, 17)), gpus, two, two),
    ]
    for case in cases:
        with pytest.raises(ValueError, match="prune"):
            _core.prune(*case, 8)


def test_a_system_without_scale_out_link_has_no_pools_of_one_role() -> None:
    spec = cs.spec_of("llama-8b", splits=[0.5])
    spec["systems"][1]["scale_out_bw"] = None
    p = problem(spec)
    status = p.points(everything(p))["status"]
    for number, what in enumerate(status):
        assert (what == "no_layout") == (p.describe(number)["role"] != "serve")
