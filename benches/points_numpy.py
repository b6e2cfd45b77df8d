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
from reference.units import QUANTILE

Rows = NDArray[np.float64]
FEW = 1e-300
#: Positions of p50 and p99 in the lists of the reference.
REPORTED = (1, 4)


@dataclass(frozen=True)
class Curve:
    """A replica serving one class, with its step time cut into stretches."""

    replica: ref.Replica
    one: ref.ClassOnReplica
    lanes: float
    found: tuple[float, float]  # one in decode finds so many sequences, and this share of the mean
    fixed: Rows  # step time of each stretch is fixed + slope·n + host·n/(1 + n/half)
    slope: Rows
    starts: Rows  # sequences where each later stretch begins
    entered: Rows  # steps per second, times that share, at which it does
    host: float
    half: float
    own: list[tuple[float, float, float]]  # at the mean and percentiles: full batch, alone, steps
    chunk_s: float
    request_j: float
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

    alone = ref.met(replica, 0.0)
    others = (ref.met(replica, replica.batch) - alone) / replica.batch
    nodes = [0.0, *(2.0**i / per_lane for i in range(18) if 2.0**i / per_lane < replica.batch)]
    nodes.append(2.0 ** len(nodes[1:]) / per_lane)
    fixed, slope, entered = [], [], []
    for low, high in pairwise(nodes):
        s = (straight(high) - straight(low)) / (high - low)
        slope.append(s)
        fixed.append(straight(low) - s * low)
        if low > 0:
            entered.append((low - alone) / replica.tau(low, one.attention_s))
    own = [
        (
            kernel["ttft_fixed_s"] + one.prompt_s[i],
            one.alone_s[i],
            one.chunks[i] - 1.0 + kernel["ttft_steps"],
        )
        for i in range(5)
    ]
    return Curve(
        replica,
        one,
        lanes,
        (alone, others),
        np.array(fixed),
        np.array(slope),
        np.array(nodes[1:-1]),
        np.array(entered),
        host,
        half,
        own,
        ref.longest_step(replica, 0.0),
        ref.request_joules(replica, k),
        layout.workload["classes"][k]["output"]["at"][0],
    )


@dataclass(frozen=True)
class Operated:
    """What rates decide: latencies in ms by percentile, all else as the core's columns."""

    tokens_per_s: Rows
    per_gpu: Rows
    ttft_ms: dict[int, Rows]
    tpot_ms: dict[int, Rows]
    watts: Rows
    concurrency: Rows


def points(c: Curve, rate: Rows, price: Rows, tariff: Rows, block: int) -> list[Rows]:
    """Columns in the order of `_core.operating_points`; rates are below capacity."""
    columns = [np.empty(len(rate)) for _ in range(9)]
    points_into(columns, c, (rate, price, tariff), block)
    return columns


def points_into(columns: list[Rows], c: Curve, inputs: tuple[Rows, Rows, Rows], block: int) -> None:
    """`points` of rates, prices and tariffs, into columns that are there."""
    rate, price, tariff = inputs
    for first in range(0, len(rate), block):
        rows = slice(first, first + block)
        op = operate(c, rate[rows], REPORTED, REPORTED)
        values = (
            op.tokens_per_s,
            op.per_gpu,
            *op.ttft_ms.values(),
            *op.tpot_ms.values(),
            op.watts,
            cost(c, op, price[rows], tariff[rows]),
            op.concurrency,
        )
        for column, of_block in zip(columns, values, strict=True):
            column[rows] = of_block


def cost(c: Curve, op: Operated, price: Rows | float, tariff: Rows | float) -> Rows:
    """USD per million output tokens."""
    per_gpu_watt = op.watts / c.replica.layout.gpus
    return (price + per_gpu_watt * tariff / 1000.0) / (op.per_gpu * 0.0036)


def _step(c: Curve, n: Rows, stretch: NDArray[np.intp]) -> Rows:
    return c.fixed[stretch] + n * (c.slope[stretch] + c.host / (1.0 + n / c.half))


def _steady(c: Curve, steps: Rows, stretch: NDArray[np.intp]) -> Rows:
    """Root of n = alone + steps·τ(n): what one in decode finds."""
    work = c.found[0] + steps * c.fixed[stretch]
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


def operate(  # noqa: PLR0915
    c: Curve, rate: Rows, ttft_at: tuple[int, ...], tpot_at: tuple[int, ...]
) -> Operated:
    """Points at some rates below capacity, with latencies at those percentiles."""
    one, layout = c.one, c.replica.layout
    batch, accepted, system = c.replica.batch, layout.speculation["accepted"], layout.system
    # Load, and what prompts leave to decode.
    u = rate * one.load
    alone = (1.0 - u) * (1.0 - u)
    prompt = one.prompt_load + alone * one.alone_load
    share = 1.0 - rate * prompt
    stretch_of_time = 1.0 / share
    # Sequences in decode.
    alone_n, others_n = c.found
    steps = rate * one.steps * stretch_of_time
    stretch = np.searchsorted(c.entered, steps * others_n, side="right")
    met = np.minimum(_steady(c, steps * others_n, stretch), batch)
    tau = _step(c, met, stretch)
    n = np.minimum(steps * tau, batch)
    # Waiting.
    held = one.prompt_s[0] + alone * one.alone_s[0]
    held += one.new[0] / layout.kernel["chunk_tokens"] * tau
    busy = rate / c.lanes * held
    queue_stretch = (1.0 + busy / (1.0 + busy)) / (1.0 - busy)
    queue = (busy, 0.5 * one.spread * held * queue_stretch, np.log(np.maximum(busy, FEW)))
    prompts = 1.0 - share
    taken = _taken(batch, n + busy * c.lanes, u, prompts)
    uneven = 0.5 * one.load * np.maximum(one.output_spread, 1.0 + prompts)
    slots = (taken, uneven / (1.0 - u), np.log(np.maximum(taken, FEW)))
    queued, over = _queued(c, queue, {0, 1, *ttft_at, *tpot_at})
    mean_wait = queue[0] * queue[1] + slots[0] * slots[1] - over[0]
    waits = {i: _wait([queue, slots], 1.0 - QUANTILE[i]) - over[i] for i in {1, *ttft_at}}
    # TTFT.
    on_lane, burst = rate / c.lanes, c.lanes * prompt
    noise = on_lane * burst * burst * one.spread
    step = tau * stretch_of_time
    others = 1.5 * tau * (stretch_of_time - 1.0)
    owns = {i: _own(c, i, alone, tau) + others for i in {0, 1, 2, *ttft_at}}
    part = {i: ref.narrow_tail(i, one.spread) for i in ttft_at}
    ttft = {i: _ttft(i, owns, waits, mean_wait, (step, noise, part[i])) for i in ttft_at}
    # TPOT.
    steady = tau * stretch_of_time / accepted
    behind = prompts * stretch_of_time
    mean_tpot = steady + behind * (held + queued[0]) / one.later[0]
    tpot = dict.fromkeys(tpot_at, mean_tpot)
    if any(i > 1 for i in tpot_at):
        third = 3.0 * noise * stretch_of_time
        least_n = np.minimum(n, u * batch)
        crowd_spread = np.sqrt(least_n * (batch - least_n) / ((1.0 - u) * batch))
    for i in (i for i in tpot_at if i > 1):
        z, p = ref.NORMAL[i], QUANTILE[i]
        tokens = one.later[0] / one.output_spread ** (2 if i == 4 else 1)
        together = z * stretch_of_time * np.sqrt(tokens * steady * noise)
        hit = np.where(on_lane * (tokens * steady) >= -math.log(p), burst, 0.0)
        longer = one.prompt_s[i] - one.prompt_s[0] + alone * (one.alone_s[i] - one.alone_s[0])
        longer = behind * np.maximum(longer, 0.0)
        backlog = behind * np.maximum(queued[i] - queued[0], 0.0)
        many = np.maximum(np.minimum(least_n + z * crowd_spread, batch), n)
        many = alone_n + many * others_n
        crowded = _step(c, many, np.searchsorted(c.starts, many, side="right"))
        crowd = tokens * (crowded * stretch_of_time / accepted - steady)
        apart = together * together + backlog * backlog + longer * longer + crowd * crowd
        spread = np.sqrt(apart + 2.0 * prompts * together * crowd)
        skew = (hit * one.spread * one.spread + third) * stretch_of_time
        most = np.maximum((crowded + c.chunk_s) / accepted - mean_tpot, 0.0)
        standing = np.maximum(spread + (z * z - 1.0) / 6.0 * skew, hit)
        tpot[i] = mean_tpot + np.minimum(standing / tokens, most)
    # Tokens and watts.
    idle = layout.gpus * system["idle_w"]
    floor = np.minimum(n, 1.0) * (ref.standing_w(c.replica) - idle)
    watts = idle + floor + rate * c.request_j
    out = rate * c.output_tokens
    in_ms = [{i: 1e3 * s for i, s in seconds.items()} for seconds in (ttft, tpot)]
    return Operated(out, out / layout.gpus, in_ms[0], in_ms[1], watts, n)


def _queued(
    c: Curve, queue: tuple[Rows, Rows, Rows], wanted: set[int]
) -> tuple[dict[int, Rows], dict[int, Rows]]:
    """Waiting for the prompts ahead at the mean and percentiles, s, and by how much more that would
    be if prompts did not share steps."""
    busy, scale, ln_busy = queue
    waits = {0: busy * scale}
    for i in wanted - {0}:
        waits[i] = np.maximum(scale * (ln_busy - math.log(1.0 - QUANTILE[i])), 0.0)
    shared = busy / (1.0 + 2.0 * busy)
    over = {i: np.maximum(shared * wait - 1.5 * c.chunk_s, 0.0) for i, wait in waits.items()}
    return {i: waits[i] - over[i] for i in waits}, over


def _own(c: Curve, i: int, alone: Rows, tau: Rows) -> Rows:
    full, added, steps = c.own[i]
    return full + alone * added + steps * tau


def _ttft(
    i: int,
    owns: dict[int, Rows],
    waits: dict[int, Rows],
    mean_wait: Rows,
    met: tuple[Rows, Rows, float],
) -> Rows:
    if i == 1:
        wide = np.maximum(owns[2] - owns[1], 0.0)
        skew = np.maximum(mean_wait - waits[1], 0.0)
        both = wide + mean_wait
        return owns[1] + waits[1] + skew * wide / np.where(both > 0.0, both, 1.0)

    def late(own: Rows, wait: Rows) -> Rows:
        p, q = np.maximum(owns[i] - own, 0.0), met[2] * np.maximum(waits[i] - wait, 0.0)
        return own + wait + np.sqrt(p * p + q * q + ref.NORMAL[i] ** 2 * met[1] * met[0])

    worst = np.maximum(late(owns[0], mean_wait), late(owns[1], waits[1]))
    return worst + (QUANTILE[i] - 0.5) * met[0]
