"""One kernel: products, experts touched, collectives, links."""

from __future__ import annotations

import math

from reference.units import Json


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
