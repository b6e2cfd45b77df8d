"""Repairs in which a promise gives way beside limits, or beside another promise.

Where a promise alone is not enough, however far it gives way, and no limits alone are, both may be:
a first token that no layout gives in time, and too little power for those that come near it. Each
promise, and then each two of them, is given as far as it goes; the limits that must give way beside
it are found as without it (`repair`), but for sets that are enough without the promise. Then the
promise is taken back to the first step with which those limits still suffice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.promises import Promise
from tokenfleet.explanation.repair import (
    Concession,
    Key,
    Repaired,
    conceded_of,
    elastic_of,
    keys_of,
)
from tokenfleet.explanation.study import Answer, Study
from tokenfleet.mix.why.infeasible import repair_of
from tokenfleet.problem_data import Problem

#: Which try of each promise is made, by their numbers.
Tries = Mapping[int, int]
#: The problem with these tries; None where nothing can serve it.
ProblemOf = Callable[[Tries], Problem | None]


@dataclass
class Mixed:
    """A problem without a plan, and its promises."""

    study: Study
    promises: Sequence[Promise]
    problem_of: ProblemOf = field(repr=False)
    #: Sets that are enough: promises by number, and limits.
    known: list[tuple[frozenset[int], frozenset[Key]]] = field(default_factory=list)

    def know(self, sets: Sequence[Repaired]) -> None:
        """Tells it sets that are enough: of limits alone, or of one promise."""
        named = {(p.what.family, p.what.where): i for i, p in enumerate(self.promises)}
        for repaired in sets:
            keys = keys_of(repaired)
            given = frozenset(named[key] for key in keys if key in named)
            self.known.append((given, frozenset(key for key in keys if key not in named)))

    def sets(self, at_most: int, ask: Ask = plainly) -> Iterator[Repaired]:
        """Sets of one promise with limits, then of two promises with limits or without."""
        numbers = range(len(self.promises))
        for size in (1, 2):
            for given in itertools.combinations(numbers, size):
                if at_most <= 0:
                    return
                words = " and ".join(
                    f"{self.promises[i].what.words} of {self.promises[i].what.where}" for i in given
                )
                found = ask(f"what may give way beside {words}", partial(self._beside, given))
                for repaired in (found or ())[:at_most]:
                    at_most -= 1
                    yield repaired

    def _beside(self, given: tuple[int, ...]) -> list[Repaired]:
        """Minimal sets with these promises."""
        if any(not limits and promises <= set(given) for promises, limits in self.known):
            return []
        tries = {i: len(self.promises[i].tried) - 1 for i in given}
        problem = self.problem_of(tries)
        if problem is None:
            return []
        found: list[Repaired] = []
        if len(given) > 1 and self.study.again(problem) is not None:
            repaired = self._tightened(tries, frozenset(), {})
            self.known.append((frozenset(given), frozenset()))
            return [] if repaired is None else [repaired]
        elastic = elastic_of(self.study.other(problem))
        for promises, limits in self.known:
            if promises <= set(given) and limits <= elastic.gives.keys():
                elastic.forbid(limits)
        while (next_set := elastic.next()) is not None:
            self.known.append((frozenset(given), next_set.used))
            if self._is_needed(given, next_set.used):
                concessions = {
                    key: conceded_of(problem, elastic.keys[key], next_set.slack)
                    for key in next_set.used
                }
                repair = repair_of(problem, next_set.slack)
                assert repair is not None
                if not any(w.demand_rps.any() for w in repair.loosened.workloads):
                    continue
                repaired = self._tightened(tries, next_set.used, concessions, repair.loosened)
                if repaired is not None:
                    found.append(repaired)
        return found

    def _is_needed(self, given: tuple[int, ...], limits: frozenset[Key]) -> bool:
        """Whether no promise of them could be kept, were these limits to give way without end."""
        for without in itertools.combinations(given, len(given) - 1):
            tries = {i: len(self.promises[i].tried) - 1 for i in without}
            problem = self.problem_of(tries)
            if problem is not None and elastic_of(self.study.other(problem)).is_enough(limits):
                return False
        return True

    def _tightened(
        self,
        tries: Tries,
        limits: frozenset[Key],
        concessions: Mapping[Key, Concession],
        loosened: Problem | None = None,
    ) -> Repaired | None:
        """The set with each promise taken back as far as the limits allow, and its best plan."""
        best = dict(tries)
        plan: tuple[Answer, Problem] | None = None
        for i in tries:
            low, high = -1, best[i]  # nothing is enough at `low`, there is a plan at `high`
            while high - low > 1:
                middle = (low + high) // 2
                found = self._plan({**best, i: middle}, loosened)
                if found is None:
                    low = middle
                else:
                    high, plan = middle, found
            best[i] = high
        plan = self._plan(best, loosened) if plan is None or len(tries) > 1 else plan
        if plan is None:
            return None
        given = [self.promises[i].conceded(best[i]) for i in sorted(best)]
        return Repaired((*given, *(concessions[key] for key in sorted(limits))), *plan)

    def _plan(self, tries: Tries, loosened: Problem | None) -> tuple[Answer, Problem] | None:
        problem = self.problem_of(tries)
        if problem is not None and loosened is not None:
            problem = _with_limits(problem, loosened)
        plan = None if problem is None else self.study.again(problem)
        return None if problem is None or plan is None else (plan, problem)


def _with_limits(problem: Problem, loosened: Problem) -> Problem:
    """A problem with the limits and the demand of another of the same scenario."""
    workloads = tuple(
        replace(mine, demand_rps=other.demand_rps)
        for mine, other in zip(problem.workloads, loosened.workloads, strict=True)
    )
    supply = {offer.id: offer.supply for offer in loosened.offers}
    rates = {api.id: api.max_rps for api in loosened.apis}
    return replace(
        problem,
        workloads=workloads,
        sites=loosened.sites,
        offers=tuple(replace(o, supply=supply.get(o.id, o.supply)) for o in problem.offers),
        apis=tuple(replace(a, max_rps=rates.get(a.id, a.max_rps)) for a in problem.apis),
        objective=loosened.objective,
    )
