"""Latency and cost per good token against offered load, with the capacity marked; queue and caches
over time.

Needs matplotlib: `pip install tokenfleet[plot]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.simulation.result import Simulation
from tokenfleet.simulation.settings import SimulationSettings

# Multiples of the plan's load.
LOADS = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
SUFFIXES = (".png", ".svg")


def check_plot(path: Path) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: a file that is neither PNG nor SVG, or matplotlib is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SchemaError(f"{path}: cannot be drawn", f"end the name in {' or '.join(SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401, PLC0415
    except ImportError:
        raise SchemaError("--plot needs matplotlib", "pip install 'tokenfleet[plot]'") from None


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
    """Columns of the plot: load, p50, p95 and p99 of the worst class, cost, and whether it is
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


def draw(points: Sequence[Simulation], path: Path, *, over_time: Simulation) -> bytes:
    """The picture, in the format that the file's name asks for: `points` against their load, below
    them what one of the plan's groups held over time.

    Raises:
        SchemaError: as `check_plot`.
    """
    check_plot(path)
    import io  # noqa: PLC0415

    from matplotlib.figure import Figure  # noqa: PLC0415

    columns = curves(points)
    figure = Figure(figsize=(7, 13), layout="constrained")
    parts = figure.add_gridspec(2, 1, height_ratios=(3, 2))
    top, middle, bottom = figure.add_subfigure(parts[0]).subplots(3, 1, sharex=True)
    _draw_over_time(figure.add_subfigure(parts[1]).subplots(2, 1, sharex=True), over_time)
    for axis, metric in ((top, "ttft"), (middle, "tpot")):
        for level in ("p50", "p95", "p99"):
            axis.plot(columns["load"], columns[f"{metric}_{level}_ms"], "o-", label=level)
        axis.set_ylabel(f"{metric.upper()} of the worst class, ms")
        axis.set_yscale("log")
    bottom.plot(columns["load"], columns["cost_per_mtok_output_usd"], "o-", label="offered token")
    bottom.plot(columns["load"], columns["cost_per_mtok_good_output_usd"], "o-", label="good token")
    bottom.set_ylabel("USD per million output tokens")
    bottom.set_yscale("log")
    bottom.set_xlabel("offered load over the plan's")
    limit = capacity(points)
    for axis in (top, middle, bottom):
        axis.axvline(1.0, color="grey", linestyle=":", label="the plan")
        if limit is not None:
            axis.axvline(limit, color="red", linestyle="--", label="capacity")
        axis.grid(alpha=0.3)
        axis.legend()
    top.set_title(points[0].name.replace("$", r"\$"))
    held = io.BytesIO()
    kind = path.suffix.lower()[1:]
    metadata = {"Date": None} if kind == "svg" else {}
    figure.savefig(held, format=kind, dpi=150, metadata=metadata)
    return held.getvalue()


def _draw_over_time(axes: Any, one: Simulation) -> None:
    columns = time_columns(one)
    names = (("waiting", "requests waiting per replica"), ("cache_share", "KV cache in use, share"))
    for axis, (name, label) in zip(axes, names, strict=True):
        axis.plot(columns["at_s"], columns[name], linewidth=1)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_title("at the plan's load, the group with the fullest caches")
    axes[1].set_xlabel("simulated time, s")
