"""Measured set-ups: closed loops and throughput runs."""

from __future__ import annotations

import math

from reference.latency import capacity_among
from reference.layout import Layout
from reference.memory import kv_budget, kv_bytes
from reference.replicas import Replica, class_on_replica
from reference.step import (
    chunked_s,
    decode_attention_s,
    decode_s,
    overhead_s,
    prompt_attention_s,
    tokens_per_sequence,
)
from reference.units import Json


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
    c = kernel["closed_ttft"]
    weight = kernel["attention_dp_prefill"] if layout.adp > 1 else 1.0
    ttft = kernel["ttft_fixed_s"] + weight * alone * (
        c["own"] + c["queue"] * (n - 1) ** c["exponent"]
    )
    ttft += c["together_s"] * (n - 1) / (n - 1 + c["together_half"])
    ttft += kernel["ttft_steps"] * step
    request = ttft + (output - 1.0) * tpot
    waiting = (concurrency / running - 1.0) * request
    return ttft + waiting, tpot, running / request * output / layout.gpus


def pool_loop(
    reads: Layout,
    readers: int,
    answers: Layout,
    answerers: int,
    load: tuple[float, float, float],
) -> tuple[float, float, float, float]:
    """TTFT, TPOT (s), output tokens/s/GPU over both pools and over the one that decodes."""
    concurrency, prompt, output = load
    kernel, c = reads.kernel, reads.kernel["closed_ttft"]
    ranks, lanes = readers * reads.lanes, answerers * answers.lanes
    weight = kernel["attention_dp_prefill"] if reads.adp > 1 else 1.0
    work = chunked_s(reads, 0.0, prompt) + prompt_attention_s(reads, prompt, 0.0)
    service = weight * work + math.ceil(prompt / kernel["chunk_tokens"]) * overhead_s(reads)
    # The ranks of a worker send their own layers and heads at the same time.
    transfer = kv_bytes(reads, prompt) / reads.system["scale_out_bw"]
    context = prompt + output / 2
    attention = decode_attention_s(answers, context)
    others = max(concurrency / ranks - 1.0, 0.0)
    served = kernel["ttft_fixed_s"] + transfer
    served += c["together_s"] * others / (others + c["together_half"])
    served += service * (c["own"] + c["queue"] * others ** c["exponent"])

    def met(decoding: float) -> tuple[float, float, float]:
        step = decode_s(answers, max(decoding / lanes, 1.0), attention)
        tpot = step / answers.speculation["accepted"]
        rate = decoding / ((output - 1.0) * tpot)
        busy = rate * service / ranks * others / (others + 1.0)
        wait = service * busy / (1.0 - busy) if busy < 1.0 else math.inf
        return served + wait + answers.kernel["ttft_steps"] * step, tpot, rate

    low, high = 0.0, concurrency
    for _ in range(100):
        middle = (low + high) / 2
        ttft, _, rate = met(middle)
        low, high = (middle, high) if middle + rate * ttft < concurrency else (low, middle)
    places = answerers * kv_budget(answers) / kv_bytes(answers, context) * answers.adp
    ttft, tpot, rate = met(low)
    if 1.0 <= places < low:
        _, tpot, rate = met(places)
        ttft = concurrency / rate - (output - 1.0) * tpot
    decoders = answerers * answers.gpus
    both = readers * reads.gpus + decoders
    return ttft, tpot, rate * output / both, rate * output / decoders


def throughput(
    layout: Layout,
    batch: int,
    reserved: bool,
    requests: float,
    replicas: float | None,
) -> tuple[float, float, float] | None:
    """Output tokens/s/GPU of the first class, sequences in decode, share of full load; under limits
    of each of so many replicas."""
    one = layout.workload["classes"][0]
    prompt, output = one["input"]["at"][0], one["output"]
    context = prompt + (output["at"][0] if reserved else output["m2"] / (2.0 * output["at"][0]))
    places = kv_budget(layout) / kv_bytes(layout, context) * layout.adp
    if places < 1.0:
        return None
    n = min(batch, int(places))
    r = Replica(layout, n, [class_on_replica(layout, n, one)])
    load, share = r.classes[0].load, 1.0
    if replicas is not None:
        share = capacity_among(r, replicas)
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
