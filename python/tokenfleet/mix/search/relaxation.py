"""The relaxation of a model made as tight as its cuts make it, and what that rules out.

`tighten` solves the relaxation, adds the cuts that it breaks (`cuts`) and solves again, from where
it stopped, until the bound hardly moves; the cuts that hold the bound up become rows of the model.
`probe` asks of each replica type what the relaxation costs with one replica of it at least: where
that is more than a known plan, no better plan uses the type.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pulp

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.search.cuts import Cut, Cuts
from tokenfleet.mix.search.fixing import MARGIN
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.growing import Answer, GrowingLp
from tokenfleet.mix.solver.highs import sign_of
from tokenfleet.problem_data import Replicas

_ROUNDS = 40
_GAIN = 0.02  # of the wanted gap, below which a round of cuts is the last
_TIME = 0.25  # of the time left, that cuts may take
_PROBE_ROUNDS = 5
_BINDING = 1e-9


class _Closing:
    """A relaxation that is solved again and again, with the cuts it broke."""

    def __init__(self, m: FleetModel, effort: Effort) -> None:
        self.m = m
        self.effort = effort.part(_TIME)
        self.least_gain = _GAIN * effort.gap  # of the value
        self.sign = sign_of(m.prob)
        self.lp = GrowingLp(m.prob, effort.options, open_only=True)
        self.first = self.lp.rows
        self.sets = Cuts(m, self.lp.column_index)
        self.cuts: list[Cut] = []

    def close(self, rounds: int, stop: float = math.inf) -> tuple[float, Answer]:
        """Rounds of cuts until one gains too little, or its value (in the sense of a minimisation)
        is beyond `stop`; the value before them comes first."""
        answer = self.lp.solve(self.effort.left(), warm=False)
        first = answer.value
        for _ in range(rounds):
            if answer.status != "optimal" or self.sign * answer.value > stop:
                break
            broken = self.sets.broken(answer.columns)
            if not broken or self.effort.left() <= 0:
                break
            self.lp.add_limits([(cut.columns, cut.coefficients, cut.upper) for cut in broken])
            closer = self.lp.solve(self.effort.left(), warm=False)
            if closer.status not in ("optimal", "infeasible"):  # out of time: what is known stands
                break
            self.cuts += broken
            before, answer = answer, closer
            if abs(answer.value - before.value) <= self.least_gain * abs(answer.value):
                break
        return first, answer

    def keep(self, cuts: Iterable[Cut]) -> None:
        """Make cuts rows of the model."""
        variables = self.lp.variables
        for cut in cuts:
            pairs = [(variables[j], a) for j, a in zip(cut.columns, cut.coefficients, strict=True)]
            self.m.row(
                cut.row._replace(number=len(self.m.rows)), pairs, pulp.LpConstraintLE, cut.upper
            )


def tighten(m: FleetModel, effort: Effort, relaxation_s: float = 0.0) -> bool:
    """Add to the model the cuts that raise the bound of its relaxation; whether there are any.

    A relaxation that takes `relaxation_s`, longer than cuts may take, is not solved again for them.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    if relaxation_s > _TIME * effort.left():
        return False
    closing = _Closing(m, effort)
    first, answer = closing.close(_ROUNDS)
    gained = abs(answer.value - first)
    if answer.status != "optimal" or gained <= closing.least_gain * abs(first):
        return False
    holds = np.abs(answer.duals[closing.first :]) > _BINDING
    closing.keep(cut for cut, held in zip(closing.cuts, holds, strict=True) if held)
    return True


def probe(
    m: FleetModel, effort: Effort, pairs: set[tuple[int, int]], value: float
) -> set[tuple[int, int]]:
    """Those of the (pool, candidate) of which a plan better than `value` may hold a replica.

    Other pairs should be closed in the model. Cuts found on the way become rows of it.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    probing = _Closing(m, effort)
    stop = probing.sign * value + MARGIN * abs(value)
    probing.close(_ROUNDS, stop)
    kept = set()
    for label, v in m.of(Replicas).items():
        pair = (label.pool, label.candidate)
        if pair in pairs and pair not in kept and not _beaten(probing, v, stop):
            kept.add(pair)
    probing.keep(probing.cuts)
    return kept


def _beaten(probing: _Closing, replicas: pulp.LpVariable, stop: float) -> bool:
    """Whether one replica at least costs too much; then there is none from now on."""
    if probing.effort.left() <= 0:
        return False
    column = probing.lp.column_index[replicas.name]
    low, up = probing.lp.bounds(column)
    probing.lp.bound(column, max(low, 1.0), up)
    _, answer = probing.close(_PROBE_ROUNDS, stop)
    beaten = answer.status == "infeasible" or probing.sign * answer.value > stop
    probing.lp.bound(column, low, low if beaten else up)
    return beaten
