"""A sweep: the scenario planned again at every setting of one or two inputs; and the tornado."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.case import Case
from tokenfleet.explanation.knobs import Knob, Turnable, knob, sensible, turned
from tokenfleet.explanation.rows import SweepPoint
from tokenfleet.explanation.study import (
    PROVEN,
    WITHIN,
    Answer,
    HardSolveError,
    Study,
    systems_by_offer,
)
from tokenfleet.files.frames import Columns
from tokenfleet.files.plain import finite
from tokenfleet.files.whole import whole_file
from tokenfleet.mix.model import Label
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.plan.explored import HowGot, Swing
from tokenfleet.problem.build import Progress
from tokenfleet.problem_data import Api, Flow, Problem, Systems

_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER}):(\d+)")
_LIST = re.compile(rf"{_NUMBER}(?:\s*,\s*{_NUMBER})*")
_MOST = 10_000  # points of a sweep
SWING = 0.2  # of a tornado, each way


@dataclass(frozen=True)
class Varied:
    """An input and its settings."""

    knob: Knob
    factors: tuple[float, ...]


def parse(case: Turnable, text: str) -> Varied:
    """`demand=0.5..2:7` (seven settings, evenly apart) or `price.h100-buy=0.8,1,1.2`.

    Raises:
        SchemaError: no such input, or no numbers above zero.
    """
    name, _, given = text.partition("=")
    found = _RANGE.fullmatch(given.strip())
    factors: tuple[float, ...] = ()
    if found:
        low, high, count = float(found[1]), float(found[2]), min(int(found[3]), _MOST + 1)
        steps = max(count - 1, 1)
        factors = tuple(low + (high - low) * i / steps for i in range(count))
    elif _LIST.fullmatch(given.strip()):
        factors = tuple(float(part) for part in given.split(","))
    if len(factors) > _MOST:
        number = int(found[3]) if found else len(factors)
        raise _too_many(f"--vary {text}", number)
    if not factors or not all(0 < f < 1e6 for f in factors):
        raise SchemaError(
            f"--vary {text}: should be an input and factors above zero",
            "write demand=0.5..2:7, or tariff=0.8,1,1.2",
        )
    return Varied(knob(case, name.strip()), factors)


def points(
    case: Case, varied: Sequence[Varied], progress: Progress | None = None
) -> Iterator[SweepPoint]:
    """One row for each setting; with two inputs the second turns fastest.

    `mix_changed` marks a point whose systems differ from those of the setting before it. A setting
    that is too hard for the time of one solve says so, and is passed over there.
    """
    before: dict[str, int] | None = None
    start = None
    for of, is_first in settings(varied, progress):
        if is_first:
            before = None
        try:
            found = case.study.again(turned(case, of), start)
        except HardSolveError:
            yield without_plan(said(of), feasible=None)
            continue
        point = _point(case, said(of), found, before)
        before, start = dict(point.systems), None if found is None else found.values
        yield point


Settings = dict[Knob, float]


def _too_many(what: str, number: int) -> SchemaError:
    """A sweep that nobody would wait for: each of its settings is planned."""
    return SchemaError(
        f"{what}: {number:,} settings, and each is planned; at most {_MOST:,} are",
        "write fewer settings, as demand=0.5..2:7",
    )


def settings(
    varied: Sequence[Varied], progress: Progress | None = None
) -> Iterator[tuple[Settings, bool]]:
    """Every setting in turn, and whether none before it compares with it.

    Raises:
        SchemaError: no input, more than two, one twice, or too many settings.
    """
    if not 1 <= len(varied) <= 2 or len({v.knob for v in varied}) != len(varied):
        raise SchemaError("--vary: give one or two different inputs", "give --vary once or twice")
    number = math.prod(len(v.factors) for v in varied)
    if number > _MOST:
        raise _too_many("--vary", number)
    every = list(itertools.product(*(enumerate(v.factors) for v in varied)))
    for done, row in enumerate(every):
        if progress is not None:
            progress(done, len(every))
        yield {v.knob: f for v, (_, f) in zip(varied, row, strict=True)}, row[-1][0] == 0


def said(of: Settings) -> dict[str, float]:
    """Factors by input as it is written."""
    return {str(knob): factor for knob, factor in of.items()}


def _point(
    case: Case, factors: dict[str, float], found: Answer | None, before: dict[str, int] | None
) -> SweepPoint:
    if found is None:
        return without_plan(factors, feasible=False, mix_changed=bool(before))
    sign, problem = case.study.sign, found.problem
    output = tokens_per_year(problem, found.values, "output")
    systems = systems_by_offer(problem, found.values)
    gpus = {o.id: problem.pools[o.pool].gpus_per_system for o in problem.offers}
    return SweepPoint(
        factors=factors,
        feasible=True,
        objective_value=sign * found.loss,
        bound=finite(sign * found.bound),
        annual_cost_usd=found.annual_cost_usd,
        cost_per_mtok_output_usd=found.annual_cost_usd * 1e6 / output if output > 0 else None,
        gpus=sum(count * gpus[offer] for offer, count in systems.items()),
        systems=systems,
        api_share=_api_share(problem, found.values),
        mix_changed=before is not None and before != systems,
        how=found.how,
    )


def _api_share(problem: Problem, values: Mapping[Label, float]) -> float | None:
    """Share of the requests of a year that hosted APIs serve; None: none are served."""
    by_api = own = 0.0
    for label, rate in values.items():
        if isinstance(label, Api):
            by_api += rate * problem.blocks[label.block].hours
        elif isinstance(label, Flow) and problem.candidates[label.candidate].role != "prefill":
            own += rate * problem.blocks[label.block].hours
    served = by_api + own
    return by_api / served if served > 0 else None


def without_plan(
    factors: dict[str, float], *, feasible: bool | None, mix_changed: bool = False
) -> SweepPoint:
    """A setting for which there is no plan, or (`feasible` None) none was found in time."""
    return SweepPoint(
        factors=factors, feasible=feasible, objective_value=None, bound=None,
        annual_cost_usd=None, cost_per_mtok_output_usd=None, gpus=0, systems={},
        mix_changed=mix_changed, how=WITHIN if feasible is None else PROVEN,
    )  # fmt: skip


def tornado(case: Case, ask: Ask = plainly) -> Iterator[Swing]:
    """Each input that the plan rests on, 20 % lower and higher, one at a time."""
    for turned_knob in sensible(case, _used(case.study)):
        swing = ask(f"20 % of {turned_knob}", partial(_swing, case, turned_knob))
        if swing is not None:
            yield swing


def _used(study: Study) -> set[str]:
    """Names of what today's best plan has: supplies, system types, sites, hosted APIs."""
    problem, used = study.problem, set[str]()
    for label in study.base.values:
        if isinstance(label, Systems):
            offer = problem.offers[label.offer]
            pool = problem.pools[offer.pool]
            used |= {offer.supply_group, pool.system, problem.sites[pool.site].id}
        elif isinstance(label, Api):
            used.add(problem.apis[label.api].id)
    return used


def _swing(case: Case, knob: Knob) -> Swing:
    study, problem, base = case.study, case.study.problem, case.study.base
    today = systems_by_offer(problem, base.values)
    ends = [study.again(turned(case, {knob: f})) for f in (1 - SWING, 1 + SWING)]
    values = [None if end is None else study.sign * end.loss for end in ends]
    mixes = [end is None or systems_by_offer(problem, end.values) != today for end in ends]
    hows = [end.how for end in (base, *ends) if end is not None]
    return swing_of(knob, study.sign * base.loss, values, mixes, hows)


def swing_of(
    knob: Knob,
    today: float,
    values: Sequence[float | None],
    mixes: Sequence[bool],
    hows: Iterable[HowGot],
) -> Swing:
    """The row of an input: values and whether the mix changes, with less of it and with more."""
    known = [v for v in (*values, today) if v is not None]
    return Swing(
        input=str(knob),
        by=SWING,
        value_low=values[0],
        value_high=values[1],
        swing=max(known) - min(known),
        mix_changes_low=mixes[0],
        mix_changes_high=mixes[1],
        how=PROVEN if set(hows) == {PROVEN} else WITHIN,
    )


def check_table(path: Path) -> None:
    """Refuses an ending that no table has, before anything is solved.

    Raises:
        SchemaError: it is none of .parquet, .csv, .arrow and .json.
    """
    if path.suffix.lower() != ".json":
        from tokenfleet.tables.sink import check_ending  # noqa: PLC0415 (an extra)

        check_ending(path)


def write_points(points: Sequence[SweepPoint], path: Path) -> None:
    """Rows as .parquet, .csv or .json; systems as text.

    Raises:
        SchemaError: another ending.
    """
    rows = [_flat(point) for point in points]
    ending = path.suffix.lower()
    check_table(path)
    if ending == ".json":
        with whole_file(path) as file:
            file.write((json.dumps(rows, indent=2, allow_nan=False) + "\n").encode())
        return
    import pyarrow as pa  # noqa: PLC0415 (an extra)

    from tokenfleet.tables.sink import open_sink  # noqa: PLC0415

    table = pa.table(Columns.of(rows))
    with whole_file(path) as file, open_sink(file, ending, table.schema) as sink:
        sink.write(table)


def _flat(point: SweepPoint) -> dict[str, Any]:
    plain = point.model_dump(mode="json")
    counted = {
        name: ", ".join(f"{n} {offer}" for offer, n in plain.pop(name).items())
        for name in ("systems", "first_orders")
    }
    return {**plain.pop("factors"), **plain, **counted}
