"""The menu of a plan over time: plans with fewer kinds of something, that cost little more.

Of offers, system types, vendors and sites every set is tried, the smallest first: what is not in it
is closed, and the tree is planned again. A set that costs more than the largest share is no dish.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.menu import SHARES
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import MenuItem
from tokenfleet.explanation.study import PROVEN, WITHIN
from tokenfleet.explanation.wishes_over_time import less_over_time
from tokenfleet.files.plain import listed
from tokenfleet.problem_data import OfferData, Problem

_MOST_SETS = 20  # tried for one wish

#: What an offer of a problem counts as.
Kind = Callable[[OfferData], str]


def menu_over_time(
    asked: OverTime, vendors: Mapping[str, str], ask: Ask = plainly
) -> Iterator[MenuItem]:
    """Plans with fewer offers, types, vendors or sites, and those with less of something
    (`wishes_over_time`); `vendors` are by system type."""
    problem = asked.built.problem

    def system(offer: OfferData) -> str:
        return problem.pools[offer.pool].system

    wishes: Mapping[str, tuple[str, Kind]] = {
        "fewest vendors": ("vendors", lambda offer: vendors.get(system(offer), system(offer))),
        "fewest system types": ("types", system),
        "fewest sites": ("sites", lambda o: problem.sites[problem.pools[o.pool].site].id),
        "fewest offers": ("offers", lambda offer: offer.stated_as),
    }
    for wish, (unit, kind) in wishes.items():
        yield from _Wish(asked, problem, wish, unit, kind, ask).items()
    yield from less_over_time(asked, ask)


@dataclass(frozen=True)
class _Wish:
    asked: OverTime
    problem: Problem
    name: str
    unit: str
    kind: Kind
    ask: Ask

    def items(self) -> Iterator[MenuItem]:
        """Of each number of kinds the cheapest plan, as far as it costs little enough more."""
        orderable = [o for o in self.problem.offers if o.kind != "owned"]
        used = {self.kind(o) for o in orderable if o.id in self.asked.base.systems}
        every = sorted({self.kind(o) for o in orderable})
        for count in range(len(used) - 1, 0, -1):
            sets = list(itertools.combinations(every, count))
            if len(sets) > _MOST_SETS:
                sets = list(itertools.combinations(sorted(used), count))[:_MOST_SETS]
            asked = [
                self.ask(f"{self.name}: {listed(kept)}", partial(self._with, set(kept)))
                for kept in sets
            ]
            plans = [found for found in asked if found is not None]
            best = min(plans, key=lambda found: found.value, default=None)
            if best is None:
                return
            base = self.asked.base
            more = max(best.value / base.value - 1.0, 0.0)
            if more > max(SHARES):
                return
            within = min(share for share in SHARES if more <= share)
            proven = base.how == best.how == PROVEN and len(sets) <= _MOST_SETS
            yield MenuItem(
                wish=self.name,
                within=within,
                value=count,
                today=len(used),
                unit=self.unit,
                more=more,
                annual_cost_usd=best.value,
                systems=dict(best.systems),
                how=PROVEN if proven else WITHIN,
            )

    def _with(self, kept: set[str]) -> Found | None:
        """The best plan whose orders are all of the kinds that are kept."""
        return self.asked.without(
            frozenset(
                offer.id
                for offer in self.problem.offers
                if offer.kind != "owned" and self.kind(offer) not in kept
            )
        )
