"""Seconds left of a budget."""

from __future__ import annotations

import time


class Deadline:
    """Seconds left of a budget that runs from its creation."""

    def __init__(self, seconds: float) -> None:
        self.end = time.perf_counter() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(self.end - time.perf_counter(), 0.0)

    def part(self, share: float) -> Deadline:
        """A deadline after a share of what is left."""
        return Deadline(self.left() * share)
