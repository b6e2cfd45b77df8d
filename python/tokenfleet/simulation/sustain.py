"""How much a column can take, by simulation: the load at which its limits hold.

A column whose limit fails has neighbours whose capacity rests on the same formula: judging them in
the same round saves a round for each. They are judged less finely, and never taken to hold less
than they do: one that is chosen next is judged again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokenfleet.mix.result import MixResult
from tokenfleet.problem_data import Candidate, FloatArray
from tokenfleet.simulation.judging import Judged, Judging
from tokenfleet.simulation.standing import Crew, Group

NEIGHBOURS = 8  # judged beside each column that fails
_BRIEF_NEIGHBOURS = 4  # the same where a plan is judged in brief
# A limit that is missed by up to such a factor, and the share of the load that is tried next.
_LOWERED = ((1.05, 0.97), (1.15, 0.93), (1.4, 0.86), (2.0, 0.75), (math.inf, 0.5))
_STEPS = (0.9, 0.75, 0.5, 0.25)
_LEAST_LOAD = 1 / 16  # a column that fails at this is as good as removed
_FINE = 0.03  # of the load
# The load found is approached from below by this, for the noise of the next round's requests.
_MARGIN = 1.01
_MOST_REPLICAS = 16  # times those that were planned
_BELOW = 1 - 1e-9  # so that rounding does not ask for one replica more
# Pools that are looked at in turn when a limit on this fails: those whose queue it is first.
_SIDES = {
    "ttft": (("prefill",), ("decode",), ("prefill", "decode")),
    "tpot": (("decode",), ("prefill", "decode")),
    "e2e": (("decode",), ("prefill",), ("prefill", "decode")),
}

Origins = Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Columns:
    """The columns of a mix, and their configurations."""

    found: MixResult
    origins: Origins

    def index(self, group: Group) -> int:
        """Which column a group is of."""
        wanted = group.replica.candidate
        return next(i for i, c in enumerate(self.candidates) if c.id == wanted)

    @property
    def candidates(self) -> Sequence[Candidate]:
        """All columns, as solved."""
        return self.found.problem.candidates

    def replicas(self, c: int, rates: FloatArray) -> float:
        """Replicas that the mix takes a column to need for some requests/s; not whole."""
        served = rates > 0
        return float(np.sum(self.candidates[c].load[served] * rates[served]))

    def neighbours(self, group: Group) -> list[int]:
        """Columns that could take a group's place: of its workload, system, role and classes, and
        for pools of one role of its format of the cache; the cheapest first."""
        own = self.index(group)
        like = self.candidates[own]
        admitted = np.isfinite(like.load)
        mix = group.rates / group.rates.sum()

        def gpu_seconds(c: int) -> float:
            return self.candidates[c].gpus * float(
                np.sum(self.candidates[c].load[admitted] * mix[admitted])
            )

        near = [
            c
            for c, other in enumerate(self.candidates)
            if c != own
            and (other.workload, other.system, other.role)
            == (like.workload, like.system, like.role)
            and (like.role == "serve" or other.label["kv_dtype"] == like.label["kv_dtype"])
            and self.origins[other.id][1] == group.replica.latency_group
            and np.array_equal(np.isfinite(other.load), admitted)
        ]
        return sorted(near, key=lambda c: (gpu_seconds(c), c))[:NEIGHBOURS]

    def group(self, like: Group, c: int, count: int, rates: FloatArray) -> Group:
        """Replicas of a column in the place of a group."""
        id = self.candidates[c].id
        update = {"candidate": id, "configuration": self.origins[id][0], "count": count}
        return Group(
            like.block, like.workload, like.replica.model_copy(update=update), count, rates
        )


# Groups of serving replicas


def brief_factors(judging: Judging, columns: Columns, group: Group) -> Iterator[tuple[int, float]]:
    """The same without a search: the load is lowered by what the worst miss suggests, and the next
    round judges again."""
    own = columns.index(group)
    load = _suggested(judging.group(group))
    yield own, _MARGIN * group.count / (load * columns.replicas(own, group.rates))
    mix = group.rates / group.rates.sum()
    for c in columns.neighbours(group)[:_BRIEF_NEIGHBOURS]:
        each = 1.0 / columns.replicas(c, mix)
        gpus = columns.candidates[own].gpus / columns.candidates[c].gpus
        count = max(1, round(group.count * gpus))
        found = judging.group(columns.group(group, c, count, mix * each * count), quick=True)
        if not found.holds:
            yield c, 1.0 / _suggested(found)


def _suggested(found: Judged) -> float:
    """The share of its load at which a group that misses its limits may hold them."""
    if found.unstable:
        return _LOWERED[-1][1]
    over = max(row["simulated_ms"] / row["limit_ms"] for row in found.limits)
    return next(share for most, share in _LOWERED if over <= most)


def group_factors(judging: Judging, columns: Columns, group: Group) -> Iterator[tuple[int, float]]:
    """Columns, and how many times more load a request must be on them for the limits to hold: that
    of a group that fails, and its neighbours at their own capacity."""
    own = columns.index(group)
    load = _sustained(judging, group)
    yield own, _MARGIN * group.count / (load * columns.replicas(own, group.rates))
    mix = group.rates / group.rates.sum()
    for c in columns.neighbours(group):
        each = 1.0 / columns.replicas(c, mix)
        gpus = columns.candidates[own].gpus / columns.candidates[c].gpus
        count = max(1, round(group.count * gpus))
        other = columns.group(group, c, count, mix * each * count)
        yield c, 1.0 / _fails_at(judging, other, load)


def _sustained(judging: Judging, group: Group) -> float:
    """The load, over the group's, at which its limits surely hold, to 3 % of it."""
    low, high = _LEAST_LOAD, 1.0
    for step in _STEPS:
        if judging.group(group, step, quick=True).surely_holds:
            low = step
            break
        high = step
    while high - low > _FINE * high and high > 2 * _LEAST_LOAD:
        middle = (low + high) / 2
        if judging.group(group, middle, quick=True).surely_holds:
            low = middle
        else:
            high = middle
    return low


def _fails_at(judging: Judging, group: Group, guess: float) -> float:
    """A load at which a group's limits fail, near the least; 1 where they hold at its own."""
    if judging.group(group, quick=True).holds:
        return 1.0
    load = min(_MARGIN * guess, 0.95)
    if not judging.group(group, load, quick=True).holds:
        return load
    middle = (1.0 + load) / 2
    return 1.0 if judging.group(group, middle, quick=True).holds else middle


# Pools of one role


def crew_factors(judging: Judging, columns: Columns, crew: Crew) -> Iterator[tuple[int, float]]:
    """The same for the pools of a crew that fails: those whose growth makes its limits hold."""
    relieved = _relieved(judging, crew)
    for before, after in zip(crew.groups, relieved.groups, strict=True):
        if after.count > before.count:
            own = columns.index(before)
            yield own, after.count / columns.replicas(own, before.rates) * _BELOW
            for c in columns.neighbours(before):
                yield c, _pool_factor(judging, columns, relieved, (after, c))


def _pool_factor(judging: Judging, columns: Columns, crew: Crew, place: tuple[Group, int]) -> float:
    """The same of a column in the place of a group of a crew that holds."""
    group, c = place
    need = columns.replicas(c, group.rates)
    other = columns.group(group, c, max(1, math.ceil(need - 1e-9)), group.rates)
    trial = Crew(tuple(other if member is group else member for member in crew.groups))
    if judging.crew(trial, quick=True).holds:
        return 1.0
    grown = _grown_to_hold(judging, trial, [other]) or _grown(trial, [other], _MOST_REPLICAS)
    return grown.groups[trial.groups.index(other)].count / need * _BELOW


def _relieved(judging: Judging, crew: Crew) -> Crew:
    """The crew with as many more replicas as its limits need, in one kind of pool if that is
    enough; in all of them, with the most that are tried, if nothing is."""
    failed = judging.crew(crew).failed
    assert failed is not None
    for roles in _SIDES[failed["metric"]]:
        side = [g for g in crew.groups if g.replica.role in roles]
        grown = _grown_to_hold(judging, crew, side)
        if grown is not None:
            return grown
    return _grown(crew, crew.groups, _MOST_REPLICAS)


def _grown_to_hold(judging: Judging, crew: Crew, side: Sequence[Group]) -> Crew | None:
    """The crew with the fewest more replicas of some pools with which its limits surely hold; None
    if no number does."""
    best = _grown(crew, side, _MOST_REPLICAS)
    if not judging.crew(best, quick=True).surely_holds:
        return None
    low, high = 1.0, float(_MOST_REPLICAS)
    while high / low > 1.0 + _FINE:
        middle = math.sqrt(low * high)
        trial = _grown(crew, side, middle)
        if _counts(trial) == _counts(best):
            high = middle
        elif judging.crew(trial, quick=True).surely_holds:
            best, high = trial, middle
        else:
            low = middle
    return best


def _grown(crew: Crew, side: Sequence[Group], times: float) -> Crew:
    def one(group: Group) -> Group:
        if not any(group is member for member in side):
            return group
        return replace(group, count=math.ceil(group.count * times - 1e-9))

    return Crew(tuple(one(group) for group in crew.groups))


def _counts(crew: Crew) -> list[int]:
    return [group.count for group in crew.groups]
