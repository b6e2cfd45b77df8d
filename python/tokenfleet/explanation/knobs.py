"""Inputs that a sweep turns: demand, tariffs, prices, power, speed, the cost of capital.

A knob is written `demand` (all workloads) or `demand.chat` (one); its setting is a factor on what
the scenario says. `turned` makes the problem of several settings at once: prices and the cost of
capital go through the one cost formula together, so their order does not matter. `turned_built` is
the scenario so turned, dates and rates included, from which a tree over time grows as from any.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tokenfleet.errors import SchemaError
from tokenfleet.explanation.case import Case, with_scenario
from tokenfleet.explanation.flip import Target
from tokenfleet.explanation.prices import offer_at, times
from tokenfleet.problem import Built
from tokenfleet.problem.least_load import with_least_load
from tokenfleet.problem.money import Terms
from tokenfleet.problem.supply import offers_of
from tokenfleet.problem_data import Pool, Problem, scaled
from tokenfleet.schema import Site, did_you_mean, limit_value


class Turnable(Protocol):
    """What has inputs to turn: a case of one year, or one over time."""

    @property
    def built(self) -> Built:
        """The scenario with its problem."""
        ...

    @property
    def problem(self) -> Problem:
        """The problem that is turned."""
        ...


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


_CAPITAL = Knob("cost_of_capital")


def places(case: Turnable) -> dict[str, list[str]]:
    """What each knob may be of."""
    problem = case.problem
    return {
        "demand": [w.id for w in problem.workloads],
        "tariff": [s.id for s in problem.sites],
        "price": sorted({o.supply_group for o in problem.offers if o.kind != "owned"}),
        "api_price": [a.id for a in problem.apis],
        "power": [s.id for s in problem.sites if s.power_limit_kw < float("inf")],
        "speed": sorted({pool.system for pool in problem.pools}),
        "cost_of_capital": [],
    }


def knob(case: Turnable, name: str) -> Knob:
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


def _factor(settings: Mapping[Knob, float], what: str, name: str) -> float:
    """How many times an input of a row is what the scenario says."""
    return math.prod(f for knob_, f in settings.items() if knob_.what == what and knob_.turns(name))


def turned(case: Turnable, settings: Mapping[Knob, float]) -> Problem:
    """The problem with each input so many times what it is."""
    problem = case.problem

    def factor(what: str, name: str) -> float:
        return _factor(settings, what, name)

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
    loads = case.built.true_loads
    candidates = tuple(
        replace(c, load=loads[c.id]) if c.id in loads else c for c in problem.candidates
    )
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
    if loads:
        changed = with_least_load(changed, [changed])
    if any(k.what in ("price", "cost_of_capital") for k in settings):
        changed = _priced(case, changed, settings)
    return changed


def discounted(case: Case, target: Target, discount: float) -> Problem:
    """The problem with the prices of a target lower by a share."""
    problem = case.problem
    named = [
        Knob("price", name) for name in {problem.offers[o].supply_group for o in target.offers}
    ]
    named += [Knob("api_price", problem.apis[a].id) for a in target.apis]
    return turned(case, dict.fromkeys(named, 1.0 - discount))


def _pool(pool: Pool, factor: float) -> Pool:
    return replace(pool, energy_usd_per_kwh_it=scaled(pool.energy_usd_per_kwh_it, factor))


def _priced(case: Turnable, problem: Problem, settings: Mapping[Knob, float]) -> Problem:
    """Every offer at its new price and cost of capital, through the one cost formula."""
    built, loaded = case.built, case.built.loaded
    systems = sorted({pool.system for pool in problem.pools})
    stated = {offer.id: offer for offer in offers_of(loaded.scenario, loaded.catalog, systems)}
    sites = {site.id: site for site in loaded.scenario.sites}
    terms = _terms(built, settings)
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


def _terms(built: Built, settings: Mapping[Knob, float]) -> Terms:
    factor = settings.get(_CAPITAL, 1.0)
    return replace(built.terms, cost_of_capital=built.terms.cost_of_capital * factor)


def turned_built(case: Turnable, settings: Mapping[Knob, float]) -> Built:
    """The scenario over time with each input so many times what it is: also power by date, and the
    rate by which cash is discounted."""
    built, scenario = case.built, case.built.loaded.scenario
    sites = tuple(_with_power(site, _factor(settings, "power", site.id)) for site in scenario.sites)
    horizon = scenario.horizon
    assert horizon is not None
    if horizon.discount_rate is not None:
        rate = horizon.discount_rate * settings.get(_CAPITAL, 1.0)
        horizon = horizon.model_copy(update={"discount_rate": rate})
    loaded = with_scenario(built.loaded, sites=sites, horizon=horizon)
    problem, terms = turned(case, settings), _terms(built, settings)
    return replace(built, loaded=loaded, problem=problem, terms=terms)


def _with_power(site: Site, factor: float) -> Site:
    if site.power_kw_by_date is None:
        return site
    steps = tuple((day, limit_value(kw) * factor) for day, kw in site.power_kw_by_date)
    return site.model_copy(update={"power_kw_by_date": steps})


def sensible(case: Turnable, used: Iterable[str]) -> list[Knob]:
    """The inputs worth a tornado: those of what a plan uses, by the names of `used`."""
    held = set(used)
    problem = case.problem
    found = [Knob("demand", w.id) for w in problem.workloads]
    for what, names in places(case).items():
        if what in ("tariff", "price", "api_price", "speed"):
            found += [Knob(what, name) for name in names if name in held]
    return [*found, _CAPITAL]
