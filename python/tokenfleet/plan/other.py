"""The best plan at another confidence, and whether the model's error leaves the choice open."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from tokenfleet.files.plain import finite
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solver.highs import relative_gap
from tokenfleet.plan.by_block import PlanNumbers
from tokenfleet.plan.known_rows import KnownModel, OtherAnswer, Provenance, Undecided
from tokenfleet.plan.provenance import provenance_rows
from tokenfleet.problem import Built


def other_answer(
    found: MixResult, built: Built, other: MixResult | None, apart: Built
) -> OtherAnswer:
    """The `other` mix, of the problem `apart`, in a few figures beside the one that was `found`.

    A plan that keeps its limits at a confidence keeps them at the expectation, where everything is
    as fast or faster. So the answer at the expectation is never a worse plan than the one found:
    where the search there ended with one (`other`), or with none, it is that one.
    """
    expected = apart.loaded.scenario.sure is None
    if expected and (other is None or _better(found, other)):
        return _answer(found, apart, bound=math.nan if other is None else other.bound, same=True)
    if other is None:
        return _no_answer(apart)
    undecided = _undecided(found, built, other, apart)
    return _answer(other, apart, bound=other.bound, undecided=undecided)


def _better(found: MixResult, other: MixResult) -> bool:
    sign = found.problem.objective.goal.sign
    return sign * found.value < sign * other.value


def _answer(
    mix: MixResult,
    apart: Built,
    *,
    bound: float,
    same: bool = False,
    undecided: Undecided | None = None,
) -> OtherAnswer:
    systems = _systems(mix)
    gpus = {pool.system: pool.gpus_per_system for pool in mix.problem.pools}
    return OtherAnswer(
        confidence=apart.loaded.scenario.sure,
        same_plan=same,
        objective_value=mix.value,
        gap=finite(relative_gap(mix.value, bound)),
        annual_cost_usd=mix.annual_cost_usd,
        gpus=sum(count * gpus[system] for system, count in systems.items()),
        systems=systems,
        undecided=undecided,
    )


def _no_answer(apart: Built) -> OtherAnswer:
    """There is no plan at the other confidence, or none was found in the time."""
    return OtherAnswer(
        confidence=apart.loaded.scenario.sure,
        same_plan=False,
        objective_value=None,
        gap=None,
        annual_cost_usd=None,
        gpus=None,
        systems={},
        undecided=None,
    )


def _undecided(found: MixResult, built: Built, other: MixResult, apart: Built) -> Undecided | None:
    """The two choices and the runs between them, where each has a system type of its own."""
    ours, theirs = _systems(found), _systems(other)
    taken = sorted(ours.keys() - theirs.keys())
    instead = sorted(theirs.keys() - ours.keys())
    if not taken or not instead:
        return None
    known = (*provenance_rows(built, found), *provenance_rows(apart, other))
    measure = tuple(_measure(known, {*taken, *instead}))
    return Undecided(taken=tuple(taken), instead=tuple(instead), measure=measure)


def _systems(mix: MixResult) -> dict[str, int]:
    """Systems by type, at the peak over the load blocks."""
    found: dict[str, int] = defaultdict(int)
    for o, counts in PlanNumbers(mix).systems.items():
        found[mix.problem.pools[mix.problem.offers[o].pool].system] += round(max(counts))
    return {system: count for system, count in sorted(found.items()) if count > 0}


def _measure(known: Iterable[Provenance], systems: set[str]) -> Iterable[str]:
    """Runs on the system types in question, the least known first."""
    rows: Mapping[tuple[str, str], tuple[Provenance, KnownModel]] = {
        (row.system, model.model): (row, model)
        for row in known
        if row.system in systems
        for model in row.models
    }
    ranked = sorted(rows.items(), key=lambda item: (-_width(item[1][1]), item[0]))
    for (system, model), (row, facts) in ranked:
        runs = "no run is known" if not facts.runs else f"{facts.runs} runs are known"
        under = row.what.rsplit(" under ", 1)[-1]
        yield (
            f"{model} on {system} under {under}, TPOT, TTFT and output tokens/s at the plan's "
            f"batch ({runs}; rates within {facts.capacity_interval80_pct:.0f} % in four of five)"
        )


def _width(model: KnownModel) -> float:
    return model.capacity_interval80_pct
