"""What beside its price would flip an offer or a system type: dearer or cheaper energy, speed, a
longer contract.

- *Energy*: every tariff moves by one factor. What a plan pays for energy is a part of its cost, so
  this is a price like any other (`reach`), in two directions.
- *Speed*: the throughput of a system type on every workload moves by one factor. The systems of a
  plan pay from some factor on, which a linear programme tells. A little below, the plan is solved
  again: if none is better than any without the type, that is the point, else the plan that was
  found pays from a lower factor on, and so on.
- *Term*: the price book states rents for several terms; which of them is below the flip price is
  known without a solve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pulp

from tokenfleet.explanation.flip import Flip, Target
from tokenfleet.explanation.reach import Mover, Reached, reach
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study, systems_by_offer
from tokenfleet.mix.model import Label
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.index import Capacity
from tokenfleet.mix.solver.growing import GrowingLp
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Problem

Input = Literal["energy", "speed", "term"]
_DEAREST = 10.0  # times today's tariffs
_FASTEST = 4.0  # times today's speed, and the slowest is one over it
_CLOSE = 1.001  # two speeds between which nobody looks further
_PLAINLY = 1e-5  # above the speed at which a plan just pays, so that rounding does not decide
_NOISE = 1e-7  # of the loss


@dataclass(frozen=True)
class Shift:
    """The value nearest to today's at which a best plan holds the target, or no longer does: a
    factor, or a term in years.

    It was solved at `at`; up to `not_yet` it is as today. None: nowhere as far as was asked.
    """

    target: Target
    input: Input
    chosen: bool  # today's best plan holds it
    at: float | None
    not_yet: float | None
    how: HowGot
    plan: Mapping[str, int] = field(default_factory=dict)
    now: float | None = 1.0


def by_energy(study: Study, target: Target) -> Iterator[Shift]:
    """The rise and the fall of all tariffs that flip the target.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before they were found.
    """
    energy = energy_usd(study)
    if not any(energy.values()):
        return
    base = study.base
    chosen = holds(base, target)
    hold = Bound(f"hold {target.kind} {target.name}", target.amount, True, target.least)
    for sign, most in ((1.0, 1.0), (-1.0, _DEAREST - 1.0)):
        mover = Mover.of(study, {la: sign * usd for la, usd in energy.items()}, base)
        if chosen:
            found = reach(mover, base, most, closed=tuple(target.amount))
        else:
            found = reach(mover, base, most, rows=(hold,))
        yield _shift(study, target, chosen, found, sign)


def _shift(
    study: Study, target: Target, chosen: bool, found: Reached[Answer], sign: float
) -> Shift:
    systems = systems_by_offer(study.problem, found.plan.values) if found.plan else {}
    if found.at is None:
        edge = 0.0 if sign > 0 else _DEAREST
        return Shift(target, "energy", chosen, None, edge, found.how)
    at, low = 1.0 - sign * found.at, 1.0 - sign * found.low
    return Shift(target, "energy", chosen, at, low, found.how, systems)


def energy_usd(study: Study) -> dict[Label, float]:
    """What is paid for energy, USD a year by column."""
    found: dict[Label, float] = {}
    for term in study.model.terms:
        if term.item == "energy":
            found[term.label] = found.get(term.label, 0.0) + term.usd
    return found


def holds(plan: Answer, target: Target) -> bool:
    """Whether a plan has any of the target."""
    return any(plan.values.get(la, 0.0) > 1e-9 for la in target.amount)


def by_speed(study: Study, target: Target, at_speed: Callable[[float], Problem]) -> Shift:
    """How much faster a system type must be to enter, or slower to leave.

    `at_speed` is the problem with so many times its throughput.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    chosen = holds(study.base, target)
    without = study.again(target.removed(study.problem)) if chosen else study.base
    if without is None:  # no plan does without it, however slow
        return Shift(target, "speed", chosen, None, 1.0 / _FASTEST, PROVEN)
    asked = _Speeds(study, target, without, at_speed)
    found = asked.slowest(1.0 / _FASTEST if chosen else 1.0)
    at, not_yet = (found.not_yet, found.pays) if chosen else (found.pays, found.not_yet)
    if at is None:
        edge = 1.0 / _FASTEST if chosen else _FASTEST
        return Shift(target, "speed", chosen, None, edge, asked.how)
    shown = without if chosen or found.plan is None else found.plan
    return Shift(
        target, "speed", chosen, at, not_yet, asked.how,
        systems_by_offer(shown.problem, shown.values),
    )  # fmt: skip


@dataclass(frozen=True)
class _Slowest:
    """A speed at which the type pays, by a plan, and one below at which none does."""

    pays: float | None
    not_yet: float | None
    plan: Answer | None = field(default=None, repr=False)


@dataclass
class _Speeds:
    """Plans at other speeds of one system type, beside the best plan without it."""

    study: Study
    target: Target
    without: Answer
    at_speed: Callable[[float], Problem]
    how: HowGot = PROVEN

    def slowest(self, floor: float) -> _Slowest:
        """The least speed at which a plan with the type is better than any without.

        The faster, the better: so a plan's systems pay from some speed on, and wherever another
        plan pays below, its own speed is less. `floor` is the least speed that is asked about.
        """
        plan, pays = self._first()
        while plan is not None and pays > floor:
            below = max(pays / _CLOSE, floor)
            found = self._better(below)
            if found is None:
                return _Slowest(pays, below, plan)
            plan, pays = found, min(self._enough(found), below)
        return _Slowest(None, None) if plan is None or floor < 1.0 else _Slowest(pays, pays, plan)

    def _first(self) -> tuple[Answer | None, float]:
        """The plan, of those that are known to hold the type, that pays at the least speed, and
        that speed; else the best plan at the highest."""
        hold = Bound("hold", self.target.amount, True, self.target.least)
        known = self.study.known([hold])
        speeds = [self._enough(plan) for plan in known]
        least = min(speeds, default=math.inf)
        if least <= _FASTEST:
            return known[speeds.index(least)], least
        plan = self._better(_FASTEST)
        return plan, math.inf if plan is None else self._enough(plan)

    def _better(self, factor: float) -> Answer | None:
        """The best plan there, if it is better than any without the type."""
        found = self.study.again(self.at_speed(factor), self.without.values)
        if found is None:
            return None
        if found.how != PROVEN or self.without.how != PROVEN:
            self.how = WITHIN
        return found if found.loss < self._least() else None

    def _least(self) -> float:
        return self.without.loss - _NOISE * max(abs(self.without.loss), 1e-9)

    def _enough(self, plan: Answer) -> float:
        """The least speed at which the systems and replicas of a plan, with requests as is best,
        cost no more than the best plan without the type; inf where they do at none.

        Of whole numbers that are given, a speed is a column like any other: a capacity row asks
        for load * requests <= n + (factor - 1) * n.
        """
        study, m = self.study, self.study.model
        weights, constant = study.weights_beside(self.without)
        objective.set_objective(m, dict(weights))
        lp = GrowingLp(m.prob, study.options)
        counts = {
            la: round(plan.values.get(la, 0.0))
            for la, v in m.columns.items()
            if v.cat == pulp.LpInteger
        }
        for label, count in counts.items():
            lp.bound(lp.column_index[m.columns[label].name], count, count)
        lp.add_columns([0.0], [self._room(lp, counts)])
        factor = lp.columns - 1
        lp.bound(factor, 1.0 / _FASTEST - 1.0, _FASTEST - 1.0)
        paid = [(lp.column_index[m.columns[la].name], a) for la, a in weights.items() if a]
        columns, amounts = np.array([i for i, _ in paid]), np.array([a for _, a in paid])
        lp.add_limits([(columns, amounts, self._least() - constant)])
        lp.reprice((np.arange(lp.columns) == factor).astype(float))
        answer = lp.solve(study.options.time_limit_s, warm=False)
        if answer.status != "optimal":
            return math.inf
        return (1.0 + float(answer.columns[factor])) * (1.0 + _PLAINLY)

    def _room(self, lp: GrowingLp, counts: Mapping[Label, int]) -> list[tuple[int, float]]:
        """What the replicas of the type add to each capacity row, at today's speed."""
        m, offers = self.study.model, self.study.problem.offers
        pools = {offers[o].pool for o in self.target.offers}
        room = []
        for row in m.prob.constraints():
            label = m.rows[row.name]
            if isinstance(label, Capacity) and label.pool in pools:
                replicas = m.replicas_of(label)
                each = next(a for v, a in row.items() if v is m.columns[replicas])
                room.append((lp.row_index[row.name], each * counts[replicas]))
        return [entry for entry in room if entry[1]]


def by_system(offers: Sequence[Target], problem: Problem) -> dict[str, Target]:
    """The target that is all of a system type, by its name."""
    found: dict[str, Target] = {}
    for target in offers:
        systems = {problem.pools[problem.offers[o].pool].system for o in target.offers}
        if len(systems) == 1 and len(target.offers) >= len(
            found.get(next(iter(systems)), target).offers
        ):
            found[next(iter(systems))] = target
    return dict(sorted(found.items()))


@dataclass(frozen=True)
class Rent:
    """A rented offer: its term and price now, and the prices of the book at other terms."""

    target: Target
    years: float | None
    usd: float
    book: Mapping[float, float]  # years: USD, in the unit of `usd`


def by_term(rent: Rent, flipped: Flip) -> Shift | None:
    """The term nearest to today's whose price of the book is beyond the flip price of an offer.

    None where the book has no other terms.
    """
    others = {years: usd for years, usd in rent.book.items() if years != rent.years}
    if not others or flipped.discount is None:
        return None
    edge = rent.usd * (1.0 - flipped.discount)
    flips = [y for y, usd in others.items() if (usd > edge if flipped.chosen else usd <= edge)]
    at = min(flips, key=lambda years: (abs(years - (rent.years or 0.0)), years), default=None)
    plan = flipped.without if flipped.chosen else flipped.plan
    return Shift(
        rent.target, "term", flipped.chosen, at, None, flipped.how,
        plan if at is not None else {}, rent.years,
    )  # fmt: skip
