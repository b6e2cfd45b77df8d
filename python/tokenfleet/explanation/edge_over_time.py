"""The lower edge of what plans over time cost as an input moves: which plan is the best, and where.

Each plan's cost is a line over the input (`Moving`), the least cost their lower edge. Where a plan
ceases to be the best is found from outside: solve far off, take the nearest cut of the plan's line
with that of the plan found there, solve at the cut, and again until nothing costs less. Beyond the
end another plan takes its place; so the edge is walked from corner to corner, until what is asked
about (the first orders, say) is another. Plans that one question finds serve the next.

A tail of bad futures makes lines bend upwards: then a corner is found by halves, another plan may
be the best somewhere before it, and nothing is called proven.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from tokenfleet.explanation.moving_over_time import Line, Moving
from tokenfleet.explanation.over_time import Found
from tokenfleet.explanation.study import PROVEN, WITHIN, HardSolveError
from tokenfleet.mix.horizon.solve import Orders
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot

_STEPS = 30  # solves for one corner, and corners of one walk
_HALVES = 60
_BEYOND = 5e-4  # of the input, beyond a corner, where plans are told apart


@dataclass(frozen=True)
class Corner:
    """Where the plan in hand ceases to be the best, and what is beyond; None: nowhere so far.

    `within`: up to there it is proven to be no more than this share dearer than the best.
    """

    at: float
    beyond: Found | None
    within: float


@dataclass
class Edge:
    """Plans along an input, each solved once for every value that was asked."""

    moving: Moving
    solved: dict[float, Found | None] = field(default_factory=dict)
    known: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begins with the plans that other questions found."""
        self.known += self.moving.known()

    @property
    def today(self) -> Line:
        """The best plan as it is."""
        return self.moving.line(self.moving.asked.base, 1.0)

    def stays(
        self, most: float, same: Callable[[Found], bool], orders: Orders | None = None
    ) -> Corner:
        """The first corner on the way from today's input to `most` beyond which the best plan is
        none of the `same`.

        Of plans that cost the same those with `orders` are asked first, if they are given.
        """
        here, at, within = self.today, 1.0, 0.0
        for _ in range(_STEPS):
            corner = self.corner(here, at, most)
            within = max(within, corner.within)
            if corner.beyond is None:
                return Corner(corner.at, None, within)
            at = corner.at
            beyond = corner.beyond
            if not same(beyond):
                other = None if orders is None else self._as_good(beyond, at, most, orders)
                if other is None:
                    return Corner(at, beyond, within)
                beyond = other
            here = self._line(beyond)
        raise HardSolveError(f"no end was found in {_STEPS} changes of the plan", "")

    def corner(self, here: Line, since: float, most: float) -> Corner:
        """Where a plan that is the best at `since` ceases to be, on the way to `most`."""
        factor, beyond = self._nearest(here, since, most)
        for _ in range(_STEPS):
            found = self._least(factor)
            if found is None:
                break
            cost, least = here.at(factor), self._line(found).at(factor)
            if cost - least <= self._still() or factor == since:
                break
            cut = self._cut(here, self._line(found), since, factor)
            if cut == factor:
                break
            beyond, factor = found, cut
        found = self._least(factor)
        if found is None or not math.isfinite(found.bound):
            raise HardSolveError("nothing is proven of plans at the end of the range", "")
        within = (here.at(factor) - found.bound) / max(abs(here.at(factor)), 1e-9)
        return Corner(factor, beyond, within)

    def how(self, *corners: Corner) -> HowGot:
        """Whether corners are proven."""
        asked = self.moving.asked
        exact = all(corner.within <= OPTIMAL_GAP for corner in corners)
        proven = exact and asked.base.how == PROVEN and not asked.risk.counts_the_bad
        return PROVEN if proven else WITHIN

    def _as_good(self, beyond: Found, at: float, most: float, orders: Orders) -> Found | None:
        """A plan with the orders that costs no more than another, a little beyond a corner."""
        step = _BEYOND * max(at, _BEYOND)
        factor = min(at + step, most) if most > at else max(at - step, most)
        found = self.moving.least(factor, orders=orders)
        if found is None:
            return None
        line = self._keep(found, factor)
        near = line.at(factor) - self._line(beyond).at(factor)
        return found if near <= self._still() else None

    def _least(self, factor: float) -> Found | None:
        if factor == 1.0:
            return self.moving.asked.base
        if factor not in self.solved:
            found = self.moving.least(factor)
            self.solved[factor] = found
            if found is not None:
                self._keep(found, factor)
        return self.solved[factor]

    def _keep(self, found: Found, factor: float) -> Line:
        line = self.moving.line(found, factor)
        self.known.append(line)
        return line

    def _line(self, plan: Found) -> Line:
        if plan is self.moving.asked.base:
            return self.today
        return next(line for line in self.known if line.plan is plan)

    def _nearest(self, here: Line, since: float, most: float) -> tuple[float, Found | None]:
        """Where on the way a plan that is known costs less first; `most` where none does."""
        met: list[tuple[float, Found | None]] = [(most, None)]
        for line in self.known:
            if here.at(most) - line.at(most) > self._still():
                met.append((self._cut(here, line, since, most), line.plan))
        return min(met, key=lambda of: abs(of[0] - since))

    def _cut(self, here: Line, other: Line, since: float, factor: float) -> float:
        """Where between two inputs a plan that costs less at the second begins to."""
        over, under = here.at(factor) - other.at(factor), other.at(since) - here.at(since)
        if under <= 0:
            return since
        if not self.moving.asked.risk.counts_the_bad:  # both are straight
            return since + (factor - since) * under / (under + over)
        near, far = since, factor
        for _ in range(_HALVES):
            middle = (near + far) / 2
            cheaper = other.at(middle) < here.at(middle)
            near, far = (near, middle) if cheaper else (middle, far)
        return far

    def _still(self) -> float:
        return OPTIMAL_GAP * max(abs(self.moving.asked.base.value), 1e-9)
