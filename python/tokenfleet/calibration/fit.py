"""Fits a calibration: constants first, then biases on what they leave, then intervals.

The order of the points does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tokenfleet.calibration.biases import added_effects, fit_effects
from tokenfleet.calibration.constants import Study, constants_of
from tokenfleet.calibration.folds import LeftOut, left_out_by_level, spreads
from tokenfleet.calibration.record import Calibration
from tokenfleet.calibration.runs import METRICS_OF, MeasuredRun
from tokenfleet.errors import SchemaError

# Beyond these factors a unit is wrong. A saturated run's TTFT is its queue's: 119x was measured.
_ABSURD = {"tpot": 100.0, "ttft": 1e4, "tokens_s_gpu": 1e4, "capacity": 100.0}


def calibrate(
    study: Study,
    *,
    sources: Iterable[str] = (),
    dates: Iterable[str] = (),
    left: Mapping[str, LeftOut] | None = None,
) -> Calibration:
    """The calibration of some points.

    `left` is `left_out_by_level(study)` where that is at hand.

    Raises:
        SchemaError: no points, or a figure that is not a positive number; names the row.
    """
    _check(study)
    known = sorted(d for d in dates if d)
    values = study.fit(range(len(study.points)))
    points = study.predicted(values)
    return Calibration(
        sources=tuple(sorted(set(sources))),
        measured_from=known[0] if known else "",
        measured_to=known[-1] if known else "",
        points=len(points),
        constants=constants_of(values),
        fitted=tuple(sorted({p.fingerprint for p in points})),
        effects=tuple(fit_effects(points)),
        spreads=tuple(spreads(left or left_out_by_level(study))),
    )


def add(
    shipped: Calibration, study: Study, *, sources: Iterable[str] = (), dates: Iterable[str] = ()
) -> Calibration:
    """A calibration with further points: its constants and intervals, and biases of their cells.

    Points that it was fitted to already count once.

    Raises:
        SchemaError: as `calibrate`.
    """
    _check(study)
    constants = {(name, engine): value for name, engine, value in shipped.fitted_constants()}
    known = set(shipped.fitted)
    new = [p for p in study.predicted(constants) if p.fingerprint not in known]
    if not new:
        return shipped
    stated = sorted(d for d in (shipped.measured_from, shipped.measured_to, *dates) if d)
    return shipped.model_copy(
        update={
            "sources": tuple(sorted({*shipped.sources, *sources})),
            "measured_from": stated[0] if stated else "",
            "measured_to": stated[-1] if stated else "",
            "points": shipped.points + len(new),
            "fitted": tuple(sorted(known | {p.fingerprint for p in new})),
            "effects": tuple(added_effects(new, shipped.effects)),
        }
    )


def _check(study: Study) -> None:
    if not study.points:
        raise SchemaError("no points to calibrate with", "give runs without a flag")
    for point in study.points:
        for metric in METRICS_OF[point.kind]:
            if metric != "ttft" or metric in point.measured:  # steady runs state no TTFT
                _check_metric(point, metric)


def _check_metric(point: MeasuredRun, metric: str) -> None:
    for figures in (point.measured, point.predicted):
        value = figures.get(metric, math.nan)
        if not 0.0 < value < math.inf:
            raise SchemaError(
                f"{point.where}: {metric}: {value:g} is not a positive number",
                "give TPOT and output tokens/s/GPU of every closed loop",
            )
    measured, predicted = point.measured[metric], point.predicted[metric]
    if not 1.0 / _ABSURD[metric] < measured / predicted < _ABSURD[metric]:
        raise SchemaError(
            f"{point.where}: {metric}: measured {measured:g}, the model says {predicted:g}",
            "check the unit (ms, and tokens/s per GPU), or give the row a flag",
        )
