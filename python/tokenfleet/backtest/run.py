"""One measured run in the catalog's names, and what its cells may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tokenfleet.catalog import Catalog, names
from tokenfleet.catalog.names import UnknownNameError
from tokenfleet.errors import SchemaError
from tokenfleet.points.rates import Layout

# closed: so many requests in flight. offline: all requests at once. server: the most requests/s
# under latency limits. open: an arrival rate. saturated: more arrivals than are served. power:
# watts of a whole system.
Kind = Literal["closed", "offline", "server", "open", "saturated", "power"]
AT_CAPACITY = frozenset({"offline", "server", "saturated"})

Cells = Mapping[str, str]
# Percentiles of a length, and their standard normal quantiles: a log-normal length ends at `max`.
_QUANTILES = {"p50": 0.0, "p90": 1.2816, "p95": 1.6449, "p99": 2.3263, "max": 3.5}
PERCENTILES = tuple(_QUANTILES)


@dataclass(frozen=True, order=True)
class Tokens:
    """Length of prompts or answers: fixed, or with these p50, p90, p95, p99 and longest."""

    mean: float
    at: tuple[float, ...] = ()

    @classmethod
    def log_normal(cls, mean: float, log_sd: float, longest: float = math.inf) -> Tokens:
        """Log-normal with this standard deviation of the logarithm, cut off at the longest."""
        quantiles = (mean * math.exp(log_sd * z - log_sd * log_sd / 2) for z in _QUANTILES.values())
        return cls(mean, tuple(min(x, longest) for x in quantiles))

    def schema(self) -> float | dict[str, float]:
        """As a scenario says it."""
        if not self.at:
            return self.mean
        return {"mean": self.mean, **dict(zip(PERCENTILES, self.at, strict=True))}


@dataclass(frozen=True, order=True)
class LatencyLimits:
    """99th percentiles that a server run must keep, ms."""

    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True)
class AtCapacity:
    """How a run at capacity was made."""

    batch_per_rank: int | None = None  # most sequences per data-parallel rank; None: what fits
    reserved: bool = False  # caches are reserved whole
    requests_per_gpu: float = math.inf
    accelerators: float = 1.0  # of all replicas that share the requests
    limits: LatencyLimits | None = None


@dataclass(frozen=True)
class Pools:
    """Separate pools of a run, whose own layout is that of a worker that answers: the layout of one
    that reads prompts, and how many workers each pool has."""

    prefill: Layout
    prefill_workers: int
    decode_workers: int


@dataclass(frozen=True)
class Run:
    """One measured run. `layouts`: those that the row allows; the best of them is taken."""

    file: str
    row: int
    id: str
    kind: Kind
    layouts: tuple[Layout, ...]
    load: float  # requests in flight (closed) or requests/s (open); 0 at capacity
    input: Tokens
    output: Tokens
    measured: Mapping[str, float]  # tpot, ttft (ms), tokens_s_gpu, watts
    at: AtCapacity = AtCapacity()
    pools: Pools | None = None
    other: Mapping[str, float] = field(default_factory=dict)
    flag: str = ""
    version: str = ""  # of the engine
    as_installed: bool = False  # the engine without a vendor's own kernels switched on
    architecture: str = ""  # catalog model with this one's shape
    benchmark: str = ""  # who ran it and how
    label: str = ""  # the source's own name of what was served
    date: str = ""
    source: str = ""


@dataclass(frozen=True)
class Skipped:
    """A row or a whole file (row 0) that was not predicted, and why."""

    file: str
    row: int
    id: str
    reason: str


def number(cells: Cells, column: str, where: str) -> float:
    """A positive number.

    Raises:
        UnknownNameError: a blank cell.
        SchemaError: not a positive number.
    """
    text = cells.get(column, "")
    if not text:
        raise UnknownNameError(f"no {column}")
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < math.inf:
        raise SchemaError(
            f"{where}: {column}: {text[:40]!r} is not a positive number",
            "write a plain number, or leave it blank",
        )
    return value


def count(cells: Cells, column: str, where: str, default: int = 1) -> int:
    """A whole number of at least 1; `default` where the column is blank."""
    value = number(cells, column, where) if cells.get(column) else float(default)
    if value != int(value):
        raise SchemaError(f"{where}: {column}: {value:g} is not whole", "write a whole number")
    return int(value)


def figures(cells: Cells, columns: Mapping[str, str], where: str) -> dict[str, float]:
    """The columns that are filled, by metric."""
    return {m: number(cells, c, where) for m, c in columns.items() if cells.get(c)}


def served(
    catalog: Catalog, system: str, model: str, engine: str, precision: str
) -> dict[str, Any]:
    """Fields of a `Layout` beside its parallelism; the cache in the format the engine has."""
    latent_fp4 = names.latent_fp4(catalog, system, model)
    kv = names.kv_format(engine, precision, latent_fp4=latent_fp4)
    return {"system": system, "model": model, "engine": engine, "precision": precision, "kv": kv}


def about(cells: Cells) -> dict[str, Any]:
    """Date and source of a row."""
    return {"date": cells.get("measured", ""), "source": cells.get("source", "")}
