"""The core once more, slow and obvious: every formula of ``docs/model.md`` in plain Python.

It reads the same specification (a dict) and is written from the page, not from the Rust. It builds
nothing ahead of use; the one table it has (token counts at powers of two) is part of the
definition. Waiting-time quantiles are found by bisection where the core uses Newton's method.
Units are SI: bytes, seconds, flop/s, watts, joules.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

BF16 = 2.0
HIGHEST_NODE = 17
QUANTILE = (math.nan, 0.50, 0.90, 0.95, 0.99)
NORMAL = (0.0, 0.0, 1.2815515655, 1.644853627, 2.326347874)
HALVINGS = 30
IDLE = 1e-6
BISECTIONS = 100


# -- one kernel -----------------------------------------------------------------------------------


def p_norm(a: float, b: float, q: float) -> float:
    """``(a^q + b^q)^(1/q)``."""
    return float((a**q + b**q) ** (1.0 / q))


def gemm_s(fit: Json, m: float, n: float, k: float, weight_bytes: float) -> tuple[float, float]:
    """Launch and work of an ``m×k`` by ``k×n`` product."""
    compute = 2.0 * m * n * k / fit["flops"]
    memory = (weight_bytes * n * k + weight_bytes * m * k + 2.0 * m * n) / fit["bw"]
    return fit["t0"], p_norm(compute, memory, fit["q"])


def touched_experts(experts: float, topk: float, ep: float, tokens: float) -> float:
    """Experts of one rank that at least one token is routed to."""
    return experts / ep * (1.0 - math.exp(-tokens * topk / experts))


def all_reduce_s(fits: list[Json], ranks: int, payload: float) -> float | None:
    """The faster of one-shot and two-shot, with the fit of the next larger measured rank count."""
    if ranks == 1:
        return 0.0
    if not fits:
        return None
    larger = [fit for fit in fits if fit["n"] >= ranks]
    fit = larger[0] if larger else fits[-1]
    one_shot = fit["a1"] + (ranks - 1) * payload / fit["bw1"]
    two_shot = fit["a2"] + 2.0 * (ranks - 1) / ranks * payload / fit["bw2"]
    return float(min(one_shot, two_shot))


def link_s(link: Json, payload: float) -> float:
    """``alpha + bytes/bw``."""
    return float(link["alpha"] + payload / link["bw"])


# -- a layout -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """One layout with what it refers to."""

    spec: Json
    workload: Json
    system: Json
    kernel: Json
    model: Json
    precision: Json
    kv: int
    tp: int
    pp: int
    ep: int
    adp: int
    speculation: Json
    role: str
    split: int

    @property
    def gpus(self) -> int:
        """Accelerators in a replica."""
        return self.tp * self.adp * self.pp

    @property
    def stage(self) -> int:
        """Accelerators in a pipeline stage."""
        return self.tp * self.adp

    @property
    def lanes(self) -> int:
        """Batches in flight at once: data-parallel ranks times stages."""
        return self.adp * self.pp

    @property
    def layer_count(self) -> int:
        """Layers of the model."""
        return sum(group["count"] for group in self.model["layers"])

    def weight(self, part: str) -> float:
        """Bytes per weight of a part."""
        return float(self.spec["dtypes"][self.precision[part]]["weight_bytes"])


def group_splits(group: Json, tp: int, stage: int, ep: int) -> bool:
    """Whether heads, widths and experts of a layer group divide evenly."""
    attention, ffn = group["attention"], group["ffn"]
    names = ("key_heads", "value_heads") if attention["kind"] == "linear" else ("heads",)
    even = all(attention[name] % tp == 0 for name in names)
    if attention["kind"] == "gqa":
        even &= attention["kv_heads"] % tp == 0 or tp % attention["kv_heads"] == 0
    if ffn["kind"] == "dense":
        return even and ffn["inter"] % tp == 0
    return even and ffn["experts"] % ep == 0 and ffn["inter"] % (stage // ep) == 0


def is_layout(model: Json, system: Json, w: Json, degrees: tuple[int, int, int, int]) -> bool:
    """Whether ``(tp, pp, ep, adp)`` suit the model and the system."""
    tp, pp, ep, adp = degrees
    stage, gpus = tp * adp, tp * adp * pp
    layer_count = sum(group["count"] for group in model["layers"])
    routed = any(group["ffn"]["kind"] == "moe" for group in model["layers"])
    fits_system = gpus <= system["gpus"] or gpus % system["gpus"] == 0
    experts_split = stage % ep == 0 if routed else (ep, adp) == (1, 1)
    if gpus > w["max_gpus"] or pp > layer_count or not fits_system or not experts_split:
        return False
    return all(group_splits(group, tp, stage, ep) for group in model["layers"])


def attention_products(layout: Layout, a: Json) -> list[tuple[float, float]]:
    """``(n, k)`` of the projections of one layer on one rank."""
    hidden, tp = layout.model["hidden"], layout.tp
    if a["kind"] == "gqa":
        q, kv = a["heads"] / tp, max(a["kv_heads"] // tp, 1)
        queries = q * a["head_dim"] * (2 if a.get("output_gate") else 1)
        values = 0 if a.get("value_is_key") else kv * a["v_head_dim"]
        qkv = queries + kv * a["head_dim"] + values
        return [(qkv, hidden), (hidden, q * a["v_head_dim"])]
    if a["kind"] == "mla":
        q, down = a["heads"] / tp, a["q_lora_rank"] or 0
        index_heads, index_dim = a.get("index_heads", 0), a.get("index_dim", 0)
        latent = down + a["kv_lora_rank"] + a["rope_dim"]
        return [
            (latent + index_dim + index_heads, hidden),
            (q * (a["nope_dim"] + a["rope_dim"]) + index_heads * index_dim, down or hidden),
            (q * (a["nope_dim"] + a["v_head_dim"]), a["kv_lora_rank"]),
            (hidden, q * a["v_head_dim"]),
        ]
    keys, values = a["key_heads"] * a["key_dim"] / tp, a["value_heads"] * a["value_dim"] / tp
    return [(2 * keys + 2 * values, hidden), (hidden, values)]


def dense_inner(layout: Layout, ffn: Json) -> float:
    """Inner width that every token passes, on one rank."""
    return float((ffn["inter"] if ffn["kind"] == "dense" else ffn["shared_inter"]) / layout.tp)


def dense_products(layout: Layout, ffn: Json) -> list[tuple[float, float]]:
    """``(n, k)`` of the gated dense part: gate and up together, then down."""
    inner, hidden = dense_inner(layout, ffn), layout.model["hidden"]
    return [(2 * inner, hidden), (hidden, inner)] if inner else []


# -- memory ---------------------------------------------------------------------------------------


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
            one += 3 * hidden * inter * experts / layout.stage * layout.weight("experts")
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
        elif a["kind"] == "mla":
            width = a["kv_lora_rank"] + a["rope_dim"] + a.get("index_dim", 0)
            total += share * width * element * context
        else:
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


# -- one engine step ------------------------------------------------------------------------------


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
    hidden, inner = layout.model["hidden"], ffn["inter"] / (layout.stage // layout.ep)
    rows = all_tokens * ffn["topk"] / layout.ep
    touched = touched_experts(ffn["experts"], ffn["topk"], layout.ep, all_tokens)
    flop = 2.0 * 3.0 * hidden * inner * (rows + fit["pad"] * touched)
    weights = touched * 3.0 * hidden * inner * layout.weight("experts")
    activations = rows * (2.0 * hidden + 6.0 * inner) + 4.0 * all_tokens * hidden
    roofline = p_norm(flop / fit["flops"], weights / fit["bw"], fit["q"])
    return fit["t0"], roofline + activations / fit["act_bw"]


def collectives_s(layout: Layout, ffn: Json, tokens: float) -> float:
    """Collectives of one layer: after attention, and after or around the feed-forward part."""
    hidden = layout.model["hidden"]
    attention = reduce_s(layout, layout.tp, tokens * hidden * BF16)
    if ffn["kind"] != "moe":
        return 2.0 * attention
    if layout.adp == 1:
        return attention + reduce_s(layout, layout.stage, tokens * hidden * BF16)
    sent = tokens * min(ffn["topk"], layout.ep) * hidden * 1.5
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
        comm = collectives_s(layout, group["ffn"], tokens)
        if phase == "decode":
            one += uneven * (s["moe"] * work + s["comm"] * comm)
            one += s["moe_t0"] * t0 + kernel["layer_s"]
        else:
            one += uneven * (s["prefill_moe"] * work + s["prefill_comm"] * comm)
        width = 8.0 * layout.model["hidden"] + 3.0 * dense_inner(layout, group["ffn"])
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
    for group in layout.model["layers"]:
        a = group["attention"]
        if a["kind"] == "gqa":
            seen = context if a["window"] is None else min(context, a["window"])
            heads = max(a["kv_heads"] // layout.tp, 1)
            one = seen * heads * (a["head_dim"] + a["v_head_dim"]) * element / fit["bw"]
        elif a["kind"] == "mla":
            rank, rope = a["kv_lora_rank"], a["rope_dim"]
            seen = min(context, a["index_topk"]) if a.get("index_heads") else context
            memory = seen * (rank + rope) * element / fit["mla_bw"]
            flop = seen * queries * a["heads"] / layout.tp * 2.0 * (2 * rank + rope)
            one = p_norm(memory, flop / fit["mla_flops"], 2.0)
            if a.get("index_heads"):
                memory = context * a["index_dim"] * element / fit["mla_bw"]
                flop = context * queries * 2.0 * a["index_heads"] * a["index_dim"]
                one += p_norm(memory, flop / fit["mla_flops"], 2.0)
        else:
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
    launch = layout.kernel["scales"]["attention_t0"] * fit["t0"] * layout.layer_count
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
    if a["kind"] == "gqa":
        q, kv = a["heads"] / layout.tp, max(a["kv_heads"] // layout.tp, 1)
        width = a["head_dim"] + a["v_head_dim"]
        return [(2.0 * q * width, (q + kv) * width * BF16, a["window"] or math.inf)]
    if a["kind"] == "linear":
        q, width = a["value_heads"] / layout.tp, a["key_dim"] + a["value_dim"]
        return [(2.0 * q * width, 2.0 * q * width * BF16, a["key_dim"])]
    q, width = a["heads"] / layout.tp, a["nope_dim"] + a["rope_dim"] + a["v_head_dim"]
    if not a.get("index_heads"):
        return [(2.0 * q * width, 2.0 * q * width * BF16, math.inf)]
    return [
        (2.0 * q * width, 2.0 * q * width * BF16, a["index_topk"]),
        (2.0 * a["index_heads"] * a["index_dim"], a["index_dim"] * BF16, math.inf),
    ]


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


# -- closed loop ----------------------------------------------------------------------------------


def closed_loop(
    layout: Layout, concurrency: float, prompt: float, output: float
) -> tuple[float, float, float]:
    """TTFT, TPOT (s) and output tokens/s/GPU of a benchmark at fixed concurrency."""
    kernel = layout.kernel
    context = prompt + output / 2
    places = kv_budget(layout) / kv_bytes(layout, context) * layout.adp
    running = min(concurrency, places) if places >= 1.0 else concurrency
    n = max(running / layout.lanes, 1.0)
    step = decode_s(layout, n, decode_attention_s(layout, context))
    attention = prompt_attention_s(layout, prompt, 0.0)
    mixed = chunked_s(layout, n * tokens_per_sequence(layout), prompt) + attention
    alone = chunked_s(layout, 0.0, prompt) + attention
    accepted = layout.speculation["accepted"]
    tpot = step / accepted + kernel["interference"] * mixed * (n - 1.0) / output
    fixed, own, queue, power = kernel["closed_ttft"]
    weight = kernel["attention_dp_prefill"] if layout.adp > 1 else 1.0
    ttft = fixed + weight * alone * (own + queue * (n - 1.0) ** power)
    ttft += kernel["ttft_steps"] * step
    request = ttft + (output - 1.0) * tpot
    waiting = (concurrency / running - 1.0) * request
    return ttft + waiting, tpot, running / request * output / layout.gpus


# -- a replica ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassOnReplica:
    """One class on one replica."""

    load: float
    prompt_load: float
    prompt_s: list[float]
    alone_s: list[float]
    alone_load: float
    chunks: list[float]
    attention_s: float
    steps: float
    later: list[float]
    spread: float
    output_spread: float
    new: list[float]
    transfer_s: list[float]


@dataclass(frozen=True)
class Replica:
    """A layout with a batch limit."""

    layout: Layout
    batch: float
    classes: list[ClassOnReplica]

    def tau(self, n: float, attention_s: float) -> float:
        """Decode step with ``n`` sequences on the replica."""
        return decode_s(self.layout, n / self.layout.lanes, attention_s)


def class_on_replica(layout: Layout, batch: float, one: Json) -> ClassOnReplica:
    """Load and prompt work of one class."""
    hit, kernel = one["hit_rate"], layout.kernel
    new = [length * (1.0 - hit) for length in one["input"]["at"]]
    cached = [length * hit for length in one["input"]["at"]]
    later = [max(length - 1.0, 0.0) for length in one["output"]["at"]]
    context = one["input"]["at"][0] + one["output"]["m2"] / (2.0 * one["output"]["at"][0])
    attention_s = decode_attention_s(layout, context)
    base = 0.0 if layout.role == "prefill" else batch / layout.lanes * tokens_per_sequence(layout)
    own_attention = [prompt_attention_s(layout, n, c) for n, c in zip(new, cached, strict=True)]
    prompt_s = [chunked_s(layout, base, n) + a for n, a in zip(new, own_attention, strict=True)]
    alone_s = [0.0] * 5
    if layout.role == "serve":
        alone_s = [chunked_s(layout, 1.0, n) - chunked_s(layout, base, n) for n in new]
    chunks = [max(math.ceil(n / kernel["chunk_tokens"]), 1.0) for n in new]
    spread = one["input"]["m2"] / one["input"]["at"][0] ** 2
    mean_prompt = prompt_s[0] + own_attention[0] * (spread - 1.0)
    steps = later[0] / layout.speculation["accepted"]
    decode = steps * decode_s(layout, batch / layout.lanes, attention_s) / batch
    bw = layout.system["scale_out_bw"]
    transfer = [math.inf if bw is None else kv_bytes(layout, n) / bw for n in one["input"]["at"]]
    link = transfer[0] / layout.adp
    if layout.role == "serve":
        prompt_load = kernel["interference"] * mean_prompt / layout.lanes
        load = prompt_load + decode
    elif layout.role == "prefill":
        prompt_load = (mean_prompt + overhead_s(layout) * chunks[0]) / layout.lanes
        load = max(prompt_load, link)
    else:
        prompt_load = 0.0
        load = max(decode, link)
    return ClassOnReplica(
        load,
        prompt_load,
        prompt_s,
        alone_s,
        kernel["interference"] * alone_s[0] / layout.lanes,
        chunks,
        attention_s,
        steps,
        later,
        spread,
        one["output"]["m2"] / one["output"]["at"][0] ** 2,
        new,
        transfer,
    )


def replica(layout: Layout, batch: float) -> Replica:
    """Rates every class of the workload at a full batch."""
    classes = [class_on_replica(layout, batch, one) for one in layout.workload["classes"]]
    return Replica(layout, batch, classes)


# -- throughput benchmarks ------------------------------------------------------------------------


def throughput(
    layout: Layout, batch: int, reserved: bool, requests: float, limited: bool
) -> tuple[float, float, float] | None:
    """Output tokens/s/GPU of the first class, sequences in decode, share of full load."""
    one = layout.workload["classes"][0]
    prompt, output = one["input"]["at"][0], one["output"]
    context = prompt + (output["at"][0] if reserved else output["m2"] / (2.0 * output["at"][0]))
    places = kv_budget(layout) / kv_bytes(layout, context) * layout.adp
    if places < 1.0:
        return None
    n = min(batch, int(places))
    r = Replica(layout, n, [class_on_replica(layout, n, one)])
    load, share = r.classes[0].load, 1.0
    if limited:
        share = capacity(r, [0], [0.0])
    elif not math.isinf(requests):
        last = min(n, requests)
        end = last * r.classes[0].prompt_load + last_answers_s(r, output, last)
        load = ((requests - last) * load + end) / requests
    return share / load * output["at"][0] / layout.gpus, n, share


def last_answers_s(r: Replica, output: Json, n: float) -> float:
    """Decoding answers that start together: their number falls from one percentile to the next."""
    lengths = [1.0, *output["at"][1:], output["max"]]
    running = [1.0, 0.5, 0.1, 0.05, 0.01, 0.0]
    steps = [
        decode_s(r.layout, max(n * share, 1.0) / r.layout.lanes, r.classes[0].attention_s)
        for share in running
    ]
    return sum(
        max(lengths[i] - lengths[i - 1], 0.0)
        / r.layout.speculation["accepted"]
        * (steps[i - 1] + steps[i])
        / 2.0
        for i in range(1, len(lengths))
    )


# -- queues and latency ---------------------------------------------------------------------------


Tail = list[tuple[float, float]]


def tail_probability(tail: Tail, t: float) -> float:
    """``P(W > t)``."""
    return sum(weight * math.exp(-t / scale) for weight, scale in tail)


def tail_quantile(tail: Tail, p: float) -> float:
    """Smallest ``t`` with ``P(W > t) <= 1 - p``, by bisection."""
    if tail_probability(tail, 0.0) <= 1.0 - p:
        return 0.0
    low, high = 0.0, 1.0
    while tail_probability(tail, high) > 1.0 - p:
        high *= 2.0
    for _ in range(200):
        middle = (low + high) / 2
        if tail_probability(tail, middle) > 1.0 - p:
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True)
class Pressure:
    """What every request on a replica feels."""

    u: float
    worst: bool
    n: float
    attention_s: float
    tau: float
    share: float
    queue: Tail
    slots: Tail
    rates: list[tuple[int, float]]

    def wait(self, i: int) -> float:
        """Waiting time: mean or percentile."""
        return waiting(self.queue + self.slots, i)


def waiting(tail: Tail, i: int) -> float:
    """Mean or percentile of a waiting time."""
    if i == 0:
        return sum(weight * scale for weight, scale in tail)
    return tail_quantile(tail, QUANTILE[i])


def beside(u: float, worst: bool, full: float, added: float) -> float:
    """A prompt's time at load ``u``; with ``worst``, at this load or any lower one."""
    if worst and added > 0:
        return full + added
    return full + (1.0 - u) ** 2 * added


def most_up_to(u: float, full: float, added: float) -> float:
    """The largest ``x·(full + (1-x)²·added)`` for ``x`` up to ``u``: by trying, then closer by."""
    if added <= 3.0 * full:
        return u * beside(u, False, full, added)
    low, high = 0.0, u
    for _ in range(6):
        grid = [low + (high - low) * i / 20 for i in range(21)]
        best = max(grid, key=lambda x: x * beside(x, False, full, added))
        step = (high - low) / 20
        low, high = max(best - step, 0.0), min(best + step, u)
    return best * beside(best, False, full, added)


def concurrency(r: Replica, token_rate: float, share: float, attention_s: float) -> float:
    """``n = N·τ(n)/share`` up to the batch limit, by bisection."""
    if r.layout.role == "prefill":
        return 0.0

    def too_few(n: float) -> bool:
        return n <= token_rate * r.tau(n, attention_s) / share

    low, high = 0.0, float(r.batch)
    if too_few(high):
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return low


def held_beside_full(r: Replica, k: int, tau: float) -> float:
    """Time a prompt holds the prefill queue of its lane beside a full batch."""
    one, layout = r.classes[k], r.layout
    if layout.role == "decode":
        return 0.0
    if layout.role == "serve":
        return float(one.prompt_s[0] + one.new[0] / layout.kernel["chunk_tokens"] * tau)
    return one.prompt_s[0] + one.chunks[0] * overhead_s(layout)


def held(r: Replica, k: int, tau: float, u: float, worst: bool) -> float:
    """The same at load ``u``."""
    return beside(u, worst, held_beside_full(r, k, tau), r.classes[k].alone_s[0])


def longest_step(r: Replica, tau: float) -> float:
    """A decode step with a whole chunk of prompt in it, at most: a bound at every batch."""
    layout = r.layout
    full = r.batch / layout.lanes * tokens_per_sequence(layout)
    with_chunk = work_s(layout, full + layout.kernel["chunk_tokens"], "prefill")
    return tau + with_chunk - work_s(layout, 1.0, "prefill")


def fall_to_full(slots: float, n: float, u: float) -> float:
    """``-∫ ln(A + C/j) dj`` from ``n`` to ``slots``, by Simpson's rule."""
    a = (u * slots - n) / (slots - n)
    c = n * (1.0 - a)
    pieces, total = 300, 0.0
    for i in range(pieces + 1):
        # Points are denser where the function bends, near n.
        j = n * (slots / n) ** (i / pieces)
        weight = 1.0 if i in (0, pieces) else (4.0 if i % 2 else 2.0)
        total -= weight * math.log(a + c / j) * j
    return total * math.log(slots / n) / pieces / 3.0


def all_slots_taken(slots: float, n: float, u: float, prompts: float) -> float:
    """Probability that every place in the batch is taken."""
    n = min(n, u * slots)
    if n <= 0 or u <= 0:
        return 0.0
    fall = max(0.8 * (1.0 - prompts) * fall_to_full(slots, n, u), 0.0)
    if fall > 600:
        return 0.0
    root, empty = math.sqrt(2.0 * fall), -math.log(u)
    mills = 2.0 / (root + math.sqrt(root**2 + 8.0 / math.pi))
    below = (math.exp(fall) * math.sqrt(2.0 * math.pi) - mills) * root / empty * (1 + empty / 6)
    return 1.0 / (1.0 + (1.0 - u) * below)


def uneven_load(r: Replica, k: int, prompts: float) -> float:
    """Replica-seconds by which departures vary."""
    return 0.5 * r.classes[k].load * max(r.classes[k].output_spread, 1.0 + prompts)


def slots_tail(r: Replica, u: float, places: float, prompts: float, uneven: float) -> Tail:
    """Waiting for a place in the batch."""
    if r.layout.role == "prefill":
        return []
    taken = all_slots_taken(r.batch, places, u, prompts)
    scale = uneven / (1.0 - u)
    return [(taken, scale)] if taken > 0 and scale > 0 else []


def burst(r: Replica, p: Pressure, k: int) -> float:
    """How long a prompt holds up decode on its lane."""
    one = r.classes[k]
    return r.layout.lanes * beside(p.u, p.worst, one.prompt_load, one.alone_load)


def burst_second_moment(r: Replica, p: Pressure) -> float:
    """``Σ rate·E[size²]`` of the prompts on a lane; the largest term for the worst of any mix."""
    terms = [rate * burst(r, p, k) ** 2 * r.classes[k].spread for k, rate in p.rates]
    return max(terms, default=0.0) if p.worst else sum(terms)


def of_mix(r: Replica, rates: list[float]) -> Pressure | None:
    """Pressure of one given mix; ``None`` where the queue has no steady state."""
    mix = [(k, f) for k, f in enumerate(rates) if f > 0]
    u = sum(f * r.classes[k].load for k, f in mix)
    share = 1.0 - sum(
        f * beside(u, False, r.classes[k].prompt_load, r.classes[k].alone_load) for k, f in mix
    )
    if u >= 1 or share <= 0:
        return None
    token_rate = sum(f * r.classes[k].steps for k, f in mix)
    attention = sum(f * r.classes[k].steps * r.classes[k].attention_s for k, f in mix)
    attention = attention / token_rate if token_rate > 0 else 0.0
    n = concurrency(r, token_rate, share, attention)
    tau = r.tau(n, attention)
    lanes = r.layout.lanes
    services = [(f / lanes, held(r, k, tau, u, False), r.classes[k].spread) for k, f in mix]
    busy = sum(rate * service for rate, service, _ in services)
    if busy >= 1:
        return None
    queue = [
        (rate * service, 0.5 * service * spread / (1.0 - busy))
        for rate, service, spread in services
        if rate * service > 0
    ]
    uneven = sum(f * r.classes[k].load * uneven_load(r, k, 1.0 - share) for k, f in mix)
    slots = slots_tail(r, u, n + busy * lanes, 1.0 - share, uneven / u if u > 0 else 0.0)
    on_lane = [(k, f / lanes) for k, f in mix]
    return Pressure(u, False, n, attention, tau, share, queue, slots, on_lane)


def of_any_mix(r: Replica, members: list[int], u: float) -> Pressure | None:
    """Each part of the pressure at the corner of the simplex where it is worst."""
    if u >= 1:
        return None
    ones = {k: r.classes[k] for k in members}
    taken = {k: most_up_to(u, c.prompt_load, c.alone_load) / c.load for k, c in ones.items()}
    share = 1.0 - max(taken.values())
    if share <= 0:
        return None
    shortest = min(c.attention_s for c in ones.values())
    longest = max(c.attention_s for c in ones.values())
    decode = max(u * (1.0 - c.prompt_load / c.load) / (1.0 - taken[k]) for k, c in ones.items())
    n = concurrency(r, decode * r.batch / r.tau(r.batch, shortest), 1.0, shortest)
    tau, lanes = r.tau(n, longest), r.layout.lanes
    busy = max(
        most_up_to(u, held_beside_full(r, k, tau), c.alone_s[0]) / c.load / lanes
        for k, c in ones.items()
    )
    if busy >= 1:
        return None
    residual = max(0.5 * held(r, k, tau, u, True) * c.spread for k, c in ones.items())
    queue = [(busy, residual / (1.0 - busy))] if busy > 0 and residual > 0 else []
    uneven = max(uneven_load(r, k, 1.0 - share) for k in members)
    slots = slots_tail(r, u, n + busy * lanes, 1.0 - share, uneven)
    on_lane = [(k, u / c.load / lanes) for k, c in ones.items()]
    return Pressure(u, True, n, longest, tau, share, queue, slots, on_lane)


def own_ttft(r: Replica, p: Pressure, k: int, i: int) -> float:
    """The part of TTFT that no other request causes."""
    one, kernel = r.classes[k], r.layout.kernel
    if r.layout.role == "serve":
        steps = one.chunks[i] - 1.0 + kernel["ttft_steps"]
        prompt = beside(p.u, p.worst, one.prompt_s[i], one.alone_s[i])
        return float(kernel["ttft_fixed_s"] + prompt + steps * p.tau)
    if r.layout.role == "prefill":
        own = one.prompt_s[i] + one.chunks[i] * overhead_s(r.layout)
        return float(kernel["ttft_fixed_s"] + own)
    return float(one.transfer_s[i] + kernel["ttft_steps"] * p.tau)


def ttft(r: Replica, p: Pressure, k: int, i: int, way: float) -> float:
    """TTFT of class ``k``: mean (0), median (1), or a percentile."""
    own, wait = own_ttft(r, p, k, i), p.wait(i)
    if i == 0:
        return own + wait + way
    if i == 1:
        wide, mean_wait = own_ttft(r, p, k, 2) - own, p.wait(0)
        shift = 0.0
        if wide > 0 and mean_wait > wait:
            shift = (mean_wait - wait) * wide / (wide + mean_wait)
        return own + wait + shift + way
    candidates = []
    for centre in (0, 1):
        own_centre, wait_centre = own_ttft(r, p, k, centre), p.wait(centre)
        off = math.hypot(max(own - own_centre, 0.0), max(wait - wait_centre, 0.0))
        candidates.append(own_centre + wait_centre + off)
    return max(candidates) + way


def crowded_tau(r: Replica, p: Pressure, z: float) -> float:
    """A decode step with as many sequences as there are at ``z`` standard deviations."""
    n = min(p.n, p.u * r.batch)
    spread = math.sqrt(n * (r.batch - n) / ((1.0 - p.u) * r.batch))
    return r.tau(max(min(n + z * spread, r.batch), p.n), p.attention_s)


def tpot(r: Replica, p: Pressure, k: int, i: int) -> float:
    """TPOT of class ``k``: mean and median alike, or a percentile."""
    one, accepted = r.classes[k], r.layout.speculation["accepted"]
    steady = p.tau / (accepted * p.share)
    if one.later[0] <= 0:
        return float(steady)
    behind = (1.0 - p.share) / p.share
    backlog = held(r, k, p.tau, p.u, p.worst) + waiting(p.queue, 0)
    mean = steady + behind * backlog / one.later[0]
    if i < 2:
        return float(mean)
    tokens = one.later[0] / one.output_spread
    duration = tokens * steady
    hit = max(
        (
            burst(r, p, j)
            for j, rate in p.rates
            if 1.0 - math.exp(-rate * duration) >= 1.0 - QUANTILE[i]
        ),
        default=0.0,
    )
    z, squares, slow = NORMAL[i], burst_second_moment(r, p), crowded_tau(r, p, NORMAL[i])
    noise = z * math.sqrt(duration * squares) / p.share
    later_backlog = behind * max(waiting(p.queue, i) - waiting(p.queue, 0), 0.0)
    crowd = tokens * (slow - p.tau) / (accepted * p.share)
    third = hit / p.share + 3.0 * squares / p.share**2
    skewed = math.hypot(noise, later_backlog, crowd) + (z**2 - 1.0) / 6.0 * third
    most = max(longest_step(r, slow) / accepted - mean, 0.0)
    return float(mean + min(max(skewed, hit) / tokens, most))


def excesses(
    r: Replica, p: Pressure, members: list[int], round_trip_s: list[float]
) -> list[tuple[float, str]]:
    """``1 - limit/value`` of every limit and class: above zero the limit is broken."""
    role, found = r.layout.role, []
    for limit in r.layout.workload["slos"]:
        metric, i, budget = limit["metric"], limit["percentile"], limit["limit_s"]
        if role == "prefill" and metric == "tpot":
            continue
        if role != "serve" and metric != "tpot":
            split = r.layout.workload["splits"][r.layout.split]
            budget *= split if role == "prefill" else 1.0 - split
        for k in members:
            if limit["class"] not in (None, k):
                continue
            way = 0.0 if role == "decode" else round_trip_s[k]
            if metric == "tpot":
                value = tpot(r, p, k, i)
            else:
                value = ttft(r, p, k, i, way)
                if metric == "e2e" and role != "prefill":
                    value += r.classes[k].later[i] * tpot(r, p, k, 0)
            found.append((1.0 - budget / value, metric))
    return found


def excess_of_any_mix(r: Replica, members: list[int], u: float, way: list[float]) -> float:
    """The largest excess over every mix at ``u``; 1 where the queue has no steady state."""
    p = of_any_mix(r, members, u)
    return 1.0 if p is None else max(excess for excess, _ in excesses(r, p, members, way))


def capacity(r: Replica, members: list[int], round_trip_s: list[float]) -> float:
    """Largest utilisation at which every limit holds for every mix, by bisection."""
    concerned = [s for s in r.layout.workload["slos"] if s["class"] in (None, *members)]
    if r.layout.role == "prefill":
        concerned = [s for s in concerned if s["metric"] != "tpot"]
    if not concerned:
        return 1.0
    if excess_of_any_mix(r, members, IDLE, round_trip_s) > 0:
        return 0.0
    holds, fails = IDLE, 1.0
    for _ in range(HALVINGS):
        u = (holds + fails) / 2
        if excess_of_any_mix(r, members, u, round_trip_s) > 0:
            fails = u
        else:
            holds = u
    return holds


def request_joules(r: Replica, k: int, n: float) -> float:
    """Joules of one request above idle at ``n`` sequences in decode."""
    one, system = r.classes[k], r.layout.system
    joules = one.prompt_load * (system["prefill_w"] - system["idle_w"])
    if r.layout.role != "prefill":
        decode = one.steps * r.tau(n, one.attention_s) / n
        joules += decode * (system["decode_w"] - system["idle_w"])
    return float(r.layout.gpus * joules)


# -- the space ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Configuration:
    """One integer of the space."""

    id: int
    workload: int
    system: int
    layout: Layout | None
    kv: int
    batch_position: int
    batch: int
    members: list[int]
    fields: Json


def roles(w: Json) -> list[tuple[str, int]]:
    """Roles in canonical order."""
    splits = range(len(w["splits"]))
    return [("serve", -1), *(("prefill", i) for i in splits), *(("decode", i) for i in splits)]


def configurations(spec: Json) -> Iterator[Configuration]:
    """Every integer of the space, in order."""
    number = 0
    for index, w in enumerate(spec["workloads"]):
        axes = [
            w["systems"], w["engines"], w["precisions"], w["tp"], w["ep"], w["adp"],
            w["pp"], w["kv"], w["speculation"], roles(w),
            list(enumerate(w["batches"])), w["class_sets"],
        ]  # fmt: skip
        for digits in itertools.product(*axes):
            yield configuration(spec, index, number, digits)
            number += 1


def configuration(spec: Json, index: int, number: int, digits: tuple[Any, ...]) -> Configuration:
    """The integer with these positions."""
    system, engine, precision, tp, ep, adp, pp, kv, speculation, role, batch, mask = digits
    w = spec["workloads"][index]
    members = [k for k in range(len(w["classes"])) if mask >> k & 1]
    kernels = [x for x in spec["kernels"] if (x["system"], x["engine"]) == (system, engine)]
    model, hardware = spec["models"][w["model"]], spec["systems"][system]
    layout = None
    allowed = w["kv_allowed"][w["precisions"].index(precision)][w["kv"].index(kv)]
    if allowed and kernels and is_layout(model, hardware, w, (tp, pp, ep, adp)):
        layout = Layout(
            spec, w, hardware, kernels[0], model, spec["precisions"][precision], kv,
            tp, pp, ep, adp, speculation, role[0], role[1],
        )  # fmt: skip
    fields = {
        "workload": w["id"],
        "system": hardware["id"],
        "engine": spec["engines"][engine]["id"],
        "precision": spec["precisions"][precision]["id"],
        "kv_dtype": spec["kv_dtypes"][kv]["id"],
        "tp": tp,
        "pp": pp,
        "ep": ep,
        "attention_dp": adp,
        "speculative_depth": speculation["depth"],
        "role": role[0],
        "ttft_split": None if role[0] == "serve" else w["splits"][role[1]],
        "batch_limit": batch[1],
        "classes": [w["classes"][k]["id"] for k in members],
    }
    return Configuration(number, index, system, layout, kv, batch[0], batch[1], members, fields)


def has_figures(layout: Layout) -> bool:
    """Whether every kernel and link that the layout needs has a figure."""
    if layout.role != "serve" and layout.system["scale_out_bw"] is None:
        return False
    try:
        node(layout, 1.0, "decode")
        decode_s(layout, 1.0, 0.0)
        prompt_attention_s(layout, 1.0, 0.0)
    except MissingFigureError:
        return False
    return True


def rate(c: Configuration) -> Replica | str:
    """The replica of a configuration, or why there is none: ``no_layout`` or ``memory``."""
    layout = c.layout
    if layout is None or not has_figures(layout):
        return "no_layout"
    is_batch = c.batch % layout.lanes == 0
    if layout.role == "prefill":
        is_batch = c.batch_position == 0
    if not is_batch:
        return "no_layout"
    return replica(layout, float(c.batch)) if fits(layout, c.batch, c.members) else "memory"


# -- dominance ------------------------------------------------------------------------------------


def dominates(a: Json, b: Json) -> bool:
    """Whether ``gpus_b/gpus_a`` copies of ``a`` fit in its place and are in nothing worse."""
    if b["gpus"] % a["gpus"]:
        return False
    system = a["per_system"]
    if b["gpus"] > system and a["gpus"] % system and system % a["gpus"]:
        return False
    copies = b["gpus"] // a["gpus"]
    ours = [x / copies for x in a["load"]] + a["joules"] + [copies * a["idle_w"], -a["quality"]]
    theirs = b["load"] + b["joules"] + [b["idle_w"], -b["quality"]]
    if any(x > y for x, y in zip(ours, theirs, strict=True)):
        return False
    return bool(copies > 1 or ours != theirs or a["id"] < b["id"])


# -- money ----------------------------------------------------------------------------------------


def annuity(rate_per_year: float, years: int) -> float:
    """Yearly payment that repays one: found from the sum of discounted payments."""
    return 1.0 / sum((1.0 + rate_per_year) ** -year for year in range(1, years + 1))


def sinking_fund(rate_per_year: float, years: int) -> float:
    """Yearly payment that grows to one: found from the sum of compounded payments."""
    return 1.0 / sum((1.0 + rate_per_year) ** year for year in range(years))


def system_year(o: Json) -> Json:
    """Yearly cost of one system, itemised."""
    with_network = o["server_usd"] / (1.0 - o["network_fraction"] - o["storage_fraction"])
    capex = with_network + o["integration_fraction"] * o["server_usd"]
    rate_per_year, years = o["cost_of_capital"], int(o["life_years"])
    residual = capex * o["residual_fraction"]
    return {
        "capex_annuity": capex * annuity(rate_per_year, years),
        "residual_credit": -residual * sinking_fund(rate_per_year, years),
        "maintenance": o["maintained_usd"] * o["maintenance_fraction"],
        "staff": o["provisioned_kw"] * o["staff_usd_per_kw_year"],
        "licences": o["gpus"] * o["licence_usd_per_gpu_year"],
        "hosting": 12.0 * o["provisioned_kw"] * o["hosting_usd_per_kw_month"],
        "rental": 8760.0 * o["gpus"] * o["rental_usd_per_gpu_h"],
        "capex_usd": capex,
    }
