"""One mix problem out of the problems of all nodes of a horizon, and futures cut out of it.

The blocks of all nodes stand one after another, each counted by the discounted years of its period
times the probability of its node. What differs by node and is paid or asked by the hour becomes a
number by block; what is limited or paid by the period stays in the node's own problem, where
`Problem.at` finds it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tokenfleet import _core
from tokenfleet.mix.model.index import Label
from tokenfleet.problem_data import (
    EVERY_BLOCK,
    ApiData,
    Block,
    ByBlock,
    Horizon,
    Node,
    OfferData,
    Pool,
    Problem,
    WorkloadData,
    in_blocks,
    only_block,
)

_PRICES = ("energy_usd_per_kwh_it", "carbon_usd_per_kwh_it", "water_usd_per_kwh_it", "speed")


def combined(name: str, horizon: Horizon) -> Problem:
    """The problem of a whole horizon."""
    years = [node.problem for node in horizon.nodes]
    first = years[0]
    return replace(
        first,
        name=name,
        blocks=tuple(_blocks(horizon)),
        workloads=tuple(_workload([y.workloads[w] for y in years]) for w in _rows(first.workloads)),
        pools=tuple(_pool(years, p) for p in _rows(first.pools)),
        offers=tuple(_offer(years, o) for o in _rows(first.offers)),
        apis=tuple(_api(years, a) for a in _rows(first.apis)),
        horizon=horizon,
    )


def _rows(table: Sequence[Any]) -> Iterable[int]:
    return range(len(table))


def period_weight(horizon: Horizon, period: int) -> float:
    """Years that a period counts for, worth at the start."""
    return _core.flow_weight(horizon.rate, horizon.starts[period], horizon.starts[period + 1])


def _blocks(horizon: Horizon) -> Iterable[Block]:
    for u, node in enumerate(horizon.nodes):
        weight = node.probability * period_weight(horizon, node.period)
        for block in node.problem.blocks:
            yield replace(block, weight=weight, period=node.period, outlook=u)


def _workload(rows: Sequence[WorkloadData]) -> WorkloadData:
    return replace(
        rows[0],
        demand_rps=np.concatenate([row.demand_rps for row in rows]),
        min_scale=min(row.min_scale for row in rows),
        max_scale=max(row.max_scale for row in rows),
    )


def _by_block(years: Sequence[Problem], of: Callable[[Problem], ByBlock]) -> ByBlock:
    """A price in every block of every node; one number where it is the same in all."""
    found: list[float] = []
    for year in years:
        found += in_blocks(of(year), len(year.blocks))
    return found[0] if len(set(found)) == 1 else tuple(found)


def _pool(years: Sequence[Problem], p: int) -> Pool:
    changed: dict[str, Any] = {
        field: _by_block(years, lambda year, field=field: getattr(year.pools[p], field))  # type: ignore[misc]
        for field in _PRICES
    }
    return replace(years[0].pools[p], **changed)


def _offer(years: Sequence[Problem], o: int) -> OfferData:
    hourly = _by_block(years, lambda year: year.offers[o].hourly_usd)
    billed = _by_block(years, lambda year: year.offers[o].billed_per_hour)
    return replace(years[0].offers[o], hourly_usd=hourly, billed_per_hour=billed)


def _api(years: Sequence[Problem], a: int) -> ApiData:
    costs = [year.apis[a].costs(len(year.blocks)) for year in years]
    return replace(years[0].apis[a], cost_usd_per_request=np.concatenate(costs))


# Futures


def along(horizon: Horizon, leaf: int) -> Horizon:
    """The one future that ends in a leaf, as if it were certain."""
    nodes = [
        replace(horizon.nodes[u], parent=i - 1, probability=1.0)
        for i, u in enumerate(horizon.path(leaf))
    ]
    return replace(horizon, nodes=tuple(nodes))


def mean(horizon: Horizon) -> Horizon:
    """The chain of mean numbers: demand, prices and limits by probability; leads of the likeliest.

    What can differ in kind and not in amount is that of the likeliest node of the period.
    """
    nodes = []
    for t in range(horizon.periods):
        here = [node for node in horizon.nodes if node.period == t]
        likeliest = max(here, key=lambda node: node.probability)
        nodes.append(
            replace(
                likeliest,
                parent=t - 1,
                probability=1.0,
                problem=_mean_problem(here, likeliest.problem),
                capex_budget_usd=_mean_or_none(here, lambda node: node.capex_budget_usd),
            )
        )
    return replace(horizon, nodes=tuple(nodes))


def _mean_or_none(here: Sequence[Node], of: Callable[[Node], float | None]) -> float | None:
    found = [of(node) for node in here]
    return None if any(v is None for v in found) else _weighted(here, found)


def _weighted(here: Sequence[Node], values: Sequence[Any]) -> Any:
    """The mean by probability; the value itself where all are equal, to the last digit."""
    if all(np.array_equal(value, values[0]) for value in values[1:]):
        return values[0]
    shares = [node.probability for node in here]
    total = sum(share * np.asarray(v, float) for share, v in zip(shares, values, strict=True))
    found = np.asarray(total / sum(shares))
    return found if found.ndim else float(found)


def _mean_problem(here: Sequence[Node], likeliest: Problem) -> Problem:
    if len(here) == 1:
        return likeliest
    changed: dict[str, Any] = {}
    for table in ("workloads", "sites", "pools", "offers", "apis"):
        rows = [getattr(node.problem, table) for node in here]
        changed[table] = tuple(
            _mean_row(here, [of[i] for of in rows], own)
            for i, own in enumerate(getattr(likeliest, table))
        )
    return replace(likeliest, **changed)


def _mean_row(here: Sequence[Node], rows: Sequence[Any], own: Any) -> Any:
    """A row of a table with its numbers averaged; names and what is counted stay."""
    changed: dict[str, Any] = {}
    for f in fields(own):
        values = [getattr(row, f.name) for row in rows]
        if isinstance(values[0], np.ndarray | tuple) and not f.name.endswith("ids"):
            changed[f.name] = _mean_table(here, values)
        elif isinstance(values[0], float):
            changed[f.name] = _weighted(here, values)
        elif isinstance(values[0], dict):
            items = {item for value in values for item in value}
            changed[f.name] = {
                item: _weighted(here, [value.get(item, 0.0) for value in values]) for item in items
            }
    return replace(own, **changed)


def _mean_table(here: Sequence[Node], values: Sequence[Any]) -> Any:
    if isinstance(values[0], np.ndarray):
        return _weighted(here, values)
    found = _weighted(here, [np.asarray(value, float) for value in values])
    return tuple(np.asarray(found).tolist())


# Numbers of one node


def in_node(problem: Problem, u: int, values: Mapping[Label, float]) -> dict[Label, float]:
    """The numbers of one node under the labels of its own problem."""
    horizon = problem.horizon
    assert horizon is not None
    first = sum(len(node.problem.blocks) for node in horizon.nodes[:u])
    last = first + len(horizon.nodes[u].problem.blocks)
    scopes = {problem.in_node(u): EVERY_BLOCK}
    scopes |= {only_block(b): only_block(b - first) for b in range(first, last)}
    found: dict[Label, float] = {}
    for label, value in values.items():
        block, scope = getattr(label, "block", None), getattr(label, "scope", None)
        if block is not None and first <= block < last:
            found[label._replace(block=block - first)] = value  # type: ignore[call-arg]
        elif block is None and scope in scopes:
            found[label._replace(scope=scopes[scope])] = value  # type: ignore[call-arg]
    return found
