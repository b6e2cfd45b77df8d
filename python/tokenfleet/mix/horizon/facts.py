"""What was proven of the problems inside nodes, kept from one horizon to the next.

What a node costs in a state depends on nothing outside it: not on what systems cost, on what else
may be ordered, or on other nodes. A horizon in which only those differ has the same problems in its
nodes, and what was proven of them holds there too.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

State = tuple[int, ...]  # systems of each pool
FloatArray = NDArray[np.float64]


@dataclass
class Facts:
    """Of one node's problem, in the unit in which it is solved."""

    relaxed: dict[State, tuple[float, FloatArray]] = field(default_factory=dict)
    """What the relaxation costs in a state, and what one system more of each pool changes."""
    worked_out: dict[State, tuple[float, FloatArray | None]] = field(default_factory=dict)
    """Least cost of a state that was solved, and its plan; none where there is none."""


@dataclass
class Memory:
    """Facts by all that makes a node's problem what it is."""

    facts: dict[Hashable, Facts] = field(default_factory=dict)

    def of(self, problem: Hashable) -> Facts:
        """Facts of a problem, to be read and added to."""
        return self.facts.setdefault(problem, Facts())
