"""Inputs that a sweep turns: demand, tariffs, prices, power, speed, the cost of capital.

A knob is written `demand` (all workloads) or `demand.chat` (one); its setting is a factor on what
the scenario says. `turned` makes the problem of several settings at once: prices and the cost of
capital go through the one cost formula together, so their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.explanation.case import Case
from tokenfleet.explanation.flip import Target
from tokenfleet.explanation.prices import offer_at, times
from tokenfleet.problem.supply import offers_of
from tokenfleet.problem_data import Pool, Problem, scaled
from tokenfleet.schema import did_you_mean


@dataclass(frozen=True)
class Knob:
    """An input and what it is of; an empty `which` is all of them."""

    what: str
    which: str = ""

    def __str__(self) -> str:
        """As it is written: `demand`, `price.h100-buy`."""
        return f"{self.what}.{self.which}" if self.which else self.what

    def turns(self, name: str) -> bool:
        """Whether a row of that name is meant."""
        return self.which in ("", name)


def places(case: Case) -> dict[str, list[str]]:
    """What each knob may be of."""
    problem = case.study.problem
    return {
        "demand": [w.id for w in problem.workloads],
        "tariff": [s.id for s in problem.sites],
        "price": sorted({o.supply_group for o in problem.offers if o.kind != "owned"}),
        "api_price": [a.id for a in problem.apis],
        "power": [s.id for s in problem.sites if s.power_limit_kw < float("inf")],
        "speed": sorted({pool.system for pool in problem.pools}),
        "cost_of_capital": [],
    }


def knob(case: Case, name: str) -> Knob:
    """The knob that is meant.

    Raises:
        SchemaError: there is no such input, or nothing of that name.
    """
    what, _, which = name.partition(".")
    known = places(case)
    if what not in known:
        raise SchemaError(f"--vary {name}: no such input", did_you_mean(what, known))
    if which and which not in known[what]:
        text = f"--vary {name}: no {what} of {which!r}"
        raise SchemaError(text, did_you_mean(which, known[what]))
    return Knob(what, which)


def turned(case: Case, settings: Mapping[Knob, float]) -> Problem:
    """The problem with each input so many times what it is."""
    problem = case.study.problem

    def factor(what: str, name: str) -> float:
        total = 1.0
        for knob_, times_ in settings.items():
            if knob_.what == what and knob_.turns(name):
                total *= times_
        return total

    workloads = []
    for w in problem.workloads:
        f = factor("demand", w.id)
        scaled: dict[str, Any] = {"min_scale": w.min_scale * f, "max_scale": w.max_scale * f}
        if not w.free:
            scaled = {"demand_rps": w.demand_rps * f}
        workloads.append(replace(w, **scaled))
    sites = tuple(
        replace(s, power_limit_kw=s.power_limit_kw * factor("power", s.id)) for s in problem.sites
    )
    pools = tuple(_pool(q, factor("tariff", problem.sites[q.site].id)) for q in problem.pools)
    candidates = problem.candidates
    if any(k.what == "speed" for k in settings):
        candidates = tuple(
            c if (f := factor("speed", c.system)) == 1.0 else replace(c, load=c.load / f)
            for c in candidates
        )
    apis = tuple(
        replace(a, cost_usd_per_request=a.cost_usd_per_request * factor("api_price", a.id))
        for a in problem.apis
    )
    changed = replace(
        problem, workloads=tuple(workloads), sites=sites, pools=pools, candidates=candidates,
        apis=apis,
    )  # fmt: skip
    if any(k.what in ("price", "cost_of_capital") for k in settings):
        changed = _priced(case, changed, settings)
    return changed


def discounted(case: Case, target: Target, discount: float) -> Problem:
    """The problem with the prices of a target lower by a share."""
    problem = case.study.problem
    named = [
        Knob("price", name) for name in {problem.offers[o].supply_group for o in target.offers}
    ]
    named += [Knob("api_price", problem.apis[a].id) for a in target.apis]
    return turned(case, dict.fromkeys(named, 1.0 - discount))


def _pool(pool: Pool, factor: float) -> Pool:
    return replace(pool, energy_usd_per_kwh_it=scaled(pool.energy_usd_per_kwh_it, factor))


def _priced(case: Case, problem: Problem, settings: Mapping[Knob, float]) -> Problem:
    """Every offer at its new price and cost of capital, through the one cost formula."""
    built, loaded = case.built, case.loaded
    systems = sorted({pool.system for pool in problem.pools})
    stated = {offer.id: offer for offer in offers_of(loaded.scenario, loaded.catalog, systems)}
    sites = {site.id: site for site in loaded.scenario.sites}
    terms = built.terms
    for knob_, factor in settings.items():
        if knob_.what == "cost_of_capital":
            terms = replace(terms, cost_of_capital=terms.cost_of_capital * factor)
    offers = []
    for data in problem.offers:
        price = built.supply.prices[data.supply_group]
        for knob_, factor in settings.items():
            if knob_.what == "price" and knob_.turns(data.supply_group):
                price = times(price, factor)
        site = sites[problem.sites[problem.pools[data.pool].site].id]
        offers.append(
            offer_at(
                data,
                stated[data.supply_group],
                site,
                price=price,
                terms=terms,
                catalog=loaded.catalog,
            )
        )
    return replace(problem, offers=tuple(offers))


def sensible(case: Case, used: Iterable[str]) -> list[Knob]:
    """The inputs worth a tornado: those of what a plan uses, by the names of `used`."""
    held = set(used)
    problem = case.study.problem
    found = [Knob("demand", w.id) for w in problem.workloads]
    for what, names in places(case).items():
        if what in ("tariff", "price", "api_price", "speed"):
            found += [Knob(what, name) for name in names if name in held]
    return [*found, Knob("cost_of_capital")]
