"""What stands in a load block, simulated and held against its limits; nothing is simulated twice.

Two things are judged: a group of serving replicas, and a crew, the pools of one role that answer
each other's prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tokenfleet.problem_data import FloatArray
from tokenfleet.simulation import tables
from tokenfleet.simulation.arrivals import Arrivals, run_group, run_whole
from tokenfleet.simulation.bench import Bench
from tokenfleet.simulation.fleet import Whole
from tokenfleet.simulation.run import Simulated
from tokenfleet.simulation.settings import SimulationSettings
from tokenfleet.simulation.standing import Crew, Group

Row = dict[str, Any]
_AGAIN = 4  # times the replications, where a limit is doubtful
# The pools of a plan as the plan has them: its shares, and no replica lost.
_AS_PLANNED = Whole(spill=False)


@dataclass(frozen=True, eq=False)
class Judged:
    """Limits of every class that a group or a crew serves, with their verdicts."""

    limits: list[Row]
    unstable: bool
    simulated: Simulated | None = None  # of a group
    fleet: Row | None = None  # of a crew

    @property
    def failed(self) -> Row | None:
        """The limit that fails worst with confidence."""
        rows = [row for row in self.limits if row["verdict"] == "failed"]
        return max(rows, key=lambda row: row["simulated_ms"] / row["limit_ms"], default=None)

    @property
    def doubtful(self) -> bool:
        """Whether a limit is unclear, and its figure on the wrong side."""
        return any(row["verdict"] == "unclear" and not _right(row) for row in self.limits)

    @property
    def unclear(self) -> int:
        """Limits that neither hold nor fail with confidence."""
        return sum(row["verdict"] == "unclear" for row in self.limits)

    @property
    def holds(self) -> bool:
        """Whether the figures themselves are on the right side of every limit."""
        return not self.unstable and all(_right(row) for row in self.limits)

    @property
    def surely_holds(self) -> bool:
        """Whether every limit holds with confidence."""
        return not self.unstable and all(row["verdict"] == "held" for row in self.limits)


def _right(row: Row) -> bool:
    if row["target"] is None:
        return bool(row["simulated_ms"] <= row["limit_ms"])
    return bool(row["within"] >= row["target"])


@dataclass
class Judging:
    """Simulates what it is asked about, once, under the requests of `arrivals`.

    Raises KeyboardInterrupt where Ctrl-C ended a simulation: what is half judged is not judged.
    """

    bench: Bench
    settings: SimulationSettings
    arrivals: Arrivals
    known: dict[tuple[Any, ...], Judged] = field(default_factory=dict)

    def group(self, group: Group, scale: float = 1.0, *, quick: bool = False) -> Judged:
        """A group at `scale` times its requests; `quick`: in half of the replications.

        Where a limit is doubtful it is simulated again in four times the replications; `quick`
        leaves the doubt.
        """
        return self._once(
            ("group", self._of_trace(group), _key(group, scale)),
            lambda settings: self._group(group, replace(settings, scale=scale)),
            quick=quick,
        )

    def crew(self, crew: Crew, *, quick: bool = False) -> Judged:
        """A crew at its requests, in the same way."""
        traced = self._of_trace(crew.groups[0])
        key = ("crew", traced, *(_key(g, 1.0) for g in crew.groups))
        return self._once(key, lambda settings: self._crew(crew, settings), quick=quick)

    def _of_trace(self, group: Group) -> tuple[Any, ...] | None:
        """What a part of a trace depends on beside the group; None where requests are drawn."""
        w = group.workload
        if w not in self.arrivals.loads:
            return None
        totals = self.arrivals.totals_for(group)
        assert totals is not None
        return (self.arrivals.paces.get(w), _rounded(totals))

    def _once(
        self, key: tuple[Any, ...], judge: Callable[[SimulationSettings], Judged], *, quick: bool
    ) -> Judged:
        key = (quick, *key)
        if key not in self.known:
            count = self.settings.replications
            first = judge(replace(self.settings, replications=-(-count // 2) if quick else count))
            if first.doubtful and not quick:
                first = judge(replace(self.settings, replications=_AGAIN * count))
            self.known[key] = first
        return self.known[key]

    def _group(self, group: Group, settings: SimulationSettings) -> Judged:
        bench = self.bench
        if group.in_herds(bench.spec):
            most = max(settings.requests, settings.requests_in_herds)
            settings = replace(settings, requests=most)
        s = run_group(bench, group, settings, self.arrivals)
        if s.interrupted:
            raise KeyboardInterrupt
        limits = [
            {"class": name, **tables.limit_row(s, served, j, slo)}
            for j, slo, name, served in tables.judged(bench.spec, s)
        ]
        return Judged(limits, s.unstable, simulated=s)

    def _crew(self, crew: Crew, settings: SimulationSettings) -> Judged:
        fleet = run_whole(self.bench, crew.groups, settings, _AS_PLANNED, self.arrivals)
        if fleet["interrupted"]:
            raise KeyboardInterrupt
        limits = [
            {"class": row["class"], **limit}
            for row in (*fleet["classes"], fleet["all_classes"])
            for limit in row["limits"]
        ]
        unstable = 2 * fleet["unstable_replications"] > fleet["replications"]
        return Judged(limits, unstable, fleet=fleet)


def _rounded(rates: FloatArray) -> tuple[float, ...]:
    return tuple(float(f"{rate:.9g}") for rate in rates)


def _key(group: Group, scale: float) -> tuple[Any, ...]:
    replica, rates = group.replica, _rounded(group.rates * scale)
    return (replica.configuration, replica.latency_group, group.count, rates)


# What need not be judged


def hardest(groups: Sequence[Group]) -> list[Group]:
    """Groups but those that have no more of any class per replica than one of the same column.

    Limits that hold under more requests of every class hold under fewer.
    """
    kept = {id(crew.groups[0]) for crew in hardest_crews([Crew((group,)) for group in groups])}
    return [group for group in groups if id(group) in kept]


def hardest_crews(crews: Sequence[Crew]) -> list[Crew]:
    """Crews but those of the same columns that are nowhere busier than another."""
    by_columns: dict[tuple[int, ...], list[Crew]] = {}
    for crew in crews:
        key = tuple(g.replica.candidate for g in crew.groups)
        by_columns.setdefault(key, []).append(crew)
    kept = []
    for same in by_columns.values():
        for i, crew in enumerate(same):
            others = [(j, other) for j, other in enumerate(same) if j != i]
            if not any(_harder(other, crew, first=j < i) for j, other in others):
                kept.append(crew)
    return kept


def _harder(a: Crew, b: Crew, *, first: bool) -> bool:
    """Whether `a` has `b`'s rates per replica or more, on no more replicas; the first of equals."""
    pairs = list(zip(a.groups, b.groups, strict=True))
    if any(x.count > y.count or np.any(_each(x) < _each(y) * (1 - 1e-9)) for x, y in pairs):
        return False
    equal = all(
        x.count == y.count and np.allclose(_each(x), _each(y), rtol=1e-9, atol=0.0)
        for x, y in pairs
    )
    return first if equal else True


def _each(group: Group) -> FloatArray:
    each: FloatArray = group.rates / group.count
    return each
