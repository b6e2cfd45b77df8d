"""One of many horizons that are alike: what is known of the others, and what its plan must hold.

An explanation plans a horizon again and again with one thing changed. Plans that were found so far
are mostly plans of the next one too, and the best of them is where its search begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pulp

from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.risk import settled
from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.columns import Term
from tokenfleet.mix.model.index import Own
from tokenfleet.mix.search.incumbent import value_of
from tokenfleet.mix.solver.highs import bound_of, compiled, sides_of

_CLOSE = 1e-6  # of what a row adds up: rounding
_HOLDS = "hold it"

#: Columns with their weights, and what they add up to at least.
Row = tuple[Mapping[Label, float], float]


@dataclass(frozen=True)
class Kin:
    """What is known of horizons that are alike."""

    memory: Memory = field(default_factory=Memory)
    plans: Sequence[Mapping[Label, float]] = ()
    holds: Mapping[Label, float] = field(default_factory=dict)  # add up to one at least
    rows: Sequence[Row] = ()  # that its plan must keep besides
    explains: bool = False  # why there is no plan, where there is none
    #: Costs beside those of the horizon, as of an input that moved; budgets do not count them.
    more: Sequence[Term] = ()

    def charge(self, m: FleetModel) -> None:
        """Gives the model the costs beside those of its horizon."""
        m.terms += [term for term in self.more if term.usd and term.label in m.columns]

    def ask(self, m: FleetModel) -> None:
        """Gives the model the rows that its plan must keep, and the one of what it must hold."""
        held = [(self.holds, 1.0)] if self.holds else []
        for i, (weights, least) in enumerate([*held, *self.rows]):
            pairs = [(m.columns[la], a) for la, a in weights.items() if la in m.columns]
            m.row(Own(f"{_HOLDS} {i}"), pairs, pulp.LpConstraintGE, least)

    def start(self, m: FleetModel) -> dict[str, float] | None:
        """The best known plan that is one of this model, by names of columns."""
        fitting = [plan for values in self.plans if (plan := _as_plan(m, values)) is not None]
        sign = m.prob.sense
        return min(fitting, key=lambda plan: sign * value_of(m, plan), default=None)


def _as_plan(m: FleetModel, values: Mapping[Label, float]) -> dict[str, float] | None:
    """Values as columns of a model; None where they are no plan of it."""
    if any(label not in m.columns for label in values):
        return None
    named = {m.columns[label].name: value for label, value in values.items()}
    matrix = compiled(m.prob)
    plan = settled(m, {name: named.get(name, 0.0) for name in matrix.names})
    x = np.array([plan[name] for name in matrix.names])
    parts = matrix.values * x[matrix.columns]
    row = np.repeat(np.arange(len(matrix.rows)), np.diff(matrix.starts))
    total = np.bincount(row, parts, len(matrix.rows))
    size = np.bincount(row, np.abs(parts), len(matrix.rows))
    low, up = sides_of(matrix, range(len(matrix.rows)))
    finite = np.abs(np.where(np.isfinite(low), low, up))
    room = _CLOSE * np.maximum(np.maximum(size, finite), 1e-3)
    least = np.array([bound_of(v.lowBound, -np.inf) for v in matrix.variables])
    most = np.array([bound_of(v.upBound, np.inf) for v in matrix.variables])
    near = _CLOSE * np.maximum(np.abs(x), 1.0)
    within = bool(((x >= least - near) & (x <= most + near)).all())
    return plan if within and bool(((total >= low - room) & (total <= up + room)).all()) else None
