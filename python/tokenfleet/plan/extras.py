"""What a plan shows beside the mix: promises, provenance, what was left out, warnings."""

from __future__ import annotations

from tokenfleet.mix.result import MixResult
from tokenfleet.plan.from_mix import Extras
from tokenfleet.plan.match import origin_of
from tokenfleet.plan.promises import slo_rows
from tokenfleet.plan.provenance import (
    confidence_warnings,
    gpus_by_system,
    inherited_warnings,
    provenance_rows,
    quality_warnings,
)
from tokenfleet.plan.rows import NotConsidered
from tokenfleet.problem import Built


def extras(built: Built, result: MixResult, seconds: float) -> Extras:
    """What the plan shows beside the mix."""
    provenance = provenance_rows(built, result)
    dropped = dict(built.never_built)
    for counts in built.counts.values():
        for reason, count in counts.items():
            if reason not in ("evaluated", "usable"):
                dropped[reason] = dropped.get(reason, 0) + count
    return Extras(
        candidates_evaluated=built.evaluated,
        candidates_kept=len(built.problem.candidates),
        seconds=seconds,
        slo=slo_rows(built, result),
        provenance=provenance,
        not_considered=tuple(
            NotConsidered(what=n.what, reason=n.reason) for n in built.not_considered
        ),
        confidence=built.loaded.scenario.confidence,
        warnings=(
            *(str(w) for w in built.loaded.warnings),
            *confidence_warnings(built.loaded.scenario.confidence),
            *inherited_warnings(provenance, gpus_by_system(result)),
            *quality_warnings(built, result),
        ),
        dropped=dropped,
        origin=origin_of(built.loaded, built.specification),
        configurations=built.origins,
    )
