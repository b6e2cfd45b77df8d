"""What the solver found: the columns that are not zero, what they cost, and what is proven.

`MixResult.values` maps the labels of columns to numbers; everything a report needs is
read from it. Values are whole where the column is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pulp

from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.choices import implied
from tokenfleet.mix.model.index import WHOLE
from tokenfleet.mix.solver.highs import Status
from tokenfleet.mix.why.without import Without
from tokenfleet.problem_data import (
    SECONDS_PER_HOUR,
    Api,
    ApiData,
    BoundCheck,
    Candidate,
    Denominator,
    FloatArray,
    Flow,
    ObjectiveKind,
    OfferData,
    Problem,
    Replicas,
    Scale,
    Systems,
)

_ZERO = 1e-9  # requests/s below this are rounding noise


@dataclass(frozen=True)
class Tightening:
    """After a re-check: candidate `candidate` (its index) needs `factor` > 1 times its load."""

    candidate: int
    factor: float


@dataclass(frozen=True)
class SingleSystem:
    """The best plan found that uses one system type, and the bound for all such plans."""

    system: str
    value: float
    bound: float
    values: Mapping[Label, float] = field(repr=False)


@dataclass(frozen=True)
class Booking:
    """Dollars a year of a cost item that one number of the plan comes to."""

    item: str
    label: Label
    usd: float


@dataclass(frozen=True)
class MixResult:
    """The mix with its proof.

    `value` and `bound` are in the objective's unit: $ a year, kWh, kg, tokens a year, or $ per
    million tokens (`least_cost_per_token`, where `value` may exceed the least ratio by the stated
    tolerance in favour of volume; `gap` is that of the least ratio). `bound_check` says by what
    other means the bound was found to hold, see `verify.bound`.
    """

    problem: Problem = field(repr=False)  # as solved: loads tightened by the re-check
    status: Status
    kind: ObjectiveKind
    value: float
    bound: float
    gap: float  # of the value, or of the best one where a tolerance let it be a little worse
    values: Mapping[Label, float] = field(repr=False)
    bookings: tuple[Booking, ...] = field(repr=False)  # of what depends on the plan
    interrupted: bool = False
    seconds: float = 0.0
    rounds: int = 1
    best_value: float | None = None  # of the best plan found, where a simpler one took its place
    best_single: SingleSystem | None = None
    without: tuple[Without, ...] = ()
    bound_check: BoundCheck = "none"
    warnings: tuple[str, ...] = ()

    @property
    def best(self) -> float:
        """The best value found: that of the plan, but where a simpler one took its place."""
        return self.value if self.best_value is None else self.best_value

    @property
    def cost_items(self) -> dict[str, float]:
        """Yearly $ by item; contracted power is paid whatever the plan is."""
        items: dict[str, float] = {}
        for booking in self.bookings:
            items[booking.item] = items.get(booking.item, 0.0) + booking.usd
        contracted = sum(site.contracted_power_usd_per_year for site in self.problem.sites)
        if contracted:
            items["contracted_power"] = contracted * self.problem.years
        return dict(sorted(items.items()))

    @property
    def annual_cost_usd(self) -> float:
        """Sum of the cost items."""
        return sum(self.cost_items.values())

    @property
    def offers(self) -> list[OfferData]:
        """Offers that systems are obtained by, each once, in the order of the problem."""
        used = {x.offer for x, n in self.values.items() if isinstance(x, Systems) and n > 0}
        return [self.problem.offers[o] for o in sorted(used)]

    @property
    def candidates(self) -> list[Candidate]:
        """Candidates that there are replicas of, each once, in the order of the problem."""
        used = {x.candidate for x, n in self.values.items() if isinstance(x, Replicas) and n > 0}
        return [self.problem.candidates[c] for c in sorted(used)]

    @property
    def apis(self) -> list[ApiData]:
        """Hosted APIs that requests go to, each once, in the order of the problem."""
        used = {x.api for x, rate in self.values.items() if isinstance(x, Api) and rate > 0}
        return [self.problem.apis[a] for a in sorted(used)]

    @property
    def scale(self) -> float:
        """Common scale of free demand in requests/s; 0 when no demand is free."""
        return self.values.get(Scale(), 0.0)


def clean_values(m: FleetModel, by_name: Mapping[str, float]) -> dict[Label, float]:
    """Values by label: whole columns rounded, noise and replicas that do nothing dropped."""
    values: dict[Label, float] = {}
    for label, column in m.columns.items():
        value = by_name.get(column.name, 0.0)
        whole = isinstance(label, WHOLE) and column.cat == pulp.LpInteger
        value = float(round(value)) if whole else value
        if abs(value) > _ZERO:
            values[label] = value
    kept = {label: v for label, v in values.items() if not _does_nothing(m, values, label)}
    # The plan itself says what it uses: without a price to pay, such a column may be 1 in vain.
    kept |= implied(m, kept)
    return {label: v for label, v in kept.items() if v}


def _does_nothing(m: FleetModel, values: Mapping[Label, float], label: Label) -> bool:
    """Whether replicas serve no request and draw no power: the solver's leftovers, free of charge
    in a system that is there anyway."""
    if not isinstance(label, Replicas):
        return False
    p, c, blocks = label.pool, label.candidate, m.problem.scopes[label.scope].blocks
    classes = range(len(m.problem.candidates[c].load))
    serves = any(Flow(b, p, c, k) in values for b in blocks for k in classes)
    return not serves and m.problem.candidates[c].idle_w == 0.0


def bookings(m: FleetModel, values: Mapping[Label, float]) -> tuple[Booking, ...]:
    """What each number costs, from the terms that the objective was built of."""
    return tuple(
        Booking(term.item, term.label, term.usd * values[term.label])
        for term in m.terms
        if term.usd and values.get(term.label)
    )


def served_rps(problem: Problem, values: Mapping[Label, float]) -> list[FloatArray]:
    """Requests/s delivered of each workload (B, K), by replicas and APIs."""
    served = [np.zeros(workload.demand_rps.shape) for workload in problem.workloads]
    for label, value in values.items():
        if isinstance(label, Flow):
            candidate = problem.candidates[label.candidate]
            if candidate.role != "prefill":
                served[candidate.workload][label.block, label.cls] += value
        elif isinstance(label, Api):
            served[problem.apis[label.api].workload][label.block, label.cls] += value
    return served


def tokens_per_year(
    problem: Problem, values: Mapping[Label, float], denominator: Denominator
) -> float:
    """Tokens delivered in a year: output, or input + output."""
    seconds = np.array([block.counted_hours * SECONDS_PER_HOUR for block in problem.blocks])
    total = 0.0
    for workload, served in zip(problem.workloads, served_rps(problem, values), strict=True):
        tokens = workload.output_tokens
        if denominator == "total":
            tokens = tokens + workload.input_tokens
        total += float(seconds @ served @ tokens)
    return total
