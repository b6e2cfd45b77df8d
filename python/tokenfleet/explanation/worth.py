"""What one more of something is worth: the limit is moved by whole steps and the plan solved again.

A dual is no answer where systems are whole: it is zero for power that is short by half a system.
So each limit is first taken away. If that saves nothing, no amount of more is worth anything, and
one solve has proven it. Else the steps follow: the power of one more system of each type, a rack, a
system; of each, what it saves and how much of it the new plan needs. A limit that binds is also
moved down by one step.

Of a problem that is searched in part each step leaves a gap, so larger steps have nothing to add;
where the gap is wider than what the whole limit is worth, the relaxations alone are asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.in_part import is_in_part
from tokenfleet.explanation.rows import Step, Worth, step_between
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Study
from tokenfleet.files.plain import finite
from tokenfleet.mix.model import Label
from tokenfleet.mix.model.family import ALL, Family, StatedLimit
from tokenfleet.mix.model.limits import FAMILIES
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.mix.why.infeasible import UnboundedError
from tokenfleet.plan.by_block import PlanNumbers, PlanUsage
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Problem

_LADDER = (1, 2, 5)  # steps tried where one is not enough to save anything
_MOST_STEPS = 4
_MW = 1000.0  # kW
_DEMAND = 0.01  # share of the demand that is added
_SAME = 1e-9  # of the value
_UNSEEN = 2e-6  # of the value, to which relaxations of problems in part are solved


@dataclass(frozen=True)
class Moved:
    """A change that is no limit of the mix: another latency limit in the scenario, say."""

    what: str
    where: str
    unit: str
    by: float
    limit: float | None
    problem: Callable[[], Problem | None]


def worths(
    study: Study,
    moves: Iterable[Moved] = (),
    about: About = EVERYTHING,
    cut: tuple[int, int] = (0, 1),
    ask: Ask = plainly,
) -> Iterator[Worth]:
    """The worth of every limit, of demand, of the reserve, and of further changes, as far as they
    are asked about; `cut` is which part of how many, for several that share them."""
    part, parts = cut
    for what, question in _questions(study, moves, about)[part::parts]:
        row = ask(f"worth of {what}", question)
        if row is not None:
            yield row


def _questions(
    study: Study, moves: Iterable[Moved], about: About
) -> list[tuple[str, Callable[[], Worth]]]:
    """A question for each worth, by what it is of, none of which needs the answer of another."""
    base, problem = study.base, study.problem
    use = PlanUsage(base, PlanNumbers(base))
    asked: list[tuple[str, Callable[[], Worth]]] = []
    for family in FAMILIES:
        if family.places is None or family.used is None or not family.field:
            continue
        for place in family.stated(problem):
            if about(place.name):
                used = float(family.used(use, place))
                what = f"{family.words} of {place.name}"
                asked.append((what, partial(_of_limit, study, family, place, used)))
    for w, workload in enumerate(problem.workloads):
        if about(workload.id) and not workload.free and workload.demand_rps.any():
            asked.append((f"demand of {workload.id}", partial(_of_demand, study, w)))
    if about(ALL) and len({pool.reserve for pool in problem.pools}) == 1:
        asked.append(("reserve", partial(_of_reserve, study)))
    return asked + [
        (f"{move.what} of {move.where}", partial(_of_move, study, move))
        for move in moves
        if about(move.where)
    ]


def _of_move(study: Study, move: Moved) -> Worth:
    changed = move.problem()
    found = None if changed is None else study.again(changed, study.base.values)
    return Worth(
        what=move.what, where=move.where, unit=move.unit, limit=move.limit, unlimited=None,
        steps=(_step(study, move.by, found, eases=True),),
    )  # fmt: skip


def _of_limit(study: Study, family: Family, place: StatedLimit, used: float) -> Worth:
    """Steps up, as far as they are worth anything, and one down where the limit binds."""
    sizes = sizes_of(study.problem, family, place)
    steps, gained = _more(study, family, place, sizes)
    hidden = gained is None and steps[0].how == "relaxation"
    if not hidden and used > place.limit - sizes[0] and place.limit >= sizes[0]:
        less = study.again(family.moved(study.problem, place, -sizes[0]))
        steps.insert(0, _step(study, -sizes[0], less, eases=False))
    return Worth(
        what=family.words,
        where=place.name,
        unit=family.unit.name,
        limit=place.limit,
        steps=tuple(steps),
        unlimited=gained,
    )


def _more(
    study: Study, family: Family, place: StatedLimit, sizes: Sequence[float]
) -> tuple[list[Step], float | None]:
    """Steps up, and what no limit at all would save; None where that has no end."""
    free = family.moved(study.problem, place, math.inf)
    relaxed = study.relaxed_worth(free)
    if relaxed is not None and not _saves(study, relaxed, _UNSEEN):
        high = finite(study.base.loss - study.base.bound + relaxed)
        return [_nothing(sizes[0], high, "relaxation")], 0.0
    if relaxed is not None and relaxed <= study.base.loss - study.base.bound:
        return [_hidden(study, family, place, sizes[0])], None
    try:
        unlimited = study.again(free, study.base.values)
    except UnboundedError:
        return _up(study, family, place, sizes, None), None
    if unlimited is None:
        return [_nothing(sizes[0], None, WITHIN)], None
    gained = study.base.loss - unlimited.loss
    if _saves(study, gained):
        return _up(study, family, place, sizes, unlimited), gained
    return [_nothing(sizes[0], study.base.loss - unlimited.bound, unlimited.how)], 0.0


def _saves(study: Study, worth: float, noise: float = _SAME) -> bool:
    return worth > noise * max(abs(study.base.loss), 1e-9)


def _up(
    study: Study,
    family: Family,
    place: StatedLimit,
    sizes: Sequence[float],
    unlimited: Answer | None,
) -> list[Step]:
    """Larger and larger steps, until one saves as much as no limit at all would; `unlimited` is
    the best plan then, if there is one."""
    steps: list[Step] = []
    most = math.inf if unlimited is None else study.base.loss - unlimited.loss
    start = study.base.values
    ladder = (sizes[0] * times for times in _LADDER) if study.part is None else ()
    tried = sorted({*sizes, *ladder})
    for by in tried[:_MOST_STEPS]:
        if steps and steps[-1].worth is not None and steps[-1].worth >= most * (1.0 - _SAME):
            break
        moved = family.moved(study.problem, place, by)
        found = study.again(moved, start, unlimited)
        enough = None
        if found is not None:
            start = found.values
            used = (
                float(family.used(PlanUsage(found, PlanNumbers(found)), place))
                if family.used
                else 0.0
            )
            enough = max(used - place.limit, 0.0)
        steps.append(_step(study, by, found, enough, eases=True))
    return steps


def _nothing(by: float, high: float | None, how: HowGot) -> Step:
    """A step that no plan without the limit is better than: its worth is known to be nothing."""
    high = None if high is None else finite(max(high, 0.0))
    return Step(by=by, worth=0.0, worth_low=0.0, worth_high=high, enough=None, how=how)


def _hidden(study: Study, family: Family, place: StatedLimit, by: float) -> Step:
    """A step of a limit that the gap of the plan hides even if it fell: its relaxation says more
    than a plan would."""
    relaxed = study.relaxed_worth(family.moved(study.problem, place, by))
    high = study.base.loss - study.base.bound + (relaxed or 0.0)
    return _nothing(by, high, "relaxation").model_copy(update={"relaxed": relaxed})


def _step(
    study: Study,
    by: float,
    found: Answer | None,
    enough: float | None = None,
    *,
    eases: bool | None = None,
) -> Step:
    """A change and what it saves; where it `eases` a limit, or tightens one, as in
    `step_between`."""
    base = study.base
    if found is None:
        return Step(by=by, worth=None, worth_low=None, worth_high=None, enough=None, how=base.how)
    return step_between(
        by,
        (base.loss, base.bound),
        (found.loss, found.bound),
        noise=max(_SAME, study.options.gap) * max(abs(base.loss), 1e-9),
        eases=eases,
        how=PROVEN if base.how == found.how == PROVEN else WITHIN,
        relaxed=study.relaxed_worth(found.problem),
        enough=enough,
    )


def sizes_of(problem: Problem, family: Family, place: StatedLimit) -> list[float]:
    """Natural steps of a limit, the smallest first."""
    if family.unit.whole:
        return [1.0]
    if family.name == "power":
        (s,) = place.rows
        utility = problem.sites[s].power_is_utility
        kw = {
            pool.provisioned_it_kw * (pool.pue if utility else 1.0)
            for pool in problem.pools
            if pool.site == s and not pool.hosted and pool.provisioned_it_kw > 0
        }
        if place.limit >= 2.0 * _MW:  # beside a hall's power a system's is within the gap
            return [_MW] if is_in_part(problem) else [min(kw, default=1.0), _MW]
        return sorted(kw) or [1.0]
    if family.name == "capex":
        return sorted({offer.capex_usd for offer in problem.offers if offer.capex_usd > 0}) or [1.0]
    return [max(place.limit, 1.0) / 100.0]


def _of_demand(study: Study, w: int) -> Worth:
    """One per cent more of a workload's demand: the cost of one more token."""
    problem = study.problem
    more = list(problem.workloads)
    more[w] = replace(more[w], demand_rps=more[w].demand_rps * (1.0 + _DEMAND))
    found = study.again(replace(problem, workloads=tuple(more)))
    marginal = None
    if found is not None and study.pays:
        before = tokens_per_year(problem, study.base.values, "output")
        added = tokens_per_year(found.problem, found.values, "output") - before
        usd = found.annual_cost_usd - study.base.annual_cost_usd
        marginal = usd * 1e6 / added if added > 0 else None
    return Worth(
        what="demand", where=problem.workloads[w].id, unit="%", limit=None, unlimited=None,
        steps=(_step(study, 100.0 * _DEMAND, found),), marginal_usd_per_mtok_output=marginal,
    )  # fmt: skip


def _of_reserve(study: Study) -> Worth:
    """One spare system of each used pool more, and one less."""
    problem = study.problem
    kept = problem.pools[0].reserve
    steps = []
    for by in (-1, 1) if kept else (1,):
        pools = tuple(replace(pool, reserve=kept + by) for pool in problem.pools)
        start: Mapping[Label, float] | None = study.base.values if by < 0 else None
        found = study.again(replace(problem, pools=pools), start)
        steps.append(_step(study, by, found, eases=by < 0))
    return Worth(
        what="reserve of each used pool", where=ALL, unit="systems", limit=kept, unlimited=None,
        steps=tuple(steps),
    )  # fmt: skip
