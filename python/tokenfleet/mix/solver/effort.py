"""How hard to try and until when."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from tokenfleet.mix.solver.highs import SolveOptions

_FIRST_S = 600.0  # for what must be there before anything can be improved
_SLOWEST = 20.0
_LEAST_S = 0.05  # a solver that is given no time at all says nothing


class Deadline:
    """Seconds left of a budget that runs from its creation."""

    def __init__(self, seconds: float) -> None:
        self.end = time.perf_counter() + seconds

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(self.end - time.perf_counter(), 0.0)


class Slowness:
    """How much longer than alone on its machine the process takes, from its creation on."""

    def __init__(self, threads: int = 1) -> None:
        """`threads` that work at a time."""
        self.wall, self.cpu, self.threads = time.perf_counter(), time.process_time(), threads

    def factor(self) -> float:
        """Seconds that passed for each of a thread's processor time: 1 on an idle machine, 10 at a
        tenth of a processor; never below 1, nor above 20."""
        worked = max(time.process_time() - self.cpu, _LEAST_S) / self.threads
        return min(max((time.perf_counter() - self.wall) / worked, 1.0), _SLOWEST)


@dataclass(frozen=True)
class Effort:
    """The solver's settings, and the seconds in which they may be used."""

    options: SolveOptions
    deadline: Deadline
    patient: bool = True  # a first plan is waited for
    tree: int = 1_000  # nodes of a small model; what is open then is better begun anew

    @classmethod
    def of(cls, options: SolveOptions) -> Effort:
        """All the time that the settings give, from now on."""
        return cls(options, Deadline(options.time_limit_s))

    @property
    def gap(self) -> float:
        """The relative gap that is wanted."""
        return self.options.gap

    def left(self) -> float:
        """Seconds left, never negative."""
        return self.deadline.left()

    def part(self, share: float, least_s: float = 0.0) -> Effort:
        """The same settings for a share of what is left, and for `least_s` seconds at least."""
        return replace(self, deadline=Deadline(max(self.left() * share, least_s)))

    def first(self) -> Effort:
        """Time for a first plan: a time limit cuts what improves it, and never the plan itself."""
        return self.part(1.0, least_s=_FIRST_S) if self.patient else self

    def with_gap(self, gap: float) -> Effort:
        """Another gap in the same time."""
        return replace(self, options=replace(self.options, gap=gap))

    def impatient(self) -> Effort:
        """The same for what need not be had: the clock ends it before a first plan, too."""
        return replace(self, patient=False)

    def within(self, seconds: float, **changes: Any) -> SolveOptions:
        """Settings of one run of the solver, of so many seconds."""
        return replace(self.options, time_limit_s=max(seconds, _LEAST_S), **changes)
