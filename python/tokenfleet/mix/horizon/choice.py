"""The choice of a state for every node of a horizon, of which few are worked out.

1. The relaxation over what is known of all states is solved; the states that it uses are looked at,
   first by a relaxation of their own and then whole; so on until it uses none that is not known.
2. The best choice among states that are worked out is a plan, often as good as the relaxation.
3. The whole choice is made by HiGHS, from which states that no better plan uses are left out by
   their reduced cost; what it uses is worked out, and that is a plan.
4. So on until a choice uses nothing new: its bound is then that of the whole model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import highspy
import numpy as np
import pulp
from numpy.typing import NDArray

from tokenfleet.mix.horizon.facts import FloatArray
from tokenfleet.mix.horizon.risk import settled
from tokenfleet.mix.horizon.states import (
    WORKED_OUT,
    IntArray,
    Operation,
    States,
)
from tokenfleet.mix.model.index import Future, InService
from tokenfleet.mix.model.stock import node_of
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import bound_of, fill, power_of_two, sides_of, wait_for
from tokenfleet.mix.solver.silent import silent_highs
from tokenfleet.problem_data import Systems, Used

_USED = 1e-6  # a state with this weight is used
_PART = 0.1  # of the wanted gap, to which a state is worked out
_ROUNDS = 200
_RELAXED = 0.3  # of the time, after which a plan is looked for before the relaxation is closed
_LOOK_S = 5.0  # between two looks
_ONE = 0.2  # of the time that is left, for one state
_OFF = 1e-6  # relative, between a value and what its columns add up to
_INF = highspy.kHighsInf


class _Rows:
    """Rows as they are added, after sides that are known already."""

    def __init__(self, low: FloatArray, up: FloatArray) -> None:
        self.low, self.up = low.tolist(), up.tolist()
        self.starts, self.index, self.value = [0], list[int](), list[float]()

    def add(
        self, columns: Any, values: Any, low: float | None = None, up: float | None = None
    ) -> None:
        """A row; its sides, where they are not known already."""
        self.index += np.asarray(columns, dtype=np.int64).tolist()
        self.value += np.asarray(values, dtype=float).tolist()
        self.starts.append(len(self.index))
        if low is not None and up is not None:
            self.low.append(low)
            self.up.append(up)


class Choice:
    """The model of states in HiGHS; costs of states rise as they are worked out."""

    def __init__(self, states: States) -> None:
        self.states = states
        self.first: list[int] = []  # first column of each operation's states
        self.columns = len(states.kept)
        for operation in states.operations:
            largest = int(operation.keys.sum(axis=1).argmax())
            if not operation.touched[largest]:
                operation.relax(largest)
            self.first.append(self.columns)
            self.columns += len(operation.states)
        self.closed = np.zeros(self.columns, dtype=bool)
        costs = self._costs(states.costs[states.kept])
        costs = np.where(np.isfinite(costs), costs, 0.0)
        self.factor = power_of_two(float(np.abs(costs).max(initial=0.0)))
        self.totals: dict[int, int] = {}  # node -> its row that adds its cost up
        self.told = costs[len(states.kept) :]  # of every state, in that row
        self.solver = silent_highs({"threads": 1, "mip_rel_gap": 0.0})
        self.solver.passModel(self._programme(self.factor * self._in_objective(costs)))
        self.basis: Any = None  # of the last relaxation, while whole choices are made

    def _programme(self, costs: FloatArray) -> Any:
        """Columns and rows that stay, then a column for every state."""
        matrix, kept = self.states.matrix, self.states.kept
        lp, rows = highspy.HighsLp(), _Rows(*sides_of(matrix, self.states.rows))
        at = np.full(len(matrix.names), -1)
        at[kept] = np.arange(len(kept))
        node_of_row = {r: u for u, r in self.states.totals.items()}
        for i, r in enumerate(self.states.rows):
            here = slice(matrix.starts[r], matrix.starts[r + 1])
            places = at[matrix.columns[here]]
            stays = places >= 0
            columns, values = [places[stays]], [matrix.values[here][stays]]
            if r in node_of_row:
                self.totals[node_of_row[r]] = i
                found, paid = self._paid_in(node_of_row[r])
                columns.append(found)
                values.append(paid)
            rows.add(np.concatenate(columns), np.concatenate(values))
        for operation, first in zip(self.states.operations, self.first, strict=True):
            self._hold_states(rows, operation, first, at)
        own = [matrix.variables[j] for j in kept]
        states = self.columns - len(kept)
        lp.num_col_, lp.num_row_ = self.columns, len(rows.low)
        lp.col_cost_ = costs
        lp.col_lower_ = np.array([*(bound_of(v.lowBound, -_INF) for v in own), *([0.0] * states)])
        lp.col_upper_ = np.array([*(bound_of(v.upBound, _INF) for v in own), *([1.0] * states)])
        lp.row_lower_, lp.row_upper_ = np.array(rows.low), np.array(rows.up)
        lp.offset_ = self.factor * self.states.m.prob.objective.constant
        fill(lp, rows.starts, rows.index, rows.value)
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        whole = [matrix.integral[j] for j in kept] + [True] * states
        lp.integrality_ = [kinds[is_whole] for is_whole in whole]
        return lp

    def _hold_states(self, rows: _Rows, operation: Operation, first: int, at: IntArray) -> None:
        """One state of a node; each pool holds the systems of it, or more."""
        m, index = self.states.m, self.states.matrix.index
        count = len(operation.states)
        rows.add(np.arange(first, first + count), np.ones(count), 1.0, 1.0)
        for i, p in enumerate(operation.pools):
            standing = [
                at[index[variable.name]]
                for label, variable in m.of(Systems).items()
                if m.problem.offers[label.offer].pool == p
                and node_of(m.problem, label) == operation.node
            ]
            held = np.flatnonzero(operation.states[:, i])
            value = np.concatenate([np.ones(len(standing)), -operation.states[held, i]])
            rows.add(np.concatenate([standing, held + first]), value, 0.0, _INF)

    def _paid_in(self, u: int) -> tuple[IntArray, FloatArray]:
        """Columns of the states of a node, and what each costs if things come to there."""
        first = len(self.states.kept)
        for operation, start in zip(self.states.operations, self.first, strict=True):
            if operation.node == u:
                columns = np.arange(start, start + len(operation.states))
                return columns, self.told[columns - first] / self.states.probability(u)
        return np.zeros(0, dtype=np.int64), np.zeros(0)

    def _in_objective(self, costs: FloatArray) -> FloatArray:
        """What the objective counts of costs."""
        first = len(self.states.kept)
        return np.concatenate([costs[:first], self.states.share * costs[first:]])

    def _costs(self, of_kept: FloatArray) -> FloatArray:
        return np.concatenate([of_kept, *(o.costs() for o in self.states.operations)])

    def reprice(self) -> None:
        """Costs of all states as they are known by now; those without a plan are closed."""
        first = len(self.states.kept)
        costs = self._costs(np.zeros(0))
        none = costs == math.inf
        index = np.arange(first, self.columns, dtype=np.int32)
        paid = np.where(none, 0.0, costs)
        self.solver.changeColsCost(len(index), index, self.factor * self.states.share * paid)
        if self.totals:
            self._tell(paid)
        self.close(np.flatnonzero(none) + first)

    def _tell(self, paid: FloatArray) -> None:
        """What states cost by now, in the rows that add up what nodes cost."""
        first = len(self.states.kept)
        for operation, start in zip(self.states.operations, self.first, strict=True):
            row, share = self.totals[operation.node], self.states.probability(operation.node)
            here = slice(start - first, start - first + len(operation.states))
            for i in np.flatnonzero(paid[here] != self.told[here]).tolist():
                self.solver.changeCoeff(row, start + i, float(paid[start - first + i] / share))
        self.told = paid

    def close(self, columns: IntArray) -> None:
        """No plan uses these states."""
        new = [int(j) for j in columns if not self.closed[j]]
        for j in new:
            self.solver.changeColBounds(j, 0.0, 0.0)
        self.closed[new] = True

    def _have_plans(self) -> NDArray[np.bool_]:
        """Which states were worked out and have a plan."""
        found = []
        for operation in self.states.operations:
            has = np.zeros(len(operation.keys), dtype=bool)
            has[list(operation.plans)] = True
            found.append(has[operation.key_of])
        return np.concatenate(found) & ~self.closed[len(self.states.kept) :]

    def _open_to(self, shut: NDArray[np.bool_]) -> None:
        """States that may be used for now."""
        index = np.arange(len(self.states.kept), self.columns, dtype=np.int32)
        low, up = np.zeros(len(index)), np.where(shut, 0.0, 1.0)
        self.solver.changeColsBounds(len(index), index, low, up)

    def relax(self, seconds: float) -> tuple[float, FloatArray, FloatArray] | None:
        """Value, columns and reduced costs of the relaxation; None where it has none in time."""
        solver = self.solver
        if self.basis is not None:
            solver.setBasis(self.basis)
        solver.setOptionValue("solve_relaxation", True)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(seconds, 0.05))
        if wait_for(solver):
            raise KeyboardInterrupt
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        self.basis = solver.getBasis()
        solution = solver.getSolution()
        value = solver.getInfo().objective_function_value / self.factor
        return value, np.array(solution.col_value), np.array(solution.col_dual) / self.factor

    def prices(self) -> dict[str, float]:
        """Duals of what is in service, and of futures at risk, in the relaxation that was just
        solved, by name of row."""
        duals, rows = self.solver.getSolution().row_dual, self.states.matrix.rows
        return {
            rows[r].name: duals[i] / self.factor
            for i, r in enumerate(self.states.rows)
            if isinstance(self.states.m.rows[rows[r].name], InService | Future)
        }

    def choose(
        self, seconds: float, gap: float, start: FloatArray | None, *, known: bool = False
    ) -> tuple[float, FloatArray | None, bool]:
        """Bound, columns of a whole choice, and whether the user stopped it; `known` chooses among
        states that have a plan, and then there is no bound."""
        solver = self.solver
        solver.clearSolver()
        if known:
            self._open_to(~self._have_plans())
            try:
                _, found, stopped = self.choose(seconds, gap, None)
            finally:
                self._open_to(self.closed[len(self.states.kept) :])
            return -math.inf, found, stopped
        solver.setOptionValue("solve_relaxation", False)
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(seconds, 0.05))
        if start is not None:
            given = highspy.HighsSolution()
            given.col_value, given.value_valid = start.tolist(), True
            solver.setSolution(given)
        stopped = wait_for(solver)
        info = solver.getInfo()
        bound = info.mip_dual_bound / self.factor
        if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            bound = math.inf
        found = None
        if info.primal_solution_status == 2:
            found = np.array(solver.getSolution().col_value)
            lp, value = solver.getLp(), info.objective_function_value
            paid = lp.offset_ + float(np.dot(lp.col_cost_, found))
            if start is not None and not stopped and abs(paid - value) > _OFF * max(abs(value), 1):
                # HiGHS 1.16, where presolve alone solves a model, hands back the start
                return self.choose(seconds, gap, None)
        return bound if not math.isnan(bound) else -math.inf, found, stopped

    def used(self, columns: FloatArray) -> list[tuple[Operation, int]]:
        """States that a solution uses, by number."""
        return [
            (operation, int(i))
            for operation, first in zip(self.states.operations, self.first, strict=True)
            for i in np.flatnonzero(columns[first : first + len(operation.states)] > _USED)
        ]


def search_states(states: States, effort: Effort, best: Incumbent) -> None:
    """Work out states until the gap is reached, nothing new is used, or the time is over; plan and
    bound go to `best`."""
    _Search(states, effort, best).run()


class _Search:
    """The steps of the module's text; a first plan is waited for."""

    def __init__(self, states: States, effort: Effort, best: Incumbent) -> None:
        self.states = states
        self.effort = effort
        self.best = best
        self.choice = Choice(states)
        self.start: FloatArray | None = None
        self.cut = False  # states that no better plan uses are left out
        self.looked = effort.part(_RELAXED)  # until a plan is looked for while others are not done

    def run(self) -> None:
        """All steps."""
        best, choice = self.best, self.choice
        choice.reprice()
        for _ in range(_ROUNDS):
            relaxed = self.relax()
            if relaxed is None or best.done() or self.is_over():
                return
            self.plan_of_known(relaxed)
            if best.done() or best.interrupted or self.is_over():
                return
            bound, found, stopped = choice.choose(self.left(), self.effort.gap / 4, self.start)
            best.interrupted |= stopped
            best.prove(bound)
            if found is None:
                return
            new = self.work_out(choice.used(found), whole=True)
            self.offer(found)
            if best.done() or stopped or not new:
                return

    def left(self) -> float:
        """Seconds for a step; a first plan is waited for."""
        effort = self.effort if self.best.plan is not None else self.effort.first()
        return effort.left()

    def for_one(self) -> float:
        """Seconds for one state: where nobody waits, a hard one leaves time for others."""
        return self.left() * (1.0 if self.effort.patient else _ONE)

    def is_over(self) -> bool:
        """Whether the time is, with a plan in hand where one is waited for."""
        waits = self.best.plan is None and self.effort.patient
        return self.effort.left() <= 0 and not waits

    def relax(self) -> tuple[float, FloatArray] | None:
        """Value and reduced costs of the relaxation when it uses nothing new, or when the time is
        over; None where it has no solution in time."""
        while True:
            relaxed = self.choice.relax(self.left())
            if relaxed is None:
                return None
            value, columns, reduced = relaxed
            self.best.prove(value)
            if not self.cut:  # prices of all states, not of those alone that are left
                self.best.row_duals = self.choice.prices()
            new = not (self.best.done() or self.is_over()) and self.work_out(
                self.choice.used(columns), whole=False
            )
            if not new:
                return value, reduced
            if self.best.plan is None and self.looked.left() <= 0:
                self.plan_of_known(None)
                self.looked = self.effort.part(0.0, least_s=_LOOK_S)

    def plan_of_known(self, relaxed: tuple[float, FloatArray] | None) -> None:
        """The best plan of states that are worked out; others that no better plan uses are closed,
        where the relaxation tells them."""
        _, found, stopped = self.choice.choose(self.left(), self.effort.gap / 4, None, known=True)
        self.best.interrupted |= stopped
        if found is not None:
            self.offer(found)
        if relaxed is not None:
            self.cut |= _close(self.choice, self.best, *relaxed)

    def offer(self, found: FloatArray) -> None:
        """The plan of a choice, if its states have plans."""
        plan, value = _plan(self.states, self.choice, found), self.best.value
        if plan is not None:
            plan = settled(self.states.m, plan)
            self.best.offer_plan(plan)
            if self.best.value != value:
                self.start = found

    def work_out(self, used: Iterable[tuple[Operation, int]], *, whole: bool) -> bool:
        """Work out states by their own problems; whether anything was new."""
        new: dict[int, list[tuple[Operation, int]]] = {}
        for operation, i in used:
            k = int(operation.key_of[i])
            if operation.touched[k] < WORKED_OUT:
                new.setdefault(operation.node, []).append((operation, k))
        if not new:
            return False
        best, effort = self.best, self.effort
        scale = abs(best.value) if best.plan is not None else abs(best.bound)
        sure = sum(self.states.probability(o.node) for o in self.states.operations)
        gap_usd = _PART * max(effort.gap, 1e-9) * scale / sure  # if things come to a node

        def of_node(found: Sequence[tuple[Operation, int]]) -> None:
            for operation, k in found:
                if self.is_over():
                    return
                if operation.touched[k] == 0 and not whole:
                    operation.relax(k)
                else:
                    share = self.states.probability(operation.node)
                    operation.work_out(k, share * gap_usd, self.for_one())

        with ThreadPoolExecutor(2) as executor:
            list(executor.map(of_node, new.values()))
        self.choice.reprice()
        return True


def _close(choice: Choice, best: Incumbent, value: float, reduced: FloatArray) -> bool:
    """Closes states that no better plan uses, by their reduced cost; whether there are any."""
    if best.plan is None:
        return False
    first = len(choice.states.kept)
    over = value + reduced[first:] > best.value + 1e-6 * abs(best.value)
    choice.close(np.flatnonzero(over) + first)
    return bool(over.any())


def _plan(states: States, choice: Choice, columns: FloatArray) -> dict[str, float] | None:
    """The whole plan of a choice; None where a state has no plan of its own."""
    m, matrix = states.m, states.matrix
    plan = {
        matrix.names[j]: _whole(matrix.integral[j], value)
        for j, value in zip(states.kept.tolist(), columns.tolist(), strict=False)
    }
    for operation, i in choice.used(columns):
        _, places = operation.same(operation.states[i].tolist())
        values = operation.plans.get(int(operation.key_of[i]))
        if values is None:
            return None
        pool_at = {operation.pools[slot]: operation.pools[at] for at, slot in enumerate(places)}
        for value, j in zip(values.tolist(), operation.columns, strict=True):
            own: Any = states.labels[j]
            pool = getattr(own, "pool", None)
            column = m.columns[own._replace(pool=pool_at[pool]) if pool in pool_at else own]
            plan[column.name] = _whole(column.cat == pulp.LpInteger, value)
        for label, column in m.of(Used).items():
            if node_of(m.problem, label) == operation.node:
                standing = m.systems(label.pool, label.scope)
                plan[column.name] = float(any(plan[v.name] > 0.5 for v in standing))
    return plan


def _whole(is_whole: bool, value: float) -> float:
    return float(round(value)) if is_whole else value
