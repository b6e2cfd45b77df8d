"""Flip prices of a problem whose plans are searched over a part of its pairs.

With L, S and V0 as in `flip`, the least of (L - V0) / S over the plans that hold the thing is
approached from above: the plan that costs least at a discount d holds it as long as it costs less
than V0 there, and its own ratio is the next d. No plan has to be told to hold it, so that each step
is the plan of a scenario with another price, whose bound is that of all pairs.

Plans leave gaps, and a thing that saves less than the gap cannot be seen in them. So the same steps
are taken with relaxations alone, which are exact: `relaxed` is the discount from which on the
relaxation, in which systems are not whole, holds some.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tokenfleet.explanation.flip import Flip, Target, always
from tokenfleet.explanation.study import WITHIN, Answer, Study, systems_by_offer
from tokenfleet.files.plain import finite
from tokenfleet.problem_data import Problem

_STEPS = 8
_SEEN = 2e-4  # of the least loss, that a plan must save to be told from another
_TELLS = 20.0  # times that, which it must cost for its ratio to be known within a twentieth
_LEFT = 2e-6  # of the relaxation, which is solved no closer
_OFF = (0.02, 0.05, 0.15, 0.4, 1.0)  # beyond the discount of the relaxation
_HARDLY = 0.999  # the discount at which it costs hardly anything

#: The problem at a discount.
At = Callable[[float], Problem]


def flip_in_part(study: Study, target: Target, at: At) -> Flip:
    """The flip discount of a target; of its paid part, where today's plan has some for nothing.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    base, begun = study.base, study.asked
    pays = target.spent(base.values) > 0
    if pays:
        target = target.paid()
    held = any(base.values.get(la, 0.0) > 1e-9 for la in target.amount)
    closed = target.removed(study.problem)
    without = study.again(closed) if held else base
    if without is None:
        return always(target, base, WITHIN)
    chosen = held and without.loss > base.loss
    search = _FromAbove(study, target, without, at)
    if chosen and not pays:  # it is had for nothing, as what is owned
        return always(target, base, WITHIN)
    relaxed = search.relaxations(closed)
    plan, discount = search.plans(base if chosen else None, relaxed)
    if plan is None and relaxed is None:
        return Flip(
            target, None, math.inf, math.inf, WITHIN, possible=False, solves=study.asked - begun,
            without=systems_by_offer(study.problem, without.values),
        )  # fmt: skip
    missing = max(without.loss - max(search.bound, without.bound), 0.0)
    spend = 0.0 if plan is None else target.spent(plan.values)
    off = without.loss - without.bound
    found = discount if plan is not None or relaxed is None else relaxed
    high = found + max(off, 0.0) / spend if spend > 0 else math.inf
    return Flip(
        target,
        found,
        found - missing / search.least_spend(),
        high if high <= 1.0 else math.inf,  # no price is below zero: none is known to be low enough
        "relaxation" if plan is None else WITHIN,
        chosen=chosen,
        plan={} if plan is None else systems_by_offer(study.problem, plan.values),
        without=systems_by_offer(study.problem, without.values),
        solves=study.asked - begun,
        answer=plan,
        beside=without,
        relaxed=relaxed,
    )


@dataclass
class _FromAbove:
    """Ratios of plans that hold the target, each less than the one before."""

    study: Study
    target: Target
    without: Answer
    at: At
    bound: float = -math.inf  # of the loss at the last discount that was tried, over all plans

    def least_spend(self) -> float:
        """What the target costs at least where it is held."""
        each = [usd / self.target.amount[la] for la, usd in self.target.spend.items() if usd > 0]
        return max(min(each, default=0.0) * self.target.least, 1e-12)

    def plans(self, plan: Answer | None, relaxed: float | None) -> tuple[Answer | None, float]:
        """The last plan that holds it, and its ratio; `plan` holds it at today's price.

        Otherwise a first one is looked for a little beyond where the relaxation takes it, and
        further and further off.
        """
        best = self.without.loss
        if plan is not None:
            return self._down(plan, (plan.loss - best) / self.target.spent(plan.values))
        for off in _OFF if relaxed is not None else (math.inf,):
            discount = min((relaxed or 0.0) + off, _HARDLY)
            found = self.study.again(self.at(discount), self.without.values)
            if found is not None and self._better(found):
                spend = self.target.spent(found.values)
                return self._down(found, discount - (best - found.loss) / spend)
            if discount == _HARDLY:
                break
        return None, math.inf

    def _down(self, plan: Answer, discount: float) -> tuple[Answer, float]:
        best = self.without.loss
        for _ in range(_STEPS):
            found = self.study.again(self.at(discount), plan.values)
            if found is None:
                break
            self.bound = found.bound
            if not self._better(found):
                break
            plan, discount = found, discount - (best - found.loss) / self.target.spent(found.values)
        return plan, discount

    def _better(self, found: Answer) -> bool:
        """Whether a plan holds it, costs less than any without it, and so much for it that what a
        search leaves open moves the ratio by little."""
        seen = _SEEN * abs(self.without.loss)
        return (
            self.target.spent(found.values) > _TELLS * seen
            and found.loss < self.without.loss - seen
        )

    def relaxations(self, closed: Problem) -> float | None:
        """The discount from which on the relaxation holds some; None: not for hardly anything."""
        without = self.study.relaxed(closed)
        if without is None:
            return None
        best, discount, holds = without[0], _HARDLY, False
        for _ in range(_STEPS):
            found = self.study.relaxed(self.at(discount))
            if found is None:
                break
            spend = self.target.spent(found[1])
            if spend <= 0 or found[0] >= best - _LEFT * abs(best):
                break
            discount, holds = discount - (best - found[0]) / spend, True
        return finite(discount) if holds else None
