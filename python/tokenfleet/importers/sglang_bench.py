"""SGLang `bench_serving`: JSON lines, appended run after run, of several versions in one file.

A record names neither model nor accelerator: both must be given. `max_concurrency` is what was
asked for; `concurrency` is the mean that was reached and is kept as a figure (`in_flight`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.client import DONE, LATENCIES, statistics, workload
from tokenfleet.importers.readings import Format, Reading, Run, json_rows, readings, text
from tokenfleet.schema.engines import engine_named

_STATISTICS = statistics("50", "90", "95", "99")
_NAMES = {"e2el": "e2e_latency"}  # where it differs from ours


def run(row: Mapping[str, Any]) -> Run:
    """One record.

    Raises:
        RowError: no request was answered, or a value that is not a number.
    """
    engine = engine_named(text(row, "backend") or "")
    return Run({**workload(row), "engine": engine.id if engine else None}, tuple(_figures(row)))


def _figures(row: Mapping[str, Any]) -> Iterator[Reading]:
    for metric, definition in LATENCIES.items():
        name = _NAMES.get(metric, metric)
        keys = {f"{s}_{name}_ms": statistic for s, statistic in _STATISTICS.items()}
        yield from readings(row, metric, keys, "ms", definition)
    yield from _rates(row)


def _rates(row: Mapping[str, Any]) -> Iterator[Reading]:
    total = {"request_throughput": "total"}
    yield from readings(row, "request_throughput", total, "requests/s", f"requests {DONE}")
    for metric in ("input_throughput", "output_throughput"):
        yield from readings(row, metric, {metric: "total"}, "tokens/s", f"tokens {DONE}")
    reached = "requests in flight, mean over the run, as reached"
    yield from readings(row, "in_flight", {"concurrency": "mean"}, "requests", reached)
    accepted = "tokens per step of speculative decoding"
    yield from readings(row, "acceptance_length", {"accept_length": "mean"}, "tokens", accepted)


FORMAT = Format(json_rows, run)
