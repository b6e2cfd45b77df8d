"""System types that no plan needs, because another type takes their place at no loss.

System type A goes if one type B has, for every pool p of A, a pool q at the same site such that one
system of q is as good as one of p in everything that the model looks at:

- the same accelerators per system, and as elastic; usable wherever p is; in the provider's hall or
  no more provisioned kW and no fewer systems per rack; no larger reserve; no more idle kW, energy
  price, PUE and carbon;
- for every offer of p an offer of q with **unlimited supply** (its own and that of its group) and
  no higher yearly, hourly or capital price;
- for every candidate that may run in p one of q, of the same workload, role, pair and size, with no
  more load and joules for any class, no more idle watts and no less quality.

*No optimum is lost.* Take any plan and move all systems, replicas and flows of p into q, one for
one. Numbers of systems stay whole, so this holds for the integer model: demand is served, replicas
find their places, `ceil((x + y)/r) <= ceil(x/r) + ceil(y/r)` bounds the racks, and every cost, kWh
and kg is no higher. Since one B replaces A everywhere, the best plan of one system type survives as
well. The relation is reflexive and transitive; of types that replace each other the first in
canonical order stays. There is no tolerance.

Few pairs of types are compared in full: the best that q has of every number must be no worse than
the best of p, which arrays tell for all pools of a place at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.mix.model.order import Order
from tokenfleet.problem_data import Candidate, FloatArray, OfferData, Pool, Problem

_Kind = tuple[int, str, int, int]  # workload, role, pair, accelerators


@dataclass(frozen=True, eq=False)
class _Pool:
    """What the model sees of a pool."""

    pool: Pool
    offers: Sequence[OfferData]
    unlimited: Sequence[OfferData]  # of the offers
    candidates: dict[_Kind, FloatArray]  # rows of numbers, each the better the smaller

    @property
    def place(self) -> tuple[int, int, bool]:
        """What must be equal where one pool takes the place of another."""
        return self.pool.site, self.pool.gpus_per_system, self.pool.elastic


def dominated_systems(
    problem: Problem, order: Order, eligible: dict[int, list[int]]
) -> frozenset[str]:
    """System types whose pools another type replaces; `eligible`: candidates of each pool."""
    offers: dict[int, list[OfferData]] = {}
    for offer in problem.offers:
        offers.setdefault(offer.pool, []).append(offer)
    limited = {o.supply_group for o in problem.offers if math.isfinite(o.supply)} - {""}
    numbers = [_numbers(c) for c in problem.candidates]
    seen: dict[tuple[int, ...], dict[_Kind, FloatArray]] = {}  # many pools run the same candidates
    types: dict[str, list[_Pool]] = {}
    for p in order.pools:
        pool, runs = problem.pools[p], tuple(eligible[p])
        if runs not in seen:
            seen[runs] = _by_kind(problem, runs, numbers)
        own = offers.get(p, ())
        unlimited = [o for o in own if math.isinf(o.supply) and o.supply_group not in limited]
        types.setdefault(pool.system, []).append(_Pool(pool, own, unlimited, seen[runs]))
    possible = _possible(types)
    gone: set[str] = set()
    for name in reversed(types):
        others = possible[name] - gone - {name}
        if any(_replaces(problem, types[other], types[name]) for other in others):
            gone.add(name)
    return frozenset(gone)


def _possible(types: dict[str, list[_Pool]]) -> dict[str, set[str]]:
    """Types that may replace each type, as far as the best of every number tells."""
    pools = [(name, pool) for name, found in types.items() for pool in found]
    widths = {kind: rows.shape[1] for _, q in pools for kind, rows in q.candidates.items()}
    places: dict[tuple[int, int, bool], list[tuple[str, _Pool]]] = {}
    for name, pool in pools:
        places.setdefault(pool.place, []).append((name, pool))
    possible = {name: set(types) for name in types}
    for members in places.values():
        given = np.stack([_best(q, q.unlimited, widths) for _, q in members])
        for name, p in members:
            good = (given <= _best(p, p.offers, widths)).all(axis=1)
            possible[name] &= {members[i][0] for i in np.flatnonzero(good)}
    return possible


def _best(q: _Pool, offers: Sequence[OfferData], widths: dict[_Kind, int]) -> FloatArray:
    """The best of each price and number; infinite where there is no offer or candidate."""
    prices = np.array([_prices(o) for o in offers]).reshape(-1, 3)
    pool = (
        q.pool.reserve,
        q.pool.idle_it_kw,
        q.pool.energy_usd_per_kwh_it,
        q.pool.pue,
        q.pool.carbon_kg_per_kwh_it,
    )
    rows = [q.candidates.get(kind, np.empty((0, width))) for kind, width in widths.items()]
    least = [table.min(axis=0, initial=math.inf) for table in (prices, *rows)]
    return np.concatenate([pool, *least])


def _by_kind(
    problem: Problem, candidates: Iterable[int], numbers: Sequence[FloatArray]
) -> dict[_Kind, FloatArray]:
    rows: dict[_Kind, list[FloatArray]] = {}
    for c in candidates:
        found = problem.candidates[c]
        kind = (found.workload, found.role, found.pair, found.gpus)
        rows.setdefault(kind, []).append(numbers[c])
    return {kind: np.array(r) for kind, r in rows.items()}


def _numbers(c: Candidate) -> FloatArray:
    return np.concatenate([c.load, c.energy_j, [c.idle_w, -c.quality]])


def _replaces(problem: Problem, others: Sequence[_Pool], pools: Sequence[_Pool]) -> bool:
    return all(any(_as_good(problem, q, p) for q in others) for p in pools)


def _as_good(problem: Problem, q: _Pool, p: _Pool) -> bool:
    """Whether one system of q stands in for one of p at no loss."""
    return (
        q.place == p.place
        and _fits_in_place(problem, q.pool, p.pool)
        and all(any(_as_cheap(x, o) for x in q.unlimited) for o in p.offers)
        and all(kind in q.candidates for kind in p.candidates)
        and all(_all_covered(q.candidates[kind], rows) for kind, rows in p.candidates.items())
    )


def _fits_in_place(problem: Problem, q: Pool, p: Pool) -> bool:
    utility = problem.sites[p.site].power_is_utility
    q_kw, p_kw = (x.provisioned_it_kw * (x.pue if utility else 1.0) for x in (q, p))
    in_hall = not p.hosted and q_kw <= p_kw and q.systems_per_rack >= p.systems_per_rack
    return (
        (p.interruptible or not q.interruptible)
        and (q.hosted or in_hall)
        and q.reserve <= p.reserve
        and q.idle_it_kw <= p.idle_it_kw
        and q.energy_usd_per_kwh_it <= p.energy_usd_per_kwh_it
        and q.pue <= p.pue
        and q.carbon_kg_per_kwh_it <= p.carbon_kg_per_kwh_it
    )


def _as_cheap(x: OfferData, o: OfferData) -> bool:
    """Whether offer x costs no more than o."""
    return all(mine <= other for mine, other in zip(_prices(x), _prices(o), strict=True))


def _prices(offer: OfferData) -> tuple[float, float, float]:
    """Yearly, hourly and capital price of a system."""
    return sum(offer.annual_cost_items_usd.values()), offer.hourly_usd, offer.capex_usd


def _all_covered(q: FloatArray, p: FloatArray) -> bool:
    """Whether every row of p has a row of q that is nowhere above it."""
    return all(bool((q <= row).all(axis=1).any()) for row in p)
