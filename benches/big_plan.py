"""Time, gap, share of model building and memory of plans with 10^7 candidates, at two sizes.

    python benches/big_plan.py [--quick]

Prints JSON. Evaluation (`evaluate_s`) and mix (`big_plan_s`) are timed apart. `--quick` plans a
fraction of the size, for a test that the bench runs.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from generate_scenario import scenario, write

from tokenfleet.mix import generation, master, solve
from tokenfleet.optimize import solve_options
from tokenfleet.problem import build
from tokenfleet.scenario_file import load_scenario
from tokenfleet.verify import verify_mix

SIZES = {"big_plan": 12_000.0, "mid_plan": 1_500.0}
# What makes models: the frame, the first relaxation, the pairs added to it, the model of the plan.
BUILDERS = (
    (solve, "frame_of"),
    (solve, "Pairs"),
    (generation, "Master"),
    (master.Master, "add"),
    (solve, "build"),
)
QUICK = {"sites": 3, "systems": 6, "workloads": 3}


def measure(quick: bool) -> dict[str, float]:
    """Seconds, gap and share of model building of both sizes, and the peak memory in MB."""
    figures: dict[str, float] = {}
    for name, fleet in SIZES.items():
        figures |= _one(name, fleet / 20 if quick else fleet, QUICK if quick else {})
    figures["big_plan_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return figures


def _one(name: str, fleet: float, shape: dict[str, int]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_scenario(write(Path(folder), scenario(1, fleet, **shape)))
        begun = time.perf_counter()
        built = build(loaded)
        evaluated = time.perf_counter()
        with _building_timed() as spent:
            options = replace(solve_options(loaded.scenario), threads=2)
            result = solve.solve_mix(built.problem, options)
        seconds = time.perf_counter() - evaluated
    wrong = verify_mix(result.problem, result.values, result.cost_items, result.value)
    if wrong:
        raise SystemExit(f"{name}: the plan does not hold: {wrong[0]}")
    return {
        f"{name}_s": seconds,
        f"{name}_gap": result.gap,
        f"{name}_build_fraction": sum(spent) / seconds,
        f"{name}_evaluate_s": evaluated - begun,
        f"{name}_candidates": built.evaluated,
        f"{name}_systems": sum(v for label, v in result.values.items() if label[0] == "x"),
    }


@contextmanager
def _building_timed() -> Iterator[list[float]]:
    """Seconds of everything that builds a model meanwhile."""
    spent: list[float] = []

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def with_clock(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                spent.append(time.perf_counter() - begun)

        return with_clock

    with ExitStack() as stack:
        for owner, name in BUILDERS:
            patched = mock.patch.object(owner, name, timed(getattr(owner, name)))
            stack.enter_context(patched)
        yield spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    print(json.dumps(measure(parser.parse_args().quick), indent=1))


if __name__ == "__main__":
    main()
