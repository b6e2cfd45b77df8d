"""MLPerf Endpoints `result_summary.json`: one run against a server.

Nanoseconds. `qps` counts completed requests, `tps` output tokens, per second of the run. The file
names neither model nor accelerator: they must be given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.client import DONE
from tokenfleet.importers.readings import (
    E2EL,
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
    text,
)
from tokenfleet.importers.trace import RowError

_LATENCIES = {"ttft": TTFT, "tpot": TPOT, "latency": E2EL}
_NAMES = {"latency": "e2el"}
_STATISTICS = {"avg": "mean", "std_dev": "std", "min": "min", "max": "max"}


def run(row: Mapping[str, Any]) -> Run:
    """One result.

    Raises:
        RowError: not complete, no request answered, or a value of the wrong kind.
    """
    if row.get("complete") is False:
        raise RowError("the run is not complete")
    done = count(row, "n_samples_completed")
    if done is None:
        raise RowError("n_samples_completed is 0 or missing")
    pattern = level(level(row, "run_config"), "load_pattern")
    arrivals = text(pattern, "type") in ("poisson", "constant")
    facts = {
        "n": done,
        "request_rate": positive(pattern, "target_qps") if arrivals else None,
        "concurrency": count(pattern, "target_concurrency", "concurrency"),
    }
    failed = count(row, "n_samples_failed")
    return Run(facts, tuple(_figures(row)), (f"{failed} requests failed",) if failed else ())


def _figures(row: Mapping[str, Any]) -> Iterator[Reading]:
    for name, definition in _LATENCIES.items():
        block = level(row, name)
        metric = _NAMES.get(name, name)
        yield from readings(block, metric, _STATISTICS, "ns", definition)
        percentiles = level(block, "percentiles")
        for key in percentiles:
            value = number(percentiles, key)
            level_of = number({"percentile": key}, "percentile")
            if value is not None and level_of is not None:
                yield Reading(metric, f"p{level_of:g}", value, "ns", definition)
    yield from readings(row, "request_throughput", {"qps": "total"}, "requests/s", DONE)
    yield from readings(row, "output_throughput", {"tps": "total"}, "tokens/s", DONE)


FORMAT = Format(json_rows, run)
