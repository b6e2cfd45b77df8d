"""Where every number of a plan comes from: measured, calibrated, inherited, catalog, or default."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tokenfleet.mix.result import MixResult
from tokenfleet.problem import Built
from tokenfleet.problem.knowledge import Judge, Knowledge
from tokenfleet.problem_data import Replicas, Systems

Row = dict[str, Any]
_CLASSES = ("calibrated", "modelled", "inherited")  # surest first


def provenance_rows(built: Built, result: MixResult) -> tuple[Row, ...]:
    """One row per source that the plan's numbers rest on."""
    rows = _money(built, result)
    systems = {result.problem.candidates[label.candidate].system for label in _replicas(result)}
    for system in sorted(systems):
        rows.append(_system(built, system))
    if built.core is None:
        rows.append({"what": "rates", "class": "measured", "source": "columns of the scenario"})
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


def _money(built: Built, result: MixResult) -> list[Row]:
    used = {
        result.problem.offers[label.offer].supply_group
        for label, value in result.values.items()
        if isinstance(label, Systems) and value > 0
    }
    rows = [
        {"what": f"price of offer {offer}", "class": "catalog", "source": source}
        for offer, source in sorted(built.supply.price_sources.items())
        if offer in used
    ]
    rows += [
        {"what": name, "class": "default", "source": source}
        for name, source in sorted(built.terms.defaulted.items())
    ]
    return rows


def _system(built: Built, system: str) -> Row:
    row = built.loaded.catalog.system(system)
    owner = "user" if f"systems:{system}" in built.loaded.catalog.user_rows else "catalog"
    return {
        "what": f"figures of {system}",
        "class": owner,
        "source": row.source,
        "as_of": row.as_of,
    }


def _performance(
    built: Built, system: str, engine: str, by_model: Mapping[str, list[Knowledge]]
) -> Row:
    """The weakest class over the plan's models, and what is known of each.

    Calibrated: runs of this accelerator and model were measured. Modelled: none were, but every
    kernel is the accelerator's own. Inherited: a kernel's efficiency is a relative's.
    """
    kernels = built.loaded.catalog.kernels
    every = [known for several in by_model.values() for known in several]
    taken = {what: whom for known in every for what, whom in known.inherited_from.items()}
    return {
        "what": f"throughput and latency of {system} under {engine}",
        "system": system,
        "class": max((known.provenance for known in every), key=_CLASSES.index),
        "source": kernels.source,
        "as_of": kernels.as_of,
        "inherited_from": dict(sorted(taken.items())),
        "engine_version": built.loaded.scenario.engine_version(engine),
        "models": [_model(model, several) for model, several in sorted(by_model.items())],
    }


def _model(model: str, several: list[Knowledge]) -> Row:
    """What is known of a model there; of several layouts the least known."""
    known = max(several, key=lambda k: (k.half_width["tpot"], _CLASSES.index(k.provenance)))
    return {
        "model": model,
        "class": known.provenance,
        "known": known.level,
        "runs": known.runs,
        "tpot_bias_pct": 100.0 * math.expm1(known.log_bias),
        **{f"{m}_interval80_pct": 100.0 * math.expm1(h) for m, h in known.half_width.items()},
    }


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


def inherited_warnings(provenance: tuple[Row, ...], gpus: dict[str, int]) -> tuple[str, ...]:
    """Systems whose efficiencies nobody measured, with their share of the plan."""
    total = sum(gpus.values())
    inherited = sorted({r["system"] for r in provenance if r["class"] == "inherited"})
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


# Bits of a weight: fewer than the published ones means that somebody has to round, and to measure.
_BITS = {"bf16": 16, "fp8": 8, "fp8_block": 8, "nvfp4": 4, "mxfp4": 4, "int4": 4}


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
        native = catalog.model(models[workload]).native_precision
        rounded = precision in _BITS and native is not None and _BITS[precision] < _BITS[native]
        if rounded and (models[workload], precision) not in scored:
            found.setdefault(workload, set()).add(precision)
    if not found:
        return ()
    text = "; ".join(f"{w}: {', '.join(sorted(found[w]))}" for w in sorted(found))
    return (
        f"weights below the published precision, without a quality score ({text}): measure the "
        "answers, or set precisions or a quality_floor",
    )
