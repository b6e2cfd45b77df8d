"""TTFT, TPOT, limits and capacity; joules."""

from __future__ import annotations

import math
from collections.abc import Callable

from reference.memory import kv_budget, kv_bytes
from reference.pressure import (
    Pressure,
    beside,
    burst,
    burst_second_moment,
    held,
    longest_step,
    met,
    of_any_mix,
    of_mix,
)
from reference.replicas import Replica
from reference.step import overhead_s
from reference.units import QUANTILE

NORMAL = (0.0, 0.0, 1.2815515655, 1.644853627, 2.326347874)
HALVINGS = 30
IDLE = 1e-6


def own_ttft(r: Replica, p: Pressure, k: int, i: int) -> float:
    """The part of TTFT that no other request causes."""
    one, kernel = r.classes[k], r.layout.kernel
    if r.layout.role == "serve":
        steps = one.chunks[i] - 1.0 + kernel["ttft_steps"]
        prompt = beside(p.u, p.worst, one.prompt_s[i], one.alone_s[i])
        # Half of the running step and the own one, stretched by the prompts of others.
        others = 1.5 * p.tau * (1.0 - p.share) / p.share
        return float(kernel["ttft_fixed_s"] + prompt + steps * p.tau + others)
    if r.layout.role == "prefill":
        own = one.prompt_s[i] + one.chunks[i] * overhead_s(r.layout)
        return float(kernel["ttft_fixed_s"] + own)
    return float(one.transfer_s[i] + kernel["ttft_steps"] * p.tau)


def narrow_tail(i: int, spread: float) -> float:
    """Share of an exponential's deviation that waiting behind prompts of one length has."""
    least, more = {3: (0.85, 0.1), 4: (0.7, 0.2)}.get(i, (1.0, 0.0))
    return min(1.0, least + more * (spread - 1.0))


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
    together, residual, part = 0.0, 0.0, 1.0
    if r.layout.role == "serve":
        step = p.tau / p.share
        together = NORMAL[i] * math.sqrt(burst_second_moment(r, p) * step)
        residual = (QUANTILE[i] - 0.5) * step
        part = narrow_tail(i, p.spread)
        if i > 2:
            part += p.herds * (p.in_herds - part)
    for centre in (0, 1):
        own_centre, wait_centre = own_ttft(r, p, k, centre), p.wait(centre)
        off = math.hypot(max(own - own_centre, 0.0), part * max(wait - wait_centre, 0.0), together)
        candidates.append(own_centre + wait_centre + off)
    return max(candidates) + residual + way


def crowded_tau(r: Replica, p: Pressure, z: float) -> float:
    """A decode step with as many sequences as there are at ``z`` standard deviations."""
    n = min(p.n, p.u * r.batch)
    spread = math.sqrt(n * (r.batch - n) / ((1.0 - p.u) * r.batch) / p.replicas)
    return r.tau(met(r, max(min(n + z * spread, r.batch), p.n)), p.attention_s)


def tpot(r: Replica, p: Pressure, k: int, i: int) -> float:
    """TPOT of class ``k``: mean and median alike, or a percentile."""
    one, accepted = r.classes[k], r.layout.speculation["accepted"]
    steady = p.tau / (accepted * p.share_met)
    if one.later[0] <= 0:
        return float(steady)
    behind = (1.0 - p.share_met) / p.share_met
    backlog = held(r, k, p.tau, p.u, p.worst) + p.prompts(0)
    mean = steady + behind * backlog / one.later[0]
    if i < 2:
        return float(mean)
    tokens = one.later[0] / one.output_spread ** (2 if i == 4 else 1)
    duration = tokens * steady
    late = 1.0 - QUANTILE[i]
    met = [j for j, rate in p.rates if 1.0 - math.exp(-p.met * rate * duration) >= late]
    hit = max((burst(r, p, j) for j in met), default=0.0)
    skew = max((burst(r, p, j) * r.classes[j].spread ** 2 for j in met), default=0.0)
    longer = 0.0
    if r.layout.role == "serve":
        at = [beside(p.u, p.worst, one.prompt_s[j], one.alone_s[j]) for j in (0, i)]
        longer = max(at[1] - at[0], 0.0)
    even = (p.irregular + p.spread - 1.0) / p.spread
    z, slow = NORMAL[i], crowded_tau(r, p, NORMAL[i])
    squares = p.met * even * burst_second_moment(r, p)
    noise = z * math.sqrt(duration * squares) / p.share_met
    later_backlog = behind * max(p.prompts(i) - p.prompts(0), 0.0)
    crowd = tokens * (slow - p.tau) / (accepted * p.share_met)
    third = skew / p.share_met + 3.0 * squares / p.share_met**2
    apart = math.hypot(noise, later_backlog, crowd, behind * longer)
    spread = math.sqrt(apart**2 + 2.0 * (1.0 - p.share_met) * noise * crowd)
    skewed = spread + (z**2 - 1.0) / 6.0 * third
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
    return largest(lambda u: excess_of_any_mix(r, members, u, round_trip_s))


def capacity_among(r: Replica, replicas: float) -> float:
    """Largest utilisation of each of so many replicas at which every limit of class 0 holds."""

    def excess(u: float) -> float:
        p = of_mix(r, [u / r.classes[0].load], replicas)
        return 1.0 if p is None else max(excess for excess, _ in excesses(r, p, [0], [0.0]))

    return largest(excess)


def largest(excess: Callable[[float], float]) -> float:
    """Largest utilisation at which there is no excess, by bisection."""
    if excess(IDLE) > 0:
        return 0.0
    holds, fails = IDLE, 1.0
    for _ in range(HALVINGS):
        u = (holds + fails) / 2
        holds, fails = (holds, u) if excess(u) > 0 else (u, fails)
    return holds


def standing_w(r: Replica) -> float:
    """Watts of a replica with requests, before what they add: decode has a floor, prompts none."""
    system = r.layout.system
    watts = system["idle_w"] if r.layout.role == "prefill" else system["active_w"]
    return float(r.layout.gpus * watts)


def request_joules(r: Replica, k: int) -> float:
    """Joules of one request above ``standing_w``; decode as if memory were full."""
    one, system = r.classes[k], r.layout.system
    standing = standing_w(r) / r.layout.gpus
    joules = one.prompt_load * (system["prefill_w"] - standing)
    if r.layout.role != "prefill":
        most = max(kv_budget(r.layout) / kv_bytes(r.layout, one.context) * r.layout.adp, r.batch)
        decode = one.steps * r.tau(most, one.attention_s) / most
        joules += decode * (system["decode_w"] - standing)
    return float(r.layout.gpus * joules)


def joules_at_capacity(r: Replica, k: int, u: float) -> float:
    """The same of a replica that is full at utilisation ``u``: what it draws then is a fifth more
    than what having requests draws above idle, at least."""
    having_requests = standing_w(r) - r.layout.gpus * r.layout.system["idle_w"]
    return max(request_joules(r, k), 0.2 * having_requests * r.classes[k].load / u)
