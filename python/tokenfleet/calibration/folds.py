"""Points left out of the fit, and how far predictions of them are off.

A cell left out whole, an engine version of a cell left out, a random half of every cell: constants
and biases are both fitted without them. Nothing here is random but those halves, and their seeds
are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.calibration.biases import log_biases
from tokenfleet.calibration.constants import Study
from tokenfleet.calibration.corrector import corrected
from tokenfleet.calibration.record import Spread
from tokenfleet.calibration.runs import KINDS, LEVELS, METRICS_OF, TARGETS, MeasuredRun

SPLITS = 10  # seeded halves of every cell
_COVERED = 0.8
# A level with fewer points left out takes the half-widths that public runs showed for cells left
# out whole: about 1.2x on TPOT and throughput, 1.7x on TTFT, 1.3x on capacity.
_ENOUGH = 10
_DEFAULT = {"tpot": 0.2, "ttft": 0.56, "tokens_s_gpu": 0.22, "capacity": 0.3}

Fold = tuple[tuple[int, ...], tuple[int, ...]]  # points to fit, points to predict
Round = tuple[Fold, ...]  # no point is predicted twice
Split = Callable[[Sequence[MeasuredRun]], tuple[Round, ...]]


def new_cell(points: Sequence[MeasuredRun]) -> tuple[Round, ...]:
    """Every cell predicted from the others."""
    return (_leave_out(points, [p.cell for p in points]),)


def new_kind(points: Sequence[MeasuredRun]) -> tuple[Round, ...]:
    """An engine on a family of models, and a number format on a generation of accelerators, each
    predicted from all else: one round for either.
    """
    return tuple(_leave_out(points, [p.kinds()[kind] for p in points]) for kind in KINDS)


def new_version(points: Sequence[MeasuredRun]) -> tuple[Round, ...]:
    """Every engine version of a cell predicted from all else, its cell's other runs included.

    Cells with a single version are left alone: without it they would be new.
    """
    versions: dict[str, set[str]] = {}
    for point in points:
        if point.kind == "closed":
            versions.setdefault(point.cell, set()).add(point.version_cell)
    labels = [
        p.version_cell if p.kind == "closed" and len(versions[p.cell]) > 1 else "" for p in points
    ]
    return (_leave_out(points, labels),)


def known_cell(points: Sequence[MeasuredRun]) -> tuple[Round, ...]:
    """A random half of every cell predicted from the other halves; ten times, seeded.

    Copies and repetitions of one configuration stay on one side.
    """
    return tuple((_halves(points, seed),) for seed in range(SPLITS))


SPLIT_OF_LEVEL: dict[str, Split] = {
    "known_cell": known_cell,
    "new_version": new_version,
    "new_cell": new_cell,
    "new_kind": new_kind,
}


def _leave_out(points: Sequence[MeasuredRun], labels: Sequence[str]) -> Round:
    folds = []
    for label in sorted({text for text in labels if text}):
        out = tuple(i for i, own in enumerate(labels) if own == label)
        fit = tuple(i for i, own in enumerate(labels) if own != label)
        if fit:
            folds.append((fit, out))
    return tuple(folds)


def _halves(points: Sequence[MeasuredRun], seed: int) -> Fold:
    prints: dict[str, set[str]] = {}
    for point in points:
        prints.setdefault(point.group, set()).add(point.fingerprint)
    random = np.random.default_rng(seed)
    out: set[str] = set()
    for group in sorted(prints):
        own = sorted(prints[group])
        out.update(own[i] for i in random.permutation(len(own))[: len(own) // 2])
    sides: tuple[list[int], list[int]] = ([], [])
    for i, point in enumerate(points):
        sides[point.fingerprint in out].append(i)
    return tuple(sides[0]), tuple(sides[1])


def predict_left_out(study: Study, round_: Round) -> dict[int, dict[str, float]]:
    """Corrected predictions of the points that a round leaves out, by position."""
    found: dict[int, dict[str, float]] = {}
    for fit, out in round_:
        if out:
            found.update(_predict_fold(study, fit, out))
    return found


def _predict_fold(
    study: Study, fit: Sequence[int], out: Sequence[int]
) -> dict[int, dict[str, float]]:
    points = study.predicted(study.fit(fit))
    biases: dict[int, dict[str, float]] = {i: {} for i in out}
    for target in ("tpot", "ttft", "capacity"):
        left = [i for i in out if target in TARGETS[points[i].kind]]
        own = [points[i] for i in fit if target in points[i].targets]
        if left:
            logs = log_biases(own, [points[i] for i in left], target) if own else [0.0] * len(left)
            for i, bias in zip(left, logs, strict=True):
                biases[i][target] = bias
    return {i: corrected(points[i], biases[i]) for i in out}


@dataclass(frozen=True)
class LeftOut:
    """What a level's rounds predicted for points that were left out."""

    points: Sequence[MeasuredRun]
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
                if metric in point.measured and point.cell != without_cell:
                    seen.add(i)
                    off.append(abs(math.log(predicted[metric] / point.measured[metric])))
        if len(seen) < _ENOUGH:
            return _DEFAULT[metric], 0
        return float(np.quantile(off, _COVERED)), len(seen)


def left_out_by_level(study: Study) -> dict[str, LeftOut]:
    """Predicts points as if only so much were known of them."""
    return {
        level: LeftOut(
            study.points,
            tuple(predict_left_out(study, r) for r in SPLIT_OF_LEVEL[level](study.points)),
        )
        for level in LEVELS
    }


def spreads(left: Mapping[str, LeftOut]) -> list[Spread]:
    """Who knows less is never surer: a level is at least as wide as the one before it."""
    metrics = (*METRICS_OF["closed"], *METRICS_OF["capacity"])
    widest = dict.fromkeys(metrics, 1e-3)
    found = []
    for level in LEVELS:
        for metric in metrics:
            width, n = left[level].half_width(metric)
            widest[metric] = max(widest[metric], round(width, 4))
            found.append(
                Spread.model_validate(
                    {"level": level, "metric": metric, "log_half_width": widest[metric], "n": n}
                )
            )
    return found
