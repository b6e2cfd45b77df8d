"""Operating points of one curve in NumPy: what a careful user of arrays would write.

Hoisted as the core is: what no rate and no price changes is worked out once, from
`tests/reference/`. Blocked for the cache: rows go through in blocks whose temporary arrays stay
in it. The formulas are those of `docs/model.md`, (20) to (27), (32).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import reference as ref

Rows = NDArray[np.float64]
Z99 = ref.NORMAL[4]
FEW = 1e-300


@dataclass(frozen=True)
class Curve:
    """A replica serving one class, with its step time cut into stretches."""

    replica: ref.Replica
    one: ref.ClassOnReplica
    lanes: float
    fixed: Rows  # step time of each stretch is fixed + slope·n + host·n/(1 + n/half)
    slope: Rows
    starts: Rows  # sequences where each later stretch begins
    entered: Rows  # steps per second at which it does
    host: float
    half: float
    own: list[
        tuple[float, float, float]
    ]  # at mean, p50, p90, p99: beside a full batch, alone, steps
    chunk_s: float
    alone_s: float  # step of one sequence
    output_tokens: float


def curve_of(replica: ref.Replica, k: int) -> Curve:
    """The curve of class `k`."""
    layout, one = replica.layout, replica.classes[k]
    kernel, lanes = layout.kernel, float(layout.lanes)
    drafts = 1.0 + layout.speculation["depth"] * layout.speculation["draft_cost"]
    host, half = kernel["sequence_s"] * drafts / lanes, kernel["sequence_half"] * lanes
    per_lane = ref.tokens_per_sequence(layout) / lanes

    def straight(n: float) -> float:
        return replica.tau(n, one.attention_s) - host * n / (1.0 + n / half)

    nodes = [0.0, *(2.0**i / per_lane for i in range(18) if 2.0**i / per_lane < replica.batch)]
    nodes.append(2.0 ** len(nodes[1:]) / per_lane)
    fixed, slope, entered = [], [], []
    for low, high in pairwise(nodes):
        s = (straight(high) - straight(low)) / (high - low)
        slope.append(s)
        fixed.append(straight(low) - s * low)
        if low > 0:
            entered.append(low / replica.tau(low, one.attention_s))
    own = [
        (
            kernel["ttft_fixed_s"] + one.prompt_s[i],
            one.alone_s[i],
            one.chunks[i] - 1.0 + kernel["ttft_steps"],
        )
        for i in (0, 1, 2, 4)
    ]
    return Curve(
        replica,
        one,
        lanes,
        np.array(fixed),
        np.array(slope),
        np.array(nodes[1:-1]),
        np.array(entered),
        host,
        half,
        own,
        ref.longest_step(replica, 0.0),
        replica.tau(1.0, one.attention_s),
        layout.workload["classes"][k]["output"]["at"][0],
    )


def points(c: Curve, rate: Rows, price: Rows, tariff: Rows, block: int) -> list[Rows]:
    """Columns in the order of `_core.operating_points`; rates are below capacity."""
    columns = [np.empty(len(rate)) for _ in range(9)]
    for first in range(0, len(rate), block):
        rows = slice(first, first + block)
        for column, values in zip(
            columns, _block(c, rate[rows], price[rows], tariff[rows]), strict=True
        ):
            column[rows] = values
    return columns


def _step(c: Curve, n: Rows, stretch: NDArray[np.intp]) -> Rows:
    return c.fixed[stretch] + n * (c.slope[stretch] + c.host / (1.0 + n / c.half))


def _steady(c: Curve, steps: Rows, stretch: NDArray[np.intp]) -> Rows:
    """Root of n = steps·τ(n)."""
    work = steps * c.fixed[stretch]
    left = 1.0 - steps * c.slope[stretch]
    a = left / c.half
    b = left - steps * c.host - work / c.half
    root = np.sqrt(b * b + 4.0 * a * work)
    return np.where(b > 0.0, 2.0 * work, root - b) / np.where(b > 0.0, b + root, 2.0 * a)


def _taken(slots: float, held: Rows, u: Rows, prompts: Rows) -> Rows:
    """Probability that every place in the batch is taken, (22)."""
    n = np.minimum(held, u * slots)
    times, ln_u = slots / n, np.log(u)
    ln_times = np.log(times)
    h = u * times - 1.0
    series = 1.0 - h * (0.5 - h * (1.0 / 3.0 - h * 0.25))
    last = np.where(h > 1e-4, (ln_u + ln_times) / np.where(h > 1e-4, h, 1.0), series)
    fall = 0.8 * (1.0 - prompts) * (n * ln_times - (slots - n) * (ln_u + last))
    fall = np.clip(fall, 0.0, 600.0)
    root = np.sqrt(2.0 * fall)
    mills = 2.0 / (root + np.sqrt(root * root + 8.0 / math.pi))
    below = (math.sqrt(2.0 * math.pi) * np.exp(fall) - mills) * root * (1.0 / 6.0 - 1.0 / ln_u)
    return np.where(fall < 600.0, 1.0 / (1.0 + (1.0 - u) * below), 0.0)


def _wait(tails: list[tuple[Rows, Rows, Rows]], target: float) -> Rows:
    """Smallest t with Σ w·exp(−t/s) ≤ target, by Halley's method on the logarithm."""
    (w1, s1, ln1), (w2, s2, ln2) = tails
    ln_target = math.log(target)
    t = np.maximum(np.maximum(s1 * (ln1 - ln_target), s2 * (ln2 - ln_target)), 0.0)
    moving = w1 + w2 > target
    f1, f2 = 1.0 / s1, 1.0 / s2
    fastest = np.maximum(f1, f2)
    for _ in range(40):
        if not moving.any():
            break
        x, y = w1 * np.exp(-t * f1), w2 * np.exp(-t * f2)
        v, s, b = x + y, x * f1 + y * f2, x * f1 * f1 + y * f2 * f2
        above = 3.0 * (v * v - target * target)
        newton = s * s * (v * v + 4.0 * v * target + target * target)
        halley = 2.0 * newton - above * (v * b - s * s)
        step = np.where(moving, 2.0 * above * s * v / np.maximum(halley, newton), 0.0)
        t = np.maximum(t + step, 0.0)
        moving &= np.abs(step) * fastest > 1e-3
    return t


def _block(c: Curve, rate: Rows, price: Rows, tariff: Rows) -> list[Rows]:  # noqa: PLR0915
    one, layout = c.one, c.replica.layout
    batch, accepted, system = c.replica.batch, layout.speculation["accepted"], layout.system
    # Load, and what prompts leave to decode.
    u = rate * one.load
    alone = (1.0 - u) * (1.0 - u)
    prompt = one.prompt_load + alone * one.alone_load
    share = 1.0 - rate * prompt
    stretch_of_time = 1.0 / share
    # Sequences in decode.
    steps = rate * one.steps * stretch_of_time
    stretch = np.searchsorted(c.entered, steps, side="right")
    n = np.minimum(_steady(c, steps, stretch), batch)
    tau = _step(c, n, stretch)
    # Waiting.
    held = one.prompt_s[0] + alone * one.alone_s[0]
    held += one.new[0] / layout.kernel["chunk_tokens"] * tau
    busy = rate / c.lanes * held
    queue = (busy, 0.5 * one.spread * held / (1.0 - busy), np.log(np.maximum(busy, FEW)))
    prompts = 1.0 - share
    taken = _taken(batch, n + busy * c.lanes, u, prompts)
    uneven = 0.5 * one.load * np.maximum(one.output_spread, 1.0 + prompts)
    slots = (taken, uneven / (1.0 - u), np.log(np.maximum(taken, FEW)))
    mean_wait = queue[0] * queue[1] + slots[0] * slots[1]
    w50, w99 = _wait([queue, slots], 0.5), _wait([queue, slots], 1.0 - 0.99)
    # TTFT.
    own0, own50, own90, own99 = (f + alone * a + s * tau for f, a, s in c.own)
    wide = np.maximum(own90 - own50, 0.0)
    skew = np.maximum(mean_wait - w50, 0.0)
    both = wide + mean_wait
    ttft50 = own50 + w50 + skew * wide / np.where(both > 0.0, both, 1.0)

    def late(own: Rows, wait: Rows) -> Rows:
        p, q = np.maximum(own99 - own, 0.0), np.maximum(w99 - wait, 0.0)
        return own + wait + np.sqrt(p * p + q * q)

    ttft99 = np.maximum(late(own0, mean_wait), late(own50, w50))
    # TPOT.
    steady = tau * stretch_of_time / accepted
    behind = prompts * stretch_of_time
    queued = queue[0] * queue[1]
    tpot50 = steady + behind * (held + queued) / one.later[0]
    tokens = one.later[0] / one.output_spread
    on_lane, burst = rate / c.lanes, c.lanes * prompt
    noise = on_lane * burst * burst * one.spread
    hit = np.where(on_lane * (tokens * steady) >= -math.log(0.99), burst, 0.0)
    backlog = np.maximum(queue[1] * (queue[2] - math.log(1.0 - 0.99)), 0.0)
    backlog = behind * np.maximum(backlog - queued, 0.0)
    mean = np.minimum(n, u * batch)
    many = mean + Z99 * np.sqrt(mean * (batch - mean) / ((1.0 - u) * batch))
    many = np.maximum(np.minimum(many, batch), n)
    crowded = _step(c, many, np.searchsorted(c.starts, many, side="right"))
    crowd = tokens * (crowded * stretch_of_time / accepted - steady)
    disturbed = Z99 * stretch_of_time * np.sqrt(tokens * steady * noise)
    spread = np.sqrt(disturbed * disturbed + backlog * backlog + crowd * crowd)
    third = (hit + 3.0 * noise * stretch_of_time) * stretch_of_time
    most = np.maximum((crowded + c.chunk_s) / accepted - tpot50, 0.0)
    standing = np.maximum(spread + (Z99 * Z99 - 1.0) / 6.0 * third, hit)
    tpot99 = tpot50 + np.minimum(standing / tokens, most)
    # Tokens, watts and money.
    shared = np.where(n > 1.0, tau / np.maximum(n, 1.0), c.alone_s)
    above_idle = system["prefill_w"] - system["idle_w"], system["decode_w"] - system["idle_w"]
    joules = one.prompt_load * above_idle[0] + one.steps * shared * above_idle[1]
    watts = layout.gpus * (system["idle_w"] + rate * joules)
    out = rate * c.output_tokens
    per_gpu = out / layout.gpus
    cost = (price + watts / layout.gpus * tariff / 1000.0) / (per_gpu * 0.0036)
    seconds = (ttft50, ttft99, tpot50, tpot99)
    return [out, per_gpu, *(1e3 * s for s in seconds), watts, cost, n]
