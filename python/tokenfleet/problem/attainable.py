"""The best that could be had where no layout keeps a workload's latency limits, or some class's.

One metric's limits at a time are loosened together, the others held, until a layout keeps them
all. So a limit of 2 ms on time to first token is told that 118 ms could be held.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tokenfleet import _core
from tokenfleet.problem.specification import PERCENTILES, Specification

_MOST = 2.0**14  # times the limit asked for: beyond that, something else is wrong
_CLOSE = 1.02
_MS = 1e3


def best_limits(spec: Specification, w: int) -> list[str]:
    """What could be held in place of the limits asked for, one sentence for each way.

    Every way is enough alone; "TTFT p95 of 118 ms" instead of "60 ms". Empty where nothing helps.
    """
    metrics = sorted({slo["metric"] for slo in spec.data["workloads"][w]["slos"]})
    ways = [(metric,) for metric in metrics]
    found = [text for way in ways if (text := _loosened(spec, w, way))]
    if not found and len(metrics) > 1:
        found = [text for text in [_loosened(spec, w, tuple(metrics))] if text]
    return found


def _loosened(spec: Specification, w: int, metrics: tuple[str, ...]) -> str | None:
    """The least limits of these metrics that a layout keeps, in words."""
    high = 2.0
    while not _held(spec, w, metrics, high):
        high *= 2.0
        if high > _MOST:
            return None
    low = high / 2.0
    while high / low > _CLOSE:
        middle = (high * low) ** 0.5
        low, high = (low, middle) if _held(spec, w, metrics, middle) else (middle, high)
    slos = [slo for slo in spec.data["workloads"][w]["slos"] if slo["metric"] in metrics]
    return " and ".join(dict.fromkeys(_words(slo, high) for slo in slos))


def _words(slo: Mapping[str, Any], factor: float) -> str:
    asked = slo["limit_s"] * _MS
    best = float(f"{asked * factor:.3g}")
    return (
        f"{slo['metric'].upper()} {PERCENTILES[slo['percentile']]} of {best:g} ms, not {asked:g} ms"
    )


def _held(spec: Specification, w: int, metrics: tuple[str, ...], factor: float) -> bool:
    """Whether each class has a layout that keeps the limits when those of some metrics are `factor`
    times as long."""
    workload = spec.data["workloads"][w]
    slos = [
        {**slo, "limit_s": slo["limit_s"] * (factor if slo["metric"] in metrics else 1.0)}
        for slo in workload["slos"]
    ]
    core = _core.Space(json.dumps({**spec.data, "workloads": [{**workload, "slos": slos}]}))
    search = _core.CandidateSearch()
    search.extend(core, 0, core.partition_count)
    loads = np.array(search.kept()["load_s"]).reshape(-1, len(workload["classes"]))
    return bool(np.isfinite(loads).any(axis=0).all())
