"""Operating points of the layouts that a plan may use."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.errors import SchemaError
from tokenfleet.files.frames import Columns
from tokenfleet.problem import Built, build
from tokenfleet.problem.build import Progress
from tokenfleet.problem.knowledge import PROMISED
from tokenfleet.scenario.load import ScenarioSource, load_scenario

# What describes a layout, in order, and of which kind.
_LABELS: dict[str, type] = {
    "workload": np.str_,
    "system": np.str_,
    "engine": np.str_,
    "precision": np.str_,
    "kv_dtype": np.str_,
    "tp": np.int64,
    "pp": np.int64,
    "ep": np.int64,
    "attention_dp": np.int64,
    "speculative_depth": np.int64,
    "role": np.str_,
    "ttft_split": np.object_,
    "batch_limit": np.int64,
    "classes": np.str_,
}


def evaluate(scenario: ScenarioSource, *, progress: Progress | None = None) -> Columns:
    """Operating points of the kept candidates, as columns of equal length.

    Names carry units; latencies are at capacity, under the worst mix of the admitted classes. Each
    point says how it is known (`provenance`, `known`, `runs`) and the half-widths of its 80 %
    intervals (`*_interval80_pct`: x/(1 + w) to x (1 + w)). Make a table of it with
    `polars.DataFrame(...)`, `pyarrow.table(...)` or any other reader of the Arrow C interface.

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


def _points(built: Built) -> Columns:
    assert built.core is not None and built.specification is not None
    candidates = built.problem.candidates
    origin = [built.origins[c.id] for c in candidates]
    columns = {
        name: _array([_shown(c.label[name]) for c in candidates], kind)
        for name, kind in _LABELS.items()
    }
    groups = _array([group for _, group in origin], np.int64)
    columns["latency_group"] = groups
    columns.update(_by_group(built, np.array([n for n, _ in origin], dtype=np.uint64), groups))
    return Columns({**columns, **_known(built)})


def _shown(value: Any) -> Any:
    return "+".join(value) if isinstance(value, list) else value


def _array(values: list[Any], kind: type) -> NDArray[Any]:
    """A column; its kind is that of the values, or the given one where there are none."""
    return np.array(values) if values else np.array(values, dtype=kind)


def _known(built: Built) -> dict[str, NDArray[Any]]:
    """How the times of each candidate are known."""
    assert built.judge is not None
    known = [built.judge.of(c.workload, c.label) for c in built.problem.candidates]
    widths = {m: [100.0 * math.expm1(k.half_width[m]) for k in known] for m in PROMISED}
    return {
        "provenance": _array([k.provenance for k in known], np.str_),
        "known": _array([k.level for k in known], np.str_),
        "runs": _array([k.runs for k in known], np.int64),
        **{f"{metric}_interval80_pct": _array(v, np.float64) for metric, v in widths.items()},
    }


def _by_group(
    built: Built, numbers: NDArray[np.uint64], groups: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    assert built.core is not None
    if not len(numbers):
        none = built.core.points(numbers).items()
        return {name: _array([], np.str_ if name == "status" else np.float64) for name, _ in none}
    columns: dict[str, NDArray[Any]] = {}
    for group in np.unique(groups):
        rows = groups == group
        for name, values in built.core.points(numbers[rows], int(group)).items():
            column = np.asarray(values)
            columns.setdefault(name, np.empty(len(numbers), dtype=column.dtype))
            columns[name] = columns[name].astype(np.result_type(columns[name], column))
            columns[name][rows] = column
    return columns
