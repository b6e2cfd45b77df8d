"""Bytes of weights, caches and activations, and what fits."""

from __future__ import annotations

import math

from reference.layout import (
    Layout,
    attention_products,
    dense_inner,
    dense_products,
    expert_width,
    matrices,
)
from reference.units import BF16, Json


def weight_bytes(layout: Layout) -> float:
    """Weights on one accelerator."""
    hidden, total = layout.model["hidden"], 0.0
    for group in layout.model["layers"]:
        one = 0.0
        for n, k in attention_products(layout, group["attention"]):
            one += n * k * layout.weight("attention")
        for n, k in dense_products(layout, group["ffn"]):
            one += n * k * layout.weight("dense")
        if group["ffn"]["kind"] == "moe":
            experts, inter = group["ffn"]["experts"], group["ffn"]["inter"]
            all_of_them = (
                matrices(group["ffn"]) * expert_width(layout, group["ffn"]) * inter * experts
            )
            one += all_of_them / layout.stage * layout.weight("experts")
            one += hidden * experts * BF16
        total += group["count"] * one
    table = layout.model["vocab"] / layout.tp * hidden * layout.weight("head")
    return float(total / layout.pp + table * (1 if layout.model["tied"] else 2))


def linear_state(layout: Layout, a: Json) -> float:
    """Elements of the recurrent state of one linear-attention layer on one rank."""
    return float(a["value_heads"] / layout.tp * a["key_dim"] * a["value_dim"])


def kv_bytes(layout: Layout, context: float) -> float:
    """KV cache of one sequence on one accelerator."""
    element, total = layout.spec["kv_dtypes"][layout.kv]["bytes"], 0.0
    for group in layout.model["layers"]:
        a, share = group["attention"], group["count"] / layout.pp
        if a["kind"] == "gqa":
            seen = context if a["window"] is None else min(context, a["window"])
            heads = max(a["kv_heads"] // layout.tp, 1)
            total += share * heads * (a["head_dim"] + a["v_head_dim"]) * element * seen
            total += share * a.get("index_dim", 0) * element * seen
        elif a["kind"] == "mla":
            width = a["kv_lora_rank"] + a["rope_dim"] + a.get("index_dim", 0)
            total += share * width * element * context
        elif a["kind"] == "compressed":
            entries = context / a["ratio"] if a["ratio"] else 0.0
            latents = min(context, a["window"]) + entries
            total += share * element * (latents * a["head_dim"] + entries * a["index_dim"])
        elif a["kind"] == "linear":
            total += share * linear_state(layout, a) * 4.0
    return total


def activation_bytes(layout: Layout) -> float:
    """Activations of one step of a full chunk on one accelerator."""
    widest = 0.0
    for group in layout.model["layers"]:
        width = dense_inner(layout, group["ffn"])
        if group["ffn"]["kind"] == "moe":
            width += group["ffn"]["inter"] * group["ffn"]["topk"] / layout.stage
        widest = max(widest, width)
    tokens: float = layout.kernel["chunk_tokens"]
    return float(tokens * (4 * layout.model["hidden"] + 2 * widest) * BF16)


def kv_budget(layout: Layout) -> float:
    """Bytes left for KV cache on one accelerator."""
    usable = layout.system["mem_bytes"] * layout.kernel["mem_fraction"]
    return float(usable - weight_bytes(layout) - activation_bytes(layout))


def longest_kv(layout: Layout, members: list[int]) -> float:
    """KV bytes of the longest context that the set admits."""
    longest = 0.0
    for k in members:
        one = layout.workload["classes"][k]
        longest = max(longest, kv_bytes(layout, one["input"]["max"] + one["output"]["max"]))
    return longest


def fits(layout: Layout, batch: int, members: list[int]) -> bool:
    """Whether a batch of the longest contexts fits."""
    budget = kv_budget(layout)
    if budget <= 0:
        return False
    needed = layout.adp if layout.role == "prefill" else batch
    return math.floor(budget / longest_kv(layout, members)) * layout.adp >= needed
