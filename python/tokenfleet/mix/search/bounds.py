"""Other bounds for some columns, for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import pulp

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


def _set(columns: Sequence[Bounds]) -> None:
    for v, low, up in columns:
        v.lowBound, v.upBound = low, up
