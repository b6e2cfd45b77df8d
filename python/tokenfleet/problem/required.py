"""What must exist before a mix can be solved: something that can serve each workload."""

from __future__ import annotations

from tokenfleet.errors import InfeasibleError
from tokenfleet.problem.build import Built

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
        if counts is None:
            continue
        conflicts.append(
            f"workload {workload.id}: of {counts['evaluated']:,} layouts that fit, "
            f"{counts['ttft']:,} break a TTFT limit, {counts['tpot']:,} a TPOT limit and "
            f"{counts['e2e']:,} a whole-request limit even when idle; {counts['memory']:,} more "
            "do not fit memory"
        )
    if conflicts:
        looks = "; ".join(str(w) for w in built.loaded.warnings[:3])
        hint = "loosen the limit, allow another system or precision, or add an API"
        raise InfeasibleError("; ".join(conflicts), conflicts, f"{hint}. {looks}".strip(". "))


def _without_systems(built: Built) -> str:
    """Why no system can be had: what is missing of each."""
    reasons = [f"{n.what}: {n.reason}" for n in built.not_considered]
    shown = "; ".join(reasons[:_REASONS])
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"no system can be had ({shown}{more})"
