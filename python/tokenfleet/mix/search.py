"""One objective, one model: bound, good plan, proof.

1. The linear relaxation gives a bound and the columns worth having. A small model then goes to
   HiGHS whole, which finds cuts and plans of its own.
2. A large one is tightened by cuts first (`relaxation`): HiGHS will hardly see it whole.
3. Rounding the relaxation up (`rounding`) gives a plan. The model is solved over the candidates
   the relaxation uses, then over those whose reduced cost is small against the price of their
   systems, each stage starting from the last plan; all that a better plan may use, by reduced
   costs (`fixing`) and by probing, comes last, for whatever time is left or as soon as it is small.
4. Bound = the better of the relaxation's and that of the whole model. Restricted stages prove
   nothing and their bounds are not used. The search stops as soon as value and bound are within
   the gap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pulp

from tokenfleet.mix.deadline import Deadline
from tokenfleet.mix.fixing import may_improve
from tokenfleet.mix.highs import Outcome, SolveOptions, Status, certify, relative_gap, run
from tokenfleet.mix.model import ALL_YEAR, FleetModel, Label
from tokenfleet.mix.model.columns import per_block
from tokenfleet.mix.relaxation import probe, tighten
from tokenfleet.mix.rounding import round_up

SMALL = 400  # integer columns up to which the whole model is solved at once
_EFFORT = 0.3  # restricted stages look for plans; their bounds are not used
# (reduced cost / price of the systems, share of the time left)
_STAGES = ((0.0, 0.4), (0.002, 0.8))
_ROUGH = 5e-4  # gap at which the first stage, whose bound is not used, has a good plan
_ROOTS = 10.0  # times the relaxation's time, below which the whole model has nothing to add


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

    @property
    def gap(self) -> float:
        """Relative gap of the best value found; a stated tolerance is a choice and not a gap."""
        return relative_gap(self.value if self.best_value is None else self.best_value, self.bound)


def search(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    start: Mapping[str, float] | None = None,
    bound: float | None = None,
) -> Found:
    """Solve the model with the objective it has now.

    With `bound` the model holds only a part of the columns: the bound is that of the whole, and
    nothing that the part proves about itself is claimed.
    """
    begun = time.perf_counter()
    relaxed = run(m.prob, _within(options, deadline.left()), mip=False)
    seconds = time.perf_counter() - begun
    if not relaxed.has_incumbent:
        return Found(relaxed.status, math.nan, relaxed.bound, {}, relaxed.interrupted, relaxed.ray)
    partial = bound is not None
    large = _integers(m) > SMALL
    if large and not partial and tighten(m, options, deadline):
        relaxed = run(m.prob, _within(options, deadline.left()), mip=False)
    best = _Best(
        m, options.gap, relaxed.bound if bound is None else bound, _ROOTS * seconds, partial
    )
    if start is not None:
        best.offer_plan(start)
    try:
        improve = _in_stages if large else _at_once
        improve(m, options, deadline, relaxed, best)
    except KeyboardInterrupt:
        if best.plan is None:
            raise
        best.interrupted = True
    return best.found()


def first_plan(m: FleetModel, options: SolveOptions, deadline: Deadline, bound: float) -> Found:
    """The relaxation rounded up and nothing more, for a search that was stopped."""
    relaxed = run(m.prob, _within(options, deadline.left()), mip=False)
    best = _Best(m, options.gap, bound, 0.0, partial=True)
    if relaxed.has_incumbent:
        _round(m, options, deadline, relaxed, best)
    best.interrupted = True
    return best.found()


def _at_once(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    relaxed: Outcome,
    best: _Best,
) -> None:
    """The whole model, but for what no plan better than the start may use."""
    if not best.done():
        _solve_among(m, options, deadline, _may_improve(m, relaxed, best), best)


def _in_stages(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    relaxed: Outcome,
    best: _Best,
) -> None:
    """Restricted stages, then all that a better plan may use if that can still help."""
    _restricted_stages(m, options, deadline, relaxed, best)
    hopeless = best.plan is not None and deadline.left() < best.whole_s
    if best.done() or hopeless:
        return
    worth = _may_improve(m, relaxed, best)
    if best.plan is not None and not best.partial:
        with only(m, worth):
            worth = probe(m, options, deadline, worth, best.value)
    _solve_among(m, options, deadline, worth, best)


def _solve_among(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    worth: set[tuple[int, int]],
    best: _Best,
) -> None:
    limit = _within(options, max(deadline.left(), 1.0))
    with only(m, worth):
        best.take(run(m.prob, limit, start=best.plan, target=best.target()), whole=True)


def _may_improve(m: FleetModel, relaxed: Outcome, best: _Best) -> set[tuple[int, int]]:
    """(pool, candidate) that a better plan may use; leaving the others out proves as much."""
    if best.plan is None:
        return {(p, c) for p, candidates in m.eligible.items() for c in candidates}
    return may_improve(m, relaxed, best.value)


def _restricted_stages(
    m: FleetModel,
    options: SolveOptions,
    deadline: Deadline,
    relaxed: Outcome,
    best: _Best,
) -> None:
    """Stages over few candidates; they take all the time that cannot help the whole model."""
    _round(m, options, deadline, relaxed, best)
    for reduced, share in _STAGES[1:] if best.partial else _STAGES:
        if best.done() or (best.plan is not None and _few_left(m, relaxed, best)):
            return
        left = deadline.left()
        last = reduced == _STAGES[-1][0] and left * (1.0 - share) < best.whole_s
        limit = _within(options, left if last else left * share)
        gap = options.gap / 4 if reduced else max(options.gap, _ROUGH)
        limit = replace(limit, gap=gap, heuristic_effort=_EFFORT)
        with only(m, attractive(m, relaxed, reduced)):
            best.take(run(m.prob, limit, start=best.plan, target=best.target()), whole=False)


def _round(
    m: FleetModel, options: SolveOptions, deadline: Deadline, relaxed: Outcome, best: _Best
) -> None:
    with only(m, attractive(m, relaxed, _STAGES[-1][0])):
        rounded = round_up(m, relaxed, options, deadline)
    if rounded is not None:
        best.offer_plan(rounded)


def _few_left(m: FleetModel, relaxed: Outcome, best: _Best) -> bool:
    with only(m, _may_improve(m, relaxed, best)):
        return _integers(m) <= SMALL


def _within(options: SolveOptions, seconds: float) -> SolveOptions:
    return replace(options, time_limit_s=max(seconds, 0.05))


def _integers(m: FleetModel) -> int:
    return sum(v.cat == pulp.LpInteger and v.upBound != 0 for v in m.columns.values())


class _Best:
    """The incumbent and the bound, kept apart from the order in which they arrive."""

    def __init__(
        self, m: FleetModel, gap: float, bound: float, whole_s: float, partial: bool = False
    ) -> None:
        self.m = m
        self.gap = gap
        self.bound = bound
        self.partial = partial  # the model lacks columns: what it proves is of itself alone
        self.whole_s = whole_s  # seconds below which the whole model cannot help
        self.value = math.nan
        self.plan: dict[str, float] | None = None
        self.status: Status = "error"
        self.interrupted = False
        self.sign = -1.0 if m.prob.sense == pulp.LpMaximize else 1.0

    def offer_plan(self, plan: Mapping[str, float]) -> None:
        """A feasible plan found outside the solver."""
        objective = self.m.prob.objective
        value = objective.constant + sum(a * plan.get(v.name, 0.0) for v, a in objective.items())
        if self.plan is None or self.sign * value < self.sign * self.value:
            self.value, self.plan = value, dict(plan)

    def take(self, outcome: Outcome, *, whole: bool) -> None:
        """The outcome of a run; its bound counts only when no column was left out."""
        self.interrupted |= outcome.interrupted
        if outcome.has_incumbent:
            self.offer_plan(outcome.values)
        if whole and not self.partial:
            self.status = outcome.status
            if math.isfinite(outcome.bound):
                self.bound = self.sign * max(self.sign * self.bound, self.sign * outcome.bound)

    def done(self) -> bool:
        """Whether the gap is reached or the user asked to stop."""
        proven = self.plan is not None and certify(self.value, self.bound, self.gap) != (
            "feasible_time_limit"
        )
        return proven or (self.interrupted and self.plan is not None)

    def target(self) -> float | None:
        """The value at which the gap to today's bound is reached."""
        if self.gap <= 0 or self.bound == 0:
            return None
        towards = self.sign * (1.0 if self.bound > 0 else -1.0)
        return self.bound / (1.0 - towards * self.gap)

    def found(self) -> Found:
        """Status from the proof, or the solver's own word when there is no plan."""
        if self.plan is None:
            return Found(self.status, math.nan, self.bound, {}, self.interrupted)
        if self.sign * self.bound > self.sign * self.value:  # rounding noise: a proof is a proof
            self.bound = self.value
        status = certify(self.value, self.bound, self.gap)
        return Found(status, self.value, self.bound, self.plan, self.interrupted)


def attractive(m: FleetModel, relaxed: Outcome, reduced: float) -> set[tuple[int, int]]:
    """(pool, candidate) the relaxation uses, or whose reduced cost is small.

    The reduced cost of a replica is that of n plus the least, over its classes, of that of f
    divided by the load; it is compared with `reduced` times the price of the accelerators used.
    """
    worth = dict.fromkeys(_used(m, relaxed), -math.inf)
    if reduced > 0:
        price = _replica_prices(m)
        for (p, c), extra in _reduced_costs(m, relaxed).items():
            if extra <= reduced * price[p] * m.problem.candidates[c].gpus:
                worth.setdefault((p, c), extra)
    return set(worth)


def _used(m: FleetModel, relaxed: Outcome) -> set[tuple[int, int]]:
    return {
        (label[2], label[3])
        for label, v in m.columns.items()
        if label[0] in ("n", "f") and relaxed.values[v.name] > 1e-9
    }


def _reduced_costs(m: FleetModel, relaxed: Outcome) -> dict[tuple[int, int], float]:
    extra: dict[Label, float] = {}
    for label, v in m.columns.items():
        if label[0] == "f":
            _, b, p, c, k = label
            replica = ("n", b if per_block(m.problem, p) else ALL_YEAR, p, c)
            cost = max(relaxed.reduced_costs[v.name], 0.0) / float(m.problem.candidates[c].load[k])
            extra[replica] = min(extra.get(replica, math.inf), cost)
    least: dict[tuple[int, int], float] = {}
    for label, cost in extra.items():
        total = cost + max(relaxed.reduced_costs[m.columns[label].name], 0.0)
        pair = (label[2], label[3])
        least[pair] = min(least.get(pair, math.inf), total)
    return least


def _replica_prices(m: FleetModel) -> list[float]:
    """Least objective weight of one accelerator of each pool, in absolute value."""
    weight = {v.name: abs(a) for v, a in m.prob.objective.items()}
    prices = [0.0] * len(m.problem.pools)
    for label, v in m.columns.items():
        if label[0] == "x":
            p = m.problem.offers[label[2]].pool
            price = weight.get(v.name, 0.0) / m.problem.pools[p].gpus_per_system
            prices[p] = max(prices[p], price)
    return prices


@contextmanager
def only(m: FleetModel, kept: set[tuple[int, int]]) -> Iterator[None]:
    """Close every replica, flow and system outside `kept` (pool, candidate) for a while."""
    pools = {p for p, _ in kept}
    closed: list[tuple[pulp.LpVariable, float | None]] = []
    for label, v in m.columns.items():
        outside = label[0] in ("n", "f") and (label[2], label[3]) not in kept
        unused = label[0] == "x" and m.problem.offers[label[2]].pool not in pools
        if outside or unused:
            closed.append((v, v.upBound))
            v.upBound = 0.0
    try:
        yield
    finally:
        for v, bound in closed:
            v.upBound = bound
