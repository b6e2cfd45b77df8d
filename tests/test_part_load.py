"""Power at part load against ML.ENERGY's measured board power, by load."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import mean

import pytest

from tokenfleet.catalog import load_catalog
from tokenfleet.problem.hardware import core_system

POINTS = Path(__file__).resolve().parents[2] / "shared" / "facts" / "serving_points_mlenergy_v3.csv"
# The catalog's system, and watts of host and fans per accelerator, an assumption: only boards
# were metered.
SYSTEMS = {"b200_sxm": ("b200_sxm_8", 300.0), "h100_sxm": ("h100_sxm_8", 345.0)}
BANDS = ((0.0, 0.1), (0.25, 0.5), (0.8, 1.0))


def errors_by_load(of: str) -> dict[tuple[float, float], list[float]]:
    """Predicted over measured watts, less one, by share of what the layout serves at most."""
    name, host_w = SYSTEMS[of]
    catalog = load_catalog()
    watts = core_system(catalog, catalog.system(name))
    layouts = defaultdict(list)
    with POINTS.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["system"] == of:
                task = row["id"].split("_")[1]
                columns = ("model", "precision", "gpus", "attn_tp", "attn_dp", "ep")
                layouts[(task, *(row[c] for c in columns))].append(row)
    found = defaultdict(list)
    for rows in layouts.values():
        most = max(float(row["output_tok_s_gpu"]) for row in rows)
        for row in rows:
            load = float(row["output_tok_s_gpu"]) / most
            drawn = watts["active_w"] + load * (watts["decode_w"] - watts["active_w"])
            measured = float(row["watts_per_gpu"]) + host_w
            for band in BANDS:
                if band[0] < load <= band[1]:
                    found[band].append(drawn / measured - 1.0)
    return found


@pytest.mark.skipif(not POINTS.exists(), reason="the measured points are not beside the checkout")
def test_watts_are_within_12_percent_at_low_middle_and_full_load() -> None:
    each = [errors_by_load(of) for of in SYSTEMS]
    for band in BANDS:
        errors = [error for found in each for error in found[band]]
        assert len(errors) > 20
        assert abs(mean(errors)) < 0.12, band
        for found in each:
            assert abs(mean(found[band])) < 0.15, band
