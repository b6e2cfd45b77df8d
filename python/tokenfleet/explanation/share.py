"""At which price an offer takes a tenth, or half, of the fleet.

The first system may enter at one price and the tenth part of the fleet only at a much lower one.
Of offers and system types the share is of accelerator-hours, of a hosted API of the output tokens
of its workload. The plans on the way are asked of `reach`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokenfleet.explanation.flip import Flip, Target
from tokenfleet.explanation.reach import Mover, Reached, reach
from tokenfleet.explanation.study import Answer, Bound, Study
from tokenfleet.mix.model import Label
from tokenfleet.problem_data import SECONDS_PER_HOUR, Api, Flow, Systems

SHARES = (0.1, 0.5)
_FREE = 1.0  # the discount at which it costs nothing
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Taken:
    """The least discount at which a best plan gives the target so much; None: not for nothing."""

    share: float
    found: Reached[Answer]


def taken(study: Study, target: Target, flipped: Flip) -> Iterator[Taken]:
    """Each share of a target whose flip price is known; of a goal that is a ratio none is asked.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    plan, without, target = flipped.answer, flipped.beside, flipped.target
    if study.problem.objective.goal.per is not None or plan is None or without is None:
        return
    if flipped.discount is None or flipped.low >= _FREE:
        return
    mine, every = amounts(study, target)
    mover = Mover.of(study, target.spend, without)
    for share in SHARES:
        row = _row(target, share, mine, every)
        holds = Bound(f"hold {target.kind} {target.name}", target.amount, True, target.least)
        if _keeps(plan, row):
            yield Taken(share, Reached(flipped.discount, flipped.low, flipped.how, plan))
            continue
        yield Taken(share, reach(mover, without, _FREE, rows=(holds, row)))


def amounts(study: Study, target: Target) -> tuple[dict[Label, float], dict[Label, float]]:
    """What the target takes, and what there is, by column: accelerator-hours or output tokens."""
    problem, m = study.problem, study.systems
    if target.kind == "api":
        workload = problem.apis[target.apis[0]].workload
        every = _tokens(study, workload)
        mine = {la: a for la, a in every.items() if la in target.amount}
        return mine, every
    every = {
        la: problem.pools[problem.offers[la.offer].pool].gpus_per_system
        * problem.scopes[la.scope].hours
        for la in m.of(Systems)
    }
    return {la: a for la, a in every.items() if la in target.amount}, every


def _tokens(study: Study, workload: int) -> dict[Label, float]:
    """Output tokens a year of a workload by column: served by replicas and by APIs."""
    problem, m = study.problem, study.model
    hours = [block.counted_hours for block in problem.blocks]
    output = problem.workloads[workload].output_tokens
    found: dict[Label, float] = {}
    for flow in m.of(Flow):
        candidate = problem.candidates[flow.candidate]
        if candidate.workload == workload and candidate.role != "prefill":
            found[flow] = hours[flow.block] * SECONDS_PER_HOUR * float(output[flow.cls])
    for api in m.of(Api):
        if problem.apis[api.api].workload == workload:
            found[api] = hours[api.block] * SECONDS_PER_HOUR * float(output[api.cls])
    return found


def _row(
    target: Target, share: float, mine: Mapping[Label, float], every: Mapping[Label, float]
) -> Bound:
    """What the target takes is at least its share of what there is."""
    scale = max(every.values(), default=1.0) or 1.0
    weights = {la: -share * a / scale for la, a in every.items()}
    for la, a in mine.items():
        weights[la] = weights.get(la, 0.0) + a / scale
    return Bound(f"{share:g} of {target.kind} {target.name}", weights, True, 0.0)


def _keeps(plan: Answer, row: Bound) -> bool:
    total = sum(a * plan.values.get(la, 0.0) for la, a in row.weights.items())
    size = sum(abs(a) * plan.values.get(la, 0.0) for la, a in row.weights.items())
    return size > 0 and total >= -_ROUNDING * size
