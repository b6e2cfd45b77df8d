"""From a scenario with a horizon to its tree of nodes, each with the problem of one year.

Candidates are evaluated once: neither period nor outlook changes what a layout can do. A node's
problem is the scenario's own with the demand, prices, power and supply of its date and outlook.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokenfleet import _core
from tokenfleet.catalog import require
from tokenfleet.errors import SchemaError
from tokenfleet.problem.build import Built
from tokenfleet.problem.least_load import with_least_load
from tokenfleet.problem.supply import offers_of
from tokenfleet.problem_data import (
    ApiData,
    Node,
    OfferData,
    Pool,
    Problem,
    SiteData,
    Stock,
    WorkloadData,
    scaled,
)
from tokenfleet.problem_data import Horizon as Tree
from tokenfleet.schema import FreeDemand, Offer, Outlook, Scenario, Workload, limit_value
from tokenfleet.schema.horizon import Horizon, factor_of

_SAME = 1e-9
_CAPITAL = ("capex_annuity", "residual_credit")
BLOCK = "expansion"  # kind of an offer that is power or racks, and no system


def tree_of(built: Built) -> Tree:
    """The nodes of a scenario with a horizon.

    Raises:
        SchemaError: a period is longer than what is bought lives, or a path has no value.
    """
    scenario = built.loaded.scenario
    assert scenario.horizon is not None
    return _Tree(built, scenario.horizon).tree()


def value_at(steps: Sequence[tuple[Any, Any]], horizon: Horizon, years: float) -> Any:
    """What holds at a date: the last row that is not after it, or else the first."""
    held = [value for day, value in steps if horizon.years_to(day) <= years + _SAME]
    return held[-1] if held else steps[0][1]


def _times(limit: float, factor: float) -> float:
    """So many times a limit; of no limit, none times is nothing."""
    return limit * factor if factor else 0.0


def mean_growth(rate: float, start: float, end: float) -> float:
    """Mean over a period of what grows at a yearly rate; 1 without growth.

    >>> round(mean_growth(1.0, 0.0, 1.0), 6)  # what doubles is 1/ln 2 on average
    1.442695
    """
    if rate == 0.0:
        return 1.0
    log = math.log1p(rate)
    return float((math.exp(log * end) - math.exp(log * start)) / (log * (end - start)))


def mean_step(
    steps: Sequence[tuple[Any, float]], horizon: Horizon, start: float, end: float
) -> float:
    """Mean over a period of what changes at dates."""
    dates = [horizon.years_to(day) for day, _ in steps]
    cuts = sorted({start, end, *(d for d in dates if start < d < end)})
    parts = itertools.pairwise(cuts)
    total: float = sum((b - a) * float(value_at(steps, horizon, a)) for a, b in parts)
    return total / (end - start)


@dataclass(frozen=True)
class _Seen:
    """Outlooks that are known to hold in a node, the earliest first."""

    rows: tuple[Outlook, ...]

    def factor(self, field: str, name: str) -> float:
        """Product of their factors on one row."""
        return math.prod(factor_of(getattr(row, field), name) for row in self.rows)

    def months(self, field: str, name: str) -> float:
        """Sum of their delays of one row."""
        return float(sum(getattr(row, field).get(name, 0.0) for row in self.rows))

    @property
    def name(self) -> str:
        """The last that became known."""
        return self.rows[-1].id if self.rows else ""


class _Tree:
    """One scenario, its periods and its outlooks."""

    def __init__(self, built: Built, horizon: Horizon) -> None:
        self.built, self.horizon = built, horizon
        self.scenario: Scenario = built.loaded.scenario
        self.rate = horizon.discount_rate
        if self.rate is None:
            self.rate = built.terms.cost_of_capital
        months = (0, *itertools.accumulate(horizon.months))
        self.starts = tuple(m / 12.0 for m in months)
        self.names = [_name(horizon, first, after) for first, after in itertools.pairwise(months)]
        systems = sorted({pool.system for pool in built.problem.pools})
        offers = offers_of(self.scenario, built.loaded.catalog, systems)
        self.offers: dict[str, Offer] = {offer.id: offer for offer in offers}
        self.base = self._with_blocks(built.problem)
        self._check_lives()

    def tree(self) -> Tree:
        """Nodes period by period."""
        nodes: list[Node] = []
        last: dict[tuple[str, ...], int] = {}
        for t in range(len(self.starts) - 1):
            here: dict[tuple[str, ...], int] = {}
            for seen, probability, before in self._groups(t):
                key = tuple(row.id for row in seen.rows)
                here[key] = len(nodes)
                parent = -1 if t == 0 else last[before]
                nodes.append(self._node(t, seen, probability, parent))
            last = here
        candidates = with_least_load(self.base, [n.problem for n in nodes]).candidates
        return Tree(
            starts=self.starts,
            rate=float(self.rate or 0.0),
            nodes=tuple(
                replace(n, problem=replace(n.problem, candidates=candidates)) for n in nodes
            ),
            end_value_share=self.horizon.end_value_share,
            change_usd_per_gpu=self.horizon.layout_change_usd_per_gpu,
        )

    # Outlooks

    def _groups(self, t: int) -> Iterator[tuple[_Seen, float, tuple[str, ...]]]:
        """What may be known in a period: outlooks seen, probability, and what was seen before."""
        found: dict[tuple[str, ...], tuple[_Seen, float, tuple[str, ...]]] = {}
        for lineage, probability in self._leaves():
            seen = _Seen(tuple(row for row in lineage if self._known(row) <= t))
            before = tuple(row.id for row in lineage if self._known(row) <= t - 1)
            key = tuple(row.id for row in seen.rows)
            sofar = found.get(key, (seen, 0.0, before))[1]
            found[key] = (seen, sofar + probability, before)
        yield from found.values()

    def _leaves(self) -> Iterator[tuple[list[Outlook], float]]:
        """Every future as its outlooks, the earliest first, with its probability."""
        rows = {row.id: row for row in self.scenario.outlooks}
        if not rows:
            yield [], 1.0
        parents = {row.parent for row in rows.values()}
        for row in rows.values():
            if row.id not in parents:
                lineage, at = [row], row
                while at.parent is not None:
                    at = rows[at.parent]
                    lineage.insert(0, at)
                yield lineage, row.probability

    def _known(self, row: Outlook) -> int:
        """First period that starts with an outlook known."""
        dates = [r.from_ for r in self.scenario.outlooks if r.from_ is not None]
        day = row.from_ or min(dates, default=None)
        years = self.starts[1] if day is None else self.horizon.years_to(day)
        return next((t for t, s in enumerate(self.starts) if s >= years - _SAME), len(self.starts))

    # Nodes

    def _node(self, t: int, seen: _Seen, probability: float, parent: int) -> Node:
        budget = self.horizon.capex_budget_by_date
        firm = self.horizon.firm_periods
        if firm is None and self.scenario.outlooks:
            firm = max(min(self._known(row) for row in self.scenario.outlooks), 1)
        delays = {
            o: seen.months("delivery_delay_months", offer.supply_group) / 12.0
            for o, offer in enumerate(self.base.offers)
        }
        return Node(
            name=" ".join([self.names[t], seen.name]).strip(),
            period=t,
            parent=parent,
            probability=probability,
            problem=self._problem(t, seen),
            delays={o: years for o, years in delays.items() if years},
            capex_budget_usd=None
            if budget is None
            else float(value_at(budget, self.horizon, self.starts[t])),
            firm=firm is None or t < firm,
        )

    def _problem(self, t: int, seen: _Seen) -> Problem:
        rows = {w.id: w for w in self.scenario.workloads}
        base = self.base
        return replace(
            base,
            workloads=tuple(self._workload(w, rows[w.id], t, seen) for w in base.workloads),
            sites=tuple(self._site(i, site, t, seen) for i, site in enumerate(base.sites)),
            pools=tuple(self._pool(pool, t, seen) for pool in base.pools),
            offers=tuple(self._offer(offer, t, seen) for offer in base.offers),
            apis=tuple(self._api(api, t, seen) for api in base.apis),
        )

    def _workload(self, data: WorkloadData, row: Workload, t: int, seen: _Seen) -> WorkloadData:
        start, end = self.starts[t], self.starts[t + 1]
        demand = row.demand
        factor = mean_growth(demand.growth_per_year, start, end) * seen.factor("demand", row.id)
        first = -math.inf if row.from_ is None else self.horizon.years_to(row.from_)
        last = math.inf if row.until is None else self.horizon.years_to(row.until)
        if min(last, end) - max(first, start) < (end - start) / 2.0 - _SAME:
            factor = 0.0
        if isinstance(demand, FreeDemand):
            return replace(
                data,
                min_scale=data.min_scale * factor,
                max_scale=_times(data.max_scale, factor),
            )
        if demand.requests_per_s_by_date is not None:
            rate = mean_step(demand.requests_per_s_by_date, self.horizon, start, end)
            factor *= rate / demand.requests_per_s
        return data if factor == 1.0 else replace(data, demand_rps=data.demand_rps * factor)

    def _site(self, i: int, data: SiteData, t: int, seen: _Seen) -> SiteData:
        site, now = self.scenario.sites[i], self.starts[t]
        kw, racks = data.power_limit_kw, data.rack_limit
        late = seen.months("power_delay_months", site.id) / 12.0
        if site.power_kw_by_date is not None:
            kw = limit_value(value_at(site.power_kw_by_date, self.horizon, now - late))
        if site.racks_by_date is not None:
            racks = limit_value(value_at(site.racks_by_date, self.horizon, now))
        kw = _times(kw, seen.factor("power", site.id))
        contracted = data.contracted_power_usd_per_year
        if site.power_is_contracted:
            contracted = kw * (site.power_usd_per_kw_year or 0.0)
        return replace(
            data,
            power_limit_kw=kw,
            rack_limit=racks,
            contracted_power_usd_per_year=contracted,
        )

    def _pool(self, pool: Pool, t: int, seen: _Seen) -> Pool:
        site = self.scenario.sites[pool.site]
        factor = (1.0 + site.electricity_change_per_year) ** self.starts[t]
        factor *= seen.factor("tariff", site.id)
        return replace(
            pool,
            energy_usd_per_kwh_it=scaled(pool.energy_usd_per_kwh_it, factor),
            speed=seen.factor("efficiency", pool.system),
        )

    def _offer(self, data: OfferData, t: int, seen: _Seen) -> OfferData:
        if data.kind == BLOCK:
            return data
        row, now = self.offers[data.supply_group], self.starts[t]
        factor = self._price_factor(data, row, now) * seen.factor("prices", row.id)
        items = {k: v for k, v in data.annual_cost_items_usd.items() if k not in _CAPITAL}
        for item in ("rental", "all_in", "maintenance"):
            if item in items:
                items[item] *= factor if item != "maintenance" or row.kind == "buy" else 1.0
        supplied = seen.factor("supply", row.id)
        stock, supply = self._stock(data, row, now, supplied), data.supply
        if stock is not None and row.maintenance_by_age:
            ageing = _ageing(row, items.get("maintenance", 0.0))
            stock = replace(stock, usd_per_year_by_age=ageing)
        if stock is None:  # had without an order, and only when it is offered
            supply = _times(supply, supplied) if self._open(row, now) else 0.0
        return replace(
            data,
            supply=supply,
            annual_cost_items_usd=items,
            hourly_usd=scaled(data.hourly_usd, factor),
            capex_usd=data.capex_usd * factor,
            stock=stock,
        )

    def _open(self, row: Offer, now: float) -> bool:
        """Whether an offer is made at a date."""
        first = -math.inf if row.order_from is None else self.horizon.years_to(row.order_from)
        last = math.inf if row.order_until is None else self.horizon.years_to(row.order_until)
        return first - _SAME <= now <= last + _SAME

    def _price_factor(self, data: OfferData, row: Offer, now: float) -> float:
        """Price at a date over that of the scenario, from its path or its yearly change."""
        if row.price_by_date is None:
            return float((1.0 + row.price_change_per_year) ** now)
        price = self.built.supply.prices[data.supply_group]
        base = price.usd_per_system or price.usd_per_gpu_h
        return float(value_at(row.price_by_date, self.horizon, now)) / base

    def _api(self, data: ApiData, t: int, seen: _Seen) -> ApiData:
        row = next(a for a in self.scenario.apis if a.id == data.id)
        factor = (1.0 + row.price_change_per_year) ** self.starts[t] * seen.factor("prices", row.id)
        return replace(data, cost_usd_per_request=data.cost_usd_per_request * factor)

    # Stock

    def _stock(self, data: OfferData, row: Offer, now: float, supplied: float) -> Stock | None:
        """How systems under an offer come and go; None where a count may change every period.
        Short supply limits orders; what stands already stays."""
        terms = self.built.terms
        if row.kind == "owned":
            count = limit_value(row.supply)
            return Stock(
                kind="bought",
                life=math.inf if row.life_years is None else row.life_years,
                resale=self._resale(row) or self._book_points(),
                owned=row.ages or ((0.0, int(count)),),
                market_usd=row.market_usd_per_system,
                most_per_period=0.0,
                stay=row.stay_months / 12.0,
                removal_usd=row.removal_usd_per_system,
            )
        most = limit_value(row.delivery_limit_per_period)
        if supplied != 1.0:
            most = _times(min(most, data.supply), supplied)
        if not self._open(row, now):
            most = 0.0
        if row.kind == "buy":
            return Stock(
                kind="bought",
                life=terms.life_years,
                residual_fraction=terms.residual_fraction,
                resale=self._resale(row),
                lead=row.lead_months / 12.0,
                most_per_period=most,
                least_order=row.least_order,
                stay=row.stay_months / 12.0,
                removal_usd=row.removal_usd_per_system,
            )
        if row.kind == "rent" and row.term_years is not None:
            return Stock(
                kind="contract",
                term=row.term_years,
                lead=row.lead_months / 12.0,
                most_per_period=most,
                least_order=row.least_order,
                paid_beyond=self.horizon.contracts_beyond == "full",
                upfront_fraction=row.upfront_fraction,
            )
        return None

    def _resale(self, row: Offer) -> tuple[tuple[float, float], ...]:
        if isinstance(row.resale, tuple):
            points = row.resale
            return points if points[0][0] == 0.0 else ((0.0, 1.0), *points)
        if row.resale == "book":
            return ()
        catalog, found = self.built.loaded.catalog, [(0.0, 1.0)]
        for year in itertools.count(1):
            name = f"residual_value_pct_year{year}"
            if name not in catalog.tco:
                break
            found.append((float(year), float(require(catalog.tco_row(name), "typical")) / 100.0))
        if len(found) == 1:
            raise SchemaError(
                f"offers[] (id {row.id!r}).resale: the catalog has no residual values",
                "give points of [age in years, share of the price]",
            )
        return tuple(found)

    def _book_points(self) -> tuple[tuple[float, float], ...]:
        """Book value by year, for systems whose life has no end in the plan."""
        terms = self.built.terms
        ages = [*range(math.ceil(terms.life_years)), terms.life_years]
        rate, rest = float(self.rate or 0.0), terms.residual_fraction
        return tuple(
            (float(a), _core.book_value(rate, terms.life_years, rest, float(a))) for a in ages
        )

    def _with_blocks(self, problem: Problem) -> Problem:
        """Blocks as pools that take less than nothing of their site's power and racks."""
        pools, offers = list(problem.pools), list(problem.offers)
        for s, site in enumerate(self.scenario.sites):
            for row in site.expansions:
                name = f"{row.id} at {site.id}"
                pools.append(Pool(name, s, name, 1, -row.kw, 0.0, racks_brought=float(row.racks)))
                items = {"power_block": row.usd_per_year} if row.usd_per_year else {}
                offers.append(
                    OfferData(
                        id=name,
                        pool=len(pools) - 1,
                        supply=float(row.most),
                        annual_cost_items_usd=items,
                        capex_usd=row.capex_usd,
                        supply_group=name,
                        kind=BLOCK,
                        stock=Stock(
                            kind="bought",
                            life=row.life_years,
                            lead=row.months / 12.0,
                            most_per_period=float(row.most),
                        ),
                    )
                )
        return replace(problem, pools=tuple(pools), offers=tuple(offers))

    def _check_curve(self, row: Offer) -> None:
        """Refuses a market curve that ends before what is bought does, or one of its own before
        what is owned does; where the catalog's does a warning says so.

        Raises:
            SchemaError: names the offer, the age and what to give.
        """
        points, is_owned = self._resale(row), row.kind == "owned"
        oldest = min(self.built.terms.life_years, self.starts[-1] - row.lead_months / 12.0)
        if is_owned:
            age = max((age for age, _ in row.ages), default=0.0) + self.starts[-1]
            oldest = min(age, math.inf if row.life_years is None else row.life_years)
        if points and points[-1][0] < oldest - _SAME:
            raise SchemaError(
                f"offers[] (id {row.id!r}).resale: ends at an age of {points[-1][0]:g} years, and "
                f"what is {'owned' if is_owned else 'bought'} may reach {oldest:g} within the "
                "horizon",
                "give points to that age, or `book`; a shorter horizon needs fewer",
            )

    def _check_stay(self, row: Offer) -> None:
        """Refuses what must stay for longer than it lives.

        Raises:
            SchemaError: names the offer.
        """
        life = self.built.terms.life_years if row.kind == "buy" else row.life_years
        if life is not None and row.stay_months / 12.0 > life + _SAME:
            raise SchemaError(
                f"offers[] (id {row.id!r}).stay_months: {row.stay_months:g} months are longer than "
                f"a life of {life:g} years",
                "shorten it, or state a longer life",
            )

    def _check_lives(self) -> None:
        """Refuses what cannot be told: periods longer than a life, a stay longer than one, market
        curves that end before the horizon, and owned stock in two places.

        Raises:
            SchemaError: names the offer or the field.
        """
        longest = max(b - a for a, b in itertools.pairwise(self.starts))
        life = self.built.terms.life_years
        if longest > life + _SAME:
            raise SchemaError(
                f"horizon.periods: a period of {longest:g} years is longer than a life of {life:g}",
                "write shorter periods, or another finance.life_years",
            )
        places: dict[str, int] = {}
        for offer in self.base.offers:
            places[offer.supply_group] = places.get(offer.supply_group, 0) + 1
        for name, row in self.offers.items():
            valued = row.kind == "owned" and row.market_usd_per_system > 0
            own_curve = valued and isinstance(row.resale, tuple)
            if (row.kind == "buy" or own_curve) and name in places:
                self._check_curve(row)
            self._check_stay(row)
            if valued and places.get(name, 0) > 1:
                raise SchemaError(
                    f"offers[] (id {name!r}): owned systems with a market price at several sites",
                    "write an offer for each site, with its own supply and `sites`",
                )


def _name(horizon: Horizon, first: int, after: int) -> str:
    """What a period is called: 2027, 2027-H1, 2027-Q3, 2027-07."""
    day, months = horizon.first_day(first), after - first
    place = (day.month - 1) // months
    if (day.month - 1) % months or months not in {3, 6, 12}:
        return f"{day.year}-{day.month:02d}"
    return {12: f"{day.year}", 6: f"{day.year}-H{place + 1}", 3: f"{day.year}-Q{place + 1}"}[months]


def _ageing(row: Offer, maintenance_usd: float) -> tuple[tuple[float, float], ...]:
    """What maintenance costs more by age than its yearly USD at the price of the order."""
    points = row.maintenance_by_age or ()
    return tuple((age, (factor - 1.0) * maintenance_usd) for age, factor in points)


def is_block(offer: OfferData) -> bool:
    """Whether an offer is of power or racks, and not of systems."""
    return offer.kind == BLOCK


def without_blocks(problem: Problem, counts: Mapping[int, float]) -> Problem:
    """The problem of a year with so many blocks built: more power and racks, at a yearly cost."""
    offers = [offer for offer in problem.offers if not is_block(offer)]
    sites = list(problem.sites)
    for o, offer in enumerate(problem.offers):
        if is_block(offer):
            pool = problem.pools[offer.pool]
            site, count = sites[pool.site], counts.get(o, 0.0)
            yearly = sum(offer.annual_cost_items_usd.values()) * count
            sites[pool.site] = replace(
                site,
                power_limit_kw=site.power_limit_kw - count * pool.provisioned_it_kw,
                rack_limit=site.rack_limit + count * pool.racks_brought,
                contracted_power_usd_per_year=site.contracted_power_usd_per_year + yearly,
            )
    pools = problem.pools[: max((o.pool for o in offers), default=-1) + 1]
    return replace(problem, offers=tuple(offers), sites=tuple(sites), pools=pools)
