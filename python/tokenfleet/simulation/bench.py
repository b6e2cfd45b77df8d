"""A plan and the scenario it was made from, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.catalog import Catalog
from tokenfleet.plan.match import check_match, scenario_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem.build import respecify
from tokenfleet.problem.load_blocks import day_weights
from tokenfleet.problem.specification import Specification
from tokenfleet.scenario.load import LoadedScenario, ScenarioSource
from tokenfleet.simulation.lengths import Pairs
from tokenfleet.simulation.traffic import pairs_of

PlanSource = Plan | str | Path | Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Bench:
    """A plan that matches its scenario, ready to be simulated."""

    plan: Plan
    name: str
    loaded: LoadedScenario
    spec: Specification
    core: Any
    known_pairs: dict[tuple[int, int], tuple[Pairs, ...]] = field(default_factory=dict)

    def pairs(self, workload: int, seed: int) -> tuple[Pairs, ...]:
        """Lengths to draw from, made once."""
        key = (workload, seed)
        if key not in self.known_pairs:
            self.known_pairs[key] = pairs_of(self.loaded, self.spec, workload, seed)
        return self.known_pairs[key]

    def day(self, workload: int) -> list[float]:
        """The workload's load over a day, as weights."""
        own = self.spec.workloads[workload]
        curve = self.loaded.day_curves.get(own.id)
        weights = day_weights(own.demand, None if curve is None else np.asarray(curve))
        return [float(weight) for weight in weights]


def open_bench(
    plan: PlanSource, scenario: ScenarioSource | None, catalog: Catalog | None = None
) -> Bench:
    """Reads a plan and its scenario, and checks that they belong together.

    Raises:
        SchemaError: as `simulate`.
    """
    name = str(plan) if isinstance(plan, str | Path) else "plan"
    parsed = _read(plan)
    loaded = scenario_of(parsed, name, scenario, catalog)
    spec, core = respecify(loaded)
    check_match(parsed, name, loaded, spec, core)
    return Bench(parsed, name, loaded, spec, core)


def _read(plan: PlanSource) -> Plan:
    if isinstance(plan, Plan):
        return plan
    return Plan.load(plan) if isinstance(plan, str | Path) else Plan.from_json(plan)
