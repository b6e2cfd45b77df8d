"""A measured run beside what the model says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenfleet.backtest.run import Run
from tokenfleet.points.rates import Layout


@dataclass(frozen=True)
class Result:
    """A run with its prediction; `regimes` is what it counts under.

    `half_width` of the 80 % interval is a logarithm: x/e^h to x e^h.
    """

    run: Run
    layout: Layout
    predicted: Mapping[str, float]
    regimes: Mapping[str, str]
    no_kernels: bool  # of the accelerator's own
    half_width: Mapping[str, float] = field(default_factory=dict)
