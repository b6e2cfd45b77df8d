"""A plan of a large fleet near the relaxation of its horizon.

Replicas of the relaxation are rounded up, in every period in which they are whole, and the systems
that hold them are bought, rented and kept as it is cheapest (few whole numbers, which HiGHS solves
at once). Where the systems then pass a limit on power, racks or supply by some excess, the limit is
lowered by a little more than that, and the relaxation solved and rounded again. One that is passed
again and again is lowered by twice as much each time: what is rounded up there may not change until
a whole replica less has room. A large fleet loses little by it: part of a replica for each layout
in use.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import pulp

from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.index import Power, RackLimit, Supply
from tokenfleet.mix.search.bounds import bounded
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.search.rounding import (
    Broken,
    Limit,
    Lowered,
    replicas_for,
    systems_needed,
    until_it_fits,
)
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.growing import GrowingLp
from tokenfleet.mix.solver.highs import Outcome, bound_of, compiled, relative_gap, run, sides_of
from tokenfleet.problem_data import Racks, Replicas, Systems

_LIMITS = (Power, RackLimit, Supply)
_BROKEN = 1e-6
_ATTEMPTS = 40  # many limits, in many nodes
_OFTEN = 2  # times that a limit is passed before it is lowered by more


def plan_near(m: FleetModel, relaxed: Outcome, effort: Effort, best: Incumbent) -> None:
    """Offers `best` the plan near the relaxation, if there is one."""
    replicas = rounded_to_fit(m, relaxed, effort)
    if replicas is None:
        return
    fixed = [(m.columns[label], float(n), float(n)) for label, n in replicas.items()]
    with bounded(fixed):
        limit = effort.within(max(effort.left(), 1.0), gap=effort.gap / 4)
        best.take(run(m.prob, limit, target=best.target()), whole=False)


def rounded_to_fit(m: FleetModel, relaxed: Outcome, effort: Effort) -> dict[Replicas, int] | None:
    """Whole replicas for which there is room; None where none were found."""
    passed: Counter[Limit] = Counter()

    def rounded(near: Outcome, lowered: Lowered) -> tuple[dict[Replicas, int], Broken] | None:
        values = {label: near.values[v.name] for label, v in m.columns.items()}
        replicas = _whole_replicas(m, values)
        systems = _systems(m, replicas, values)
        if systems is None:
            return None
        broken = dict(_broken(m, systems, lowered))
        passed.update(broken.keys())
        return replicas, [(x, e * 2.0 ** max(passed[x] - _OFTEN, 0)) for x, e in broken.items()]

    again = _Moved(m, effort).solve
    return until_it_fits(m, relaxed, effort, rounded, attempts=_ATTEMPTS, again=again)


class _Moved:
    """The relaxation of a model whose limits move a little each time: each solve but the first
    begins where the last one ended."""

    def __init__(self, m: FleetModel, effort: Effort) -> None:
        self.m, self.effort = m, effort
        self.lp: GrowingLp | None = None

    def solve(self, seconds: float, limits: Iterable[Limit]) -> Outcome:
        """The relaxation, after these limits were moved."""
        if self.lp is None:
            self.lp = GrowingLp(self.m.prob, self.effort.options)
        for limit in limits:
            self._move(self.lp, limit)
        answer = self.lp.solve(seconds, warm=False)
        names = (v.name for v in self.lp.variables)
        values = defaultdict(float, zip(names, answer.columns.tolist(), strict=False))
        value, gap = answer.value, relative_gap(answer.value, answer.value)
        return Outcome(answer.status, value, value, gap, False, answer.status, values)

    def _move(self, lp: GrowingLp, limit: Limit) -> None:
        if isinstance(limit, pulp.LpVariable):
            low, up = bound_of(limit.lowBound, -math.inf), bound_of(limit.upBound, math.inf)
            lp.bound(lp.column_index[limit.name], low, up)
            return
        row = lp.row_index[limit.name]
        low, up = (float(side[0]) for side in sides_of(compiled(self.m.prob), [row]))
        lp.limit(row, low, up)


def _whole_replicas(m: FleetModel, values: Mapping[Label, float]) -> dict[Replicas, int]:
    """Replicas rounded up, none of a layout without flow, where numbers are whole."""
    used = replicas_for(m, values)
    firm = (label for label in m.of(Replicas) if m.is_firm(label.scope))
    return {label: used.get(label, 0) for label in firm}


def _systems(
    m: FleetModel, replicas: Mapping[Replicas, int], values: Mapping[Label, float]
) -> dict[str, float] | None:
    """Systems and racks that hold them by name of column, split over the offers of a pool as the
    relaxation has them; None where sizes need patterns."""
    held = {label: n for label, n in replicas.items() if n}
    found: dict[str, float] = {}
    for p, needed in systems_needed(m, held).items():
        if needed is None:
            return None
        for scope, systems in needed.items():
            labels = [Systems(scope, o) for o in m.offers(p)]
            total = sum(values[label] for label in labels)
            for label in labels:
                share = values[label] / total if total > 0 else float(label is labels[0])
                found[m.columns[label].name] = share * systems
            racks = m.columns.get(Racks(scope, p))
            if racks is not None:
                per_rack = m.problem.pools[p].systems_per_rack
                found[racks.name] = float(math.ceil(systems / per_rack - _BROKEN))
    return found


def _broken(
    m: FleetModel, systems: Mapping[str, float], lowered: Lowered
) -> Iterator[tuple[Limit, float]]:
    """Limits, as stated, that the systems pass, with the excess in their own unit."""
    for row in m.prob.constraints():
        if isinstance(m.rows[row.name], _LIMITS):
            stated = row.constant - lowered.get(row, 0.0)
            excess = sum(a * systems.get(v.name, 0.0) for v, a in row.items()) + stated
            if excess > _BROKEN * max(1.0, abs(stated)):
                yield row, excess
    for column in m.of(Systems).values():
        if column.upBound is not None:
            excess = systems.get(column.name, 0.0) - column.upBound - lowered.get(column, 0.0)
            if excess > _BROKEN:
                yield column, min(excess, column.upBound / 1.1)
