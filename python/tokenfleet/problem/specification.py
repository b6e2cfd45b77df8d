"""The core's specification: names become indices here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenfleet.catalog import Catalog, SystemRow
from tokenfleet.errors import SchemaError
from tokenfleet.problem import axes
from tokenfleet.problem.allowed import (
    computes_mxfp4,
    planned_formats,
    supports,
    unpublished_formats,
)
from tokenfleet.problem.drafts import filled
from tokenfleet.problem.hardware import (
    Inherited,
    core_kernels,
    core_system,
)
from tokenfleet.problem_data import GOALS
from tokenfleet.scenario.load import LoadedScenario
from tokenfleet.schema import Length, RequestClass, Scenario, Slo, Speculation, Workload
from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.formats import KV_BYTES, PLANNED, WEIGHT_FORMATS

PERCENTILES = ("mean", "p50", "p90", "p95", "p99")
PRECISIONS = tuple(PLANNED)
_DTYPE = {name: i for i, name in enumerate(PLANNED)}
_KV = {name: i for i, name in enumerate(KV_BYTES)}


@dataclass(frozen=True)
class Refused:
    """A precision that a workload may not use; `reason` is `quality`, `no_figure` or
    `unpublished`: nobody is known to have published such weights, and nobody asked for them."""

    workload: str
    precision: str
    reason: str
    text: str

    @property
    def what(self) -> str:
        """What was refused, in words."""
        return f"workload {self.workload}: {self.precision} weights"


@dataclass(frozen=True)
class Specification:
    """What the core is given, and the labels of its indices."""

    data: dict[str, Any]
    systems: tuple[str, ...]
    workloads: tuple[Workload, ...]
    classes: tuple[tuple[RequestClass, ...], ...]
    groups: tuple[tuple[tuple[int, ...], ...], ...]  # by workload and latency group: site indices
    inherited: Inherited
    refused: list[Refused] = field(default_factory=list)


def kernels_used(
    spec: Specification, w: int, precision: str, kv: str, ranks: tuple[int, int]
) -> set[str]:
    """Names of the kernels that a layout runs, as `Inherited` records them.

    `w` is the workload's index, `ranks` the tensor-parallel and attention-data-parallel degrees.
    """
    data, workload = spec.data, spec.data["workloads"][w]
    parts = next(
        p for p in (data["precisions"][i] for i in workload["precisions"]) if p["id"] == precision
    )
    dtypes = [d["id"] for d in data["dtypes"]]
    used = {f"gemm {dtypes[parts[name]]}" for name in ("attention", "dense", "head")}
    used |= {f"decode_attention {kv}", f"prefill_attention {kv}"}
    if any(g["ffn"]["kind"] == "moe" for g in data["models"][workload["model"]]["layers"]):
        used |= {f"moe {name}" for name in WEIGHT_FORMATS[dtypes[parts["experts"]]].expert_kernels}
    tp, attention_dp = ranks
    if tp * attention_dp > 1:
        used.add("all-reduce")
    if attention_dp > 1:
        used.add("NCCL all_to_all")
    return used


def sorted_classes(classes: Sequence[RequestClass]) -> tuple[RequestClass, ...]:
    """Classes in canonical order: shortest prompts first."""
    return tuple(
        sorted(classes, key=lambda c: (c.input_tokens.mean, c.output_tokens.mean, c.share, c.id))
    )


def build_specification(loaded: LoadedScenario, systems: Sequence[str]) -> Specification:
    """The specification of a scenario over these systems."""
    scenario, catalog = loaded.scenario, loaded.catalog
    workloads = tuple(sorted(scenario.workloads, key=lambda w: w.id))
    models = sorted({w.model for w in workloads})
    architectures = {m: catalog.model(m) for m in models}
    engines = sorted(set(scenario.engines))
    precisions = [(m, p) for m in models for p in PRECISIONS]
    refused: list[Refused] = []
    classes = tuple(sorted_classes(loaded.classes[w.id]) for w in workloads)
    for workload, workload_classes in zip(workloads, classes, strict=True):
        _check_context(loaded, workload, workload_classes)
    by_group = [
        axes.latency_groups(w, c, scenario.sites) for w, c in zip(workloads, classes, strict=True)
    ]
    kernels, inherited = core_kernels(catalog, systems, engines, scenario.gpu_memory_utilization)
    indices = _Indices(systems, engines, models, precisions)
    data = {
        "systems": [core_system(catalog, catalog.system(s)) for s in systems],
        "models": [_model(architectures[m]) for m in models],
        "dtypes": [{"id": d, "weight_bytes": b} for d, b in PLANNED.items()],
        "precisions": [_precision(architectures[m], p) for m, p in precisions],
        "kv_dtypes": [{"id": k, "bytes": b} for k, b in KV_BYTES.items()],
        "engines": [{"id": e} for e in engines],
        "kernels": kernels,
        "workloads": [
            _workload(loaded, workload, indices, groups, refused)
            for workload, groups in zip(workloads, by_group, strict=True)
        ],
    }
    return Specification(
        data=data,
        systems=tuple(systems),
        workloads=workloads,
        classes=classes,
        groups=tuple(tuple(g.values()) for g in by_group),
        inherited=inherited,
        refused=refused,
    )


def _check_context(
    loaded: LoadedScenario, workload: Workload, classes: tuple[RequestClass, ...]
) -> None:
    """Refuses a class whose longest request does not fit the model's context."""
    limit = architecture(loaded, workload).max_context
    for c in classes:
        longest = c.input_tokens.max + c.output_tokens.max
        if longest > limit:
            raise SchemaError(
                f"{loaded.source_name}: workload {workload.id!r}, class {c.id!r}: the longest "
                f"request has {longest:,.0f} tokens; {workload.model} takes {limit:,}",
                "shorten the class, choose another model, or add the model with a longer "
                "max_context to a catalog file if it is served so",
            )


def architecture(loaded: LoadedScenario, workload: Workload) -> ModelArchitecture:
    """Architecture of a workload's model."""
    return loaded.catalog.model(workload.model)


@dataclass(frozen=True)
class _Indices:
    systems: Sequence[str]
    engines: Sequence[str]
    models: Sequence[str]
    precisions: Sequence[tuple[str, str]]


def _model(model: ModelArchitecture) -> dict[str, Any]:
    return {
        "id": model.id,
        "hidden": model.hidden,
        "vocab": model.vocab,
        "tied": model.tied,
        "max_context": model.max_context,
        "layers": [_layer_group(g.model_dump()) for g in model.layers],
    }


def _layer_group(group: dict[str, Any]) -> dict[str, Any]:
    group["attention"] = _core_attention(group["attention"])
    return group


def _core_attention(attention: dict[str, Any]) -> dict[str, Any]:
    """As the core has it: a state-space layer is linear attention whose keys groups share. A few
    taps of a convolution and the ranks of decays are nothing next to the products."""
    if attention["kind"] == "mamba":
        return {
            "kind": "linear",
            "key_heads": attention["groups"],
            "key_dim": attention["state_dim"],
            "value_heads": attention["heads"],
            "value_dim": attention["head_dim"],
            "copied_keys": True,
        }
    return {k: v for k, v in attention.items() if k not in ("conv_kernel", "decay_rank")}


def _precision(model: ModelArchitecture, precision: str) -> dict[str, Any]:
    """Dtype per part: as the checkpoint has them, in the model's own format.

    Other four-bit formats are of the feed-forward weights; attention stays in bf16 where its layers
    are not plain grouped-query ones, and mxfp4 is of routed experts where there are any, as
    published four-bit checkpoints have it. Embedding and head stay in bf16.
    """
    weights, published = WEIGHT_FORMATS[precision], model.native_weights
    if precision == model.native_precision and published is not None:
        return {"id": precision, **{k: _DTYPE[v] for k, v in published.model_dump().items()}}
    plain = all(g.attention.kind == "gqa" for g in model.layers)
    wide_dense = weights.experts_only and model.is_moe
    wide_attention = weights.bits == 4 and (not plain or wide_dense)
    return {
        "id": precision,
        "attention": _DTYPE["bf16" if wide_attention else precision],
        "dense": _DTYPE["bf16" if wide_dense else precision],
        "experts": _DTYPE[precision],
        "head": _DTYPE["bf16"],
    }


def _length(length: Length) -> dict[str, Any]:
    return {
        "at": [length.mean, length.p50, length.p90, length.p95, length.p99],
        "m2": max(length.moment2, length.mean**2),
        "max": length.max,
    }


def _slo(slo: Slo, class_ids: Sequence[str]) -> dict[str, Any]:
    return {
        "metric": slo.metric,
        "percentile": PERCENTILES.index(slo.percentile),
        "limit_s": slo.limit_ms / 1e3,
        "class": None if slo.cls is None else class_ids.index(slo.cls),
        "over": slo.over,
    }


def has_own_mix(workload: Workload, classes: int) -> bool:
    """Whether it matters that a replica takes all classes in the workload's own shares: where a
    limit is over all requests of several classes."""
    return classes > 1 and any(s.over == "workload" and s.cls is None for s in workload.slos)


def _workload(
    loaded: LoadedScenario,
    workload: Workload,
    indices: _Indices,
    round_trips: Iterable[tuple[float, ...]],
    refused: list[Refused],
) -> dict[str, Any]:
    scenario, catalog = loaded.scenario, loaded.catalog
    search = scenario.search
    model = catalog.model(workload.model)
    classes = sorted_classes(loaded.classes[workload.id])
    precisions = _allowed_precisions(scenario, catalog, workload, indices.systems, refused)
    kv = axes.kv_formats(search)
    class_ids = [c.id for c in classes]
    valued = "value" in GOALS[scenario.objective.kind].of
    return {
        "id": workload.id,
        "model": indices.models.index(workload.model),
        "classes": [
            {
                "id": c.id,
                "share": c.share,
                "input": _length(c.input_tokens),
                "output": _length(c.output_tokens),
                "hit_rate": c.prefix_hit_rate,
            }
            for c in classes
        ],
        "slos": [_slo(s, class_ids) for s in workload.slos],
        "round_trip_s": [list(r) for r in round_trips] or [[0.0] * len(classes)],
        "class_sets": axes.class_sets(search.class_sets, len(classes)),
        "own_mix": search.class_sets != "singles" and has_own_mix(workload, len(classes)),
        "systems": list(range(len(indices.systems))),
        "engines": list(range(len(indices.engines))),
        "precisions": [indices.precisions.index((workload.model, p)) for p in precisions],
        "quality": [quality(scenario, workload, p) if valued else 1.0 for p in precisions],
        "fewer_bits": [has_fewer_bits(p, model.native_precision) for p in precisions],
        "kv": [_KV[k] for k in kv],
        "kv_allowed": [[axes.kv_allowed(search, p, k) for k in kv] for p in precisions],
        **axes.degrees(search, model),
        "speculation": axes.speculation_axis(_speculation(scenario, catalog, workload.model)),
        "batches": axes.batch_limits(search),
        "splits": sorted(search.ttft_splits) if search.disaggregate else [],
        "max_gpus": search.max_gpus_per_replica,
    }


def _speculation(scenario: Scenario, catalog: Catalog, model: str) -> Speculation | None:
    row = next((s for s in scenario.speculation if s.model == model), None)
    return row and filled(row, catalog)


def has_fewer_bits(precision: str, native: str | None) -> bool:
    """Whether weights have fewer bits than 8 and than the published ones.

    Eight bits are what servers run by default; with fewer, somebody has to measure the answers.
    """
    bits = WEIGHT_FORMATS[precision].bits
    return bits < min(8, WEIGHT_FORMATS[native].bits if native else 8)


def quality(scenario: Scenario, workload: Workload, precision: str) -> float:
    """Quality score of a workload's model at a precision; 1 where none is stated."""
    stated = _score(scenario, workload, precision)
    return 1.0 if stated is None else stated


def _score(scenario: Scenario, workload: Workload, precision: str) -> float | None:
    scores = {(q.model, q.precision): q.score for q in scenario.quality}
    return scores.get((workload.model, precision))


def _allowed_precisions(
    scenario: Scenario,
    catalog: Catalog,
    workload: Workload,
    systems: Sequence[str],
    refused: list[Refused],
) -> list[str]:
    """Formats that the workload is planned in, that a system computes in, and the floor passes."""
    rows = [catalog.system(s) for s in systems]
    planned = planned_formats(scenario, catalog, workload)
    unpublished = unpublished_formats(scenario, catalog, workload)
    kept = []
    for precision in (f for f in WEIGHT_FORMATS if f in planned or f in unpublished):
        why = _refusal(scenario, catalog, workload, precision, rows)
        if why is None and not any(supports(row, precision) for row in rows):
            continue
        if why is None and precision in unpublished:
            why = ("unpublished", asking_for(workload))
        if why is None:
            kept.append(precision)
        else:
            refused.append(Refused(workload.id, precision, *why))
    return kept


def asking_for(workload: Workload) -> str:
    """Why a format without published weights is not planned, and how to have it planned."""
    return (
        f"no published checkpoint of {workload.model} in the catalog; name the format in "
        f"workloads[{workload.id}].precisions to plan it"
    )


def _refusal(
    scenario: Scenario,
    catalog: Catalog,
    workload: Workload,
    precision: str,
    systems: Sequence[SystemRow],
) -> tuple[str, str] | None:
    """Why a workload may not use a format on these systems, as `Refused` has it; None: it may."""
    floor, score = workload.quality_floor, _score(scenario, workload, precision)
    if floor is not None and score is None:
        return "quality", "no quality score, and the workload has a floor"
    if floor is not None and score is not None and score < floor:
        return "quality", f"quality {score:g} is below the floor {floor:g}"
    if precision not in PRECISIONS:
        return "no_figure", "no kernel figures for this format"
    moe = catalog.model(workload.model).is_moe
    if precision == "mxfp4" and not moe and not any(map(computes_mxfp4, systems)):
        return "no_figure", "kernel figures exist for routed experts only"
    return None
