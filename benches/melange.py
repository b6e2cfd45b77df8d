"""The command `plan` on imported Mélange files: 256 GPU types x 60 buckets, drawn by seed.

    python benches/melange.py [--quick] [--write SEED FILE]

Prints JSON. `melange_s` is the wall time of `tokenfleet plan SCENARIO --json` in a process of its
own, one run for each of the draws: start, reading, mix with its proof, check and answer;
`melange_optimize_s` what is left of it without the start and the reading. `melange_gap` is the
largest gap of a plan, `melange_usd_per_h` what the plans cost. `melange_bare_s` is the same command
where nothing but the least cost is asked for: no simpler plan among those as good. Modules are
compiled before, as those of an installed package are. `--quick` plans a few small draws, for a test
that the bench runs; `--write` writes one draw of the full size to a file and plans nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from spread import Spread, spread

TYPES, INPUTS, OUTPUTS = 256, 6, 10
SEEDS = (1, 2, 3, 4, 5)
QUICK = {"types": 24, "inputs": 3, "outputs": 4}
QUICK_SEEDS = (1, 2)
REQUESTS_PER_S = 200
HOURS = 8760
OBJECTIVE = "objective:\n"  # a line of an imported scenario


def draw(
    seed: int, *, types: int = TYPES, inputs: int = INPUTS, outputs: int = OUTPUTS
) -> dict[str, Any]:
    """A Mélange file: dearer types are faster, by how much is drawn, and so is every rate.

    Rates fall with the lengths of prompt and answer; shares of buckets are drawn.
    """
    rng = random.Random(seed)
    info = {}
    for n in range(types):
        cost = rng.uniform(0.5, 12.0)
        base = cost * rng.uniform(0.6, 1.6)
        rates = [
            [
                round(base * 20 / ((i + 1) * (j + 1)) * rng.uniform(0.7, 1.3), 4)
                for j in range(outputs)
            ]
            for i in range(inputs)
        ]
        info[f"g{n:03d}"] = {"cost": round(cost, 3), "tputs": rates}
    shares = [[rng.random() for _ in range(outputs)] for _ in range(inputs)]
    total = sum(map(sum, shares))
    return {
        "gpu_info": info,
        "workload_distribution": [[share / total for share in row] for row in shares],
        "total_request_rate": REQUESTS_PER_S,
        "slice_factor": 1,
    }


def measure(quick: bool) -> dict[str, Spread | float]:
    """Seconds, gap and cost of the plans of all draws."""
    shape, seeds = (QUICK, QUICK_SEEDS) if quick else ({}, SEEDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planned(draw(0, **QUICK), folder)  # compiles the modules
        found = [planned(draw(seed, **shape), folder) for seed in seeds]
        bare = [planned(draw(seed, **shape), folder, bare=True)[0] for seed in seeds]
    plans = [plan for _, plan in found]
    return {
        "melange_s": spread([seconds for seconds, _ in found]),
        "melange_bare_s": spread(bare),
        "melange_optimize_s": spread([plan["seconds"] for plan in plans]),
        "melange_gap": max(plan["gap"] for plan in plans),
        "melange_usd_per_h": spread([plan["annual_cost_usd"] / HOURS for plan in plans]),
    }


def planned(
    data: dict[str, Any], folder: Path, *, bare: bool = False
) -> tuple[float, dict[str, Any]]:
    """Wall time of the command `plan` on an imported file, and its answer; `bare` is the least cost
    alone."""
    source, scenario = folder / "melange.json", folder / "scenario.yaml"
    source.write_text(json.dumps(data), encoding="utf-8")
    command(folder, "import", str(source), "-o", str(scenario), "--force")
    if bare:
        text = scenario.read_text(encoding="utf-8")
        assert OBJECTIVE in text
        text = text.replace(OBJECTIVE, f"{OBJECTIVE}  simplicity_tolerance: 0\n")
        scenario.write_text(text, encoding="utf-8")
    begun = time.perf_counter()
    answer = command(folder, "plan", str(scenario), "--json")
    return time.perf_counter() - begun, json.loads(answer)


def command(folder: Path, *arguments: str) -> str:
    """What `tokenfleet` prints; its compiled modules are kept in the folder."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-m", "tokenfleet", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**kept, "PYTHONPYCACHEPREFIX": str(folder / "compiled")},
    ).stdout


def main() -> None:
    """Measure and print, or write a draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", nargs=2, metavar=("SEED", "FILE"))
    arguments = parser.parse_args()
    if arguments.write:
        seed, file = arguments.write
        Path(file).write_text(json.dumps(draw(int(seed))), encoding="utf-8")
    else:
        print(json.dumps(measure(arguments.quick), indent=1))


if __name__ == "__main__":
    main()
