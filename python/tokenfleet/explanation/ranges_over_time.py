"""Between which prices a plan over time stays the best, and its first orders do, with all else as
it is.

What is ordered now is what has to be decided now: its range is the wider one, for later orders may
change with the price while the first ones stay. Both are ends of a walk along the edge of what
plans cost over the price (`edge_over_time`), at all dates alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.edge_over_time import Corner, Edge
from tokenfleet.explanation.moving_over_time import Target, targets_about
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import FirstOrders, PriceRange

_PAID = 1e-9  # of the cost, below which nothing is paid
_ROUNDING = 1e-6  # of the cost
_FAR = 1000.0  # times the price, where a plan that is still the best stays so


def ranges_over_time(
    asked: OverTime, about: About = EVERYTHING, ask: Ask = plainly
) -> Iterator[PriceRange]:
    """The ranges of every price that the plan pays and that is asked about."""
    for target in targets_about(asked, about):
        found = ask(f"range of the price of {target.name}", partial(range_over_time, target))
        if found is not None:
            yield found


def range_over_time(target: Target) -> PriceRange | None:
    """The range of one price; None where the plan pays nothing by it.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    moving = target.moving
    asked, edge = moving.asked, Edge(moving)
    base = asked.base
    if moving.paid(base) <= _PAID * abs(base.value):
        return None

    def ends(same: Callable[[Found], bool], orders: bool) -> tuple[Corner, Corner]:
        kept = _all_first_orders(asked) if orders else None
        return edge.stays(0.0, same, kept), edge.stays(_FAR, same, kept)

    whole = ends(lambda _: False, orders=False)
    first = ends(lambda plan: plan.first_orders == base.first_orders, orders=True)
    low, high = whole
    return PriceRange(
        kind=target.kind,
        name=target.name,
        field=None,
        low_factor=low.at,
        high_factor=None if high.beyond is None else high.at,
        price=target.stated,
        unit=target.unit,
        systems_below={} if low.beyond is None else dict(low.beyond.systems),
        systems_above={} if high.beyond is None else dict(high.beyond.systems),
        first_orders=_first_orders(*first),
        within=_share(*whole, *first),
        how=edge.how(*whole, *first),
    )


def _first_orders(low: Corner, high: Corner) -> FirstOrders:
    return FirstOrders(
        low_factor=low.at,
        high_factor=None if high.beyond is None else high.at,
        below={} if low.beyond is None else dict(low.beyond.first_orders),
        above={} if high.beyond is None else dict(high.beyond.first_orders),
    )


def _share(*corners: Corner) -> float:
    """How much dearer than the best a plan is at most, where that is more than rounding."""
    most = max(corner.within for corner in corners)
    return most if most > _ROUNDING else 0.0


def _all_first_orders(asked: OverTime) -> dict[tuple[int, int], float]:
    """Orders of the first period of everything that can be ordered, none as well."""
    return {at: n for at, n in asked.base.result.orders_now().items() if at[0] == 0}
