"""Other bounds for some columns, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import pulp

from tokenfleet.mix.model import FleetModel
from tokenfleet.problem_data import Systems

Bounds: TypeAlias = tuple[pulp.LpVariable, float | None, float | None]  # column, lower, upper


@contextmanager
def bounded(columns: Sequence[Bounds]) -> Iterator[None]:
    """Give columns these bounds, and afterwards those that they had."""
    before = [(v, v.lowBound, v.upBound) for v, _, _ in columns]
    _set(columns)
    try:
        yield
    finally:
        _set(before)


@contextmanager
def only(m: FleetModel, kept: set[tuple[int, int]]) -> Iterator[None]:
    """Close every replica, flow and system outside `kept` (pool, candidate) for a while."""
    pools = {p for p, _ in kept}
    outside = [v for la, v in m.of_pairs() if (la.pool, la.candidate) not in kept]
    offers = m.problem.offers
    unused = [v for label, v in m.of(Systems).items() if offers[label.offer].pool not in pools]
    with bounded([(v, v.lowBound, 0.0) for v in outside + unused]):
        yield


def _set(columns: Sequence[Bounds]) -> None:
    for v, low, up in columns:
        v.lowBound, v.upBound = low, up
