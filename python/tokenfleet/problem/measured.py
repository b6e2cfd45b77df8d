"""Candidates that a user measured: the rate that one replica sustains for a class, or for each of
several classes that share it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tokenfleet.catalog import Catalog, SystemRow, require
from tokenfleet.errors import SchemaError
from tokenfleet.problem import axes
from tokenfleet.problem.hardware import idle_kw
from tokenfleet.problem.specification import sorted_classes
from tokenfleet.problem.supply import NotConsidered
from tokenfleet.problem_data import GOALS, Candidate
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import Column, Scenario, Workload


def measured_candidates(
    loaded: LoadedScenario,
) -> tuple[tuple[Candidate, ...], list[NotConsidered]]:
    """One candidate per column, or per named replica: load is 1/rate, capacity is one.

    Those that may not serve their workload, or say too little for the objective, come second.
    """
    scenario = loaded.scenario
    if isinstance(scenario.columns, str) or scenario.columns is None:
        raise SchemaError("columns were not read", "load the scenario with load_scenario")
    workloads = sorted(scenario.workloads, key=lambda w: w.id)
    position = {w.id: i for i, w in enumerate(workloads)}
    orders = {name: sorted_classes(classes) for name, classes in loaded.classes.items()}
    places = {name: {c.id: k for k, c in enumerate(order)} for name, order in orders.items()}
    candidates, refused = [], []
    for i, rows in enumerate(_replicas(scenario.columns)):
        column = rows[0]
        reason = _refusal(scenario, workloads[position[column.workload]], rows)
        if reason is not None:
            refused.append(NotConsidered(f"column {_named(column)}", reason))
            continue
        w = position[column.workload]
        classes = places[column.workload]
        found = {classes[row.cls]: row for row in rows}
        candidates.append(
            Candidate(
                id=i,
                workload=w,
                system=column.system,
                gpus=column.gpus,
                sites=tuple(axes.eligible_sites(workloads[w], scenario.sites)),
                load=_filled(len(classes), {k: 1.0 / r.rate_rps for k, r in found.items()}),
                energy_j=_filled(
                    len(classes), {k: _joules(loaded.catalog, r) for k, r in found.items()}
                ),
                quality=_quality(rows),
                label={
                    "workload": column.workload,
                    "system": column.system,
                    "role": "serve",
                    "classes": [row.cls for row in rows],
                    "rate_rps": column.rate_rps if len(rows) == 1 else None,
                    "source": column.source or "scenario",
                },
            )
        )
    return tuple(candidates), refused


def _named(column: Column) -> str:
    """The replica of a column, in the user's terms."""
    name = f" {column.replica}" if column.replica is not None else f"/{column.cls}"
    return f"{column.workload}{name} on {column.gpus} GPUs of {column.system}"


def _refusal(scenario: Scenario, workload: Workload, rows: Sequence[Column]) -> str | None:
    """Why a replica may not be planned; None when it may."""
    floor = workload.quality_floor
    if floor is not None and _quality(rows) < floor:
        return f"quality {_quality(rows):g} is below the floor {floor:g}"
    if GOALS[scenario.objective.kind].counts_energy and any(row.watts is None for row in rows):
        return f"no watts, which {scenario.objective.kind} counts"
    return None


def _quality(rows: Sequence[Column]) -> float:
    """The least score that rows of one replica state; 1 where none is stated."""
    return min((row.quality for row in rows if row.quality is not None), default=1.0)


def _replicas(columns: Sequence[Column]) -> list[list[Column]]:
    """Columns that describe one replica together, in an order that names do not change.

    Raises:
        SchemaError: a named replica has two rates for one class.
    """
    ordered = sorted(columns, key=lambda c: (c.workload, c.cls, c.system, c.gpus, c.rate_rps))
    groups: dict[tuple[object, ...], list[Column]] = {}
    for i, column in enumerate(ordered):
        own = i if column.replica is None else column.replica
        groups.setdefault((column.workload, column.system, column.gpus, own), []).append(column)
    for rows in groups.values():
        if len({row.cls for row in rows}) < len(rows):
            raise SchemaError(
                f"columns: replica {rows[0].replica!r} on {rows[0].system} has two rates for one "
                "class",
                "keep one of them, or give the replicas different names",
            )
    return list(groups.values())


def _filled(
    count: int, values: Mapping[int, float]
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A value for each class, infinite where there is none."""
    row = np.full(count, math.inf)
    for k, value in values.items():
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
