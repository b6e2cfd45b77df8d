"""`vllm bench throughput` and `vllm bench latency`: offline runs, a JSON object each.

Throughput sends every prompt at once; its `tokens_per_second` counts prompts and answers. Latency
repeats one batch; its seconds are those of the whole batch, end to end. Neither names a model, an
accelerator, lengths or the batch: they must be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet.importers.client import DONE
from tokenfleet.importers.readings import E2EL, Format, Reading, Run, count, json_rows, readings
from tokenfleet.importers.trace import RowError

_BATCH = f"{E2EL}, of a whole batch"


def throughput_run(row: Mapping[str, Any]) -> Run:
    """A throughput run.

    Raises:
        RowError: no request, or a value of the wrong kind.
    """
    done = count(row, "num_requests")
    if done is None:
        raise RowError("num_requests is 0 or missing")
    figures = (
        *readings(
            row,
            "request_throughput",
            {"requests_per_second": "total"},
            "requests/s",
            f"requests {DONE}",
        ),
        *readings(
            row,
            "total_throughput",
            {"tokens_per_second": "total"},
            "tokens/s",
            f"prompt and output tokens {DONE}",
        ),
    )
    return Run({"n": done, "engine": "vllm"}, figures, ("all requests were sent at once",))


def latency_run(row: Mapping[str, Any]) -> Run:
    """A latency run.

    Raises:
        RowError: a value of the wrong kind.
    """
    seconds = row.get("latencies")
    figures: list[Reading] = []
    for key, statistic in (("avg_latency", "mean"), ("std_latency", "std")):
        figures.extend(readings(row, "e2el", {key: statistic}, "s", _BATCH))
    percentiles = row.get("percentiles")
    if isinstance(percentiles, dict):
        keys = {str(p): f"p{p}" for p in percentiles}
        figures.extend(readings(percentiles, "e2el", keys, "s", _BATCH))
    repeats = len(seconds) if isinstance(seconds, list) else None
    return Run({"n": repeats or None, "engine": "vllm"}, tuple(figures))


THROUGHPUT_FORMAT = Format(json_rows, throughput_run)
LATENCY_FORMAT = Format(json_rows, latency_run)
