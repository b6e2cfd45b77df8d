"""Fits a calibration: shrunken biases on the logarithm of measured over predicted times.

Each effect is drawn to zero by its prior spread (`_PRIOR`), so that few points move it little, and
points far off count less (soft L1, iteratively reweighted least squares). Intervals come from
points that a fit did not see: a cell left out whole, an engine version of a cell left out, a
random half of a cell. Nothing here is random but those halves, and their seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.calibration import (
    LEVELS,
    METRICS,
    TIMES,
    Calibration,
    Effect,
    Point,
    Spread,
    corrected,
    effect_kinds,
)
from tokenfleet.errors import SchemaError

SPLITS = 10  # seeded halves of every cell
# Standard deviations of log biases and of what no bias explains. What engine versions share is held
# tight: from 11 cells, looser effects carry the error of one to the next (docs/accuracy.md).
_PRIOR = {
    "tpot": {"shared": 0.02, "cell": 0.1, "slope": 0.05, "noise": 0.06},
    "ttft": {"shared": 0.02, "cell": 0.2, "slope": 0.15, "noise": 0.2},
}
_SHARED = ("accelerator", "engine_family", "precision_generation", "cell")
_ROUNDS = 60  # of reweighting, at most
_SETTLED = 1e-4  # log bias
_STEPS = 500  # of one regression, at most
_EXACT = 1e-6
_COVERED = 0.8
# A level with fewer points left out takes the half-widths that 1,343 public runs showed for
# cells left out whole: about 1.2x on TPOT and throughput, 1.7x on TTFT.
_ENOUGH = 10
_DEFAULT = {"tpot": 0.17, "ttft": 0.56, "tokens_s_gpu": 0.19}

# Beyond these factors a unit is wrong. A saturated run's TTFT is its queue's: 119x was measured.
_ABSURD = {"tpot": 100.0, "ttft": 1e4, "tokens_s_gpu": 1e4}

FloatArray = NDArray[np.float64]
Fold = tuple[tuple[int, ...], tuple[int, ...]]  # points to fit, points to predict
Round = tuple[Fold, ...]  # no point is predicted twice
Split = Callable[[Sequence[Point]], tuple[Round, ...]]


def calibrate(
    points: Sequence[Point],
    *,
    sources: Iterable[str] = (),
    dates: Iterable[str] = (),
    left: Mapping[str, LeftOut] | None = None,
) -> Calibration:
    """The calibration of some points; their order does not matter.

    `left` is `left_out_by_level(points)` where that is at hand.

    Raises:
        SchemaError: no points, or a time that is not a positive number; names the row.
    """
    _check(points)
    ordered = sorted(points, key=_order)
    known = sorted(d for d in dates if d)
    return Calibration(
        sources=tuple(sorted(set(sources))),
        measured_from=known[0] if known else "",
        measured_to=known[-1] if known else "",
        points=len(ordered),
        fitted=tuple(sorted({p.fingerprint for p in ordered})),
        effects=tuple(_effects(ordered)),
        spreads=tuple(_spreads(left or left_out_by_level(ordered))),
    )


def _check(points: Sequence[Point]) -> None:
    if not points:
        raise SchemaError("no points to calibrate with", "give closed-loop runs without a flag")
    for point in points:
        for metric in METRICS:
            _check_metric(point, metric)


def _check_metric(point: Point, metric: str) -> None:
    for times in (point.measured, point.predicted):
        value = times.get(metric, math.nan)
        if not 0.0 < value < math.inf:
            raise SchemaError(
                f"{point.where}: {metric}: {value:g} is not a positive number",
                "give TTFT, TPOT and output tokens/s/GPU of every run",
            )
    measured, predicted = point.measured[metric], point.predicted[metric]
    if not 1.0 / _ABSURD[metric] < measured / predicted < _ABSURD[metric]:
        raise SchemaError(
            f"{point.where}: {metric}: measured {measured:g}, the model says {predicted:g}",
            "check the unit (ms, and tokens/s per GPU), or give the row a flag",
        )


def _order(point: Point) -> tuple[object, ...]:
    return (point.fingerprint, *(point.measured[m] for m in METRICS))


# One fit


@dataclass(frozen=True)
class _Design:
    """Effects of points: for each point the positions of its effects, and what they are times."""

    names: tuple[tuple[str, str, str], ...]  # kind, key, term
    index: NDArray[np.intp]
    value: FloatArray

    def take(self, rows: Sequence[int]) -> _Design:
        """The design of some of the points."""
        chosen = np.array(rows, dtype=np.intp)
        return _Design(self.names, self.index[chosen], self.value[chosen])

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


def _design(points: Sequence[Point]) -> _Design:
    kinds = effect_kinds()
    own = [[(kind, p.keys()[kind], term) for kind, term in kinds] for p in points]
    names = tuple(sorted({name for row in own for name in row}))
    position = {name: i for i, name in enumerate(names)}
    index = np.array([[position[name] for name in row] for row in own], dtype=np.intp)
    return _Design(names, index, np.array([[p.term(t) for _, t in kinds] for p in points]))


def _penalty(names: Iterable[tuple[str, str, str]], time: str) -> FloatArray:
    prior = _PRIOR[time]
    spread = [
        prior["shared"] if kind in _SHARED else prior["cell" if term == "level" else "slope"]
        for kind, _, term in names
    ]
    return np.asarray((prior["noise"] / np.array(spread)) ** 2)


def _logs(points: Sequence[Point], time: str) -> FloatArray:
    return np.array([math.log(p.measured[time] / p.predicted[time]) for p in points])


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


def _effects(points: Sequence[Point]) -> list[Effect]:
    design = _design(points)
    counts = np.bincount(design.index[design.value != 0.0], minlength=len(design.names))
    found = []
    for time in TIMES:
        penalty = _penalty(design.names, time)
        biases = _solve(design, _logs(points, time), penalty, _PRIOR[time]["noise"])
        for (kind, key, term), bias, n in zip(design.names, biases, counts, strict=True):
            if n:
                row = {"time": time, "kind": kind, "key": key, "term": term}
                size = {"log_bias": round(float(bias), 4), "n": int(n)}
                found.append(Effect.model_validate({**row, **size}))
    return found


# Points left out


def new_cell(points: Sequence[Point]) -> tuple[Round, ...]:
    """Every cell predicted from the others."""
    return (_leave_out(points, [p.cell for p in points]),)


def new_version(points: Sequence[Point]) -> tuple[Round, ...]:
    """Every engine version of a cell predicted from all else, its cell's other runs included.

    Cells with a single version are left alone: without it they would be new.
    """
    versions: dict[str, set[str]] = {}
    for point in points:
        versions.setdefault(point.cell, set()).add(point.version_cell)
    labels = [p.version_cell if len(versions[p.cell]) > 1 else "" for p in points]
    return (_leave_out(points, labels),)


def known_cell(points: Sequence[Point]) -> tuple[Round, ...]:
    """A random half of every cell predicted from the other halves; ten times, seeded.

    Copies and repetitions of one configuration stay on one side.
    """
    return tuple((_halves(points, seed),) for seed in range(SPLITS))


SPLIT_OF_LEVEL: dict[str, Split] = {
    "known_cell": known_cell,
    "new_version": new_version,
    "new_cell": new_cell,
}


def _leave_out(points: Sequence[Point], labels: Sequence[str]) -> Round:
    folds = []
    for label in sorted({text for text in labels if text}):
        out = tuple(i for i, own in enumerate(labels) if own == label)
        fit = tuple(i for i, own in enumerate(labels) if own != label)
        if fit:
            folds.append((fit, out))
    return tuple(folds)


def _halves(points: Sequence[Point], seed: int) -> Fold:
    prints: dict[str, set[str]] = {}
    for point in points:
        prints.setdefault(point.cell, set()).add(point.fingerprint)
    random = np.random.default_rng(seed)
    out: set[str] = set()
    for cell in sorted(prints):
        own = sorted(prints[cell])
        out.update(own[i] for i in random.permutation(len(own))[: len(own) // 2])
    sides: tuple[list[int], list[int]] = ([], [])
    for i, point in enumerate(points):
        sides[point.fingerprint in out].append(i)
    return tuple(sides[0]), tuple(sides[1])


def predict_left_out(points: Sequence[Point], round_: Round) -> dict[int, dict[str, float]]:
    """Corrected predictions of the points that a round leaves out, by position."""
    design = _design(points)
    logs = {t: _logs(points, t) for t in TIMES}
    penalties = {t: _penalty(design.names, t) for t in TIMES}
    found: dict[int, dict[str, float]] = {}
    for fit, out in round_:
        if not out:
            continue
        own, left = design.take(fit), design.take(out)
        biases = {}
        for t in TIMES:
            y = logs[t][list(fit)]
            biases[t] = left.bias(_solve(own, y, penalties[t], _PRIOR[t]["noise"]))
        for j, i in enumerate(out):
            found[i] = corrected(points[i], {t: float(biases[t][j]) for t in TIMES})
    return found


@dataclass(frozen=True)
class LeftOut:
    """What a level's rounds predicted for points that were left out."""

    points: Sequence[Point]
    rounds: tuple[dict[int, dict[str, float]], ...]

    def half_width(self, metric: str, without_cell: str | None = None) -> tuple[float, int]:
        """Half-width of the 80 % interval, a logarithm, and how many points it rests on.

        `without_cell` is left out of that too: its coverage is then out of fold.
        """
        off = []
        seen = set()
        for found in self.rounds:
            for i, predicted in found.items():
                point = self.points[i]
                if point.cell != without_cell:
                    seen.add(i)
                    off.append(abs(math.log(predicted[metric] / point.measured[metric])))
        if len(seen) < _ENOUGH:
            return _DEFAULT[metric], 0
        return float(np.quantile(off, _COVERED)), len(seen)


def left_out_by_level(points: Sequence[Point]) -> dict[str, LeftOut]:
    """Predicts points as if only so much were known of them."""
    return {level: _left_out(points, level) for level in LEVELS}


def _left_out(points: Sequence[Point], level: str) -> LeftOut:
    rounds = SPLIT_OF_LEVEL[level](points)
    return LeftOut(points, tuple(predict_left_out(points, r) for r in rounds))


def _spreads(left: Mapping[str, LeftOut]) -> list[Spread]:
    """Who knows less is never surer: a level is at least as wide as the one before it."""
    widest = dict.fromkeys(METRICS, 1e-3)
    found = []
    for level in LEVELS:
        for metric in METRICS:
            width, n = left[level].half_width(metric)
            widest[metric] = max(widest[metric], round(width, 4))
            found.append(
                Spread.model_validate(
                    {"level": level, "metric": metric, "log_half_width": widest[metric], "n": n}
                )
            )
    return found
