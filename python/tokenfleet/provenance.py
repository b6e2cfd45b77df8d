"""Where every number of a plan comes from: measured, calibrated, inherited, catalog, or default."""

from __future__ import annotations

from typing import Any

from tokenfleet.mix import MixResult
from tokenfleet.problem import Built

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
    for system in sorted(systems):
        for engine in sorted(_engines(result, system)):
            rows.append(_performance(built, system, engine))
    return tuple(rows)


def _replicas(result: MixResult) -> list[tuple[Any, ...]]:
    return [label for label, value in result.values.items() if label[0] == "n" and value > 0]


def _engines(result: MixResult, system: str) -> set[str]:
    candidates = (result.problem.candidates[label[3]] for label in _replicas(result))
    return {str(c.label["engine"]) for c in candidates if c.system == system}


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


def _performance(built: Built, system: str, engine: str) -> Row:
    """Calibrated where every kernel figure is the accelerator's own, else inherited."""
    assert built.specification is not None
    kernels = built.loaded.catalog.kernels
    notes = built.specification.inherited.notes.get((system, engine), {})
    relatives = {what: source for what, source in notes.items() if what != "scale-out"}
    return {
        "what": f"throughput and latency of {system} under {engine}",
        "system": system,
        "class": "inherited" if relatives else "calibrated",
        "source": kernels.source,
        "as_of": kernels.as_of,
        "inherited_from": dict(sorted(notes.items())),
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
    found: dict[tuple[str, str], None] = {}
    for label in _replicas(result):
        candidate = result.problem.candidates[label[3]]
        precision = str(candidate.label.get("precision", ""))
        workload = result.problem.workloads[candidate.workload].id
        native = catalog.model(models[workload]).native_precision
        rounded = precision in _BITS and native is not None and _BITS[precision] < _BITS[native]
        if rounded and (models[workload], precision) not in scored:
            found[(workload, precision)] = None
    return tuple(
        f"{workload}: {precision} weights of {models[workload]} are below its published precision "
        "and have no quality score: measure the answers, or set precisions or a quality_floor"
        for workload, precision in sorted(found)
    )
