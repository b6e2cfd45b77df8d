"""A linear programme that grows: HiGHS keeps the model and its basis from one solve to the next.

A PuLP model is handed over once. Columns and rows are then added as arrays, and each solve starts
from the basis of the last: with columns added the plan is still feasible, so the primal simplex
method goes on where it stopped; with rows added or bounds moved its prices still are, and the dual
simplex method does.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
import pulp
from numpy.typing import NDArray

from tokenfleet.mix.solver.highs import (
    SolveOptions,
    Status,
    arrays_of,
    compiled,
    largest_price,
    power_of_two,
    sign_of,
    status_of_relaxation,
    wait_for,
)
from tokenfleet.mix.solver.silent import silent_highs

FloatArray = NDArray[np.float64]
_PRIMAL_SIMPLEX = 4  # HiGHS's number of the strategy


@dataclass(frozen=True, eq=False)
class Answer:
    """One solve, in the model's unit; the arrays are empty without a solution."""

    status: Status
    value: float
    columns: FloatArray
    reduced_costs: FloatArray
    duals: FloatArray


class GrowingLp:
    """The relaxation of a PuLP model; integer columns count as continuous."""

    def __init__(
        self, prob: pulp.LpProblem, options: SolveOptions, *, open_only: bool = False
    ) -> None:
        """`open_only` leaves out the columns that may only be zero."""
        matrix = compiled(prob)
        self.factor = sign_of(prob) * power_of_two(largest_price(prob))
        is_closed = [open_only and v.upBound == 0.0 for v in matrix.variables]
        closed = np.flatnonzero(is_closed).astype(np.int32)
        self.variables = list(itertools.compress(matrix.variables, map(operator.not_, is_closed)))
        self.column_index = {v.name: i for i, v in enumerate(self.variables)}
        self.row_index = {row.name: i for i, row in enumerate(matrix.rows)}
        self.columns = len(self.variables)
        self.rows = len(matrix.rows)
        self._solver = silent_highs({"threads": options.threads, "random_seed": options.seed})
        self._solver.passModel(arrays_of(prob, matrix, False, self.factor))
        self._solver.deleteCols(len(closed), closed)

    def add_rows(self, count: int) -> None:
        """Rows `0 <= 0` for columns to enter, after those that are there."""
        none = np.zeros(count, dtype=np.int32)
        low, up = np.full(count, -highspy.kHighsInf), np.zeros(count)
        self._solver.addRows(count, low, up, 0, none, none[:0], low[:0])
        self.rows += count

    def add_limits(self, limits: Sequence[tuple[NDArray[np.int64], FloatArray, float]]) -> None:
        """Rows `sum of coefficient * column <= upper` of (columns, coefficients, upper)."""
        count = len(limits)
        starts = np.cumsum([0, *(len(c) for c, _, _ in limits)], dtype=np.int32)[:-1]
        columns = np.concatenate([c for c, _, _ in limits]).astype(np.int32)
        values = np.concatenate([a for _, a, _ in limits])
        low, up = np.full(count, -highspy.kHighsInf), np.array([u for _, _, u in limits])
        self._solver.addRows(count, low, up, len(columns), starts, columns, values)
        self.rows += count

    def bounds(self, column: int) -> tuple[float, float]:
        """Lower and upper bound of a column."""
        lp = self._solver.getLp()
        return float(lp.col_lower_[column]), float(lp.col_upper_[column])

    def bound(self, column: int, low: float, up: float) -> None:
        """Move the bounds of a column."""
        self._solver.changeColBounds(column, low, up)

    def limit(self, row: int, low: float, up: float) -> None:
        """Move the sides of a row."""
        self._solver.changeRowBounds(row, low, up)

    def all_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of all columns."""
        lp = self._solver.getLp()
        return np.array(lp.col_lower_), np.array(lp.col_upper_)

    def set_bounds(self, low: FloatArray, up: FloatArray) -> None:
        """Move the bounds of all columns."""
        indices = np.arange(self.columns, dtype=np.int32)
        self._solver.changeColsBounds(self.columns, indices, low, up)

    def add_columns(
        self, costs: Sequence[float], entries: Sequence[Sequence[tuple[int, float]]]
    ) -> None:
        """Columns >= 0 with their (row, coefficient), after those that are there."""
        count = len(costs)
        starts = np.cumsum([0, *(len(e) for e in entries)], dtype=np.int32)[:-1]
        rows = np.array([r for column in entries for r, _ in column], dtype=np.int32)
        values = np.array([a for column in entries for _, a in column], dtype=float)
        cost = self.factor * np.array(costs, dtype=float)
        up = np.full(count, highspy.kHighsInf)
        self._solver.addCols(count, cost, np.zeros(count), up, len(rows), starts, rows, values)
        self.columns += count

    def reprice(self, costs: FloatArray) -> None:
        """Another objective over the same columns, without a constant."""
        largest = float(np.abs(costs).max(initial=0.0))
        self.factor = power_of_two(largest)
        indices = np.arange(self.columns, dtype=np.int32)
        self._solver.changeColsCost(self.columns, indices, self.factor * costs)
        self._solver.changeObjectiveOffset(0.0)

    def costs(self) -> FloatArray:
        """The objective's coefficients, in the model's unit."""
        return np.array(self._solver.getLp().col_cost_) / self.factor

    def solve(self, seconds: float, *, warm: bool) -> Answer:
        """The best value; `warm` when only columns were added or costs changed since the last.

        Raises:
            KeyboardInterrupt: Ctrl-C; the programme may be solved again.
        """
        solver = self._solver
        solver.setOptionValue("simplex_strategy", _PRIMAL_SIMPLEX if warm else 1)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(seconds, 0.05))
        if wait_for(solver):
            raise KeyboardInterrupt
        status = status_of_relaxation(solver)
        if status != "optimal":
            none = np.zeros(0)
            return Answer(status, np.nan, none, none, none)
        solution = solver.getSolution()
        return Answer(
            status,
            solver.getInfo().objective_function_value / self.factor,
            np.array(solution.col_value),
            np.array(solution.col_dual) / abs(self.factor),
            np.array(solution.row_dual) / abs(self.factor),
        )
