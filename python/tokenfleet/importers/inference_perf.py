"""Kubernetes inference-perf: `summary_lifecycle_metrics.json` and the same of each stage.

Latencies are in seconds. `time_per_output_token` is without the first token: our TPOT;
`normalized_time_per_output_token` has it in and is not read. A stage says the rate that was asked
for, or the requests in flight; the summary says neither. Model, accelerator and layout must be
given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.client import DONE
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
    level,
    number,
    positive,
    readings,
)
from tokenfleet.importers.trace import RowError

_LATENCIES = {
    "time_to_first_token": ("ttft", TTFT),
    "time_per_output_token": ("tpot", TPOT),
    "inter_token_latency": ("itl", ITL),
    "request_latency": ("e2el", E2EL),
}
_RATES = {
    "requests_per_sec": ("request_throughput", "requests/s", f"requests {DONE}"),
    "input_tokens_per_sec": ("input_throughput", "tokens/s", f"prompt tokens {DONE}"),
    "output_tokens_per_sec": ("output_throughput", "tokens/s", f"output tokens {DONE}"),
    "total_tokens_per_sec": ("total_throughput", "tokens/s", f"tokens {DONE}"),
}
_NAMES = {"median": "p50"}
_STATISTIC = re.compile(r"mean|min|max|median|p\d\d?(?:\.\d{1,3})?")


def run(row: Mapping[str, Any]) -> Run:
    """One report.

    Raises:
        RowError: no request was answered, or a value of the wrong kind.
    """
    done, load = level(row, "successes"), level(row, "load_summary")
    answered = count(done, "count")
    if answered is None:
        raise RowError("successes.count is 0 or missing: no request was answered")
    concurrency = count(load, "concurrency")
    facts = {
        "n": answered,
        "concurrency": concurrency,
        "request_rate": None if concurrency else positive(load, "requested_rate"),
        "input_tokens": _mean(done, "prompt_len", "prompt_tokens"),
        "output_tokens": _mean(done, "output_len", "output_tokens"),
    }
    failed = count(level(row, "failures"), "count")
    return Run(facts, tuple(_figures(done)), (f"{failed} requests failed",) if failed else ())


def _figures(done: Mapping[str, Any]) -> Iterator[Reading]:
    for key, (metric, definition) in _LATENCIES.items():
        block = level(level(done, "latency"), key)
        for name in block:
            value = number(block, name) if _STATISTIC.fullmatch(name) else None
            if value is not None:
                yield Reading(metric, _NAMES.get(name, name), value, "s", definition)
    for key, (metric, unit, definition) in _RATES.items():
        yield from readings(level(done, "throughput"), metric, {key: "total"}, unit, definition)


def _mean(done: Mapping[str, Any], *names: str) -> float | None:
    return next((m for name in names if (m := positive(level(done, name), "mean"))), None)


FORMAT = Format(json_rows, run)
