"""Formats that nobody has published weights in are planned where somebody asks for them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from scenarios import buy, hall
from tokenfleet import Plan, optimize_fleet
from tokenfleet.catalog import load_catalog
from tokenfleet.catalog.check import check_files
from tokenfleet.catalog.load import merge_files
from tokenfleet.cli.app import app
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.explanation.precision import _at
from tokenfleet.exports import export
from tokenfleet.problem import build
from tokenfleet.problem.allowed import planned_formats, unpublished_formats
from tokenfleet.problem.check import check
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema.formats import PLANNED, WEIGHT_FORMATS

Json = dict[str, Any]
CATALOG = load_catalog()
SHAPE: Json = {
    "hidden": 2048,
    "vocab": 32000,
    "tied": False,
    "max_context": 8192,
    "layers": [
        {
            "count": 16,
            "attention": {
                "kind": "gqa",
                "heads": 16,
                "kv_heads": 4,
                "head_dim": 128,
                "v_head_dim": 128,
            },
            "ffn": {"kind": "dense", "inter": 8192},
        }
    ],
}


def scenario(model: str, system: str = "h200_sxm_8", **workload: Any) -> Json:
    """One class of a model on one kind of system."""
    return {
        "name": "formats",
        "as_of": "2026-07-01",
        "systems": [system],
        "engines": ["vllm"],
        "workloads": [
            {
                "id": "chat",
                "model": model,
                "classes": [{"id": "all", "share": 1.0, "input_tokens": 800, "output_tokens": 200}],
                "slos": [{"metric": "tpot", "percentile": "p95", "limit_ms": 100}],
                "demand": {"requests_per_s": 20.0},
                **workload,
            }
        ],
        "sites": [hall(power_kw="unlimited", cooling=["air", "direct liquid"])],
        "offers": [buy(system, usd=300_000, id="buy")],
        "search": {
            "tensor_parallel": [1, 8],
            "pipeline_parallel": [1],
            "expert_parallel": [1],
            "attention_data_parallel": [1],
            "class_sets": "singles",
            "batch_limits": [64],
        },
    }


def planned(data: Json) -> tuple[str, ...]:
    """Formats that the first workload is planned in."""
    loaded = load_scenario(data)
    return planned_formats(loaded.scenario, loaded.catalog, loaded.scenario.workloads[0])


def own(folder: Path, rows: Json) -> str:
    """A catalog file with these tables."""
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(rows, sort_keys=False))
    return str(path)


# The catalog's rows


def test_every_row_says_whose_weights_where_and_since_when_it_is_known() -> None:
    keys = [row.key for row in CATALOG.checkpoints]
    assert len(set(keys)) == len(keys)
    for row in CATALOG.checkpoints:
        assert row.model in CATALOG.models and row.precision in WEIGHT_FORMATS
        assert row.source and row.as_of is not None
        publisher, _, name = row.repository.partition("/")
        assert publisher and name and "/" not in name, row.repository


@pytest.mark.parametrize("model", CATALOG.models)
def test_every_model_has_its_publisher_s_own_weights(model: str) -> None:
    native = CATALOG.models[model].native_precision
    assert native is not None and CATALOG.checkpoint(model, native) is not None
    assert native in planned(scenario(model))


@pytest.mark.parametrize(
    ("model", "formats"),
    [  # read from the cards and recipes that the rows name
        ("llama-3.1-8b", ("bf16", "fp8", "nvfp4", "mxfp4")),
        ("llama-3.1-70b-fp8", ("fp8",)),
        ("qwen3-8b", ("bf16", "fp8", "fp8_block", "nvfp4")),
        ("qwen3.5-27b", ("bf16", "fp8_block")),
        ("glm-5", ("bf16", "fp8_block", "nvfp4", "mxfp4")),
        ("deepseek-r1", ("bf16", "fp8_block", "nvfp4", "mxfp4")),
        ("gpt-oss-120b", ("mxfp4",)),
        ("mimo-v2-flash", ("fp8_block",)),
        ("kimi-k2.5", ("nvfp4", "mxfp4", "int4_g32")),  # published as integers
    ],
)
def test_a_model_is_planned_in_what_is_published(model: str, formats: tuple[str, ...]) -> None:
    assert planned(scenario(model)) == formats


def test_integers_that_others_rounded_to_are_left_to_whoever_names_them() -> None:
    assert CATALOG.checkpoint("qwen3-8b", "int4") is not None
    assert "int4" not in planned(scenario("qwen3-8b"))
    assert planned(scenario("qwen3-8b", precisions=["int4", "bf16"])) == ("bf16", "int4")


# Asking for a format


def test_a_name_or_a_quality_score_asks_for_a_format() -> None:
    assert planned(scenario("mimo-v2-flash", precisions=["mxfp4"])) == ("mxfp4",)
    scored = scenario("mimo-v2-flash")
    scored["quality"] = [
        {"model": "mimo-v2-flash", "precision": f, "score": 0.99, "source": "us"}
        for f in ("nvfp4", "int4")
    ]
    assert planned(scored) == ("fp8_block", "nvfp4", "int4")
    loaded = load_scenario(scored)
    left = unpublished_formats(loaded.scenario, loaded.catalog, loaded.scenario.workloads[0])
    assert left == ("bf16", "fp8", "mxfp4")


@pytest.mark.parametrize(("native", "formats"), [("fp8", ("fp8",)), (None, ("bf16",))])
def test_an_own_model_is_planned_in_its_own_format(
    native: str | None, formats: tuple[str, ...], tmp_path: Path
) -> None:
    rows: Json = {"models": [{"id": "mine", **SHAPE, "native_precision": native}]}
    data = {**scenario("mine"), "catalog": [own(tmp_path, rows)]}
    assert planned(data) == formats
    rows["checkpoints"] = [{"model": "mine", "precision": "nvfp4", "repository": "/weights/mine"}]
    own(tmp_path, rows)
    assert planned(data) == (*formats, "nvfp4")


def test_a_table_of_checkpoints_may_stand_alone(tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text("model,precision,repository\nqwen3-8b,mxfp4,us/Qwen3-8B-MXFP4\n")
    merged = merge_files(CATALOG, [path])
    row = merged.checkpoint("qwen3-8b", "mxfp4")
    assert row is not None and row.source == "user file weights.csv"
    assert merged.published_formats("qwen3-8b") == CATALOG.published_formats("qwen3-8b") | {"mxfp4"}
    assert check_files([path]).added == ("checkpoints:qwen3-8b:mxfp4",)
    (formats,) = check_files([path]).published
    assert formats == "qwen3-8b: bf16, fp8, fp8_block, nvfp4, mxfp4, int4"
    path.write_text("model,precision,repository\nqwen3-8b,fp8,us/other\n")
    assert check_files([path]).changed == ("checkpoints:qwen3-8b:fp8",)
    known = merge_files(CATALOG, [path]).checkpoint("qwen3-8b", "fp8")
    assert known is not None and known.repository == "us/other"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("qwen3-9b,fp8,us/weights", "'qwen3-9b' is not in the catalog"),
        ("qwen3-8b,fp6,us/weights", "precision"),
        ("qwen3-8b,fp8,", "repository"),
    ],
)
def test_a_faulty_checkpoint_is_refused(row: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.csv"
    path.write_text(f"model,precision,repository\n{row}\n")
    with pytest.raises(SchemaError, match=said):
        merge_files(CATALOG, [path])


def test_the_catalog_shows_checkpoints() -> None:
    shown = CliRunner().invoke(app, ["catalog", "show", "qwen3-8b"]).output
    assert "nvidia/Qwen3-8B-FP4" in shown and "source" in shown
    listed = CliRunner().invoke(app, ["catalog", "list", "checkpoints", "--json"]).output
    assert '"repository": "nvidia/Qwen3-8B-FP4"' in listed


# What is said


def test_what_is_left_out_is_said_with_how_to_ask_for_it() -> None:
    checked = check(load_scenario(scenario("mimo-v2-flash")))
    said = {row["what"]: row["reason"] for row in checked.not_considered}
    ask = (
        "no published checkpoint of mimo-v2-flash in the catalog; name the format in "
        "workloads[chat].precisions to plan it"
    )
    assert said == {f"workload chat: {f} weights": ask for f in ("bf16", "fp8", "mxfp4")}
    (formats,) = (row for row in checked.assumed if row.what == "workloads[chat].precisions")
    assert formats.value == "fp8_block" and "name others" in formats.source
    named = check(load_scenario(scenario("mimo-v2-flash", precisions=["fp8_block", "mxfp4"])))
    assert named.not_considered == ()
    assert not any(row.what.endswith(".precisions") for row in named.assumed)


def test_configurations_without_published_weights_are_counted() -> None:
    alone = build(load_scenario(scenario("mimo-v2-flash")))
    assert alone.specification is not None
    formats = [f for f in PLANNED if not WEIGHT_FORMATS[f].integer]
    every = build(load_scenario(scenario("mimo-v2-flash", precisions=formats)))
    assert alone.core is not None and every.core is not None
    # nvfp4 is of other accelerators than these: neither planned nor counted
    assert alone.never_built["unpublished"] == every.core.space_size - alone.core.space_size
    assert "unpublished" not in every.never_built


def test_a_system_of_other_formats_alone_is_told_what_to_ask_for() -> None:
    data = scenario("mimo-v2-flash", "a100_sxm_8")  # computes in 16 bits alone
    with pytest.raises(InfeasibleError) as refused:
        optimize_fleet(data)
    said = str(refused.value)
    assert "no system computes in its precisions (fp8_block)" in said
    asked = "(chat: bf16, mxfp4 of mimo-v2-flash): `precisions` asks for it"
    assert asked in refused.value.hint and "for want of a published checkpoint" in said


def test_a_limit_that_nothing_published_keeps_names_what_was_not_tried() -> None:
    data = scenario("qwen3-8b", "mi355x_8")
    data["workloads"][0]["slos"][0]["limit_ms"] = 0.01
    with pytest.raises(InfeasibleError) as refused:
        optimize_fleet(data)
    assert "(chat: mxfp4 of qwen3-8b): `precisions` asks for it" in refused.value.hint


def test_a_supply_that_is_too_small_names_what_was_not_tried() -> None:
    data = scenario("qwen3-8b", "mi355x_8")
    data["offers"][0]["supply"] = 1
    data["workloads"][0]["demand"]["requests_per_s"] = 1e5
    for horizon in ({}, {"horizon": {"start": "2026-10", "periods": 1}}):
        with pytest.raises(InfeasibleError, match="not tried") as refused:
            optimize_fleet({**data, **horizon})
        assert "(chat: mxfp4 of qwen3-8b)" in refused.value.hint


def test_flip_prices_are_of_planned_formats_only() -> None:
    built = build(load_scenario(scenario("mimo-v2-flash")))
    assert _at(built, "mxfp4") == [] and _at(built, "int4") == []
    assert _at(built, "fp8_block")


# The weights of a plan


@pytest.fixture(scope="module", name="plan")
def plan_fixture() -> Plan:
    return optimize_fleet(scenario("qwen3-8b", precisions=["fp8"]))


def test_a_plan_names_the_weights_and_their_source(plan: Plan) -> None:
    (row,) = plan.checkpoints
    assert (row.model, row.precision) == ("qwen3-8b", "fp8")
    assert row.repository == "nvidia/Qwen3-8B-FP8" and "Model-Optimizer" in row.source
    unknown = optimize_fleet(scenario("mimo-v2-flash", precisions=["bf16"]))
    assert unknown.checkpoints == ()
    older = plan.to_json()
    del older["checkpoints"]
    assert Plan.from_json(older).checkpoints == ()


def weights(text: str, **environment: str) -> str:
    """What the script starts the engine with, by the shell itself."""
    assert text.count("vllm serve") == 1
    told = text.replace("vllm serve", "echo")
    done = subprocess.run(
        ["sh"], input=told, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


def test_a_launch_script_starts_the_named_weights_or_others(plan: Plan) -> None:
    text = export(plan, "vllm")
    assert "# Weights: nvidia/Qwen3-8B-FP8 (github.com/NVIDIA/Model-Optimizer" in text
    assert weights(text) == "nvidia/Qwen3-8B-FP8"
    assert weights(text, CHECKPOINT_QWEN3_8B_FP8="/mine") == "/mine"
    assert "nvidia/Qwen3-8B-FP8" in export(plan, "kubernetes")


def test_a_hostile_repository_is_not_run(plan: Plan) -> None:
    (row,) = plan.checkpoints
    nasty = row.model_copy(update={"repository": "a'; echo b\n$(echo c)", "source": "d\necho e"})
    text = export(plan.model_copy(update={"checkpoints": (nasty,)}), "vllm")
    told = text.replace("vllm serve", "printf '%s\\n'")
    done = subprocess.run(["sh"], input=told, env={}, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "a'; echo b $(echo c)"


def test_a_model_of_its_own_under_a_known_id_has_no_facts_of_the_other(tmp_path: Path) -> None:
    known = "llama-3.1-8b"
    path = tmp_path / "own.yaml"

    def merged(row: Json, **more: Any) -> Any:
        path.write_text(yaml.safe_dump({"models": [row], **more}), encoding="utf-8")
        return merge_files(CATALOG, [path])

    def formats(catalog: Any) -> set[str]:
        return {c.precision for c in catalog.checkpoints if c.model == known}

    shipped = CATALOG.models[known].model_dump(mode="json", exclude_none=True)
    longer = merged({**shipped, "max_context": 16_384, "source": "how we serve it"})
    assert formats(longer) == formats(CATALOG) != set()
    assert not any("another model" in str(w) for w in longer.warnings)
    other = merged({"id": known, "source": "ours", **SHAPE})
    assert formats(other) == set()
    assert not [q for q in other.quality if q.model == known]
    assert any("published checkpoints" in str(w) and known in str(w) for w in other.warnings)
    weights = {
        "model": known,
        "precision": "fp8",
        "repository": "/weights/ours",
        "source": "ours",
        "as_of": "2026-07-01",
    }
    assert formats(merged({"id": known, "source": "ours", **SHAPE}, checkpoints=[weights])) == {
        "fp8"
    }
    others = {c.key for c in CATALOG.checkpoints if c.model != known}
    assert {c.key for c in other.checkpoints} == others
