"""Measured open-loop runs, simulated and by the analytic model, side by side.

    python benches/open_loop.py ../shared/facts/open_loop_points.csv

Every unsaturated row with lengths: its own layout, arrival rate, lengths and burstiness. Figures
are ms, measured / simulated / analytic; last come the median differences, and what bias each engine
shows.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenfleet import _core
from tokenfleet.backtest import open_loop
from tokenfleet.catalog import load_catalog
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.points.rates import Layout, TypicalRequest, plain_scenario
from tokenfleet.problem.specification import build_specification
from tokenfleet.scenario.load import load_scenario

#: Sequences at once; both engines' default.
BATCH = 256
MS = 1e3
#: Column of the file, array of the simulator, percentile index.
FIGURES = {
    "ttft_p50": ("ttft_p50_ms", "ttft_s", 1),
    "ttft_p99": ("ttft_p99_ms", "ttft_s", 4),
    "tpot_p50": ("tpot_p50_ms", "tpot_s", 1),
}


@dataclass(frozen=True)
class Compared:
    """One row: by figure, measured, simulated and analytic, ms; NaN where the model has none."""

    name: str
    engine: str
    figures: dict[str, tuple[float, float, float]]


def problem(layout: Layout, isl: float, osl: float) -> _core.Space:
    """One configuration: the row's layout, one class of fixed lengths."""
    search = {
        "tensor_parallel": [layout.tp],
        "pipeline_parallel": [layout.pp],
        "expert_parallel": [layout.ep],
        "attention_data_parallel": [layout.attention_dp],
        "kv_precisions": [layout.kv],
        "batch_limits": [BATCH],
        "max_gpus_per_replica": layout.gpus,
    }
    data = {
        **plain_scenario([layout.model], TypicalRequest(isl, osl), [layout.precision]),
        "engines": [layout.engine],
        "search": search,
    }
    scenario = load_scenario(data, catalog=load_catalog())
    return _core.Space(json.dumps(build_specification(scenario, [layout.system]).data))


def compare(path: Path) -> tuple[list[Compared], list[str]]:
    """Rows that can be simulated, and why others cannot."""
    compared, skipped = [], []
    with path.open(encoding="utf-8", newline="") as file:
        for number, cells in enumerate(csv.DictReader(file), start=2):
            if cells["saturated"] == "1":
                continue
            where = f"row {number}"
            if not cells["isl_tokens_mean"]:
                skipped.append(f"{where}: no input length")
                continue
            try:
                (run,) = open_loop.read(load_catalog(), path.name, number, cells)
            except UnknownNameError as error:
                skipped.append(f"{where}: {error}")
                continue
            found = _compare(run.layouts[0], cells)
            if found is None:
                skipped.append(f"{where}: no layout, or no kernel figure for its formats")
            else:
                compared.append(found)
    return compared, skipped


def _compare(layout: Layout, cells: dict[str, str]) -> Compared | None:
    isl, osl = float(cells["isl_tokens_mean"]), float(cells["osl_tokens_mean"])
    rate = np.array([float(cells["lambda_rps"])])
    core = problem(layout, isl, osl)
    if core.space_size == 0:
        return None
    lengths = [(np.array([isl], dtype=np.uint32), np.array([osl], dtype=np.uint32))]
    burstiness = float(cells["burstiness_gamma_shape"])
    seen = _core.simulate(
        core, 0, rate, lengths, burstiness=burstiness, requests=5000, replications=4
    )
    said = core.recheck(0, 0, rate)
    figures = {}
    for name, (column, array, i) in FIGURES.items():
        analytic = said[array]
        figures[name] = (
            float(cells[column]),
            MS * seen["classes"][0][array][i][0],
            MS * analytic[0][i] if analytic else float("nan"),
        )
    name = f"{cells['config']} {cells['hardware']} {layout.precision} {rate[0]:g}/s"
    caching = " prefix cache" if cells["prefix_caching"] == "1" else ""
    return Compared(f"{name}{caching}", layout.engine, figures)


def differences(rows: list[Compared], name: str, which: int) -> list[float]:
    """Of a figure, predicted over measured less one; 1 is simulated, 2 analytic."""
    pairs = [(row.figures[name][which], row.figures[name][0]) for row in rows]
    return [said / real - 1.0 for said, real in pairs if not math.isnan(said)]


def medians(rows: list[Compared]) -> dict[str, dict[str, float]]:
    """Median absolute differences by figure."""
    out = {}
    for name in FIGURES:
        both = {"simulated": 1, "analytic": 2}.items()
        out[name] = {
            how: statistics.median(map(abs, differences(rows, name, which))) for how, which in both
        }
    return out


def main() -> int:
    """Prints the table."""
    rows, skipped = compare(Path(sys.argv[1]))
    print(f"| run | {' | '.join(FIGURES)} |\n|---|{'---|' * len(FIGURES)}")
    for row in rows:
        cells = (" / ".join(f"{x:.1f}" for x in row.figures[name]) for name in FIGURES)
        print(f"| {row.name} | {' | '.join(cells)} |")
    for name, found in medians(rows).items():
        print(name, ", ".join(f"{how} {100 * value:.1f} %" for how, value in found.items()))
    for engine in sorted({row.engine for row in rows}):
        own = [row for row in rows if row.engine == engine]
        bias = {n: statistics.median(differences(own, n, 1)) for n in FIGURES}
        print(engine, ", ".join(f"{n} {100 * value:+.1f} %" for n, value in bias.items()))
    for reason in skipped:
        print(f"not compared: {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
