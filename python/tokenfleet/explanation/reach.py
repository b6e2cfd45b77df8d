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
from dataclasses import dataclass, field, replace

from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study
from tokenfleet.mix.model import Label
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot

_STEPS = 40
_STILL = 1e-7  # of the loss, by which a plan is no better


@dataclass(frozen=True)
class Reached:
    """The least t at which a best plan keeps the condition; None: at none up to the most.

    Proven: below `low` none does; at `at` the plan is one that does.
    """

    at: float | None
    low: float
    how: HowGot
    plan: Answer | None = field(default=None, repr=False)


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


def reach(
    mover: Mover,
    first: Answer,
    most: float,
    *,
    rows: Sequence[Bound] = (),
    closed: Sequence[Label] = (),
) -> Reached:
    """The least t up to `most` at which a best plan keeps the rows and leaves `closed` at zero.

    `first` is a plan that is best before and does not keep them.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    known = mover.study.known(rows, closed)
    return _Reach(mover, most, rows, closed, known).found(mover.line(first))


@dataclass
class _Reach:
    mover: Mover
    most: float
    rows: Sequence[Bound]
    closed: Sequence[Label]
    known: list[Answer]
    missing: float = 0.0  # of the loss, that bounds leave open

    def found(self, before: Line) -> Reached:
        """The point after which the condition is kept, going from better plan to better plan."""
        still, low = _STILL * max(abs(before.loss), 1e-9), -math.inf
        first: Answer | None = None  # proven: of those that keep it, none meets the line sooner
        for _ in range(_STEPS):
            plan = self._soonest(before) or self._far(before)
            if plan is None:
                break
            here = self.mover.line(plan).meets(before)
            held = self.mover.line(plan).at(here)
            best = self._better(here, held - still) or self.mover.least(here, start=plan)
            if best is None or best.loss >= held - still:
                if best is not None:
                    self.missing = max(self.missing, held - best.bound)
                steep = abs(self.mover.line(plan).slope - before.slope)
                how = self._how(before)
                return Reached(here, here - self.missing / max(steep, 1e-12), how, plan)
            keeps = best.keeps(self.rows, self.closed)
            if keeps and self.mover.line(best).meets(before) < here:
                self.known.append(best)
                continue
            if first is not plan:
                first = self._first(before, plan, still)
            if first is plan:
                before, low = self.mover.line(best), here
        return Reached(None, low, self._how(before))

    def _better(self, here: float, limit: float) -> Answer | None:
        """Of all plans that are known the one with the least loss there, if that is below the
        limit: that a better one exists then needs no solve."""
        plans = self.mover.study.known()
        losses = [self.mover.line(plan).at(here) for plan in plans]
        least = min(losses)
        return replace(plans[losses.index(least)], loss=least) if least < limit else None

    def _far(self, before: Line) -> Answer | None:
        """The best plan at the most that keeps the condition, if it meets the line."""
        plan = self.mover.least(self.most, self.rows, self.closed)
        if plan is None:
            return None
        self.known.append(plan)
        return self._soonest(before)

    def _first(self, before: Line, plan: Answer, still: float) -> Answer:
        """The plan that keeps the condition and meets the line first of all of them."""
        for _ in range(_STEPS):
            here = self.mover.line(plan).meets(before)
            found = self.mover.least(here, self.rows, self.closed, plan)
            if found is None:  # rounding: the plan in hand is one
                break
            if self.mover.line(plan).at(here) - found.loss <= still:
                self.missing = max(self.missing, found.loss - found.bound)
                break
            self.known.append(found)
            plan = self._soonest(before) or plan
        return plan

    def _soonest(self, before: Line) -> Answer | None:
        met = [(self.mover.line(p).meets(before), i) for i, p in enumerate(self.known)]
        within = [(at, i) for at, i in met if at <= self.most]
        return self.known[min(within)[1]] if within else None

    def _how(self, before: Line) -> HowGot:
        return PROVEN if self.missing <= OPTIMAL_GAP * max(abs(before.loss), 1e-9) else WITHIN
