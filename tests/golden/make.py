"""Golden answers: whole plans as JSON, so that a change of the house is seen to change nothing.

    python tests/golden/make.py [--check] [NAME ...]

Writes `tests/golden/NAME.json` for the named cases, or for all. `--check` writes nothing and prints
which cases differ. What depends on the clock or on a folder is left out (`LEFT_OUT`). A change that
means to move a plan runs this again and says in its commit what moved and why.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "benches"))

import fleets  # noqa: E402
import generate_scenario  # noqa: E402
import melange  # noqa: E402

from tokenfleet import optimize_fleet  # noqa: E402
from tokenfleet.fleets import FleetEvaluator  # noqa: E402
from tokenfleet.mix.generate import generation  # noqa: E402
from tokenfleet.scenario.load import load_scenario  # noqa: E402

LEFT_OUT = frozenset({"seconds", "origin"})  # the clock, the folder and the hash of both
MELANGE = {"types": 64, "inputs": 4, "outputs": 5}
FLEETS = 50
BIG_PLAN_SYSTEMS, BIG_PLAN_GAP = 1_200.0, 0.02
SHAPE = {"sites": 3, "systems": 6, "workloads": 3}
TIME_LIMIT_S = 3600.0


def example(name: str) -> Any:
    """The plan of a shipped example, with so much time that a busy machine changes nothing."""
    return patiently(ROOT / "examples" / f"{name}.yaml")


def patiently(path: Path) -> Any:
    """The plan of a scenario file with `TIME_LIMIT_S`."""
    loaded = load_scenario(path)
    solver = loaded.scenario.solver.model_copy(update={"time_limit_s": TIME_LIMIT_S})
    scenario = loaded.scenario.model_copy(update={"solver": solver})
    return optimize_fleet(replace(loaded, scenario=scenario)).to_json()


def melange_draw() -> Any:
    """The plan of the command line on a drawn Mélange file."""
    with tempfile.TemporaryDirectory() as folder:
        return melange.planned(melange.draw(1, **MELANGE), Path(folder))[1]


def big_plan() -> Any:
    """A small draw of the bench of big plans, solved by generation of columns as a big one is."""
    units = generate_scenario.sized(
        BIG_PLAN_SYSTEMS, generate_scenario.units_per_system(1, **SHAPE)
    )
    drawn = generate_scenario.scenario(1, units, gap=BIG_PLAN_GAP, **SHAPE)
    every_mix_is_large = mock.patch.multiple(generation, LARGE=0, GENERATED=0)
    with tempfile.TemporaryDirectory() as folder, every_mix_is_large:
        return patiently(generate_scenario.write(Path(folder), drawn))


def fleet_table() -> Any:
    """Every column of whole fleets that were drawn for their bench."""
    evaluator = FleetEvaluator(fleets.problem())
    answers = evaluator.evaluate(fleets.mixes(evaluator, FLEETS))
    return {name: column.tolist() for name, column in answers.columns.items()}


CASES: dict[str, Callable[[], Any]] = {
    "enterprise": lambda: example("enterprise"),
    "ai_factory": lambda: example("ai_factory"),
    "fleet_table": fleet_table,
    "melange": melange_draw,
    "hyperscaler": lambda: example("hyperscaler"),
    "big_plan": big_plan,
}


def stable(answer: Any) -> Any:
    """The answer without what depends on the clock or on a folder."""
    if isinstance(answer, dict):
        return {key: stable(item) for key, item in answer.items() if key not in LEFT_OUT}
    if isinstance(answer, list):
        return [stable(item) for item in answer]
    return None if isinstance(answer, float) and not math.isfinite(answer) else answer


def text_of(name: str) -> str:
    """The golden text of a case, made now: one key a line, so that a difference reads well."""
    return json.dumps(stable(CASES[name]()), indent=0, allow_nan=False) + "\n"


def golden(name: str) -> Path:
    """File of a case."""
    return HERE / f"{name}.json"


def main() -> int:
    """Write the named cases, or say which differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", choices=[[], *CASES], metavar="NAME")
    arguments = parser.parse_args()
    differ = []
    for name in arguments.names or CASES:
        text = text_of(name)
        same = golden(name).exists() and golden(name).read_text(encoding="utf-8") == text
        if not same:
            differ.append(name)
            if not arguments.check:
                golden(name).write_text(text, encoding="utf-8")
        print(f"{name}: {'same' if same else 'differs' if arguments.check else 'written'}")
    return int(arguments.check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
