"""Where every number of a plan comes from: measured, calibrated, inherited, catalog, or default."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tokenfleet.mix.result import MixResult
from tokenfleet.plan.rows import KnownModel, Provenance
from tokenfleet.problem import Built
from tokenfleet.problem.knowledge import Judge, Knowledge
from tokenfleet.problem_data import Replicas, Systems
from tokenfleet.schema.formats import WEIGHT_FORMATS

_CLASSES = ("calibrated", "modelled", "inherited")  # surest first


def provenance_rows(built: Built, result: MixResult) -> tuple[Provenance, ...]:
    """One row per source that the plan's numbers rest on."""
    rows = _money(built, result)
    systems = {result.problem.candidates[label.candidate].system for label in _replicas(result)}
    for system in sorted(systems):
        rows.append(_system(built, system))
    if built.core is None:
        source = "columns of the scenario"
        rows.append(Provenance(what="rates", cls="measured", source=source))
        return tuple(rows)
    for (system, engine), by_model in sorted(_knowledge(built, result).items()):
        rows.append(_performance(built, system, engine, by_model))
    return tuple(rows)


def _replicas(result: MixResult) -> list[Replicas]:
    values = result.values.items()
    return [label for label, value in values if isinstance(label, Replicas) and value > 0]


def _knowledge(
    built: Built, result: MixResult
) -> dict[tuple[str, str], dict[str, list[Knowledge]]]:
    """What is known of the plan's replicas: by system and engine, then by model."""
    assert built.specification is not None
    judge = Judge(built.loaded, built.specification)
    found: dict[tuple[str, str], dict[str, list[Knowledge]]] = {}
    for label in _replicas(result):
        candidate = result.problem.candidates[label.candidate]
        model = built.specification.workloads[candidate.workload].model
        key = (candidate.system, str(candidate.label["engine"]))
        known = judge.of(candidate.workload, candidate.label)
        found.setdefault(key, {}).setdefault(model, []).append(known)
    return found


def _money(built: Built, result: MixResult) -> list[Provenance]:
    used = {
        result.problem.offers[label.offer].supply_group
        for label, value in result.values.items()
        if isinstance(label, Systems) and value > 0
    }
    rows = [
        Provenance(what=f"price of offer {offer}", cls="catalog", source=source)
        for offer, source in sorted(built.supply.price_sources.items())
        if offer in used
    ]
    rows += _api_prices(built)
    rows += [
        Provenance(what=name, cls="default", source=source)
        for name, source in sorted(built.terms.defaulted.items())
    ]
    return rows


def _api_prices(built: Built) -> list[Provenance]:
    """Entries of the price book that hosted APIs name."""
    scenario, catalog = built.loaded.scenario, built.loaded.catalog
    named = sorted((api.id, api.price) for api in scenario.apis if api.price is not None)
    found = [(name, catalog.api_price(price, scenario.price_vintage)) for name, price in named]
    return [
        Provenance(what=f"price of API {name}", cls="catalog", source=row.source, as_of=row.as_of)
        for name, row in found
    ]


def _system(built: Built, system: str) -> Provenance:
    row = built.loaded.catalog.system(system)
    owner = "user" if f"systems:{system}" in built.loaded.catalog.user_rows else "catalog"
    return Provenance(what=f"figures of {system}", cls=owner, source=row.source, as_of=row.as_of)


def _performance(
    built: Built, system: str, engine: str, by_model: Mapping[str, list[Knowledge]]
) -> Provenance:
    """The weakest class over the plan's models, and what is known of each.

    Calibrated: runs of this accelerator and model were measured. Modelled: none were, but every
    kernel is the accelerator's own. Inherited: a kernel's efficiency is a relative's.
    """
    kernels = built.loaded.catalog.kernels
    every = [known for several in by_model.values() for known in several]
    taken = {what: whom for known in every for what, whom in known.inherited_from.items()}
    return Provenance(
        what=f"throughput and latency of {system} under {engine}",
        cls=max((known.provenance for known in every), key=_CLASSES.index),
        source=kernels.source,
        as_of=kernels.as_of,
        system=system,
        inherited_from=dict(sorted(taken.items())),
        engine_version=built.loaded.scenario.engine_version(engine),
        models=tuple(_model(model, several) for model, several in sorted(by_model.items())),
    )


def _model(model: str, several: list[Knowledge]) -> KnownModel:
    """What is known of a model there; of several layouts the least known."""
    known = max(several, key=lambda k: (k.half_width["tpot"], _CLASSES.index(k.provenance)))
    return KnownModel(
        model=model,
        cls=known.provenance,
        known=known.level,
        runs=known.runs,
        tpot_bias_pct=100.0 * math.expm1(known.log_bias),
        **{f"{m}_interval80_pct": 100.0 * math.expm1(h) for m, h in known.half_width.items()},
    )


def gpus_by_system(result: MixResult) -> dict[str, int]:
    """Accelerators of each system type in the plan, at the peak of the load blocks."""
    problem = result.problem
    counts: dict[str, list[float]] = {}
    for label, value in result.values.items():
        if isinstance(label, Systems):
            pool = problem.pools[problem.offers[label.offer].pool]
            by_block = counts.setdefault(pool.system, [0.0] * len(problem.blocks))
            for b in problem.scopes[label.scope].blocks:
                by_block[b] += value * pool.gpus_per_system
    return {system: round(max(by_block)) for system, by_block in counts.items()}


def inherited_warnings(provenance: tuple[Provenance, ...], gpus: dict[str, int]) -> tuple[str, ...]:
    """Systems whose efficiencies nobody measured, with their share of the plan."""
    total = sum(gpus.values())
    inherited = sorted({r.system for r in provenance if r.system and r.cls == "inherited"})
    return tuple(
        f"{system}: {gpus.get(system, 0) / total:.0%} of the accelerators rest on efficiencies "
        "inherited from a relative, not measured on this one: ask for a benchmark before you buy"
        for system in inherited
        if gpus.get(system, 0) > 0
    )


# Beyond this one-sided confidence nothing was measured often enough; the tail is a normal one.
_MEASURED_TAIL = 0.95


def confidence_warnings(confidence: float | None) -> tuple[str, ...]:
    """What a plan's confidence does not cover."""
    if confidence is None or confidence <= _MEASURED_TAIL:
        return ()
    return (
        f"confidence {confidence:g}: beyond {_MEASURED_TAIL:g} the model's error is extrapolated "
        "from its 80 % interval; measured tails are heavier than normal ones",
    )


def quality_warnings(built: Built, result: MixResult) -> tuple[str, ...]:
    """Workloads served below their model's published precision without a measured quality."""
    scenario, catalog = built.loaded.scenario, built.loaded.catalog
    scored = {(q.model, q.precision) for q in scenario.quality}
    models = {w.id: w.model for w in scenario.workloads}
    found: dict[str, set[str]] = {}
    for label in _replicas(result):
        candidate = result.problem.candidates[label.candidate]
        precision = str(candidate.label.get("precision", ""))
        workload = result.problem.workloads[candidate.workload].id
        rounded = _rounded(precision, catalog.model(models[workload]).native_precision)
        if rounded and (models[workload], precision) not in scored:
            found.setdefault(workload, set()).add(precision)
    if not found:
        return ()
    text = "; ".join(f"{w}: {', '.join(sorted(found[w]))}" for w in sorted(found))
    return (
        f"weights below the published precision, without a quality score ({text}): measure the "
        "answers, or set precisions or a quality_floor",
    )


def _rounded(precision: str, native: str | None) -> bool:
    """Whether weights have fewer bits than the published ones: somebody has to round and measure.

    False where the format is a measured column's own, or nobody says what was published.
    """
    weights = WEIGHT_FORMATS.get(precision)
    return bool(weights and native and weights.bits < WEIGHT_FORMATS[native].bits)
