"""The range of a price in which a plan stays the best one, with all else as it is.

At f times the price a plan x costs L_x + (f - 1) S_x, where S_x is what it pays by that price
today: a straight line over f. The least cost is the lower edge of all these lines, so today's plan
is the best between two prices, and each end is found from outside: take the nearest cut of its line
with that of a plan that is known (far off, where none is), solve there, cut again, until nothing
costs less. Of a ratio (cost per token) the lines are those of cost less today's ratio, which moves
with the price as well, times the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenfleet.explanation.flip import Target
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Study, systems_by_offer
from tokenfleet.mix.model import Label
from tokenfleet.plan.explored import HowGot

_STEPS = 30
_FAR = 1000.0  # times the price, where a plan that is still the best stays so
_STILL = 1e-7  # of the least cost, by which a plan is no better
_TOLD_APART = 1e4  # times that, between the slopes of two lines that rounding does not make cross


@dataclass(frozen=True)
class Range:
    """From `low` to `high` times today's price the plan stays the best: 0 and None are no end.

    `below` and `above` are the systems that are best beyond the ends, by offer and site. `within`:
    in the range it is proven to be that near to the best, and may be dearer outside.
    """

    target: Target
    low: float
    high: float | None
    how: HowGot
    below: Mapping[str, int] = field(default_factory=dict)
    above: Mapping[str, int] = field(default_factory=dict)
    within: float = 0.0


def price_range(study: Study, target: Target) -> Range | None:
    """The range of a target's price; None where today's plan pays nothing by it.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    lines = _Lines(study, target)
    if lines.spend <= 0:
        return None
    low, below, low_how = lines.end(0.0)
    high, above, high_how = lines.end(_FAR)
    problem = study.problem
    return Range(
        target,
        low,
        high if above is not None else None,
        PROVEN if low_how == high_how == study.base.how == PROVEN else WITHIN,
        {} if below is None else systems_by_offer(problem, below.values),
        {} if above is None else systems_by_offer(problem, above.values),
    )


class _Lines:
    """Costs of plans over the factor on a price: `start + (f - 1) * slope`."""

    def __init__(self, study: Study, target: Target) -> None:
        self.study = study
        base = study.base
        self.weights, self.constant = study.weights_beside(base)
        self.spend = _sum(target.spend, base)
        self.slope: dict[Label, float] = dict(target.spend)
        if study.problem.objective.goal.per is not None:
            ratio = self.spend / _sum(study.tokens, base)
            for label, tokens in study.tokens.items():
                self.slope[label] = self.slope.get(label, 0.0) - ratio * tokens
        self.today = (self.constant + _sum(self.weights, base), _sum(self.slope, base))
        self.still = _STILL * max(abs(base.annual_cost_usd), 1e-9)

    def end(self, factor: float) -> tuple[float, Answer | None, HowGot]:
        """Where the plan ceases to be the best on the way from 1 to the factor.

        None in place of the plan beyond it: nowhere.
        """
        factor, beyond = self._nearest(factor)
        how: HowGot = PROVEN
        for _ in range(_STEPS):
            start = None if beyond is None else self.study.named(beyond.values)
            found = self._least(factor, start)
            if found is None:
                break
            how = how if found.how == PROVEN else WITHIN
            cost, slope = self._line(found)
            saved = self._at(self.today, factor) - self._at((cost, slope), factor)
            if saved <= self.still or math.isclose(slope, self.today[1]):
                break
            crossing = self._crossing((cost, slope), factor)
            if crossing == factor:
                break
            beyond, factor = found, crossing
        return factor, beyond, how

    def _nearest(self, factor: float) -> tuple[float, Answer | None]:
        """Where on the way to the factor a plan that is known costs less first; the factor itself
        where none does."""
        met: list[tuple[float, Answer | None]] = [(factor, None)]
        for plan in self.study.known():
            line = self._line(plan)
            apart = abs(line[1] - self.today[1])
            saved = self._at(self.today, factor) - self._at(line, factor)
            if saved > self.still and apart > self.still * _TOLD_APART:
                met.append((self._crossing(line, factor), plan))
        return min(met, key=lambda of: abs(of[0] - 1.0))

    def _crossing(self, line: tuple[float, float], factor: float) -> float:
        """Where on the way from 1 to the factor a plan costs what today's does."""
        crossing = 1.0 + (line[0] - self.today[0]) / (self.today[1] - line[1])
        return max(crossing, 1.0) if factor > 1.0 else min(max(crossing, 0.0), 1.0)

    def _least(self, factor: float, start: Mapping[str, float] | None) -> Answer | None:
        """The best plan at so many times the price."""
        weights = dict(self.weights)
        for label, usd in self.slope.items():
            weights[label] = weights.get(label, 0.0) + (factor - 1.0) * usd
        return self.study.least(weights, self.constant, start=start, unbudgeted=self.study.pays)

    def _line(self, plan: Answer) -> tuple[float, float]:
        return self.constant + _sum(self.weights, plan), _sum(self.slope, plan)

    @staticmethod
    def _at(line: tuple[float, float], factor: float) -> float:
        return line[0] + (factor - 1.0) * line[1]


def _sum(weights: Mapping[Label, float], plan: Answer) -> float:
    return sum(a * plan.values.get(label, 0.0) for label, a in weights.items())
