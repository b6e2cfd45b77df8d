"""The catalog keeps sourced figures as they are published, and blanks blank."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from scenarios import buy, hall
from tokenfleet.catalog import Catalog, load_catalog, merge_files, names, require
from tokenfleet.catalog.check import check_files
from tokenfleet.catalog.find import find
from tokenfleet.catalog.huggingface import read_config
from tokenfleet.catalog.page import columns_page
from tokenfleet.catalog.parts import priced_parts, with_parts
from tokenfleet.catalog.rows import LEAST_WIDE_SHARE
from tokenfleet.cli.app import app
from tokenfleet.errors import CatalogError, SchemaError
from tokenfleet.problem.hosted import build_apis
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema import Offer

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[2] / "shared"
FACTS = SHARED / "facts"
needs_facts = pytest.mark.skipif(not FACTS.is_dir(), reason="facts are not here")

RENAMED = {
    "gpus": "accelerators_per_system",
    "bf16_tflops": "bf16_dense_tflops",
    "fp8_tflops": "fp8_dense_tflops",
    "fp4_tflops": "fp4_dense_tflops",
    "scale_up_gb_per_s_per_gpu": "scale_up_gbps_per_gpu",
    "scale_out_gbit_per_s_per_gpu": "scale_out_gbps_per_gpu",
}
NUMBERS = (*RENAMED, "scale_up_domain", "mem_gb", "mem_bw_tbps", "int8_tops", "tdp_w",
           "system_kw", "rack_units", "release_year")  # fmt: skip


def catalog() -> Catalog:
    return load_catalog()


def test_breadth() -> None:
    vendors = {s.vendor for s in catalog().systems.values()}
    assert vendors >= {"NVIDIA", "AMD", "Google", "Intel", "AWS"}
    assert len(catalog().systems) >= 18
    sizes = [m.total_params for m in catalog().models.values()]
    assert len(sizes) >= 16
    assert min(sizes) < 9e9
    assert max(sizes) > 1e12
    assert len(catalog().vintages) >= 2
    kinds = {p.kind for p in catalog().prices}
    assert kinds >= {"buy", "rent", "all_in", "on_demand"}


def test_every_row_has_source_and_date() -> None:
    book = catalog()
    rows = [*book.systems.values(), *book.models.values(), *book.prices, *book.tco.values(),
            *book.lengths.values(), *book.points]  # fmt: skip
    assert all(r.source and r.as_of for r in rows)
    assert book.kernels.source
    assert book.kernels.as_of


# Newer figures than `hardware.csv`; a card of unknown system and parts that no engine here runs on.
NO_SYSTEMS = {"crescent_island", "groq3_lpx256", "cerebras_cs3"}
# Read on docs.cloud.google.com/tpu/docs/v5p since: 1,200 GB/s both ways, 50 Gbit/s of network; on
# nvidia.com/en-us/data-center/vera-rubin-nvl72: 288 PF of 16 bits and 1,260 of 8 in 72 GPUs.
SINCE = {
    "vr200_nvl72": {"bf16_tflops": "4000", "fp8_tflops": "17500", "int8_tops": "250"},
    "tpu_v5p_4": {
        "mem_bw_tbps": "2.765",
        "fp8_tflops": "459",
        "scale_up_gb_per_s_per_gpu": "600",
        "scale_out_gbit_per_s_per_gpu": "50",
    },
}


@needs_facts
def test_systems_are_the_published_figures() -> None:
    facts: dict[str, dict[str, str]] = {}
    with (FACTS / "hardware.csv").open(encoding="utf-8") as lines:
        facts |= {
            f["id"]: {n: f[RENAMED.get(n, n)] for n in NUMBERS} for f in csv.DictReader(lines)
        }
    del facts["trn3"]  # a chip without a system: its two UltraServers stand for it
    with (FACTS / "new_systems.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["id"] not in NO_SYSTEMS:
                stated = {n: row[n] for n in NUMBERS if row[n]}
                facts[row["id"]] = {
                    **dict.fromkeys(NUMBERS, ""),
                    **facts.get(row["id"], {}),
                } | stated
    for name, stated in SINCE.items():
        facts[name] |= {n: text for n, text in stated.items() if n in NUMBERS}
    assert set(facts) == set(catalog().systems) - {"a100_pcie_8"}
    for name, fact in facts.items():
        row_of = catalog().system(name)
        for column, text in fact.items():
            assert getattr(row_of, column) == (float(text) if text else None), (name, column)


def test_what_nobody_published_of_a_system_is_named() -> None:
    assert catalog().missing_figures("rtx_pro_4500_se_8", hosted=True) == (
        "mem_bw_tbps",
        "bf16_tflops",
    )
    assert catalog().missing_figures("mi350x_8", hosted=True) == ("scale_up_gb_per_s_per_gpu",)
    for now_known in (
        *("trn2_16", "trn3_ultra64", "h100_pcie_8", "l4_8", "arc_pro_b60_8", "tpu_v5p_4"),
    ):
        assert not catalog().missing_figures(now_known, hosted=True)
    # 8 and 4 bits are planned without a 16-bit peak, one accelerator without a link.
    assert not catalog().missing_figures("mi455x_helios72", hosted=True)
    assert not catalog().missing_figures("mi350x_8", hosted=True, alone=True)


def test_an_unknown_16_bit_peak_is_the_least_share_of_the_8_bit_one() -> None:
    rows = catalog().systems.values()
    known = [r.bf16_tflops / r.fp8_tflops for r in rows if r.bf16_tflops and r.fp8_tflops]
    assert pytest.approx(min(known)) == LEAST_WIDE_SHARE
    helios = catalog().system("mi455x_helios72")
    assert helios.bf16_tflops is None
    assert helios.wide_tflops == pytest.approx(20_000 * 4 / 17.5)
    assert catalog().system("h100_sxm_8").wide_tflops == 989
    assert catalog().system("tpu8t").wide_tflops is None


def test_a_model_by_its_layers(tmp_path: Path) -> None:
    """The example of the page, counted by hand: 24 state-space layers with experts, 8 attending
    ones without a feed-forward part, two tables."""
    example = columns_page().split("```yaml\n")[1].split("```")[0]
    (tmp_path / "own.yaml").write_text(example)
    model = merge_files(catalog(), [tmp_path / "own.yaml"]).model("our-model")
    state_space = 4096 * (3 * 8192 + 2 * 8 * 128 + 128)
    experts = 4096 * (3 * (64 * 2048 + 2048) + 64)
    attending = 4096 * 128 * (32 + 32 + 8 + 8)
    tables = 2 * 128_256 * 4096
    assert model.total_params == 24 * (state_space + experts) + 8 * attending + tables
    assert model.kv_elements_per_token == 8 * 2 * 8 * 128
    assert names.family(model) == "moe, hybrid"


@needs_facts
def test_prices_are_the_published_figures() -> None:
    tiers = {
        "usd_per_gpu_h_hyperscaler_own": ("all_in", "hyperscaler_own"),
        "usd_per_gpu_h_neocloud_own": ("all_in", "neocloud_own"),
        "usd_per_gpu_h_rental_3yr": ("rent", "market"),
    }
    accelerators = {"H200": "h200_sxm_8", "GB300": "gb300_nvl72", "MI355X": "mi355x_8"}
    for fact in csv.DictReader((FACTS / "inferencex_gpu_tco.csv").open(encoding="utf-8")):
        if fact["system"] not in accelerators:
            continue
        rows = catalog().price_rows(fact["valid_from"], accelerators[fact["system"]])
        for column, (kind, tier) in tiers.items():
            found = [
                r.price_usd_per_gpu_h
                for r in rows
                if (r.kind, r.tier) == (kind, tier) and r.term_years in (None, 3)
            ]
            assert found == ([float(fact[column])] if fact[column] else [])


def test_prices_of_parts_are_those_of_the_lists() -> None:
    """USD per accelerator-hour of one, two and four: Lambda and RunPod by the accelerator, Azure's
    NC A100 v4 by the instance (3.673, 9.554 and 19.108 USD)."""
    listed = {
        "h100_sxm": (4.29, 4.19, 4.09),
        "b200_sxm": (6.99, 6.89, 6.79),
        "a100_pcie": (3.673, 9.554 / 2, 19.108 / 4),
        "h100_pcie": (3.29,),
        "h200_sxm": (4.59,),
        "a100_sxm": (1.59,),
        "l40s": (1.09,),
    }
    prices = {
        f"{stem}_{gpus}": pytest.approx(usd)
        for stem, all_ in listed.items()
        for gpus, usd in zip((1, 2, 4), all_, strict=False)
    }
    named = priced_parts(catalog())
    found = {n: catalog().price_rows(None, n) for n in named}
    assert {n: row.price_usd_per_gpu_h for n, (row,) in found.items()} == prices
    assert {row.kind for (row,) in found.values()} == {"on_demand"}
    whole = {p.system for p in catalog().prices} - set(named)
    assert whole <= set(catalog().systems)
    assert with_parts(catalog(), named).system("h100_sxm_4").scale_up_domain == 4


def test_a_part_may_have_a_price_of_ones_own(tmp_path: Path) -> None:
    price = {"system": "mi300x_1", "kind": "rent", "term_years": 1, "price_usd_per_gpu_h": 1.5}
    (tmp_path / "own.json").write_text(json.dumps({"prices": [{**price, "source": "a quote"}]}))
    own = merge_files(catalog(), [tmp_path / "own.json"])
    assert "mi300x_1" in priced_parts(own)
    (tmp_path / "own.json").write_text(json.dumps({"prices": [{**price, "system": "mi300x_3"}]}))
    with pytest.raises(SchemaError, match="'mi300x_3' is not in the catalog"):
        merge_files(catalog(), [tmp_path / "own.json"])
    shown = find(catalog(), "l40s_1")
    assert shown["row"]["gpus"] == 1 and len(shown["prices"]) == 1


@needs_facts
def test_tco_is_the_published_table() -> None:
    for fact in csv.DictReader((FACTS / "tco_constants.csv").open(encoding="utf-8")):
        row = catalog().tco_row(fact["parameter"])
        for name in ("low", "typical", "high"):
            assert getattr(row, name) == (float(fact[name]) if fact[name] else None)
        assert (row.unit, row.confidence) == (fact["unit"], fact["confidence"])


@needs_facts
def test_models_are_those_of_the_configs() -> None:
    read = {}
    for path in (FACTS / "model_configs").glob("*_config.json"):
        if "hf_quant" not in path.name:
            shape = read_config(path, "x").architecture.model_dump(exclude={"id"})
            read[path.name[: -len("_config.json")].replace("--", "/")] = shape
    for row in catalog().models.values():
        name = row.source.split("huggingface.co/")[1].split(" config.json")[0]
        shape = row.model_dump(exclude={"id", "source", "as_of", "notes"})
        if row.id == "llama-2-70b":  # no config among the facts: 70B of the next generation, but
            like = read["meta-llama/Meta-Llama-3.1-70B"]
            assert shape == {**like, "vocab": 32_000, "max_context": 4096}
            continue
        if row.id == "glm-4.6":  # the facts' copy is of another family (qwen3_moe); as the next one
            like = catalog().model("glm-4.7").model_dump(exclude={"id", "source", "as_of", "notes"})
            assert shape == like
            continue
        if name not in read:  # compared by its parameters with the card: tests/test_model_configs
            continue
        assert shape == read[name], row.id


@needs_facts
def test_kernel_fits_are_the_published_ones() -> None:
    facts = json.loads((FACTS / "kernel_calibration.json").read_text(encoding="utf-8"))
    kernels = catalog().kernels
    names = {"bfloat16": "bf16"}
    for fit in facts["gemm"]["fits"]:
        if fit["variant"] == "plain":
            engine = kernels.accelerators[fit["system"]].engines[fit["backend"]]
            found = engine.gemm[names.get(fit["dtype"], fit["dtype"])]
            assert (found["ec"], found["em"], found["q"]) == (fit["ec"], fit["em"], fit["q"])
            assert found["t0_us"] == pytest.approx(fit["t0_ms"] * 1000)
    for fit in facts["nccl"]["fits"]:
        if fit["op"] == "alltoall":
            found = kernels.accelerators[fit["system"]].nccl["all_to_all"][fit["n"]]
            assert (found["alpha_us"], found["beff"]) == (fit["alpha_us"], fit["beff"])


@pytest.mark.parametrize("accelerator", ["b200_sxm", "gb200"])
def test_experts_of_tensorrt_llm_on_blackwell_pass_as_often_as_those_scaled_per_tensor(
    accelerator: str,
) -> None:
    """No table has them: the products are those of vLLM's block-scaled experts."""
    engines = catalog().kernels.accelerators[accelerator].engines
    own, block = engines["trtllm"].moe["fp8_block"], engines["vllm"].moe["fp8_block"]
    assert own["act"] == engines["vllm"].moe[own["act_of"]]["act"] < 0.3 * block["act"]
    assert {k: own[k] for k in block if k != "act"} == {
        k: v for k, v in block.items() if k != "act"
    }


def test_lengths_are_those_of_the_traces() -> None:
    code = catalog().length("azure-2023-code")
    assert (code.requests, round(code.input_tokens.mean, 1)) == (8819, 2047.8)
    mooncake = catalog().length("mooncake-conv")
    assert mooncake.block_hit_rate == pytest.approx(0.366, abs=5e-4)
    assert code.block_hit_rate is None
    measured = mooncake.request_classes(None)
    assert all(0.2 < c.prefix_hit_rate < 0.5 for c in measured)
    assert all(c.prefix_hit_rate == 0 for c in mooncake.request_classes())
    assert sum(c.share for c in measured) == pytest.approx(1)


def test_kernel_keys_exist() -> None:
    keys = {s.kernel_key for s in catalog().systems.values()} - {None}
    assert keys <= set(catalog().kernels.accelerators)
    assert len(keys) == 10


def test_published_rule_holds_for_the_published_points() -> None:
    # $/Mtok = ($/GPU-h) / (tokens/s/GPU x 0.0036), to the digits that are published.
    for point in catalog().points:
        if point.usd_per_mtok is None or point.usd_per_gpu_h is None:
            continue
        cost = point.usd_per_gpu_h / (point.tok_s_per_gpu * 0.0036)
        assert cost == pytest.approx(point.usd_per_mtok, abs=0.006, rel=0.04), point.id


def test_blanks_are_errors_when_used() -> None:
    a100 = catalog().system("a100_sxm_8")
    with pytest.raises(CatalogError, match="'a100_sxm_8': fp8_tflops has no") as caught:
        require(a100, "fp8_tflops")
    assert "catalog" in caught.value.hint
    assert require(a100, "bf16_tflops") == 312
    assert catalog().missing_figures("h200_sxm_8") == ()
    assert "system_kw" in catalog().missing_figures("tpu_v6e_8")
    assert catalog().missing_figures("tpu_v6e_8", hosted=True) == ()


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda c: c.system("h200"), "h200_sxm_8"),
        (lambda c: c.system("H200_SXM_8"), "h200_sxm_8"),
        (lambda c: c.model("deepseek-r2"), "deepseek-r1"),
        (lambda c: c.length("azure-code"), "azure-2023-code"),
        (lambda c: c.tco_row("pues"), "pue"),
        (lambda c: c.vintage("2026"), "2026-07"),
    ],
)
def test_unknown_names_bring_the_nearest(call, hint) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CatalogError) as caught:
        call(catalog())
    assert hint in caught.value.hint


def test_price_of_an_offer() -> None:
    book = catalog()
    rent = Offer(id="r", system="h200_sxm_8", kind="rent")
    assert book.price(rent, "2025-10").price_usd_per_gpu_h == 1.6
    assert book.price(rent, None).price_usd_per_gpu_h == 2.9
    all_in = Offer(id="a", system="h200_sxm_8", kind="all_in", price_tier="hyperscaler_own")
    assert book.price(all_in, "2025-10").price_usd_per_gpu_h == 1.41
    several = Offer(id="s", system="h100_sxm_8", kind="rent")
    with pytest.raises(CatalogError, match="several prices"):
        book.price(several, None)
    with pytest.raises(CatalogError, match="no price for buy of h200_sxm_8"):
        book.price(Offer(id="b", system="h200_sxm_8", kind="buy"), None)


# User files


def merged(tmp_path: Path, name: str, text: str) -> Catalog:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return merge_files(catalog(), [path])


def test_a_csv_overrides_what_it_gives_and_keeps_the_rest(tmp_path: Path) -> None:
    book = merged(tmp_path, "mine.csv", "id,system_kw,cooling\ntpu_v6e_8,4.5,air\n")
    row = book.system("tpu_v6e_8")
    assert (row.system_kw, row.mem_gb) == (4.5, 32)
    assert "mine.csv (cooling, system_kw)" in row.source
    assert book.missing_figures("tpu_v6e_8") == ()
    assert "systems:tpu_v6e_8" in book.user_rows
    assert catalog().system("tpu_v6e_8").system_kw is None


def test_prices_are_added_and_replaced(tmp_path: Path) -> None:
    text = (
        "system,kind,term_years,price_usd_per_gpu_h\nh200_sxm_8,rent,3,2.5\na100_sxm_8,rent,1,0.9\n"
    )
    book = merged(tmp_path, "p.csv", text)
    rent = Offer(id="r", system="h200_sxm_8", kind="rent")
    assert book.price(rent, None).price_usd_per_gpu_h == 2.5
    assert book.price(rent, "2025-10").price_usd_per_gpu_h == 1.6
    old = Offer(id="o", system="a100_sxm_8", kind="rent")
    assert book.price(old, None).price_usd_per_gpu_h == 0.9


def test_a_config_becomes_a_model(tmp_path: Path) -> None:
    config = (FIXTURES / "tiny_config.json").read_text(encoding="utf-8")
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    book = merged(tmp_path, "m.yaml", "models:\n- {id: tiny, config: config.json}\n")
    assert book.model("tiny").layer_count == 4
    text = "models:\n- {id: tiny, config: nowhere.json}\n"
    with pytest.raises(SchemaError, match=r"nowhere\.json: no such file"):
        merged(tmp_path, "m.yaml", text)


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("p.csv", "system,kind,price_usd_per_gpu_h\nh200_sxm_8,rent,\"2,9\"\n",
         "row 2.*price_usd_per_gpu_h: '2,9' is not a number", "point"),
        ("p.csv", "system,kind,price_usd_per_gpu_h\nh200_sxm_8,rent,-1\n",
         "row 2.*price_usd_per_gpu_h.*greater than 0, got -1", "zero and negative"),
        ("p.csv", "system,kind,price_usd_per_gpu_h\nh200_sxm_8,rent,nan\n", "'nan'", ""),
        ("p.csv", "system,kind,price_usd_per_gpu_h\nh200_sxm_8,rent,1e999\n", "finite", ""),
        ("p.csv", "system,kind,price_usd_per_gpu_h\nh2000_sxm,rent,1\n",
         "'h2000_sxm' is not in the catalog", "h200_sxm_8"),
        ("p.csv", "system,kind,price\nh200_sxm_8,rent,1\n", "column 'price' is not known",
         "price_usd"),
        ("p.csv", "system,kind,kind\nh200_sxm_8,rent,1\n", "column 'kind' appears twice", ""),
        ("p.csv", "system,kind,price_usd_per_system\nh200_sxm_8,rent,300000\n", "kind rent", "buy"),
        ("p.csv", "", "is empty", "header"),
        ("s.csv", "id,mem_gb\nnew_box,80\n", "vendor: field required", "add this field"),
        ("s.yaml", "system:\n- {id: x}\n", "unknown table 'system'", "systems"),
        ("s.yaml", "systems: {id: x}\n", "should be a list of rows", ""),
        ("s.yaml", "systems:\n- {id: h100_sxm_8, mem_gbb: 80}\n",
         "mem_gbb: unknown field", "mem_gb"),
        ("s.yaml", "systems:\n- {id: h100_sxm_8, mem_gb: '80'}\n",
         "mem_gb.*valid number", "quotes"),
        ("s.txt", "x", "unknown ending", ".yaml"),
    ],
)  # fmt: skip
def test_faulty_user_files(tmp_path: Path, name: str, text: str, message: str, hint: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        merged(tmp_path, name, text)
    assert name in caught.value.message
    assert hint in caught.value.hint


def test_products_that_are_faster_than_the_peak_are_refused(tmp_path: Path) -> None:
    row = "systems:\n- {id: mi300x_8, fp8_achievable_tflops: 12730}\n"
    with pytest.raises(SchemaError, match="above the peak of 2,615 TFLOP/s") as caught:
        merged(tmp_path, "s.yaml", row)
    assert "fp8_achievable_tflops" in str(caught.value)


def test_what_products_reach_is_as_amd_published_it() -> None:
    """Table 1 of "Measuring Max-Achievable FLOPs, part 2" (28 February 2025)."""
    published = {"mi300x_8": (708, 1273), "mi325x_8": (843, 1519)}
    for row in catalog().systems.values():
        stated = (row.bf16_achievable_tflops, row.fp8_achievable_tflops)
        assert stated == published.get(row.id, (None, None)), row.id


def test_unit_slips_in_user_rows_warn(tmp_path: Path) -> None:
    book = merged(tmp_path, "s.yaml", "systems:\n- {id: h100_sxm_8, system_kw: 10200}\n")
    (warning,) = book.warnings
    assert "system_kw" in warning.path
    assert "did you mean W?" in warning.message


DOC = Path(__file__).resolve().parents[1] / "docs" / "catalog.md"
OWN = """
systems:
- {id: my_box_8, vendor: NVIDIA, accelerator: H100 of ours, form: server, gpus: 8, mem_gb: 80,
   mem_bw_tbps: 2.0, bf16_tflops: 756, fp8_tflops: 1513, scale_up_domain: 1, system_kw: 6}
- {id: h100_sxm_8, system_kw: 9.5}
prices:
- {system: my_box_8, kind: buy, price_usd_per_system: 150000}
apis:
- {id: acme/llama, model: llama-3.1-8b, usd_per_mtok_input: 0.4, usd_per_mtok_output: 0.9}
- {id: acme/llama, vintage: 2027-01, valid_from: 2027-01-01, usd_per_mtok_input: 0.2,
   usd_per_mtok_output: 0.5}
"""


def test_files_are_checked_against_the_shipped_catalog(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    checked = check_files([path])
    assert checked.added == (
        "apis:2026-07:acme/llama",
        "apis:2027-01:acme/llama",
        "prices:2026-07:my_box_8:buy:0.0:market",
        "systems:my_box_8",
    )
    assert checked.changed == ("systems:h100_sxm_8",)
    assert checked.missing == ("my_box_8: cooling",)
    assert checked.unpriced == ()


def test_the_page_of_the_catalog_is_right(tmp_path: Path) -> None:
    page = DOC.read_text(encoding="utf-8")
    assert (DOC.parent / "catalog_columns.md").read_text(encoding="utf-8") == columns_page()
    example = page.split("```yaml\n")[1].split("```")[0]
    path = tmp_path / "own.yaml"
    path.write_text(example.split("models:\n")[0])
    assert len(check_files([path]).added) == 2  # an API and a quality
    assert len(check_files([path]).changed) == 4  # a system, two prices, a term


def api_scenario(**api: Any) -> dict[str, Any]:
    classes = [{"id": "c", "share": 1.0, "input_tokens": 1000, "output_tokens": 500}]
    return {
        "name": "hosted",
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": classes,
                "demand": {"requests_per_s": 2},
            }
        ],
        "sites": [hall()],
        "offers": [buy()],
        "apis": [{"id": "acme", "workload": "chat", "region": "eu", **api}],
    }


def test_an_api_takes_the_prices_of_the_book(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    book = merge_files(load_catalog(), [path])
    newest = load_scenario(api_scenario(price="acme/llama"), catalog=book)
    # 1,000 tokens in, 500 out: (1000 * 0.2 + 500 * 0.5) / 1e6
    assert build_apis(newest)[0][0].cost_usd_per_request[0] == pytest.approx(450e-6)
    dated = {**api_scenario(price="acme/llama"), "price_vintage": "2026-07"}
    older = load_scenario(dated, catalog=book)
    assert build_apis(older)[0][0].cost_usd_per_request[0] == pytest.approx(850e-6)
    with pytest.raises(CatalogError, match="no hosted API 'acme/lama'"):
        load_scenario(api_scenario(price="acme/lama"), catalog=book)


@pytest.mark.parametrize(
    ("api", "text"),
    [
        ({"usd_per_mtok_input": 1.0}, "usd_per_mtok_output: field required"),
        ({"price": "x", "usd_per_mtok_input": 1.0}, "usd_per_mtok_input: beside price"),
        ({}, "usd_per_mtok_input: field required"),
    ],
)
def test_an_api_has_one_price(api: dict[str, Any], text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        load_scenario(api_scenario(**api))


@pytest.mark.parametrize(
    "command",
    [
        ["check", "{scenario}"],
        ["plan", "{scenario}"],
        ["evaluate", "{scenario}"],
        ["search", "{scenario}", "--loads", "3"],
        ["catalog", "list", "systems"],
        ["catalog", "show", "my_box_8"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_takes_catalog_files(command: list[str], tmp_path: Path) -> None:
    book, scenario = tmp_path / "own.yaml", tmp_path / "scenario.json"
    book.write_text(OWN.replace("system_kw: 6}", "system_kw: 6, cooling: air}"))
    small = {"max_gpus_per_replica": 1, "batch_limits": [64]}
    data = {**api_scenario(price="acme/llama"), "systems": ["my_box_8"], "search": small}
    data["apis"] = []
    data["offers"] = [{"id": "own", "system": "my_box_8", "kind": "buy"}]
    scenario.write_text(json.dumps(data))
    words = [word.format(scenario=scenario) for word in command]
    done = CliRunner().invoke(app, [*words, "--json", "--catalog", str(book)])
    assert done.exit_code == 0, done.output
    assert "my_box_8" in done.output
    without = CliRunner().invoke(app, [*words, "--json"])
    assert "my_box_8" not in without.stdout or without.exit_code == 2
