r"""Rows that whole replicas imply, and the relaxation of the second formulation does not see.

Flows load the replicas of a type in a pool: `sum_k a[k] f[k] <= n`, with 0 <= f[k] <= u[k] and n
whole. Let S be some of the flows and D = sum_S a[k] u[k]. For any whole number K and 0 <= r <= 1

    sum_S a[k] f[k] - r n  <=  max(D - r K, (1 - r) (K - 1))

since the left side is at most D - r n, which falls in n and counts from n = K on, and at most
n - r n, which rises and counts up to n = K - 1. Nothing depends on r being exact: the right side is
worked out for the r that is written down. With K = ceil(D) and r = D - (K - 1) both are equal, and
a plan breaks the row most for S = {k: f[k] > (n - floor(n)) u[k]}.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokenfleet.problem_data import FloatArray
from tokenfleet.verify.second import Formulation

IntArray = NDArray[np.int64]
_PART = 1e-6  # of a replica: less than that is rounding
_BROKEN = 1e-5  # replicas by which a row is broken to be worth writing
_SAFE = 1e-12  # relative, on the right side: many times what rounding can do to it


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows `sum of value * column <= up`; entries in order of their rows."""

    up: FloatArray
    rows: IntArray  # of entries, from 0
    columns: IntArray
    values: FloatArray


class Rounding:
    """The loads of all replicas of a formulation."""

    def __init__(self, form: Formulation) -> None:
        """Of rows other than the load of one whole number none is rounded."""
        inside = form.capacity[form.rows]
        is_flow = inside & form.flow[form.columns]
        is_replica = inside & form.whole[form.columns] & (form.values == -1.0)
        self.count = len(form.row_up)
        self.rows, self.columns = form.rows[is_flow], form.columns[is_flow]
        self.loads, most = form.values[is_flow], form.up[self.columns]
        self.replicas = np.full(self.count, -1)
        self.replicas[form.rows[is_replica]] = form.columns[is_replica]
        others = np.bincount(form.rows[inside & ~is_flow], minlength=self.count)
        limited = np.isfinite(self._sum(self.loads * most))
        self.can_round = (self.replicas >= 0) & (others == 1) & limited
        self.most = np.where(self.can_round[self.rows], most, 0.0)

    def _sum(self, values: FloatArray) -> FloatArray:
        """By row, of one value for each flow."""
        return np.bincount(self.rows, values, self.count).astype(np.float64)

    def broken(self, plan: FloatArray) -> NewRows:
        """The row that the replicas of each type break most in a plan, if they break any."""
        n = np.where(self.can_round, plan[self.replicas], 0.0)
        floor = np.floor(n + _PART)
        part = n - floor
        flows = plan[self.columns]
        taken = (flows > part[self.rows] * self.most) & self.can_round[self.rows]
        loads = np.where(taken, self.loads, 0.0)
        full = self._sum(loads * self.most)
        r = full - floor
        up = np.maximum(full - r * (floor + 1.0), (1.0 - r) * floor) + _SAFE * (full + 1.0)
        excess = self._sum(loads * flows) - r * n - up
        found = (part > _PART) & (r > _PART) & (r < 1.0 - _PART) & (excess > _BROKEN)
        return self._written(found, taken, r, up)

    def _written(
        self, found: NDArray[np.bool_], taken: NDArray[np.bool_], r: FloatArray, up: FloatArray
    ) -> NewRows:
        """The rows found, of the flows taken."""
        chosen, place = np.flatnonzero(found), np.cumsum(found) - 1
        entries = np.flatnonzero(taken & found[self.rows])
        rows = np.concatenate([place[self.rows[entries]], place[chosen]])
        columns = np.concatenate([self.columns[entries], self.replicas[chosen]])
        values = np.concatenate([self.loads[entries], -r[chosen]])
        order = np.argsort(rows, kind="stable")
        return NewRows(up[chosen], rows[order], columns[order], values[order])


def with_rows(form: Formulation, new: NewRows) -> Formulation:
    """The formulation with rows more, after those that it has."""
    count, before = len(new.up), len(form.row_up)
    return replace(
        form,
        row_low=np.concatenate([form.row_low, np.full(count, -np.inf)]),
        row_up=np.concatenate([form.row_up, new.up]),
        capacity=np.concatenate([form.capacity, np.zeros(count, dtype=bool)]),
        rows=np.concatenate([form.rows, new.rows + before]),
        columns=np.concatenate([form.columns, new.columns]),
        values=np.concatenate([form.values, new.values]),
    )
