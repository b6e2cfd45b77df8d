"""Replicas that no better plan uses, by reduced costs.

Let L be the value of the relaxation and U that of a plan. For any feasible duals a plan costs at
least L plus the reduced cost of each unit it takes, so a replica type whose first unit adds more
than U - L is in no plan better than U: leaving it out is exact. Feasible duals are not unique. With
the dual pi >= 0 of the capacity row `sum_k load_k f_k - n <= 0`,

    rc(f_k) = a_k - v_k + load_k pi >= 0        rc(n) = (what n costs and takes) - pi >= 0

and pi may fall until a flow's reduced cost or pi itself is zero, which moves
`min(pi, min_k rc(f_k)/load_k)` from the flows, of which a plan may take very little, to n, of which
it takes at least one.
"""

from __future__ import annotations

import math

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model.index import Capacity
from tokenfleet.mix.solver.highs import Outcome, sign_of
from tokenfleet.problem_data import Flow, Replicas, Systems

MARGIN = 1e-6  # of the plan's value: values and duals of a relaxation are not exact


def may_improve(m: FleetModel, relaxed: Outcome, value: float) -> set[tuple[int, int]]:
    """(pool, candidate) that some plan better than `value` may use; `relaxed` is of this model."""
    return FirstUnits(m, relaxed).within(value)


class FirstUnits:
    """What the first replica of each type adds to a relaxation, with a first system to hold it."""

    def __init__(self, m: FleetModel, relaxed: Outcome) -> None:
        """`relaxed` is of the model `m`."""
        self.sign, self.least = sign_of(m.prob), relaxed.value
        systems = _first_system(m, relaxed)
        self.added = {
            (replica.pool, replica.candidate, replica.scope): extra + systems.get(replica.pool, 0.0)
            for replica, extra in _first_replica(m, relaxed).items()
        }

    def within(self, value: float) -> set[tuple[int, int]]:
        """(pool, candidate) that some plan better than `value` may use."""
        room = self.sign * (value - self.least) + MARGIN * abs(value)
        return {(p, c) for (p, c, _), extra in self.added.items() if extra <= room}


def _first_replica(m: FleetModel, relaxed: Outcome) -> dict[Replicas, float]:
    """Least that the first replica adds to the relaxation, by its column."""
    least: dict[Capacity, float] = {}  # reduced cost of a flow over its load
    for flow, v in m.of(Flow).items():
        row = Capacity(flow.block, flow.pool, flow.candidate)
        load = float(m.problem.candidates[flow.candidate].load[flow.cls])
        per_load = max(relaxed.reduced_costs[v.name], 0.0) / load
        least[row] = min(least.get(row, math.inf), per_load)
    added = {la: max(relaxed.reduced_costs[v.name], 0.0) for la, v in m.of(Replicas).items()}
    for name, label in m.rows.items():
        if isinstance(label, Capacity):
            dual = max(-relaxed.row_duals[name], 0.0)
            added[m.replicas_of(label)] += min(dual, least[label])
    return added


def _first_system(m: FleetModel, relaxed: Outcome) -> dict[int, float]:
    """Least reduced cost of a system of each pool, without which it holds no replica."""
    least: dict[int, float] = {}
    for label, v in m.of(Systems).items():
        p = m.problem.offers[label.offer].pool
        extra = max(relaxed.reduced_costs[v.name], 0.0)
        least[p] = min(least.get(p, math.inf), extra)
    return least
