"""Outlooks from what is known: a low, a typical and a high figure, a history, or an interval.

Each function gives rows for `outlooks` of a scenario, as plain data; `together` crosses
independent ones.

    >>> rows = three_points("demand", 0.6, 1.0, 1.8, "2027-04")
    >>> [(row["id"], row["probability"], row["demand"]) for row in rows]
    [('demand low', 0.3, 0.6), ('demand typical', 0.4, 1.0), ('demand high', 0.3, 1.8)]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from tokenfleet.errors import SchemaError

Rows = list[dict[str, Any]]
MOST = 50  # outlooks that are crossed
_TAIL = 0.1  # a low and a high figure are passed by one future in ten
# Weights of the 10, 50 and 90 % points whose mean and variance are those of most distributions
# with one peak (Hurst, Brown and Swanson 2000, "Swanson's 30-40-30 rule").
_WEIGHTS = (0.3, 0.4, 0.3)
_DRAWS = 4_000


def three_points(
    field: str, low: float, typical: float, high: float, day: str, *, name: str | None = None
) -> Rows:
    """Three outlooks from factors that one future in ten is below, half and one in ten above.

    `field` is that of an outlook (`demand`, `prices`, `efficiency`, ...), `name` the one row of the
    scenario that it is about, all by default.
    """
    if not 0.0 <= low <= typical <= high:
        raise SchemaError(
            f"{field}: low {low:g}, typical {typical:g} and high {high:g} do not ascend",
            "give them in this order",
        )
    of = field if name is None else f"{field} {name}"
    points = zip(("low", "typical", "high"), _WEIGHTS, (low, typical, high), strict=True)
    return [
        _row(f"{of} {word}", share, day, _changed(field, factor, name))
        for word, share, factor in points
    ]


def from_interval(
    field: str, low: float, high: float, confidence: float, day: str, *, name: str | None = None
) -> Rows:
    """Three outlooks from an interval that holds a factor with this confidence, such as one that
    `tokenfleet calibrate` gives for the throughput of a system; its logarithm is taken as normal.

    >>> rows = from_interval("efficiency", 0.5, 2.0, 0.8, "2027-04", name="vr200_nvl72")
    >>> [round(row["efficiency"]["vr200_nvl72"], 6) for row in rows]
    [0.5, 1.0, 2.0]
    """
    if not (0.0 < low <= high and 0.0 < confidence < 1.0):
        raise SchemaError(
            f"{field}: no interval of {low:g} to {high:g} at a confidence of {confidence:g}",
            "give two factors above 0 in ascending order, and a confidence between 0 and 1",
        )
    middle = math.sqrt(low * high)
    spread = math.log(high / low) / 2.0 / NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    step = math.exp(spread * NormalDist().inv_cdf(1.0 - _TAIL))
    return three_points(field, middle / step, middle, middle * step, day, name=name)


def from_history(
    field: str,
    values: Sequence[float],
    steps: int,
    day: str,
    *,
    count: int = 5,
    name: str | None = None,
    seed: int = 0,
) -> Rows:
    """Equally likely outlooks from how a series grew: its steps drawn again, `steps` of them.

    Futures are sorted and cut into `count` groups; a factor is the mean of its group over the mean
    of all, so that the scenario's own growth stays the mean.
    """
    if len(values) < 3 or min(values) <= 0.0 or steps < 1 or count < 1:
        raise SchemaError(
            f"{field}: a history of {len(values)} values, {steps} steps and {count} outlooks",
            "give three values above 0 at least, and one step and outlook or more",
        )
    growth = np.diff(np.log(np.asarray(values, dtype=float)))
    drawn = np.random.default_rng(seed).choice(growth, (_DRAWS, steps)).sum(axis=1)
    futures = np.sort(np.exp(drawn))
    groups = [float(part.mean()) for part in np.array_split(futures, count)]
    mean = sum(groups) / count
    of = field if name is None else f"{field} {name}"
    return [
        _row(f"{of} {i + 1} of {count}", 1.0 / count, day, _changed(field, factor / mean, name))
        for i, factor in enumerate(groups)
    ]


def together(*parts: Rows) -> Rows:
    """Every combination of independent outlooks that become known on one day.

    Raises:
        SchemaError: there are more than anybody could read, or two are about one field.
    """
    total = math.prod(len(rows) for rows in parts)
    if total > MOST:
        hint = f"at most {MOST}: leave out what matters least"
        raise SchemaError(f"{total} combinations of outlooks", hint)
    found = []
    for chosen in itertools.product(*parts):
        row: dict[str, Any] = {
            "id": ", ".join(part["id"] for part in chosen),
            "probability": math.prod(part["probability"] for part in chosen),
        }
        for part in chosen:
            for field, value in part.items():
                if field in {"id", "probability"}:
                    continue
                known = row.setdefault(field, value)
                if isinstance(known, dict) and known is not value and not known.keys() & value:
                    row[field] = {**known, **value}
                elif known != value:
                    hint = "outlooks that are crossed share one day, and no row of the scenario"
                    raise SchemaError(f"{field} of two outlooks", hint)
        found.append(row)
    return found


def _row(row_id: str, share: float, day: str, changed: dict[str, Any]) -> dict[str, Any]:
    return {"id": row_id, "probability": share, "from": day, **changed}


def _changed(field: str, factor: float, name: str | None) -> dict[str, Any]:
    return {field: factor if name is None else {name: factor}}
