"""A plan over a horizon with its proof: build, search, and read what each future costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pulp

from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.explain import explain_horizon
from tokenfleet.mix.horizon.risk import Risk, fixed_costs, set_risk
from tokenfleet.mix.horizon.search import search_horizon
from tokenfleet.mix.model import FleetModel, Label, build, frame_of, scale_limit
from tokenfleet.mix.model.index import Future
from tokenfleet.mix.model.objectives import set_goal
from tokenfleet.mix.model.stock import paid_in
from tokenfleet.mix.result import clean_values
from tokenfleet.mix.search.incumbent import Found
from tokenfleet.mix.solve import NoPlanError
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, Status
from tokenfleet.mix.why.infeasible import check_scaling
from tokenfleet.problem_data import Horizon, Ordered, Problem

_TIE = 1e-8  # relative: plans as near as this in the objective are equally good
Orders = Mapping[tuple[int, int], float]  # (node, offer): systems


@dataclass(frozen=True)
class HorizonResult:
    """A plan over a horizon.

    `value` and `bound` are of the objective, risk included; `npv_usd` is the mean of
    `npv_by_leaf`, the worth of all cash of each future. `items` are its parts, the mean worth of
    each, with the node that pays.
    """

    problem: Problem = field(repr=False)
    status: Status
    value: float
    bound: float
    gap: float
    values: Mapping[Label, float] = field(repr=False)
    items: Mapping[tuple[int, str], float] = field(repr=False)  # (node, item): USD, by probability
    npv_usd: float
    npv_by_leaf: Mapping[int, float]
    interrupted: bool = False
    seconds: float = 0.0

    @property
    def horizon(self) -> Horizon:
        """Its periods and nodes."""
        assert self.problem.horizon is not None
        return self.problem.horizon

    @property
    def years(self) -> float:
        """Discounted years of the horizon."""
        return self.problem.years

    @property
    def levelised_usd_per_year(self) -> float:
        """The yearly cost that is worth as much over the horizon."""
        return self.npv_usd / self.years

    def orders_now(self) -> dict[tuple[int, int], float]:
        """Orders of the nodes before the first news, those of none as well."""
        now = self.horizon.now
        found = {
            (u, o): 0.0
            for u in now
            for o, offer in enumerate(self.problem.offers)
            if offer.stock is not None
        }
        for label, value in self.values.items():
            if isinstance(label, Ordered) and label.node in now:
                found[label.node, label.offer] = value
        return found


def solve_horizon(
    name: str,
    horizon: Horizon,
    options: SolveOptions | None = None,
    risk: Risk | None = None,
    fixed: Orders | None = None,
) -> HorizonResult:
    """The best plan over a horizon. `fixed` are numbers of orders that are decided already.

    Raises:
        InfeasibleError: no plan meets every requirement; names the period and what is short.
        SolverError: the solver failed, or found no plan and no proof that there is none.
    """
    begun = time.perf_counter()
    options = options or SolveOptions()
    problem = combined(name, horizon)
    m = _model(problem, fixed or {})
    set_risk(m, risk or Risk())
    effort = Effort.of(options)
    found = search_horizon(m, effort)
    if not found.values:
        if found.interrupted:
            raise KeyboardInterrupt
        if found.status == "infeasible":
            raise explain_horizon(problem, m.frame)
        raise NoPlanError("no plan was found within the time limit", "give the solver more time")
    if risk is not None and risk.leaves_a_choice:
        found = _least_mean(m, found, effort)
    values = clean_values(m, found.values)
    items = booked(m, values)
    by_leaf = costs_by_leaf(m, items)
    npv = sum(horizon.nodes[x].probability * usd for x, usd in by_leaf.items())
    return HorizonResult(
        problem=problem,
        status=found.status,
        value=found.value,
        bound=found.bound,
        gap=found.gap,
        values=values,
        items=items,
        npv_usd=npv,
        npv_by_leaf=by_leaf,
        interrupted=found.interrupted,
        seconds=time.perf_counter() - begun,
    )


def _model(problem: Problem, fixed: Orders) -> FleetModel:
    frame = frame_of(problem, scale_limit(problem), every_system=True)
    for (_, o), count in fixed.items():  # what was decided elsewhere may be more than is useful
        frame.useful[problem.offers[o].pool] += count
    m = build(problem, frame=frame)
    check_scaling(m)
    for (u, o), count in fixed.items():
        column = m.columns.get(Ordered(u, o))
        if column is not None:
            column.lowBound = column.upBound = count
    return m


def _least_mean(m: FleetModel, found: Found, effort: Effort) -> Found:
    """The plan of least mean cost among those as good by a risk that looks at some futures only."""
    pairs = list(m.prob.objective.items())
    most = found.value + _TIE * abs(found.value) - m.prob.objective.constant
    m.row(Future(-1, -2), pairs, pulp.LpConstraintLE, most)
    set_goal(m)
    closer = search_horizon(m, effort.part(1.0, least_s=1.0))
    return replace(found, values=closer.values) if closer.values else found


def booked(m: FleetModel, values: Mapping[Label, float]) -> dict[tuple[int, str], float]:
    """Mean worth of each item in each node, USD."""
    found: dict[tuple[int, str], float] = {}
    horizon = m.problem.horizon
    assert horizon is not None
    for term in m.terms:
        value = values.get(term.label)
        if value:
            u = paid_in(m.problem, term)
            found[u, term.item] = found.get((u, term.item), 0.0) + term.usd * value
    for u, usd in enumerate(fixed_costs(m.problem, m.constant_usd)):
        node = horizon.nodes[u]
        year, weight = m.problem.parts[u]
        contracted = weight * sum(site.contracted_power_usd_per_year for site in year.sites)
        if contracted:
            found[u, "contracted_power"] = contracted
        if usd * node.probability - contracted:
            found[u, "owned_at_start"] = usd * node.probability - contracted
    return found


def costs_by_leaf(m: FleetModel, items: Mapping[tuple[int, str], float]) -> dict[int, float]:
    """Worth of all cash of each future, USD."""
    horizon = m.problem.horizon
    assert horizon is not None
    node_usd = [0.0] * len(horizon.nodes)
    for (u, _), usd in items.items():
        node_usd[u] += usd / horizon.nodes[u].probability
    return {leaf: sum(node_usd[u] for u in horizon.path(leaf)) for leaf in horizon.leaves}
