"""This room judges whole fleets that the user wrote down: the cost of each, and whether it serves.

A row says, for example, "12 `h100_sxm_8` at `eu`, 3 `b200_sxm_8` at `us`". `limits` has the limits
that need no routing (power, racks, budgets), `routing` turns the rows of the mix model into a
linear programme that routes the demand through the given systems, `booking` adds up what everything
costs, and `evaluate` puts these together. `tables.fleets` asks the same of a file of any length.
"""

from __future__ import annotations

from tokenfleet.fleets.evaluate import FleetAnswers, FleetEvaluator, evaluate_fleets

__all__ = ["FleetAnswers", "FleetEvaluator", "evaluate_fleets"]
