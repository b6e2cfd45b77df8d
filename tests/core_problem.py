"""Problems of the core that several tests look at."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import core_spec as cs
import reference as ref
from tokenfleet import _core

Json = dict[str, Any]
ROOT = Path(__file__).parents[1]
NO_WAY = [0.0, 0.0]


def problem(spec: Json) -> _core.Space:
    return _core.Space(json.dumps(spec))


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


def everything(p: _core.Space) -> np.ndarray:
    return np.arange(p.space_size, dtype=np.uint64)


def searched(p: _core.Space, threads: int = 1) -> _core.CandidateSearch:
    search = _core.CandidateSearch()
    search.extend(p, 0, p.partition_count, threads)
    return search


def relative(a: float, b: float) -> float:
    return abs(a - b) / max(abs(a), abs(b), 1e-300)


def attention_kinds() -> Json:
    """Kinds of layers that the main specification has no model for."""
    shape = {"tp": [1, 2], "pp": [1, 2], "ep": [1, 4], "adp": [1, 4], "precisions": [1]}
    narrow = {**shape, "quality": [1.0], "batches": [8, 64], "splits": [0.6]}
    models = [cs.MODELS[name] for name in ("hybrid", "sparse", "parts")]
    large = {**narrow, "tp": [4], "adp": [1, 4], "ep": [4, 16], "systems": [1]}
    e2e = [cs.slo("e2e", "p90", 60.0), cs.slo("ttft", "p50", 3.0, only=0)]
    shapes = enumerate((narrow, large, {**narrow, "tp": [2, 4]}))
    works = [cs.workload("hsp"[i], i, **shape, slos=e2e) for i, shape in shapes]
    return cs.spec_with(models, works)


@cache
def setting(name: str) -> tuple[Json, _core.Space, list[ref.Configuration]]:
    spec = cs.spec() if name == "main" else attention_kinds()
    return spec, problem(spec), list(ref.configurations(spec))


def sample(name: str, count: int, only_ok: bool) -> list[int]:
    _, p, _ = setting(name)
    status = p.points(everything(p))["status"]
    pool = [i for i, s in enumerate(status) if s == "ok" or not only_ok]
    return sorted(random.Random(7).sample(pool, count))


OWNERSHIP: Json = {
    "server_usd": 1e6,
    "network_fraction": 0.0,
    "storage_fraction": 0.0,
    "integration_fraction": 0.0,
    "cost_of_capital": 0.1,
    "life_years": 5.0,
    "residual_fraction": 0.2,
    "maintenance_fraction": 0.05,
    "maintained_usd": 1e6,
    "staff_usd_per_kw_year": 100.0,
    "licence_usd_per_gpu_year": 50.0,
    "hosting_usd_per_kw_month": 150.0,
    "rental_usd_per_gpu_h": 0.0,
    "provisioned_kw": 10.0,
    "gpus": 8.0,
}
