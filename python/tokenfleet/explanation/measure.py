"""What to measure next: the figures whose true value could change what is bought.

The throughput of each model on each system type is known within an interval that holds 80 % of what
would be measured. Its ends and its middle stand for what a benchmark could show, with the weights
0.3, 0.4 and 0.3 (Swanson's rule for the 10th, 50th and 90th percentile). If the plan is signed now
and the truth shows later, systems that were bought stay, more may be bought at today's prices, and
requests are routed anew. The money at stake is

    sum of weight * (least cost with today's systems held - least cost knowing the truth)

which is what measuring first would save on average: never negative, and zero where the truth does
not change the decision. One figure at a time; the others stay as the model expects them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study, systems_by_offer
from tokenfleet.mix.model.index import Choice
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Problem, Systems

_WEIGHT = 0.3  # of either end


@dataclass(frozen=True)
class Unsure:
    """Throughput of one workload on one system type, with the half-width of its interval (log)."""

    system: str
    workload: str
    half_width: float
    known: str = ""
    runs: int = 0


@dataclass(frozen=True)
class Stake:
    """What not knowing a figure costs on average; `worst` in its worse end, inf where the plan
    could not be mended within its limits."""

    figure: Unsure
    value: float
    worst: float
    changes: bool  # whether knowing the truth would change what is bought
    how: HowGot


def stakes(study: Study, figures: Sequence[Unsure], ask: Ask = plainly) -> Iterator[Stake]:
    """The money at stake of each figure."""
    for figure in figures:
        what = f"{figure.workload} on {figure.system}"
        stake = ask(what, partial(_stake, study, figure))
        if stake is not None:
            yield stake


def _stake(study: Study, figure: Unsure) -> Stake:
    base = study.base
    today = systems_by_offer(study.problem, base.values)
    ends = []
    for side in (-1.0, 1.0):
        truth = at_load(study.problem, figure, math.exp(side * figure.half_width))
        free = study.again(truth, base.values if side < 0 else None)
        if free is None:  # there would be no plan at all: knowing it sooner does not help
            continue
        held = _held(study, truth, base)
        regret = math.inf if held is None else held.loss - free.loss
        changes = systems_by_offer(truth, free.values) != today
        ends.append(End(regret, changes, proven={free.how, (held or free).how} == {PROVEN}))
    noise = 2.0 * study.options.gap * abs(base.loss)
    return stake_of(figure, ends, noise, proven=base.how == PROVEN)


@dataclass(frozen=True)
class End:
    """The truth at one end of an interval: what it costs not to have known it."""

    regret: float  # inf where the plan could not be mended within its limits
    changes: bool  # whether it would change what is bought
    proven: bool


def stake_of(figure: Unsure, ends: Sequence[End], noise: float, *, proven: bool) -> Stake:
    """The money at stake of a figure; what is no more than `noise` is told apart from nothing by no
    solve."""
    regrets = [max(end.regret, 0.0) for end in ends]
    regrets = [regret if regret > noise else 0.0 for regret in regrets]
    return Stake(
        figure,
        value=sum(_WEIGHT * regret for regret in regrets if math.isfinite(regret)),
        worst=max(regrets, default=0.0),
        changes=any(end.changes for end in ends),
        how=PROVEN if proven and all(end.proven for end in ends) else WITHIN,
    )


def _held(study: Study, truth: Problem, base: Answer) -> Answer | None:
    """The best plan of the truth that pays for no fewer systems than today's, where they were
    bought: those that it does not use stand idle."""
    other = Study(truth, study.options)
    study.share(other)  # of the best plan its ratio, where the goal is one
    weights, constant = other.weights_beside(base)
    rows = []
    for label, count in base.values.items():
        if isinstance(label, Systems) and not _may_go(truth, label):
            idle = Choice("idle", f"{label.offer} {label.scope}")
            other.model.column(idle, count)
            weights[idle] = weights.get(label, 0.0)
            rows.append(Bound(f"keep {label.offer}", {label: 1.0, idle: 1.0}, True, count))
    return other.least(weights, constant, rows=rows)


def _may_go(problem: Problem, label: Systems) -> bool:
    """Whether the systems are paid for only while they are used."""
    return problem.pools[problem.offers[label.offer].pool].elastic


def at_load(problem: Problem, figure: Unsure, load: float) -> Problem:
    """The problem with so many times the load of a workload on a system type."""
    names = [w.id for w in problem.workloads]
    w = names.index(figure.workload)
    candidates = tuple(
        replace(c, load=c.load * load) if (c.system, c.workload) == (figure.system, w) else c
        for c in problem.candidates
    )
    return replace(problem, candidates=candidates)
