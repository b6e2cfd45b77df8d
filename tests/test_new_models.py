"""A model and an accelerator that nobody measured: a config and a catalog row are enough."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from published_configs import PUBLISHED, config
from scenarios import buy, hall
from tokenfleet import evaluate, optimize_fleet
from tokenfleet.cli.app import app

Json = dict[str, Any]
CONFIGS = Path(__file__).parents[2] / "shared" / "facts" / "model_configs"
needs_configs = pytest.mark.skipif(not CONFIGS.is_dir(), reason="model configs are not here")
# An accelerator of a vendor that the catalog has not: an eight-way server, by its data sheet only.
HARDWARE: Json = {
    "systems": [
        {
            "id": "acme_x1_8",
            "vendor": "Acme",
            "accelerator": "X1",
            "form": "server",
            "gpus": 8,
            "scale_up_domain": 8,
            "mem_gb": 288,
            "mem_bw_tbps": 6.0,
            "bf16_tflops": 1500,
            "fp8_tflops": 3000,
            "scale_up_gb_per_s_per_gpu": 450,
            "scale_out_gbit_per_s_per_gpu": 400,
            "system_kw": 10.0,
            "cooling": "air",
            "source": "data sheet",
            "as_of": "2026-07",
        }
    ]
}


def cli(*args: object, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in args])
    assert result.exit_code == exit_code, result.output
    return result.stdout


def scenario(model: str, catalogs: list[str], **changes: Any) -> Json:
    """One class of one model on the new accelerator."""
    base: Json = {
        "name": "new",
        "as_of": "2026-07-01",
        "catalog": catalogs,
        "systems": ["acme_x1_8"],
        "engines": ["vllm"],
        "workloads": [
            {
                "id": "chat",
                "model": model,
                "precisions": ["bf16", "fp8"],
                "classes": [{"id": "all", "share": 1.0, "input_tokens": 800, "output_tokens": 200}],
                "slos": [{"metric": "tpot", "percentile": "p95", "limit_ms": 100}],
                "demand": {"requests_per_s": 20.0},
            }
        ],
        "sites": [hall(power_kw="unlimited")],
        "offers": [buy("acme_x1_8", usd=150_000, id="buy")],
        "search": {
            "tensor_parallel": [1, 4, 8],
            "pipeline_parallel": [1],
            "expert_parallel": [1, 8],
            "attention_data_parallel": [1, 8],
            "class_sets": "singles",
            "batch_limits": [8, 64],
        },
    }
    return {**base, **changes}


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    (tmp_path / "hardware.yaml").write_text(yaml.safe_dump(HARDWARE))
    return tmp_path


def imported(folder: Path, name: str, config: Json) -> str:
    """Id of a model that `tokenfleet import` put into models.yaml."""
    model = "".join(c if c.isalnum() else "-" for c in name)
    (folder / "config.json").write_text(json.dumps(config))
    cli("import", folder / "config.json", "--model", model, "-o", folder / "models.yaml", "--force")
    return model


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_architecture_is_evaluated_on_an_unknown_accelerator(name: str, folder: Path) -> None:
    model = imported(folder, name, PUBLISHED[name][0])
    data = scenario(model, ["hardware.yaml", "models.yaml"])
    (folder / "s.yaml").write_text(yaml.safe_dump(data))
    points = evaluate(folder / "s.yaml")
    assert set(points["system"]) == {"acme_x1_8"}
    for column in ("requests_per_s", "tpot_p95_ms", "weight_bytes_per_gpu"):
        assert np.isfinite(points[column]).all() and (points[column] > 0).all()


LLAMA_405B = config("llama", "16384 126 128 8 53248 128256 131072", tie_word_embeddings=False)
QKVO = [f"model.layers.{i}.self_attn.{p}_proj" for i in range(126) for p in "qkvo"]
QWEN3_30B = config(
    "qwen3_moe", "2048 48 32 4 6144 151936 40960", tie_word_embeddings=False, head_dim=128,
    num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768,
)  # fmt: skip


TABLES_30B = 2 * 2 * 151936 * 2048 + 2 * 48 * 2048 * 128  # in 16 bits, the routers beside them
ATTENTION_30B = 48 * 2048 * (2 * 32 + 2 * 4) * 128
EXPERTS_30B = 48 * 3 * 128 * 2048 * 768
GROUPS_OF_32 = {"weights": {"type": "int", "num_bits": 4, "group_size": 32}}
CHECKPOINTS: dict[str, tuple[Json, Json, str, float]] = {
    # 71.9 G weights of attention and 4.2 G of two tables in 16 bits, 329.8 G in 8.
    "Llama-3.1-405B-FP8": (
        LLAMA_405B,
        {"quant_method": "fbgemm_fp8", "modules_to_not_convert": [*QKVO, "lm_head"]},
        "fp8",
        2 * 126 * 2 * 16384 * (16384 + 1024) + 126 * 3 * 16384 * 53248 + 4 * 128256 * 16384,
    ),
    # A scale of 16 bits and a zero of 4 per 128 weights.
    "Qwen3-30B-A3B-AWQ": (
        QWEN3_30B,
        {"quant_method": "awq", "bits": 4, "group_size": 128},
        "int4",
        (4 + 20 / 128) / 8 * (ATTENTION_30B + EXPERTS_30B) + TABLES_30B,
    ),
    # As Kimi-K2.5 is published: experts alone, a scale of 16 bits per 32 weights.
    "integers in groups of 32": (
        QWEN3_30B,
        {
            "quant_method": "compressed-tensors",
            "ignore": ["re:.*self_attn.*", "lm_head"],
            "config_groups": {"group_0": GROUPS_OF_32},
        },
        "int4_g32",
        (4 + 16 / 32) / 8 * EXPERTS_30B + 2 * ATTENTION_30B + TABLES_30B,
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_weights_are_held_in_the_formats_of_the_checkpoint(name: str, folder: Path) -> None:
    data, quant, precision, expected = CHECKPOINTS[name]
    gpus = 8 if data is LLAMA_405B else 1
    model = imported(folder, "checkpoint", {**data, "quantization_config": quant})
    changed = scenario(model, ["hardware.yaml", "models.yaml"])
    changed["search"]["tensor_parallel"] = [gpus]
    changed["search"] |= {"expert_parallel": [1], "attention_data_parallel": [1]}
    changed["workloads"][0]["precisions"] = [precision]
    (folder / "s.yaml").write_text(yaml.safe_dump(changed))
    points = evaluate(folder / "s.yaml")
    held = points["weight_bytes_per_gpu"]
    assert set(points["precision"]) == {precision}
    assert held == pytest.approx(np.full(len(held), expected / gpus), rel=1e-9)
    if data is LLAMA_405B:
        # The feed-forward parts of the first and the last layer, in 16 bits too, are the rest of
        # the 56.8 GiB that servers report.
        ends = 2 * 3 * 16384 * 53248 / gpus
        assert (held[0] + ends) / 2**30 == pytest.approx(56.8, abs=0.1)


@needs_configs
@pytest.mark.parametrize(
    "name",
    [
        "Qwen--Qwen3.5-397B-A17B",
        "zai-org--GLM-5",
        "openai--gpt-oss-20b",
        "google--gemma-4-26B-A4B",
        "MiniMaxAI--MiniMax-M2.5",
    ],
)
def test_public_configs_are_evaluated_too(name: str, folder: Path) -> None:
    config = json.loads((CONFIGS / f"{name}_config.json").read_text())
    model = imported(folder, name, config)
    data = scenario(model, ["hardware.yaml", "models.yaml"])
    (folder / "s.yaml").write_text(yaml.safe_dump(data))
    assert (evaluate(folder / "s.yaml")["requests_per_s"] > 0).all()


def test_a_plan_says_that_nothing_was_measured(folder: Path) -> None:
    model = imported(folder, "Phi-4", PUBLISHED["Phi-4"][0])
    data = scenario(model, ["hardware.yaml", "models.yaml"], confidence=0.9)
    (folder / "s.yaml").write_text(yaml.safe_dump(data))
    plan = optimize_fleet(folder / "s.yaml")
    assert plan.status in ("optimal", "within_gap")
    row = next(r for r in plan.provenance if r.what.startswith("throughput"))
    assert (row.cls, row.models[0].known, row.models[0].runs) == (
        "inherited",
        "new_kind",
        0,
    )
    assert any(w.kind == "inherited" and w.system == "acme_x1_8" for w in plan.warnings)
    (figures,) = plan.hardware
    assert (figures.system, figures.own, figures.source) == ("acme_x1_8", True, "data sheet")
    said = cli("plan", folder / "s.yaml")
    assert "acme" in said.casefold() or "X1" in said


def test_a_config_may_be_named_in_the_catalog_file_itself(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(PUBLISHED["Phi-4"][0]))
    rows = {"models": [{"id": "My-Phi", "config": "config.json", "source": "publisher"}]}
    (folder / "own.yaml").write_text(yaml.safe_dump(rows))
    (folder / "s.yaml").write_text(
        yaml.safe_dump(scenario("My-Phi", ["hardware.yaml", "own.yaml"]))
    )
    assert len(evaluate(folder / "s.yaml")["system"])


@pytest.mark.parametrize("name", ["Phi-4", "GLM-4.5", "DeepSeek-V2-Lite", "Qwen3-Next-80B-A3B"])
def test_backtest_answers_for_both(name: str, folder: Path) -> None:
    """Rows of an unknown model and accelerator are predicted, with the interval of a new kind."""
    model = imported(folder, name, PUBLISHED[name][0])
    row = {
        "id": "a", "system": "acme_x1_8", "backend": "vllm", "backend_version": "1.0",
        "model": f"publisher/{model}", "precision": "fp8", "gpus": 2, "attn_tp": 2, "attn_dp": 1,
        "ep": 1, "concurrency": 16, "isl": 1000, "osl": 200, "ttft_ms": 300, "tpot_ms": 20,
        "output_tok_s_gpu": 90,
    }  # fmt: skip
    with (folder / "points.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    catalogs = ("--catalog", folder / "hardware.yaml", "--catalog", folder / "models.yaml")
    found = json.loads(cli("backtest", folder / "points.csv", *catalogs, "--json"))
    assert found["skipped"] == []
    assert found["overall"]["n"] == 1
    assert found["overall"]["tpot_mape_pct"] is not None
    known = {(r["by"], r["value"]) for r in found["regimes"]}
    assert ("knowledge", "new_kind") in known
    assert ("provenance", "inherited") in known
    # Without the catalogs no row is predicted, which is bad input.
    alone = json.loads(cli("backtest", folder / "points.csv", "--json", exit_code=2))
    assert "not in the catalog" in alone["skipped"][0]["reason"]


@pytest.mark.parametrize("missing", ["mem_bw_tbps", "bf16_tflops", "scale_up_gb_per_s_per_gpu"])
def test_a_figure_that_is_missing_is_named(missing: str, folder: Path) -> None:
    hardware = {"systems": [{k: v for k, v in HARDWARE["systems"][0].items() if k != missing}]}
    (folder / "hardware.yaml").write_text(yaml.safe_dump(hardware))
    data = scenario("llama-3.1-8b", ["hardware.yaml"])
    (folder / "s.yaml").write_text(yaml.safe_dump(data))
    result = CliRunner().invoke(app, ["plan", str(folder / "s.yaml"), "--json"])
    # One accelerator needs no link, 8 bits no 16-bit peak: the plan says what it leaves out.
    assert result.exit_code == (3 if missing == "mem_bw_tbps" else 0)
    assert f"no sourced figure for {missing}" in result.output


def test_models_are_written_with_their_file_and_warnings(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        text = json.dumps(PUBLISHED["Gemma-3-12B"][0])
        (folder / name / "config.json").write_text(text)
    files = [folder / name / "config.json" for name in ("a", "b")]
    cli("import", *files, "-o", folder / "models.yaml")
    rows = yaml.safe_load((folder / "models.yaml").read_text())["models"]
    assert [r["id"] for r in rows] == ["a", "b"]
    assert rows[0]["source"] == "imported from config.json"
    assert "head_dim 256" in rows[0]["notes"]
    result = CliRunner().invoke(
        app, ["import", *map(str, files), "--model", "x", "-o", str(folder / "again.yaml")]
    )
    assert result.exit_code == 2 and "two models of the id 'x'" in result.output
    result = CliRunner().invoke(app, ["import", str(files[0]), "-o", str(folder / "models.csv")])
    assert result.exit_code == 2 and "-o NAME.yaml" in result.output


def test_a_refused_key_may_be_ignored_on_the_command_line(folder: Path) -> None:
    data = {**PUBLISHED["Phi-4"][0], "compress_ratios": [4]}
    (folder / "config.json").write_text(json.dumps(data))
    args = ["import", str(folder / "config.json"), "--model", "x"]
    refused = CliRunner().invoke(app, args)
    assert refused.exit_code == 2 and "compress_ratios" in refused.output
    found = CliRunner().invoke(app, [*args, "--ignore", "compress_ratios"])
    assert found.exit_code == 0 and "left out, as asked" in found.output
    rows = [{"id": "x", "config": "config.json", "ignore": ["compress_ratios"]}]
    (folder / "own.yaml").write_text(yaml.safe_dump({"models": rows}))
    (folder / "s.yaml").write_text(yaml.safe_dump(scenario("x", ["hardware.yaml", "own.yaml"])))
    assert len(evaluate(folder / "s.yaml")["system"])
