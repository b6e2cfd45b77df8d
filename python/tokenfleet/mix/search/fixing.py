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

from tokenfleet.mix.model import ALL_YEAR, FleetModel, Label
from tokenfleet.mix.model.columns import per_block
from tokenfleet.mix.solver.highs import Outcome, sign_of

MARGIN = 1e-6  # of the plan's value: values and duals of a relaxation are not exact


def may_improve(m: FleetModel, relaxed: Outcome, value: float) -> set[tuple[int, int]]:
    """(pool, candidate) that some plan better than `value` may use; `relaxed` is of this model."""
    sign = sign_of(m.prob)
    room = sign * (value - relaxed.value) + MARGIN * abs(value)
    added = _first_replica(m, relaxed)
    systems = _first_system(m, relaxed)
    return {
        (label[2], label[3])
        for label, extra in added.items()
        if extra + systems.get(label[2], 0.0) <= room
    }


def _first_replica(m: FleetModel, relaxed: Outcome) -> dict[Label, float]:
    """Least that the first replica adds to the relaxation, by its column."""
    cost = {label: max(relaxed.reduced_costs[v.name], 0.0) for label, v in m.columns.items()}
    flow: dict[Label, float] = {}
    for label in m.columns:
        if label[0] == "f":
            _, b, p, c, k = label
            per_load = cost[label] / float(m.problem.candidates[c].load[k])
            flow[b, p, c] = min(flow.get((b, p, c), math.inf), per_load)
    added = {label: cost[label] for label in m.columns if label[0] == "n"}
    for name, row in m.rows.items():
        if row[0] == "capacity":
            _, b, p, c = row
            replica = ("n", b if per_block(m.problem, p) else ALL_YEAR, p, c)
            added[replica] += min(max(-relaxed.row_duals[name], 0.0), flow[b, p, c])
    return added


def _first_system(m: FleetModel, relaxed: Outcome) -> dict[int, float]:
    """Least reduced cost of a system of each pool, without which it holds no replica."""
    least: dict[int, float] = {}
    for label, v in m.columns.items():
        if label[0] == "x":
            p = m.problem.offers[label[2]].pool
            extra = max(relaxed.reduced_costs[v.name], 0.0)
            least[p] = min(least.get(p, math.inf), extra)
    return least
