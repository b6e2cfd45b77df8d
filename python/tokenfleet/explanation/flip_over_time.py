"""At which price an offer enters a plan over time, or leaves it, at all dates alike.

As of one year (`flip`): let V0 be the least cost without the offer, and S what a plan pays at its
price. At f times the price the plan costs (f - 1) S more than today, so it meets V0 at

    f  =  1 + (V0 - its cost today) / S

and the largest f over all plans that hold the offer is wanted. Go to the f of the best plan that is
known, look there for a cheaper plan that holds it, and so on until there is none: two to four
solves, each from the plan before. The plan shows that the offer is held up to there; the bound of
the last solve, over the least that an order pays, how far beyond a plan could still hold it.

A tail of bad futures is no sum of what is paid, so with it f is approached from either side, and
what a bound leaves open is counted by the share of the mean alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import FlipPrice
from tokenfleet.explanation.study import PROVEN, WITHIN
from tokenfleet.files.plain import finite
from tokenfleet.mix.model import Label
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Ordered, Systems

_STEPS = 12


def flips_over_time(asked: OverTime, about: About = EVERYTHING) -> Iterator[FlipPrice]:
    """The price at which each offer that is asked about enters the plan, or leaves it."""
    for group in filter(about, asked.groups()):
        price = asked.built.supply.prices.get(group)
        stated = 0.0 if price is None else price.usd_per_gpu_h or price.usd_per_system
        if price is not None and stated:
            unit = "USD/GPU-h" if price.usd_per_gpu_h else "USD/system"
            yield _flip(asked, group, stated, unit)


def _flip(asked: OverTime, group: str, price: float, unit: str) -> FlipPrice:
    begun = asked.solves
    search = _Search(asked, group, asked.spend(group))
    chosen = search.amount(asked.base.result.values) > 0
    without = asked.without(asked.offers(group)) if chosen else asked.base
    found = None if without is None else search.run(without)
    if found is None:
        return FlipPrice(
            kind="offer", name=group, chosen=chosen, verdict="always" if chosen else "never",
            discount=None, discount_low=None, discount_high=None, price=price, flip_price=None,
            unit=unit, systems_with=dict(asked.base.systems) if chosen else {},
            systems_without={} if without is None else dict(without.systems),
            solves=asked.solves - begun, how=PROVEN,
        )  # fmt: skip
    never = not chosen and found.at <= 0
    return FlipPrice(
        kind="offer",
        name=group,
        chosen=chosen,
        verdict="leaves" if chosen else "never" if never else "enters",
        discount=None if never else 1.0 - found.at,
        discount_low=None if never else finite(1.0 - found.most),
        discount_high=None if never else finite(1.0 - found.least),
        price=price,
        flip_price=None if never else price * found.at,
        unit=unit,
        systems_with={} if never else dict(found.plan.systems),
        systems_without=dict(found.without.systems),
        solves=asked.solves - begun,
        how=found.how,
    )


@dataclass(frozen=True)
class _Flipped:
    """Up to `at` times its price the plan holds the offer; proven is that some plan does up to
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


@dataclass(frozen=True)
class _Search:
    """Plans that hold an offer, at the prices at which they meet the best one without it."""

    asked: OverTime
    group: str
    spend: Mapping[Label, float]  # USD a year, levelised, at today's price

    @property
    def holds(self) -> dict[Label, float]:
        """Orders of the offer; what is there by the hour where it has no orders."""
        ordered: dict[Label, float] = {la: 1.0 for la in self.spend if isinstance(la, Ordered)}
        by_hour: dict[Label, float] = {la: 1.0 for la in self.spend if isinstance(la, Systems)}
        return ordered or by_hour

    def amount(self, values: Mapping[Label, float]) -> float:
        """How many systems of it a plan orders."""
        return sum(values.get(la, 0.0) for la in self.holds)

    def paid(self, plan: Found) -> float:
        """What a plan pays at today's price."""
        return sum(usd * plan.result.values.get(la, 0.0) for la, usd in self.spend.items())

    def run(self, without: Found) -> _Flipped | None:
        """The answer; None where no plan holds the offer, or none pays for it."""
        asked, holds = self.asked, self.holds
        if not holds:
            return None
        known = [found for found in asked.plans if self.amount(found.result.values) <= 0]
        best = min((without, *known), key=lambda found: found.today)
        still = OPTIMAL_GAP * abs(best.today)
        holding = [p for p in asked.plans if self.amount(p.result.values) > 1 - 1e-6]
        plan = max(holding, key=lambda p: self._meets(p, best.today), default=None)
        at = 1.0 if plan is None else self._meets(plan, best.today)
        bound = -math.inf
        for _ in range(_STEPS):
            found = asked.at_price(self.group, at, self.spend, holds)
            if found is None:
                return None
            bound = found.bound
            if plan is not None and abs(found.value - best.today) <= still:
                break
            paid = self.paid(found)
            if paid <= 0:  # it costs nothing by its price: no price flips it
                return None
            plan, at = found, at + (best.today - found.value) / paid
        assert plan is not None
        share = asked.risk.mean_share
        open_below = max(best.today - without.bound, 0.0) / max(share * self.paid(plan), 1e-12)
        open_above = max(best.today - bound, 0.0) / max(share * self._least(), 1e-12)
        return _Flipped(at, at - open_below, at + open_above, plan, best)

    def _meets(self, plan: Found, usd: float) -> float:
        paid = self.paid(plan)
        return 1.0 + (usd - plan.today) / paid if paid > 0 else -math.inf

    def _least(self) -> float:
        """What one system of it pays at least."""
        return min(self.spend[label] for label in self.holds)
