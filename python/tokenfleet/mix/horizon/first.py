"""A first plan of a large tree, from that of its mean future.

The tree of ten outlooks over twelve quarters takes many seconds to relax and more to search, its
mean future takes few. What that has in the periods before the first news is a plan of these nodes,
too; with it held, the outlooks have nothing to do with each other any more, and the best of the
rest is found soon. Where it is no plan of every outlook (what was ordered for the mean may be too
little for the most), there is none here.
"""

from __future__ import annotations

from collections.abc import Mapping

import pulp

from tokenfleet.mix.horizon.combine import in_node
from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.stock import node_of
from tokenfleet.mix.search.bounds import bounded
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import run
from tokenfleet.problem_data import Held, Ordered, Problem, Racks, Replicas, Slot, Systems, Used

LARGE = 20_000  # columns, from which on the tree itself is slow
_NODES = 3  # for each of its mean future, at least
_GAP = 0.05  # to the best with those numbers, where later ones are whole too
_DECIDED = (Ordered, Held, Systems, Replicas, Slot, Racks, Used)


def is_worth(m: FleetModel) -> bool:
    """Whether the mean future is much sooner planned than the tree."""
    horizon = m.problem.horizon
    assert horizon is not None
    is_many = len(horizon.leaves) > 1 and len(horizon.nodes) >= _NODES * horizon.periods
    return is_many and len(m.columns) >= LARGE and m.prob.sense == pulp.LpMinimize


def first_plan(
    m: FleetModel, chain: Problem, values: Mapping[Label, float], effort: Effort
) -> dict[str, float] | None:
    """The best plan of the tree with the numbers of its mean future before the first news, by name
    of column; None where there is none.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    decided = _before_the_news(m, chain, values)
    if not all(_may_be(m.columns[label], n) for label, n in decided.items()):
        return None
    names = {m.columns[label].name for label in decided}
    is_open = any(v.cat == pulp.LpInteger and v.name not in names for v in m.columns.values())
    with bounded([(m.columns[label], n, n) for label, n in decided.items()]):
        outcome = run(m.prob, effort.within(effort.left(), gap=_GAP), mip=is_open)
    if outcome.interrupted:
        raise KeyboardInterrupt
    return dict(outcome.values) if outcome.has_incumbent else None


def _may_be(column: pulp.LpVariable, number: float) -> bool:
    low, up = column.lowBound, column.upBound
    return (low is None or low <= number) and (up is None or number <= up)


def _before_the_news(
    m: FleetModel, chain: Problem, values: Mapping[Label, float]
) -> dict[Label, float]:
    """Whole columns of the tree's first nodes, with the numbers of the chain."""
    horizon = m.problem.horizon
    assert horizon is not None
    period = {u: horizon.nodes[u].period for u in horizon.now}
    found: dict[Label, float] = {}
    own: dict[int, dict[Label, float]] = {}
    for label, column in m.columns.items():
        if column.cat != pulp.LpInteger or not isinstance(label, _DECIDED):
            continue
        u = node_of(m.problem, label)
        if u not in period:
            continue
        if isinstance(label, Ordered | Held):
            found[label] = values.get(_in_chain(label, period), 0.0)
            continue
        if u not in own:
            own[u] = in_node(chain, period[u], values)
        ((same, _),) = in_node(m.problem, u, {label: 1.0}).items()
        found[label] = own[u].get(same, 0.0)
    return found


def _in_chain(label: Ordered | Held, period: Mapping[int, int]) -> Label:
    """What was ordered under the numbers of the chain's nodes, which are those of its periods."""
    moved: Label = label._replace(node=period[label.node])
    if isinstance(label, Held) and label.order >= 0:
        moved = moved._replace(order=period[label.order])  # type: ignore[call-arg]
    return moved
