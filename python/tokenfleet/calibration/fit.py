"""Fits a calibration: constants first, then biases on what they leave, then intervals.

The order of the points does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from tokenfleet.calibration.biases import fit_effects
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
