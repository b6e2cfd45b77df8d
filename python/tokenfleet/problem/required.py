"""What must exist before a mix can be solved: something that can serve each workload."""

from __future__ import annotations

from collections.abc import Mapping

from tokenfleet.errors import InfeasibleError
from tokenfleet.problem.allowed import supports
from tokenfleet.problem.attainable import best_limits
from tokenfleet.problem.build import Built
from tokenfleet.schema.formats import PLANNED

_REASONS = 8  # shown where nothing can be built


def require_candidates(built: Built) -> None:
    """Refuses a workload that no layout and no API can serve, with how many failed at what.

    Raises:
        InfeasibleError: names each such workload and its funnel.
    """
    problem = built.problem
    served = {c.workload for c in problem.candidates} | {a.workload for a in problem.apis}
    conflicts = []
    for w, workload in enumerate(problem.workloads):
        counts = built.counts.get(workload.id)
        if w in served or workload.shortfall_usd_per_request is not None:
            continue
        if not problem.pools and built.loaded.scenario.columns is None:
            conflicts.append(f"workload {workload.id}: {_without_systems(built)}")
            continue
        if built.specification is not None and built.specification.groups[w]:
            why = _without_layouts(built, w, counts) if counts else _without_formats(built, w)
            conflicts.append(f"workload {workload.id}: {why}")
    if conflicts:
        looks = "; ".join(str(w) for w in built.loaded.warnings[:3])
        hint = "loosen the limit, allow another system or precision, or add an API"
        raise InfeasibleError("; ".join(conflicts), conflicts, f"{hint}. {looks}".strip(". "))


def _without_layouts(built: Built, w: int, counts: Mapping[str, int]) -> str:
    """How many layouts failed at what, and the best that could be had."""
    assert built.specification is not None
    text = (
        f"of {counts['evaluated']:,} layouts that fit, {counts['ttft']:,} break a TTFT limit, "
        f"{counts['tpot']:,} a TPOT limit and {counts['e2e']:,} a whole-request limit even when "
        f"idle; {counts['memory']:,} more do not fit memory"
    )
    best = best_limits(built.specification, w) if counts["evaluated"] else []
    return f"{text}; the best that could be had: {', or '.join(best)}" if best else text


def _without_formats(built: Built, w: int) -> str:
    """Which formats the workload may use, and which the systems compute in."""
    assert built.specification is not None
    asked = built.specification.workloads[w].precisions
    rows = [built.loaded.catalog.system(s) for s in built.specification.systems]
    able = [p for p in PLANNED if any(supports(row, p) for row in rows)]
    return (
        f"no system computes in its precisions ({', '.join(asked or PLANNED)}); "
        f"{', '.join(built.specification.systems)}: {', '.join(able)}"
    )


def _without_systems(built: Built) -> str:
    """Why no system can be had: what is missing of each."""
    reasons = [f"{n.what}: {n.reason}" for n in built.not_considered]
    shown = "; ".join(reasons[:_REASONS])
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"no system can be had ({shown}{more})"
