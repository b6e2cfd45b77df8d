"""Purchase schedules as a question to a table: orders by offer and period in, worth and cost out.

A column is an offer at a site and the period that orders, `h100-buy@hall 2027-Q1`, with the outlook
where it is known: `h100-buy@hall 2027-Q3 boom`. Orders without a column are not placed. What is
held, sold and served then is the best there is: the plan over the horizon with its orders given.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.fleets.evaluate import FleetAnswers
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.part import Part, part_of
from tokenfleet.mix.horizon.solve import solve_horizon
from tokenfleet.mix.model.stock import vintages
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem import Built
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem_data import FloatArray, Horizon
from tokenfleet.tables.fleets.question import FleetQuestion

_solving = threading.Lock()  # of one process: a schedule is a plan, which uses all that there is


@dataclass(frozen=True, eq=False)
class ScheduleQuestion(FleetQuestion):
    """What a schedule of orders is worth and whether it serves the demand of every period."""

    options: SolveOptions = field(default_factory=SolveOptions)
    ranked_by: str = "npv_usd"
    larger_is_better: tuple[str, ...] = ("tokens_output",)

    def __post_init__(self) -> None:
        if any(scales != (1.0,) for scales in (self.demand, self.energy_price, self.system_price)):
            raise SchemaError(
                "cases of demand or prices over a horizon", "state them as `outlooks`"
            )

    @cached_property
    def horizon(self) -> Horizon:
        """Its periods and nodes."""
        assert self.problem.horizon is not None
        return self.problem.horizon

    @cached_property
    def orders(self) -> list[tuple[int, int]]:
        """(node, offer) of every order that may arrive."""
        return [
            (vintage.order, o)
            for o, offer in enumerate(self.problem.offers)
            if offer.stock is not None
            for vintage in vintages(self.problem, o)
            if not vintage.is_owned
        ]

    @cached_property
    def offers(self) -> list[str]:
        """Columns of counts: `offer@site period`."""
        nodes, offers = self.horizon.nodes, self.problem.offers
        return [f"{offers[o].id} {nodes[u].name}" for u, o in self.orders]

    def identity(self) -> dict[str, Any]:
        """As `Question.identity`."""
        return super().identity() | {"kind": "schedules", "gap": self.options.gap}

    @property
    def rows_at_once(self) -> int:
        """As `Question.rows_at_once`: each row is a plan."""
        return 16

    def _evaluator(self) -> Any:
        return None

    @cached_property
    def part(self) -> Part | None:
        """The layouts that are built, where all are too many."""
        return part_of(self.problem.name, self.horizon, Effort.of(self.options))

    def evaluate(self, evaluator: Any, counts: FloatArray, threads: int) -> FleetAnswers:
        """Answers to checked counts."""
        rows = [self._answer(row) for row in counts]
        names = ["feasible", "limit", "npv_usd", "npv_bound_usd", "levelised_usd_per_year",
                 "levelised_cost_per_mtok_output_usd", "tokens_output"]  # fmt: skip
        kinds = {"feasible": np.bool_, "limit": object}
        return FleetAnswers(
            {
                name: np.array([[row[i] for row in rows]], dtype=kinds.get(name, np.float64))
                for i, name in enumerate(names)
            }
        )

    def _answer(self, counts: FloatArray) -> tuple[Any, ...]:
        fixed = dict(zip(self.orders, counts.tolist(), strict=True))
        try:
            with _solving:
                found = solve_horizon(
                    self.problem.name, self.horizon, self.options, fixed=fixed, part=self.part
                )
        except InfeasibleError as error:
            limit = str(error.conflicts[0]) if error.conflicts else error.message
            return (False, limit, *(np.nan,) * 5)
        tokens = tokens_per_year(found.problem, found.values, "output")
        per_mtok = found.npv_usd * 1e6 / tokens if tokens > 0 else np.nan
        levelised = found.levelised_usd_per_year
        return (True, "", found.npv_usd, found.bound, levelised, per_mtok, tokens)


def schedule_question(built: Built, options: SolveOptions, **cases: Any) -> ScheduleQuestion:
    """The question of a scenario with a horizon."""
    return ScheduleQuestion(combined(built.problem.name, tree_of(built)), options=options, **cases)
