"""What must exist before a mix can be solved: something that can serve each workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tokenfleet.errors import InfeasibleError
from tokenfleet.problem.allowed import planned_formats, supports
from tokenfleet.problem.attainable import best_limits
from tokenfleet.problem.build import Built
from tokenfleet.problem.supply import NO_FIGURE
from tokenfleet.schema.formats import PLANNED
from tokenfleet.schema.scenario import Scenario

_REASONS = 8  # shown where nothing can be built


_LIMIT = "loosen the limit, allow another system or precision, or add an API"
_MEMORY = "allow a system with more memory or a lower precision, shorten the class, or add an API"
_SEARCH = (
    "allow other degrees under `search`: tensor_parallel and the others must divide the model's "
    "heads and the system's accelerators"
)
_FORMAT = "name a precision that a system computes in, allow another system, or add an API"
_SYSTEM = "allow another system, give an offer for one, or add an API"
_API = "give what its hosted API lacks, add another, or allow a system"
_FIGURE = (
    "give the figures in a file named under `catalog`: "
    "systems: [{id: ..., FIGURE: ..., source: ..., as_of: ...}]"
)


@dataclass(frozen=True)
class _Lack:
    """Why nothing serves a workload, and what would help."""

    text: str
    hint: str


def require_candidates(built: Built) -> None:
    """Refuses a workload that no layout and no API can serve, with how many failed at what.

    Raises:
        InfeasibleError: names each such workload, its funnel and the cure of each kind of lack.
    """
    lacks = [
        _Lack(f"workload {workload.id}: {lack.text}", lack.hint)
        for w, workload in enumerate(built.problem.workloads)
        if workload.shortfall_usd_per_request is None
        if (lack := _lack(built, w)) is not None
    ]
    if not lacks:
        return
    cures = list(dict.fromkeys(lack.hint for lack in lacks))
    held = [_held_at(built.loaded.scenario)] if _LIMIT in cures else []
    looks = [str(warning) for warning in built.loaded.warnings[:3]]
    hints = [*cures, *looks, *held, _untried(built)]
    conflicts = [lack.text for lack in lacks]
    raise InfeasibleError("; ".join(conflicts), conflicts, "; ".join(filter(None, hints)))


def with_hints(error: InfeasibleError, built: Built) -> InfeasibleError:
    """The error with what nobody asked for: the confidence of limits, formats left untried."""
    return error.saying(hint=_held_at(built.loaded.scenario)).saying(hint=_untried(built))


def _held_at(scenario: Scenario) -> str:
    if scenario.sure is None or "confidence" in scenario.model_fields_set:
        return ""
    return (
        f"limits are held at {scenario.sure:.0%} confidence; `confidence: expected` asks for what "
        "the model expects"
    )


def _untried(built: Built) -> str:
    """The formats that were not tried for want of published weights."""
    refused = built.specification.refused if built.specification is not None else []
    untried: dict[str, list[str]] = {}
    for row in refused:
        if row.reason == "unpublished":
            untried.setdefault(row.workload, []).append(row.precision)
    if not untried:
        return ""
    models = {w.id: w.model for w in built.loaded.scenario.workloads}
    listed = "; ".join(f"{w}: {', '.join(of)} of {models[w]}" for w, of in untried.items())
    return f"not tried, for want of a published checkpoint ({listed}): `precisions` asks for it"


def _lack(built: Built, w: int) -> _Lack | None:
    """What one workload lacks; None where something can serve it."""
    problem, spec = built.problem, built.specification
    hosted = {api.workload for api in problem.apis}
    idle = problem.workloads[w].free and not problem.workloads[w].min_scale
    nothing = all(offer.supply < 1 for offer in problem.offers)
    if w not in hosted and nothing and not (idle and problem.pools):
        return _without_systems(built, w)
    if w in hosted | {c.workload for c in problem.candidates}:
        return _without_classes(built, w)
    if spec is None or not spec.groups[w]:
        return None
    counts = built.counts.get(problem.workloads[w].id)
    return _without_layouts(built, w, counts) if counts else _without_formats(built, w)


def _without_layouts(built: Built, w: int, counts: Mapping[str, int]) -> _Lack:
    """How many layouts failed at what, and the best that could be had."""
    assert built.specification is not None
    fit, too_large = counts["evaluated"], counts["memory"]
    if not fit and not too_large:
        return _Lack("the search allows no layout of it", _SEARCH)
    if not fit:
        return _Lack(f"of {too_large:,} layouts none fits the memory of its systems", _MEMORY)
    kinds = (("ttft", "a TTFT limit"), ("tpot", "a TPOT limit"), ("e2e", "a whole-request limit"))
    broken = [f"{counts[key]:,} break {limit}" for key, limit in kinds if counts[key]]
    more = f"; {too_large:,} more do not fit memory" if too_large else ""
    text = f"of {fit:,} layouts that fit, {', '.join(broken)} even when idle{more}"
    return _Lack(_with_best(text, best_limits(built.specification, w)), _LIMIT)


def _with_best(text: str, best: list[str]) -> str:
    return f"{text}; the best that could be had: {', or '.join(best)}" if best else text


def _without_classes(built: Built, w: int) -> _Lack | None:
    """Classes whose limits no layout keeps, where others are served, and the best for them all."""
    problem, spec = built.problem, built.specification
    workload = problem.workloads[w]
    own = [c.load for c in problem.candidates if c.workload == w]
    if spec is None or not own or any(api.workload == w for api in problem.apis):
        return None
    asked = workload.demand_rps.max(axis=0) > 0
    served = [bool(np.isfinite(loads).any()) for loads in np.array(own).T]
    lacking = [name for k, name in enumerate(workload.class_ids) if asked[k] and not served[k]]
    if not lacking or (workload.free and not workload.min_scale):
        return None
    text = f"nothing can serve {', '.join(lacking)} within its limits"
    return _Lack(_with_best(text, best_limits(spec, w)), _LIMIT)


def _without_formats(built: Built, w: int) -> _Lack:
    """Which formats the workload may use, and which the systems compute in."""
    assert built.specification is not None
    loaded = built.loaded
    asked = planned_formats(loaded.scenario, loaded.catalog, built.specification.workloads[w])
    rows = [built.loaded.catalog.system(s) for s in built.specification.systems]
    able = [p for p in PLANNED if any(supports(row, p) for row in rows)]
    text = (
        f"no system computes in its precisions ({', '.join(asked)}); "
        f"{', '.join(built.specification.systems)}: {', '.join(able)}"
    )
    return _Lack(text, _FORMAT)


def _without_systems(built: Built, w: int) -> _Lack:
    """Why no system can be had, and why none of the workload's hosted APIs may serve it."""
    scenario, workload = built.loaded.scenario, built.problem.workloads[w].id
    asked = {f"API {api.id}" for api in scenario.apis if api.workload == workload}
    hosted = [f"{n.what}: {n.reason}" for n in built.not_considered if n.what in asked]
    no_api = f"no hosted API may serve it ({'; '.join(hosted[:_REASONS])})" if hosted else ""
    if scenario.systems == ():
        return _Lack(no_api or "no system is allowed, and no hosted API is for it", _API)
    supply = [n for n in built.not_considered if n.what.startswith(("system ", "offer "))]
    none = [f"offer {offer.id}: its supply is {offer.supply:g}" for offer in built.problem.offers]
    others = [n for n in built.not_considered if n.what not in asked]
    reasons = [f"{n.what}: {n.reason}" for n in supply or others] + none
    shown = "; ".join(reasons[:_REASONS])
    more = f"; and {len(reasons) - _REASONS} more" if len(reasons) > _REASONS else ""
    figures = any(NO_FIGURE in reason for reason in reasons)
    texts = [f"no system can be had ({shown}{more})", no_api]
    return _Lack("; ".join(filter(None, texts)), _FIGURE if figures else _SYSTEM)
