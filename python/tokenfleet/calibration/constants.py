"""Fits the model's own constants to measured runs.

The constants are overheads of the engines and weights of composed kernels. Each has a prior: a
round figure from what it stands for (a weight of one, a host that needs a millisecond a step) with
a spread of its logarithm, tight where kernel tables measured the thing itself. The fit minimises

    sum of w soft-L1(log(predicted/measured) / noise)  +  sum of (log(constant/prior) / spread)^2

over TPOT, TTFT and capacity by Gauss-Newton steps. No formula is repeated here: predictions come
from the core, and derivatives from differences of them. They change little over the range that
matters, so those at one point serve every fold. A cell counts less than in proportion to its runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tokenfleet.calibration.record import Constant
from tokenfleet.calibration.runs import MeasuredRun
from tokenfleet.schema.engines import ENGINES

FloatArray = NDArray[np.float64]
Values = Mapping[tuple[str, str], float]  # by name and engine, which is empty for all engines
Predictions = Sequence[Mapping[str, float]]

# Name, prior, spread. Looser ones fit the runs better and left-out ones worse: `docs/accuracy.md`.
_SHARED = (
    ("decode_gemm", 1.0, 0.024),
    ("decode_moe", 1.0, 0.03),
    ("decode_moe_t0", 1.0, 0.08),
    ("decode_comm", 1.0, 0.03),
    ("decode_attention", 1.0, 0.03),
    ("decode_attention_t0", 0.5, 0.08),
    ("mixed_moe", 1.0, 0.08),
    ("mixed_comm", 1.0, 0.06),
    ("attention_dp_prefill", 1.0, 0.08),
    ("attention_dp_experts", 1.2, 0.06),
    ("index_layer_us", 60.0, 0.15),
    ("mxfp4_launch", 0.4, 0.35),
    ("mxfp4_bandwidth", 1.2, 0.04),
)
_OF_ENGINE = (
    ("gemm_t0_share", 0.5, 0.08),
    ("layer_us", 20.0, 0.08),
    ("step_ms", 1.0, 0.08),
    ("sequence_us", 10.0, 0.25),
    ("sequence_half", 512.0, 0.75),
    ("interference", 1.0, 0.12),
    ("ttft_together_ms", 100.0, 0.5),
    ("ttft_together_half", 5.0, 0.35),
    ("ttft_prefill", 1.0, 0.02),
    ("ttft_queue", 0.08, 0.06),
    ("ttft_queue_exponent", 1.0, 0.02),
    ("ttft_steps", 2.0, 0.06),
)
PRIORS: tuple[tuple[str, str, float, float], ...] = (
    *((name, "", prior, spread) for name, prior, spread in _SHARED),
    *((name, e, prior, spread) for name, prior, spread in _OF_ENGINE for e in sorted(ENGINES)),
)
_NOISE = {"tpot": 0.1, "ttft": 0.35, "capacity": 0.25}
_CELL_POWER = -0.6  # weight of a run, by runs of its kind in its cell
_STEP = 1e-3  # of a logarithm, for differences
_ROUNDS = 8
_SETTLED = 5e-3  # of a logarithm: half a percent of a constant


def prior_values() -> dict[tuple[str, str], float]:
    """Every constant at its prior."""
    return {(name, engine): prior for name, engine, prior, _ in PRIORS}


def constants_of(values: Values) -> tuple[Constant, ...]:
    """The record of fitted values."""
    return tuple(
        Constant(
            name=name,
            engine=engine,
            value=float(f"{values[name, engine]:.5g}"),
            prior=prior,
            spread=spread,
        )
        for name, engine, prior, spread in PRIORS
    )


@dataclass(frozen=True)
class Study:
    """Points, and how their predictions follow from constants.

    Without `predict` the predictions that the points carry stand, and nothing is fitted.
    """

    points: tuple[MeasuredRun, ...]
    predict: Callable[[Values], Predictions] | None = None

    @classmethod
    def of(
        cls, points: Sequence[MeasuredRun], predict: Callable[[Values], Predictions] | None = None
    ) -> Study:
        """A study in canonical order; `predict` answers in the order given here."""
        order = sorted(range(len(points)), key=lambda i: _order(points[i]))
        if predict is None:
            return cls(tuple(points[i] for i in order))

        def in_order(values: Values) -> Predictions:
            found = predict(values)
            return [found[i] for i in order]

        return cls(tuple(points[i] for i in order), in_order)

    def fit(self, rows: Sequence[int]) -> dict[tuple[str, str], float]:
        """The constants that fit some of the points."""
        if self.predict is None:
            return prior_values()
        near, slopes = self._slopes
        start = self._solve(rows, near, slopes, residuals=self._straight)
        return _values(self._solve(rows, start, slopes, rounds=2))

    def predicted(self, values: Values) -> tuple[MeasuredRun, ...]:
        """The points with the predictions of these constants."""
        if self.predict is None:
            return self.points
        found = self.predict(values)
        return tuple(replace(p, predicted=f) for p, f in zip(self.points, found, strict=True))

    @cached_property
    def _slopes(self) -> tuple[FloatArray, FloatArray]:
        """Where derivatives are taken (near the fit of all points), and the derivatives."""
        every = range(len(self.points))
        start = np.log([prior for _, _, prior, _ in PRIORS])
        near = self._solve(every, start, self._jacobian(start), rounds=3)
        return near, self._jacobian(near)

    def _straight(self, logs: FloatArray) -> FloatArray:
        """Residuals in a straight line from where derivatives were taken: no prediction is made."""
        near, slopes = self._slopes
        found: FloatArray = self._near_residuals + np.einsum("ij,j->i", slopes, logs - near)
        return found

    @cached_property
    def _near_residuals(self) -> FloatArray:
        return self._residuals(self._slopes[0])

    @cached_property
    def _targets(self) -> list[tuple[int, str]]:
        return [(i, t) for i, p in enumerate(self.points) for t in p.targets]

    @cached_property
    def _weights(self) -> FloatArray:
        counts = Counter(p.group for p in self.points)
        return np.array([counts[self.points[i].group] ** _CELL_POWER for i, _ in self._targets])

    def _residuals(self, logs: FloatArray) -> FloatArray:
        """log(predicted/measured) over its noise, a row a target."""
        assert self.predict is not None
        found = self.predict(_values(logs))
        return np.array(
            [
                math.log(found[i][t] / self.points[i].measured[t]) / _NOISE[t]
                for i, t in self._targets
            ]
        )

    def _jacobian(self, at: FloatArray) -> FloatArray:
        base = self._residuals(at)
        found = np.empty((len(base), len(at)))
        for j in range(len(at)):
            moved = at.copy()
            moved[j] += _STEP
            found[:, j] = (self._residuals(moved) - base) / _STEP
        return found

    def _solve(
        self,
        rows: Sequence[int],
        start: FloatArray,
        jacobian: FloatArray,
        rounds: int = _ROUNDS,
        residuals: Callable[[FloatArray], FloatArray] | None = None,
    ) -> FloatArray:
        """Logarithms of the constants that fit the points `rows`, from `start`."""
        chosen = set(rows)
        own = np.array([i in chosen for i, _ in self._targets])
        weights = self._weights[own]
        weights = weights / (weights.mean() if len(weights) else 1.0)
        slopes = jacobian[own]
        centre = np.log([prior for _, _, prior, _ in PRIORS])
        tight = 1.0 / np.array([spread for *_, spread in PRIORS]) ** 2
        logs: FloatArray = start.copy()
        for _ in range(rounds):
            off = (residuals or self._residuals)(logs)[own]
            pull = weights / np.sqrt(1.0 + weights * off**2)
            # No matrix product of a library: its threads would set the order of the sums.
            pulled = pull[:, None] * slopes
            matrix = np.einsum("ij,ik->jk", pulled, slopes) + np.diag(tight)
            down = np.einsum("ij,i->j", pulled, off) + tight * (logs - centre)
            step = -np.linalg.solve(matrix, down)
            logs = logs + step
            if np.abs(step).max() < _SETTLED:
                break
        return logs


def _order(point: MeasuredRun) -> tuple[object, ...]:
    return (point.fingerprint, *sorted(point.measured.items()))


def _values(logs: FloatArray) -> dict[tuple[str, str], float]:
    return {
        (name, engine): math.exp(x)
        for (name, engine, _, _), x in zip(PRIORS, logs.tolist(), strict=True)
    }
