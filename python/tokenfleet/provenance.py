"""Where every number of a plan comes from: measured, calibrated, inherited, catalog, or default."""

from __future__ import annotations

from typing import Any

from tokenfleet.mix.result import MixResult
from tokenfleet.problem import Built
from tokenfleet.problem.specification import kernels_used
from tokenfleet.problem_data import Candidate

Row = dict[str, Any]


def provenance_rows(built: Built, result: MixResult) -> tuple[Row, ...]:
    """One row per source that the plan's numbers rest on."""
    rows = _money(built, result)
    systems = {result.problem.candidates[label[3]].system for label in _replicas(result)}
    for system in sorted(systems):
        rows.append(_system(built, system))
    if built.core is None:
        rows.append({"what": "rates", "class": "measured", "source": "columns of the scenario"})
        return tuple(rows)
    for (system, engine), used in sorted(_kernels(built, result).items()):
        rows.append(_performance(built, system, engine, used))
    return tuple(rows)


def _replicas(result: MixResult) -> list[tuple[Any, ...]]:
    return [label for label, value in result.values.items() if label[0] == "n" and value > 0]


def _kernels(built: Built, result: MixResult) -> dict[tuple[str, str], set[str]]:
    """Kernels that the plan's replicas run, by system and engine."""
    used: dict[tuple[str, str], set[str]] = {}
    for label in _replicas(result):
        candidate = result.problem.candidates[label[3]]
        key = (candidate.system, str(candidate.label["engine"]))
        used.setdefault(key, set()).update(_kernels_of(built, candidate))
    return used


def _kernels_of(built: Built, candidate: Candidate) -> set[str]:
    assert built.specification is not None
    layout: dict[str, Any] = candidate.label
    ranks = (layout["tp"], layout["attention_dp"])
    return kernels_used(
        built.specification, candidate.workload, layout["precision"], layout["kv_dtype"], ranks
    )


def is_inherited(built: Built, candidate: Candidate) -> bool:
    """Whether a candidate runs a kernel whose efficiency is a relative's."""
    assert built.specification is not None
    key = (candidate.system, str(candidate.label["engine"]))
    notes = built.specification.inherited.notes.get(key, {})
    return not _kernels_of(built, candidate).isdisjoint(notes)


def _money(built: Built, result: MixResult) -> list[Row]:
    used = {
        result.problem.offers[label[2]].supply_group
        for label, value in result.values.items()
        if label[0] == "x" and value > 0
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


def _performance(built: Built, system: str, engine: str, used: set[str]) -> Row:
    """Calibrated where every kernel the plan runs is the accelerator's own, else inherited."""
    assert built.specification is not None
    kernels = built.loaded.catalog.kernels
    notes = built.specification.inherited.notes.get((system, engine), {})
    taken = {what: whom for what, whom in sorted(notes.items()) if what in used}
    return {
        "what": f"throughput and latency of {system} under {engine}",
        "system": system,
        "class": "inherited" if taken else "calibrated",
        "source": kernels.source,
        "as_of": kernels.as_of,
        "inherited_from": taken,
    }


def gpus_by_system(result: MixResult) -> dict[str, int]:
    """Accelerators of each system type in the plan, at the peak of the load blocks."""
    counts: dict[str, dict[int, float]] = {}
    for label, value in result.values.items():
        if label[0] == "x":
            pool = result.problem.pools[result.problem.offers[label[2]].pool]
            by_block = counts.setdefault(pool.system, {})
            by_block[label[1]] = by_block.get(label[1], 0.0) + value * pool.gpus_per_system
    return {
        system: round(by.get(-1, 0.0) + max((n for b, n in by.items() if b >= 0), default=0.0))
        for system, by in counts.items()
    }


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


# Bits of a weight: fewer than the published ones means that somebody has to round, and to measure.
_BITS = {"bf16": 16, "fp8": 8, "fp8_block": 8, "nvfp4": 4, "mxfp4": 4, "int4": 4}


def quality_warnings(built: Built, result: MixResult) -> tuple[str, ...]:
    """Workloads served below their model's published precision without a measured quality."""
    scenario, catalog = built.loaded.scenario, built.loaded.catalog
    scored = {(q.model, q.precision) for q in scenario.quality}
    models = {w.id: w.model for w in scenario.workloads}
    found: dict[str, set[str]] = {}
    for label in _replicas(result):
        candidate = result.problem.candidates[label[3]]
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
