"""A plan in whole systems from the pairs that the relaxation of a problem asks for.

1. Where few systems are wanted, plans of few system types come first (`few_types`).
2. The model of the pairs that the relaxation uses or that nearly pay (`generation`) is searched. It
   is small, and its best plan is mostly within the gap of the bound of the whole.
3. Where it is not, the model of all pairs that a better plan may use, by reduced costs, is searched
   from that plan: what it proves holds for the whole problem.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tokenfleet.mix.generate.generation import Generated, generate, is_large, wider
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import FleetModel, Frame, Label, build
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.search.few_types import TYPES_SHARE, few_types, is_few
from tokenfleet.mix.search.fixing import MARGIN
from tokenfleet.mix.search.incumbent import Found, Incumbent, Watch
from tokenfleet.mix.search.stages import first_plan, search
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import PROVEN, SolveOptions, certify, run
from tokenfleet.mix.why.infeasible import check_scaling
from tokenfleet.mix.why.single import RELAXED_S, Contest
from tokenfleet.problem_data import Problem, pairs_used

GENERATION_SHARE = 0.6  # of the time limit, for the relaxation


def restricted(problem: Problem, frame: Frame, pairs: frozenset[tuple[int, int]]) -> FleetModel:
    """The model of some pairs of pool and candidate, with the problem's objective."""
    m = build(problem, pairs=pairs, frame=frame)
    check_scaling(m)
    objective.set_goal(m)
    return m


def plan_or_none(problem: Problem, effort: Effort) -> tuple[FleetModel, Found]:
    """The model of the generated pairs and its best plan; none where the time ended first."""
    pairs = Pairs.of(problem)
    generated = generate(pairs, effort.part(GENERATION_SHARE))
    m = restricted(problem, pairs.frame, generated.pairs)
    if not generated.served:
        return m, Found("error", math.nan, generated.bound, {})
    return m, search(m, effort, bound=generated.bound)


def plan_over(
    pairs: Pairs, generated: Generated, effort: Effort, watch: Watch | None = None
) -> tuple[FleetModel, Found]:
    """The best plan over the generated pairs, and over all that can be in a better one where the
    gap is not reached and these can be built; with the model that it is of."""
    problem, frame = pairs.problem, pairs.frame
    try:
        if generated.interrupted:
            raise KeyboardInterrupt
        few = {} if is_large(problem) else _of_few_types(pairs, generated, effort)
        m = restricted(problem, frame, generated.pairs | pairs_used(few))
        start = {v.name: few[label] for label, v in m.columns.items() if label in few}
        found = search(m, effort, start or None, bound=generated.bound, watch=watch)
        if found.exhausted:  # these pairs make no plan in whole systems; others may
            m = restricted(problem, frame, wider(pairs, generated))
            found = search(m, effort, bound=generated.bound, watch=watch)
        if not found.values or found.interrupted or found.status in PROVEN:
            return m, found
        if is_large(problem) or effort.left() <= 0:
            return m, found
        return _over_all(pairs, generated, effort, (m, found), watch)
    except KeyboardInterrupt:  # no plan yet; a second Ctrl-C ends it
        m = restricted(problem, frame, generated.pairs)
        return m, first_plan(m, effort, generated.bound)


def _of_few_types(pairs: Pairs, generated: Generated, effort: Effort) -> dict[Label, float]:
    """A plan of few system types at the sites that the relaxation uses and one more; empty where
    there is none, or where so many systems are wanted that the relaxation rounds up well."""
    site_of = [pool.site for pool in pairs.problem.pools]
    used = {site_of[p] for p, _ in generated.used}
    every = pairs.named(range(len(pairs)))
    others = sorted({site_of[p] for p, _ in every} - used)
    sites = used | set(others[:1])
    chosen = frozenset((p, c) for p, c in every if site_of[p] in sites)
    m = restricted(pairs.problem, pairs.frame, chosen)
    best = Incumbent(m, effort.gap, generated.bound, partial=True)
    relaxed = run(m.prob, effort.within(effort.left()), mip=False)
    if relaxed.has_incumbent and is_few(m, relaxed, best):
        few_types(m, effort.part(TYPES_SHARE), best)
    plan = best.plan or {}
    return {label: plan[v.name] for label, v in m.columns.items() if plan.get(v.name)}


def _over_all(
    pairs: Pairs,
    generated: Generated,
    effort: Effort,
    known: tuple[FleetModel, Found],
    watch: Watch | None,
) -> tuple[FleetModel, Found]:
    """The plan that is known, or a better one, with a bound of all pairs that a better one may
    use."""
    part, plan = known
    worth = may_improve(pairs, generated, plan.value)
    m = restricted(pairs.problem, pairs.frame, worth | (part.pairs or frozenset()))
    start = {m.columns[la].name: plan.values.get(v.name, 0.0) for la, v in part.columns.items()}
    try:
        found = search(m, effort.impatient(), start, watch=watch)
    except KeyboardInterrupt:
        return part, replace(plan, interrupted=True)
    bound = max(generated.bound, min(found.bound, plan.value))
    if not found.values:
        return known
    return m, replace(found, bound=bound, status=certify(found.value, bound, effort.gap))


def may_improve(pairs: Pairs, generated: Generated, value: float) -> frozenset[tuple[int, int]]:
    """The pairs that a plan better than `value` may use; leaving the others out proves as much.

    A plan costs at least `beneath` and the reduced cost of every replica in it, so one of a pair
    whose reduced cost is above the difference is in no better plan.
    """
    if generated.reduced is None:
        return pairs.named(range(len(pairs)))
    room = value - generated.beneath + MARGIN * abs(value)
    return pairs.named(np.flatnonzero(generated.reduced <= room).tolist())


class GeneratedContest(Contest):
    """The contest over a problem whose columns are generated, type by type."""

    def __init__(self, pairs: Pairs) -> None:
        """`pairs` are those of all types."""
        super().__init__(pairs.problem)
        self.pairs, self.frame = pairs, pairs.frame
        self.systems = sorted({pairs.problem.pools[p].system for p in set(pairs.pool.tolist())})
        self._found: dict[str, Generated] = {}

    def bounds(self) -> dict[str, float]:
        """None before the relaxation, which is quick."""
        return dict.fromkeys(self.systems, -math.inf)

    def relaxed(self, system: str, options: SolveOptions) -> float | None:
        """The bound by generation for one type; None when it has no plan, or not in the time."""
        able = {
            p: found if self.problem.pools[p].system == system else []
            for p, found in self.frame.able.items()
        }
        effort = Effort.of(replace(options, time_limit_s=RELAXED_S)).impatient()
        self._found[system] = generate(self.pairs.within(able), effort)
        return self._found[system].bound if self._found[system].served else None

    def model(self, system: str) -> FleetModel:
        """The model of the pairs that one type's relaxation asks for."""
        if system not in self._models:
            self._models[system] = restricted(self.problem, self.frame, self._found[system].pairs)
        return self._models[system]

    def solve(self, system: str, effort: Effort) -> Found:
        """The best plan over these pairs, with the bound of all of the type."""
        return search(self.model(system), effort, bound=self._found[system].bound)
