"""Who pays what: every booked dollar goes to a row of systems, and to a route and its workload.

A booking says which number of the mix a dollar is for. A row of systems takes the fixed items of
its offer and, by system-hours, its part of the energy of what runs in its pool. A workload takes

1. the price of what it sends to an API or leaves unserved,
2. the energy that its requests draw,
3. by accelerator-hours of its replicas, its part of the fixed cost of their pool and of the
   contracted power of their site: empty places and spares are paid by those who use the pool.
   The cost of a replica goes to its classes by the time that each keeps it busy.
4. What stands or is contracted where nothing runs, and the price of further system types, is shared
   by output tokens.

Both ways of cutting add up to the cost of the mix, item by item; contracted power and further types
are of no row of systems.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeAlias

from tokenfleet.mix.model import Label
from tokenfleet.mix.model.index import FirstType, Staffed, TypeUsed
from tokenfleet.mix.result import MixResult
from tokenfleet.plan.by_block import PlanNumbers
from tokenfleet.problem_data import Api, Flow, Pool, Replicas, Short, Systems

Items: TypeAlias = dict[str, float]  # USD a year by cost item
Through: TypeAlias = tuple[int, int, int]  # pool, candidate, class


class Ledger:
    """The bookings of a mix, cut by systems (`systems`) and by requests (`flows` and `apis`)."""

    def __init__(self, mix: MixResult, numbers: PlanNumbers) -> None:
        """Cuts every booking both ways."""
        self.problem, self._numbers = mix.problem, numbers
        self._fixed: dict[int, Items] = defaultdict(dict)  # by offer
        self._running: dict[int, Items] = defaultdict(dict)  # by pool: energy of what runs there
        self._replicas: dict[tuple[int, int], Items] = defaultdict(dict)
        self.flows: dict[Through, Items] = {key: {} for key in numbers.flows}
        self.apis: dict[tuple[int, int], Items] = {key: {} for key in numbers.apis}
        self.unserved: dict[tuple[int, int], Items] = {key: {} for key in numbers.unserved}
        self._of_nobody: Items = {}
        for booking in mix.bookings:
            self._book(booking.label, {booking.item: booking.usd})
        self._candidates: dict[int, list[int]] = defaultdict(list)  # by pool
        for p, c in numbers.replicas:
            self._candidates[p].append(c)
        self.systems = self._by_systems()
        self._share_pools()

    def _book(self, label: Label, items: Items) -> None:
        """A booking of a number, in each of the two cuts."""
        match label:
            case Systems():
                _add(self._fixed[label.offer], items)
            case Replicas():
                _add(self._running[label.pool], items)
                _add(self._replicas[label.pool, label.candidate], items)
            case Flow():
                _add(self._running[label.pool], items)
                _add(self.flows[label.pool, label.candidate, label.cls], items)
            case Api():
                _add(self.apis[label.api, label.cls], items)
            case Short():
                _add(self.unserved[label.workload, label.cls], items)
            case TypeUsed() | FirstType():
                _add(self._of_nobody, items)
            case Staffed():
                self._share_staff(label.site, items)

    def _share_staff(self, s: int, items: Items) -> None:
        """A site's staff by the power of the systems that it looks after, all of them alike where
        none is known to draw any."""
        offers = {
            o: self._numbers.over_year(counts)
            for o, counts in self._numbers.systems.items()
            if self.problem.offers[o].needs_staff and self._pool_of(o).site == s
        }
        kw = {o: hours * self._pool_of(o).provisioned_it_kw for o, hours in offers.items()}
        weights = kw if sum(kw.values()) > 0 else offers
        for o, weight in weights.items():
            _add(self._fixed[o], items, weight / sum(weights.values()))

    def _pool_of(self, o: int) -> Pool:
        return self.problem.pools[self.problem.offers[o].pool]

    def _by_systems(self) -> dict[int, Items]:
        """Items of each offer's systems."""
        numbers, found = self._numbers, {}
        for o, counts in numbers.systems.items():
            p = self.problem.offers[o].pool
            found[o] = dict(self._fixed[o])
            everything = numbers.over_year(numbers.systems_in(p))
            if everything > 0:
                _add(found[o], self._running[p], numbers.over_year(counts) / everything)
        return found

    def _share_pools(self) -> None:
        """Gives the cost of pools and sites to the flows through them."""
        pools = {p: dict[str, float]() for p in range(len(self.problem.pools))}
        for o in self._numbers.systems:
            _add(pools[self.problem.offers[o].pool], self._fixed[o])
        nobody = self._of_nobody
        for s, site in enumerate(self.problem.sites):
            usd = site.contracted_power_usd_per_year * self.problem.years
            held = {p: kwh for p in pools if (kwh := self._held_kwh(s, p)) > 0}
            for p, kwh in held.items() if usd else ():
                _add(pools[p], {"contracted_power": usd}, kwh / sum(held.values()))
            if usd and not held:
                _add(nobody, {"contracted_power": usd})
        for p, items in pools.items():
            if not self._share_pool(p, items):
                _add(nobody, items)
        self._share_by_tokens(nobody)

    def _held_kwh(self, s: int, p: int) -> float:
        """Provisioned IT power of a pool at a site, over the year."""
        pool = self.problem.pools[p]
        if pool.site != s or pool.hosted:
            return 0.0
        return self._numbers.over_year(self._numbers.systems_in(p)) * pool.provisioned_it_kw

    def _share_pool(self, p: int, items: Items) -> bool:
        """By accelerator-hours to replicas and by busy time to their classes; False without any."""
        numbers, candidates = self._numbers, self.problem.candidates
        hours = {
            c: numbers.over_year(numbers.replicas[p, c]) * candidates[c].gpus
            for c in self._candidates[p]
        }
        busy = {c: self._busy(p, c) for c in hours}
        total = sum(held for c, held in hours.items() if busy[c])
        for c in (c for c, shares in busy.items() if not shares):
            _add(items, self._replicas[p, c])  # it serves nothing: a spare of the pool
        for c, held in hours.items():
            for key, share in busy[c].items():
                _add(self.flows[key], self._replicas[p, c], share)
                if total > 0:
                    _add(self.flows[key], items, share * held / total)
        return total > 0

    def _busy(self, p: int, c: int) -> dict[Through, float]:
        """Shares of the time that each class keeps the replicas of a candidate busy.

        What serves in the loss of a site only, which has no hours, is shared by its load there.
        """
        load, numbers = self.problem.candidates[c].load, self._numbers
        keys = [(p, c, k) for k in numbers.flows_of.get((p, c), ())]
        flows = {key: numbers.flows[key] for key in keys}
        busy = {key: float(load[key[2]]) * numbers.over_year(r) for key, r in flows.items()}
        if not any(busy.values()):
            busy = {key: float(load[key[2]]) * sum(r) for key, r in flows.items()}
        total = sum(busy.values())
        return {key: time / total for key, time in busy.items()} if total > 0 else {}

    def by_workload(self) -> list[Items]:
        """What each workload pays, by item."""
        candidates, apis = self.problem.candidates, self.problem.apis
        found: list[Items] = [{} for _ in self.problem.workloads]
        for (_, c, _), items in self.flows.items():
            _add(found[candidates[c].workload], items)
        for (a, _), items in self.apis.items():
            _add(found[apis[a].workload], items)
        for (w, _), items in self.unserved.items():
            _add(found[w], items)
        return found

    def _share_by_tokens(self, items: Items) -> None:
        """To all that is served, by output tokens."""
        tokens: list[tuple[Items, float]] = []
        for (p, c, k), rates in self._numbers.flows.items():
            candidate = self.problem.candidates[c]
            if candidate.role != "prefill":
                each = float(self.problem.workloads[candidate.workload].output_tokens[k])
                tokens.append((self.flows[p, c, k], self._numbers.requests(rates) * each))
        for (a, k), rates in self._numbers.apis.items():
            each = float(self.problem.workloads[self.problem.apis[a].workload].output_tokens[k])
            tokens.append((self.apis[a, k], self._numbers.requests(rates) * each))
        total = sum(amount for _, amount in tokens)
        for account, amount in tokens:
            if total > 0:
                _add(account, items, amount / total)


def _add(to: Items, items: Mapping[str, float], share: float = 1.0) -> None:
    for item, usd in items.items():
        to[item] = to.get(item, 0.0) + share * usd
