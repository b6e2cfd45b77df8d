"""`vllm bench serve`: one JSON object, or several after each other (`--append-result`).

Aggregates are in milliseconds, the arrays of `--save-detailed` in seconds. `request_rate` may be
the text "inf". Accelerator and layout are there only if the user put them in with `--metadata`,
which writes text beside the results.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.client import DONE, LATENCIES, workload
from tokenfleet.importers.readings import (
    TTFT,
    Format,
    Reading,
    Run,
    count,
    day,
    json_rows,
    readings,
    text,
)
from tokenfleet.importers.trace import RowError
from tokenfleet.schema.engines import engine_named

_STATISTIC = re.compile(r"(mean|median|std|p\d\d?(?:\.\d{1,3})?)_(ttft|tpot|itl|e2el)_ms")
_SYSTEM = ("system", "hardware", "accelerator", "gpu_type", "gpu_name", "gpu", "device")
_GOODPUT = ("request_goodput", "request_goodput:")
_WHOLE = ("p50", "p90", "p95", "p99")


def run(row: Mapping[str, Any]) -> Run:
    """One result object.

    Raises:
        RowError: not a completed run, or a value that is not a number.
    """
    facts = {**workload(row), **_metadata(row)}
    notes = [] if facts["request_rate"] or facts["concurrency"] else [_BURST]
    return Run(facts, tuple(_figures(row)), tuple(notes))


_BURST = "neither rate nor concurrency was limited: all requests were sent at once"


def _metadata(row: Mapping[str, Any]) -> dict[str, Any]:
    """What users write with `--metadata`, and the engine where the client names one."""
    engine = engine_named(text(row, "engine", "backend") or "")
    return {
        "model": text(row, "model_id", "model"),
        "date": day(row.get("date")),
        "engine": engine.id if engine else None,
        "engine_version": text(row, "engine_version", "vllm_version", "version"),
        "system": text(row, *_SYSTEM),
        "precision": text(row, "precision", "quantization", "dtype"),
        "tp": count(row, "tp", "tensor_parallel_size", "tensor_parallel"),
        "pp": count(row, "pp", "pipeline_parallel_size", "pipeline_parallel"),
        "ep": count(row, "ep", "expert_parallel_size"),
        "dp_attention": count(row, "dp", "data_parallel_size"),
        "gpus": count(row, "gpus", "num_gpus", "gpu_count"),
    }


def _figures(row: Mapping[str, Any]) -> Iterator[Reading]:
    for key in row:
        match = _STATISTIC.fullmatch(key)
        if match:
            statistic, metric = match.groups()
            name = {"median": "p50"}.get(statistic, statistic)
            yield from readings(row, metric, {key: name}, "ms", LATENCIES[metric])
    yield from _rates(row)
    yield from _from_array(row)


def _rates(row: Mapping[str, Any]) -> Iterator[Reading]:
    yield from readings(
        row, "request_throughput", {"request_throughput": "total"}, "requests/s", f"requests {DONE}"
    )
    # Some versions write the key with a colon.
    goodput = next((key for key in _GOODPUT if row.get(key) is not None), _GOODPUT[0])
    kept = f"requests within the limits, {DONE}"
    yield from readings(row, "goodput", {goodput: "total"}, "requests/s", kept)
    tokens = {
        "output_throughput": "output_throughput",
        "total_token_throughput": "total_throughput",
    }
    for key, metric in tokens.items():
        yield from readings(row, metric, {key: "total"}, "tokens/s", f"tokens {DONE}")


def _from_array(row: Mapping[str, Any]) -> Iterator[Reading]:
    """Percentiles of TTFT that the aggregates lack, from the value of each request (seconds)."""
    seconds, outputs = row.get("ttfts"), row.get("output_lens")
    if not isinstance(seconds, list) or not isinstance(outputs, list):
        return
    if len(seconds) != len(outputs):
        raise RowError(f"ttfts has {len(seconds)} values, output_lens {len(outputs)}")
    answered = [s for s, tokens in zip(seconds, outputs, strict=True) if tokens]
    if not all(type(s) in (int, float) and math.isfinite(s) for s in answered):
        raise RowError("ttfts has a value that is not a number of seconds")
    if len(answered) < 2:
        return
    cuts = statistics.quantiles(answered, n=100, method="inclusive")
    for name in _WHOLE:
        stated = "median_ttft_ms" if name == "p50" else f"{name}_ttft_ms"
        if row.get(stated) is None:
            yield Reading("ttft", name, cuts[int(name[1:]) - 1], "s", f"{TTFT}; from `ttfts`")


FORMAT = Format(json_rows, run)
