"""SGLang `bench_serving`: JSON lines, appended run after run, of several versions in one file.

A record names neither model nor accelerator: both must be given. `max_concurrency` is what was
asked for; `concurrency` is the mean that was reached and is kept as a figure (`in_flight`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.readings import (
    E2EL,
    ITL,
    TPOT,
    TTFT,
    Format,
    Reading,
    Run,
    count,
    json_rows,
    number,
    positive,
    ratio,
    readings,
    text,
)
from tokenfleet.importers.trace import RowError

_METRICS = {"ttft": TTFT, "tpot": TPOT, "itl": ITL, "e2e_latency": E2EL}
_STATISTICS = {"mean": "mean", "median": "p50", "std": "std"} | {
    f"p{p}": f"p{p}" for p in (50, 90, 95, 99)
}
_ENGINES = {"sglang": "sglang", "sglang-native": "sglang", "vllm": "vllm", "trt": "trtllm"}


def run(row: Mapping[str, Any]) -> Run:
    """One record.

    Raises:
        RowError: no request was answered, or a value that is not a number.
    """
    done = count(row, "completed")
    if done is None:
        raise RowError("completed is 0 or missing: no request was answered")
    facts = {
        "engine": _ENGINES.get(text(row, "backend") or ""),
        "n": done,
        "concurrency": count(row, "max_concurrency"),
        "request_rate": _rate(row),
        "input_tokens": ratio(number(row, "total_input_tokens"), done),
        "output_tokens": ratio(number(row, "total_output_tokens"), done),
    }
    return Run(facts, tuple(_figures(row)))


def _rate(row: Mapping[str, Any]) -> float | None:
    """Arrival rate; infinite ones are written as a number that JSON does not have, or as text."""
    value = row.get("request_rate")
    if isinstance(value, str) and math.isinf(float(value) if value in ("inf", "Infinity") else 0):
        return None
    return positive(row, "request_rate")


def _figures(row: Mapping[str, Any]) -> Iterator[Reading]:
    for name, definition in _METRICS.items():
        metric = "e2el" if name == "e2e_latency" else name
        keys = {f"{s}_{name}_ms": statistic for s, statistic in _STATISTICS.items()}
        yield from readings(row, metric, keys, "ms", definition)
    yield from _rates(row)


def _rates(row: Mapping[str, Any]) -> Iterator[Reading]:
    done = "completed, over the whole run"
    total = {"request_throughput": "total"}
    yield from readings(row, "request_throughput", total, "requests/s", f"requests {done}")
    for metric in ("input_throughput", "output_throughput"):
        yield from readings(row, metric, {metric: "total"}, "tokens/s", f"tokens {done}")
    reached = "requests in flight, mean over the run, as reached"
    yield from readings(row, "in_flight", {"concurrency": "mean"}, "requests", reached)
    accepted = "tokens per step of speculative decoding"
    yield from readings(row, "acceptance_length", {"accept_length": "mean"}, "tokens", accepted)


FORMAT = Format(json_rows, run)
