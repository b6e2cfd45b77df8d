"""What to measure next, over time: what it costs not to know a figure when the first orders go out.

As of one year (`measure`), but only the orders of the first period are signed before the truth
shows: they stand, more may be ordered in that period too, and whatever comes later is decided
knowing the truth, over all futures. The money at stake is

    sum of weight * (least cost with the first orders placed - least cost knowing the truth)

so a figure whose truth would change later orders alone is worth nothing yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.case import unsure
from tokenfleet.explanation.measure import End, Stake, Unsure, at_load, stake_of
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.study import PROVEN
from tokenfleet.problem_data import Horizon


def stakes_over_time(
    asked: OverTime, about: About = EVERYTHING, ask: Ask = plainly
) -> Iterator[Stake]:
    """The money at stake of each figure that is asked about, USD a year, levelised."""
    for figure in unsure(asked.built):
        if about(figure.system) or about(figure.workload):
            what = f"the throughput of {figure.workload} on {figure.system}"
            stake = ask(what, partial(stake_over_time, asked, figure))
            if stake is not None:
                yield stake


def stake_over_time(asked: OverTime, figure: Unsure) -> Stake:
    """The money at stake of one figure."""
    base = asked.base
    truths = (_truth(asked.tree, figure, side) for side in (-1.0, 1.0))
    ends = [end for truth in truths if (end := _end(asked, truth)) is not None]
    noise = 2.0 * asked.options.gap * abs(base.value)
    return stake_of(figure, ends, noise, proven=base.how == PROVEN)


def _end(asked: OverTime, truth: Horizon) -> End | None:
    """What the truth costs those who did not know it; None where there would be no plan at all, and
    knowing it sooner does not help."""
    free, first = asked.tried(truth), asked.base.orders_first
    if free is None:
        return None
    changes = free.first_orders != asked.base.first_orders
    held: Found | None = free
    if any(free.orders_first.get(at, 0.0) < count for at, count in first.items()):
        held = asked.tried(truth, at_least=first)
    regret = math.inf if held is None else held.value - free.value
    return End(regret, changes, proven={free.how, (held or free).how} == {PROVEN})


def _truth(tree: Horizon, figure: Unsure, side: float) -> Horizon:
    """The tree in which a workload takes more or less of a system type, at one end of what is
    known."""
    load = math.exp(side * figure.half_width)
    nodes = (replace(node, problem=at_load(node.problem, figure, load)) for node in tree.nodes)
    return replace(tree, nodes=tuple(nodes))
