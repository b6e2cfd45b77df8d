"""A plan improved a few sites at a time.

Rounding up leaves a fraction of a replica and of a system to spare at every site. Two sites are
opened at a time: their replicas and systems may change and all flows with them, while whole numbers
elsewhere stay as they are. What the two give up flows where there is room, which takes a small
model. Neighbours in canonical order come first, then sites further apart, until as many in turn as
there are sites have helped nothing; four at a time follow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import pulp

from tokenfleet.mix.model import FleetModel
from tokenfleet.mix.model.index import CHOSEN, WHOLE
from tokenfleet.mix.search.bounds import Bounds, bounded
from tokenfleet.mix.search.incumbent import Incumbent
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import bound_of, run
from tokenfleet.problem_data import Systems

_PART = 4  # of the sites at most one in so many are opened: more is nearly the whole model
_SIZES = (2, 4)  # sites opened at a time
_LEAST_S = 2.0  # for one neighbourhood
_SHARE = 0.05  # of the time left, for one neighbourhood
_WIDTH = 32  # of what a whole column may be beside the plans that are known


def improve(m: FleetModel, effort: Effort, best: Incumbent) -> None:
    """Better plans from the one in hand, until the gap is reached or no neighbourhood helps.

    Raises:
        KeyboardInterrupt: Ctrl-C before a solve; one in a solve ends the search.
    """
    columns = whole_columns(m)
    if best.plan is None:
        return
    for size in (size for size in _SIZES if size * _PART <= len(columns)):
        in_vain = 0
        for free in _together(list(columns), size):
            if best.done() or effort.left() <= 0 or in_vain == len(columns):
                break
            before = best.value
            held = [v for site, found in columns.items() if site not in free for v in found]
            solve_around(m, effort, best, held, gap=effort.gap / 4)
            in_vain = in_vain + 1 if best.value == before else 0


def solve_around(
    m: FleetModel,
    effort: Effort,
    best: Incumbent,
    held: Sequence[pulp.LpVariable],
    *,
    gap: float,
) -> None:
    """The model with the plan's numbers for the columns held."""
    assert best.plan is not None
    plan = dict(best.plan)
    kept = [(v, float(round(plan.get(v.name, 0.0)))) for v in held]
    limit = min(max(_LEAST_S, _SHARE * effort.left()), effort.left())
    narrow = effort.within(limit, gap=gap)
    with bounded([(v, number, number) for v, number in kept]):
        best.take(run(m.prob, narrow, start=plan, target=best.target()), whole=False)


def near(m: FleetModel, *plans: Mapping[str, float]) -> list[Bounds]:
    """Narrower bounds for whole columns: from the plans' least number to their largest, and
    `_WIDTH` and two roots of it beyond.

    At each relaxation of a root HiGHS tells, for every number that a whole column may be, the value
    at which it is ruled out. Columns that may be thousands take most of a short search by that,
    and a plan is hardly ever so far from the relaxation.
    """
    found: list[Bounds] = []
    for v in m.columns.values():
        if v.cat == pulp.LpInteger and v.upBound != 0.0:
            numbers = [plan.get(v.name, 0.0) for plan in plans]
            least, most = math.floor(min(numbers)), math.ceil(max(numbers))
            low = max(bound_of(v.lowBound, -math.inf), least - _beyond(least))
            up = min(bound_of(v.upBound, math.inf), most + _beyond(most))
            found.append((v, low, up))
    return found


def _beyond(number: float) -> float:
    return _WIDTH + math.ceil(2.0 * math.sqrt(max(number, 0.0)))


def whole_columns(m: FleetModel) -> dict[int, list[pulp.LpVariable]]:
    """Whole columns by site, sites in canonical order."""
    found: dict[int, list[pulp.LpVariable]] = {}
    places = {p: m.problem.pools[p].site for p in m.order.pools}
    for site in places.values():
        found.setdefault(site, [])
    for label, v in m.columns.items():
        if isinstance(label, WHOLE) and not isinstance(label, CHOSEN) and v.upBound != 0.0:
            p = getattr(label, "pool", None)
            if p is None and isinstance(label, Systems):
                p = m.problem.offers[label.offer].pool
            if p is not None:
                found[places[p]].append(v)
    return {site: columns for site, columns in found.items() if columns}


def _together(sites: list[int], size: int) -> Iterator[frozenset[int]]:
    """So many sites at a time, without end: those next to each other, then those further apart."""
    for apart in itertools.cycle(range(1, len(sites))):
        for first in range(len(sites)):
            yield frozenset(sites[(first + apart * j) % len(sites)] for j in range(size))
