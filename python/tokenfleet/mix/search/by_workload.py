"""A plan in whole replicas found workload by workload.

In a relaxation with fractions of systems, workloads meet only in the systems' price: each could be
solved alone. So one after the other has its replicas in whole numbers, where those of the workloads
before are held as they were found and the later ones are still fractions; with the last, systems
become whole as well. Each step is a small search. What one workload rounds up is there for the
next: the plan has one system to spare of each kind and not one of each workload.
"""

from __future__ import annotations

from collections.abc import Mapping

import highspy
import numpy as np
from numpy.typing import NDArray

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import (
    SIDE_SEARCHES,
    arrays_of,
    compiled,
    fill,
    largest_price,
    power_of_two,
    sign_of,
    wait_for,
)
from tokenfleet.mix.solver.silent import silent_highs
from tokenfleet.problem_data import FloatArray, Replicas

_NODES = 30  # of the tree of one step
_GAP = 0.005  # of one step
_ROUND = 1e-9  # a limit in whole things is not cut by a rounding error
_FEASIBLE = 2  # HiGHS's number of a solution that is one
_WHOLE, _FRACTION = 1, 0  # HiGHS's numbers of kinds of columns


class ByWorkload:
    """A model as arrays, of which some columns are opened for each plan."""

    def __init__(self, m: FleetModel, effort: Effort) -> None:
        self.m, self.effort = m, effort
        self.matrix = compiled(m.prob)
        factor = sign_of(m.prob) * power_of_two(largest_price(m.prob))
        self.whole = arrays_of(m.prob, self.matrix, False, factor)
        self.row_of = np.repeat(np.arange(len(self.matrix.rows)), np.diff(self.matrix.starts))
        self.integral = np.array(self.matrix.integral)
        self.up = self._whole_limits()
        self.workload = np.full(len(self.matrix.names), -1)
        for label, v in m.of(Replicas).items():
            of_replica = m.problem.candidates[label.candidate].workload
            self.workload[self.matrix.index[v.name]] = of_replica

    def _whole_limits(self) -> FloatArray:
        """Limits of columns; of whole ones no more than fit a limit alone: at 20 kW there are two
        systems of 9 kW, and a relaxation that has room for 2.2 of them would round up to three."""
        rows, values, columns = self.row_of, self.matrix.values, self.matrix.columns
        up = np.array(self.whole.row_upper_)
        least = np.full(len(up), np.inf)
        np.minimum.at(least, rows, values)
        alone = (least[rows] > 0) & np.isfinite(up[rows]) & self.integral[columns]
        limits = np.array(self.whole.col_upper_)
        most = np.floor(up[rows[alone]] / values[alone] + _ROUND)
        np.minimum.at(limits, columns[alone], most)
        return limits

    def plan(self, is_open: NDArray[np.bool_]) -> Mapping[str, float] | None:
        """A plan of the open columns, by name; None where a step finds nothing.

        Raises:
            KeyboardInterrupt: Ctrl-C.
        """
        columns = np.flatnonzero(is_open)
        solver = silent_highs(self._settings())
        solver.passModel(self._part(columns))
        workload, integral = self.workload[columns], self.integral[columns]
        order = [w for w in self.m.order.workloads if (workload == w).any()]
        values = np.zeros(len(columns))
        for w in order:
            now = integral & ((workload == w) | ((w == order[-1]) & (workload < 0)))
            found = self._step(solver, np.flatnonzero(now))
            if found is None:
                return None
            values = found
            self._hold(solver, np.flatnonzero(integral & (workload == w)), values)
        if not order:
            return None
        values = np.where(integral, np.round(values), values)
        names = map(self.matrix.names.__getitem__, columns.tolist())
        return dict(zip(names, values.tolist(), strict=True))

    def _settings(self) -> dict[str, object]:
        options = self.effort.options
        return {
            "threads": 1,
            "random_seed": options.seed,
            "mip_max_nodes": _NODES,
            "mip_rel_gap": _GAP,
            "mip_allow_restart": False,
            **dict.fromkeys(SIDE_SEARCHES, False),
        }

    def _part(self, columns: NDArray[np.int64]) -> highspy.HighsLp:
        """The relaxation of some columns."""
        whole, part = self.whole, highspy.HighsLp()
        part.num_col_, part.num_row_ = len(columns), whole.num_row_
        part.col_cost_ = np.array(whole.col_cost_)[columns]
        part.col_lower_ = np.array(whole.col_lower_)[columns]
        part.col_upper_ = self.up[columns]
        part.row_lower_, part.row_upper_ = whole.row_lower_, whole.row_upper_
        place = np.full(whole.num_col_, -1)
        place[columns] = np.arange(len(columns))
        inside = place[self.matrix.columns] >= 0
        counts = np.bincount(self.row_of[inside], minlength=whole.num_row_)
        starts = np.concatenate([[0], np.cumsum(counts)])
        fill(part, starts, place[self.matrix.columns[inside]], self.matrix.values[inside])
        return part

    def _step(self, solver: highspy.Highs, now: NDArray[np.int64]) -> FloatArray | None:
        """The columns with these in whole numbers; None where none are found."""
        kinds = np.full(len(now), _WHOLE, dtype=np.uint8)
        solver.changeColsIntegrality(len(now), now.astype(np.int32), kinds)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(self.effort.left(), 0.05))
        if wait_for(solver):
            raise KeyboardInterrupt
        if solver.getInfo().primal_solution_status != _FEASIBLE:
            return None
        return np.array(solver.getSolution().col_value)

    def _hold(self, solver: highspy.Highs, held: NDArray[np.int64], values: FloatArray) -> None:
        """Hold columns where they are, which makes a fraction of them as good as whole numbers."""
        numbers = np.round(values[held])
        solver.changeColsBounds(len(held), held.astype(np.int32), numbers, numbers)
        kinds = np.full(len(held), _FRACTION, dtype=np.uint8)
        solver.changeColsIntegrality(len(held), held.astype(np.int32), kinds)
