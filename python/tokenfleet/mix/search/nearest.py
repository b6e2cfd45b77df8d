"""Of the plans that are as good, the one nearest to what stands: the fewest accelerators moved.

A fleet is not turned over for a saving that is within what nobody would act on. Moved is, by offer
and site, the difference to the systems that stand, in accelerators; among plans equally near the
better value decides. The search starts from the plan in hand and takes so many nodes and no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pulp

from tokenfleet.mix.generate.generation import applies, is_large
from tokenfleet.mix.model import FleetModel, Label, build, frame_of
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.index import Choice, Own
from tokenfleet.mix.search.simplest import Bar, Simpler, ValueRow, as_good
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.problem_data import Problem, Systems, pairs_used

Place = tuple[str, str]  # offer of the scenario, and site
_NODES = 1000
_BETTER = 0.4  # of an accelerator moved, that the whole tolerance of the value weighs


@dataclass(frozen=True)
class Standing:
    """Systems that stand, by offer and site, and the share of the best value that may be given up
    to keep them."""

    systems: Mapping[Place, float]
    tolerance: float = 0.0


def groups(problem: Problem, columns: Sequence[Label]) -> dict[Place, dict[int, list[Label]]]:
    """Columns of systems by offer and site, and by the scope that they are counted in."""
    found: dict[Place, dict[int, list[Label]]] = {}
    for label in columns:
        if isinstance(label, Systems):
            offer = problem.offers[label.offer]
            site = problem.sites[problem.pools[offer.pool].site].id
            place = (offer.stated_as, site)
            found.setdefault(place, {}).setdefault(label.scope, []).append(label)
    return found


def count_moves(m: FleetModel, standing: Mapping[Place, float]) -> dict[Label, float]:
    """A column for each offer and site, no less than the difference to what stands; with the
    accelerators of a system as its weight."""
    weights: dict[Label, float] = {}
    for place, scopes in groups(m.problem, list(m.columns)).items():
        moved = m.column(_moved(place))
        for scope, labels in scopes.items():
            pairs = [(m.columns[la], 1.0) for la in labels]
            now = standing.get(place, 0.0)
            name = f"moved {' '.join(place)} {scope}"
            m.row(Own(f"{name} +"), [*pairs, (moved, -1.0)], pulp.LpConstraintLE, now)
            m.row(Own(f"{name} -"), [*pairs, (moved, 1.0)], pulp.LpConstraintGE, now)
            first = labels[0]
        assert isinstance(first, Systems)
        pool = m.problem.pools[m.problem.offers[first.offer].pool]
        weights[_moved(place)] = float(pool.gpus_per_system)
    return weights


def moves(
    m: FleetModel, values: Mapping[Label, float], standing: Mapping[Place, float]
) -> dict[Label, float]:
    """The columns of `count_moves` as a plan makes them."""
    return {
        _moved(place): max(
            abs(sum(values.get(la, 0.0) for la in labels) - standing.get(place, 0.0))
            for labels in scopes.values()
        )
        for place, scopes in groups(m.problem, list(m.columns)).items()
    }


def _moved(place: Place) -> Choice:
    return Choice("moved", " at ".join(place))


def nearest(
    m: FleetModel, values: Mapping[Label, float], bar: Bar, standing: Standing, effort: Effort
) -> Simpler | None:
    """A plan as good that is nearer to what stands than `values`; None without one.

    Raises:
        KeyboardInterrupt: Ctrl-C.
    """
    problem = m.problem
    own = pairs_used(values)
    pairs = own if applies(problem) and is_large(problem) else None
    model = build(
        problem, pairs=pairs, frame=frame_of(problem, m.frame.scale_max, every_system=True)
    )
    known = tuple(model.columns)
    row = ValueRow(model)
    row.require(bar, values)
    counted = count_moves(model, standing.systems)
    weights, constant = dict(counted), 0.0
    if not row.under:
        worse = row.sign * _BETTER / max(abs(bar.cap - bar.best), 1e-9 * abs(bar.best), 1e-9)
        for label, a in row.over.items():
            weights[label] = weights.get(label, 0.0) + worse * a
        constant = worse * (row.constant - bar.best)
    objective.set_objective(model, weights, constant=constant)
    begun = {**values, **moves(model, values, standing.systems)}
    start = {model.columns[la].name: v for la, v in begun.items() if la in model.columns}
    options = replace(effort.within(effort.left()), gap=0.0, nodes=_NODES, threads=1)

    def far(plan: Mapping[Label, float]) -> float:
        return sum(counted[la] * n for la, n in moves(model, plan, standing.systems).items())

    found = as_good(row, known, bar, options, start)
    return found if found and far(found.values) < far(values) - 0.5 else None
