"""A plan of few system types, where the fleet is small.

A relaxation takes slivers of many types: half a rack of one, a tenth of a server of another. Where
a whole fleet is ten servers, a plan of such a mix rounds up to many systems that are half empty,
and HiGHS, which sees thousands of replica types at each of some sites, finds little better in the
time that a plan may take. Few types leave a small model and little to round up: of eight workloads
on twelve types at four sites the best plan known is one of thirteen systems of a single type.

1. Each type alone, in the order of its relaxation and one more system: that much is lost by
   rounding up. The first few have their plans made workload by workload (`by_workload`).
2. The types of the best plan and one more, in the same order, until some have not helped.
3. HiGHS searches the pools of the best plan for a moment.

Sites that the relaxation of these types does not use are left out, but where no plan fits without
them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.search.bounds import only
from tokenfleet.mix.search.by_workload import ByWorkload
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.growing import Answer, GrowingLp
from tokenfleet.mix.solver.highs import Outcome, relative_gap, run
from tokenfleet.problem_data import Flow, Replicas, Systems

TYPES_SHARE = 0.3  # of the time left, for plans of few system types
_FEW = 15.0  # systems that the relaxation wants, up to which whole ones make the difference
_FAR = 0.03  # gap of the plan in hand, below which rounding up loses little
_ALONE = 4  # types that are searched alone
_NODES = 30  # of the tree of the last search
_IN_VAIN = 3  # types more, one after the other, that did not help
_DEAR = 0.3  # reduced cost of a system over its price, from which it is left out
_USED = 1e-6  # of a column: less is rounding

Types = frozenset[str]


def is_few(m: FleetModel, relaxed: Outcome, best: Incumbent) -> bool:
    """Whether so few systems are wanted that a plan of few types is likely to be a better one."""
    if m.problem.horizon is not None or m.problem.objective.goal.per is not None:
        return False
    wanted = sum(relaxed.values[v.name] for v in m.of(Systems).values())
    return wanted <= _FEW and (best.plan is None or relative_gap(best.value, best.bound) > _FAR)


def few_types(m: FleetModel, effort: Effort, best: Incumbent) -> None:
    """Better plans of few system types, if there are any.

    Raises:
        KeyboardInterrupt: Ctrl-C before a solve; one in a solve ends the search.
    """
    _FewTypes(m, effort, best).search()


@dataclass(frozen=True, eq=False)
class _Choice:
    """Some types and the columns that are opened; values in the sense of a minimisation."""

    types: Types
    is_open: NDArray[np.bool_]
    relaxed: float
    guess: float  # of what a plan costs


class _FewTypes:
    """One model, of which some types are opened at a time."""

    def __init__(self, m: FleetModel, effort: Effort, best: Incumbent) -> None:
        self.m, self.effort, self.best = m, effort, best
        self.sign = best.sign
        self.pools: dict[str, list[int]] = {}
        for p in m.order.pools:
            if m.eligible[p]:
                self.pools.setdefault(m.problem.pools[p].system, []).append(p)
        self.lp = GrowingLp(m.prob, effort.options)
        self.low, self.up = self.lp.all_bounds()
        pool = {v.name: _pool_of(m, label) for label, v in m.columns.items()}
        self.pool_of = np.array([pool[name] for name in self.lp.column_index], dtype=np.int64)
        systems = {v.name for v in m.of(Systems).values()}
        self.is_system = np.array([name in systems for name in self.lp.column_index])
        self.steps = ByWorkload(m, effort)
        self.price = _price_of_one(m)
        self.tried: set[Types] = set()

    def search(self) -> None:
        """Each type alone, then the types of the best plan with one more."""
        alone = self._choices([{t} for t in self.pools])
        for choice in sorted(alone, key=lambda each: each.guess)[:_ALONE]:
            self._solve(choice)
        in_vain = 0
        while in_vain < _IN_VAIN and not self._over() and self.best.plan is not None:
            now, before = self._types(self.best.plan), self.best.value
            more = [now | {t} for t in self.pools if t not in now]
            found = self._choices(types for types in more if types not in self.tried)
            if not found:
                break
            self._solve(min(found, key=lambda each: each.guess))
            in_vain = in_vain + 1 if self.best.value == before else 0
        if self.best.plan is not None and not self._over():
            self._polish()

    def _over(self) -> bool:
        return self.best.done() or self.effort.left() <= 0

    def _choices(self, wanted: Iterable[Iterable[str]]) -> list[_Choice]:
        """Those of the sets of types whose relaxation is better than the plan in hand."""
        found = (self._choice(frozenset(types)) for types in wanted if not self._over())
        return [choice for choice in found if choice is not None]

    def _choice(self, types: Types) -> _Choice | None:
        of_types = [p for t in types for p in self.pools[t]]
        self.lp.set_bounds(self.low, np.where(self._is_open(of_types), self.up, self.low))
        answer = self.lp.solve(self.effort.left(), warm=False)
        value = self.sign * answer.value
        if answer.status != "optimal" or self._is_beaten(value):
            return None
        dear = self.is_system & (answer.reduced_costs > _DEAR * np.abs(self.lp.costs()))
        one_more = sum(self.price[t] for t in types)
        pools = self._used(of_types, answer)
        return _Choice(types, self._is_open(pools) & ~dear, value, value + one_more)

    def _is_open(self, pools: Iterable[int]) -> NDArray[np.bool_]:
        is_open: NDArray[np.bool_] = np.isin(self.pool_of, [-1, *pools]) & (self.up != 0.0)
        return is_open

    def _is_beaten(self, value: float) -> bool:
        if self.best.plan is None:
            return False
        known = self.best.value
        return value >= self.sign * known - self.best.gap * abs(known)

    def _used(self, pools: Sequence[int], answer: Answer) -> frozenset[int]:
        """Those of the pools at sites that the relaxation uses, or the plan in hand."""
        site_of = [pool.site for pool in self.m.problem.pools]
        used = set(self.pool_of[answer.columns > _USED].tolist()) - {-1}
        sites = {site_of[p] for p in used | self._pools(self.best.plan or {})}
        return frozenset(p for p in pools if site_of[p] in sites)

    def _pools(self, plan: Mapping[str, float]) -> set[int]:
        """Pools of which a plan holds replicas."""
        return {la.pool for la, v in self.m.of(Replicas).items() if plan.get(v.name, 0.0) > 0.5}

    def _types(self, plan: Mapping[str, float]) -> Types:
        return frozenset(self.m.problem.pools[p].system for p in self._pools(plan))

    def _solve(self, choice: _Choice) -> None:
        """A plan over some pools, workload by workload."""
        self.tried.add(choice.types)
        if not (self._over() or self._is_beaten(choice.relaxed)):
            plan = self.steps.plan(choice.is_open)
            if plan is None:  # whole systems may not fit there
                every = (p for t in choice.types for p in self.pools[t])
                plan = self.steps.plan(self._is_open(every))
            if plan is not None:
                self.best.offer_plan(plan)

    def _polish(self) -> None:
        """A short search over the pools of the plan in hand, from there."""
        assert self.best.plan is not None
        pools = self._pools(self.best.plan)
        with only(self.m, {(p, c) for p in pools for c in self.m.eligible[p]}):
            limit = self.effort.within(self.effort.left(), nodes=_NODES, restarts=False, threads=1)
            found = run(self.m.prob, limit, start=self.best.plan, target=self.best.target())
        self.best.take(found, whole=False)


def _pool_of(m: FleetModel, label: Label) -> int:
    """The pool to which a column belongs that is closed with its type; -1 of any other."""
    if isinstance(label, Systems):
        return m.problem.offers[label.offer].pool
    return label.pool if isinstance(label, Replicas | Flow) else -1


def _price_of_one(m: FleetModel) -> dict[str, float]:
    """What one system of each type costs in all blocks, under its cheapest offer."""
    weight = {v.name: abs(float(a)) for v, a in m.prob.objective.items()}
    by_offer: dict[int, float] = {}
    for label, v in m.of(Systems).items():
        by_offer[label.offer] = by_offer.get(label.offer, 0.0) + weight.get(v.name, 0.0)
    least: dict[str, float] = {}
    for o, price in by_offer.items():
        system = m.problem.pools[m.problem.offers[o].pool].system
        least[system] = min(price, least.get(system, math.inf))
    return least
