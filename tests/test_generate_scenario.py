"""The generator of large scenarios: as many systems as asked, whatever a unit comes to."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tokenfleet import optimize_fleet
from tokenfleet.problem import build
from tokenfleet.scenario.load import load_scenario

BENCHES = Path(__file__).parents[1] / "benches"
SHAPE = {"sites": 3, "systems": 6, "workloads": 3}


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    found = importlib.util.spec_from_file_location(
        "generate_scenario", BENCHES / "generate_scenario.py"
    )
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    module.BATCH_LIMITS = [8, 64, 512]  # a quarter of the work, the same question
    return module


@pytest.mark.parametrize("fleet", [150.0, 1_200.0])
def test_the_plan_holds_about_as_many_systems_as_asked(
    generator: ModuleType, fleet: float, tmp_path: Path
) -> None:
    units = generator.sized(fleet, generator.units_per_system(1, **SHAPE))
    drawn = generator.scenario(1, units, gap=0.02, **SHAPE)
    path = generator.write(tmp_path, drawn)
    relaxed = generator.relaxed_systems(build(load_scenario(path)).problem)
    assert relaxed == pytest.approx(fleet, rel=0.02)
    plan = optimize_fleet(path, compare_single=False)
    systems = sum(row["count"] for row in plan.to_json()["systems"])
    assert systems == pytest.approx(fleet, rel=0.08)


def test_the_bench_of_big_plans_times_what_it_names(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    bench = importlib.import_module("big_plan")
    units = generator.sized(150.0, generator.units_per_system(1, **SHAPE))
    found = bench._one(generator.scenario(1, units, gap=0.02, **SHAPE))
    assert 0.0 < found["build_of_mix"] < 1.0 and found["systems"] > 0


def test_a_seed_is_one_scenario(generator: ModuleType) -> None:
    texts = [json.dumps(generator.scenario(seed, 1_000.0, **SHAPE)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_the_full_shape_is_that_of_the_goal(generator: ModuleType) -> None:
    drawn = generator.scenario(1, 20_000.0)
    counts = [len(drawn[key]) for key in ("sites", "systems", "workloads", "offers")]
    assert counts == [20, 20, 30, 80]
