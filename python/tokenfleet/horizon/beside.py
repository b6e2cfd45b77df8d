"""What stands beside a plan over a horizon: the best plan of each way alone, and of one type.

Each is the horizon with all other offers shut, planned again in a short time, so that a reader
sees what the other choices would have cost. For example, renting alone costs 14 % more than the
plan, and hosted APIs alone cannot serve one of its workloads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.files.plain import finite
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.explain import explain_horizon
from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.kin import Kin
from tokenfleet.mix.horizon.part import is_small
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.model import frame_of, scale_limit
from tokenfleet.mix.solve import best_alone
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.mix.why.routes import Way as Allowed
from tokenfleet.mix.why.routes import in_all_nodes, ways_of
from tokenfleet.plan.over_time import in_service
from tokenfleet.plan.rows import BestSingle, Way
from tokenfleet.plan.ways import best_first, without_plan
from tokenfleet.problem import Built
from tokenfleet.problem_data import Horizon, Problem
from tokenfleet.verify.horizon import cash_by_node

_GAP = 0.005  # to which another choice is planned
_FIRST = 0.2  # of the time of a choice, to see whether a year leaves requests unserved
_ROUNDING = 1e-6  # systems


@dataclass(frozen=True)
class _Other:
    """The best plan of another choice; none where it has none, or where none was found."""

    best: HorizonResult | None
    why: str | None = None  # what it cannot serve, where it is proven that it has no plan
    impossible: bool = False


@dataclass(frozen=True)
class Beside:
    """The rows of a plan that say what other choices cost."""

    ways: tuple[Way, ...] = ()
    single: BestSingle | None = None


@dataclass(frozen=True)
class Asked:
    """A plan over a horizon, with what is needed to plan it again otherwise."""

    built: Built
    tree: Horizon
    found: HorizonResult
    risk: Risk
    options: SolveOptions
    memory: Memory = field(repr=False)

    def beside(self, seconds: float) -> Beside:
        """Each way alone and the best of one type, in so many seconds; nothing of a horizon too
        large to be built whole, nor where Ctrl-C came."""
        if not is_small(self.tree):
            return Beside()
        ways, types = self._ways(), self._types()
        deadline = Deadline(seconds)
        try:
            others = self._others(ways, deadline, len(types))
            single = self._single(self._others(types, deadline))
            for name, other in others.items():
                if other.impossible and other.why is None and deadline.left() > 0:
                    others[name] = replace(other, why=self._why(ways[name]))
            rows = [self._way(name, other) for name, other in others.items()]
            return Beside(best_first(rows, self.built.problem.objective.goal.sign), single)
        except KeyboardInterrupt:
            return Beside()

    def _ways(self) -> Mapping[str, Allowed]:
        terms = {offer.id: offer.term_years for offer in self.built.loaded.scenario.offers}
        return ways_of(self.built.problem, terms)

    def _types(self) -> Mapping[str, Allowed]:
        """Each type of system, with hosted APIs; nothing where there is but one."""
        problem, offers = self.built.problem, dict[str, set[int]]()
        for o, offer in enumerate(problem.offers):
            offers.setdefault(problem.pools[offer.pool].system, set()).add(o)
        found = {name: Allowed(frozenset(of), apis=True) for name, of in sorted(offers.items())}
        return found if len(found) > 1 else {}

    def _others(
        self, ways: Mapping[str, Allowed], deadline: Deadline, later: int = 0
    ) -> dict[str, _Other]:
        """The best plan of each, within what is left for them and so many `later` ones."""
        found: dict[str, _Other] = {}
        gap = max(self.options.gap, _GAP)
        for name, way in ways.items():
            seconds = deadline.left() / (len(ways) - len(found) + later)
            limit = replace(self.options, gap=gap, time_limit_s=seconds)
            found[name] = self._only(way, limit) if seconds > 0 else _Other(None)
        return found

    def _only(self, way: Allowed, options: SolveOptions) -> _Other:
        tree = self._with_only(way)
        why = _unserved(tree, replace(options, time_limit_s=_FIRST * options.time_limit_s))
        if why is not None:
            return _Other(None, why, impossible=True)
        left = replace(options, time_limit_s=(1.0 - 2.0 * _FIRST) * options.time_limit_s)
        name, kin = self.built.problem.name, Kin(self.memory)
        try:
            return _Other(solve_horizon(name, tree, left, self.risk, kin=kin, patient=False))
        except InfeasibleError:
            return _Other(None, impossible=True)
        except SolverError:
            return _Other(None)

    def _with_only(self, way: Allowed) -> Horizon:
        return in_all_nodes(self.tree, len(self.built.problem.offers), way)

    def _why(self, way: Allowed) -> str | None:
        """What keeps a way from any plan: what is short, and until when."""
        problem = combined(self.built.problem.name, self._with_only(way))
        frame = frame_of(problem, scale_limit(problem), every_system=True)
        return next(iter(explain_horizon(problem, frame).conflicts), None)

    def _way(self, name: str, other: _Other) -> Way:
        best = other.best
        if best is None:
            return without_plan(name, other.why, impossible=other.impossible)
        problem, nodes = best.problem, best.horizon.nodes
        cash = cash_by_node(problem, best.values)
        most = map(partial(_gpus, problem), in_service(best).values())
        return Way(
            name=name,
            impossible=False,
            why=None,
            objective_value=self._stated(best.value),
            difference_relative=self._more(best.value),
            gap=finite(best.gap),
            annual_cost_usd=best.levelised_usd_per_year,
            capex_usd=sum(nodes[u].probability * of.bought for u, of in cash.items()),
            gpus=math.ceil(max(most, default=0.0) - _ROUNDING),
        )

    def _single(self, others: Mapping[str, _Other]) -> BestSingle | None:
        """The best plan of one type; the bound holds for all of them, where each has one."""
        sign = self.built.problem.objective.goal.sign
        plans = {name: other.best for name, other in others.items() if other.best is not None}
        if not plans:
            return None
        best = min(plans, key=lambda name: sign * plans[name].value)
        open_ = any(other.best is None and not other.impossible for other in others.values())
        bound = sign * min(sign * plan.bound for plan in plans.values())
        found = plans[best]
        return BestSingle(
            system=best,
            objective_value=self._stated(found.value),
            bound=None if open_ else finite(self._stated(bound)),
            difference=self._stated(found.value) - self._stated(self.found.value),
            difference_relative=self._more(found.value),
            systems_by_offer=_most_by_offer(found),
        )

    def _stated(self, value: float) -> float:
        """A value in the unit of the plan's objective."""
        least_cost = self.built.problem.objective.kind == "least_cost"
        return value / self.found.years if least_cost else value

    def _more(self, value: float) -> float | None:
        return value / self.found.value - 1.0 if self.found.value else None


def _unserved(tree: Horizon, options: SolveOptions) -> str | None:
    """What the first or the last year of whole numbers leaves unserved, however soon orders arrive;
    None where nothing is proven of them."""
    firm = [node for node in tree.nodes if node.firm]
    for node in [*firm[:1], *firm[1:][-1:]]:
        offers = tuple(replace(offer, stock=None) for offer in node.problem.offers)
        year = best_alone(replace(node.problem, offers=offers), options)
        if year.impossible and year.why:
            return f"{node.name}: {year.why}"
    return None


def _gpus(problem: Problem, systems: Mapping[int, float]) -> float:
    pools = ((problem.pools[problem.offers[o].pool], n) for o, n in systems.items())
    return sum(pool.gpus_per_system * n for pool, n in pools)


def _most_by_offer(found: HorizonResult) -> dict[str, int]:
    """Systems by offer and site, in the period and outlook that has the most of them."""
    most: dict[str, int] = {}
    for systems in in_service(found).values():
        for o, n in systems.items():
            name = found.problem.offers[o].id
            most[name] = max(most.get(name, 0), math.ceil(n - _ROUNDING))
    return {name: n for name, n in sorted(most.items()) if n}
