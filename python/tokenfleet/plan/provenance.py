"""Where rates and latencies of a plan come from: measured, calibrated, modelled or inherited."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tokenfleet.mix.result import MixResult
from tokenfleet.plan.known_rows import KnownModel, Provenance
from tokenfleet.problem import Built
from tokenfleet.problem.knowledge import Knowledge

_CLASSES = ("calibrated", "modelled", "inherited")  # surest first


def provenance_rows(built: Built, result: MixResult) -> tuple[Provenance, ...]:
    """One row per source that the plan's numbers rest on."""
    if built.core is None:
        return (Provenance(what="rates", cls="measured", source="columns of the scenario"),)
    return tuple(
        _performance(built, system, engine, by_model)
        for (system, engine), by_model in sorted(_knowledge(built, result).items())
    )


def _knowledge(
    built: Built, result: MixResult
) -> dict[tuple[str, str], dict[str, list[Knowledge]]]:
    """What is known of the plan's replicas: by system and engine, then by model."""
    assert built.specification is not None and built.judge is not None
    found: dict[tuple[str, str], dict[str, list[Knowledge]]] = {}
    for candidate in result.candidates:
        model = built.specification.workloads[candidate.workload].model
        key = (candidate.system, str(candidate.label["engine"]))
        known = built.judge.of(candidate.workload, candidate.label)
        found.setdefault(key, {}).setdefault(model, []).append(known)
    return found


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
