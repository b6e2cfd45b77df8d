"""Waiting times as sums of exponentials; quantiles by bisection."""

from __future__ import annotations

import math

from reference.units import QUANTILE

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


def waiting(tail: Tail, i: int) -> float:
    """Mean or percentile of a waiting time."""
    if i == 0:
        return sum(weight * scale for weight, scale in tail)
    return tail_quantile(tail, QUANTILE[i])
