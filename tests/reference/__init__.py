"""The core once more, slow and obvious: every formula of ``docs/model.md`` in plain Python.

It reads the same specification (a dict) and is written from the page, not from the Rust. It builds
nothing ahead of use; the one table it has (token counts at powers of two) is part of the
definition. Waiting-time quantiles are found by bisection where the core uses Newton's method.
Units are SI: bytes, seconds, flop/s, watts, joules.
"""

from __future__ import annotations

from reference.benchmark import closed_loop, pool_loop, throughput
from reference.dominance import dominates
from reference.latency import (
    NORMAL,
    capacity,
    excesses,
    joules_at_capacity,
    narrow_tail,
    request_joules,
    standing_w,
    tpot,
    ttft,
)
from reference.memory import longest_kv, weight_bytes
from reference.money import system_year
from reference.pressure import Pressure, longest_step, met, of_any_mix, of_mix
from reference.replicas import ClassOnReplica, Replica, replica
from reference.space import Configuration, configurations, has_figures, rate
from reference.step import tokens_per_sequence

__all__ = [
    "NORMAL",
    "ClassOnReplica",
    "Configuration",
    "Pressure",
    "Replica",
    "capacity",
    "closed_loop",
    "configurations",
    "dominates",
    "excesses",
    "has_figures",
    "joules_at_capacity",
    "longest_kv",
    "longest_step",
    "met",
    "narrow_tail",
    "of_any_mix",
    "of_mix",
    "pool_loop",
    "rate",
    "replica",
    "request_joules",
    "standing_w",
    "system_year",
    "throughput",
    "tokens_per_sequence",
    "tpot",
    "ttft",
    "weight_bytes",
]
