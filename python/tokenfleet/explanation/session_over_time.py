"""Parts of an explanation of a plan over time, one after the other."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.explanation import over_time
from tokenfleet.explanation.about import About
from tokenfleet.explanation.as_rows import concession_row, measure_row, route_rows
from tokenfleet.explanation.asking import Ask, T
from tokenfleet.explanation.crossover_over_time import CrossoverOverTime
from tokenfleet.explanation.flip_over_time import flips_over_time
from tokenfleet.explanation.inputs_over_time import inputs_over_time
from tokenfleet.explanation.measure_over_time import stakes_over_time
from tokenfleet.explanation.menu_over_time import menu_over_time
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.parts import (
    KEYS,
    MAY_BE_SMALLER,
    NO_INTERVALS,
    ONE_WAY,
    UNPROVEN,
    Part,
    Watch,
    incomplete,
)
from tokenfleet.explanation.ranges_over_time import ranges_over_time
from tokenfleet.explanation.repair_over_time import (
    conflict_over_time,
    promises_over_time,
    repairs_over_time,
)
from tokenfleet.explanation.rows import (
    BreakEven,
    Explanation,
    FlipInput,
    Limit,
    PriceRange,
    RepairSet,
    RoutePoint,
    ToMeasure,
    Worth,
)
from tokenfleet.explanation.study import WITHIN, HardSolveError, OutOfTimeError
from tokenfleet.explanation.sweep_over_time import tornado_over_time
from tokenfleet.explanation.worth_over_time import limits_over_time
from tokenfleet.files.plain import finite
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.solver.highs import relative_gap
from tokenfleet.problem.required import require_candidates

#: Parts whose rows stand in this order, whatever order they are found in.
_MOST_FIRST: Mapping[str, Callable[[Any], float]] = {
    "tornado": lambda row: -row.swing,
    "measure": lambda row: -row.value,
}
_NO_ENERGY = "the energy price that flips something is not asked of a horizon this large"
_NO_RANGES = "how far prices may move is not asked of a horizon this large: its gap hides it"
_NO_PREMIUM = "premiums of precisions are of one year"


@dataclass
class SessionOverTime:
    """What was found so far."""

    asked: OverTime
    about: About
    watch: Watch | None
    found: dict[str, list[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    def explained(self, parts: Sequence[Part], begun: float) -> Explanation:
        """All parts, one after the other, until the time is over."""
        asked, goal = self.asked, self.asked.problem.objective
        base = _base(asked, needed="repairs" not in parts)
        self._work(parts, base)
        if asked.risk.counts_the_bad:
            self.notes.append(_weighed(asked.risk))
        gap = None if base is None else relative_gap(base.value, base.bound)
        proven = gap is None or gap <= asked.gap
        if not proven:
            self.notes.insert(0, UNPROVEN)
        for part, most in _MOST_FIRST.items():
            self.found.get(part, []).sort(key=most)
        parts_found: dict[str, Any] = {name: tuple(of) for name, of in self.found.items()}
        return Explanation(
            name=asked.problem.name,
            objective=goal.kind,
            objective_unit=over_time.UNIT,
            objective_value=None if base is None else base.value,
            plan_value=None if asked.plan is None else asked.plan.objective_value,
            bound=None if base is None else finite(base.bound),
            gap=None if gap is None else finite(gap),
            proven=proven,
            notes=tuple(self.notes),
            interrupted=self.interrupted,
            solves=asked.solves,
            seconds=time.perf_counter() - begun,
            **parts_found,
        )

    def _work(self, parts: Sequence[Part], base: Found | None) -> None:
        """Parts one after the other; of what has no plan, how it could have one."""
        makers = self._makers() if base is not None else self._ways_out()
        left = list(makers) if base is None else [part for part in parts if part in makers]
        try:
            while left:
                rows = self.found.setdefault(KEYS.get(left[0], left[0]), [])
                for row in _answered(makers[left[0]], left[0], self.notes):
                    rows.append(row)
                    if self.watch is not None:
                        self.watch(f"{left[0]} over time", self.asked.solves)
                left.pop(0)
        except (KeyboardInterrupt, OutOfTimeError) as error:
            self.interrupted = True
            stopped = isinstance(error, KeyboardInterrupt)
            why = "stopped by the user" if stopped else getattr(error, "message", "")
            self.notes.append(incomplete(why, left))

    def _ask(self, what: str, question: Callable[[], T]) -> T | None:
        """The answer to one question; where a solve of it was too hard, a note."""
        if self.watch is not None:
            self.watch(f"{what}, over time", self.asked.solves)
        try:
            return question()
        except HardSolveError as error:
            self.notes.append(f"{what} is not answered: {error.message}")
            return None

    def _worth(self) -> Iterator[Worth]:
        yield from self.asked.worths(self.about, self._ask)
        yield from limits_over_time(self.asked, self.about, self._ask)

    def _ranges(self) -> Iterator[PriceRange]:
        if self.asked.part is None:
            yield from ranges_over_time(self.asked, self.about, self._ask)
        else:
            self.notes.append(_NO_RANGES)

    def _inputs(self) -> Iterator[FlipInput]:
        if self.asked.part is not None:
            self.notes.append(_NO_ENERGY)
        self.notes.append(_NO_PREMIUM)
        yield from inputs_over_time(self.asked, self.about, self._ask)

    def _makers(self) -> dict[str, Callable[[], Iterator[Any]]]:
        asked, about, notes = self.asked, self.about, self.notes
        catalog = asked.built.loaded.catalog
        systems = {pool.system for pool in asked.problem.pools}
        vendors = {name: str(catalog.system(name).vendor) for name in systems}
        met = self.found.setdefault("break_even", [])
        return {
            "worth": self._worth,
            "flip": partial(flips_over_time, asked, about, self._ask),
            "ranges": self._ranges,
            "inputs": self._inputs,
            "menu": partial(menu_over_time, asked, vendors, self._ask),
            "tornado": partial(tornado_over_time, asked, about, self._ask),
            "crossover": partial(_crossover, asked, met, notes, self._ask),
            "measure": partial(_measure, asked, about, notes, self._ask),
        }

    def _ways_out(self) -> dict[str, Callable[[], Iterator[Any]]]:
        return {
            "conflict": partial(_conflict, self.asked, self.notes),
            "repairs": partial(_repairs, self.asked, self._ask),
        }


def _answered(part: Callable[[], Iterator[Any]], name: str, notes: list[str]) -> Iterator[Any]:
    """The rows of a part; a solve that is too hard for its own time ends the part with a note."""
    try:
        yield from part()
    except SolverError as error:
        if isinstance(error, OutOfTimeError) and not isinstance(error, HardSolveError):
            raise
        notes.append(incomplete(error.message, [name]))


def _base(asked: OverTime, *, needed: bool) -> Found | None:
    """The best plan of a scenario over time; None where there is none and none is needed.

    Raises:
        InfeasibleError: there is none, and it says what is short in which period.
    """
    try:
        return asked.base
    except InfeasibleError:
        if needed:
            require_candidates(asked.built)
            raise asked.why_none() from None
        return None


def _conflict(asked: OverTime, notes: list[str]) -> Iterator[Limit]:
    try:
        require_candidates(asked.built)
    except InfeasibleError as error:
        notes.append(error.message)
    found = conflict_over_time(asked)
    if not found.minimal:
        notes.append(MAY_BE_SMALLER)
    for c in found.limits:
        yield Limit(what=c.words, where=c.where, limit=c.limit, unit=c.unit)


def _repairs(asked: OverTime, ask: Ask) -> Iterator[RepairSet]:
    promised = promises_over_time(asked, ask) if asked.part is None else ()
    for repaired in itertools.chain(repairs_over_time(asked, ask=ask), promised):
        plan = repaired.plan
        yield RepairSet(
            concessions=tuple(map(concession_row, repaired.concessions)),
            objective_value=plan.value,
            annual_cost_usd=plan.result.levelised_usd_per_year,
            systems=dict(plan.systems),
            how=plan.how if repaired.proven else WITHIN,
        )


def _crossover(
    asked: OverTime, met: list[BreakEven], notes: list[str], ask: Ask
) -> Iterator[RoutePoint]:
    routes = CrossoverOverTime(asked, ask)
    if not routes.names:
        notes.append(ONE_WAY)
    yield from route_rows(routes, met)


def _measure(asked: OverTime, about: About, notes: list[str], ask: Ask) -> Iterator[ToMeasure]:
    if asked.built.specification is None:
        notes.append(NO_INTERVALS)
    yield from map(measure_row, stakes_over_time(asked, about, ask))


def _weighed(risk: Risk) -> str:
    """What the figures are of, where the bad futures count for more."""
    return (
        f"each figure is {risk.mean_share:.0%} of the mean over the futures and {risk.weight:.0%} "
        f"of their worst {1.0 - risk.alpha:.0%}; a plan's own levelised cost is the mean"
    )
