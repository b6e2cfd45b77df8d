"""What every request on a replica feels under a mix of rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reference.queue import Tail, waiting
from reference.replicas import Replica
from reference.step import overhead_s, tokens_per_sequence, work_s

BISECTIONS = 100


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
    spread: float
    replicas: float = 1.0
    irregular: float = 1.0
    share_met: float = 0.0
    met: float = 1.0
    bend: float = 0.0
    busy: float = 0.0
    chunk_s: float = math.inf
    herds: float = 0.0
    in_herds: float = 1.0

    def prompts(self, i: int) -> float:
        """Waiting for the prompts before: mean or percentile."""
        return calmed(self.queue, self.bend, i, self.over_a_step(i))

    def over_a_step(self, i: int) -> float:
        """By how much prompts that share steps add more than one and a half can hold."""
        added = self.busy / (1.0 + 2.0 * self.busy) * waiting(self.queue, i)
        return max(added - 1.5 * self.chunk_s, 0.0)

    def wait(self, i: int) -> float:
        """The same and for a place: mean or percentile."""
        shorter = waiting(self.queue, i) - self.prompts(i)
        whole = waiting(self.queue + self.slots, i) - shorter
        return whole if i == 0 else max(whole, waiting(self.slots, i))


def calmed(queue: Tail, bend: float, i: int, over: float) -> float:
    """Waiting, less ``over``, where the tail falls as ``exp(-t/s - bend·t²)``, ``s`` being its mean
    scale."""
    weight = sum(one for one, _ in queue)
    if bend <= 0 or weight <= 0:
        return waiting(queue, i) - over
    scale = waiting(queue, 0) / weight
    target = scale if i == 0 else waiting(queue, i) - over
    low, high = 0.0, target
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        fallen = middle / scale + bend * middle**2
        low, high = (middle, high) if fallen < target / scale else (low, middle)
    return weight * low - over if i == 0 else low


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


def queue_stretch(r: Replica, busy: float) -> float:
    """By how much the prompts behind stretch a residual; prompts of one step end together."""
    together = (1.0 + 2.0 * busy) / (1.0 + busy) if r.layout.role == "serve" else 1.0
    return together / (1.0 - busy)


def concurrency(r: Replica, token_rate: float, share: float, attention_s: float) -> float:
    """``n = N·τ(m)/share`` up to the batch limit, ``m`` as one of them meets, by bisection."""
    if r.layout.role == "prefill":
        return 0.0

    def too_few(n: float) -> bool:
        return n <= token_rate * r.tau(met(r, n), attention_s) / share

    low, high = 0.0, float(r.batch)
    if too_few(high):
        return high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_few(middle) else (low, middle)
    return low


def met(r: Replica, n: float) -> float:
    """Sequences that one of ``n`` in decode finds: itself, and what it would find of the mean with
    one place less on its lane; on each lane alike."""
    lanes = r.layout.lanes
    places = r.batch / lanes
    if places <= 1:
        return float(r.batch)
    return float(lanes * (1.0 + n / lanes * (places - 1.0) / places))


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


def slots_tail(
    r: Replica, u: float, known: tuple[float, float, float], replicas: float = 1.0
) -> Tail:
    """Waiting for a place in the batch, where those of all replicas are taken: from places taken,
    share of time of prompts and how uneven departures are."""
    places, prompts, uneven = known
    if r.layout.role == "prefill":
        return []
    taken = all_slots_taken(replicas * r.batch, replicas * places, u, prompts)
    scale = uneven / (1.0 - u**replicas)
    return [(taken, scale)] if taken > 0 and scale > 0 else []


def burst(r: Replica, p: Pressure, k: int) -> float:
    """How long a prompt holds up decode on its lane."""
    one = r.classes[k]
    return r.layout.lanes * beside(p.u, p.worst, one.prompt_load, one.alone_load)


def burst_second_moment(r: Replica, p: Pressure) -> float:
    """``Σ rate·E[size²]`` of the prompts on a lane; the largest term for the worst of any mix."""
    terms = [rate * burst(r, p, k) ** 2 * r.classes[k].spread for k, rate in p.rates]
    return max(terms, default=0.0) if p.worst else sum(terms)


def varied_answers(r: Replica, mix: list[tuple[int, float]]) -> float:
    """``E[O²]/E[O]² - 1`` of the answers of a mix, at most 1."""
    rate = sum(f for _, f in mix)
    mean = sum(f * r.classes[k].steps for k, f in mix) / rate if rate > 0 else 0.0
    if mean <= 0:
        return 1.0
    square = sum(f * r.classes[k].steps ** 2 * r.classes[k].output_spread for k, f in mix) / rate
    return min(max(square / mean**2 - 1.0, 0.0), 1.0)


def of_mix(r: Replica, rates: list[float], replicas: float = 1.0) -> Pressure | None:
    """Pressure of one given mix, on each of so many replicas behind a router; ``None`` where the
    queue has no steady state."""
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
    tau = r.tau(met(r, n), attention)
    lanes = r.layout.lanes
    services = [(f / lanes, held(r, k, tau, u, False), r.classes[k].spread) for k, f in mix]
    busy = sum(rate * service for rate, service, _ in services)
    if busy >= 1:
        return None
    varied = varied_answers(r, mix)
    on_lane = [(k, f / lanes) for k, f in mix]

    def behind(part: float) -> Tail:
        """The queue of so large a part of the prompts."""
        terms = (
            (part * rate * service, 0.5 * service * spread) for rate, service, spread in services
        )
        stretch = queue_stretch(r, part * busy)
        return [(weight, scale * stretch) for weight, scale in terms if weight > 0]

    held_count, found, share_found = 0.0, math.inf, 1.0
    if r.layout.role == "serve" and busy > 0:
        # A request finds the others on its lane: its own is one of a number that is held.
        held_count = 1.0 - 1.0 / (1.0 + (replicas - 1.0) * lanes)
        requests = n / lanes + busy + sum(f for _, f in on_lane) * waiting(behind(1.0), 0)
        found = requests - held_count * min(requests, 1.0)
        share_found = found / requests
    # Answers of one length end together, and as many prompts follow them to the same replica; where
    # few are found, few do.
    together = (1.0 - min(2.0 * varied, 1.0)) * (1.0 - 1.0 / (1.0 + (found / 5.0) ** 2))
    herds = max(1.0 - 2.0 / replicas, 0.0) * together
    in_herds = 1.0 + busy / (1.0 + (found / 40.0) ** 2)
    part = 1.0 - (1.0 - share_found) * (1.0 - together)
    queue = behind(part)
    uneven = sum(f * r.classes[k].load * uneven_load(r, k, 1.0 - share) for k, f in mix)
    uneven = uneven / u if u > 0 else 0.0
    slots = slots_tail(r, u, (n + busy * lanes, 1.0 - share, uneven), replicas)
    spread = max((r.classes[k].spread for k, _ in mix), default=1.0)
    known = (u, False, n, attention, tau, share, queue, slots, on_lane, spread)
    share_met, bend, chunk_s = 1.0 - (1.0 - share) * share_found, 0.0, math.inf
    if r.layout.role == "serve" and busy > 0:
        chunk_s = longest_step(r, 0.0)
        held_s = busy / sum(f for _, f in on_lane)
        bend = held_count * (1.0 - together) / (2.0 * found * held_s**2)
    irregular = varied + (1.0 - varied) / replicas
    behind_router = (replicas, irregular, share_met, share_found)
    return Pressure(*known, *behind_router, bend, part * busy, chunk_s, herds, in_herds)


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
    tau, lanes = r.tau(met(r, n), longest), r.layout.lanes
    busy = max(
        most_up_to(u, held_beside_full(r, k, tau), c.alone_s[0]) / c.load / lanes
        for k, c in ones.items()
    )
    if busy >= 1:
        return None
    residual = max(0.5 * held(r, k, tau, u, True) * c.spread for k, c in ones.items())
    queue = [(busy, residual * queue_stretch(r, busy))] if busy > 0 and residual > 0 else []
    uneven = max(uneven_load(r, k, 1.0 - share) for k in members)
    slots = slots_tail(r, u, (n + busy * lanes, 1.0 - share, uneven))
    on_lane = [(k, u / c.load / lanes) for k, c in ones.items()]
    spread = max(c.spread for c in ones.values())
    known = (u, True, n, longest, tau, share, queue, slots, on_lane, spread)
    return Pressure(*known, share_met=share)
