"""At which price something enters a plan over time, or leaves it, at all dates alike.

As of one year (`flip`): let V0 be the least cost without the offer, and S what a plan pays at its
price. At f times the price the plan costs (f - 1) S more than today, so it meets V0 at

    f  =  1 + (V0 - its cost today) / S

and the largest f over all plans that hold the offer is wanted. Go to the f of the best plan that is
known, look there for a cheaper plan that holds it, and so on until there is none: two to four
solves, each from the plan before. The plan shows that the offer is held up to there; the bound of
the last solve, over the least that an order pays, how far beyond a plan could still hold it.

Of a hosted API no plan is told to hold it, which would tie the nodes together: a first plan is that
at which it is had for nothing.

A tail of bad futures is no sum of what is paid, so with it f is approached from either side, and
what a bound leaves open is counted by the share of the mean alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.moving_over_time import Target, targets_about
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import FlipPrice
from tokenfleet.explanation.share_over_time import taken_over_time
from tokenfleet.explanation.study import PROVEN, WITHIN
from tokenfleet.files.plain import finite
from tokenfleet.mix.model import Label
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot

_STEPS = 12
_SOME = 1e-6  # of what is enough to hold it: rounding


def flips_over_time(
    asked: OverTime, about: About = EVERYTHING, ask: Ask = plainly
) -> Iterator[FlipPrice]:
    """The price at which everything that has one and is asked about enters the plan, or leaves
    it."""
    for target in targets_about(asked, about):
        found = ask(f"flip price of {target.name}", partial(flip_over_time, target, ask))
        if found is not None:
            yield found


def flip_over_time(target: Target, ask: Ask = plainly) -> FlipPrice:
    """The flip price of one of them, and those at which it takes a tenth and half of the fleet.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    asked = target.moving.asked
    begun, price, search = asked.solves, target.stated, _Search(target)
    chosen = target.amount(asked.base) > _SOME
    without = target.without() if chosen else asked.base
    found = None if without is None else search.run(without)
    if found is None:
        return FlipPrice(
            kind=target.kind, name=target.name, chosen=chosen,
            verdict="always" if chosen else "never", discount=None, discount_low=None,
            discount_high=None, price=price, flip_price=None, unit=target.unit,
            systems_with=dict(asked.base.systems) if chosen else {},
            systems_without={} if without is None else dict(without.systems),
            solves=asked.solves - begun, how=PROVEN if search.exact else WITHIN,
        )  # fmt: skip
    never = not chosen and found.at <= 0
    solves = asked.solves - begun
    ends = (1.0 - found.at, 1.0 - found.most)
    takes = () if never else tuple(taken_over_time(target, found.without, found.plan, ends, ask))
    return FlipPrice(
        kind=target.kind,
        name=target.name,
        chosen=chosen,
        verdict="leaves" if chosen else "never" if never else "enters",
        discount=None if never else 1.0 - found.at,
        discount_low=None if never else finite(1.0 - found.most),
        discount_high=None if never else finite(1.0 - found.least),
        price=price,
        flip_price=None if never or price is None else price * found.at,
        unit=target.unit,
        systems_with={} if never else dict(found.plan.systems),
        systems_without=dict(found.without.systems),
        takes=takes,
        solves=solves,
        how=found.how,
    )


@dataclass(frozen=True)
class _Flipped:
    """Up to `at` times its price the plan holds the target; proven is that some plan does up to
    `least`, and none does above `most`."""

    at: float
    least: float
    most: float
    plan: Found = field(repr=False)
    without: Found = field(repr=False)

    @property
    def how(self) -> HowGot:
        """Whether both ends are one."""
        near = self.most - self.least <= OPTIMAL_GAP * max(1.0, abs(self.at))
        return PROVEN if near else WITHIN


@dataclass
class _Search:
    """Plans that hold a target, at the prices at which they meet the best one without it."""

    target: Target
    exact: bool = True

    @property
    def holds(self) -> Mapping[Label, float]:
        """What a plan is told to hold; nothing of a hosted API."""
        return {} if self.target.kind == "api" else self.target.holds

    def run(self, without: Found) -> _Flipped | None:
        """The answer; None where no plan holds the target, or none pays for it."""
        moving, amount = self.target.moving, self.target.amount
        asked = moving.asked
        if not self.target.holds:
            return None
        known = [found for found in asked.plans if amount(found) <= _SOME]
        best = min((without, *known), key=lambda found: found.today)
        still = OPTIMAL_GAP * abs(best.today)
        holding = [p for p in asked.plans if amount(p) > 1 - _SOME]
        plan = max(holding, key=lambda p: self._meets(p, best.today), default=None)
        first = 1.0 if self.holds else 0.0
        at = first if plan is None else self._meets(plan, best.today)
        bound = -math.inf
        for _ in range(_STEPS):
            found = moving.least(at, self.holds)
            if found is None:
                return None
            bound = found.bound
            if abs(found.value - best.today) <= still and (plan is not None or not self.holds):
                break
            paid = moving.paid(found)
            if paid <= 0:  # it costs nothing by its price: no price flips it
                return None
            plan, at = found, at + (best.today - found.value) / paid
        if plan is None:
            self.exact = best.today - bound <= still
            return None
        share = asked.risk.mean_share
        open_below = max(best.today - without.bound, 0.0) / max(share * moving.paid(plan), 1e-12)
        open_above = max(best.today - bound, 0.0) / max(share * self._least(), 1e-12)
        return _Flipped(at, at - open_below, at + open_above, plan, best)

    def _meets(self, plan: Found, usd: float) -> float:
        paid = self.target.moving.paid(plan)
        return 1.0 + (usd - plan.today) / paid if paid > 0 else -math.inf

    def _least(self) -> float:
        """What it pays at least where it is held."""
        spend = self.target.moving.spend
        return min(spend.get(la, 0.0) / a for la, a in self.target.holds.items())
