"""Canonical order of every index, from numbers first and names last.

Solvers break ties by column order, so columns are created in an order that depends on what a row
says and not on where it stood or what it is called: two rows change places only when every number
in them is equal, and then either choice is the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tokenfleet.problem_data import FloatArray, Problem


@dataclass(frozen=True)
class Order:
    """Indices of the problem's tables in canonical order; `classes[w]` orders classes of w."""

    workloads: tuple[int, ...]
    classes: tuple[tuple[int, ...], ...]
    sites: tuple[int, ...]
    pools: tuple[int, ...]
    offers: tuple[int, ...]
    candidates: tuple[int, ...]
    apis: tuple[int, ...]


@dataclass(frozen=True)
class _Ranks:
    """Place of each row in the tables already sorted."""

    workload: dict[int, int]
    site: dict[int, int]
    system: dict[str, int]
    classes: Sequence[Sequence[int]]


def canonical_order(problem: Problem) -> Order:
    """Sort every table of the problem by content; ids only break exact ties."""
    classes = tuple(_classes(problem, w) for w in range(len(problem.workloads)))
    workloads = _sorted(problem.workloads, lambda w: _workload_key(problem, w, classes[w]))
    sites = _sorted(problem.sites, lambda s: _site_key(problem, s))
    site_rank = _rank(sites)
    offers: dict[int, list[int]] = {}
    for o, offer in enumerate(problem.offers):
        offers.setdefault(offer.pool, []).append(o)
    pools = _sorted(problem.pools, lambda p: _pool_key(problem, p, site_rank, offers.get(p, ())))
    pool_rank = _rank(pools)
    ranks = _Ranks(_rank(workloads), site_rank, _system_rank(problem, pools), classes)
    return Order(
        workloads=workloads,
        classes=classes,
        sites=sites,
        pools=pools,
        offers=_sorted(problem.offers, lambda o: _offer_key(problem, o, pool_rank)),
        candidates=_sorted(problem.candidates, lambda c: _candidate_key(problem, c, ranks)),
        apis=_sorted(problem.apis, lambda a: _api_key(problem, a, ranks)),
    )


def _sorted(rows: Sequence[Any], key: Callable[[int], tuple[Any, ...]]) -> tuple[int, ...]:
    return tuple(sorted(range(len(rows)), key=lambda i: (*key(i), str(rows[i].id))))


def _rank(order: Sequence[int]) -> dict[int, int]:
    return {index: rank for rank, index in enumerate(order)}


def _numbers(values: FloatArray, order: Sequence[int]) -> tuple[float, ...]:
    plain = values.tolist()
    return tuple(plain[k] for k in order)


def _classes(problem: Problem, w: int) -> tuple[int, ...]:
    data = problem.workloads[w]
    keys = [
        (
            float(data.input_tokens[k]),
            float(data.output_tokens[k]),
            tuple(map(float, data.demand_rps[:, k])),
            float(data.value_usd_per_request[k]),
            data.class_ids[k],
        )
        for k in range(len(data.class_ids))
    ]
    return tuple(sorted(range(len(keys)), key=keys.__getitem__))


def _workload_key(problem: Problem, w: int, classes: Sequence[int]) -> tuple[Any, ...]:
    data = problem.workloads[w]
    price = data.shortfall_usd_per_request
    return (
        _numbers(data.input_tokens, classes),
        _numbers(data.output_tokens, classes),
        tuple(tuple(map(float, row[list(classes)])) for row in data.demand_rps),
        _numbers(data.value_usd_per_request, classes),
        (data.free, data.min_scale, data.max_scale, data.interruptible),
        (price is not None, price or 0.0),
    )


def _site_key(problem: Problem, s: int) -> tuple[Any, ...]:
    site = problem.sites[s]
    pools = sorted(_pool_numbers(problem, p) for p, q in enumerate(problem.pools) if q.site == s)
    limits = (site.power_limit_kw, site.power_is_utility, site.rack_limit)
    return (*limits, site.contracted_power_usd_per_year, tuple(pools))


def _pool_numbers(problem: Problem, p: int) -> tuple[float, ...]:
    pool = problem.pools[p]
    return (
        pool.gpus_per_system,
        pool.provisioned_it_kw,
        pool.idle_it_kw,
        pool.elastic,
        pool.interruptible,
        pool.hosted,
        pool.pue,
        pool.energy_usd_per_kwh_it,
        pool.carbon_kg_per_kwh_it,
        pool.systems_per_rack,
        pool.reserve,
    )


def _pool_key(
    problem: Problem, p: int, site_rank: dict[int, int], offers: Sequence[int]
) -> tuple[Any, ...]:
    numbers = sorted(_offer_numbers(problem, o) for o in offers)
    return (site_rank[problem.pools[p].site], _pool_numbers(problem, p), tuple(numbers))


def _offer_numbers(problem: Problem, o: int) -> tuple[float, ...]:
    offer = problem.offers[o]
    fixed = sum(offer.annual_cost_items_usd.values())
    return (fixed, offer.hourly_usd, offer.capex_usd, offer.supply)


def _offer_key(problem: Problem, o: int, pool_rank: dict[int, int]) -> tuple[Any, ...]:
    return (pool_rank[problem.offers[o].pool], *_offer_numbers(problem, o))


def _system_rank(problem: Problem, pools: Sequence[int]) -> dict[str, int]:
    rank: dict[str, int] = {}
    for p in pools:
        rank.setdefault(problem.pools[p].system, len(rank))
    return rank


def _candidate_key(problem: Problem, c: int, ranks: _Ranks) -> tuple[Any, ...]:
    candidate = problem.candidates[c]
    order = ranks.classes[candidate.workload]
    return (
        ranks.workload[candidate.workload],
        candidate.role,
        ranks.system.get(candidate.system, len(ranks.system)),
        candidate.gpus,
        _numbers(candidate.load, order),
        _numbers(candidate.energy_j, order),
        (candidate.idle_w, candidate.quality, candidate.pair),
        tuple(sorted(ranks.site[s] for s in candidate.sites)),
    )


def _api_key(problem: Problem, a: int, ranks: _Ranks) -> tuple[Any, ...]:
    api = problem.apis[a]
    prices = _numbers(api.cost_usd_per_request, ranks.classes[api.workload])
    return (ranks.workload[api.workload], prices, api.max_rps, api.quality)
