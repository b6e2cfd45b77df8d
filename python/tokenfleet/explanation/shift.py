"""What beside its price would flip an offer or a system type: dearer or cheaper energy, speed, a
longer contract.

- *Energy*: every tariff moves by one factor. What a plan pays for energy is a part of its cost, so
  this is a price like any other (`reach`), in two directions.
- *Speed*: the throughput of a system type on every workload moves by one factor. It stands in the
  rows of the model, so the plan is solved again at factors between two that are known, until they
  are close: at the one the best plan is better than any without the type, at the other it is not.
- *Term*: the price book states rents for several terms; which of them is below the flip price is
  known without a solve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tokenfleet.explanation.flip import Flip, Target
from tokenfleet.explanation.reach import Mover, Reached, reach
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study, systems_by_offer
from tokenfleet.mix.model import Label
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Problem

Input = Literal["energy", "speed", "term"]
_DEAREST = 10.0  # times today's tariffs
_FASTEST = 4.0  # times today's speed, and the slowest is one over it
_CLOSE = 1.005  # two speeds between which nobody looks further
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


def _shift(study: Study, target: Target, chosen: bool, found: Reached, sign: float) -> Shift:
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
    asked = _Speeds(study, without, at_speed)
    still, edge = 1.0, 1.0 / _FASTEST if chosen else _FASTEST
    end = asked.pays(edge)
    if (end is None) is not chosen:
        return Shift(target, "speed", chosen, None, edge, asked.how)
    there, plan = edge, end
    while max(there / still, still / there) > _CLOSE:
        middle = math.sqrt(there * still)
        found = asked.pays(middle, plan)
        if (found is None) is chosen:
            there, plan = middle, found
        else:
            still = middle
    shown = without if plan is None else plan
    return Shift(
        target, "speed", chosen, there, still, asked.how,
        systems_by_offer(shown.problem, shown.values),
    )  # fmt: skip


@dataclass
class _Speeds:
    """Plans at other speeds of one system type, beside the best plan without it."""

    study: Study
    without: Answer
    at_speed: Callable[[float], Problem]
    how: HowGot = PROVEN

    def pays(self, factor: float, start: Answer | None = None) -> Answer | None:
        """The best plan there, if it is better than any without the type."""
        problem = self.at_speed(factor)
        found = self.study.again(problem, None if start is None else start.values)
        if found is None:
            return None
        if found.how != PROVEN or self.without.how != PROVEN:
            self.how = WITHIN
        least = self.without.loss - _NOISE * max(abs(self.without.loss), 1e-9)
        return found if found.loss < least else None


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
