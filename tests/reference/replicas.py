"""A layout with a batch limit, and each class on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reference.layout import Layout
from reference.memory import kv_bytes
from reference.step import (
    chunked_s,
    decode_attention_s,
    decode_s,
    overhead_s,
    prompt_attention_s,
    tokens_per_sequence,
)
from reference.units import Json


@dataclass(frozen=True)
class ClassOnReplica:
    """One class on one replica."""

    load: float
    prompt_load: float
    prompt_s: list[float]
    alone_s: list[float]
    alone_load: float
    chunks: list[float]
    context: float
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
    work = [chunked_s(layout, base, n) + a for n, a in zip(new, own_attention, strict=True)]
    prompt_s, alone_s, alone_load = work, [0.0] * 5, 0.0
    interference = kernel["interference"]
    if layout.role == "serve":
        alone = [chunked_s(layout, 1.0, n) + a for n, a in zip(new, own_attention, strict=True)]
        # Beside decode a prompt takes its share of interference; alone it may find none.
        prompt_s = [interference * one for one in work]
        slowest = max(interference, 1.0)
        alone_s = [slowest * a - p for a, p in zip(alone, prompt_s, strict=True)]
        alone_load = interference * (alone[0] - work[0]) / layout.lanes
    chunks = [max(math.ceil(n / kernel["chunk_tokens"]), 1.0) for n in new]
    spread = one["input"]["m2"] / one["input"]["at"][0] ** 2
    mean_prompt = work[0] + own_attention[0] * (spread - 1.0)
    steps = later[0] / layout.speculation["accepted"]
    decode = steps * decode_s(layout, batch / layout.lanes, attention_s) / batch
    bw = layout.system["scale_out_bw"]
    transfer = [math.inf if bw is None else kv_bytes(layout, n) / bw for n in one["input"]["at"]]
    link = transfer[0] / layout.adp
    if layout.role == "serve":
        prompt_load = interference * mean_prompt / layout.lanes
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
        alone_load,
        chunks,
        context,
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
