"""What must exist before a mix can be solved: something that can serve each workload."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tokenfleet.errors import InfeasibleError
from tokenfleet.problem.allowed import planned_formats, supports
from tokenfleet.problem.attainable import best_limits
from tokenfleet.problem.build import Built
from tokenfleet.problem.supply import NO_FIGURE
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
        if workload.shortfall_usd_per_request is not None:
            continue
        if w in served:
            conflicts += _without_classes(built, w)
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
        if any(NO_FIGURE in conflict for conflict in conflicts):
            hint = (
                "give the figures in a file named under `catalog`: "
                "systems: [{id: ..., FIGURE: ..., source: ..., as_of: ...}]"
            )
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


def _without_classes(built: Built, w: int) -> list[str]:
    """Classes whose limits no layout keeps, where others are served, and the best for them all."""
    problem, spec = built.problem, built.specification
    workload = problem.workloads[w]
    own = [c.load for c in problem.candidates if c.workload == w]
    if spec is None or not own or any(api.workload == w for api in problem.apis):
        return []
    asked = workload.demand_rps.max(axis=0) > 0
    served = [bool(np.isfinite(loads).any()) for loads in np.array(own).T]
    lacking = [name for k, name in enumerate(workload.class_ids) if asked[k] and not served[k]]
    if not lacking or (workload.free and not workload.min_scale):
        return []
    text = f"workload {workload.id}: nothing can serve {', '.join(lacking)} within its limits"
    best = best_limits(spec, w)
    return [f"{text}; the best that could be had: {', or '.join(best)}" if best else text]


def _without_formats(built: Built, w: int) -> str:
    """Which formats the workload may use, and which the systems compute in."""
    assert built.specification is not None
    loaded = built.loaded
    asked = planned_formats(loaded.scenario, loaded.catalog, built.specification.workloads[w])
    rows = [built.loaded.catalog.system(s) for s in built.specification.systems]
    able = [p for p in PLANNED if any(supports(row, p) for row in rows)]
    return (
        f"no system computes in its precisions ({', '.join(asked)}); "
        f"{', '.join(built.specification.systems)}: {', '.join(able)}"
    )


def _without_systems(built: Built) -> str:
    """Why no system can be had: what is missing of each."""
    supply = [n for n in built.not_considered if n.what.startswith(("system ", "offer "))]
    reasons = [f"{n.what}: {n.reason}" for n in supply or built.not_considered]
    shown = "; ".join(reasons[:_REASONS])
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    return f"no system can be had ({shown}{more})"


def with_untried(error: InfeasibleError, built: Built) -> InfeasibleError:
    """The error with the formats that were not tried for want of published weights."""
    refused = built.specification.refused if built.specification is not None else []
    untried: dict[str, list[str]] = {}
    for row in refused:
        if row.reason == "unpublished":
            untried.setdefault(row.workload, []).append(row.precision)
    if not untried:
        return error
    models = {w.id: w.model for w in built.loaded.scenario.workloads}
    listed = "; ".join(f"{w}: {', '.join(of)} of {models[w]}" for w, of in untried.items())
    hint = f"not tried, for want of a published checkpoint ({listed}): `precisions` asks for it"
    return error.saying(hint=hint)
