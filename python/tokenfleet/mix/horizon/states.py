r"""Small fleets: whole periods, by how many systems stand in them.

Only the numbers of systems link the nodes of a horizon, and a small fleet has few of them that fit
its power and its racks: its states. What a node costs in a state is a small problem of its own,

    g[u, x] = least cost of replicas, flows and API in node u with x[p] usable systems in pool p

and the horizon becomes a choice of one state a node beside the stock that holds it:

    min   stock + sum over u, x of g[u, x] z[u, x]
    s.t.  sum over x of z[u, x] = 1,     systems[p, u] >= sum over x of x[p] z[u, x]

Its relaxation knows that replicas are whole, which that of the whole model does not: the enterprise
of `examples/` over four quarters goes from 451 to 539 thousand USD a year, and the plan costs 539.
What a state costs may be taken too low without harm as long as no plan uses it, so few are worked
out (`choice`): the relaxation in one state bounds all, and more systems never make g dearer (what
stands idle is paid in the stock).

With risk the objective counts a share of the mean cost and what the bad futures cost, which grows
with what each node costs: g is then the same, and z has it in the row that adds the node's cost up.

Nodes whose numbers need not be whole keep their own columns. What ties replicas of several nodes
together, or systems to something else, leaves no states: see `states_of`.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import highspy
import numpy as np
import pulp
from numpy.typing import NDArray

from tokenfleet.mix.horizon.combine import in_node
from tokenfleet.mix.horizon.facts import Facts, FloatArray, Memory, State
from tokenfleet.mix.model import FleetModel, Label, limits
from tokenfleet.mix.model.index import NodeTotal
from tokenfleet.mix.model.objectives import goal_coefficients
from tokenfleet.mix.model.stock import node_of
from tokenfleet.mix.solver.highs import (
    Matrix,
    bound_of,
    compiled,
    fill,
    power_of_two,
    sides_of,
)
from tokenfleet.mix.solver.silent import silent_highs
from tokenfleet.problem_data import (
    AtRisk,
    Held,
    NodeCost,
    Ordered,
    Placed,
    Racks,
    Systems,
    Tail,
    Unmet,
    Used,
)

MOST = 6_000  # states of a node, above which they are not worked out
_STAYS = (Ordered, Held, Placed, NodeCost, AtRisk, Tail)  # columns of no node's own business
_INSIDE = {"used_for", "replica_cut", "system_cut"} | {
    name
    for family in limits.FAMILIES
    if family.over in ("requests", "reserve")
    for name in (family.name, *family.more_rows)
}
RELAXED, WORKED_OUT = 1, 2  # how well a state is known
_INF = highspy.kHighsInf
_DIGITS = 9  # of costs of at most a thousand: problems as near as this are one
_SOLVED = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kInfeasible)

IntArray = NDArray[np.int64]


@dataclass(eq=False)
class Operation:
    """A node's own problem: what it costs with so many systems in its pools.

    `keys` are the states of which no two are alike; `least` what each costs at least.
    """

    node: int
    pools: list[int]
    alike: list[int]  # pools of one number are the same inside
    columns: list[int]  # of the model, inside the node
    solver: Any
    factor: float
    facts: Facts = field(default_factory=Facts)
    states: IntArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    key_of: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    keys: IntArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    least: FloatArray = field(default_factory=lambda: np.zeros(0))
    touched: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    plans: dict[int, FloatArray] = field(default_factory=dict)  # of the columns inside, by key

    def hold(self, states: Sequence[State], least: float) -> None:
        """The states that there are; none costs less than `least`."""
        numbers: dict[State, int] = {}
        keys = [self.same(state)[0] for state in states]
        for key in keys:
            numbers.setdefault(key, len(numbers))
        self.states = np.array(states, dtype=np.int64).reshape(len(states), len(self.pools))
        self.key_of = np.array([numbers[key] for key in keys], dtype=np.int64)
        self.keys = np.array(list(numbers), dtype=np.int64).reshape(len(numbers), len(self.pools))
        self.least = np.full(len(numbers), least)
        self.touched = np.zeros(len(numbers), dtype=np.int8)
        for key, (usd, prices) in self.facts.relaxed.items():
            self._changes_by(key, usd, prices)
            if key in numbers:
                self.touched[numbers[key]] = RELAXED
        for key, (usd, plan) in self.facts.worked_out.items():
            self._costs_at_least(key, usd)
            if key in numbers:
                self.touched[numbers[key]] = WORKED_OUT
                if plan is not None:
                    self.plans[numbers[key]] = plan

    def same(self, state: Sequence[int]) -> tuple[State, list[int]]:
        """The one state of those that are alike which is worked out, and whose place each pool
        takes in it."""
        found, places = list(state), [0] * len(state)
        taken: dict[int, list[int]] = {}
        for i, kind in enumerate(self.alike):
            taken.setdefault(kind, []).append(i)
        for slots in taken.values():
            for slot, i in zip(slots, sorted(slots, key=lambda i: -state[i]), strict=True):
                found[slot], places[i] = state[i], slot
        return tuple(found), places

    def costs(self) -> FloatArray:
        """What each state costs at least."""
        return self.least[self.key_of]

    def relax(self, k: int) -> None:
        """The relaxation in one state bounds all: its cost changes by no less than its prices."""
        solver = self._at(k)
        solver.setOptionValue("solve_relaxation", True)
        solver.run()
        self.touched[k] = max(self.touched[k], RELAXED)
        if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
            prices = np.array(solver.getSolution().col_dual[len(self.columns) :])
            usd = solver.getInfo().objective_function_value
            key = self._key(k)
            self.facts.relaxed[key] = (usd, prices)
            self._changes_by(key, usd, prices)

    def work_out(self, k: int, gap_usd: float, seconds: float) -> None:
        """Solve the node in a state, and tell all smaller ones what they cost at least."""
        solver, first = self._at(k), len(self.columns)
        solver.setOptionValue("solve_relaxation", False)
        solver.setOptionValue("mip_abs_gap", gap_usd * self.factor)
        solver.setOptionValue("time_limit", solver.getRunTime() + max(seconds, 0.05))
        solver.clearSolver()
        solver.run()
        self.touched[k] = WORKED_OUT
        status, info = solver.getModelStatus(), solver.getInfo()
        least, plan = -math.inf, None
        if status == highspy.HighsModelStatus.kInfeasible:
            least = math.inf
        elif info.primal_solution_status == 2:
            usd = info.objective_function_value
            bound = info.mip_dual_bound
            least = min(bound, usd) if math.isfinite(bound) else -math.inf
            plan = np.array(solver.getSolution().col_value[:first])
            self.plans[k] = plan
        if status in _SOLVED:
            self.facts.worked_out[self._key(k)] = (least, plan)
        self._costs_at_least(self._key(k), least)

    def _changes_by(self, key: State, usd: float, prices: FloatArray) -> None:
        """What the relaxation in one state says of all of them."""
        bounds = (usd + (self.keys - np.array(key, dtype=np.int64)) @ prices) / self.factor
        self.least = np.maximum(self.least, bounds)

    def _costs_at_least(self, key: State, usd: float) -> None:
        """What a state costs at least, and so every one with fewer systems."""
        smaller = (self.keys <= np.array(key, dtype=np.int64)).all(axis=1)
        self.least[smaller] = np.maximum(self.least[smaller], usd / self.factor)

    def _key(self, k: int) -> State:
        return tuple(self.keys[k].tolist())

    def _at(self, k: int) -> Any:
        first = len(self.columns)
        for i, count in enumerate(self.keys[k].tolist()):
            self.solver.changeColBounds(first + i, float(count), float(count))
        return self.solver


@dataclass(eq=False)
class States:
    """A horizon as states: the nodes that have them, and the columns and rows that stay.

    `share` is what the objective counts of the mean cost: 1 without risk. With risk the row that
    adds a node's cost up has the states of the node in place of its own columns.
    """

    m: FleetModel
    matrix: Matrix
    labels: list[Label]  # of the columns
    costs: FloatArray  # of columns that stay in the objective; of others their mean cost
    share: float
    kept: IntArray  # columns of the model that stay
    rows: list[int]  # rows of the model that stay
    totals: dict[int, int]  # node -> the row that adds its cost up, with risk
    memory: Memory
    operations: list[Operation] = field(default_factory=list)

    def probability(self, u: int) -> float:
        """How likely things come to a node."""
        horizon = self.m.problem.horizon
        assert horizon is not None
        return horizon.nodes[u].probability


def states_of(m: FleetModel, memory: Memory | None = None) -> States | None:
    """The states of a model whose whole nodes have few; None where they have too many, or where
    something but systems ties what happens inside a node to anything else. `memory` has what is
    known of their problems, and is told what is found."""
    horizon = m.problem.horizon
    if horizon is None or m.prob.sense != pulp.LpMinimize:
        return None
    matrix = compiled(m.prob)
    labels = _labels(m, matrix)
    firm = [u for u, node in enumerate(horizon.nodes) if node.firm]
    by_stock = _pools_by_stock(m)
    if any(isinstance(label, Unmet) for label in labels) or not by_stock:
        return None
    inside = _inside(m, labels, set(firm), by_stock)
    sorted_rows = _rows_by_node(m, matrix, labels, inside)
    if sorted_rows is None:
        return None
    local, rest = sorted_rows
    costs, share = _costs(m, matrix, np.array(inside) >= 0)
    kept = np.flatnonzero([u < 0 for u in inside])
    totals = _totals(m, matrix)
    states = States(m, matrix, labels, costs, share, kept, rest, totals, memory or Memory())
    for u in firm:
        columns = [j for j, node in enumerate(inside) if node == u]
        operation = _operation(states, u, columns, local.get(u, []))
        if operation is None:
            return None
        fitting = list(itertools.islice(_states(states, operation), MOST + 1))
        if len(fitting) > MOST:
            return None
        operation.hold(fitting, _least(matrix, costs, columns))
        states.operations.append(operation)
    return states


def _costs(m: FleetModel, matrix: Matrix, inside: NDArray[np.bool_]) -> tuple[FloatArray, float]:
    """What the objective says of columns that stay, the mean cost of those inside nodes, and which
    share of that the objective counts."""
    costs = np.zeros(len(matrix.names))
    for variable, usd in m.prob.objective.items():
        costs[matrix.index[variable.name]] = usd
    if not m.of(AtRisk):
        return costs, 1.0
    mean = np.zeros(len(matrix.names))
    for label, usd in goal_coefficients(m, m.problem.objective.goal)[0].items():
        mean[matrix.index[m.columns[label].name]] = usd
    j = int(np.where(inside, np.abs(mean), 0.0).argmax())
    return np.where(inside, mean, costs), float(costs[j] / mean[j]) if mean[j] else 0.0


def _totals(m: FleetModel, matrix: Matrix) -> dict[int, int]:
    """The rows that add up what nodes cost, by node."""
    labels = ((r, m.rows[row.name]) for r, row in enumerate(matrix.rows))
    return {label.node: r for r, label in labels if isinstance(label, NodeTotal)}


def _least(matrix: Matrix, costs: FloatArray, columns: Sequence[int]) -> float:
    """No plan of a node costs less: every column at the cheaper of its bounds."""
    total = 0.0
    for j in columns:
        variable, usd = matrix.variables[j], float(costs[j])
        if usd:
            total += usd * (bound_of(variable.lowBound, -math.inf) if usd > 0 else
                            bound_of(variable.upBound, math.inf))  # fmt: skip
    return total


def _labels(m: FleetModel, matrix: Matrix) -> list[Label]:
    found: list[Any] = [None] * len(matrix.names)
    for label, variable in m.columns.items():
        if variable.name in matrix.index:
            found[matrix.index[variable.name]] = label
    return found


def _pools_by_stock(m: FleetModel) -> set[int]:
    """Pools whose systems come from orders, and in which something may run."""
    offers = m.problem.offers
    return {offer.pool for offer in offers if offer.stock is not None and m.eligible[offer.pool]}


def _inside(
    m: FleetModel, labels: Sequence[Label], firm: set[int], by_stock: set[int]
) -> list[int]:
    """The whole node whose own business a column is; -1 for what stays."""
    of_stock = {o for o, offer in enumerate(m.problem.offers) if offer.stock is not None}
    pools = {m.problem.offers[o].pool for o in of_stock}
    found = []
    for label in labels:
        stays = (
            isinstance(label, _STAYS)
            or (isinstance(label, Systems) and m.problem.offers[label.offer].pool in pools)
            or (isinstance(label, Racks) and label.pool in pools)
            or (isinstance(label, Used) and label.pool in pools - by_stock)
        )
        u = -1 if stays else node_of(m.problem, label)
        found.append(u if u in firm else -1)
    return found


def _rows_by_node(
    m: FleetModel, matrix: Matrix, labels: Sequence[Label], inside: Sequence[int]
) -> tuple[dict[int, list[int]], list[int]] | None:
    """Rows inside each node, and the rest; None where a row ties the inside to anything else than
    the systems of its node, or is easier with fewer of them."""
    local: dict[int, list[int]] = {}
    rest = []
    for r in range(len(matrix.rows)):
        entries = _entries(matrix, r)
        nodes = {inside[j] for j, _ in entries} - {-1}
        if not nodes or isinstance(m.rows[matrix.rows[r].name], NodeTotal):
            rest.append(r)
            continue
        u = nodes.pop()
        outside = [(labels[j], a) for j, a in entries if inside[j] < 0]
        if nodes or not _may_link(m, matrix.rows[r], u, outside):
            return None
        local.setdefault(u, []).append(r)
    return local, rest


def _entries(matrix: Matrix, r: int) -> list[tuple[int, float]]:
    """Column and coefficient of a row."""
    here = slice(matrix.starts[r], matrix.starts[r + 1])
    return list(zip(matrix.columns[here].tolist(), matrix.values[here].tolist(), strict=True))


def _may_link(m: FleetModel, row: Any, u: int, outside: Iterable[tuple[Label, float]]) -> bool:
    """Whether a row inside a node looks outside at its systems only, and is no harder with more:
    a reserve of one, which a pool holds in its first system."""
    family = m.rows[row.name].family
    sign = 1.0 if row.sense == pulp.LpConstraintLE else -1.0
    for label, a in outside:
        if not isinstance(label, Systems) or node_of(m.problem, label) != u:
            return False
        reserve = m.problem.pools[m.problem.offers[label.offer].pool].reserve
        if sign * a > 0 and not (family == "reserve" and reserve <= 1):
            return False
    return family in _INSIDE


def _operation(states: States, u: int, columns: list[int], rows: Sequence[int]) -> Operation | None:
    """The problem of a node in HiGHS: its own columns, then one for the systems of each pool."""
    m, matrix, labels, costs = states.m, states.matrix, states.labels, states.costs
    at = {j: i for i, j in enumerate(columns)}
    pools: list[int] = []
    starts, index, value = [0], list[int](), list[float]()
    for r in rows:
        of_pool: dict[int, float] = {}
        for j, a in _entries(matrix, r):
            if j in at:
                index.append(at[j])
                value.append(a)
                continue
            p = _pool_of(m, labels[j])
            if of_pool.setdefault(p, a) != a:
                return None
        for p, a in of_pool.items():
            if p not in pools:
                pools.append(p)
            index.append(len(columns) + pools.index(p))
            value.append(a)
        starts.append(len(index))
    if any(m.problem.pools[p].reserve > 1 for p in pools):
        return None
    share = states.probability(u)
    largest = float(np.abs(costs[columns]).max(initial=0.0)) if columns else 0.0
    factor = power_of_two(largest / share) / share  # costs if things come to there
    own = [matrix.variables[j] for j in columns]
    cost = np.concatenate([factor * costs[columns], np.zeros(len(pools))])
    low = np.array([*(bound_of(v.lowBound, -_INF) for v in own), *(0.0 for _ in pools)])
    up = np.array([*(bound_of(v.upBound, _INF) for v in own), *(0.0 for _ in pools)])
    sides = sides_of(matrix, rows)
    whole = [matrix.integral[j] for j in columns] + [False] * len(pools)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(columns) + len(pools), len(rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, low, up
    lp.row_lower_, lp.row_upper_ = sides
    fill(lp, starts, index, value)
    kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
    lp.integrality_ = [kinds[is_whole] for is_whole in whole]
    solver = silent_highs({"threads": 1, "mip_allow_restart": False, "mip_rel_gap": 0.0})
    solver.passModel(lp)
    alike = _alike(m, u, pools)
    # In other trees the same node has other probabilities, and rounds its costs otherwise.
    numbers = (np.round(cost, _DIGITS), low, up, *sides, starts, index, value, whole)
    digest = hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in numbers)).digest()
    named = in_node(m.problem, u, dict.fromkeys((labels[j] for j in columns), 0.0))
    known = (digest, tuple(pools), tuple(alike), tuple(named))
    return Operation(u, pools, alike, columns, solver, factor, states.memory.of(known))


def _pool_of(m: FleetModel, label: Label) -> int:
    assert isinstance(label, Systems)
    return m.problem.offers[label.offer].pool


def _alike(m: FleetModel, u: int, pools: Sequence[int]) -> list[int]:
    """A number for each pool, the same where nothing inside the node tells two apart."""
    scope = m.problem.in_node(u)
    blocks = m.problem.scopes[scope].blocks
    kinds: dict[Any, int] = {}
    found = []
    for p in pools:
        pool = m.problem.pools[p]
        speed = pool.speed
        kwh = tuple(m.frame.prices.kwh(p, blocks))
        key = (pool.system, pool.site, pool.gpus_per_system, pool.reserve, pool.interruptible,
               pool.elastic, kwh, speed, tuple(m.eligible[p]))  # fmt: skip
        found.append(kinds.setdefault(key, len(kinds)))
    return found


def _states(states: States, operation: Operation) -> Iterator[State]:
    """Numbers of systems that the limits of a node leave room for; a pool holds none, or more than
    its reserve."""
    m, u, pools = states.m, operation.node, operation.pools
    at = {p: i for i, p in enumerate(pools)}
    most = [0.0] * len(pools)
    for label, variable in m.of(Systems).items():
        i = at.get(_pool_of(m, label))
        if i is not None and node_of(m.problem, label) == u:
            most[i] += bound_of(variable.upBound, math.inf)
    limits = list(_limits(states, operation))

    def extend(state: State) -> Iterator[State]:
        if len(state) == len(pools):
            yield state
            return
        i = len(state)
        reserve = m.problem.pools[pools[i]].reserve
        for n in itertools.chain((0,), itertools.count(reserve + 1)):
            longer = (*state, n)
            if n > min(most[i], MOST) or not all(limit.holds(longer) for limit in limits):
                return
            yield from extend(longer)

    return extend(())


@dataclass(frozen=True)
class _Limit:
    """A limit on the systems and racks of a node, by pool of its operation."""

    systems: Mapping[int, float]
    racks: Mapping[int, tuple[float, float]]  # coefficient, systems per rack
    most: float

    def holds(self, state: State) -> bool:
        """Whether the first pools alone keep it."""
        used = sum(a * state[i] for i, a in self.systems.items() if i < len(state))
        used += sum(
            a * math.ceil(state[i] / held - 1e-9)
            for i, (a, held) in self.racks.items()
            if i < len(state)
        )
        return used <= self.most


def _limits(states: States, operation: Operation) -> Iterator[_Limit]:
    """What the rows of systems and racks of a node say of its states."""
    m, matrix, labels = states.m, states.matrix, states.labels
    at = {p: i for i, p in enumerate(operation.pools)}
    for r in states.rows:
        if matrix.rows[r].sense != pulp.LpConstraintLE:
            continue
        systems: dict[int, float] = {}
        racks: dict[int, tuple[float, float]] = {}
        most = -float(matrix.rows[r].constant)
        for j, a in _entries(matrix, r):
            i = _place(m, labels[j], operation.node, at) if a > 0 else None
            if i is None:
                variable = matrix.variables[j]
                low, up = bound_of(variable.lowBound, -_INF), bound_of(variable.upBound, _INF)
                most -= a * (low if a > 0 else up)
            elif isinstance(labels[j], Systems):
                systems[i] = min(systems.get(i, math.inf), a)
            else:
                racks[i] = (a, m.problem.pools[operation.pools[i]].systems_per_rack)
        if (systems or racks) and math.isfinite(most):
            yield _Limit(systems, racks, most + 1e-6 * max(1.0, abs(most)))


def _place(m: FleetModel, label: Label, u: int, at: Mapping[int, int]) -> int | None:
    """The place in a state of the pool whose systems or racks in node u a column counts."""
    if isinstance(label, Systems):
        p = _pool_of(m, label)
    elif isinstance(label, Racks):
        p = label.pool
    else:
        return None
    return at.get(p) if node_of(m.problem, label) == u else None
