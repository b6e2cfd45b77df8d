"""Rates of named layouts without a scenario: at an arrival rate, and the best a system can do.

`open_loop` predicts medians of one layout at a rate of arrivals.
`best_rate` searches every layout of a system for the most requests per second and accelerator under
limits on time per output token and time to first token, in `serve` replicas and in pairs of prefill
and decode pools. Both ask the core that plans are made with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenfleet._core import CandidateSearch, Space
from tokenfleet.catalog import Catalog, require
from tokenfleet.problem.specification import (
    Specification,
    build_specification,
)
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema import Speculation
from tokenfleet.schema.formats import PLANNED

_SPLITS = (0.5, 0.85)
_MEDIAN = 1  # among the percentiles of the core
_MS = 1e3


@dataclass(frozen=True, order=True)
class Layout:
    """A layout by names of the catalog. `attention_dp` 1 is none; `speculative_depth` 0 is off."""

    system: str
    model: str
    engine: str
    precision: str
    kv: str
    tp: int = 1
    pp: int = 1
    ep: int = 1
    attention_dp: int = 1
    speculative_depth: int = 0

    @property
    def gpus(self) -> int:
        """Accelerators in a replica."""
        return self.tp * self.pp * self.attention_dp


@dataclass(frozen=True)
class Rates:
    """What a run at an arrival rate shows: medians."""

    ttft_ms: float
    tpot_ms: float
    tokens_s_gpu: float  # output tokens per second and accelerator


@dataclass(frozen=True)
class TypicalRequest:
    """A request's lengths in tokens, and the mean latencies it must keep; None is no limit."""

    isl: float
    osl: float
    tpot_ms: float | None = None
    ttft_ms: float | None = None


@dataclass(frozen=True)
class Allowed:
    """What `best_rate` may use on a system: weight formats, drafts of tokens, layouts.

    With `one_system` it is one replica inside one system, and no pools for prefill and decode.
    """

    precisions: tuple[str, ...]
    speculation: Speculation | None = None
    one_system: bool = False


@dataclass(frozen=True)
class BestRate:
    """The best layout of a system under limits, at the load where the first limit binds."""

    requests_s_gpu: float
    watts_per_gpu: float  # IT watts at that load, host share included
    layout: str  # one replica, or a prefill and a decode pool


def open_loop(
    catalog: Catalog, layout: Layout, batch: int, requests_s: float, lengths: TypicalRequest
) -> Rates | None:
    """Medians at an arrival rate per replica; None above capacity, or without a layout.

    `batch` is the most sequences at once; where the cache holds fewer, the largest of its halves
    that fits counts, since an engine admits what it has room for.
    """
    data = {
        **plain_scenario([layout.model], lengths, [layout.precision]),
        "engines": [layout.engine],
        "search": _only(layout, batch),
    }
    specification = build_specification(load_scenario(data, catalog=catalog), [layout.system])
    core = Space(json.dumps(specification.data))
    every = np.arange(core.space_size, dtype=np.uint64)
    usable = [i for i, status in enumerate(core.points(every)["status"]) if status == "ok"]
    if not usable:
        return None
    found = core.recheck(usable[-1], 0, np.array([requests_s]))  # batches ascend
    if found["ttft_s"] is None or found["tpot_s"] is None:
        return None
    ttft_s, tpot_s = found["ttft_s"][0][_MEDIAN], found["tpot_s"][0][_MEDIAN]
    return Rates(ttft_s * _MS, tpot_s * _MS, requests_s * lengths.osl / layout.gpus)


def best_rate(
    catalog: Catalog, system: str, model: str, limits: TypicalRequest, allowed: Allowed
) -> BestRate | None:
    """Most requests per second and accelerator of a system; None when no layout keeps the limits.

    With speculation every depth up to its own is tried, none included.
    """
    drafts = allowed.speculation
    data = {
        **plain_scenario([model], limits, list(allowed.precisions)),
        "search": _space(catalog, system, allowed.one_system),
        "speculation": [drafts.model_dump(exclude_none=True)] if drafts else [],
    }
    specification = build_specification(load_scenario(data, catalog=catalog), [system])
    core = Space(json.dumps(specification.data))
    search = CandidateSearch()
    search.extend(core, 0, core.partition_count)
    return _best(specification, core, _candidates(search))


def _space(catalog: Catalog, system: str, one_system: bool) -> dict[str, Any]:
    """Single pipeline stage: stages add latency and no rate where weights fit without them."""
    if one_system:
        most = int(require(catalog.system(system), "gpus"))
        return {"pipeline_parallel": [1], "max_gpus_per_replica": most}
    return {"pipeline_parallel": [1], "disaggregate": True, "ttft_splits": list(_SPLITS)}


@dataclass(frozen=True)
class _Candidate:
    id: int
    role: str
    pool: tuple[int, int]  # what partners share: TTFT split and KV format
    gpu_s: float  # accelerator-seconds per request
    energy_j: float  # IT joules per request above idle, at capacity


def _candidates(search: CandidateSearch) -> list[_Candidate]:
    kept = search.kept()
    return [
        _Candidate(
            int(kept["id"][i]),
            kept["role"][i],
            (int(kept["split"][i]), int(kept["kv"][i])),
            float(kept["gpus"][i]) * kept["load_s"][i][0],
            kept["energy_j"][i][0] + kept["idle_w"][i] * kept["load_s"][i][0],
        )
        for i in range(len(kept["id"]))
    ]


def _best(
    specification: Specification, core: Space, candidates: Sequence[_Candidate]
) -> BestRate | None:
    """The replica, or the pair of pools, with the fewest accelerator-seconds per request."""
    serve = [(c,) for c in candidates if c.role == "serve"]
    options = [*serve, *_pairs(candidates)]
    if not options:
        return None
    best = min(options, key=lambda parts: (sum(c.gpu_s for c in parts), [c.id for c in parts]))
    gpu_s = sum(c.gpu_s for c in best)
    idle_w = float(specification.data["systems"][0]["idle_w"])
    return BestRate(
        requests_s_gpu=1.0 / gpu_s,
        watts_per_gpu=idle_w + sum(c.energy_j for c in best) / gpu_s,
        layout=" + ".join(_label(core, c) for c in best),
    )


def _pairs(candidates: Sequence[_Candidate]) -> list[tuple[_Candidate, ...]]:
    """The least prefill and the least decode candidate of every pair of compatible pools."""
    cheapest: dict[tuple[str, tuple[int, int]], _Candidate] = {}
    for c in candidates:
        key = (c.role, c.pool)
        if key not in cheapest or (c.gpu_s, c.id) < (cheapest[key].gpu_s, cheapest[key].id):
            cheapest[key] = c
    pools = {pool for role, pool in cheapest if role == "prefill"}
    return [
        (cheapest["prefill", pool], cheapest["decode", pool])
        for pool in sorted(pools)
        if ("decode", pool) in cheapest
    ]


def _label(core: Space, candidate: _Candidate) -> str:
    d = core.describe(candidate.id)
    degrees = {"TP": d["tp"], "EP": d["ep"], "attention DP": d["attention_dp"]}
    parts = [f"{name} {n}" for name, n in degrees.items() if n > 1] or ["1 GPU"]
    depth = f", speculation {d['speculative_depth']}" if d["speculative_depth"] else ""
    batch = "" if d["role"] == "prefill" else f", batch {d['batch_limit']}"
    formats = f"{d['precision']}, {d['kv_dtype']} cache"
    return f"{d['role']}: {d['engine']} {formats}, {' x '.join(parts)}{batch}{depth}"


def _only(layout: Layout, batch: int) -> dict[str, Any]:
    """A search space of one layout, its batch limit and the halves of that."""
    return {
        "tensor_parallel": [layout.tp],
        "pipeline_parallel": [layout.pp],
        "expert_parallel": [layout.ep],
        "attention_data_parallel": [layout.attention_dp],
        "kv_precisions": [layout.kv],
        "batch_limits": sorted({max(batch >> i, 1) for i in range(batch.bit_length())}),
        "max_gpus_per_replica": layout.gpus,
    }


def plain_scenario(
    models: Sequence[str], limits: TypicalRequest | None = None, precisions: list[str] | None = None
) -> dict[str, Any]:
    """A scenario that holds one class per model and nothing that could shape a layout's rate.

    Without `precisions` every format is asked for, whether or not weights are published in it.
    """
    site = {
        "id": "anywhere",
        "region": "anywhere",
        "power_kw": "unlimited",
        "power_basis": "it",
        "cooling": ["air", "direct liquid"],
    }
    return {
        "name": "rates of layouts",
        "as_of": "2026-07-01",
        "workloads": [_workload(m, limits, precisions) for m in models],
        "sites": [site],
    }


def _workload(
    model: str, limits: TypicalRequest | None, precisions: list[str] | None
) -> dict[str, Any]:
    limits = limits or TypicalRequest(1024, 1024)
    bounds = {"tpot": limits.tpot_ms, "ttft": limits.ttft_ms}
    slos = [{"metric": m, "percentile": "mean", "limit_ms": x} for m, x in bounds.items() if x]
    request = {
        "id": "all",
        "share": 1.0,
        "input_tokens": limits.isl,
        "output_tokens": limits.osl,
    }
    return {
        "id": model,
        "model": model,
        "precisions": precisions or list(PLANNED),
        "classes": [request],
        "slos": slos,
        "demand": {"requests_per_s": 1.0},
    }
