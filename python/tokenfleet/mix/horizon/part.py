"""The part of a large horizon that is built, and a bound that holds for the whole.

Where every pair of pool and candidate in every node is too much to build, the relaxation of the
whole tree is had by generation of columns (`mix.generate`): pairs enter in the nodes that want
them, and its value bounds the mean cost of every plan. The plan is then made over all pairs that
any node asked for. For example 120 of 9,940 pairs bound a hyperscaler's twelve quarters.

Reserves, yearly budgets, staff by site, limits on types and layouts and what it costs to bring
layouts up cannot be held by columns that enter one by one. All of them only make plans dearer, so
the bound is that of the tree without them (`loosened`), and the plan keeps them.

Replicas that are laid out anew by block may make plans cheaper, and pairs that pay for it are not
found here. What is generated is then the part of the tree in which they stay (`plainer`): no bound,
but prices of systems, at which the second formulation bounds the years with all that they may do
(`verify.horizon_bound`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tokenfleet.mix.generate.generation import applies, generate
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.risk import Risk, set_risk
from tokenfleet.mix.model import FleetModel, build, frame_of, scale_limit
from tokenfleet.mix.model.choices import without_choices
from tokenfleet.mix.model.index import NO_LEAF, Future
from tokenfleet.mix.model.stock import yearly_costs
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import run
from tokenfleet.problem_data import Horizon, Problem

LARGE = 60_000  # pairs in all nodes up to which every one is built
LARGE_APART = 12_000  # the same with prefill apart, whose layouts stand in far larger programmes
_DEAR = 100.0  # times the dearest system: the price of what cannot have arrived
_FIRST = 0.1  # of the time, for the pairs that single years want
_STATED = 1e-6  # of the stated probabilities, that stay where the risk counts one future alone
_ROUNDS = 3  # of probabilities and pairs
_TREE = 0.5  # of the time left, for those of the tree


@dataclass(frozen=True)
class Part:
    """Pairs (pool, candidate) that a plan is made of; no plan over any pairs has a lower mean
    cost than `bound`, -inf where nothing is known."""

    pairs: frozenset[tuple[int, int]]
    bound: float
    infeasible: bool = False  # proven of all pairs
    #: Worth of a system in service by (node, offer), at which the bound is reached.
    prices: Mapping[tuple[int, int], float] = field(default_factory=dict, repr=False)
    asks: bool = False  # nothing is proven yet: a bound is still to be had at its prices
    at_risk: float = -math.inf  # no plan has a lower objective by the risk that is stated
    #: Searched as if there were no other pairs; what that proves is not claimed of all.
    by_itself: bool = False


def part_of(name: str, horizon: Horizon, effort: Effort) -> Part | None:
    """The part of a horizon that is built; None where it is small enough to be built whole."""
    first = loosened(horizon).nodes[0].problem
    if _cells(first) * len(horizon.nodes) <= LARGE or not applies(_plain_year(first)):
        return None
    start = _wanted_by_years(plainer(loosened(horizon)), effort.part(_FIRST))
    part = _generated(horizon, effort, start, name)
    return None if first.relayout and not part.asks else part


def is_asked(horizon: Horizon) -> bool:
    """Whether a horizon is too large to be built whole, and its relaxation cannot be had by
    generation: its years are asked which pairs they want at prices of systems."""
    first = horizon.nodes[0].problem
    cells = _cells(first) * len(horizon.nodes)
    if any(candidate.role != "serve" for candidate in first.candidates):
        return cells > LARGE_APART
    return cells > LARGE and not applies(_plain_year(loosened(horizon).nodes[0].problem))


def is_small(horizon: Horizon) -> bool:
    """Whether every pair in every node is few enough to be built."""
    first = horizon.nodes[0].problem
    apart = any(candidate.role != "serve" for candidate in first.candidates)
    return _cells(first) * len(horizon.nodes) <= (LARGE_APART if apart else LARGE)


def _cells(year: Problem) -> int:
    """Pairs of pool and candidate."""
    sizes = Counter(candidate.system for candidate in year.candidates)
    return sum(sizes[pool.system] for pool in year.pools)


def user_costs(problem: Problem) -> dict[tuple[int, int], float]:
    """What a system in service costs at least by the order that it comes from, by node and offer;
    far more where none can have arrived."""
    assert problem.horizon is not None
    found: dict[tuple[int, int], float] = {}
    for o, offer in enumerate(problem.offers):
        for u, usd in yearly_costs(problem, o, offer.stock) if offer.stock is not None else ():
            found[u, o] = min(usd * problem.parts[u][1], found.get((u, o), math.inf))
    never = _DEAR * max(map(abs, found.values()), default=0.0)
    ordered = [o for o, offer in enumerate(problem.offers) if offer.stock is not None]
    nodes = range(len(problem.horizon.nodes))
    return {(u, o): found.get((u, o), never) for u in nodes for o in ordered}


def plainer(horizon: Horizon) -> Horizon:
    """The horizon with replicas that stay as they are in all blocks; the same where they do."""
    if not horizon.nodes[0].problem.relayout:
        return horizon
    nodes = (replace(n, problem=_plain_year(n.problem)) for n in horizon.nodes)
    return replace(horizon, nodes=tuple(nodes))


def _plain_year(problem: Problem) -> Problem:
    return replace(problem, relayout=False)


def loosened(horizon: Horizon) -> Horizon:
    """The horizon without what only makes plans dearer and cannot be held by a part."""
    nodes = (replace(n, problem=_loosened_year(n.problem)) for n in horizon.nodes)
    return replace(horizon, nodes=tuple(nodes), change_usd_per_gpu=0.0)


def _loosened_year(problem: Problem) -> Problem:
    freer = without_choices(problem)
    return replace(freer, objective=replace(freer.objective, annual_budget_usd=None))


def _generated(
    horizon: Horizon, effort: Effort, start: frozenset[tuple[int, int]], name: str = ""
) -> Part:
    """The part of a tree, and its bound where it can be had."""
    problem = combined(name, plainer(loosened(horizon)))
    if not applies(problem):
        return Part(start, -math.inf)
    found = generate(Pairs.of(problem), effort.part(_TREE), start)
    if found.interrupted:
        raise KeyboardInterrupt
    if horizon.nodes[0].problem.relayout:  # what is proven is so of plainer plans alone
        asks = not found.infeasible
        return Part(found.pairs | start, -math.inf, prices=found.prices, asks=asks)
    return Part(found.pairs | start, found.bound, found.infeasible, found.prices)


def elsewhere(part: Part | None, horizon: Horizon, effort: Effort) -> Part | None:
    """The part of another tree over the same tables, begun with the pairs of this one."""
    if part is None or part.by_itself:
        return part
    return _generated(horizon, effort, part.pairs)


def _wanted_by_years(horizon: Horizon, effort: Effort) -> frozenset[tuple[int, int]]:
    """Pairs that the relaxation of one year uses in the first or the last period of the likeliest
    future. Those that are only near it would be built in every node, most of them in vain."""
    leaf = max(horizon.leaves, key=lambda u: horizon.nodes[u].probability)
    found: set[tuple[int, int]] = set()
    for u in (horizon.path(leaf)[0], leaf):
        year = horizon.nodes[u].problem
        steady = replace(year, offers=tuple(replace(o, stock=None) for o in year.offers))
        found |= generate(Pairs.of(steady), effort.part(0.5)).used
    return frozenset(found)


def at_risk(
    part: Part, horizon: Horizon, risk: Risk, effort: Effort
) -> tuple[Horizon, Part] | None:
    """The horizon at the probabilities that its risk makes (`weighed`), and its part; None where it
    was not solved. Pairs that the bad futures want change the probabilities: so on for a while."""
    best: tuple[Horizon, Part] | None = None
    for _ in range(_ROUNDS):
        other = weighed(part, horizon, risk, effort)
        if other is None:
            break
        own = _generated(other, effort, part.pairs)
        if best is None or bound_by(risk, own.bound, other) > bound_by(
            risk, best[1].bound, best[0]
        ):
            best = (other, own)
        if own.pairs == part.pairs or effort.left() <= 0:
            break
        part = own
    return best


def weighed(part: Part, horizon: Horizon, risk: Risk, effort: Effort) -> Horizon | None:
    """The horizon at the probabilities that its risk makes of those stated, at which the mean cost
    is what the relaxation over the part has for its objective; None where it was not solved.

    A tail, or the largest regret, is the largest mean over such probabilities, so the mean at any
    of them bounds it.
    """
    problem = combined("", horizon)
    frame = frame_of(problem, scale_limit(problem), every_system=True)
    m = build(problem, pairs=part.pairs, pools=range(len(problem.pools)), frame=frame)
    set_risk(m, risk)
    outcome = run(m.prob, effort.within(effort.left()), mip=False)
    if not outcome.has_incumbent:
        return None
    return at_chances(horizon, risk, future_duals(m, outcome.row_duals))


def future_duals(m: FleetModel, row_duals: Mapping[str, float]) -> dict[int, float]:
    """How much each future counts in a relaxation, by leaf; none without risk."""
    found: dict[int, float] = {}
    for name, label in m.rows.items():
        if isinstance(label, Future) and label.leaf != NO_LEAF and name in row_duals:
            found[label.leaf] = found.get(label.leaf, 0.0) + abs(row_duals[name])
    return found


def at_chances(horizon: Horizon, risk: Risk, duals: Mapping[int, float]) -> Horizon:
    """The horizon at the probabilities in the proportion of such duals that its risk allows."""
    stated = {leaf: horizon.nodes[leaf].probability for leaf in horizon.leaves}
    is_tail = risk.kind == "cvar"
    most = {x: p / (1.0 - risk.alpha) if is_tail else 1.0 for x, p in stated.items()}
    worst = _within({x: duals.get(x, 0.0) for x in stated}, most)
    weight = risk.weight if is_tail else 1.0
    # all stay possible
    worst = {x: (1.0 - _STATED) * q + _STATED * stated[x] for x, q in worst.items()}
    chances = {x: (1.0 - weight) * p + weight * worst[x] for x, p in stated.items()}
    nodes = []
    for u, node in enumerate(horizon.nodes):
        below = sum(chances[leaf] for leaf in horizon.below(u) if leaf in chances)
        nodes.append(replace(node, probability=below))
    return replace(horizon, nodes=tuple(nodes))


def _within(shares: Mapping[int, float], most: Mapping[int, float]) -> dict[int, float]:
    """Probabilities in the proportion of the shares, none above its most; what that leaves goes to
    those with room."""
    total = sum(shares.values())
    found = {x: min(share / total if total > 0 else 0.0, most[x]) for x, share in shares.items()}
    left, room = 1.0 - sum(found.values()), sum(most.values()) - sum(found.values())
    part = max(left, 0.0) / room if room > 0 else 0.0
    return {x: q + part * (most[x] - q) for x, q in found.items()}


def bound_by(risk: Risk | None, mean: float, horizon: Horizon) -> float:
    """What a bound on the mean cost says of the objective: a tail is never cheaper than the mean,
    and the largest regret no less than the mean of all."""
    if risk is None or risk.kind != "regret":
        return mean
    assert risk.least is not None
    return mean - mean_of(risk.least, horizon)


def mean_of(by_leaf: Mapping[int, float], horizon: Horizon) -> float:
    """The mean over the futures."""
    return sum(horizon.nodes[leaf].probability * usd for leaf, usd in by_leaf.items())
