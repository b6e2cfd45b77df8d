"""A plan simulated at several loads: latency and cost per good token by offered load, and where the
capacity is; queue and caches over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tokenfleet.simulation.result import Simulation
from tokenfleet.simulation.settings import SimulationSettings

# Multiples of the plan's load.
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)


def sweep(
    simulate: Callable[[SimulationSettings], Simulation],
    settings: SimulationSettings,
    loads: Sequence[float] = LOADS,
) -> list[Simulation]:
    """The plan simulated at multiples of its load; ends where Ctrl-C was pressed."""
    found = []
    for load in loads:
        one = simulate(replace(settings, scale=load * settings.scale))
        found.append(one)
        if one.interrupted:
            break
    return found


def curves(points: Sequence[Simulation]) -> dict[str, list[Any]]:
    """Columns by load: load, p50, p95 and p99 of the worst class, cost, and whether it is
    stable."""

    def worst(one: Simulation, name: str) -> float:
        return max(
            (row[name]["mean"] for row in one.latency if row["site"] is None), default=float("nan")
        )

    columns: dict[str, list[Any]] = {
        "load": [one.scale for one in points],
        "unstable": [one.unstable for one in points],
    }
    for metric in ("ttft", "tpot"):
        for level in ("p50", "p95", "p99"):
            name = f"{metric}_{level}_ms"
            columns[name] = [worst(one, name) for one in points]
    for name in ("cost_per_mtok_output_usd", "cost_per_mtok_good_output_usd"):
        columns[name] = [one.delivered[name] for one in points]
    return columns


def capacity(points: Sequence[Simulation]) -> float | None:
    """The load, over the plan's, at which the busiest group has all that it can do.

    Read from the highest stable load: utilisation grows with the load.
    """
    stable = [one for one in points if not one.unstable and one.groups]
    if not stable:
        return None
    last = max(stable, key=lambda one: one.scale)
    return float(last.scale / max(row["utilisation"] for row in last.groups))


def time_columns(one: Simulation) -> dict[str, list[float]]:
    """Seconds, requests waiting per replica, and share of the caches in use, of the group or fleet
    with the fullest caches: in its first replication."""
    rows = [(g["series"], g["replicas_simulated"]) for g in (*one.groups, *one.fleets)]
    if not rows:
        return {"at_s": [], "waiting": [], "cache_share": []}
    series, replicas = max(rows, key=lambda row: max(row[0]["cache_share"], default=0.0))
    return {
        "at_s": series["at_s"],
        "waiting": [waiting / replicas for waiting in series["waiting"]],
        "cache_share": series["cache_share"],
    }
