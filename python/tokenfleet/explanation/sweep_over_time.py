"""A sweep and a tornado over time: inputs turned at all dates alike, and the horizon planned again.

Values are levelised, USD a year. A mix is another where what is ordered in the first period
differs, or what is ordered at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.knobs import Knob, sensible
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import SweepPoint
from tokenfleet.explanation.study import HardSolveError
from tokenfleet.explanation.sweep import SWING, Varied, said, settings, swing_of, without_plan
from tokenfleet.files.plain import finite
from tokenfleet.plan.explored import Swing
from tokenfleet.problem.build import Progress
from tokenfleet.problem_data import Api, Systems


def points_over_time(
    asked: OverTime, varied: Sequence[Varied], progress: Progress | None = None
) -> Iterator[SweepPoint]:
    """One row for each setting; with two inputs the second turns fastest.

    `mix_changed` marks a point whose systems or first orders differ from those of the one before.
    """
    gpus = {o.id: asked.problem.pools[o.pool].gpus_per_system for o in asked.problem.offers}
    before: tuple[object, object] | None = None
    for of, is_first in settings(varied, progress):
        if is_first:
            before = None
        try:
            found = asked.turned(of)
        except HardSolveError:
            yield without_plan(said(of), feasible=None)
            continue
        bought = ({}, {}) if found is None else found.bought
        changed = before is not None and before != bought
        before = bought
        if found is None:
            yield without_plan(said(of), feasible=False, mix_changed=changed)
            continue
        yield SweepPoint(
            factors=said(of),
            feasible=True,
            objective_value=found.value,
            bound=finite(found.bound),
            annual_cost_usd=found.result.levelised_usd_per_year,
            cost_per_mtok_output_usd=found.usd_per_mtok_output,
            gpus=sum(count * gpus.get(offer, 0) for offer, count in found.systems.items()),
            systems=dict(found.systems),
            first_orders=found.first_orders,
            mix_changed=changed,
            how=found.how,
        )


def tornado_over_time(
    asked: OverTime, about: About = EVERYTHING, ask: Ask = plainly
) -> Iterator[Swing]:
    """Each input that the plan rests on, 20 % lower and higher at all dates, one at a time."""
    for turned in sensible(asked, _used(asked.base)):
        if not turned.which or about(turned.which):
            swing = ask(f"20 % of {turned}", partial(_swing, asked, turned))
            if swing is not None:
                yield swing


def _swing(asked: OverTime, knob: Knob) -> Swing:
    base = asked.base
    ends = [asked.turned({knob: factor}) for factor in (1 - SWING, 1 + SWING)]
    values = [None if end is None else end.value for end in ends]
    mixes = [end is None or end.bought != base.bought for end in ends]
    hows = [end.how for end in (base, *ends) if end is not None]
    return swing_of(knob, base.value, values, mixes, hows)


def _used(found: Found) -> set[str]:
    """Names of what a plan has in any period: supplies, system types, sites, hosted APIs."""
    problem, used = found.result.problem, set[str]()
    for label, amount in found.result.values.items():
        if isinstance(label, Systems) and amount > 0:
            offer = problem.offers[label.offer]
            pool = problem.pools[offer.pool]
            used |= {offer.supply_group, pool.system, problem.sites[pool.site].id}
        elif isinstance(label, Api) and amount > 0:
            used.add(problem.apis[label.api].id)
    return used
