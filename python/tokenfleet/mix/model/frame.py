"""What all models of one problem share, worked out once: order, candidates of each pool, bounds.

A search builds several models of one problem, with other columns or other families relaxed. None of
what stands here depends on that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tokenfleet.mix.model.dominance import dominated_systems
from tokenfleet.mix.model.index import Scopes
from tokenfleet.mix.model.order import Order, canonical_order
from tokenfleet.mix.model.prices import TimedPrices
from tokenfleet.problem_data import Candidate, FloatArray, Pool, Problem

_ROUND = 1e-9  # a bound is never cut by a rounding error of its own computation


@dataclass(frozen=True, eq=False)
class Frame:
    """Order of the tables, and what is known of pools and candidates before any model."""

    order: Order
    scopes: Scopes
    prices: TimedPrices
    scale_max: float
    needed: dict[int, float]  # candidate -> replicas ever useful
    able: dict[int, list[int]]  # pool -> candidates that may run, none of dominated systems
    sizes: dict[int, list[int]]  # pool -> accelerators of their replicas, ascending
    useful: dict[int, float]  # pool -> systems beyond which nothing is left to hold
    standing: dict[int, float]  # pool -> the same with those that stay though others came
    offers: dict[int, list[int]]  # pool -> its offers in canonical order


def frame_of(
    problem: Problem, scale_max: float, *, every_system: bool, order: Order | None = None
) -> Frame:
    """The frame of a problem; `every_system` keeps those that another takes the place of.

    Where columns are generated, pricing finds out which systems pay, and sooner. The `order` is
    known of a problem that differs from another in what no order looks at.
    """
    order = canonical_order(problem) if order is None else order
    demand = peak_demands(problem, scale_max)
    needed = replicas_needed(problem.candidates, demand, least_speed(problem))
    able = able_candidates(problem, order, needed)
    if not every_system:
        gone = dominated_systems(problem, order, able)
        able = {p: [] if problem.pools[p].system in gone else found for p, found in able.items()}
    useful = _useful(problem, able, needed)
    offers: dict[int, list[int]] = {p: [] for p in order.pools}
    for o in order.offers:
        offers[problem.offers[o].pool].append(o)
    return Frame(
        order=order,
        scopes=Scopes(problem),
        prices=TimedPrices(problem),
        scale_max=scale_max,
        needed=needed,
        able=able,
        sizes=_sizes(problem, able),
        useful=useful,
        standing={p: most * (1 + _overlapping(problem, p)) for p, most in useful.items()},
        offers=offers,
    )


def may_run(problem: Problem, pool: Pool, candidate: Candidate) -> bool:
    """System, site and interruption agree."""
    return (
        candidate.system == pool.system
        and pool.site in candidate.sites
        and (not pool.interruptible or problem.workloads[candidate.workload].interruptible)
    )


def able_candidates(
    problem: Problem, order: Order, needed: dict[int, float]
) -> dict[int, list[int]]:
    """Candidates that may run in each pool and have something to serve, in canonical order.

    Pools that may run the same share one list.
    """
    of_system: dict[str, list[int]] = {}
    for c in order.candidates:
        if needed[c] > 0 and not problem.candidates[c].plainer:
            of_system.setdefault(problem.candidates[c].system, []).append(c)
    known: dict[tuple[str, int, bool], list[int]] = {}
    same: dict[tuple[int, ...], list[int]] = {}
    able = {}
    for p, pool in enumerate(problem.pools):
        key = (pool.system, pool.site, pool.interruptible)
        if key not in known:
            found = _that_may_run(problem, pool, of_system.get(pool.system, ()))
            known[key] = same.setdefault(tuple(found), found)
        able[p] = known[key]
    return able


def _that_may_run(problem: Problem, pool: Pool, candidates: Sequence[int]) -> list[int]:
    """Those that may run in the pool, asked once of all with the same sites and interruption."""
    answers: dict[tuple[tuple[int, ...], bool], bool] = {}
    found = []
    for c in candidates:
        candidate = problem.candidates[c]
        key = (candidate.sites, problem.workloads[candidate.workload].interruptible)
        if key not in answers:
            answers[key] = may_run(problem, pool, candidate)
        if answers[key]:
            found.append(c)
    return found


def peak_demand(problem: Problem, w: int, scale_max: float) -> FloatArray:
    """Highest requests/s (B, K) a plan may have to serve; inf for an unlimited scale."""
    data = problem.workloads[w]
    if not data.free:
        return data.demand_rps
    return np.where(data.demand_rps > 0, data.demand_rps * scale_max, 0.0)


def peak_demands(problem: Problem, scale_max: float) -> list[FloatArray]:
    """`peak_demand` of every workload."""
    return [peak_demand(problem, w, scale_max) for w in range(len(problem.workloads))]


def least_speed(problem: Problem) -> dict[str, float]:
    """How slow the replicas of a system type ever are."""
    found: dict[str, float] = {}
    for pool in problem.pools:
        slowest = min(pool.speed) if isinstance(pool.speed, tuple) else pool.speed
        if slowest > 0:  # of no use where it stands still
            found[pool.system] = min(found.get(pool.system, math.inf), slowest)
    return found


def replicas_needed(
    candidates: Sequence[Candidate], demand: Sequence[FloatArray], speed: Mapping[str, float]
) -> dict[int, float]:
    """Replicas that would carry all the demand a candidate admits: never more are useful."""
    of_workload: dict[int, list[int]] = {}
    for c, candidate in enumerate(candidates):
        of_workload.setdefault(candidate.workload, []).append(c)
    needed: dict[int, float] = {}
    for w, found in of_workload.items():
        load = np.stack([candidates[c].load for c in found])  # (C, K)
        asked = np.isfinite(load)[:, None, :] & (demand[w] > 0)  # (C, B, K)
        with np.errstate(invalid="ignore"):  # 0 * inf where nothing is asked
            work = np.where(asked, load[:, None, :] * demand[w], 0.0)
        slowest = np.array([speed.get(candidates[c].system, 1.0) for c in found])
        busiest = work.sum(axis=2).max(axis=1, initial=0.0) / slowest * (1.0 + _ROUND)
        needed |= dict(zip(found, np.ceil(busiest).tolist(), strict=True))
    return needed


def systems_per_replica(gpus: int, gpus_per_system: int) -> int:
    """Whole systems taken by a replica larger than one system."""
    return -(-gpus // gpus_per_system)


def _sizes(problem: Problem, able: dict[int, list[int]]) -> dict[int, list[int]]:
    known: dict[int, list[int]] = {}
    for found in able.values():
        if id(found) not in known:
            known[id(found)] = sorted({problem.candidates[c].gpus for c in found})
    return {p: known[id(found)] for p, found in able.items()}


def _useful(
    problem: Problem, able: dict[int, list[int]], needed: dict[int, float]
) -> dict[int, float]:
    """`useful_systems` of every pool, once for those that share candidates and sizes."""
    known: dict[tuple[int, int, int], float] = {}
    useful, least = {}, problem.objective.least_systems_per_type
    for p, found in able.items():
        pool = problem.pools[p]
        key = (id(found), pool.gpus_per_system, pool.reserve)
        if key not in known:
            known[key] = useful_systems(problem, pool, found, needed)
        useful[p] = max(known[key] + _out_of_use(problem, p), least if found else 0.0)
    return useful


def _out_of_use(problem: Problem, p: int) -> float:
    """Systems that may stand there though nobody needs them: owned ones, or a least order's."""
    offers = [o for o in problem.offers if o.pool == p and o.stock is not None]
    if problem.pools[p].is_block:
        return sum(offer.supply for offer in offers)
    stocks = [offer.stock for offer in offers if offer.stock is not None]
    return sum(s.least_order + sum(count for _, count in s.owned) for s in stocks)


def _overlapping(problem: Problem, p: int) -> int:
    """Orders of a pool whose systems may have to stay, or had better, when others come: each may
    hold all that is useful by itself."""
    horizon = problem.horizon
    stocks = [offer.stock for offer in problem.offers if offer.pool == p]
    staying = sum(stock is not None and stock.may_stay_unused for stock in stocks)
    return 0 if horizon is None else staying * horizon.periods


def useful_systems(
    problem: Problem, pool: Pool, candidates: Iterable[int], needed: dict[int, float]
) -> float:
    """Systems beyond which the pool has nothing left to hold, of all that may run in it."""
    total = float(pool.reserve)
    for c in candidates:
        count = needed[c]
        if not math.isfinite(count):
            return math.inf
        gpus = problem.candidates[c].gpus
        per_system = pool.gpus_per_system // gpus
        total += (
            math.ceil(count / per_system)
            if per_system
            else count * systems_per_replica(gpus, pool.gpus_per_system)
        )
    return total


def whole_systems(value: float) -> float:
    """A supply rounded down to whole systems."""
    return math.floor(value * (1.0 + _ROUND)) if math.isfinite(value) else math.inf
