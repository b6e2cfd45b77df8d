"""AIConfigurator `best_config_topn.csv` and `pareto.csv`: predictions, not measurements.

Milliseconds; `tokens/s` is output. Prefill and decode apart have columns `(p)...` and `(d)...`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.readings import (
    E2EL,
    TPOT,
    TTFT,
    Format,
    Reading,
    Run,
    count,
    csv_source,
    positive,
    readings,
    text,
)
from tokenfleet.importers.trace import RowError

NOTE = "the figures are predictions of AIConfigurator, not measurements"
_METRICS = {
    "ttft": ("ttft", "ms", TTFT),
    "tpot": ("tpot", "ms", TPOT),
    "request_latency": ("e2el", "ms", E2EL),
    "seq/s": ("request_throughput", "requests/s", "requests completed"),
    "tokens/s": ("output_throughput", "tokens/s", "output tokens"),
    "tokens/s/gpu": ("output_throughput_per_gpu", "tokens/s/gpu", "output, divided by all GPUs"),
    "tokens/s/user": ("output_throughput_per_user", "tokens/s/user", "1000 / TPOT in ms"),
    "power_w": ("gpu_power", "W", "one GPU, weighted mean over the phases"),
}


def run(row: Mapping[str, Any]) -> Run:
    """One row.

    Raises:
        RowError: prefill and decode of different systems or formats, or a value of a wrong kind.
    """
    apart = "(p)workers" in row
    facts = {
        **_labels(row, apart),
        **(_pools(row) if apart else _layout(row, "")),
        "topology": "disagg" if apart else "agg",
        "gpus": count(row, "num_total_gpus"),
        "origin": "predicted",
    }
    return Run(facts, tuple(_figures(row)), (NOTE,))


def _labels(row: Mapping[str, Any], apart: bool) -> dict[str, Any]:
    return {
        "model": text(row, "model"),
        "system": _agreed(row, "system", apart),
        "engine": _agreed(row, "backend", apart),
        "engine_version": _agreed(row, "version", apart),
        "precision": _agreed(row, "gemm", apart),
        "concurrency": positive(row, "concurrency"),
        "input_tokens": positive(row, "isl"),
        "output_tokens": positive(row, "osl"),
    }


def _agreed(row: Mapping[str, Any], column: str, apart: bool) -> str | None:
    """The text of a column; with two pools both must say the same."""
    names = (f"(p){column}", f"(d){column}") if apart else (column,)
    found = {value for name in names if (value := text(row, name))}
    if len(found) > 1:
        raise RowError(f"{column} of prefill and decode differ: {', '.join(sorted(found))}")
    return next(iter(found), None)


def _layout(row: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {
        "tp": count(row, f"{prefix}tp"),
        "pp": count(row, f"{prefix}pp"),
        "ep": count(row, f"{prefix}moe_ep"),
        "dp_attention": count(row, f"{prefix}dp"),
    }


def _pools(row: Mapping[str, Any]) -> dict[str, Any]:
    prefill, decode = _layout(row, "(p)"), _layout(row, "(d)")
    return {
        **decode,
        "workers": count(row, "(d)workers"),
        "prefill": {**prefill, "workers": count(row, "(p)workers")},
    }


def _figures(row: Mapping[str, Any]) -> Iterator[Reading]:
    for column, (metric, unit, definition) in _METRICS.items():
        keys = {column: "mean"}
        yield from readings(row, metric, keys, unit, f"{definition}; predicted")


FORMAT = Format(csv_source, run)
