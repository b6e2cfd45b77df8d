"""How far an input has to move until a best plan keeps a condition: so much of an offer, say.

The loss of a plan is L - t S where an input moves by t: S is what of the loss follows it (what is
paid at an offer's price, or for energy with the opposite sign). Wanted is the least t at which one
of the best plans keeps some rows. With V(t) the least loss of all plans and W(t) that of those that
keep the rows, both concave, it is the least zero of W - V, which may have several: so much of an
offer may stand in the plan at one price and at a lower one no longer.

For a plan P that is best at some t0, where W is above it, W - P has one zero after t0, and none of
W - V lies between. It is found from the right by Newton's method, which is Dinkelbach's here: take
the plan with the least loss that keeps the rows, go to where it meets P, and again until it is
still. Then V is asked there: if no plan is better, that is the point, else the better plan takes
the place of P.

V is asked first wherever a plan that keeps the rows meets P. If no plan is better there, V and P
are one up to there, V being concave, and no other plan that keeps the rows can have been best on
the way: W is not asked at all. Where a plan that is known is better there, V is not asked either.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study
from tokenfleet.mix.model import Label
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot

_STEPS = 40
_STILL = 1e-7  # of the loss, by which a plan is no better


class Planned(Protocol):
    """A plan with its loss, and the bound below which none was where it was found."""

    @property
    def loss(self) -> float:
        """Its loss where it was found."""

    @property
    def bound(self) -> float:
        """No plan had a lower one there."""


P = TypeVar("P", bound=Planned)


@dataclass(frozen=True)
class Reached(Generic[P]):
    """The least t at which a best plan keeps the condition; None: at none up to the most.

    Proven: below `low` none does; at `at` the plan is one that does.
    """

    at: float | None
    low: float
    how: HowGot
    plan: P | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Line:
    """A plan whose loss is `loss - t * slope`."""

    loss: float
    slope: float

    def at(self, t: float) -> float:
        """Its loss."""
        return self.loss - t * self.slope

    def meets(self, other: Line) -> float:
        """From where on it is no worse than another; inf where its loss does not fall faster."""
        if self.slope <= other.slope:
            return math.inf
        return (self.loss - other.loss) / (self.slope - other.slope)


class Plans(Protocol[P]):
    """Plans as an input moves, and the condition that some of them keep."""

    def line(self, plan: P) -> Line:
        """The loss of a plan as the input moves."""

    def known(self) -> list[P]:
        """All that were found so far."""

    def keeps(self, plan: P) -> bool:
        """Whether a plan keeps the condition."""

    def least(self, t: float, start: P | None, *, keeping: bool) -> P | None:
        """The plan with the least loss there, of all or of those that keep the condition."""


@dataclass(frozen=True)
class Mover:
    """An input that moves: the loss is that of `weights`, less t times the `slopes`."""

    study: Study
    slopes: Mapping[Label, float] = field(repr=False)
    weights: Mapping[Label, float] = field(repr=False)
    constant: float

    @classmethod
    def of(cls, study: Study, slopes: Mapping[Label, float], beside: Answer) -> Mover:
        """The input, with losses counted as beside a plan."""
        weights, constant = study.weights_beside(beside)
        return cls(study, slopes, weights, constant)

    def line(self, plan: Answer) -> Line:
        """The loss of a plan as the input moves."""
        loss = sum(a * plan.values.get(la, 0.0) for la, a in self.weights.items())
        slope = sum(a * plan.values.get(la, 0.0) for la, a in self.slopes.items())
        return Line(self.constant + loss, slope)

    def least(
        self,
        t: float,
        rows: Sequence[Bound] = (),
        closed: Iterable[Label] = (),
        start: Answer | None = None,
    ) -> Answer | None:
        """The plan with the least loss there that keeps the rows and leaves `closed` at zero."""
        weights = dict(self.weights)
        for label, a in self.slopes.items():
            weights[label] = weights.get(label, 0.0) - t * a
        return self.study.least(
            weights, self.constant, rows=rows, closed=closed, unbudgeted=self.study.pays,
            start=None if start is None else self.study.named(start.values),
        )  # fmt: skip


@dataclass(frozen=True)
class _Keeping:
    """Plans of one year, and those of them that keep rows and leave columns at zero."""

    mover: Mover
    rows: Sequence[Bound]
    closed: Sequence[Label]

    def line(self, plan: Answer) -> Line:
        return self.mover.line(plan)

    def known(self) -> list[Answer]:
        return self.mover.study.known()

    def keeps(self, plan: Answer) -> bool:
        return plan.keeps(self.rows, self.closed)

    def least(self, t: float, start: Answer | None, *, keeping: bool) -> Answer | None:
        if not keeping:
            return self.mover.least(t, start=start)
        return self.mover.least(t, self.rows, self.closed, start)


def reach(
    mover: Mover,
    first: Answer,
    most: float,
    *,
    rows: Sequence[Bound] = (),
    closed: Sequence[Label] = (),
) -> Reached[Answer]:
    """The least t up to `most` at which a best plan keeps the rows and leaves `closed` at zero.

    `first` is a plan that is best before and does not keep them.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    return reached(_Keeping(mover, rows, closed), first, most)


def reached(plans: Plans[P], first: P, most: float) -> Reached[P]:
    """The least t up to `most` at which a best plan keeps the condition, as `reach`.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    keeping = [plan for plan in plans.known() if plans.keeps(plan)]
    return _Reach(plans, most, keeping).found(plans.line(first))


@dataclass
class _Reach(Generic[P]):
    plans: Plans[P]
    most: float
    keeping: list[P]  # plans that keep the condition
    missing: float = 0.0  # of the loss, that bounds leave open

    def found(self, before: Line) -> Reached[P]:
        """The point after which the condition is kept, going from better plan to better plan."""
        still, low = _STILL * max(abs(before.loss), 1e-9), -math.inf
        first: P | None = None  # proven: of those that keep it, none meets the line sooner
        for _ in range(_STEPS):
            plan = self._soonest(before) or self._far(before)
            if plan is None:
                break
            here = self.plans.line(plan).meets(before)
            held = self.plans.line(plan).at(here)
            best = self._better(here, held - still)
            if best is None:
                found = self.plans.least(here, plan, keeping=False)
                if found is None or found.loss >= held - still:
                    return self._ended(here, held, before, plan, found)
                best = found
            if self.plans.keeps(best) and self.plans.line(best).meets(before) < here:
                self.keeping.append(best)
                continue
            if first is not plan:
                first = self._first(before, plan, still)
            if first is plan:
                before, low = self.plans.line(best), here
        return Reached(None, low, self._how(before))

    def _ended(self, here: float, held: float, before: Line, plan: P, best: P | None) -> Reached[P]:
        """The answer where no plan is better than the one that keeps the condition."""
        if best is not None:
            self.missing = max(self.missing, held - best.bound)
        steep = abs(self.plans.line(plan).slope - before.slope)
        low = here - self.missing / max(steep, 1e-12)
        return Reached(here, low, self._how(before), plan)

    def _better(self, here: float, limit: float) -> P | None:
        """Of all plans that are known the one with the least loss there, if that is below the
        limit: that a better one exists then needs no solve."""
        plans = self.plans.known()
        losses = [self.plans.line(plan).at(here) for plan in plans]
        least = min(losses)
        return plans[losses.index(least)] if least < limit else None

    def _far(self, before: Line) -> P | None:
        """The best plan at the most that keeps the condition, if it meets the line."""
        plan = self.plans.least(self.most, None, keeping=True)
        if plan is None:
            return None
        self.keeping.append(plan)
        return self._soonest(before)

    def _first(self, before: Line, plan: P, still: float) -> P:
        """The plan that keeps the condition and meets the line first of all of them."""
        for _ in range(_STEPS):
            here = self.plans.line(plan).meets(before)
            found = self.plans.least(here, plan, keeping=True)
            if found is None:  # rounding: the plan in hand is one
                break
            if self.plans.line(plan).at(here) - found.loss <= still:
                self.missing = max(self.missing, found.loss - found.bound)
                break
            self.keeping.append(found)
            plan = self._soonest(before) or plan
        return plan

    def _soonest(self, before: Line) -> P | None:
        met = [(self.plans.line(p).meets(before), i) for i, p in enumerate(self.keeping)]
        within = [(at, i) for at, i in met if at <= self.most]
        return self.keeping[min(within)[1]] if within else None

    def _how(self, before: Line) -> HowGot:
        return PROVEN if self.missing <= OPTIMAL_GAP * max(abs(before.loss), 1e-9) else WITHIN
