"""Candidates that a user measured: one replica, one class, one sustained rate."""

from __future__ import annotations

import math

import numpy as np

from tokenfleet.catalog import Catalog, SystemRow, require
from tokenfleet.errors import SchemaError
from tokenfleet.problem import axes
from tokenfleet.problem.hardware import idle_kw
from tokenfleet.problem.specification import sorted_classes
from tokenfleet.problem_data import Candidate
from tokenfleet.scenario_file import LoadedScenario
from tokenfleet.schema import Column


def measured_candidates(loaded: LoadedScenario) -> tuple[Candidate, ...]:
    """One candidate per column: load is 1/rate, capacity is one."""
    scenario = loaded.scenario
    if isinstance(scenario.columns, str) or scenario.columns is None:
        raise SchemaError("columns were not read", "load the scenario with load_scenario")
    workloads = sorted(scenario.workloads, key=lambda w: w.id)
    position = {w.id: i for i, w in enumerate(workloads)}
    rows = sorted(scenario.columns, key=lambda c: (c.workload, c.cls, c.system, c.gpus, c.rate_rps))
    candidates = []
    for i, column in enumerate(rows):
        w = position[column.workload]
        classes = [c.id for c in sorted_classes(loaded.classes[column.workload])]
        k = classes.index(column.cls)
        candidates.append(
            Candidate(
                id=i,
                workload=w,
                system=column.system,
                gpus=column.gpus,
                sites=tuple(axes.eligible_sites(workloads[w], scenario.sites)),
                load=_only(k, len(classes), 1.0 / column.rate_rps),
                energy_j=_only(k, len(classes), _joules(loaded.catalog, column)),
                label={
                    "workload": column.workload,
                    "system": column.system,
                    "role": "serve",
                    "classes": [column.cls],
                    "rate_rps": column.rate_rps,
                    "source": column.source or "scenario",
                },
            )
        )
    return tuple(candidates)


def _only(k: int, count: int, value: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    row = np.full(count, math.inf)
    row[k] = value
    return row


def _joules(catalog: Catalog, column: Column) -> float:
    """Joules per request above idle; nothing above idle is known without watts."""
    if column.watts is None:
        return 0.0
    row: SystemRow = catalog.system(column.system)
    idle_w = 0.0
    if row.system_kw is not None:
        idle_w = 1e3 * idle_kw(catalog, row) / int(require(row, "gpus")) * column.gpus
    return max(column.watts - idle_w, 0.0) / column.rate_rps
