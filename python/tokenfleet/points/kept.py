"""Operating points of the layouts that a plan may use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.problem import Built, build
from tokenfleet.problem.build import Progress
from tokenfleet.problem.knowledge import PROMISED, Judge
from tokenfleet.scenario.load import ScenarioSource, load_scenario


def evaluate(
    scenario: ScenarioSource, *, progress: Progress | None = None
) -> dict[str, NDArray[Any]]:
    """Operating points of the kept candidates, as columns of equal length.

    Names carry units; latencies are at capacity, under the worst mix of the admitted classes. Each
    point says how it is known (`provenance`, `known`, `runs`) and the half-widths of its 80 %
    intervals (`*_interval80_pct`: x/(1 + w) to x (1 + w)). Make a table of it with
    `polars.DataFrame(...)` or `pandas.DataFrame(...)`.

    Raises:
        SchemaError: as `optimize_fleet`; or the scenario brings its own columns.
    """
    loaded = load_scenario(scenario)
    built = build(loaded, progress)
    if built.core is None:
        raise SchemaError(
            "the scenario brings measured columns: there is nothing to evaluate",
            "leave `columns` out to evaluate the model",
        )
    return _points(built)


def _points(built: Built) -> dict[str, NDArray[Any]]:
    assert built.core is not None and built.specification is not None
    candidates = built.problem.candidates
    origin = [built.origins[c.id] for c in candidates]
    labels: dict[str, list[Any]] = {}
    for candidate in candidates:
        for key, value in candidate.label.items():
            if key != "capacity":
                shown = "+".join(value) if isinstance(value, list) else value
                labels.setdefault(key, []).append(shown)
    columns: dict[str, NDArray[Any]] = {key: np.array(column) for key, column in labels.items()}
    groups = np.array([group for _, group in origin])
    columns["latency_group"] = groups
    columns.update(_by_group(built, np.array([n for n, _ in origin], dtype=np.uint64), groups))
    return {**columns, **_known(built)}


def _known(built: Built) -> dict[str, NDArray[Any]]:
    """How the times of each candidate are known."""
    assert built.specification is not None
    judge = Judge(built.loaded, built.specification)
    known = [judge.of(c.workload, c.label) for c in built.problem.candidates]
    widths = {m: [100.0 * math.expm1(k.half_width[m]) for k in known] for m in PROMISED}
    return {
        "provenance": np.array([k.provenance for k in known]),
        "known": np.array([k.level for k in known]),
        "runs": np.array([k.runs for k in known]),
        **{f"{metric}_interval80_pct": np.array(values) for metric, values in widths.items()},
    }


def _by_group(
    built: Built, numbers: NDArray[np.uint64], groups: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    assert built.core is not None
    columns: dict[str, NDArray[Any]] = {}
    for group in np.unique(groups):
        rows = groups == group
        for name, values in built.core.points(numbers[rows], int(group)).items():
            column = np.asarray(values)
            columns.setdefault(name, np.empty(len(numbers), dtype=column.dtype))
            columns[name] = columns[name].astype(np.result_type(columns[name], column))
            columns[name][rows] = column
    return columns
