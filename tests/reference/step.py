"""One engine step."""

from __future__ import annotations

import math
from typing import Any

from reference.kernels import all_reduce_s, gemm_s, link_s, p_norm, touched_experts
from reference.layout import (
    Layout,
    attention_products,
    dense_inner,
    dense_products,
    expert_width,
    matrices,
)
from reference.memory import linear_state
from reference.units import BF16, Json

HIGHEST_NODE = 17


class MissingFigureError(Exception):
    """The layout needs a kernel or a link that has no figure."""


def figure(value: Any) -> Any:
    """The value, or :class:`MissingFigureError`."""
    if value is None:
        raise MissingFigureError
    return value


def reduce_s(layout: Layout, ranks: int, payload: float) -> float:
    """All-reduce inside the scale-up domain, or over the scale-out link."""
    if ranks <= layout.system["scale_up_domain"]:
        return float(figure(all_reduce_s(layout.kernel["all_reduce"], ranks, payload)))
    return link_s(figure(layout.kernel["scale_out"]), 2.0 * (ranks - 1) / ranks * payload)


def exchange_s(layout: Layout, ranks: int, payload: float) -> float:
    """All-to-all of ``payload`` bytes per rank."""
    if ranks == 1:
        return 0.0
    inside = ranks <= layout.system["scale_up_domain"]
    link = layout.kernel["all_to_all"] if inside else figure(layout.kernel["scale_out"])
    return link_s(link, (ranks - 1) / ranks * payload)


def experts_s(layout: Layout, ffn: Json, tokens: float) -> tuple[float, float]:
    """Launch and work of the routed experts of one layer; ``tokens`` per data-parallel rank."""
    if ffn["kind"] != "moe":
        return 0.0, 0.0
    fit = figure(layout.kernel["moe"][layout.precision["experts"]])
    all_tokens = tokens * layout.adp
    hidden, inner = expert_width(layout, ffn), ffn["inter"] / (layout.stage // layout.ep)
    rows = all_tokens * ffn["topk"] / layout.ep
    touched = touched_experts(ffn["experts"], ffn["topk"], layout.ep, all_tokens)
    flop = 2.0 * matrices(ffn) * hidden * inner * (rows + fit["pad"] * touched)
    weights = touched * matrices(ffn) * hidden * inner * layout.weight("experts")
    inside = 2.0 * matrices(ffn) * inner
    activations = rows * (2.0 * hidden + inside) + 4.0 * tokens * hidden
    roofline = p_norm(flop / fit["flops"], weights / fit["bw"], fit["q"])
    return fit["t0"], roofline + activations / fit["act_bw"]


def collectives_s(layout: Layout, group: Json, tokens: float) -> float:
    """Collectives of one layer: after attention, and after or around the feed-forward part."""
    ffn, hidden = group["ffn"], layout.model["hidden"]
    one = reduce_s(layout, layout.tp, tokens * hidden * BF16)
    attention = 0.0 if group["attention"]["kind"] == "none" else one
    if ffn["kind"] != "moe":
        return attention if ffn["kind"] == "none" else attention + one
    if layout.adp == 1:
        return attention + reduce_s(layout, layout.stage, tokens * hidden * BF16)
    sent = tokens * min(ffn["topk"], layout.ep) * expert_width(layout, ffn) * 1.5
    return attention + 2.0 * exchange_s(layout, layout.stage, sent)


def node(layout: Layout, tokens: float, phase: str) -> float:
    """Work of all layers on ``tokens`` tokens, at a node of the table."""
    s, kernel = layout.kernel["scales"], layout.kernel
    uneven = kernel["attention_dp_experts"] if layout.adp > 1 else 1.0
    total = 0.0
    for group in layout.model["layers"]:
        products = [(n, k, "attention") for n, k in attention_products(layout, group["attention"])]
        products += [(n, k, "dense") for n, k in dense_products(layout, group["ffn"])]
        one = 0.0
        for n, k, part in products:
            fit = figure(kernel["gemm"][layout.precision[part]])
            t0, work = gemm_s(fit, tokens, n, k, layout.weight(part))
            one += s["gemm"] * work + (s["gemm_t0"] * t0 if phase == "decode" else 0.0)
        t0, work = experts_s(layout, group["ffn"], tokens)
        comm = collectives_s(layout, group, tokens)
        if phase == "decode":
            one += uneven * (s["moe"] * work + s["comm"] * comm)
            one += s["moe_t0"] * t0 + kernel["layer_s"]
            if group["attention"].get("index_heads"):
                one += kernel["index_s"]
        else:
            one += uneven * (s["prefill_moe"] * work + s["prefill_comm"] * comm)
        parts = [part for part in ("attention", "ffn") if group[part]["kind"] != "none"]
        width = 4.0 * len(parts) * layout.model["hidden"]
        width += matrices(group["ffn"]) * dense_inner(layout, group["ffn"])
        one += tokens * width * BF16 / kernel["elementwise_bw"]
        total += group["count"] * one
    if phase == "decode":
        head = layout.model["vocab"] / layout.tp
        fit = figure(kernel["gemm"][layout.precision["head"]])
        t0, work = gemm_s(fit, tokens, head, layout.model["hidden"], layout.weight("head"))
        total += s["gemm"] * work + s["gemm_t0"] * t0 + kernel["step_s"]
    return total


def work_s(layout: Layout, tokens: float, phase: str) -> float:
    """:func:`node` at powers of two, straight lines between, extended past the last."""
    tokens = max(tokens, 1.0)
    i = min(math.floor(math.log2(tokens)), HIGHEST_NODE - 1)
    low, high = 2.0**i, 2.0 ** (i + 1)
    at_low, at_high = node(layout, low, phase), node(layout, high, phase)
    return at_low + (at_high - at_low) * (tokens - low) / (high - low)


def decode_attention_s(layout: Layout, context: float) -> float:
    """Attention of one sequence in one decode step, all layers."""
    fit = figure(layout.kernel["decode_attention"][layout.kv])
    element = layout.spec["kv_dtypes"][layout.kv]["bytes"]
    queries, total = 1 + layout.speculation["depth"], 0.0

    def latents_s(a: Json, seen: float, width: float, twice: float) -> float:
        """Every query head on so many latents: read once, multiplied as key and as value."""
        memory = seen * width * element / fit["mla_bw"]
        flop = seen * queries * a["heads"] / layout.tp * 2.0 * (width + twice)
        return p_norm(memory, flop / fit["mla_flops"], 2.0)

    def index_s(a: Json, keys: float) -> float:
        """A sparse index over so many keys."""
        if not a.get("index_heads"):
            return 0.0
        memory = keys * a["index_dim"] * element / fit["mla_bw"]
        flop = keys * queries * 2.0 * a["index_heads"] * a["index_dim"]
        return p_norm(memory, flop / fit["mla_flops"], 2.0)

    for group in layout.model["layers"]:
        a, one = group["attention"], 0.0
        if a["kind"] == "gqa":
            seen = min(context, a["window"] or math.inf, a.get("index_topk") or math.inf)
            heads = max(a["kv_heads"] // layout.tp, 1)
            one = seen * heads * (a["head_dim"] + a["v_head_dim"]) * element / fit["bw"]
            one += index_s(a, context)
        elif a["kind"] == "mla":
            rank, rope = a["kv_lora_rank"], a["rope_dim"]
            seen = min(context, a.get("index_topk") or math.inf)
            one = latents_s(a, seen, rank + rope, rank) + index_s(a, context)
        elif a["kind"] == "compressed":
            one = latents_s(a, min(context, a["window"]), a["head_dim"], a["head_dim"])
            if a["ratio"]:
                keys = context / a["ratio"]
                seen = min(keys, a["index_topk"] or math.inf)
                one += latents_s(a, seen, a["head_dim"], a["head_dim"]) + index_s(a, keys)
        elif a["kind"] == "linear":
            one = 2.0 * 4.0 * linear_state(layout, a) / fit["mla_bw"]
        total += group["count"] * one
    return float(layout.kernel["scales"]["attention"] * total)


def stage_transfer_s(layout: Layout) -> float:
    """Latency of passing one token's activation through the pipeline."""
    if layout.pp == 1:
        return 0.0
    inside = layout.gpus <= layout.system["scale_up_domain"]
    link = layout.kernel["all_to_all"] if inside else figure(layout.kernel["scale_out"])
    return (layout.pp - 1) * link_s(link, layout.model["hidden"] * BF16)


def tokens_per_sequence(layout: Layout) -> float:
    """Tokens of a sequence in one decode step: its next one and the drafted ones."""
    return 1.0 + float(layout.speculation["depth"])


def decode_s(layout: Layout, sequences: float, attention_s: float) -> float:
    """A decode step of ``sequences`` on one rank and stage."""
    fit = figure(layout.kernel["decode_attention"][layout.kv])
    attending = sum(
        group["count"] for group in layout.model["layers"] if group["attention"]["kind"] != "none"
    )
    launch = layout.kernel["scales"]["attention_t0"] * fit["t0"] * attending
    host = layout.kernel["sequence_s"] / (1.0 + sequences / layout.kernel["sequence_half"])
    step = (
        work_s(layout, sequences * tokens_per_sequence(layout), "decode")
        + sequences * (host + attention_s)
        + launch
        + stage_transfer_s(layout)
    )
    drafts = layout.speculation["depth"] * layout.speculation["draft_cost"]
    return float(step * (1.0 + drafts))


def added_s(layout: Layout, base: float, added: float) -> float:
    """What ``added`` prompt tokens add to a step of ``base`` decode tokens."""
    if added <= 0:
        return 0.0
    if base < 1:
        return work_s(layout, added, "prefill") * min(added, 1.0)
    return work_s(layout, base + added, "prefill") - work_s(layout, base, "prefill")


def chunked_s(layout: Layout, base: float, new: float) -> float:
    """Matrix products of a prompt, chunk by chunk."""
    chunk = layout.kernel["chunk_tokens"]
    whole = math.floor(new / chunk)
    return float(whole * added_s(layout, base, chunk) + added_s(layout, base, new - whole * chunk))


def prompt_attention_parts(layout: Layout, a: Json) -> list[tuple[float, float, float]]:
    """flop per (query, key) pair, operand bytes per new token and window, by part."""
    selected = a.get("index_topk") or math.inf
    scores = 2.0 * a.get("index_heads", 0) * a.get("index_dim", 0)
    index = [(scores, a["index_dim"] * BF16, math.inf)] if scores else []
    if a["kind"] == "none":
        return []
    if a["kind"] == "gqa":
        q, kv = a["heads"] / layout.tp, max(a["kv_heads"] // layout.tp, 1)
        width = a["head_dim"] + a["v_head_dim"]
        reach = min(a["window"] or math.inf, selected)
        return [(2.0 * q * width, (q + kv) * width * BF16, reach), *index]
    if a["kind"] == "compressed":
        q, m, width = a["heads"] / layout.tp, a["ratio"], 2.0 * a["head_dim"]
        parts = [(2.0 * q * width, (q + 1) * width * BF16, a["window"])]
        if not m:
            return parts
        parts.append((2.0 * q * width / m, 0.0, m * selected))
        return [*parts, *((flop / m, moved / m, reach) for flop, moved, reach in index)]
    if a["kind"] == "linear":
        q, width = a["value_heads"] / layout.tp, a["key_dim"] + a["value_dim"]
        return [(2.0 * q * width, 2.0 * q * width * BF16, a["key_dim"])]
    q, width = a["heads"] / layout.tp, a["nope_dim"] + a["rope_dim"] + a["v_head_dim"]
    return [(2.0 * q * width, 2.0 * q * width * BF16, selected), *index]


def prompt_attention_s(layout: Layout, new: float, cached: float) -> float:
    """Attention of a prompt of ``new`` tokens after ``cached`` ones, all layers."""
    fit = figure(layout.kernel["prefill_attention"][layout.kv])
    total = 0.0
    for group in layout.model["layers"]:
        for pair_flop, token_bytes, window in prompt_attention_parts(layout, group["attention"]):
            reach = min(cached + new, window)
            if reach <= 0:
                continue
            efficiency = reach / (reach + fit["s0"])
            compute = pair_flop * new * min(cached + new / 2, window) / fit["flops"] / efficiency
            total += group["count"] * (fit["t0"] + compute + token_bytes * new / fit["bw"])
    return float(total)


def overhead_s(layout: Layout) -> float:
    """Engine time of a step without decode work."""
    return float(layout.layer_count * layout.kernel["layer_s"] + layout.kernel["step_s"])
