"""Why a horizon has no plan: what is short, in which period, and by how much.

Each family of limits alone, and then all of them, may give way at a price per unit; the plan that
then gives way least says what is missing. It is itself the plan that its repair would allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokenfleet.errors import InfeasibleError
from tokenfleet.mix.model import build, limits
from tokenfleet.mix.model.family import Family
from tokenfleet.mix.model.frame import Frame
from tokenfleet.mix.model.index import (
    Budget,
    Capex,
    Delivered,
    Demand,
    Power,
    RackLimit,
    Row,
    Slack,
)
from tokenfleet.mix.model.objectives import set_objective
from tokenfleet.mix.model.stock import deliveries, fix_orders, vintages
from tokenfleet.mix.solver.effort import Deadline
from tokenfleet.mix.solver.highs import SolveOptions, run
from tokenfleet.problem_data import EVERY_BLOCK, Horizon, Node, Pool, Problem, only_block

_SECONDS = 20.0
_MOST_S = 8.0
_NOISE = 1e-6


Orders = Mapping[tuple[int, int], float]  # (node, offer): systems


def explain_horizon(
    problem: Problem,
    frame: Frame,
    fixed: Orders | None = None,
    pairs: frozenset[tuple[int, int]] | None = None,
) -> InfeasibleError:
    """The error that names the periods in which something is short, where orders `fixed` by node
    and offer stand; told over some `pairs` where all are too many."""
    deadline = Deadline(_SECONDS)
    horizon = problem.horizon
    assert horizon is not None
    names = that_give_way(horizon)
    asked = _Asked(problem, frame, fixed or {}, pairs, deadline)
    repairs = [asked.repair([name]) for name in names]
    found = [texts for texts in repairs if texts]
    if not found:
        found = [texts for texts in [asked.repair(names)] if texts]
    if not found:
        return InfeasibleError("no plan over the horizon meets every requirement", ())
    conflicts = [text for texts in found for text in texts]
    return InfeasibleError(
        f"no plan over the horizon meets every requirement: {'; or '.join(map(', '.join, found))}",
        conflicts,
        "each alternative is enough alone; move a date, or loosen what is short in its period",
    )


def that_give_way(horizon: Horizon) -> list[str]:
    """Families that bind in some node and may be relaxed, demand last."""
    found: dict[str, None] = {}
    for node in horizon.nodes:
        found |= dict.fromkeys(limits.that_give_way(node.problem))
        if node.capex_budget_usd is not None:
            found = {"capex": None} | found
    return sorted(found, key=lambda name: name == "demand")


@dataclass(frozen=True)
class _Asked:
    """A horizon without a plan, and what is kept while it is asked what would cure it."""

    problem: Problem
    frame: Frame
    fixed: Orders
    pairs: frozenset[tuple[int, int]] | None
    deadline: Deadline

    def repair(self, families: Sequence[str]) -> list[str]:
        """What must give way of some families, the least of it; nothing where that is no cure."""
        problem, relax = self.problem, frozenset(families)
        pools = range(len(problem.pools))
        m = build(problem, relax=relax, pairs=self.pairs, pools=pools, frame=self.frame)
        fix_orders(m, self.fixed)
        slacks = m.of(Slack)
        if not slacks or self.deadline.left() <= 0:
            return []
        set_objective(m, {la: 1.0 / max(size_in_node(problem, la.row), _NOISE) for la in slacks})
        seconds = min(max(self.deadline.left() / 2, 0.5), _MOST_S)
        outcome = run(m.prob, SolveOptions(gap=1e-3, time_limit_s=seconds))
        if not outcome.has_incumbent:
            return []
        amounts = {label.row: outcome.values[column.name] for label, column in slacks.items()}
        return _texts(problem, amounts)


def _texts(problem: Problem, amounts: Mapping[Row, float]) -> list[str]:
    found: dict[str, None] = {}
    for row, amount in amounts.items():
        if amount > _NOISE * max(size_in_node(problem, row), _NOISE):
            family, (node, own) = _family(row), in_own_node(problem, row)
            text = family.short(node.problem, own, family.unit.enough(amount))
            found[f"{node.name}: {text}{_until(problem, row)}"] = None
    return list(found)


def _until(problem: Problem, row: Row) -> str:
    """What ends a shortage by itself: of power or racks a block that arrives, or more by date; of
    service the first system that may arrive where none could before."""
    if isinstance(row, Demand):
        return _until_systems(problem, node_of_row(problem, row), row.workload)
    if not isinstance(row, Power | RackLimit):
        return ""
    horizon, u = problem.horizon, problem.node_of(row.scope)
    assert horizon is not None
    t, limit = horizon.nodes[u].period, size_in_node(problem, row)
    later = sorted(v for v in horizon.below(u) if horizon.nodes[v].period > t)
    brings = "racks_brought" if isinstance(row, RackLimit) else "provisioned_it_kw"
    blocks = {
        o: pool for o, pool in _blocks(problem) if pool.site == row.site and getattr(pool, brings)
    }
    arrives = {v: o for o in blocks for v in reversed(deliveries(horizon, o, 0))}
    for v in later:
        node = horizon.nodes[v]
        if v in arrives:
            return f", until {blocks[arrives[v]].system} may arrive in {node.name}"
        site = node.problem.sites[row.site]
        if (site.rack_limit if isinstance(row, RackLimit) else site.power_limit_kw) > limit:
            return f", until more arrives in {node.name}"
    return ""


def _until_systems(problem: Problem, u: int, workload: int) -> str:
    """The first offer by order that serves a workload and of which none can be there in node u, and
    the node in which one may."""
    horizon, found = problem.horizon, list[tuple[int, int, str]]()
    assert horizon is not None
    below = set(horizon.below(u)) - {u}
    serve = {c.system for c in problem.candidates if c.workload == workload}
    for o, offer in enumerate(problem.offers):
        stock = offer.stock
        if stock is None or stock.owned or problem.pools[offer.pool].system not in serve:
            continue
        arrives = {v for vintage in vintages(problem, o) for v in vintage.deliveries}
        if not arrives & set(horizon.path(u)):
            found += [(horizon.nodes[v].period, v, offer.id) for v in arrives & below]
    if not found:
        return ""
    _, v, name = min(found)
    return f", until {name} may arrive in {horizon.nodes[v].name}"


def _blocks(problem: Problem) -> Iterator[tuple[int, Pool]]:
    """Offers of power, with their pools."""
    for o, offer in enumerate(problem.offers):
        pool = problem.pools[offer.pool]
        if pool.is_block:
            yield o, pool


def size_in_node(problem: Problem, row: Row) -> float:
    """The limit that a row holds, in its own unit."""
    node, own = in_own_node(problem, row)
    return _family(row).size(node.problem, own)


def node_of_row(problem: Problem, row: Row) -> int:
    """The number of the node that a row is about."""
    if isinstance(row, Capex | Budget | Delivered):
        return row.node
    block = getattr(row, "block", None)
    return problem.node_of(only_block(block) if block is not None else row.scope)  # type: ignore[union-attr]


def in_own_node(problem: Problem, row: Row) -> tuple[Node, Row]:
    """The node that a row is about, and the row as its own problem has it."""
    horizon, u = problem.horizon, node_of_row(problem, row)
    assert horizon is not None
    node = horizon.nodes[u]
    if isinstance(row, Capex | Budget):
        if isinstance(row, Capex) and not row.total:
            year = node.problem
            stated = replace(year.objective, capex_budget_usd=node.capex_budget_usd)
            node = replace(node, problem=replace(year, objective=stated))
        return node, row
    first = sum(len(before.problem.blocks) for before in horizon.nodes[:u])
    block = getattr(row, "block", None)
    if block is not None:
        return node, row._replace(block=block - first)  # type: ignore[call-arg]
    scope = row.scope  # type: ignore[union-attr]
    own = EVERY_BLOCK if scope == problem.in_node(u) else scope - first
    return node, row._replace(scope=own)  # type: ignore[call-arg]


def _family(row: Row) -> Family:
    family = limits.family_of(row)
    assert family is not None, row
    return family
