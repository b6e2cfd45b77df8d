"""Shrunken biases on the logarithm of measured over predicted figures.

Each effect is drawn to zero by its prior spread (`points.spread`), so that few points move it
little, and points far off count less (soft L1, iteratively reweighted least squares).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokenfleet.calibration.record import Effect
from tokenfleet.calibration.runs import MeasuredRun, spread

# Standard deviation of what no bias explains.
_NOISE = {"tpot": 0.06, "ttft": 0.2, "capacity": 0.1}
_ROUNDS = 60  # of reweighting, at most
_SETTLED = 1e-4  # log bias
_STEPS = 500  # of one regression, at most
_EXACT = 1e-6

_TARGETS = ("tpot", "ttft", "capacity")
# Effects that bear on runs of one accelerator and architecture alone.
_OF_A_CELL = frozenset({"cell", "version_cell", "layout"})

FloatArray = NDArray[np.float64]
Key: TypeAlias = tuple[str, ...]  # time, kind, key and term of an effect


@dataclass(frozen=True)
class _Design:
    """Effects of points: for each point the positions of its effects, and what they are times."""

    names: tuple[tuple[str, str, str], ...]  # kind, key, term
    index: NDArray[np.intp]
    value: FloatArray

    def take(self, rows: NDArray[np.intp]) -> _Design:
        """The design of some of the points."""
        return _Design(self.names, self.index[rows], self.value[rows])

    def bias(self, effects: FloatArray) -> FloatArray:
        """Log bias of every point."""
        return np.asarray((self.value * effects[self.index]).sum(axis=1))

    def back(self, values: FloatArray) -> FloatArray:
        """Sum of a value of every point, times what its effects are times, by effect."""
        return self.gather(values[:, None])

    def gather(self, values: FloatArray) -> FloatArray:
        """Sum by effect."""
        products = (self.value * values).ravel()
        return np.asarray(np.bincount(self.index.ravel(), products, len(self.names)), dtype=float)


def _design(
    points: Sequence[MeasuredRun], target: str, kinds: Collection[str] | None = None
) -> _Design:
    """Effects on a target, of some kinds or of all."""
    own = [[row for row in p.effects(target) if not kinds or row[0] in kinds] for p in points]
    names = tuple(sorted({row[:3] for rows in own for row in rows}))
    position = {name: i for i, name in enumerate(names)}
    width = max((len(rows) for rows in own), default=0)
    index = np.zeros((len(own), width), dtype=np.intp)
    value = np.zeros((len(own), width))  # zero where a point has fewer effects
    for i, rows in enumerate(own):
        for j, (kind, key, term, times) in enumerate(rows):
            index[i, j] = position[kind, key, term]
            value[i, j] = times
    return _Design(names, index, value)


def _penalty(design: _Design, target: str) -> FloatArray:
    spreads = [spread(target, kind, term) for kind, _, term in design.names]
    return np.asarray((_NOISE[target] / np.array(spreads)) ** 2)


def _logs(points: Sequence[MeasuredRun], target: str) -> FloatArray:
    return np.array([math.log(p.measured[target] / p.predicted[target]) for p in points])


def _solve(design: _Design, y: FloatArray, penalty: FloatArray, noise: float) -> FloatArray:
    """Effects by soft-L1 least squares with a ridge."""
    weights = np.ones(len(y))
    found = np.zeros(len(design.names))
    for _ in range(_ROUNDS):
        last, found = found, _ridge(design, y, weights, penalty, found)
        if np.abs(found - last).max() < _SETTLED:
            break
        weights = 1.0 / np.sqrt(1.0 + ((y - design.bias(found)) / noise) ** 2)
    return found


def _ridge(
    design: _Design, y: FloatArray, weights: FloatArray, penalty: FloatArray, start: FloatArray
) -> FloatArray:
    """Weighted ridge regression by conjugate gradients from `start`.

    No matrix is formed, so that the answer is no matter of a library's threads.
    """
    scale = design.gather(design.value * weights[:, None]) + penalty
    found: FloatArray = start.copy()
    rest = design.back(weights * (y - design.bias(found))) - penalty * found
    step = rest / scale
    along = float(rest @ step)
    for _ in range(_STEPS):
        if np.abs(rest / scale).max() < _EXACT:
            break
        image = design.back(weights * design.bias(step)) + penalty * step
        length = along / float(step @ image)
        found += length * step
        rest -= length * image
        scaled = rest / scale
        before, along = along, float(rest @ scaled)
        step = scaled + along / before * step
    return found


def fit_effects(points: Sequence[MeasuredRun]) -> list[Effect]:
    """Effects on every target that the points have; those without a point are left out."""
    found = []
    for target in _TARGETS:
        own = [p for p in points if target in p.targets]
        if not own:
            continue
        design = _design(own, target)
        counts = np.bincount(design.index[design.value != 0.0], minlength=len(design.names))
        biases = _solve(design, _logs(own, target), _penalty(design, target), _NOISE[target])
        for (kind, key, term), bias, n in zip(design.names, biases, counts, strict=True):
            if n:
                row = {"time": target, "kind": kind, "key": key, "term": term}
                size = {"log_bias": round(float(bias), 4), "n": int(n)}
                found.append(Effect.model_validate({**row, **size}))
    return found


def added_effects(points: Sequence[MeasuredRun], known: Sequence[Effect]) -> list[Effect]:
    """Known effects, and what further points move of those of their own cells.

    Effects of an accelerator, a family or a format stay: they bear on cells that nobody measured
    anew. One of a cell, of an engine version on it or of a layout is drawn to what it was by the
    points that it rests on, as well as by its prior: 3 points move an effect of 200 by 3/200.
    """
    old: dict[Key, Effect] = {(e.time, e.kind, e.key, e.term): e for e in known}
    found = dict(old)
    for target in _TARGETS:
        own = [p for p in points if target in p.targets]
        if not own:
            continue
        design = _design(own, target, kinds=_OF_A_CELL)
        keys: list[Key] = [(target, *name) for name in design.names]
        rests_on = [old[key].n if key in old else 0 for key in keys]
        penalty = _penalty(design, target) + np.array(rests_on)
        left = _logs(own, target) - np.array([_known_bias(p, target, old) for p in own])
        moved = _solve(design, left, penalty, _NOISE[target])
        counts = np.bincount(design.index[design.value != 0.0], minlength=len(design.names))
        for (kind, key, term), more, n, before in zip(
            design.names, moved, counts, rests_on, strict=True
        ):
            if n:
                was = old[target, kind, key, term].log_bias if before else 0.0
                row = {"time": target, "kind": kind, "key": key, "term": term}
                size = {"log_bias": round(was + float(more), 4), "n": int(n) + before}
                found[target, kind, key, term] = Effect.model_validate({**row, **size})
    return [found[key] for key in sorted(found, key=lambda key: (_TARGETS.index(key[0]), key[1:]))]


def _known_bias(point: MeasuredRun, target: str, known: Mapping[Key, Effect]) -> float:
    rows = ((known.get((target, *name)), times) for *name, times in point.effects(target))
    return sum(effect.log_bias * times for effect, times in rows if effect is not None)


def log_biases(fit: Sequence[MeasuredRun], out: Sequence[MeasuredRun], target: str) -> list[float]:
    """Log biases of the points `out`, from those of `fit`; all have the target."""
    design = _design([*fit, *out], target)
    rows = np.arange(len(fit) + len(out))
    own, left = design.take(rows[: len(fit)]), design.take(rows[len(fit) :])
    found = _solve(own, _logs(fit, target), _penalty(design, target), _NOISE[target])
    return [float(x) for x in left.bias(found)]
