"""Of the plans that are as good, the simplest: the one that people would rather run.

Fewest system types, then fewest sites, then fewest layouts, where a layout counts for more if it
has pipeline stages, weights of few bits, replicas over several systems, or prefill and decode
apart. Among plans as simple as each other those that leave no accelerator idle in a system that is
paid, and the better value.

The model is built once more, over the replica types that a plan so good may use by reduced costs,
and over those that are plainer than what stands in the plan. "As good" is a row of it. The search
starts from the plan in hand and takes so many nodes and no more: what it finds is simpler, and
nobody proves that nothing is simpler still.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pulp

from tokenfleet.mix.model import FleetModel, Label, build, frame_of
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.choices import layout_used, site_used, type_used, types
from tokenfleet.mix.model.index import AsGood, Chosen, LayoutUsed, SiteUsed, TypeUsed
from tokenfleet.mix.search.bounds import Bounds, bounded
from tokenfleet.mix.search.fixing import may_improve
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import JUMP, SolveOptions, bound_of, run
from tokenfleet.problem_data import (
    EVERY_BLOCK,
    ODDITIES,
    Candidate,
    OfferData,
    Problem,
    Replicas,
    Systems,
    pairs_used,
)

Pairs = frozenset[tuple[int, int]]  # (pool, candidate)

MOST_PAIRS = 400  # of those worth trying, and of what is plainer; where there are more, none is
_MOST_ELSEWHERE = 100  # of what stands, tried at all sites
_NODES = 20
_NUMBERS = 100.0  # that a whole column may be which stands for less than half as many
_STEP = 0.5
_LATER_TYPE = 0.005  # of a type, for each that comes before it
_LATER_SITE = 0.5  # of a site, by which the last of all weighs more than one before the first
_LAYOUT, _ODD = 10, 11  # a layout without oddities before one with
# Together less than 1, so that they decide where all else is equal: no accelerator of a system that
# is paid stands idle, replicas are rather more and smaller, and the value is better.
_FILLED, _SMALLER, _BETTER = 0.4, 0.1, 0.4
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Simpler:
    """A simpler plan and the model that it is of."""

    m: FleetModel
    values: Mapping[Label, float]
    value: float  # of the goal, in the unit of one amount


def oddities(candidate: Candidate, gpus_per_system: int) -> list[str]:
    """What people would rather do without where it saves nothing."""
    found = [words for bit, words in ODDITIES.items() if candidate.oddities & bit]
    if candidate.gpus > gpus_per_system:
        found.append("replicas over several systems")
    if candidate.role != "serve":
        found.append("prefill and decode apart")
    return found


def can_be_simpler(problem: Problem, values: Mapping[Label, float]) -> bool:
    """Whether a plan has more than one system type or layout of a workload, or an oddity, or could
    stand at another site."""
    pools = {offer.pool for offer in _offers(problem, values)}
    standing = {label for label in values if isinstance(label, Replicas)}
    layouts = {label.candidate for label in standing}
    workloads = {problem.candidates[c].workload for c in layouts}
    odd = any(
        oddities(problem.candidates[label.candidate], problem.pools[label.pool].gpus_per_system)
        for label in standing
    )
    several = len({problem.pools[p].system for p in pools}) > 1 or len(problem.sites) > 1
    return bool(pools) and (odd or several or len(layouts) > len(workloads))


def _offers(problem: Problem, values: Mapping[Label, float]) -> Iterator[OfferData]:
    return (problem.offers[label.offer] for label in values if isinstance(label, Systems))


def may_be_as_good(m: FleetModel, found: Found, cap: float) -> Pairs:
    """(pool, candidate) that a plan no worse than `cap` may use, where that is known."""
    if found.relaxed is None or m.problem.objective.goal.per is not None:
        return frozenset()
    return frozenset(may_improve(m, found.relaxed, cap))


@dataclass(frozen=True)
class Bar:
    """What is as good: values in the unit of one amount of the goal, and a plan."""

    best: float  # value known
    cap: float  # worst value that is as good
    plan: Mapping[Label, float]


def simplest(
    m: FleetModel, values: Mapping[Label, float], worth: Pairs, bar: Bar, effort: Effort
) -> Simpler | None:
    """A plan that is as good, and simpler than `values`; None without one.

    `m` is the model that was searched, `worth` the (pool, candidate) that such a plan may use
    beside those of `values` and of the bar's own plan, from which the search starts.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    problem = with_plainer(m.problem)
    known_plans = (*values, *bar.plan)
    own = pairs_used(known_plans)
    frame = frame_of(problem, m.frame.scale_max, every_system=True, order=m.frame.order)
    plainer = {c for c, candidate in enumerate(m.problem.candidates) if candidate.plainer}
    beside = plainer | {c for _, c in own}
    pools = _same_systems(problem, own, frame.able)
    elsewhere = {(p, c) for p in pools for c in beside.intersection(frame.able[p])}
    pairs = own | _if_few(frozenset(elsewhere)) | _if_few(worth)
    model = build(problem, pairs=pairs, frame=frame)
    known = tuple(model.columns)
    goal = ValueRow(model)
    goal.require(bar, values)
    simple = _Simplicity(model, values, _choose(model))
    weights, constant = simple.weights(goal, bar)
    objective.set_objective(model, weights, constant=constant)
    first = {model.columns[la].name: v for la, v in bar.plan.items() if la in model.columns}
    first |= {model.columns[la].name: 1.0 for la in simple.used(bar.plan)}
    # Closer than one step of what is counted: what then decides between plans is found or not.
    gap = _STEP / max(simple.of(bar.plan), 1.0)
    limit = effort.within(effort.left())
    options = replace(limit, gap=gap, nodes=_NODES, restarts=False, threads=1, without=(JUMP,))
    with bounded(_not_far(model, first)):
        found = as_good(goal, known, bar, options, first)
    return found if found and simple.of(found.values) < simple.of(values) else None


def _not_far(m: FleetModel, start: Mapping[str, float]) -> list[Bounds]:
    """Bounds for whole columns that may be many: twice what they are at the start, or `_NUMBERS`.

    Why is in `neighbourhood.near`. A simpler plan moves what it gives up to something that stands,
    and seldom more than that is.
    """
    most = {
        v: max(_NUMBERS, 2.0 * start.get(v.name, 0.0))
        for v in m.columns.values()
        if v.cat == pulp.LpInteger
    }
    return [(v, v.lowBound, up) for v, up in most.items() if bound_of(v.upBound, math.inf) > up]


def _same_systems(problem: Problem, own: Pairs, able: Mapping[int, Sequence[int]]) -> set[int]:
    """Pools of a plan, and those of the same systems at all sites unless it has much to move."""
    pools = {p for p, _ in own}
    systems = {problem.pools[p].system for p in pools}
    everywhere = {p for p in able if problem.pools[p].system in systems}
    return everywhere if len(own) * len(everywhere) <= _MOST_ELSEWHERE * len(pools) else pools


def _if_few(pairs: Pairs) -> Pairs:
    """The pairs, where the model of a few nodes is not lost among them."""
    return pairs if len(pairs) <= MOST_PAIRS else frozenset()


def as_good(
    goal: ValueRow,
    known: Iterable[Label],
    bar: Bar,
    options: SolveOptions,
    start: Mapping[str, float],
) -> Simpler | None:
    """The plan, in the columns `known`, of a search of the goal's model from `start`; None without
    one that is as good as the bar.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    outcome = run(goal.m.prob, options, start=start)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if not outcome.has_incumbent:
        return None
    found = rounded(goal.m, known, outcome.values)
    value = goal.of(found)
    is_as_good = goal.sign * value <= goal.sign * bar.cap + 1e-7 * abs(bar.cap)
    return Simpler(goal.m, found, value) if is_as_good else None


def rounded(
    m: FleetModel, columns: Iterable[Label], values: Mapping[str, float]
) -> dict[Label, float]:
    """Columns that are not zero by their labels, whole where they have to be."""
    named = {la: values[m.columns[la].name] for la in columns}
    whole = {la: float(round(v)) for la, v in named.items() if m.columns[la].cat == pulp.LpInteger}
    return {la: v for la, v in {**named, **whole}.items() if v}


def with_plainer(problem: Problem) -> Problem:
    """The problem in which candidates that are plainer than others count like all others; their
    canonical order is the same."""
    candidates = tuple(replace(c, plainer=False) for c in problem.candidates)
    return replace(problem, candidates=candidates)


class ValueRow:
    """The problem's goal as a row: its value no worse than some cap."""

    def __init__(self, m: FleetModel) -> None:
        self.m, self.goal = m, m.problem.objective.goal
        self.sign = self.goal.sign
        self.over, self.constant = objective.goal_coefficients(m, self.goal)
        denominator = m.problem.objective.denominator
        per = self.goal.per is not None
        self.under = objective.token_coefficients(m, denominator) if per else {}

    def of(self, values: Mapping[Label, float]) -> float:
        """The value of a plan, in the unit of one amount of the goal."""
        over = self.constant + _sum(self.over, values)
        return over / _sum(self.under, values) if self.under else over

    def require(self, bar: Bar, values: Mapping[Label, float]) -> None:
        """The row; of a goal per token also that about as many tokens are delivered as now."""
        pairs: dict[Label, float] = {la: self.sign * a for la, a in self.over.items()}
        limit = self.sign * (bar.cap - self.constant)
        if self.under:
            limit = -self.constant
            for label, tokens in self.under.items():
                pairs[label] = pairs.get(label, 0.0) - bar.cap * tokens
            fewer = abs(bar.cap - bar.best) / bar.best + _ROUNDING
            least = _sum(self.under, values) * (1.0 - fewer)
            self._row(AsGood(tokens=True), {la: -a for la, a in self.under.items()}, -least)
        self._row(AsGood(), pairs, limit)

    def _row(self, row: AsGood, pairs: Mapping[Label, float], limit: float) -> None:
        size = max((abs(a) for a in pairs.values()), default=1.0) or 1.0
        scaled = [(self.m.columns[la], a / size) for la, a in pairs.items() if a]
        self.m.row(row, scaled, pulp.LpConstraintLE, limit / size + _ROUNDING * abs(limit / size))


def _sum(coefficients: Mapping[Label, float], values: Mapping[Label, float]) -> float:
    return sum(a * values.get(label, 0.0) for label, a in coefficients.items())


def _choose(m: FleetModel) -> list[Chosen]:
    """Columns that say which system types, sites and layouts are used."""
    found: list[Chosen] = []
    for pools in types(m):
        type_used(m, pools, EVERY_BLOCK)
        found.append(TypeUsed(EVERY_BLOCK, pools[0]))
    offering = {m.problem.pools[p].site for p in m.order.pools if m.offers(p)}
    for s in (s for s in m.order.sites if s in offering):
        site_used(m, s)
        found.append(SiteUsed(s))
    for c in dict.fromkeys(label.candidate for label in m.of(Replicas)):
        layout_used(m, c)
        found.append(LayoutUsed(c))
    return found


def _gpus_held(problem: Problem, values: Mapping[Label, float]) -> float:
    """Accelerators of a plan's systems, in all scopes; 1 where there are none."""
    systems = ((la, n) for la, n in values.items() if isinstance(la, Systems))
    pools = ((problem.pools[problem.offers[la.offer].pool], n) for la, n in systems)
    return sum(pool.gpus_per_system * n for pool, n in pools) or 1.0


def _later(chosen: Sequence[Chosen]) -> dict[Chosen, float]:
    """By how much system types and sites weigh more than the first, as a share."""
    kinds = [label for label in chosen if isinstance(label, TypeUsed)]
    sites = [label for label in chosen if isinstance(label, SiteUsed)]
    later: dict[Chosen, float] = {la: _LATER_TYPE * rank for rank, la in enumerate(kinds)}
    return later | {la: _LATER_SITE * rank / len(sites) for rank, la in enumerate(sites)}


class _Simplicity:
    """How simple a plan is, as a sum over what it uses."""

    def __init__(self, m: FleetModel, values: Mapping[Label, float], chosen: list[Chosen]) -> None:
        self.m, self.chosen = m, chosen
        self.later = _later(chosen)
        self.odd: dict[int, int] = {}
        for label in m.of(Replicas):
            held = m.problem.pools[label.pool].gpus_per_system
            self.odd[label.candidate] = len(oddities(m.problem.candidates[label.candidate], held))
        start = self.used(values)
        self.gpus = _gpus_held(m.problem, values)
        layouts = [self._layout(la) for la in start if isinstance(la, LayoutUsed)]
        sites = sum(isinstance(la, SiteUsed) for la in start)
        # A site less is worth four times the layouts there are, a type less four times those sites.
        self.site = 4.0 * (sum(layouts) + 1)
        self.type = 4.0 * self.site * max(sites, 1)

    def _layout(self, label: LayoutUsed) -> float:
        return float(_LAYOUT + _ODD * self.odd[label.candidate])

    def _weight(self, label: Chosen) -> float:
        """Earlier sites and types a little before later ones, so that more demand moves nothing."""
        if isinstance(label, LayoutUsed):
            return self._layout(label)
        unit = self.site if isinstance(label, SiteUsed) else self.type
        return unit * (1.0 + self.later[label])

    def used(self, values: Mapping[Label, float]) -> list[Chosen]:
        """The system types, sites and layouts of a plan."""
        problem = self.m.problem
        pools = {offer.pool for offer in _offers(problem, values)}
        systems = {problem.pools[p].system for p in pools}
        sites = {problem.pools[p].site for p in pools}
        layouts = {label.candidate for label in values if isinstance(label, Replicas)}

        def is_used(label: Chosen) -> bool:
            if isinstance(label, TypeUsed):
                return problem.pools[label.pool].system in systems
            if isinstance(label, SiteUsed):
                return label.site in sites
            return isinstance(label, LayoutUsed) and label.candidate in layouts

        return [label for label in self.chosen if is_used(label)]

    def of(self, values: Mapping[Label, float]) -> float:
        """What a plan uses, weighted."""
        return sum(self._weight(label) for label in self.used(values))

    def weights(self, goal: ValueRow, bar: Bar) -> tuple[dict[Label, float], float]:
        """Coefficients of columns, and a constant."""
        weights: dict[Label, float] = {la: self._weight(la) for la in self.chosen}
        for replicas in self.m.of(Replicas):
            gpus = self.m.problem.candidates[replicas.candidate].gpus
            weights[replicas] = -(_FILLED * gpus + _SMALLER) / self.gpus
        if goal.under:
            return weights, 0.0
        worse = goal.sign * _BETTER / max(abs(bar.cap - bar.best), 1e-6 * abs(bar.best), 1e-9)
        for label, a in goal.over.items():
            weights[label] = weights.get(label, 0.0) + worse * a
        return weights, worse * (goal.constant - bar.best)
