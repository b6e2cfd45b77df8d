"""tokenfleet: which AI hardware serves a demand for tokens at the least cost per token.

import tokenfleet as tf
plan = tf.optimize_fleet("scenario.yaml")
plan.cost_per_mtok_output_usd, plan.status, plan.gap
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tokenfleet._core import __version__
from tokenfleet.errors import (
    CatalogError,
    InfeasibleError,
    SchemaError,
    SolverError,
    TokenfleetError,
)

if TYPE_CHECKING:
    from tokenfleet.explanation.difference import difference
    from tokenfleet.explanation.explain import explain
    from tokenfleet.explanation.explore import explore
    from tokenfleet.explanation.model import BuiltModel, build_model
    from tokenfleet.explanation.rows import Difference, Explanation
    from tokenfleet.fleets import FleetAnswers, evaluate_fleets
    from tokenfleet.optimize import optimize_fleet
    from tokenfleet.plan.rows import Plan
    from tokenfleet.points.kept import evaluate
    from tokenfleet.points.search import FoundPoints, search_points
    from tokenfleet.scenario.load import load_scenario
    from tokenfleet.schema import Scenario
    from tokenfleet.simulation.result import Simulation
    from tokenfleet.simulation.settings import SimulationSettings
    from tokenfleet.simulation.simulate import simulate
    from tokenfleet.sizing.answer import quick
    from tokenfleet.sizing.question import Question

# Imported when first used: the solver and the schema take longer to load than `--help` should.
_LAZY = {
    "BuiltModel": "tokenfleet.explanation.model",
    "Difference": "tokenfleet.explanation.rows",
    "Explanation": "tokenfleet.explanation.rows",
    "FleetAnswers": "tokenfleet.fleets",
    "FoundPoints": "tokenfleet.points.search",
    "Plan": "tokenfleet.plan.rows",
    "Question": "tokenfleet.sizing.question",
    "Scenario": "tokenfleet.schema",
    "Simulation": "tokenfleet.simulation.result",
    "SimulationSettings": "tokenfleet.simulation.run",
    "build_model": "tokenfleet.explanation.model",
    "difference": "tokenfleet.explanation.difference",
    "evaluate": "tokenfleet.points.kept",
    "evaluate_fleets": "tokenfleet.fleets",
    "explain": "tokenfleet.explanation.explain",
    "explore": "tokenfleet.explanation.explore",
    "load_scenario": "tokenfleet.scenario.load",
    "optimize_fleet": "tokenfleet.optimize",
    "quick": "tokenfleet.sizing.answer",
    "search_points": "tokenfleet.points.search",
    "simulate": "tokenfleet.simulation.simulate",
}

__all__ = [
    "BuiltModel",
    "CatalogError",
    "Difference",
    "Explanation",
    "FleetAnswers",
    "FoundPoints",
    "InfeasibleError",
    "Plan",
    "Question",
    "Scenario",
    "SchemaError",
    "Simulation",
    "SimulationSettings",
    "SolverError",
    "TokenfleetError",
    "__version__",
    "build_model",
    "difference",
    "evaluate",
    "evaluate_fleets",
    "explain",
    "explore",
    "load_scenario",
    "optimize_fleet",
    "quick",
    "search_points",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
