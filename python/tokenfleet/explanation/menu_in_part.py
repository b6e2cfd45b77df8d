"""The menu of a problem whose plans are searched over a part of its pairs.

Each wish is a ladder of problems, on whose higher rungs plans are better at the wish and cost more:

- what adds up over systems or energy (capital, power, carbon) has a price besides, rung by rung a
  half higher;
- of kinds (vendors, types, sites, offers) there is one less on each rung: those that the relaxation
  does best with, of all sets where these are few, else of those that leave out one more;
- the most accelerators of one supply are fewer on each rung;
- of layouts those that serve least are left out, a tenth of them on each rung;
- of what is not owned each supply and API has a fifth less on each rung;
- what does not stand today costs more, and what stands less, rung by rung a half more.

Relaxations, which are exact in tenths of a second, tell how high a share of the cost reaches; a
plan is searched there, and its own cost decides. That none is better at the wish is not proven.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.in_part import Values
from tokenfleet.explanation.menu import CLOSEST, OWNED, SHARES, Choosable, Wish
from tokenfleet.explanation.study import WITHIN, Answer, Study
from tokenfleet.mix.generate.pricing import Pairs
from tokenfleet.mix.model import Frame, Label, build
from tokenfleet.mix.model.objectives import carbon_coefficients
from tokenfleet.mix.search.nearest import Place
from tokenfleet.problem_data import (
    Api,
    OfferData,
    Pool,
    Problem,
    Replicas,
    Systems,
    pairs_used,
)

_FIRST = 0.002  # of the cost, that the first price of a wish comes to
_STEP = 1.5  # times that, from rung to rung
_RUNGS = 24
_SETS = 40  # of kinds, that relaxations are solved of on one rung
_FEWER = 0.9  # times the most of one supply, or the layouts, from rung to rung
_LESS = 0.2  # of what is not owned, from rung to rung
_TRIED = 2  # rungs for one share, the highest first
_SAME = 1e-6  # relative: values of a wish closer than this are one
_ROUNDING = 1e-9

#: What each offer, and after them each hosted API, counts as; None: as nothing.
Kinds = Sequence[str | None]
Valued = Callable[[Values], float]


@dataclass(frozen=True)
class _Rung:
    """A problem, what its relaxation costs at today's prices, and the price of the wish in it."""

    problem: Problem = field(repr=False)
    cost: float
    price: float = 0.0


def menu_in_part(
    study: Study,
    shares: Sequence[float] = SHARES,
    vendors: Mapping[str, str] | None = None,
    ask: Ask = plainly,
    standing: Mapping[Place, float] | None = None,
) -> Iterator[Choosable]:
    """Plans within each share of the least cost, for every wish; `vendors` are by system type,
    `standing` are systems by offer and site that a plan may be close to, by default those that are
    owned."""
    asked = _MenuInPart(study, sorted(shares, reverse=True), standing)
    for wish, value, ladder in asked.wishes(vendors or {}):
        yield from ask(f"menu: {wish.name}", partial(asked.answers, wish, value, ladder)) or ()


Ladder = Callable[[], Iterator[_Rung]]


class _MenuInPart:
    def __init__(
        self,
        study: Study,
        shares: Sequence[float],
        standing: Mapping[Place, float] | None = None,
    ) -> None:
        self.study, self.problem, self.shares = study, study.problem, shares
        self.standing = standing
        self.least = self._relaxed(study.problem)

    def answers(self, wish: Wish, value: Valued, ladder: Ladder) -> list[Choosable]:
        """The plans of one wish, the closest to today's first."""
        today, most = value(self.study.base.values), 1.0 + self.shares[0]
        rungs: list[_Rung] = []
        for rung in ladder():
            if rung.cost > most * self.least:
                break
            rungs.append(rung)
        found: list[Choosable] = []
        for share in self.shares:
            if found and found[-1].more <= share:
                found[-1] = replace(found[-1], within=share)
                continue
            plan = self._plan(rungs, share, value)
            better = 0.0 if plan is None else wish.sign * (today - value(plan.values))
            if plan is None or better <= _SAME * max(abs(today), 1.0):
                break
            more = max(plan.loss / self.study.base.loss - 1.0, 0.0)
            found.append(Choosable(wish, share, value(plan.values), today, plan, more, WITHIN))
        if not found or found[-1].within > min(self.shares):
            found.append(Choosable(wish, 0.0, today, today, self.study.base, how=WITHIN))
        return found[::-1]

    def _plan(self, rungs: Sequence[_Rung], share: float, value: Valued) -> Answer | None:
        """The plan of the highest rung that costs no more than the share allows."""
        within = [rung for rung in rungs if rung.cost <= (1.0 + share) * self.least]
        for rung in within[: -_TRIED - 1 : -1]:
            found = self.study.again(rung.problem, self.study.base.values)
            if found is None:
                continue
            cost = found.loss - rung.price * value(found.values)
            if cost <= (1.0 + share) * self.study.base.loss:
                return replace(found, problem=self.problem, loss=cost, annual_cost_usd=cost)
        return None

    def _relaxed(self, problem: Problem) -> float:
        found = self.study.relaxed(problem)
        assert found is not None  # every problem of a ladder is searched in part, as its first is
        return found[0]

    # Wishes and their ladders

    @property
    def _gpus(self) -> list[float]:
        """Accelerators of a system, by offer."""
        problem = self.problem
        return [float(problem.pools[offer.pool].gpus_per_system) for offer in problem.offers]

    def wishes(self, vendors: Mapping[str, str]) -> Iterator[tuple[Wish, Valued, Ladder]]:
        """Every wish of this problem, how a plan is valued, and its ladder."""
        problem = self.problem
        pools = [problem.pools[offer.pool] for offer in problem.offers]
        systems, apis = [pool.system for pool in pools], [f"API {api.id}" for api in problem.apis]
        sites = [None if pool.hosted else problem.sites[pool.site].id for pool in pools]
        none = [None] * len(apis)
        for name, unit, kinds in (
            ("fewest vendors", "vendors", [*(vendors.get(of, of) for of in systems), *apis]),
            ("fewest system types", "types", [*systems, *none]),
            ("fewest sites", "sites", [*sites, *none]),
            ("fewest offers", "offers", [*(offer.stated_as for offer in problem.offers), *none]),
        ):
            yield Wish(name, unit, {}), partial(self._count, kinds), partial(self._fewer, kinds)
        capital = [offer.capex_usd for offer in problem.offers]
        kw = [0.0 if pool.hosted else pool.provisioned_it_kw for pool in pools]
        by_the_hour = [pool.elastic for pool in pools]
        for name, unit, each in (("least capital", "USD", capital), ("least power", "IT kW", kw)):
            elastic = any(a > 0 and hourly for a, hourly in zip(each, by_the_hour, strict=True))
            if any(each) and not elastic:
                value = partial(self._total, each)
                yield Wish(name, unit, {}), value, partial(self._dearer, value, each)
        if any(pool.carbon_kg_per_kwh_it for pool in problem.pools):
            wish = Wish("least carbon", "kg CO2e/year", {})
            yield wish, self._carbon, partial(self._dearer, self._carbon, None)
        if len({offer.stated_as for offer in problem.offers}) > 1:
            wish = Wish("least dependence on one supply", "accelerators", {})
            yield wish, self._largest, self._capped
        yield Wish("fewest layouts", "layouts", {}), self._layouts, self._fewer_layouts
        kept = [offer.kind in OWNED for offer in problem.offers]
        if any(kept) and (problem.apis or not all(kept)):
            size = [a * of for a, of in zip(self._gpus, kept, strict=True)]
            wish = Wish("most owned", "accelerators", {}, sign=-1.0)
            yield wish, partial(self._total, size), self._less_hired
        yield from self._closest()

    def _closest(self) -> Iterator[tuple[Wish, Valued, Ladder]]:
        """Closest to the systems that are given, or to those that are owned already."""
        problem = self.problem
        if self.standing is None:
            stands = [offer.kind == "owned" for offer in problem.offers]
            wish = Wish(CLOSEST, "accelerators new less kept", {})
        else:
            sites = [problem.sites[problem.pools[offer.pool].site].id for offer in problem.offers]
            places = zip((offer.stated_as for offer in problem.offers), sites, strict=True)
            stands = [self.standing.get(place, 0.0) > 0 for place in places]
            wish = Wish(CLOSEST, "accelerators moved", {})
        each = [-a if has else a for a, has in zip(self._gpus, stands, strict=True)]
        value = partial(self._total, each) if self.standing is None else self._moved
        if self.standing is not None or (any(stands) and not all(stands)):
            yield wish, value, partial(self._dearer, partial(self._total, each), each)

    def _kind(self, kinds: Kinds, label: Label) -> str | None:
        if isinstance(label, Systems):
            return kinds[label.offer]
        return kinds[len(self.problem.offers) + label.api] if isinstance(label, Api) else None

    def _used(self, kinds: Kinds, values: Values) -> set[str]:
        """Kinds of which a plan has any."""
        named = (self._kind(kinds, la) for la, n in values.items() if n > _ROUNDING)
        return {name for name in named if name is not None}

    def _count(self, kinds: Kinds, values: Values) -> float:
        return float(len(self._used(kinds, values)))

    def _fewer(self, kinds: Kinds) -> Iterator[_Rung]:
        """One kind less on each rung than today's plan has."""
        every = sorted({name for name in kinds if name is not None})
        kept = self._used(kinds, self.study.base.values)
        while len(kept) > 1:
            count = len(kept) - 1
            among = every if math.comb(len(every), count) <= _SETS else sorted(kept)
            sets = list(itertools.combinations(among, count))
            rungs = [_Rung(of, self._relaxed(of)) for of in (self._only(kinds, s) for s in sets)]
            best = min(range(len(sets)), key=lambda i: rungs[i].cost)
            yield rungs[best]
            kept = set(sets[best])

    def _only(self, kinds: Kinds, kept: Sequence[str]) -> Problem:
        """The problem with these kinds alone, and what is of no kind."""
        offers, apis = list(self.problem.offers), list(self.problem.apis)
        closed = [name is not None and name not in kept for name in kinds]
        for o, offer in enumerate(offers):
            if closed[o]:
                offers[o] = replace(offer, supply=0.0)
        for a, api in enumerate(apis):
            if closed[len(offers) + a]:
                apis[a] = replace(api, max_rps=0.0)
        return replace(self.problem, offers=tuple(offers), apis=tuple(apis))

    def _total(self, each: Sequence[float], values: Values) -> float:
        return sum(each[la.offer] * n for la, n in values.items() if isinstance(la, Systems))

    def _carbon(self, values: Values) -> float:
        """kg CO2e a year of a plan."""
        m = build(self.problem, pairs=pairs_used(values), frame=self._frame)
        kg = carbon_coefficients(m)
        return sum(a * values.get(la, 0.0) for la, a in kg.items())

    @cached_property
    def _frame(self) -> Frame:
        return Pairs.of(self.problem).frame

    def _dearer(self, value: Valued, each: Sequence[float] | None) -> Iterator[_Rung]:
        """A higher price of the wish on each rung; `each` is what a system adds to it, by offer,
        and None says that it goes by the carbon of energy.

        Between two prices the relaxation's value rises by the wish's amount: what it costs at
        today's prices is told from that.
        """
        amount = max(abs(value(self.study.base.values)), 1.0)
        first = _FIRST * self.least / amount
        before, at = self.least, 0.0
        for rung in range(_RUNGS):
            price = first * _STEP**rung
            problem = self._with_price(each, price)
            found = self._relaxed(problem)
            yield _Rung(problem, found - price * (found - before) / (price - at), price)
            before, at = found, price

    def _with_price(self, each: Sequence[float] | None, usd: float) -> Problem:
        if each is None:
            pools = tuple(_with_carbon(pool, usd) for pool in self.problem.pools)
            return replace(self.problem, pools=pools)
        offers = tuple(
            _with_item(offer, usd * a) for offer, a in zip(self.problem.offers, each, strict=True)
        )
        return replace(self.problem, offers=offers)

    def _largest(self, values: Values) -> float:
        """The most accelerators of one supply, in any load block."""
        found: dict[tuple[str, int], float] = defaultdict(float)
        for label, n in values.items():
            if isinstance(label, Systems):
                offer = self.problem.offers[label.offer]
                found[offer.stated_as, label.scope] += n * self._gpus[label.offer]
        return max(found.values(), default=0.0)

    def _capped(self) -> Iterator[_Rung]:
        """Fewer accelerators of each supply on each rung."""
        most = self._largest(self.study.base.values)
        for _ in range(_RUNGS):
            most *= _FEWER
            offers = tuple(
                replace(offer, supply=min(offer.supply, math.floor(most / gpus)))
                for offer, gpus in zip(self.problem.offers, self._gpus, strict=True)
            )
            problem = replace(self.problem, offers=offers)
            yield _Rung(problem, self._relaxed(problem))

    def _layouts(self, values: Values) -> float:
        """How many layouts a plan has replicas of."""
        return float(len(self._served_by(values)))

    def _served_by(self, values: Values) -> dict[int, float]:
        """Accelerator-hours of each layout that a plan has replicas of."""
        found: dict[int, float] = defaultdict(float)
        for label, n in values.items():
            if isinstance(label, Replicas) and n > _ROUNDING:
                size = self.problem.candidates[label.candidate].gpus
                found[label.candidate] += n * size * self.problem.scopes[label.scope].hours
        return found

    def _fewer_layouts(self) -> Iterator[_Rung]:
        """Today's layouts but those that serve least, a tenth of them fewer on each rung; of each
        workload and role the largest stays."""
        served = self._served_by(self.study.base.values)
        order = sorted(served, key=lambda c: (-served[c], c))
        kind = {c: (self.problem.candidates[c].workload, self.problem.candidates[c].role)
                for c in order}  # fmt: skip
        largest = {kind[c]: c for c in reversed(order)}.values()
        count = len(order)
        while count > len(largest):
            count = min(count - 1, math.floor(_FEWER * count))
            kept = set(order[:count]) | set(largest)
            candidates = tuple(
                c if i in kept else replace(c, load=np.full_like(c.load, math.inf))
                for i, c in enumerate(self.problem.candidates)
            )
            problem = replace(self.problem, candidates=candidates)
            yield _Rung(problem, self._relaxed(problem))

    def _less_hired(self) -> Iterator[_Rung]:
        """Fewer systems of what is not owned, and fewer requests to each API, on each rung."""
        hired: dict[int, float] = defaultdict(float)
        sent: dict[tuple[int, int], float] = defaultdict(float)
        for label, n in self.study.base.values.items():
            if isinstance(label, Systems):
                hired[label.offer] = max(hired[label.offer], n)
            elif isinstance(label, Api):
                sent[label.api, label.block] += n
        part = 1.0
        while part > 0 and (hired or sent):
            part = part - _LESS if part > _LESS else 0.0
            offers = tuple(
                offer if offer.kind in OWNED
                else replace(offer, supply=min(offer.supply, math.floor(part * hired[o])))
                for o, offer in enumerate(self.problem.offers)
            )  # fmt: skip
            apis = tuple(
                replace(api, max_rps=min(api.max_rps, part * self._peak(sent, a)))
                for a, api in enumerate(self.problem.apis)
            )
            problem = replace(self.problem, offers=offers, apis=apis)
            yield _Rung(problem, self._relaxed(problem))

    @staticmethod
    def _peak(sent: Mapping[tuple[int, int], float], a: int) -> float:
        return max((n for (api, _), n in sent.items() if api == a), default=0.0)

    def _moved(self, values: Values) -> float:
        """Accelerators by which a plan differs from the systems that stand."""
        assert self.standing is not None
        found: dict[Place, dict[int, float]] = {}
        size: dict[Place, float] = {}
        for label, n in values.items():
            if isinstance(label, Systems):
                offer = self.problem.offers[label.offer]
                place = (
                    offer.stated_as,
                    self.problem.sites[self.problem.pools[offer.pool].site].id,
                )
                size[place] = self._gpus[label.offer]
                by_scope = found.setdefault(place, {})
                by_scope[label.scope] = by_scope.get(label.scope, 0.0) + n
        total = 0.0
        for o, offer in enumerate(self.problem.offers):
            place = (offer.stated_as, self.problem.sites[self.problem.pools[offer.pool].site].id)
            size.setdefault(place, self._gpus[o])
        for place, gpus in size.items():
            now = self.standing.get(place, 0.0)
            counts = found.get(place, {0: 0.0}).values()
            total += gpus * max(abs(n - now) for n in counts)
        return total


def _with_carbon(pool: Pool, usd_per_kg: float) -> Pool:
    """A pool whose energy costs so much more for each kg of carbon."""
    more, stated = usd_per_kg * pool.carbon_kg_per_kwh_it, pool.carbon_usd_per_kwh_it
    if isinstance(stated, tuple):
        return replace(pool, carbon_usd_per_kwh_it=tuple(usd + more for usd in stated))
    return replace(pool, carbon_usd_per_kwh_it=stated + more)


def _with_item(offer: OfferData, usd: float) -> OfferData:
    """An offer with a further yearly cost."""
    if not usd:
        return offer
    return replace(offer, annual_cost_items_usd={**offer.annual_cost_items_usd, "wish": usd})
