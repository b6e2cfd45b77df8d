"""From the linear relaxation to a real plan: round up, and tighten what that breaks.

The relaxation's flows f are kept. Replicas become n = ceil(sum load * f), systems become the least
number that holds them (`systems_for`), reserve included. Rounding up can break a power, rack,
supply or budget row by some excess e; that row's right-hand side is lowered by 1.1 e (by less where
the relaxation then has no solution), and the relaxation solved and rounded again, at most
`ATTEMPTS` times. The plan found costs little more than the bound when the fleet is large, and
starts the exact search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np
import pulp

from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.choices import implied
from tokenfleet.mix.model.frame import systems_per_replica
from tokenfleet.mix.model.index import WHOLE, Capacity
from tokenfleet.mix.model.packing import split_sizes
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import Outcome, compiled, run
from tokenfleet.problem_data import Flow, Racks, Replicas, Systems, Used

Limit: TypeAlias = pulp.LpConstraint | pulp.LpVariable
Lowered: TypeAlias = Mapping[Limit, float]  # by how much a limit stands lower than stated
Broken: TypeAlias = Sequence[tuple[Limit, float]]  # limits, with the excess in their own unit
#: Solves the relaxation again in so many seconds, after these limits were moved.
Again: TypeAlias = Callable[[float, Iterable[Limit]], Outcome]
_Rounded = TypeVar("_Rounded")

ATTEMPTS = 12
HALVINGS = 4
_NOISE = 1e-7
_BROKEN = 1e-6


def systems_for(gpus: int, counts: Mapping[int, int]) -> int | None:
    """Least systems of `gpus` accelerators that hold `counts` replicas by size.

    Exact when the sizes form a divisibility chain; None when they do not.

    >>> systems_for(72, {64: 8, 8: 8})
    8
    >>> systems_for(72, {64: 9})
    9
    """
    inside = {g: n for g, n in counts.items() if n and g < gpus}
    whole = sum(n * systems_per_replica(g, gpus) for g, n in counts.items() if g >= gpus)
    if split_sizes(list(inside))[1]:
        return None
    needed = (
        math.ceil(sum(h * n for h, n in inside.items() if h >= g) / (gpus // g * g)) for g in inside
    )
    return whole + max(needed, default=0)


def round_up(m: FleetModel, relaxed: Outcome, effort: Effort) -> dict[str, float] | None:
    """A feasible plan near the relaxation, by column name; None if none was found."""

    def rounded(near: Outcome, lowered: Lowered) -> tuple[dict[str, float], Broken] | None:
        plan = _rounded(m, near)
        return None if plan is None else (plan, _broken(m, plan, lowered))

    return until_it_fits(m, relaxed, effort, rounded)


def until_it_fits(
    m: FleetModel,
    relaxed: Outcome,
    effort: Effort,
    rounded: Callable[[Outcome, Lowered], tuple[_Rounded, Broken] | None],
    *,
    attempts: int = ATTEMPTS,
    again: Again | None = None,
) -> _Rounded | None:
    """What is rounded from a relaxation and breaks no limit; None if none was found.

    `rounded` makes it, and says which limits it breaks by how much where some are lowered. Those
    are lowered a little more, and the relaxation is solved again (by `again`, which may know where
    the last one ended); at the end all stand as before.
    """

    def afresh(seconds: float, _: Iterable[Limit]) -> Outcome:
        return run(m.prob, effort.within(seconds), mip=False)

    lowered: dict[Limit, float] = {}
    try:
        for _ in range(attempts):
            made = rounded(relaxed, lowered)
            if made is None or not made[1]:
                return None if made is None else made[0]
            tighter = _solve_lowered(made[1], lowered, effort, again or afresh)
            if tighter is None:
                return None
            relaxed = tighter
        return None
    finally:
        for limit, excess in lowered.items():
            _lower(limit, -excess)


def _solve_lowered(
    broken: Broken, lowered: dict[Limit, float], effort: Effort, again: Again
) -> Outcome | None:
    """The relaxation with what was broken lowered, by less where nothing meets the limits then."""
    part = 1.1
    for _ in range(HALVINGS):
        for limit, excess in broken:
            _lower(limit, part * excess)
            lowered[limit] = lowered.get(limit, 0.0) + part * excess
        if effort.left() <= 0:
            return None
        relaxed = again(effort.left(), lowered)
        if relaxed.has_incumbent:
            return relaxed
        for limit, excess in broken:
            _lower(limit, -part * excess)
            lowered[limit] -= part * excess
        part /= 2.0
    return None


def _lower(limit: Limit, excess: float) -> None:
    """Move a row's right-hand side, or a column's upper bound, down by `excess`."""
    if isinstance(limit, pulp.LpVariable):
        limit.upBound -= excess
    else:
        limit.constant += excess


def _broken(
    m: FleetModel, plan: Mapping[str, float], lowered: Mapping[Limit, float]
) -> list[tuple[Limit, float]]:
    """Rows and upper bounds, as stated, that the plan breaks, with the excess in their own unit."""
    broken: list[tuple[Limit, float]] = []
    for row in _in_doubt(m, plan, lowered):
        stated = row.constant - lowered.get(row, 0.0)
        excess = sum(a * plan.get(v.name, 0.0) for v, a in row.items()) + stated
        if row.sense != pulp.LpConstraintLE:
            excess = abs(excess) if row.sense == pulp.LpConstraintEQ else -excess
        if excess > _BROKEN * max(1.0, abs(stated)):
            broken.append((row, excess))
    for column in m.columns.values():
        if column.upBound is not None:
            excess = plan.get(column.name, 0.0) - column.upBound - lowered.get(column, 0.0)
            if excess > _BROKEN:
                broken.append((column, min(excess, column.upBound / 1.1)))
    return broken


def _in_doubt(
    m: FleetModel, plan: Mapping[str, float], lowered: Mapping[Limit, float]
) -> list[pulp.LpConstraint]:
    """Rows that the plan comes near to breaking; one sum of arrays shows that all others hold."""
    matrix = compiled(m.prob)
    values = np.array([plan.get(name, 0.0) for name in matrix.names])
    row_of = np.repeat(np.arange(len(matrix.rows)), np.diff(matrix.starts))
    stated = np.array([row.constant - lowered.get(row, 0.0) for row in matrix.rows])
    terms = matrix.values * values[matrix.columns]
    excess = np.bincount(row_of, terms, len(matrix.rows)) + stated
    sense = np.array([row.sense for row in matrix.rows])
    over = np.where(sense == pulp.LpConstraintLE, excess, -excess)
    over = np.where(sense == pulp.LpConstraintEQ, np.abs(excess), over)
    near = over > 0.5 * _BROKEN * np.maximum(1.0, np.abs(stated))
    return [matrix.rows[i] for i in np.flatnonzero(near)]


def _rounded(m: FleetModel, relaxed: Outcome) -> dict[str, float] | None:
    values = {label: relaxed.values[v.name] for label, v in m.columns.items()}
    replicas = replicas_for(m, values)
    plan: dict[Label, float] = {}
    plan.update((label, v) for label, v in values.items() if not isinstance(label, WHOLE))
    plan.update({label: float(n) for label, n in replicas.items()})
    for p, needed in systems_needed(m, replicas).items():
        if needed is None:
            return None
        for scope, systems in needed.items():
            plan.update(_share_out(m, p, scope, systems, values))
            if Used(scope, p) in m.columns:
                plan[Used(scope, p)] = 1.0
        plan.update(_racks(m, p, needed))
    plan.update(implied(m, plan))
    return {m.columns[label].name: v for label, v in plan.items()}


def replicas_for(m: FleetModel, values: Mapping[Label, float]) -> dict[Replicas, int]:
    """Replicas rounded up that carry the flows of a plan."""
    load: dict[Capacity, float] = {}
    for flow in m.of(Flow):
        if values[flow] > _NOISE:
            place = Capacity(flow.block, flow.pool, flow.candidate)
            used = values[flow] * float(m.problem.candidates[flow.candidate].load[flow.cls])
            load[place] = load.get(place, 0.0) + used
    replicas: dict[Replicas, int] = {}
    for place, used in load.items():
        label = m.replicas_of(place)
        replicas[label] = max(replicas.get(label, 0), math.ceil(used - _NOISE))
    return replicas


def systems_needed(
    m: FleetModel, replicas: Mapping[Replicas, int]
) -> dict[int, dict[int, int] | None]:
    """Systems by pool and scope of their columns; None for a pool whose sizes need patterns."""
    counts: dict[tuple[int, int], dict[int, int]] = {}
    for label, n in replicas.items():
        sizes = counts.setdefault((label.pool, label.scope), {})
        gpus = m.problem.candidates[label.candidate].gpus
        sizes[gpus] = sizes.get(gpus, 0) + n
    needed: dict[int, dict[int, int] | None] = {}
    for (p, counted), sizes in counts.items():
        pool = m.problem.pools[p]
        systems = systems_for(pool.gpus_per_system, sizes)
        (scope,) = m.scopes.systems_over(p, counted)
        sofar = needed.setdefault(p, {})
        if systems is None or sofar is None:
            needed[p] = None
        else:
            sofar[scope] = max(sofar.get(scope, 0), systems + pool.reserve)
    return needed


def _share_out(
    m: FleetModel, p: int, scope: int, systems: int, values: Mapping[Label, float]
) -> dict[Label, float]:
    """Split the systems over the pool's offers, those the relaxation liked first."""
    labels = [Systems(scope, o) for o in m.offers(p)]
    labels.sort(key=lambda label: -values[label])
    shares: dict[Label, float] = {}
    left = float(systems)
    for label in labels:
        bound = m.columns[label].upBound
        shares[label] = left if bound is None else min(left, float(math.floor(bound)))
        left -= shares[label]
    shares[labels[0]] += left  # beyond every bound: `_broken` reports it
    return shares


def _racks(m: FleetModel, p: int, needed: Mapping[int, int]) -> dict[Label, float]:
    per_rack = m.problem.pools[p].systems_per_rack
    racks: dict[Label, float] = {}
    for scope in range(len(m.problem.scopes)):
        label = Racks(scope, p)
        if label in m.columns:
            systems = sum(needed.get(s, 0) for s in m.scopes.systems_over(p, scope))
            racks[label] = float(math.ceil(systems / per_rack - _NOISE))
    return racks
