"""What a search has in hand: the best plan, the bound, and whether that is enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.solver.highs import PROVEN, Outcome, Status, certify, relative_gap, sign_of

#: Told value and bound of the best plan as they move, in the sense of the model; the bound is -inf
#: or inf while nothing is proven.
Watch = Callable[[float, float], None]


@dataclass(frozen=True)
class Found:
    """Best plan (column name to value) and bound; without a plan `values` is empty."""

    status: Status
    value: float
    bound: float
    values: Mapping[str, float]
    interrupted: bool = False
    ray: tuple[str, ...] = ()
    best_value: float | None = None  # where a stated tolerance let `value` be a little worse
    relaxed: Outcome | None = field(default=None, repr=False)  # the last relaxation, with its duals
    exhausted: bool = False  # proven: the columns that the model holds make no plan
    #: Duals of rows in a relaxation of the whole, by name.
    row_duals: Mapping[str, float] = field(default_factory=dict, repr=False)

    @property
    def best(self) -> float:
        """The best value found: that of the plan, but where a stated tolerance let it be worse."""
        return self.value if self.best_value is None else self.best_value

    @property
    def gap(self) -> float:
        """Relative gap of the best value found; a stated tolerance is a choice and not a gap."""
        return relative_gap(self.best, self.bound)


def value_of(m: FleetModel, plan: Mapping[str, float]) -> float:
    """What the objective that the model has now says of a plan, given by names of columns."""
    objective = m.prob.objective
    return float(objective.constant + sum(a * plan.get(v.name, 0.0) for v, a in objective.items()))


class Incumbent:
    """The best plan so far and the bound, whatever order they arrive in."""

    def __init__(
        self,
        m: FleetModel,
        gap: float,
        bound: float,
        partial: bool = False,
        watch: Watch | None = None,
    ) -> None:
        """`watch` is told of every better plan and bound."""
        self.m = m
        self.gap = gap
        self.bound = bound
        self.partial = partial  # the model lacks columns: what it proves is of itself alone
        self.value = math.nan
        self.plan: dict[str, float] | None = None
        self.status: Status = "error"
        self.exhausted = False
        self.interrupted = False
        self.row_duals: Mapping[str, float] = {}  # of a relaxation of the whole
        self.sign = sign_of(m.prob)
        self.watch = watch
        self.told = (math.nan, math.nan)  # best value and bound that were told

    def offer_plan(self, plan: Mapping[str, float]) -> None:
        """A feasible plan found outside the solver."""
        value = value_of(self.m, plan)
        if self.plan is None or self.sign * value < self.sign * self.value:
            self.value, self.plan = value, dict(plan)
            self.hear(self.value, self.bound)

    def take(self, outcome: Outcome, *, whole: bool) -> None:
        """The outcome of a run; its bound counts only when no column was left out."""
        self.interrupted |= outcome.interrupted
        if outcome.has_incumbent:
            self.offer_plan(outcome.values)
        self.exhausted |= whole and outcome.status == "infeasible"
        if whole and not self.partial:
            self.status = outcome.status
            self.prove(outcome.bound)

    def prove(self, bound: float) -> None:
        """A bound on the whole model, kept where it is better than the one in hand."""
        if math.isfinite(bound):
            self.bound = self.sign * max(self.sign * self.bound, self.sign * bound)
            self.hear(self.value, self.bound)

    def hear(self, value: float, bound: float) -> None:
        """Tells who watches where a value or a bound is better than all that were told."""
        if self.watch is None:
            return
        values = [v * self.sign for v in (value, self.told[0]) if math.isfinite(v)]
        bounds = [b * self.sign for b in (bound, self.bound, self.told[1]) if not math.isnan(b)]
        best, proven = min(values, default=math.nan), max(bounds, default=-math.inf)
        now = (self.sign * best, self.sign * proven)
        if math.isfinite(best) and now != self.told:
            self.told = now
            self.watch(*now)

    def done(self) -> bool:
        """Whether the gap is reached or the user asked to stop."""
        proven = certify(self.value, self.bound, self.gap) in PROVEN
        return self.plan is not None and (proven or self.interrupted)

    def target(self) -> float | None:
        """The value at which the gap to today's bound is reached."""
        if self.gap <= 0 or self.bound == 0:
            return None
        towards = self.sign * (1.0 if self.bound > 0 else -1.0)
        return self.bound / (1.0 - towards * self.gap)

    def found(self) -> Found:
        """Status from the proof, or the solver's own word when there is no plan."""
        if self.plan is None:
            return Found(
                self.status,
                math.nan,
                self.bound,
                {},
                self.interrupted,
                exhausted=self.exhausted,
            )
        if self.sign * self.bound > self.sign * self.value:  # rounding noise: a proof is a proof
            self.bound = self.value
        status = certify(self.value, self.bound, self.gap)
        return Found(
            status,
            self.value,
            self.bound,
            self.plan,
            self.interrupted,
            row_duals=self.row_duals,
        )
