"""Whole fleets as rows: what each mix of systems costs, whether it serves the demand, and how best.

`routing` turns the rows of the mix model into a linear programme whose right sides are a fleet's
systems, `limits` has the limits that need no routing, `evaluate` puts both together, `question` is
that as `tables` asks it, `table` for files.
"""

from __future__ import annotations

from tokenfleet.fleets.evaluate import FleetAnswers, FleetEvaluator, evaluate_fleets

__all__ = ["FleetAnswers", "FleetEvaluator", "evaluate_fleets"]
