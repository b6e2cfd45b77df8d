"""The routing of demand through given systems with whole replicas: an integer programme a fleet.

The rows are those of `routing`; replicas and packing slots stay columns, and are whole where the
mix model has them whole. Of all routings those that leave least demand unserved count, and of
those the one that costs least.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import highspy
import numpy as np
import pulp
from numpy.typing import NDArray

from tokenfleet.errors import SolverError
from tokenfleet.fleets.routing import Line, components, in_order, model_lines
from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.index import Capacity, Demand
from tokenfleet.mix.solver.highs import fill, power_of_two
from tokenfleet.mix.solver.silent import silent_highs
from tokenfleet.problem_data import FloatArray, Replicas

GAP = 1e-6
_LONGEST_S = 60.0  # for one fleet
_ROUNDING = 1e-6  # of a row's largest term
_FREE = 1e-3  # of the dearest column: a routing that costs less is as good as free
_UNSERVED = 1e-7  # requests/s beyond the least unserved
_INF = highspy.kHighsInf
_NONE = (  # no cost is negative: nothing is unbounded
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
)


@dataclass(frozen=True, eq=False)
class WholePart:
    """One integer programme: `A x (=, <=) b0 + per_pool t`; the first rows are the demands."""

    columns: tuple[Label, ...]
    lines: tuple[Line, ...]
    whole: NDArray[np.bool_]  # (C,)
    demands: tuple[Demand, ...]

    def route(
        self,
        usable: FloatArray,
        cost: FloatArray,
        weights: FloatArray,
        demand: float,
        threads: int,
    ) -> dict[str, FloatArray]:
        """Best routing of each fleet: unmet (N, D), figures (N, F), gap (N,); in one thread.

        Raises:
            SolverError: one was not found in time, or breaks a row.
        """
        factor = power_of_two(float(np.abs(cost).max(initial=0.0)))
        values = np.zeros((len(usable), len(self.columns)))
        unmet, gap = np.zeros((len(usable), len(self.demands))), np.zeros(len(usable))
        for i, systems in enumerate(usable):
            right = self._right(systems, demand)
            values[i], unmet[i], gap[i] = self._best(right, factor * cost)
        return {"unmet": unmet, "figures": values @ weights, "gap": gap}

    def _right(self, systems: FloatArray, demand: float) -> FloatArray:
        served = len(self.demands)
        return np.array(
            [
                line.right * (demand if r < served else 1.0)
                + sum(room * float(systems[p]) for p, room in line.pools.items())
                for r, line in enumerate(self.lines)
            ]
        )

    def _best(self, right: FloatArray, cost: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Columns, unserved demand and gap of the best routing of one fleet."""
        served, width = len(self.demands), len(self.columns)
        free, count = np.zeros(width), np.ones(served)
        found = self._solved(right, np.concatenate([cost, 0.0 * count]), most=0.0)
        if found is None:  # some demand is left: the least, and then the least cost
            found = self._solved(right, np.concatenate([free, count]), most=_INF)
            assert found is not None  # all may be left
            least = float(found[0][width:].sum())
            cost = np.concatenate([cost, 0.0 * count])
            found = self._solved(right, cost, most=least + _UNSERVED) or found
        values, gap = found
        return self._checked(values[:width], right - self._left(values)), values[width:], gap

    def _left(self, values: FloatArray) -> FloatArray:
        """Unserved demand as what it takes off the right side."""
        left = np.zeros(len(self.lines))
        left[: len(self.demands)] = values[len(self.columns) :]
        return left

    def _solved(
        self, right: FloatArray, cost: FloatArray, *, most: float
    ) -> tuple[FloatArray, float] | None:
        """Columns, with unserved demand behind them, and the gap; None where there are none."""
        solver = silent_highs({"mip_rel_gap": GAP, "mip_abs_gap": 0.0, "time_limit": _LONGEST_S})
        solver.passModel(self._programme(right, cost, most))
        solver.run()
        status, info = solver.getModelStatus(), solver.getInfo()
        if status in _NONE:
            return None
        if info.primal_solution_status != 2:
            raise SolverError(
                f"whole replicas of a fleet were not found within {_LONGEST_S:g} s",
                "evaluate it with replicas as fractions",
            )
        value, bound = info.objective_function_value, info.mip_dual_bound
        gap = max(value - bound, 0.0) / max(abs(value), _FREE) if self.whole.any() else 0.0
        return np.array(solver.getSolution().col_value), gap

    def _programme(self, right: FloatArray, cost: FloatArray, most: float) -> Any:
        """The rows as HiGHS takes them, with unserved demand in columns and one row of its own."""
        served, width = len(self.demands), len(self.columns)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = width + served, len(self.lines) + 1
        lp.col_cost_ = cost
        lp.col_lower_ = np.zeros(lp.num_col_)
        lp.col_upper_ = np.full(lp.num_col_, _INF)
        lp.row_lower_ = np.concatenate([right[:served], np.full(lp.num_row_ - served, -_INF)])
        lp.row_upper_ = np.append(right, most)
        fill(lp, *self._entries)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[whole] for whole in (*self.whole.tolist(), *[False] * served)]
        return lp

    @cached_property
    def _entries(self) -> tuple[list[int], list[int], list[float]]:
        """The matrix, which is the same for every fleet: where each row starts, columns, values."""
        served, width = len(self.demands), len(self.columns)
        place = {column: j for j, column in enumerate(self.columns)}
        starts, index, value = [0], list[int](), list[float]()
        for r, line in enumerate(self.lines):
            index += [place[column] for column in line.coefficients]
            value += line.coefficients.values()
            if r < served:
                index.append(width + r)
                value.append(1.0)
            starts.append(len(index))
        index += range(width, width + served)
        value += [1.0] * served
        return [*starts, len(index)], index, value

    def _checked(self, values: FloatArray, right: FloatArray) -> FloatArray:
        """Whole numbers, no more replicas than the flows need, and every row kept.

        Raises:
            SolverError: a row is broken.
        """
        found = dict(zip(self.columns, np.maximum(values, 0.0).tolist(), strict=True))
        counted = [c for c, whole in zip(self.columns, self.whole, strict=True) if whole]
        found |= {column: float(round(found[column])) for column in counted}
        needed: dict[Label, float] = {}
        for line in self.lines:
            if isinstance(line.label, Capacity):
                replica = next(c for c in line.coefficients if isinstance(c, Replicas))
                load = sum(a * found[c] for c, a in line.coefficients.items() if c != replica)
                needed[replica] = max(needed.get(replica, 0.0), load)
        for column in needed.keys() & set(counted):
            found[column] = min(found[column], float(np.ceil(needed[column] - _ROUNDING)))
        for r, line in enumerate(self.lines):
            terms = [a * found[c] for c, a in line.coefficients.items()]
            off = sum(terms) - right[r]
            off = abs(off) if r < len(self.demands) else off
            if off > _ROUNDING * max([1.0, abs(right[r]), *map(abs, terms)]):
                raise SolverError(
                    "whole replicas of a fleet break a row of their own programme",
                    "this is a bug: please report it with the scenario",
                )
        return np.array([found[column] for column in self.columns])


def whole_parts(m: FleetModel) -> tuple[WholePart, ...]:
    """The parts of the routing problem of a model, with replicas whole."""
    return tuple(_part(m, lines) for lines in components(model_lines(m)))


def _part(m: FleetModel, lines: Sequence[Line]) -> WholePart:
    ordered, columns = in_order(lines)
    integral = np.array([m.columns[column].cat == pulp.LpInteger for column in columns], dtype=bool)
    demands = tuple(line.label for line in ordered if isinstance(line.label, Demand))
    return WholePart(columns, tuple(ordered), integral, demands)
