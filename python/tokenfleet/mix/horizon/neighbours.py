"""A plan over a horizon improved one site, and a few periods, at a time.

Rounding up leaves a part of a replica and of a system to spare in every period at every site, and
HiGHS hardly moves such a plan: a model of thousands of whole numbers is too much for it. With all
whole numbers held but those of one site in all periods, or of all sites in one period, it is small;
what is given up there flows where there is room. Sites are opened one after another, then periods,
again until none of them helps. Two sites and two periods at a time follow, then more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TypeAlias

import pulp

from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model.index import CHOSEN
from tokenfleet.mix.model.stock import node_of
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.search.neighbourhood import solve_around
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.problem_data import (
    AtRisk,
    Held,
    NodeCost,
    Ordered,
    Placed,
    Systems,
    Tail,
    Unmet,
)

_PART = 0.7  # of the whole numbers, beyond which a neighbourhood is nearly the whole model
_FINER = 20.0  # times finer than the wanted gap a neighbourhood is solved: its part of the cost is
_GAIN = 0.002  # of the wanted gap, below which a neighbourhood did not help

_OF_ALL = (*CHOSEN, Unmet)  # of no site, or of no period

Column: TypeAlias = tuple[int, int, pulp.LpVariable]  # site, period


def improve(m: FleetModel, effort: Effort, best: Incumbent) -> None:
    """Better plans from the one in hand, until the gap is reached or no neighbourhood helps.

    Raises:
        KeyboardInterrupt: Ctrl-C before a solve; one in a solve ends the search.
    """
    columns = list(_whole(m))
    for around in _rounds(columns):
        helped = True
        while helped:
            helped = False
            for free in around:
                if best.plan is None or best.done() or effort.left() <= 0:
                    return
                before = best.value
                held = [v for site, t, v in columns if (site, t) not in free]
                solve_around(m, effort, best, held, gap=effort.gap / _FINER)
                helped |= abs(best.value - before) > _GAIN * effort.gap * abs(before)


def _rounds(columns: Sequence[Column]) -> Iterator[list[frozenset[Hashable]]]:
    """Neighbourhoods, the smaller first: (site, period) whose whole numbers are free in each."""
    size: dict[tuple[int, int], int] = defaultdict(int)
    for site, t, _ in columns:
        size[site, t] += 1
    sites, periods = sorted({s for s, _ in size}), sorted({t for _, t in size})
    for together in range(1, max(len(sites), len(periods))):
        of_sites = (_cells(size, chosen, periods) for chosen in _next_to(sites, together))
        of_periods = (_cells(size, sites, chosen) for chosen in _next_to(periods, together))
        most = _PART * len(columns)
        found = [
            free
            for free in dict.fromkeys([*of_sites, *of_periods])
            if 0 < sum(size[cell] for cell in free) <= most
        ]
        if not found:
            return
        yield list(found)


def _cells(
    size: dict[tuple[int, int], int], sites: Iterable[int], periods: Iterable[int]
) -> frozenset[tuple[int, int]]:
    return frozenset((s, t) for s in sites for t in periods if (s, t) in size)


def _next_to(found: Sequence[int], together: int) -> list[Sequence[int]]:
    """So many that are next to each other, each time half of them new."""
    step = max(together // 2, 1)
    last = max(len(found) - together, 0)
    return [found[i : i + together] for i in sorted({*range(0, last, step), last})]


def _whole(m: FleetModel) -> Iterator[Column]:
    """Whole columns with the site and the period that they are decided in; what a choice says of
    all of them stays free."""
    for label, v in m.columns.items():
        if v.cat == pulp.LpInteger and not isinstance(label, _OF_ALL) and v.upBound != 0.0:
            pool = getattr(label, "pool", None)
            if pool is None:
                assert isinstance(label, Systems | Ordered | Held | Placed)
                pool = m.problem.offers[label.offer].pool
            yield m.problem.pools[pool].site, period_of(m, label), v


def period_of(m: FleetModel, label: Label) -> int:
    """The period in which a number is decided."""
    horizon = m.problem.horizon
    assert horizon is not None
    if isinstance(label, AtRisk | Tail | Unmet):
        return horizon.periods - 1
    if isinstance(label, NodeCost):
        return horizon.nodes[label.node].period
    return horizon.nodes[node_of(m.problem, label)].period
