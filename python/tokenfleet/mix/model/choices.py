"""Whether a system type, a site or a layout is used at all, and limits on how many of them are.

A column of 1 or 0 stands for each: no system of the type, none at the site, no replica of the
layout unless it is 1. They are made where something asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pulp

from tokenfleet.mix.model.columns import FleetModel, Term
from tokenfleet.mix.model.index import (
    FirstType,
    FurtherType,
    IfUsed,
    Label,
    LayoutUsed,
    LeastPerType,
    MostLayouts,
    MostTypes,
    SiteUsed,
    Staffed,
    TypeUsed,
)
from tokenfleet.problem_data import EVERY_BLOCK, Problem, Replicas, Systems

LE, GE = pulp.LpConstraintLE, pulp.LpConstraintGE
FURTHER_TYPES = "further_system_types"  # the cost item
STAFF = "staff"  # the cost item, which systems have by their power as well


def types(m: FleetModel) -> list[list[int]]:
    """Pools of each system type that may hold systems, in canonical order."""
    found: dict[str, list[int]] = {}
    for p in m.order.pools:
        if p in m.open and m.eligible[p]:
            found.setdefault(m.problem.pools[p].system, []).append(p)
    return list(found.values())


def type_used(m: FleetModel, pools: list[int], scope: int) -> pulp.LpVariable:
    """Whether any system of these pools, which are of one type, stands in a scope."""
    label = TypeUsed(scope, pools[0])
    if scope == EVERY_BLOCK:
        held = [v for p in pools for s in m.scopes.systems(p) for v in _columns(m, p, s)]
    else:
        held = [v for p in pools for v in m.systems(p, scope)]
    return _used(m, label, held)


def site_used(m: FleetModel, s: int) -> pulp.LpVariable:
    """Whether any system stands at a site, or in a hall that its provider has there."""
    pools = [p for p in m.order.pools if m.problem.pools[p].site == s and p in m.open]
    held = [v for p in pools for scope in m.scopes.systems(p) for v in _columns(m, p, scope)]
    return _used(m, SiteUsed(s), held)


def staffed(m: FleetModel, s: int) -> pulp.LpVariable:
    """Whether any system stands at a site that its owner's staff looks after."""
    offers = [o for p in m.order.pools if p in m.open for o in m.offers(p) if _at(m, o, s)]
    held = [v for label, v in m.of(Systems).items() if label.offer in set(offers)]
    return _used(m, Staffed(s), held)


def _at(m: FleetModel, o: int, s: int) -> bool:
    offer = m.problem.offers[o]
    return offer.needs_staff and m.problem.pools[offer.pool].site == s


def without_fixed_staff(problem: Problem) -> Problem:
    """The problem in which nothing is paid once for a site's staff."""
    sites = tuple(replace(site, staff_usd_per_year=0.0) for site in problem.sites)
    return replace(problem, sites=sites)


def without_choices(problem: Problem) -> Problem:
    """The problem without what is tied to the use of a pool, site, type or layout, all of which
    only makes plans dearer: reserves, fixed staff, and limits on types and layouts."""
    freer = without_fixed_staff(problem)
    return replace(
        freer,
        pools=tuple(replace(pool, reserve=0) for pool in problem.pools),
        objective=replace(
            problem.objective,
            least_systems_per_type=1,
            most_system_types=None,
            most_layouts_per_workload=None,
            usd_per_further_type=0.0,
        ),
    )


def layout_used(m: FleetModel, c: int) -> pulp.LpVariable:
    """Whether there is any replica of a candidate."""
    held = [v for label, v in m.of(Replicas).items() if label.candidate == c]
    return _used(m, LayoutUsed(c), held)


def _columns(m: FleetModel, p: int, scope: int) -> list[pulp.LpVariable]:
    return [m.columns[Systems(scope, o)] for o in m.offers(p)]


def _used(
    m: FleetModel,
    label: TypeUsed | SiteUsed | Staffed | LayoutUsed,
    held: Iterable[pulp.LpVariable],
) -> pulp.LpVariable:
    if label in m.columns:
        return m.columns[label]
    used = m.column(label, 1.0, integer=True)
    for v in held:
        most = math.inf if v.upBound is None else v.upBound
        m.row(IfUsed(label), [(v, 1.0), (used, -most)], LE, 0.0)
    return used


def implied(m: FleetModel, values: Mapping[Label, float]) -> dict[Label, float]:
    """What a plan's systems and replicas make of the columns of this module."""
    standing = [la for la, n in values.items() if isinstance(la, Systems) and n > 0]
    offers, pools = m.problem.offers, m.problem.pools
    stands = {(pools[offers[la.offer].pool].system, la.scope) for la in standing}
    sites = {pools[offers[la.offer].pool].site for la in standing}
    looked_after = {
        pools[offers[la.offer].pool].site for la in standing if offers[la.offer].needs_staff
    }
    layouts = {la.candidate for la, n in values.items() if isinstance(la, Replicas) and n > 0}
    found: dict[Label, float] = {}
    for label in m.of(TypeUsed):
        over = m.scopes.systems_over(label.pool, label.scope)
        system = pools[label.pool].system
        anywhere = label.scope == EVERY_BLOCK
        used = any(of == system and (anywhere or s in over) for of, s in stands)
        found[label] = float(used)
    found |= {label: float(label.site in sites) for label in m.of(SiteUsed)}
    found |= {label: float(label.site in looked_after) for label in m.of(Staffed)}
    found |= {label: float(label.candidate in layouts) for label in m.of(LayoutUsed)}
    return found | dict.fromkeys(m.of(FirstType), float(bool(standing)))


def keep_types_together(m: FleetModel) -> None:
    """sum of x >= least * used[type], in every scope in which systems are counted."""
    least = m.problem.objective.least_systems_per_type
    if least <= 1:
        return
    for pools in types(m):
        for scope in m.scopes.finest(s for p in pools for s in m.scopes.systems(p)):
            pairs = [(v, 1.0) for p in pools for v in m.systems(p, scope)]
            pairs.append((type_used(m, pools, scope), -float(least)))
            m.row(LeastPerType(pools[0], scope), pairs, GE, 0.0)


def limit_types(m: FleetModel) -> None:
    """sum of used[type] within the most system types."""
    most = m.problem.objective.most_system_types
    found = types(m)
    if most is None or not found:
        return
    pairs = [(type_used(m, pools, EVERY_BLOCK), 1.0) for pools in found]
    m.row(MostTypes(), pairs + m.slack(MostTypes()), LE, float(most))


def limit_layouts(m: FleetModel) -> None:
    """sum of used[layout] within the most layouts, of every workload."""
    most = m.problem.objective.most_layouts_per_workload
    if most is None:
        return
    of_workload: dict[int, list[int]] = {}
    for c in dict.fromkeys(label.candidate for label in m.of(Replicas)):
        of_workload.setdefault(m.problem.candidates[c].workload, []).append(c)
    for w, candidates in of_workload.items():
        pairs = [(layout_used(m, c), 1.0) for c in candidates]
        m.row(MostLayouts(w), pairs, LE, float(most))


def price_further_types(m: FleetModel) -> None:
    """A price for each system type that is used, the first of which is given back."""
    usd = m.problem.objective.usd_per_further_type * m.problem.years
    found = types(m)
    if not usd or not found:
        return
    first = m.column(FirstType(), 1.0, integer=True)
    pairs = [(type_used(m, pools, EVERY_BLOCK), 1.0) for pools in found]
    m.row(FurtherType(), [(first, 1.0), *((v, -1.0) for v, _ in pairs)], LE, 0.0)
    m.terms.append(Term(FURTHER_TYPES, FirstType(), -usd))
    m.terms += [Term(FURTHER_TYPES, TypeUsed(EVERY_BLOCK, pools[0]), usd) for pools in found]


def price_staff(m: FleetModel) -> None:
    """The fixed part of a site's staff, where its owner has any system there."""
    for s, site in enumerate(m.problem.sites):
        usd = site.staff_usd_per_year * m.problem.years
        if usd and any(_at(m, label.offer, s) for label in m.of(Systems)):
            staffed(m, s)
            m.terms.append(Term(STAFF, Staffed(s), usd))
