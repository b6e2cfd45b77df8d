"""At which price an offer takes a tenth, or half, of the fleet over time, at all dates alike.

As of one year (`share`), by the same search (`reach`). Of offers and system types the share is of
the accelerator-hours of all periods and futures, each at the weight that its money has: its
probability, and discounted. The row that asks for so much counts systems alone, so a small fleet is
still searched by its states. Of a hosted API the row would tie what happens inside the nodes
together, and none is asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.moving_over_time import Target
from tokenfleet.explanation.over_time import Found
from tokenfleet.explanation.reach import Line, Reached, reached
from tokenfleet.explanation.rows import Taken
from tokenfleet.explanation.share import SHARES
from tokenfleet.files.plain import finite
from tokenfleet.mix.model import Label
from tokenfleet.problem_data import Systems

_FREE = 1.0  # the discount at which it costs nothing
_ROUNDING = 1e-9
_SOME = 1e-6
_ONE_S = 20.0  # for one plan: where systems by the hour are in the row, a tree has no states


def taken_over_time(
    target: Target, without: Found, plan: Found, discount: tuple[float, float], ask: Ask = plainly
) -> Iterator[Taken]:
    """Each share of a target that enters, or leaves, at a `discount` that is at least the second of
    the two; `plan` holds it there, and `without` is the best that does not."""
    asked = target.moving.asked
    if target.kind == "api" or asked.risk.counts_the_bad or discount[1] >= _FREE:
        return
    for share in SHARES:
        plans = _Sharing.of(target, share)
        if plans.keeps(plan):
            found = Reached(discount[0], discount[1], plan.how, plan)
        else:
            what = f"price at which {target.name} takes {share:.0%}"
            answer = ask(what, partial(reached, plans, without, _FREE))
            if answer is None:
                continue
            found = answer
        yield _row(target, share, found)


def _row(target: Target, share: float, found: Reached[Found]) -> Taken:
    price = None if target.stated is None or found.at is None else target.stated * (1.0 - found.at)
    return Taken(
        share=share,
        discount=found.at,
        discount_low=finite(found.low),
        flip_price=price,
        systems={} if found.plan is None else dict(found.plan.systems),
        how=found.how,
    )


@dataclass(frozen=True)
class _Sharing:
    """Plans as the price of a target falls, and those in which it has its share: `row` adds up to
    no less than nothing in them."""

    target: Target
    row: Mapping[Label, float] = field(repr=False)

    @classmethod
    def of(cls, target: Target, share: float) -> _Sharing:
        """The row of a share: what is the target's less so much of all."""
        asked = target.moving.asked
        problem = asked.bare.problem
        hours = [block.counted_hours for block in problem.blocks]
        row: dict[Label, float] = {}
        for label in asked.bare.of(Systems):
            offer = problem.offers[label.offer]
            mine = 1.0 if offer.id in target.offers else 0.0
            size = problem.pools[offer.pool].gpus_per_system
            counted = math.fsum(hours[b] for b in problem.scopes[label.scope].blocks)
            row[label] = (mine - share) * size * counted
        largest = max(map(abs, row.values()), default=0.0) or 1.0
        moving = replace(target.moving, seconds=min(_ONE_S, target.moving.seconds))
        return cls(replace(target, moving=moving), {label: a / largest for label, a in row.items()})

    def line(self, plan: Found) -> Line:
        return Line(plan.today, self.target.moving.paid(plan))

    def known(self) -> list[Found]:
        return self.target.moving.asked.plans

    def keeps(self, plan: Found) -> bool:
        values = plan.result.values
        parts = [a * values.get(la, 0.0) for la, a in self.row.items()]
        enough = math.fsum(parts) >= -_ROUNDING * math.fsum(map(abs, parts))
        return enough and self.target.amount(plan) > 1.0 - _SOME

    def least(self, t: float, start: Found | None, *, keeping: bool) -> Found | None:
        """The best plan there; it begins from the best of all that are known (`start` among
        them)."""
        if not keeping:
            return self.target.moving.least(1.0 - t)
        return self.target.moving.least(1.0 - t, self.target.holds, rows=((self.row, 0.0),))
