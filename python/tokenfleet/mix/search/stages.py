"""One objective, one model: bound, good plan, proof.

1. The linear relaxation gives a bound and the columns worth having. In a small model a plan within
   a little of the bound is looked for, over what may be in one; where there is none the bound rises
   to there, and the next try goes further. What is left open goes to HiGHS whole.
2. A large one is tightened by cuts first (`relaxation`): HiGHS will hardly see it whole.
3. Rounding the relaxation up (`rounding`) gives a plan; where few systems are wanted, plans of few
   types (`few_types`) are better ones. It is improved two sites at a time (`neighbourhood`). The
   model is then solved over the candidates the relaxation uses, and over those whose reduced cost
   is small against the price of their systems, each stage starting from the last plan; all that a
   better plan may use, by reduced costs (`fixing`) and by probing, comes last, for whatever time is
   left or as soon as it is small.
4. Bound = the better of the relaxation's and that of the whole model. Restricted stages prove
   nothing and their bounds are not used. The search stops as soon as value and bound are within
   the gap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace

import pulp

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.search.bounds import bounded, only
from tokenfleet.mix.search.few_types import TYPES_SHARE, few_types, is_few
from tokenfleet.mix.search.fixing import FirstUnits, may_improve
from tokenfleet.mix.search.incumbent import Found, Incumbent, Watch
from tokenfleet.mix.search.neighbourhood import improve, near
from tokenfleet.mix.search.relaxation import probe, tighten
from tokenfleet.mix.search.rounding import round_up
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import PROVEN, SIDE_SEARCHES, Outcome, SolveOptions, run
from tokenfleet.problem_data import Flow, Replicas, Systems

SMALL = 400  # integer columns up to which the whole model is solved at once
_MANY = 2_000  # columns from which on cuts and side searches take less time than they save
_EFFORT = 0.3  # restricted stages look for plans; their bounds are not used
# (reduced cost / price of the systems, share of the time left)
_STAGES = ((0.0, 0.4), (0.002, 0.8))
_SITES_SHARE = 0.6  # of the time left, for improving the rounded plan a few sites at a time
_ROUGH = 5e-4  # gap at which the first stage, whose bound is not used, has a good plan
# Of the relaxation's value: how far from it a plan of a small model is sought first, and then.
_NEAR = (0.001, 0.005, 0.02, 0.05, 0.1, 0.16, 0.23, 0.32, 0.45, 0.65, 1.0)
_REDUCED_COST_SEARCH = ("mip_heuristic_run_root_reduced_cost",)  # longer than it saves near a bound
_ROOTS = 10.0  # times the relaxation's time, below which the whole model has nothing to add


def search(
    m: FleetModel,
    effort: Effort,
    start: Mapping[str, float] | None = None,
    *,
    bound: float | None = None,
    watch: Watch | None = None,
    known: float | None = None,
) -> Found:
    """Solve the model with the objective it has now, from the plan `start` if there is one.

    With `bound` the model holds only a part of the columns: the bound is that of the whole, and
    nothing that the part proves about itself is claimed. `known` is a bound of this model that is
    known before, as that of a problem with more choices.
    """
    return MixSearch(m, effort, bound, watch, known=known).solve(start)


def first_plan(m: FleetModel, effort: Effort, bound: float) -> Found:
    """The relaxation rounded up and nothing more, for a search that was stopped."""
    return MixSearch(m, effort, bound).only_round()


class MixSearch:
    """One model under one objective: what is known of it, and the steps that find out more.

    `relaxed` keeps values, duals and reduced costs of the relaxation; `best` the plan in hand and
    what is proven of it.
    """

    relaxed: Outcome
    best: Incumbent

    def __init__(
        self,
        m: FleetModel,
        effort: Effort,
        bound: float | None = None,
        watch: Watch | None = None,
        *,
        known: float | None = None,
    ) -> None:
        """`bound`: of the whole model of which m holds some columns; None where m is the whole.
        `known`: as in `search`."""
        self.m = m
        self.watch = watch
        self.effort = effort
        self.bound_of_whole, self.known = bound, known
        self.partial = bound is not None
        self.large, self.many = _integers(m) > SMALL, len(m.columns) > _MANY
        self.relaxation_s = 0.0
        self._attractive: dict[float, set[tuple[int, int]]] = {}

    def solve(self, start: Mapping[str, float] | None = None) -> Found:
        """All steps, until the gap is reached or the time is over.

        Raises:
            KeyboardInterrupt: Ctrl-C before any plan.
        """
        if not self.bound():
            return self.found()
        if start is not None:
            self.best.offer_plan(start)
        try:
            if self.large or self.partial:  # a part may be small, and its plan hard to find
                self.round()
            if self.large:
                self.few_types()
                self.improve()
                self.stages()
            elif not self.partial:
                self.near_bound()
            self.whole()
            if self.best.plan is None:
                self.any_plan()
        except KeyboardInterrupt:
            if self.best.plan is None:
                raise
            self.best.interrupted = True
        return self.found()

    def only_round(self) -> Found:
        """The first two steps: a plan, however good, as soon as there can be one."""
        if self.bound():
            self.round()
        return replace(self.found(), interrupted=True)

    def found(self) -> Found:
        """The plan in hand with its proof, or the relaxation's word that there is none."""
        relaxed = self.relaxed
        if relaxed.has_incumbent:
            return replace(self.best.found(), relaxed=relaxed)
        return Found(relaxed.status, math.nan, relaxed.bound, {}, relaxed.interrupted, relaxed.ray)

    def bound(self) -> bool:
        """The relaxation, tightened by cuts where the model has many columns and is whole; whether
        it has a solution."""
        begun = time.perf_counter()
        self.relaxed = self._relax(self.effort.first())
        self.relaxation_s = time.perf_counter() - begun
        if not self.relaxed.has_incumbent:
            return False
        if not self.partial and (self.large or self.many):
            self.tighten()
        known = self.relaxed.bound if self.bound_of_whole is None else self.bound_of_whole
        self.best = Incumbent(self.m, self.effort.gap, known, self.partial, self.watch)
        if self.known is not None:
            self.best.prove(self.known)
        return True

    def _relax(self, effort: Effort) -> Outcome:
        return run(self.m.prob, effort.within(effort.left()), mip=False)

    def tighten(self) -> None:
        """Cuts that raise the bound become rows of the model, and its relaxation is solved anew."""
        if tighten(self.m, self.effort, self.relaxation_s):
            closer = self._relax(self.effort)
            self.relaxed = closer if closer.has_incumbent else self.relaxed

    def round(self) -> None:
        """The relaxation rounded up over the candidates that it uses."""
        with only(self.m, self.attractive()):
            rounded = round_up(self.m, self.relaxed, self.effort.first())
        if rounded is not None:
            self.best.offer_plan(rounded)

    def few_types(self) -> None:
        """Plans of few system types, where so few systems are wanted that one is a large part."""
        if not self.partial and is_few(self.m, self.relaxed, self.best):
            few_types(self.m, self.effort.part(TYPES_SHARE), self.best)

    def improve(self) -> None:
        """The rounded plan a few sites at a time."""
        with only(self.m, self.attractive()):
            improve(self.m, self.effort.part(_SITES_SHARE), self.best)

    def stages(self) -> None:
        """Runs over few candidates; they take all the time that cannot help the whole model."""
        for reduced, share in _STAGES[1:] if self.partial else _STAGES:
            in_hand, left = self.best.plan is not None, self.effort.left()
            if self.best.done() or (in_hand and (left <= 0 or self._few_left())):
                return
            last = reduced == _STAGES[-1][0] and left * (1.0 - share) < self._whole_s()
            gap = self.effort.gap / 4 if reduced else max(self.effort.gap, _ROUGH)
            limit = self.effort.within(
                left if last else left * share, gap=gap, heuristic_effort=_EFFORT
            )
            kept = self.attractive(reduced)
            if self._run_near(limit, kept) and last and not self.best.done():
                wide = self.effort.within(self.effort.left(), gap=gap, heuristic_effort=_EFFORT)
                self._run(wide, kept, whole=False)

    def _run_near(self, limit: SolveOptions, kept: set[tuple[int, int]]) -> bool:
        """A run over numbers near the plan in hand and the relaxation, or over all if there is no
        plan; whether it came to its end with numbers left out."""
        plan = self.best.plan
        with bounded([] if plan is None else near(self.m, plan, self.relaxed.values)):
            outcome = self._run(limit, kept, whole=False)
        return plan is not None and outcome.status in PROVEN

    def near_bound(self) -> None:
        """A plan near the bound of a small model, or a better bound.

        With all that is further off cut away a tree is small, more so than with a plan in hand that
        ends it later: once there is one, what is sought of many columns lies halfway between it and
        the bound. A search ends with a plan within the gap of the bound. HiGHS never begins anew,
        and no side searches where columns are few: that would take longer.
        """
        bound, sign, units = self.best.bound, self.best.sign, FirstUnits(self.m, self.relaxed)
        if self.m.problem.objective.goal.per is not None or not math.isfinite(bound):
            return  # of a ratio the least value is about zero
        for share in (*_NEAR, math.inf) if bound else ():
            cutoff = bound + sign * share * abs(bound)
            if self.best.plan is not None:  # of few columns at last all that is better
                value = self.best.value
                beyond = (self.best.bound + value) / 2.0 if self.many else value
                cutoff = sign * min(sign * cutoff, sign * beyond)
            if self.best.done() or self.effort.left() <= 0 or math.isinf(cutoff):
                return
            if not self._none_within(cutoff, units):
                return

    def _none_within(self, cutoff: float, units: FirstUnits) -> bool:
        """Looks for a plan no worse than `cutoff`; whether it is proven that there is none."""
        limit = self.effort.within(
            self.effort.left(),
            nodes=self.effort.tree,
            restarts=False,
            without=_REDUCED_COST_SEARCH if self.many else SIDE_SEARCHES,
            threads=1,
        )
        told, target = None if self.watch is None else self._told(False), self.best.target()
        with only(self.m, units.within(cutoff)):
            outcome = run(self.m.prob, limit, cutoff=cutoff, target=target, watch=told)
        if outcome.has_incumbent:
            self.best.offer_plan(outcome.values)
        self.best.interrupted |= outcome.interrupted
        self.best.prove(outcome.bound)
        return outcome.bound == cutoff

    def whole(self) -> None:
        """All that a plan better than the one in hand may use, if that can still help."""
        in_hand = self.best.plan is not None
        hopeless = self.large and in_hand and self.effort.left() < self._whole_s()
        if self.best.done() or hopeless:
            return
        worth = self.worth()
        if self.large and in_hand and not self.partial:
            with only(self.m, worth):
                worth = probe(self.m, self.effort, worth, self.best.value)
        left = self.effort.within(max(self.effort.left(), 1.0))
        if not self.large and self.effort.patient:  # a small tree is cheaper than a new root
            self._run(replace(left, restarts=False, nodes=self.effort.tree), worth, whole=True)
            left = self.effort.within(max(self.effort.left(), 1.0))
        if not (self.best.done() or self.best.exhausted):
            self._run(left, worth, whole=True)

    def any_plan(self) -> None:
        """The first plan that HiGHS finds, over few candidates and then over all of them."""
        effort = self.effort.first()
        for kept, whole in ((self.attractive(), False), (self.worth(), True)):
            if self.best.plan is None and not self.best.exhausted:
                self._run(effort.within(effort.left(), first_plan=True), kept, whole=whole)

    def _run(self, limit: SolveOptions, kept: set[tuple[int, int]], *, whole: bool) -> Outcome:
        start, target = self.best.plan, self.best.target()
        told = None if self.watch is None else self._told(whole and not self.partial)
        with only(self.m, kept):
            outcome = run(self.m.prob, limit, start=start, target=target, watch=told)
        self.best.take(outcome, whole=whole)
        return outcome

    def _told(self, proves: bool) -> Watch:
        """Passes on what a run says while it goes on; its bound only where it is of the whole."""
        best = self.best
        return lambda value, bound: best.hear(value, bound if proves else math.nan)

    def _whole_s(self) -> float:
        """Seconds below which the whole model has nothing to add."""
        return _ROOTS * self.relaxation_s

    def attractive(self, reduced: float = _STAGES[-1][0]) -> set[tuple[int, int]]:
        """(pool, candidate) that the relaxation uses, or whose reduced cost is small."""
        if reduced not in self._attractive:
            self._attractive[reduced] = attractive(self.m, self.relaxed, reduced)
        return self._attractive[reduced]

    def worth(self) -> set[tuple[int, int]]:
        """(pool, candidate) that a better plan may use; leaving the others out proves as much."""
        if self.best.plan is None:
            return {(p, c) for p, candidates in self.m.eligible.items() for c in candidates}
        return may_improve(self.m, self.relaxed, self.best.value)

    def _few_left(self) -> bool:
        with only(self.m, self.worth()):
            return _integers(self.m) <= SMALL


def _integers(m: FleetModel) -> int:
    return sum(v.cat == pulp.LpInteger and v.upBound != 0 for v in m.columns.values())


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
        (label.pool, label.candidate) for label, v in m.of_pairs() if relaxed.values[v.name] > 1e-9
    }


def _reduced_costs(m: FleetModel, relaxed: Outcome) -> dict[tuple[int, int], float]:
    extra: dict[Replicas, float] = {}
    for flow, v in m.of(Flow).items():
        replica = m.replicas_of(flow)
        load = float(m.problem.candidates[flow.candidate].load[flow.cls])
        cost = max(relaxed.reduced_costs[v.name], 0.0) / load
        extra[replica] = min(extra.get(replica, math.inf), cost)
    least: dict[tuple[int, int], float] = {}
    for label, cost in extra.items():
        total = cost + max(relaxed.reduced_costs[m.columns[label].name], 0.0)
        pair = (label.pool, label.candidate)
        least[pair] = min(least.get(pair, math.inf), total)
    return least


def _replica_prices(m: FleetModel) -> list[float]:
    """Least objective weight of one accelerator of each pool, in absolute value."""
    weight = {v.name: abs(a) for v, a in m.prob.objective.items()}
    prices = [0.0] * len(m.problem.pools)
    for label, v in m.of(Systems).items():
        p = m.problem.offers[label.offer].pool
        price = weight.get(v.name, 0.0) / m.problem.pools[p].gpus_per_system
        prices[p] = max(prices[p], price)
    return prices
