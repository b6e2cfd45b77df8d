"""Answers as the rows of an explanation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from tokenfleet.explanation import repair
from tokenfleet.explanation.crossover import UTILISATIONS, VOLUMES, Axis, Routes
from tokenfleet.explanation.flip import Flip, Target
from tokenfleet.explanation.measure import Stake
from tokenfleet.explanation.rows import (
    BreakEven,
    Concession,
    FlipInput,
    Premium,
    RoutePoint,
    ToMeasure,
)
from tokenfleet.explanation.shift import Shift
from tokenfleet.files.plain import finite


def concession_row(c: repair.Concession) -> Concession:
    """A limit that gives way."""
    return Concession(what=c.words, where=c.where, before=c.limit, after=c.after, unit=c.unit)


def route_rows(routes: Routes, met: list[BreakEven]) -> Iterator[RoutePoint]:
    """What each route costs on either axis; where two cost the same goes to `met`."""
    grids: dict[Axis, Sequence[float]] = {"utilisation": UTILISATIONS, "volume": VOLUMES}
    for axis, grid in grids.items():
        for row in routes.table(axis, grid):
            yield RoutePoint(
                axis=axis, at=row.at, route=row.route, annual_cost_usd=row.usd,
                cost_per_mtok_output_usd=row.usd_per_mtok_output, how=row.how,
            )  # fmt: skip
        for found in routes.crossings(axis, grid):
            met.append(
                BreakEven(
                    axis=axis, at=found.at, cheaper_below=found.cheaper_below,
                    cheaper_above=found.cheaper_above, jump=found.jump,
                )
            )  # fmt: skip


def measure_row(stake: Stake) -> ToMeasure:
    """What is at stake in a figure that is not known well."""
    return ToMeasure(
        system=stake.figure.system,
        workload=stake.figure.workload,
        interval80_pct=100.0 * math.expm1(stake.figure.half_width),
        known=stake.figure.known,
        runs=stake.figure.runs,
        value=stake.value,
        worst=finite(stake.worst),
        changes=stake.changes,
        how=stake.how,
    )


def input_row(shift: Shift) -> FlipInput:
    """The energy price, speed or term at which something enters or leaves the best plan."""
    return FlipInput(
        kind=shift.target.kind,
        name=shift.target.name,
        input=shift.input,
        chosen=shift.chosen,
        now=shift.now,
        at=shift.at,
        not_yet=None if shift.not_yet is None else finite(shift.not_yet),
        unit="years" if shift.input == "term" else "times today's",
        systems=dict(shift.plan),
        how=shift.how,
    )


def premium_row(target: Target, found: Flip) -> Premium:
    """What a number format is worth to the best plan."""
    never = not found.possible or (found.discount is None and not found.needed)
    verdict = verdict_of(replace(found, low=0.0))  # a premium has no most, as a discount has
    return Premium(
        name=target.name,
        chosen=found.chosen,
        verdict="never" if never else verdict,
        premium_usd_per_mtok_output=None if never or found.needed else found.discount,
        premium_low=None if never or found.needed else finite(found.low),
        systems_with=dict(found.plan),
        systems_without=dict(found.without),
        how=found.how,
    )


def verdict_of(found: Flip) -> Literal["enters", "leaves", "always", "never"]:
    """Whether something enters or leaves the best plan at some price."""
    if found.needed:
        return "always"
    if not found.possible or found.discount is None or found.low >= 1.0:
        return "never"
    return "leaves" if found.chosen else "enters"
