"""Applies a calibration to predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tokenfleet.calibration.record import Calibration
from tokenfleet.calibration.runs import LEVELS, TARGETS, MeasuredRun


@dataclass(frozen=True)
class Corrected:
    """A corrected prediction. `half_width` is a logarithm: x/e^h to x e^h holds 80 %."""

    predicted: Mapping[str, float]
    half_width: Mapping[str, float]
    level: str


class Corrector:
    """The biases and intervals of a calibration."""

    def __init__(self, calibration: Calibration) -> None:
        self._effects: dict[tuple[str, str, str, str], float] = {
            (e.time, e.kind, e.key, e.term): e.log_bias for e in calibration.effects
        }
        self._spreads: dict[str, dict[str, float]] = {level: {} for level in LEVELS}
        for spread in calibration.spreads:
            self._spreads[spread.level][spread.metric] = spread.log_half_width
        self._known = {(e.time, e.kind, e.key) for e in calibration.effects}
        self._fitted = frozenset(calibration.fitted)

    def level(self, point: MeasuredRun) -> str:
        """What the fit knew of a point's cell, engine version and kind."""
        target = "capacity" if point.kind == "capacity" else "tpot"
        if target == "tpot" and (target, "version_cell", point.version_cell) in self._known:
            return "known_cell"
        if (target, "cell", point.cell) in self._known:
            return "known_cell" if target == "capacity" else "new_version"
        seen = ((target, kind, key) in self._known for kind, key in point.kinds().items())
        return "new_cell" if all(seen) else "new_kind"

    def fitted(self, point: MeasuredRun) -> bool:
        """Whether the fit saw this very configuration."""
        return point.fingerprint in self._fitted

    def correct(self, point: MeasuredRun) -> Corrected:
        """A prediction times its biases, with its interval."""
        biases = {target: self._bias(point, target) for target in TARGETS[point.kind]}
        level = self.level(point)
        return Corrected(corrected(point, biases), self._spreads[level], level)

    def _bias(self, point: MeasuredRun, target: str) -> float:
        return sum(
            self._effects.get((target, kind, key, term), 0.0) * value
            for kind, key, term, value in point.effects(target)
        )


def corrected(point: MeasuredRun, log_bias: Mapping[str, float]) -> dict[str, float]:
    """Times or capacity multiplied by their biases.

    In a closed loop throughput goes with 1 / request time.
    """
    before = point.predicted
    after = {t: before[t] * math.exp(log_bias[t]) for t in TARGETS[point.kind]}
    if point.kind == "capacity":
        return after
    steps = max(point.osl - 1.0, 0.0)
    slower = (after["ttft"] + steps * after["tpot"]) / (before["ttft"] + steps * before["tpot"])
    return {**after, "tokens_s_gpu": before["tokens_s_gpu"] / slower}
