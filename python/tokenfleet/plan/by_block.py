"""The numbers of a mix, load block by load block: what stands where, and what flows through it.

numbers = PlanNumbers(mix)
numbers.systems[3]        # systems under offer 3 in each block, such as [2.0, 2.0]
numbers.flows[1, 7, 0]    # requests/s of class 0 through candidate 7 in pool 1
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from operator import attrgetter
from typing import Any, Protocol

from tokenfleet.problem_data import SECONDS_PER_HOUR, Api, Flow, Problem, Replicas, Short, Systems


class Numbers(Protocol):
    """What is read of a mix here: its problem, a number for each label, and its yearly cost."""

    @property
    def problem(self) -> Problem: ...
    @property
    def values(self) -> Mapping[Any, float]: ...
    @property
    def annual_cost_usd(self) -> float: ...


class PlanNumbers:
    """Values by block, keyed by the indices of what they are of, in their order."""

    def __init__(self, mix: Numbers) -> None:
        """Spreads what holds all year over its blocks."""
        self.problem = mix.problem
        self.blocks = range(len(mix.problem.blocks))
        self.hours = [block.counted_hours for block in mix.problem.blocks]
        self.systems: dict[int, list[float]] = self._table(mix, Systems, "offer")
        self.replicas: dict[tuple[int, int], list[float]] = self._table(
            mix, Replicas, "pool", "candidate"
        )
        self.flows: dict[tuple[int, int, int], list[float]] = self._table(
            mix, Flow, "pool", "candidate", "cls"
        )
        self.apis: dict[tuple[int, int], list[float]] = self._table(mix, Api, "api", "cls")
        self.unserved: dict[tuple[int, int], list[float]] = self._table(
            mix, Short, "workload", "cls"
        )
        self._in_pool: dict[int, list[float]] = {}
        for o, counts in self.systems.items():
            p = mix.problem.offers[o].pool
            sofar = self._in_pool.get(p, [0.0] * len(counts))
            self._in_pool[p] = [a + b for a, b in zip(sofar, counts, strict=True)]

    def _table(self, mix: Numbers, kind: type[Any], *key: str) -> dict[Any, list[float]]:
        """Values of one kind of label by the fields of `key`."""
        table: dict[Any, list[float]] = {}
        key_of = attrgetter(*key)
        for label, value in mix.values.items():
            if isinstance(label, kind):
                row = table.setdefault(key_of(label), [0.0] * len(self.blocks))
                for b in self._blocks_of(label):
                    row[b] = max(value, 0.0)  # below 0 is the solver's tolerance
        return dict(sorted(table.items()))

    def _blocks_of(self, label: Any) -> tuple[int, ...]:
        """Blocks in which a number holds: those of its scope, or its own."""
        if isinstance(label, (Systems, Replicas)):
            return self.problem.scopes[label.scope].blocks
        return (label.block,)

    def systems_in(self, p: int) -> list[float]:
        """Systems of a pool in each block."""
        return self._in_pool.get(p, [0.0] * len(self.blocks))

    def over_year(self, by_block: list[float]) -> float:
        """Each block's value times its hours."""
        return sum(value * hours for value, hours in zip(by_block, self.hours, strict=True))

    def requests(self, rates: list[float]) -> float:
        """Requests a year at so many a second in each block."""
        return self.over_year(rates) * SECONDS_PER_HOUR

    @cached_property
    def idle_kw(self) -> list[list[float]]:
        """Mean IT kW of the idle systems of each pool, in each block."""
        return [
            [count * pool.idle_it_kw for count in self.systems_in(p)]
            for p, pool in enumerate(self.problem.pools)
        ]

    @cached_property
    def running_kw(self) -> list[list[float]]:
        """Mean IT kW above idle of the replicas and requests of each pool, in each block."""
        found = [[0.0] * len(self.blocks) for _ in self.problem.pools]
        for (p, c), counts in self.replicas.items():
            for b, count in enumerate(counts):
                found[p][b] += count * self.problem.candidates[c].idle_w / 1000.0
        for (p, c, k), rates in self.flows.items():
            joules = float(self.problem.candidates[c].energy_j[k])
            for b, rate in enumerate(rates):
                found[p][b] += rate * joules / 1000.0
        return found

    @cached_property
    def flows_of(self) -> dict[tuple[int, int], list[int]]:
        """Classes that flow through each (pool, candidate)."""
        found: dict[tuple[int, int], list[int]] = {}
        for p, c, k in self.flows:
            found.setdefault((p, c), []).append(k)
        return found


class PlanUsage:
    """Numbers of a plan that its limits are held against (`family.Usage`)."""

    def __init__(self, mix: Numbers, numbers: PlanNumbers) -> None:
        """Adds up the requests of each API."""
        self.problem = mix.problem
        self.blocks = numbers.blocks
        self.annual_cost_usd = mix.annual_cost_usd
        self._numbers = numbers
        self._requests: dict[int, list[float]] = {}
        for (a, _), rates in numbers.apis.items():
            sofar = self._requests.get(a, [0.0] * len(rates))
            self._requests[a] = [x + y for x, y in zip(sofar, rates, strict=True)]

    def systems(self, o: int, b: int) -> float:
        """Systems under an offer in a load block."""
        counts = self._numbers.systems.get(o)
        return counts[b] if counts else 0.0

    def in_pool(self, p: int, b: int) -> float:
        """Systems of a pool in a load block."""
        return self._numbers.systems_in(p)[b]

    def requests(self, a: int, b: int) -> float:
        """Requests/s of all classes through an API in a load block."""
        rates = self._requests.get(a)
        return rates[b] if rates else 0.0
