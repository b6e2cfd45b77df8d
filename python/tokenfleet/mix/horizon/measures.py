"""What it is worth to know the future, to plan for several, and to be wrong.

Every measure is a difference of plans that were solved for it:

    wait and see   mean over futures of the least cost of each, known in advance
    EVPI           expected cost of the plan - wait and see                        >= 0
    EEV            expected cost if what is decided now is that of the mean future
    VSS            EEV - expected cost of the plan                                 >= 0
    waiting        expected cost if the first period orders nothing - that of the plan >= 0
    regret         what one future's own plan decides now, in another future: cost above its least
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.horizon.combine import along, mean
from tokenfleet.mix.horizon.facts import Memory
from tokenfleet.mix.horizon.kin import Kin
from tokenfleet.mix.horizon.part import Part, elsewhere
from tokenfleet.mix.horizon.solve import HorizonResult, Orders, solve_horizon
from tokenfleet.mix.solve import NoPlanError
from tokenfleet.mix.solver.effort import Deadline, Effort
from tokenfleet.mix.solver.highs import SolveOptions
from tokenfleet.problem_data import Horizon


@dataclass(frozen=True)
class Known:
    """Plans of futures that are known in advance, by leaf of the tree."""

    results: Mapping[int, HorizonResult] = field(repr=False)

    @property
    def least(self) -> dict[int, float]:
        """Least cost of each future, USD."""
        return {leaf: found.npv_usd for leaf, found in self.results.items()}


def wait_and_see(
    horizon: Horizon,
    options: SolveOptions,
    name: str = "",
    part: Part | None = None,
    memory: Memory | None = None,
    *,
    deadline: Deadline | None = None,
) -> Known:
    """The best plan of each future, if it were known. `memory` has what is known of the nodes,
    here and below; none is begun after the deadline.

    Raises:
        NoPlanError: not all of them were.
    """
    kin, found = Kin(memory or Memory(), explains=True), dict[int, HorizonResult]()
    for leaf in horizon.leaves:
        begin_before(deadline)
        found[leaf] = _alone(along(horizon, leaf), options, name, part, kin)
    return Known(found)


def begin_before(deadline: Deadline | None) -> None:
    """Nothing more is begun after a deadline.

    Raises:
        NoPlanError: it has passed.
    """
    if deadline is not None and deadline.left() <= 0:
        raise NoPlanError("the time is over", "give the solver more time")


def _alone(
    chain: Horizon, options: SolveOptions, name: str, part: Part | None, kin: Kin
) -> HorizonResult:
    """The best plan of a future that is certain."""
    own = elsewhere(part, chain, Effort.of(options))
    return solve_horizon(name, chain, options, part=own, kin=kin)


def orders_of_chain(horizon: Horizon, chain: HorizonResult) -> dict[tuple[int, int], float]:
    """What a chain orders in the periods before the first news, as orders of the tree's nodes."""
    node_of = {horizon.nodes[u].period: u for u in horizon.now}
    found = {}
    for (u, o), count in chain.orders_now().items():
        period = chain.horizon.nodes[u].period
        if period in node_of:
            found[node_of[period], o] = count
    return found


def mean_plan(
    horizon: Horizon,
    options: SolveOptions,
    name: str = "",
    part: Part | None = None,
    memory: Memory | None = None,
) -> HorizonResult:
    """The best plan of the mean future."""
    kin = Kin(memory or Memory(), explains=True)
    return _alone(mean(horizon), options, name, part, kin)


def with_orders(
    horizon: Horizon,
    orders: Orders,
    options: SolveOptions,
    name: str = "",
    *,
    part: Part | None = None,
    memory: Memory | None = None,
) -> HorizonResult | None:
    """The best plan after such orders now; None where they leave none, which nobody explains."""
    kin = Kin(memory or Memory())
    try:
        return solve_horizon(name, horizon, options, fixed=orders, part=part, kin=kin)
    except InfeasibleError:
        return None


def no_orders(horizon: Horizon) -> dict[tuple[int, int], float]:
    """Nothing ordered in the first period: the cost above the plan's is that of waiting."""
    first = next(u for u, node in enumerate(horizon.nodes) if node.parent < 0)
    offers = horizon.nodes[first].problem.offers
    return {(first, o): 0.0 for o, offer in enumerate(offers) if offer.stock is not None}


def in_future(horizon: Horizon, orders: Orders, leaf: int) -> dict[tuple[int, int], float]:
    """Orders of the tree's first nodes as those of the chain that ends in a leaf."""
    place = {u: i for i, u in enumerate(horizon.path(leaf))}
    return {(place[u], o): count for (u, o), count in orders.items() if u in place}


def regret_of(
    horizon: Horizon,
    orders: Orders,
    known: Known,
    options: SolveOptions,
    memory: Memory | None = None,
    *,
    deadline: Deadline | None = None,
) -> dict[int, float | None]:
    """Cost above the least, in each future, of a plan that decides these orders now; None where
    they leave no plan.

    Raises:
        NoPlanError: the deadline passed before all were begun.
    """
    found: dict[int, float | None] = {}
    for leaf, least in known.least.items():
        begin_before(deadline)
        own = in_future(horizon, orders, leaf)
        plan = with_orders(along(horizon, leaf), own, options, memory=memory)
        found[leaf] = None if plan is None else plan.npv_usd - least
    return found


def cvar(result: HorizonResult, alpha: float) -> float:
    """Mean cost of the worst 1 - alpha of the futures, USD."""
    left, total = 1.0 - alpha, 0.0
    nodes = result.horizon.nodes
    for leaf, usd in sorted(result.npv_by_leaf.items(), key=lambda item: -item[1]):
        share = min(nodes[leaf].probability, left)
        total += share * usd
        left -= share
    return total / (1.0 - alpha)
