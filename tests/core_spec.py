"""A small specification of the core, by hand: round numbers, real model shapes.

``spec()`` has two systems, two engines and three workloads (dense GQA, MoE with sliding windows,
MLA), each with a short and a long class. ``spec_of()`` has one workload and is what a focused test
changes. Run as a script, it writes the fixture of the Rust benches.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Json = dict[str, Any]

#: Order of ``Length.at`` and of every percentile index.
PERCENTILES = ("mean", "p50", "p90", "p95", "p99")


def fixed(tokens: float) -> Json:
    """A token count that never varies."""
    return {"at": [float(tokens)] * 5, "m2": float(tokens) ** 2, "max": float(tokens)}


def spread(mean: float) -> Json:
    """A right-skewed token count: p50 = 0.8, p90 = 1.8, p95 = 2.4, p99 = 4, max = 8 means."""
    at = [mean, 0.8 * mean, 1.8 * mean, 2.4 * mean, 4.0 * mean]
    return {"at": at, "m2": 2.0 * mean**2, "max": 8.0 * mean}


def request_class(name: str, share: float, prompt: Json, output: Json, hit: float = 0.0) -> Json:
    """A request class."""
    return {"id": name, "share": share, "input": prompt, "output": output, "hit_rate": hit}


def slo(metric: str, percentile: str, limit_s: float, only: int | None = None) -> Json:
    """A latency limit."""
    index = PERCENTILES.index(percentile)
    return {"metric": metric, "percentile": index, "limit_s": limit_s, "class": only}


def gqa(heads: int, kv_heads: int, dim: int, window: int | None = None) -> Json:
    """Grouped-query attention."""
    shape = {"heads": heads, "kv_heads": kv_heads, "head_dim": dim, "v_head_dim": dim}
    return {"kind": "gqa", "window": window, **shape}


def moe(experts: int, topk: int, inter: int, shared: int = 0) -> Json:
    """Routed experts."""
    shape = {"experts": experts, "topk": topk, "inter": inter, "shared_inter": shared}
    return {"kind": "moe", **shape}


def dense(inter: int) -> Json:
    """A dense feed-forward part."""
    return {"kind": "dense", "inter": inter}


def layers(count: int, attention: Json, ffn: Json) -> Json:
    """A run of equal layers."""
    return {"count": count, "attention": attention, "ffn": ffn}


def model(name: str, hidden: int, vocab: int, groups: list[Json], tied: bool = False) -> Json:
    """A model."""
    size = {"hidden": hidden, "vocab": vocab, "max_context": 131_072}
    return {"id": name, "tied": tied, "layers": groups, **size}


DEEPSEEK_MLA: Json = {
    "kind": "mla",
    "heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "rope_dim": 64,
    "nope_dim": 128,
    "v_head_dim": 128,
}
SPARSE_MLA: Json = {**DEEPSEEK_MLA, "index_heads": 64, "index_dim": 128, "index_topk": 2048}
LINEAR: Json = {
    "kind": "linear",
    "key_heads": 16,
    "value_heads": 32,
    "key_dim": 128,
    "value_dim": 128,
}

COMPRESSED: Json = {
    "kind": "compressed",
    "heads": 64,
    "head_dim": 512,
    "q_lora_rank": 1024,
    "o_groups": 8,
    "o_lora_rank": 1024,
    "window": 128,
    "ratio": 128,
    "index_heads": 0,
    "index_dim": 0,
    "index_topk": 0,
}
INDEX: Json = {"index_heads": 64, "index_dim": 128, "index_topk": 512}
NOTHING: Json = {"kind": "none"}

#: Shapes from the models' public ``config.json`` files.
MODELS: dict[str, Json] = {
    "llama-8b": model("llama-8b", 4096, 128_256, [layers(32, gqa(32, 8, 128), dense(14_336))]),
    "gpt-oss-120b": model(
        "gpt-oss-120b",
        2880,
        201_088,
        [
            layers(18, gqa(64, 8, 64, 128), moe(128, 4, 2880)),
            layers(18, gqa(64, 8, 64), moe(128, 4, 2880)),
        ],
    ),
    "deepseek-v3": model(
        "deepseek-v3",
        7168,
        129_280,
        [
            layers(3, DEEPSEEK_MLA, dense(18_432)),
            layers(58, DEEPSEEK_MLA, moe(256, 8, 2048, 2048)),
        ],
    ),
    "llama-70b": model("llama-70b", 8192, 128_256, [layers(80, gqa(64, 8, 128), dense(28_672))]),
    "sparse": model("sparse", 7168, 129_280, [layers(61, SPARSE_MLA, moe(256, 8, 2048, 2048))]),
    "hybrid": model(
        "hybrid",
        2048,
        151_936,
        [
            layers(36, LINEAR, moe(512, 10, 512, 512)),
            layers(
                12,
                {**gqa(16, 2, 256), "output_gate": True, "value_is_key": True},
                moe(512, 10, 512, 512),
            ),
        ],
        tied=True,
    ),
    # Parts of layers as newer models have them, in one model that nobody trained.
    "parts": model(
        "parts",
        4096,
        129_280,
        [
            layers(2, {**COMPRESSED, "ratio": 0}, dense(8192)),
            layers(8, {**COMPRESSED, "ratio": 4, **INDEX}, moe(64, 4, 2048, 2048)),
            layers(8, COMPRESSED, {**moe(64, 4, 2048, 2048), "latent": 1024}),
            layers(
                4,
                {**gqa(64, 4, 128), **INDEX, "q_lora_rank": 2048},
                {**moe(64, 4, 2048), "gated": False},
            ),
            layers(3, {**DEEPSEEK_MLA, "index_topk": 512, "output_gate": True}, NOTHING),
            layers(3, {**LINEAR, "gate_rank": 128}, {**dense(8192), "gated": False}),
            layers(4, {**LINEAR, "key_heads": 1, "copied_keys": True}, NOTHING),
            layers(2, NOTHING, dense(8192)),
        ],
    ),
}

SYSTEMS: list[Json] = [
    {
        "id": "node8",
        "gpus": 8,
        "scale_up_domain": 8,
        "mem_bytes": 1.0e11,
        "scale_out_bw": 5.0e10,
        "idle_w": 200.0,
        "active_w": 450.0,
        "prefill_w": 1000.0,
        "decode_w": 700.0,
    },
    {
        "id": "rack16",
        "gpus": 16,
        "scale_up_domain": 16,
        "mem_bytes": 2.0e11,
        "scale_out_bw": 1.0e11,
        "idle_w": 300.0,
        "active_w": 800.0,
        "prefill_w": 1600.0,
        "decode_w": 1200.0,
    },
]
#: Reached bf16 peak (flop/s) and memory bandwidth (bytes/s) of each system.
PEAKS = [(5.0e14, 2.0e12), (1.0e15, 4.0e12)]
DTYPES: list[Json] = [{"id": "bf16", "weight_bytes": 2.0}, {"id": "fp8", "weight_bytes": 1.0}]
PRECISIONS: list[Json] = [
    {"id": "bf16", "attention": 0, "dense": 0, "experts": 0, "head": 0},
    {"id": "fp8", "attention": 1, "dense": 1, "experts": 1, "head": 0},
]
KV_DTYPES: list[Json] = [{"id": "bf16", "bytes": 2.0}, {"id": "fp8", "bytes": 1.0}]
ENGINES: list[Json] = [{"id": "vllm"}, {"id": "sglang"}]


def kernel(system: int, engine: int) -> Json:
    """Kernels of a (system, engine) pair: fp8 computes twice as fast, engine 1 takes more time."""
    flops, bw = PEAKS[system]
    slower = 1.0 + 0.25 * engine
    link = 4.0e11 * (1 + system)
    attention = {"t0": 5e-6, "bw": 0.8 * bw, "mla_flops": 0.6 * flops, "mla_bw": 0.75 * bw}
    return {
        "system": system,
        "engine": engine,
        "gemm": [
            {"t0": 6e-6, "flops": flops, "bw": bw, "q": 2.0},
            {"t0": 8e-6, "flops": 2.0 * flops, "bw": bw, "q": 1.6},
        ],
        "moe": [
            {"t0": 2e-5, "flops": flops, "bw": bw, "q": 2.0, "act_bw": bw / 2, "pad": 8.0},
            {"t0": 3e-5, "flops": 2.0 * flops, "bw": bw, "q": 1.5, "act_bw": bw / 4, "pad": 16.0},
        ],
        "decode_attention": [attention, attention],
        "prefill_attention": [{"t0": 1e-5, "flops": flops, "s0": 500.0, "bw": bw / 2}] * 2,
        "all_reduce": [
            {"n": n, "a1": 4e-6, "bw1": link, "a2": 1e-5 + 1e-6 * n, "bw2": 1.2 * link}
            for n in (2, 4, 8)
        ],
        "all_to_all": {"alpha": 1e-5, "bw": link},
        "scale_out": {"alpha": 3e-5, "bw": 5.0e10},
        "elementwise_bw": 0.7 * bw,
        "scales": {
            "gemm": 0.94,
            "gemm_t0": 0.5,
            "moe": 0.9,
            "moe_t0": 1.5,
            "comm": 1.1,
            "attention": 0.9,
            "attention_t0": 0.5,
            "prefill_moe": 1.8,
            "prefill_comm": 0.8,
        },
        "layer_s": 2e-5 * slower,
        "step_s": 8e-4 * slower,
        "index_s": 6e-5,
        "sequence_s": 1e-5 * slower,
        "sequence_half": 256.0,
        "interference": 1.0 - 0.2 * engine,
        "ttft_fixed_s": 0.04,
        "ttft_steps": 1.9,
        "closed_ttft": {
            "own": 0.96,
            "queue": 0.07,
            "exponent": 0.9,
            "together_s": 0.1,
            "together_half": 4.0,
        },
        "attention_dp_prefill": 2.0,
        "attention_dp_experts": 1.2,
        "chunk_tokens": 8192,
        "mem_fraction": 0.9,
    }


SHORT = request_class("short", 0.98, spread(1000.0), spread(200.0), hit=0.2)
LONG = request_class("long", 0.02, spread(16_000.0), spread(400.0))


def workload(name: str, model_index: int, **changes: Any) -> Json:
    """One workload on both systems; ``changes`` replace fields."""
    base: Json = {
        "id": name,
        "model": model_index,
        "classes": [SHORT, LONG],
        "slos": [slo("ttft", "p99", 8.0), slo("tpot", "p95", 0.06)],
        "round_trip_s": [[0.0, 0.0], [0.1, 0.05]],
        "class_sets": [0b01, 0b10, 0b11],
        "systems": [0, 1],
        "engines": [0, 1],
        "precisions": [0, 1],
        "quality": [1.0, 0.99],
        "kv": [0, 1],
        "kv_allowed": None,
        "tp": [1, 2, 4, 8],
        "pp": [1, 2],
        "ep": [1],
        "adp": [1],
        "speculation": [
            {"depth": 0, "accepted": 1.0, "draft_cost": 0.0},
            {"depth": 2, "accepted": 1.8, "draft_cost": 0.05},
        ],
        "batches": [8, 32, 128],
        "splits": [],
        "max_gpus": 16,
    }
    unknown = set(changes) - set(base)
    if unknown:
        raise KeyError(f"no such workload field: {sorted(unknown)}")
    whole = {**base, **changes}
    if whole["kv_allowed"] is None:
        whole["kv_allowed"] = [[True] * len(whole["kv"]) for _ in whole["precisions"]]
    return whole


def spec_with(models: list[Json], workloads: list[Json], **changes: Any) -> Json:
    """A whole specification; a deep copy, so that a test may change it in place."""
    whole: Json = {
        "systems": SYSTEMS,
        "models": models,
        "dtypes": DTYPES,
        "precisions": PRECISIONS,
        "kv_dtypes": KV_DTYPES,
        "engines": ENGINES,
        "kernels": [kernel(s, e) for s in range(2) for e in range(2)],
        "workloads": workloads,
        **changes,
    }
    copy: Json = json.loads(json.dumps(whole))
    return copy


def spec() -> Json:
    """Three workloads over both systems, about twenty thousand integers."""
    models = [MODELS[name] for name in ("llama-8b", "gpt-oss-120b", "deepseek-v3")]
    return spec_with(
        models,
        [
            workload("chat", 0),
            workload("agent", 1, ep=[1, 4], adp=[1, 2], splits=[0.7]),
            workload(
                "reason",
                2,
                tp=[1, 8],
                pp=[1, 2],
                ep=[1, 8, 16],
                adp=[1, 8, 16],
                splits=[0.5, 0.8],
                batches=[32, 128, 512],
            ),
        ],
    )


def spec_of(name: str, **changes: Any) -> Json:
    """One workload of one model on ``rack16`` with ``vllm``, bf16, one GPU, one batch limit."""
    narrow: Json = {
        "systems": [1],
        "engines": [0],
        "precisions": [0],
        "quality": [1.0],
        "kv": [0],
        "tp": [1],
        "pp": [1],
        "speculation": [{"depth": 0, "accepted": 1.0, "draft_cost": 0.0}],
        "batches": [32],
        "round_trip_s": [[0.0, 0.0]],
    }
    return spec_with([MODELS[name]], [workload("w", 0, **{**narrow, **changes})])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("benches/spec.json")
    target.write_text(json.dumps(spec(), indent=1) + "\n", encoding="utf-8")
