"""The best plan at another confidence, and whether the model's error leaves the choice open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from tokenfleet.mix.result import MixResult
from tokenfleet.plan.by_block import PlanNumbers
from tokenfleet.plan.provenance import provenance_rows
from tokenfleet.plan.rows import KnownModel, OtherAnswer, Provenance, Undecided
from tokenfleet.problem import Built


def other_answer(found: MixResult, built: Built, other: MixResult, apart: Built) -> OtherAnswer:
    """The `other` mix, of the problem `apart`, in a few figures beside the one that was `found`."""
    ours, theirs = _systems(found), _systems(other)
    taken = sorted(ours.keys() - theirs.keys())
    instead = sorted(theirs.keys() - ours.keys())
    undecided = None
    if taken and instead:
        known = (*provenance_rows(built, found), *provenance_rows(apart, other))
        measure = tuple(_measure(known, {*taken, *instead}))
        undecided = Undecided(taken=tuple(taken), instead=tuple(instead), measure=measure)
    gpus = {pool.system: pool.gpus_per_system for pool in other.problem.pools}
    return OtherAnswer(
        confidence=apart.loaded.scenario.sure,
        objective_value=other.value,
        annual_cost_usd=other.annual_cost_usd,
        gpus=sum(count * gpus[system] for system, count in theirs.items()),
        systems=theirs,
        undecided=undecided,
    )


def no_other_answer(apart: Built) -> OtherAnswer:
    """There is no plan at the other confidence, or none was found in the time."""
    return OtherAnswer(
        confidence=apart.loaded.scenario.sure,
        objective_value=None,
        annual_cost_usd=None,
        gpus=None,
        systems={},
        undecided=None,
    )


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
