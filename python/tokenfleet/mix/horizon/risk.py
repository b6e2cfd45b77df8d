"""What is best over a tree of outlooks: the mean, the bad tail, or the largest regret.

    neutral   min E[cost]
    cvar      min (1 - w) E + w CVaR,   CVaR = min over eta of eta + E[(cost - eta)+] / (1 - alpha)
    regret    min over plans of the largest (cost of a future - least cost of that future)
    chance    at most this probability that some demand of a future is not met

The cost of a future is the worth of all its cash, so capital counts with operation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pulp

from tokenfleet.errors import SchemaError
from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.index import NO_LEAF, TIE, Future, Label, NodeTotal
from tokenfleet.mix.model.stock import terms_by_node
from tokenfleet.problem_data import AtRisk, NodeCost, Problem, Short, Tail, Unmet, only_block

LE, GE, EQ = pulp.LpConstraintLE, pulp.LpConstraintGE, pulp.LpConstraintEQ


@dataclass(frozen=True)
class Risk:
    """How much the bad futures count. `weight` 0 is the mean alone, 1 the tail alone."""

    kind: Literal["neutral", "cvar", "regret"] = "neutral"
    weight: float = 0.0
    alpha: float = 0.8  # the tail is the worst 1 - alpha
    most_unmet: float | None = None  # probability that some demand is not met
    least: Mapping[int, float] | None = None  # regret: least cost of each future, by leaf

    @property
    def counts_the_bad(self) -> bool:
        """Whether anything but the mean counts."""
        return self.kind == "regret" or (self.kind == "cvar" and self.weight > 0.0)

    @property
    def mean_share(self) -> float:
        """How much the mean counts by itself."""
        return 1.0 - self.weight if self.kind == "cvar" else 1.0

    @property
    def leaves_a_choice(self) -> bool:
        """Whether plans of different mean cost may be equally good by it."""
        return self.kind == "regret" or (self.kind == "cvar" and self.weight == 1.0)


def set_risk(m: FleetModel, risk: Risk) -> None:
    """Give the model of a horizon its objective, with the rows that it needs."""
    horizon = m.problem.horizon
    assert horizon is not None
    if risk.most_unmet is not None:
        _limit_unmet(m, risk.most_unmet)
    if not risk.counts_the_bad:
        objective.set_goal(m)
        return
    if m.problem.objective.kind != "least_cost":
        raise SchemaError(
            f"risk over outlooks with objective {m.problem.objective.kind}",
            "choose least_cost, or leave the risk out",
        )
    _add_node_costs(m)
    at_risk = m.column(AtRisk(), low=-math.inf)
    for leaf in horizon.leaves:
        path = [(m.columns[NodeCost(u)], 1.0) for u in horizon.path(leaf)]
        if risk.kind == "regret":
            assert risk.least is not None
            m.row(Future(leaf), [*path, (at_risk, -1.0)], LE, risk.least[leaf])
        else:
            tail = m.column(Tail(leaf))
            m.row(Future(leaf), [*path, (at_risk, -1.0), (tail, -1.0)], LE, 0.0)
    if risk.kind == "regret":
        objective.set_objective(m, {AtRisk(): 1.0})
        return
    expected, constant = objective.goal_coefficients(m, m.problem.objective.goal)
    tails: dict[Label, float] = {AtRisk(): 1.0}
    for leaf in horizon.leaves:
        tails[Tail(leaf)] = horizon.nodes[leaf].probability / (1.0 - risk.alpha)
    parts = objective.combine([(1.0 - risk.weight, expected), (risk.weight, tails)])
    objective.set_objective(m, parts, constant=(1.0 - risk.weight) * constant)


def _add_node_costs(m: FleetModel) -> None:
    """A column for what each node costs if things come to there, and the row that adds it up."""
    horizon = m.problem.horizon
    assert horizon is not None
    fixed = fixed_costs(m.problem, m.constant_usd)
    paid = terms_by_node(m)
    for u, node in enumerate(horizon.nodes):
        usd: dict[Label, float] = {}
        for label, each in paid.get(u, ()):
            usd[label] = usd.get(label, 0.0) + each / node.probability
        column = m.column(NodeCost(u), low=-math.inf)
        pairs = [(m.columns[label], each) for label, each in usd.items()]
        m.row(NodeTotal(u), [*pairs, (column, -1.0)], EQ, -fixed[u])


def settled(m: FleetModel, plan: Mapping[str, float]) -> dict[str, float]:
    """A plan by names of columns, with what nodes cost and what is at risk as its other numbers
    make them."""
    found = dict(plan)
    if not m.of(AtRisk):
        return found
    at_risk, tails = m.columns[AtRisk()], m.of(Tail)
    over: dict[int, float] = {}  # by leaf: cost, less what a future may cost
    for row in m.prob.constraints():
        label = m.rows[row.name]
        if isinstance(label, NodeTotal):
            column = m.columns[NodeCost(label.node)]
            others = ((v, a) for v, a in row.items() if v is not column)
            found[column.name] = row.constant + sum(a * found.get(v.name, 0.0) for v, a in others)
    for row in m.prob.constraints():
        label = m.rows[row.name]
        if isinstance(label, Future) and label.leaf != NO_LEAF:
            nodes = ((v, a) for v, a in row.items() if a > 0)
            over[label.leaf] = row.constant + sum(a * found[v.name] for v, a in nodes)
    if not tails:
        found[at_risk.name] = max(over.values())
        return found
    stated = m.prob.objective.items()
    for row in m.prob.constraints():
        if m.rows[row.name] == Future(NO_LEAF, TIE):  # then the mean is asked for
            stated = row.items()
    weight = {v.name: a for v, a in stated}

    def worth(level: float) -> float:
        beyond = (weight[tails[Tail(x)].name] * max(c - level, 0.0) for x, c in over.items())
        return float(weight[at_risk.name] * level + sum(beyond))

    level = min(over.values(), key=worth)
    found[at_risk.name] = level
    return found | {tails[Tail(x)].name: max(c - level, 0.0) for x, c in over.items()}


def fixed_costs(problem: Problem, constant_usd: float) -> list[float]:
    """What each node costs whatever is done, if things come to there; what stood at the start is
    booked in the first."""
    horizon = problem.horizon
    assert horizon is not None
    found = []
    for u, node in enumerate(horizon.nodes):
        year, weight = problem.parts[u]
        contracted = sum(site.contracted_power_usd_per_year for site in year.sites)
        found.append(contracted * weight / node.probability)
    booked = sum(each * node.probability for each, node in zip(found, horizon.nodes, strict=True))
    for u, node in enumerate(horizon.nodes):
        if node.parent < 0:
            found[u] += constant_usd - booked
    return found


def _limit_unmet(m: FleetModel, most: float) -> None:
    """Probability of futures in which some demand is not met, at most so much."""
    horizon = m.problem.horizon
    assert horizon is not None
    for leaf in horizon.leaves:
        m.column(Unmet(leaf), 1.0, integer=True)
    through = {u: [x for x in horizon.leaves if u in horizon.path(x)] for u in
               range(len(horizon.nodes))}  # fmt: skip
    for short, column in m.of(Short).items():
        u = m.problem.node_of(only_block(short.block))
        for leaf in through[u]:
            row = Future(leaf, short.block, short.workload, short.cls)
            pairs = [(column, 1.0), (m.columns[Unmet(leaf)], -float(column.upBound))]
            m.row(row, pairs, LE, 0.0)
    pairs = [(m.columns[Unmet(x)], horizon.nodes[x].probability) for x in horizon.leaves]
    m.row(Future(NO_LEAF), pairs, LE, most)
