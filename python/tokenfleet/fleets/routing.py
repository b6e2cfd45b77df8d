"""The routing of demand through given systems as a linear programme, read off the mix model.

The rows are those of `mix.model`: demand, capacity, pairs of phases, packing, API rates. Systems
are given, so they move to the right side; replicas are relaxed. A column of replicas that one
capacity row bounds is as large as its flows make it, since it takes room and saves nothing: it is
put in by its flows, which is exact. What is left falls into parts that share no column and no row;
each is solved alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet import _core
from tokenfleet.fleets.limits import cannot_judge
from tokenfleet.mix.model import FleetModel, Label, Row, build, limits
from tokenfleet.mix.model.index import (
    Capacity,
    Demand,
)
from tokenfleet.problem_data import (
    HOURS_PER_YEAR,
    SECONDS_PER_HOUR,
    Api,
    FloatArray,
    Flow,
    Problem,
    Replicas,
    Systems,
    Used,
)

# Systems about which fleets lie, over those of the mean type: answers do not depend on it (each is
# certified), the number of pivots does.
_ROOM = 0.9
_Sum = dict[Label, float]


@dataclass(frozen=True, eq=False)
class Part:
    """One linear programme: `A x (=, <=) b0 + per_pool t`; `demands` are rows of equality."""

    columns: tuple[Label, ...]
    a: FloatArray  # (R, C)
    b0: FloatArray  # (R,)
    per_pool: FloatArray  # (R, P) for all pools of the problem
    demands: tuple[Demand, ...]
    usual: FloatArray  # (P,) usable systems about which fleets lie

    def route(
        self,
        usable: FloatArray,
        cost: FloatArray,
        weights: FloatArray,
        demand: float,
        threads: int,
    ) -> dict[str, FloatArray]:
        """Best routing of each fleet: cost (N,), unmet (N, D), figures (N, F), gap (N,)."""
        return _core.route_fleets(
            self.a,
            cost,
            self.b0,
            self.per_pool,
            self.usual,
            weights,
            len(self.demands),
            usable,
            demand,
            threads,
        )


def routing_model(problem: Problem) -> FleetModel:
    """The mix model with every column that may run and the supply of every offer as a row."""
    pairs = frozenset(
        (p, c) for p in range(len(problem.pools)) for c in range(len(problem.candidates))
    )
    return build(problem, relax=frozenset({"supply"}), pairs=pairs)


def routing_parts(m: FleetModel) -> tuple[Part, ...]:
    """The parts of the routing problem of a model."""
    rows = model_lines(m)
    _put_in_flows(m, rows)
    return tuple(_part(m, found) for found in components(rows))


@dataclass(eq=False)
class Line:
    """A row: what it sums, what it may not exceed (or equals, for demand), systems on the right."""

    label: Row
    coefficients: _Sum
    right: float
    pools: dict[int, float]


def model_lines(m: FleetModel) -> list[Line]:
    """The rows over requests, with systems on the right."""
    labels = {v.name: label for label, v in m.columns.items()}
    constraints = {row.name: row for row in m.prob.constraints()}
    lines = []
    for name, label in m.rows.items():
        family = limits.family_of(label)
        if family is None or family.over != "requests":
            continue
        row = constraints[name]
        coefficients: _Sum = {}
        pools: dict[int, float] = {}
        for variable, value in row.items():
            column = labels[variable.name]
            if isinstance(column, Systems):
                p, room = m.problem.offers[column.offer].pool, -float(value)
                if pools.setdefault(p, room) != room:  # it tells the offers of a pool apart
                    raise cannot_judge(family.words or family.name)
            elif not isinstance(column, Used):  # a reserve is taken off the systems before
                coefficients[column] = float(value)
        if row.sense != limits.GE:
            lines.append(Line(label, coefficients, -float(row.constant), pools))
        if row.sense != limits.LE and not isinstance(label, Demand):
            opposite = {column: -value for column, value in coefficients.items()}
            given = {p: -room for p, room in pools.items()}
            lines.append(Line(label, opposite, float(row.constant), given))
        if lines[-1].right < 0:  # the core starts from an empty routing, which must keep every row
            raise cannot_judge(family.words or family.name)
    return lines


def _put_in_flows(m: FleetModel, lines: list[Line]) -> None:
    """Replaces replicas that one capacity row bounds by the load of their flows."""
    bounds: dict[Replicas, list[Line]] = {}
    for line in lines:
        if isinstance(line.label, Capacity):
            replica = next(column for column in line.coefficients if isinstance(column, Replicas))
            bounds.setdefault(replica, []).append(line)
    alone = {replica: found[0] for replica, found in bounds.items() if len(found) == 1}
    for line in lines:
        if isinstance(line.label, Capacity):
            continue
        standing = [la for la in line.coefficients if isinstance(la, Replicas) and la in alone]
        for replica in standing:
            per_replica = line.coefficients.pop(replica)
            for column, load in alone[replica].coefficients.items():
                if column != replica:
                    value = line.coefficients.get(column, 0.0) + per_replica * load
                    line.coefficients[column] = value
    gone = {id(line) for line in alone.values()}
    lines[:] = [line for line in lines if id(line) not in gone]


def components(lines: Sequence[Line]) -> list[list[Line]]:
    """Rows that hang together by columns, in order of their first row."""
    leader: dict[Label | Row, Label | Row] = {}

    def find(column: Label | Row) -> Label | Row:
        while leader[column] != column:
            leader[column] = leader[leader[column]]
            column = leader[column]
        return column

    for line in lines:
        first = _first(line)
        for column in (first, *line.coefficients):
            leader.setdefault(column, column)
            leader[find(column)] = find(first)
    found: dict[Label | Row, list[Line]] = {}
    for line in lines:
        found.setdefault(find(_first(line)), []).append(line)
    return list(found.values())


def _first(line: Line) -> Label | Row:
    """The first column of a row; the row itself where it has none."""
    return next(iter(line.coefficients), line.label)


def in_order(lines: Iterable[Line]) -> tuple[list[Line], tuple[Label, ...]]:
    """The rows of a part, demands first, and their columns."""
    ordered = sorted(lines, key=lambda line: not isinstance(line.label, Demand))
    return ordered, tuple(dict.fromkeys(c for line in ordered for c in line.coefficients))


def _part(m: FleetModel, lines: Iterable[Line]) -> Part:
    ordered, columns = in_order(lines)
    place = {column: j for j, column in enumerate(columns)}
    a = np.zeros((len(ordered), len(columns)))
    per_pool = np.zeros((len(ordered), len(m.problem.pools)))
    for r, line in enumerate(ordered):
        for column, value in line.coefficients.items():
            a[r, place[column]] = value
        for p, value in line.pools.items():
            per_pool[r, p] = value
    b0 = np.array([line.right for line in ordered])
    demands = tuple(line.label for line in ordered if isinstance(line.label, Demand))
    return Part(columns, a, b0, per_pool, demands, _usual(a, b0, per_pool, len(demands)))


def _usual(a: FloatArray, b0: FloatArray, per_pool: FloatArray, demands: int) -> FloatArray:
    """Systems of each pool with room for an equal share of the demand that it can serve."""
    usual = np.zeros(per_pool.shape[1])
    pools = np.flatnonzero(per_pool.any(axis=0))
    for p in pools:
        r = int(np.argmax(per_pool[:, p]))
        for k in range(demands):
            uses = a[r, (a[k] > 0) & (a[r] > 0)]
            if uses.size:
                usual[p] += _ROOM * b0[k] * uses.mean() / per_pool[r, p] / len(pools)
    return usual


# What a unit of a column is worth


def energy_kwh(m: FleetModel, columns: Sequence[Label]) -> FloatArray:
    """IT kWh a year for each unit of the columns."""
    kwh: dict[Label, float] = {}
    for label, _, value in m.it_kwh:
        kwh[label] = kwh.get(label, 0.0) + value
    return with_replicas(m, columns, kwh)


def with_replicas(m: FleetModel, columns: Sequence[Label], of: dict[Label, float]) -> FloatArray:
    """What columns are worth by `of`; flows bear that of the replicas that are not columns."""
    there = set(columns)
    values = np.array([of.get(column, 0.0) for column in columns])
    for j, column in enumerate(columns):
        if isinstance(column, Flow):
            replica = m.replicas_of(column)
            if replica not in there:
                load = float(m.problem.candidates[column.candidate].load[column.cls])
                values[j] += of.get(replica, 0.0) * load
    return values


def busy_gpus(m: FleetModel, columns: Sequence[Label]) -> FloatArray:
    """Accelerators that a unit of each column keeps busy, mean over the year (C,)."""
    busy = np.zeros(len(columns))
    for j, column in enumerate(columns):
        if isinstance(column, Flow):
            candidate = m.problem.candidates[column.candidate]
            share = m.problem.blocks[column.block].hours / HOURS_PER_YEAR
            busy[j] = float(candidate.load[column.cls]) * candidate.gpus * share
    return busy


def tokens_per_year(m: FleetModel, columns: Sequence[Label], kind: str) -> FloatArray:
    """Tokens delivered in a year for each unit of the columns: "output" or "input"."""
    tokens = np.zeros(len(columns))
    for j, column in enumerate(columns):
        if isinstance(column, Flow):
            candidate = m.problem.candidates[column.candidate]
            if candidate.role == "prefill":
                continue
            w = candidate.workload
        elif isinstance(column, Api):
            w = m.problem.apis[column.api].workload
        else:
            continue
        data = m.problem.workloads[w]
        each = (data.output_tokens if kind == "output" else data.input_tokens)[column.cls]
        tokens[j] = m.problem.blocks[column.block].counted_hours * SECONDS_PER_HOUR * float(each)
    return tokens


def is_free(problem: Problem) -> bool:
    """Whether some demand has no stated rate."""
    return any(w.free for w in problem.workloads) or any(
        math.isinf(float(w.demand_rps.max(initial=0.0))) for w in problem.workloads
    )
