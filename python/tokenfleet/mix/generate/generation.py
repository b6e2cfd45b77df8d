"""The relaxation of a problem with more columns than can be built: column generation.

The relaxation over some pairs of pool and candidate (`master`) is solved, the pairs that its duals
say can pay (`pricing`) are built, and so on; when none is left, its value is that of the whole
relaxation. What is left below zero is subtracted, times the most replicas that are ever useful, so
every round proves a bound that holds exactly.

Demand may go unmet at a price above what any service costs. If some does at the end, unmet demand
alone is minimised in the same way: a bound above zero proves that no plan exists, and a value of
zero says that the price was too low.

Serves problems whose replicas all do both phases, without annual budget, reserve, free demand or
re-layout (`applies`), of one year or over a horizon; the test compares with the relaxation of the
whole model.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from tokenfleet.errors import SolverError
from tokenfleet.mix.generate.master import Master, Prices
from tokenfleet.mix.generate.pricing import Cell, Pairs
from tokenfleet.mix.model import limits
from tokenfleet.mix.model.index import Demand, Slack
from tokenfleet.mix.model.objectives import is_kwh_and_systems
from tokenfleet.mix.solver.effort import Deadline, Effort
from tokenfleet.mix.solver.growing import Answer
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import FloatArray, Problem

GENERATED = 3_000  # pairs of pool and candidate from which columns are generated
LARGE = 20_000  # pairs from which a model is never built whole, whatever is asked
_MOST_NEW = 1_500  # pairs built in one round
_TAIL = 0.02  # of the wanted gap, that the last rounds may leave in the bound
_ZERO = 1e-7  # of a pair's own cost: rounding of the duals
_UNSERVED = 1e-6  # of a class's demand: rounding of the solver
_DEARER = 100.0  # times the price of unmet demand that was too low
_NEAR = 0.1  # reduced cost over the pair's own cost, up to which it may help a whole plan
_KEPT = 1_500  # pairs of a whole plan's model beside those the relaxation uses
_WIDER = 15_000  # of a second one, where these hold no whole plan, whatever they cost


@dataclass(frozen=True)
class Generated:
    """The pairs worth building, and the proven bound of the whole relaxation."""

    pairs: frozenset[tuple[int, int]]
    bound: float
    served: bool = False  # the relaxation over the pairs meets all demand
    infeasible: bool = False  # proven: no plan meets all demand
    interrupted: bool = False
    #: Reduced cost of every pair over its own cost, at the end.
    relative: FloatArray | None = field(default=None, repr=False)
    #: Reduced cost of every pair, and the bound that a plan is above by them for each replica.
    reduced: FloatArray | None = field(default=None, repr=False)
    beneath: float = -math.inf
    #: Over a horizon: worth of a system in service by (node, offer), of those that are ordered.
    prices: Mapping[tuple[int, int], float] = field(default_factory=dict, repr=False)
    used: frozenset[tuple[int, int]] = frozenset()  # by the relaxation itself


def applies(problem: Problem) -> bool:
    """Whether the relaxation of the problem can be had by generation."""
    return (
        is_kwh_and_systems(problem.objective.goal)
        and all(f.may_grow() or not f.is_active(problem) for f in limits.FAMILIES)
        and not problem.relayout
        and not any(w.free for w in problem.workloads)
    )


def is_generated(problem: Problem) -> bool:
    """Whether the mix is searched over generated columns, which bounds as well and sooner."""
    return pairs_of(problem) > GENERATED and applies(problem)


def is_large(problem: Problem) -> bool:
    """Whether the model has too many replicas to be built whole."""
    return pairs_of(problem) > LARGE


def pairs_of(problem: Problem) -> int:
    """Pairs of pool and candidate that may be in a plan."""
    by_system: dict[str, int] = {}
    for candidate in (c for c in problem.candidates if not c.plainer):
        by_system[candidate.system] = by_system.get(candidate.system, 0) + 1
    return sum(by_system.get(pool.system, 0) for pool in problem.pools)


def generate(pairs: Pairs, effort: Effort, start: Iterable[tuple[int, int]] = ()) -> Generated:
    """Pairs that the whole relaxation needs, and its bound; `start` is built at once.

    Ctrl-C or the deadline ends it with what there is.
    """
    generation = _Generation(pairs, effort)
    try:
        generation.run(start)
    except KeyboardInterrupt:
        return replace(generation.generated(), interrupted=True)
    return generation.generated()


def relaxation(pairs: Pairs, options: SolveOptions) -> tuple[Master, Answer]:
    """The relaxation within a fiftieth of the gap, and its last solution.

    Raises:
        SolverError: the time limit ended it before any solution.
    """
    generation = _Generation(pairs, Effort.of(options))
    generation.run(())
    if generation.last is None:
        raise SolverError("the relaxation was not solved within the time limit", "give more time")
    return generation.last[:2]


class _Generation:
    """The rounds under the problem's objective, and those under unmet demand alone."""

    def __init__(self, pairs: Pairs, effort: Effort) -> None:
        self.pairs = pairs
        self.effort = effort
        self.bound = -math.inf
        self.infeasible = False
        self.last: tuple[Master, Answer, FloatArray, Prices] | None = None
        self.beneath = -math.inf  # the bound that the reduced costs of `last` prove

    def run(self, start: Iterable[tuple[int, int]]) -> None:
        master = Master(self.pairs, self.effort.options)
        prices = master.objective_prices()
        master.use(prices)
        first = self.pairs.rows_of(start).tolist()
        cheapest = (
            [] if first and self.pairs.nodes > 1 else self.pairs.cheapest_of_each(prices.own[0])
        )
        master.add(self.pairs.in_nodes(sorted({*first, *cheapest})))
        while self._by_cost(master, prices):
            if not self._can_be_served(master):
                return
            most = max(usd for label, usd in prices.base.items() if isinstance(label, Slack))
            prices = master.objective_prices(_DEARER * most)
            master.use(prices)

    def _by_cost(self, master: Master, prices: Prices) -> bool:
        """Rounds under the objective; whether they ended with demand left unmet."""

        def keep(answer: Answer, reduced: FloatArray, bound: float) -> bool:
            self.last, self.beneath = (master, answer, reduced, prices), bound + prices.constant
            self.bound = max(self.bound, self.beneath)
            return answer.value - bound <= _TAIL * self.effort.gap * abs(answer.value)

        def served(answer: Answer, reduced: FloatArray, bound: float) -> bool:
            return keep(answer, reduced, bound) or self._served()

        ended = converge(master, prices, self.effort.deadline, keep)
        if not ended and not self._served():  # without a plan there is nothing to improve
            ended = converge(master, prices, self.effort.first().deadline, served)
        return ended and not self._served()

    def _can_be_served(self, master: Master) -> bool:
        """Whether unmet demand can vanish; if a bound forbids it, no plan exists."""

        def decided(answer: Answer, _: FloatArray, bound: float) -> bool:
            self.infeasible = bound > _UNSERVED
            return self.infeasible or answer.value <= _UNSERVED

        prices = master.slack_prices(weights(master))
        master.use(prices)
        ended = converge(master, prices, self.effort.first().deadline, decided)
        return ended and not self.infeasible

    def _served(self) -> bool:
        return self.last is not None and unserved(self.last[0], self.last[1]) <= _UNSERVED

    def generated(self) -> Generated:
        if self.last is None:
            return Generated(frozenset(), self.bound)
        master, answer, reduced, prices = self.last
        relative = (reduced / prices.own).min(axis=0)
        near = self.pairs.named(_near(relative, most=_KEPT // self.pairs.nodes))
        used = master.used(answer)
        return Generated(
            used | near,
            self.bound,
            self._served(),
            self.infeasible,
            relative=relative,
            reduced=reduced.min(axis=0),
            beneath=self.beneath,
            prices=master.system_prices(answer),
            used=used,
        )


def wider(pairs: Pairs, generated: Generated, most: int = _WIDER) -> frozenset[tuple[int, int]]:
    """The pairs, and up to `most` more (as many as a model can hold), those that cost least first.

    Whole systems may need a pair that the relaxation has no use for: two halls of half a system
    each are one system in the relaxation and two in a plan.
    """
    if generated.relative is None:
        return generated.pairs
    return generated.pairs | pairs.named(_near(generated.relative, math.inf, most))


def weights(master: Master) -> dict[Slack, float]:
    """One over the limit that each slack column relaxes."""
    problem = master.pairs.problem
    slacks = master.model.of(Slack)
    return {label: 1.0 / max(limits.size_of_limit(problem, label.row), 1e-6) for label in slacks}


def unserved(master: Master, answer: Answer) -> float:
    """Largest share of any class's demand that is left unmet."""
    of = weights(master)
    slack = master.slack(answer).items()
    shares = (of[la] * amount for la, amount in slack if isinstance(la.row, Demand))
    return max(shares, default=0.0)


def converge(
    master: Master,
    prices: Prices,
    deadline: Deadline,
    enough: Callable[[Answer, FloatArray, float], bool],
) -> bool:
    """Solve, price and build until no pair can pay or `enough(answer, reduced costs, bound)`;
    False when the deadline came first."""
    pairs = master.pairs
    while deadline.left() > 0:
        answer = master.solve(deadline.left())
        if answer.status != "optimal":
            return False
        reduced = pairs.reduced_costs(master.duals(answer), prices.kwh)
        if enough(answer, reduced, answer.value - _shortfall(pairs, reduced)):
            return True
        new = _cheapest(master, reduced / prices.own)
        if not new:
            return True
        master.add(new)
    return False


def _shortfall(pairs: Pairs, reduced: FloatArray) -> float:
    """What pairs with a reduced cost below zero could still take off the relaxation."""
    each = np.minimum(reduced, 0.0) @ pairs.needed[pairs.candidate]
    # where counts differ by block, each block is at most as far below
    blocks = [
        len(pairs.problem.scopes[pairs.problem.in_node(u)].blocks) for u in range(pairs.nodes)
    ]
    return float(-(each @ np.array(blocks)))


def _cheapest(master: Master, relative: FloatArray) -> list[Cell]:
    """The pairs that pay most for their size, at most two of a pool's workload in a node."""
    pairs = master.pairs
    nodes, rows = np.nonzero((relative < -_ZERO) & ~master.built)
    order = np.lexsort((nodes, rows, relative[nodes, rows]))
    taken: Counter[tuple[int, int, int]] = Counter()
    new: list[Cell] = []
    for u, i in zip(nodes[order].tolist(), rows[order].tolist(), strict=True):
        place = (u, int(pairs.pool[i]), int(pairs.workload[pairs.candidate[i]]))
        if taken[place] < 2:
            taken[place] += 1
            new.append((u, i))
        if len(new) == _MOST_NEW:
            break
    return new


def _near(relative: FloatArray, far: float = _NEAR, most: int = _KEPT) -> list[int]:
    """Pairs whose reduced cost is small: they help to fill systems and to repair limits."""
    rows = np.flatnonzero(relative <= far)
    order = rows[np.lexsort((rows, relative[rows]))]
    return [int(i) for i in order[:most]]
