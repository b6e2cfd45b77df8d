"""Break-even: where one way to get tokens becomes cheaper than another.

Routes are buying alone, renting for each term alone, on demand alone and hosted APIs alone, beside
the best mix of all. Each is planned at several volumes (times the demand), and at several
utilisations: the peak demand for a share u of the year and nothing for the rest, so that what is
owned is paid for all year and what is paid by the hour or the token only while it is used.

The least cost is a staircase of the volume, so two routes may cross several times: every change of
sign on the grid is narrowed down, by the secant (exact where both are straight) and by halves.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from tokenfleet.errors import SolverError
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.study import HardSolveError, Study
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.mix.why.routes import MIX
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import HOURS_PER_YEAR, Block, ByBlock, Problem, mean_price

Axis = Literal["volume", "utilisation"]
VOLUMES = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
UTILISATIONS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_STEPS = 40
_NEAR = 1e-6  # of the axis, and of the cost, at which a crossing is found


@dataclass(frozen=True)
class RouteCost:
    """What one route costs at one point; None where it cannot serve the demand."""

    axis: Axis
    at: float
    route: str
    usd: float | None
    usd_per_mtok_output: float | None
    how: HowGot


@dataclass(frozen=True)
class Crossing:
    """Where two routes cost the same; `jump` where one leaps over the other."""

    axis: Axis
    at: float
    cheaper_below: str
    cheaper_above: str
    jump: bool


@dataclass(frozen=True)
class Planned:
    """What the best plan of a route costs at a point, and the output tokens that it serves."""

    usd: float
    tokens_per_year: float
    how: HowGot


class Routes(ABC):
    """Costs of routes, each point solved once."""

    steps = _STEPS  # at most, to narrow a crossing down
    near = _NEAR  # of the axis, and of the cost, at which it is found

    def __init__(
        self, names: Iterable[str], problem: Problem, how: HowGot, ask: Ask = plainly
    ) -> None:
        """`how` says how far the best plan is proven.

        Raises:
            SolverError: demand is free.
        """
        if any(w.free for w in problem.workloads):
            raise SolverError("break-even is of a stated demand, and the scenario's is free", "")
        self.names = list(names)
        self.how = how
        self.ask = ask
        self._known: dict[tuple[Axis, float, str], Planned | HardSolveError | None] = {}

    @abstractmethod
    def _planned(self, axis: Axis, at: float, route: str) -> Planned | None:
        """The best plan of a route at a point; None where it cannot serve the demand."""

    def table(self, axis: Axis, grid: Sequence[float]) -> Iterator[RouteCost]:
        """The cost of each route at each point of the grid."""
        for at in grid:
            for route in self.names:
                question = partial(self._cost, axis, at, route)
                row = self.ask(f"{route} at {at:g} of the {axis}", question)
                if row is not None:
                    yield row

    def _cost(self, axis: Axis, at: float, route: str) -> RouteCost:
        found = self._solved(axis, at, route)
        usd = None if found is None else found.usd
        served = 0.0 if found is None else found.tokens_per_year
        how = self.how if found is None else found.how
        per = None if usd is None or served <= 0 else usd * 1e6 / served
        return RouteCost(axis, at, route, usd, per, how)

    def crossings(self, axis: Axis, grid: Sequence[float]) -> Iterator[Crossing]:
        """Every change of the cheaper of two routes between neighbours of the grid."""
        names = [name for name in self.names if name != MIX]
        for i, first in enumerate(names):
            for second in names[i + 1 :]:
                for low, high in itertools.pairwise(grid):
                    what = f"{first} against {second} from {low:g} to {high:g} of the {axis}"
                    question = partial(self._between, axis, (first, second), low, high)
                    crossing = self.ask(what, question)
                    if crossing is not None:
                        yield crossing

    def _between(
        self, axis: Axis, pair: tuple[str, str], low: float, high: float
    ) -> Crossing | None:
        def apart(at: float) -> float | None:
            a, b = (self._solved(axis, at, name) for name in pair)
            return None if a is None or b is None else a.usd - b.usd

        f_low, f_high = apart(low), apart(high)
        if f_low is None or f_high is None or f_low * f_high >= 0:
            return None
        at, jump = _root(apart, (low, f_low), (high, f_high), self.steps, self.near)
        below, above = pair if f_low < 0 else pair[::-1]
        return Crossing(axis, at, below, above, jump)

    def _solved(self, axis: Axis, at: float, route: str) -> Planned | None:
        """The plan of a route at a point, solved once, also where that is too hard."""
        key = (axis, at, route)
        if key not in self._known:
            try:
                self._known[key] = self._planned(axis, at, route)
            except HardSolveError as error:
                self._known[key] = error
        found = self._known[key]
        if isinstance(found, HardSolveError):
            raise found
        return found


class Crossover(Routes):
    """Costs of the routes of one year."""

    def __init__(self, study: Study, routes: Mapping[str, Problem], ask: Ask = plainly) -> None:
        super().__init__(routes, study.problem, study.base.how, ask)
        self.study, self.routes = study, routes

    def _planned(self, axis: Axis, at: float, route: str) -> Planned | None:
        found = self.study.again(at_point(self.routes[route], axis, at))
        if found is None:
            return None
        tokens = tokens_per_year(found.problem, found.values, "output")
        return Planned(found.annual_cost_usd, tokens, found.how)


def at_point(problem: Problem, axis: Axis, at: float) -> Problem:
    """The problem at a volume or a utilisation."""
    return at_volume(problem, at) if axis == "volume" else at_utilisation(problem, at)


def _root(
    apart: Callable[[float], float | None],
    low: tuple[float, float],
    high: tuple[float, float],
    steps: int,
    near: float,
) -> tuple[float, bool]:
    """Where a function changes its sign, and whether it leaps there."""
    size = max(abs(low[1]), abs(high[1]))
    width = near * (high[0] - low[0])
    for step in range(steps):
        if high[0] - low[0] <= width:
            break
        at = low[0] - low[1] * (high[0] - low[0]) / (high[1] - low[1])
        if step % 3 == 2 or not low[0] < at < high[0]:  # a secant may creep along a staircase
            at = (low[0] + high[0]) / 2
        found = apart(at)
        if found is None:
            break
        if abs(found) <= near * size:
            return at, False
        if found * low[1] > 0:
            low = (at, found)
        else:
            high = (at, found)
    return (low[0] + high[0]) / 2, True


def at_volume(problem: Problem, factor: float) -> Problem:
    """The problem with so many times the demand."""
    workloads = tuple(replace(w, demand_rps=w.demand_rps * factor) for w in problem.workloads)
    return replace(problem, workloads=workloads)


def at_utilisation(problem: Problem, share: float) -> Problem:
    """The problem with its peak demand for a share of the year and nothing for the rest.

    Prices that differ by load block become their mean over the year; a loss of a site must be
    survived at the peak.
    """
    lost = [block for block in problem.blocks if block.lost_site >= 0]
    hours = [block.hours for block in problem.blocks]
    busy = [Block(HOURS_PER_YEAR * share), Block(HOURS_PER_YEAR * (1.0 - share))]
    blocks = [block for block in busy if block.hours > 0]
    demand = [1.0, 0.0][: len(blocks)] + [1.0] * len(lost)

    def mean(price: ByBlock) -> float:
        return mean_price(price, hours)

    workloads = tuple(
        replace(w, demand_rps=np.outer(demand, w.demand_rps.max(axis=0))) for w in problem.workloads
    )
    pools = tuple(
        replace(
            q,
            energy_usd_per_kwh_it=mean(q.energy_usd_per_kwh_it),
            carbon_usd_per_kwh_it=mean(q.carbon_usd_per_kwh_it),
            water_usd_per_kwh_it=mean(q.water_usd_per_kwh_it),
        )
        for q in problem.pools
    )
    offers = tuple(
        replace(o, hourly_usd=mean(o.hourly_usd), billed_per_hour=1.0) for o in problem.offers
    )
    weights = np.array(hours) / max(math.fsum(hours), 1e-9)
    apis = tuple(
        replace(a, cost_usd_per_request=_mean_of(a.costs(len(hours)), weights))
        for a in problem.apis
    )
    return replace(
        problem, blocks=(*blocks, *lost), workloads=workloads, pools=pools, offers=offers, apis=apis
    )


def _mean_of(costs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over the blocks; infinite where any block is (a price of 0 hours does not count)."""
    counted = weights > 0
    return np.asarray((costs[counted] * weights[counted, None]).sum(axis=0))
