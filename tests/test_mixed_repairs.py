"""Sets in which promises give way beside limits: all minimal ones, by trying every one."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from test_explain import OPTIONS
from tiny_mix import Tiny, random_tiny
from tokenfleet.explanation.mixed_repairs import Mixed, Tries
from tokenfleet.explanation.promises import Promise
from tokenfleet.explanation.repair import Concession, Key, keys_of, repairs
from tokenfleet.explanation.study import Study
from tokenfleet.problem_data import Problem

STEPS = 3  # tries of each promise; eleven systems of any kind are enough for any demand here


@dataclass(frozen=True)
class Promised:
    """A tiny problem in which a kind may be used only where two promises give way so many steps;
    0: as they are."""

    tiny: Tiny
    needs: tuple[tuple[int, int], ...]  # by kind

    def at(self, tries: Tries) -> Tiny:
        steps = [tries.get(i, -1) + 1 for i in (0, 1)]
        kinds = tuple(
            kind if all(s >= n for s, n in zip(steps, need, strict=True)) else replace(kind, most=0)
            for kind, need in zip(self.tiny.kinds, self.needs, strict=True)
        )
        return replace(self.tiny, kinds=kinds)

    def problem(self, tries: Tries) -> Problem | None:
        """Kinds that may not be used have no layout."""
        usable = [kind.most > 0 for kind in self.at(tries).kinds]
        problem = self.tiny.problem()
        candidates = [c for c in problem.candidates if usable[int(c.system[3:])]]
        if not candidates:
            return None
        kept = tuple(replace(c, id=i) for i, c in enumerate(candidates))
        return replace(problem, candidates=kept)

    def is_enough(self, promises: frozenset[int], limits: frozenset[Key]) -> bool:
        """Whether there is a plan where these give way without end."""
        tiny = self.at(dict.fromkeys(promises, STEPS - 1))
        if ("demand", "w") in limits:
            return True
        if ("power", "s") in limits:
            tiny = replace(tiny, power_kw=math.inf)
        kinds = tuple(
            replace(kind, most=11) if ("supply", f"o{o}") in limits and kind.most else kind
            for o, kind in enumerate(tiny.kinds)
        )
        return math.isfinite(replace(tiny, kinds=kinds).least())


def random_promised(seed: int) -> Promised:
    rng = np.random.default_rng(seed)
    for again in itertools.count():
        tiny = random_tiny(1000 * again + seed, tight=True)
        tiny = replace(tiny, power_kw=float(rng.integers(8, 40)))
        needs = tuple((int(a), int(b)) for a, b in rng.integers(0, STEPS + 1, (3, 2)))
        found = Promised(tiny, needs)
        if found.problem({}) is not None and not math.isfinite(found.at({}).least()):
            return found
    raise AssertionError


PROMISES = [
    Promise(Concession(f"{name} limit", "w", 0.0, "ms", 100.0), [{}] * STEPS,
            [100.0 * (i + 2) for i in range(STEPS)])
    for name in ("TTFT", "TPOT")
]  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_sets_with_promises_are_all_those_that_are_minimal(seed: int) -> None:
    case = random_promised(seed)
    start = case.problem({})
    assert start is not None
    study = Study(start, OPTIONS)
    limits = [("demand", "w"), ("power", "s"), *(("supply", f"o{o}") for o in range(3))]
    things = [*range(2), *limits]
    minimal: list[frozenset[object]] = []
    for n in range(1, len(things) + 1):
        for chosen in map(frozenset, itertools.combinations(things, n)):
            given = frozenset(x for x in chosen if isinstance(x, int))
            enough = case.is_enough(given, frozenset(x for x in chosen if not isinstance(x, int)))
            if enough and not any(known <= chosen for known in minimal):
                minimal.append(chosen)
    asked = Mixed(study, PROMISES, case.problem)
    asked.know(list(repairs(study, at_most=9)))
    for i in range(2):
        if case.is_enough(frozenset({i}), frozenset()):
            asked.known.append((frozenset({i}), frozenset()))
    alone = {frozenset({i}) for i in range(2)}
    found = list(asked.sets(99))
    names = {("TTFT limit", "w"): 0, ("TPOT limit", "w"): 1}
    sets = [frozenset(names.get(key, key) for key in keys_of(row)) for row in found]
    wanted = {s for s in minimal if any(isinstance(x, int) for x in s)} - alone
    assert len(set(sets)) == len(sets) and set(sets) == wanted
    for row, given in zip(found, sets, strict=True):
        tries = {
            i: round(c.after / 100.0) - 2
            for c in row.concessions
            if (i := names.get((c.family, c.where))) is not None
        }
        tiny = case.at(tries)
        for c in row.concessions:
            if c.family == "power":
                tiny = replace(tiny, power_kw=c.after)
            if c.family == "supply":
                kinds = list(tiny.kinds)
                kinds[int(c.where[1:])] = replace(kinds[int(c.where[1:])], most=round(c.after))
                tiny = replace(tiny, kinds=tuple(kinds))
        assert row.plan.annual_cost_usd == pytest.approx(tiny.least(), rel=1e-6), (seed, given)
        for i, step in tries.items():  # a step less of a promise is not enough
            less = replace(
                tiny,
                kinds=tuple(
                    k if kept.most else replace(k, most=0)
                    for k, kept in zip(
                        tiny.kinds, case.at({**tries, i: step - 1}).kinds, strict=True
                    )
                ),
            )
            assert not math.isfinite(less.least()), (seed, given)
