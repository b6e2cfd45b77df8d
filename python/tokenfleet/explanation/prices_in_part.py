"""Prices of a problem whose plans are searched over a part of its pairs: ranges, and shares taken.

A gap hides which of two plans is the better one, so that a range in which a plan stays the best
cannot be told. What can be told is how far a price may move until the plan may be more than a
hundredth dearer than the best one: at f times the price it costs L + (f - 1) S, a straight line,
and no plan costs less than the relaxation R(f), which is concave. So the range is one interval, and
each end is found from outside by Newton's method, a relaxation a step.

The price at which something takes a tenth or half of the fleet is first that at which the
relaxation gives it so much, found by halves; a plan is then searched there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from tokenfleet.explanation.flip import Flip, Target
from tokenfleet.explanation.flip_in_part import At
from tokenfleet.explanation.in_part import Values
from tokenfleet.explanation.ranges import Range
from tokenfleet.explanation.reach import Reached
from tokenfleet.explanation.share import SHARES, Taken
from tokenfleet.explanation.study import WITHIN, Answer, HardSolveError, Study
from tokenfleet.problem_data import SECONDS_PER_HOUR, Api, Systems

_WITHIN = 0.01  # of the best plan's cost, by which a plan may be dearer in its range
_AND_GAPS = 2.0  # times that by which it is above the relaxation today, where that is more
_LOW, _FAR = 0.001, 1000.0  # times the price: it costs hardly anything, nobody would pay it
_LEFT = 2e-6  # of the relaxation, which is solved no closer
_STEPS = 20
_CLOSE = 0.002  # of a price, to which the relaxation's shares are found
_FREE = 0.999  # the discount at which it costs hardly anything
_ROUNDING = 1e-9


def range_in_part(study: Study, target: Target, at: At) -> Range | None:
    """Between which prices today's plan stays within a share of the best, proven; None where it
    pays nothing by that price.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    spend = target.spent(study.base.values)
    if spend <= 0:
        return None
    today = study.relaxed(study.problem)
    assert today is not None  # the problem is searched in part
    within = max(_WITHIN, _AND_GAPS * (study.base.loss / today[0] - 1.0))
    line = _Line(study, target, at, spend, within)
    low, high = line.end(_LOW), line.end(_FAR)
    return Range(
        target, 0.0 if low == _LOW else low, None if high == _FAR else high, WITHIN, within=within
    )


@dataclass(frozen=True)
class _Line:
    """What today's plan costs over the factor on a price, and how much more than the best that is
    at most."""

    study: Study
    target: Target
    at: At
    spend: float
    within: float

    def end(self, factor: float) -> float:
        """The factor at which the plan ceases to be within the share, on the way from 1 to this
        one; this one where it never does."""
        base = self.study.base
        for _ in range(_STEPS):
            found = self.study.relaxed(self.at(1.0 - factor))
            if found is None:
                break
            allowed = 1.0 + self.within
            least, slope = found[0] * (1.0 - _LEFT), self.target.spent(found[1])
            over = base.loss + (factor - 1.0) * self.spend - allowed * least
            steep = self.spend - allowed * slope
            if over <= _LEFT * abs(base.loss):
                return factor
            nearer = factor - over / steep if steep else 1.0
            if not min(1.0, factor) < nearer < max(1.0, factor):
                return 1.0
            factor = nearer
        raise HardSolveError(f"a range was not found in {_STEPS} relaxations", "")


def taken_in_part(study: Study, target: Target, flipped: Flip, at: At) -> Iterator[Taken]:
    """Each share of what enters or leaves at a price.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    if flipped.relaxed is None:
        return
    asked = _Shares(study, flipped.target, at)
    for share in SHARES:
        yield Taken(share, asked.reached(share, flipped.relaxed))


@dataclass
class _Shares:
    study: Study
    target: Target
    at: At
    known: dict[float, float] = field(default_factory=dict)  # share of the relaxation, by discount

    def reached(self, share: float, first: float) -> Reached[Answer]:
        """The discount from which on it takes a share, `first` being that at which it enters."""
        if self._relaxed(_FREE) < share:
            return Reached(None, -math.inf, "relaxation")
        low, high = first, _FREE
        while high - low > _CLOSE * max(1.0 - low, _CLOSE):
            middle = (low + high) / 2
            low, high = (low, middle) if self._relaxed(middle) >= share else (middle, high)
        plan = self.study.again(self.at(high), self.study.base.values)
        if plan is None or self._share(plan.values) < share * (1.0 - _ROUNDING):
            return Reached(high, -math.inf, "relaxation")
        return Reached(high, -math.inf, WITHIN, plan)

    def _relaxed(self, discount: float) -> float:
        if discount not in self.known:
            found = self.study.relaxed(self.at(discount))
            self.known[discount] = 0.0 if found is None else self._share(found[1])
        return self.known[discount]

    def _share(self, values: Values) -> float:
        """Of accelerator-hours; of a hosted API, of the output tokens of its workload."""
        problem, amount = self.study.problem, self.target.amount
        if self.target.kind == "api":
            return self._share_of_tokens(values)
        hours = {
            la: n * problem.pools[problem.offers[la.offer].pool].gpus_per_system
            * problem.scopes[la.scope].hours
            for la, n in values.items()
            if isinstance(la, Systems)
        }  # fmt: skip
        whole = math.fsum(hours.values())
        return sum(of for la, of in hours.items() if la in amount) / whole if whole > 0 else 0.0

    def _share_of_tokens(self, values: Values) -> float:
        problem = self.study.problem
        workload = problem.workloads[problem.apis[self.target.apis[0]].workload]

        def tokens(block: int, cls: int, rate: float) -> float:
            seconds = problem.blocks[block].counted_hours * SECONDS_PER_HOUR
            return rate * seconds * float(workload.output_tokens[cls])

        asked = workload.demand_rps
        whole = sum(
            tokens(b, k, float(asked[b, k]))
            for b in range(asked.shape[0])
            for k in range(asked.shape[1])
        )
        mine = sum(
            tokens(la.block, la.cls, n)
            for la, n in values.items()
            if isinstance(la, Api) and la in self.target.amount
        )
        return mine / whole if whole > 0 else 0.0
