"""GuideLLM reports (`benchmarks.json`): a run for each benchmark of a sweep.

Its `inter_token_latency_ms` is (last - first token) / (output tokens - 1) of each request: our
TPOT. Its `time_per_output_token_ms` has the first token in it and is not read. `request_latency` is
in seconds, all else in ms. Figures are those of the successful requests. The report names neither
accelerator nor layout: they must be given.
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
    Rejected,
    Run,
    Source,
    count,
    json_rows,
    level,
    number,
    positive,
    raw_text,
    text,
)
from tokenfleet.importers.trace import RowError

_LATENCIES = {
    "time_to_first_token_ms": ("ttft", "ms", TTFT),
    "inter_token_latency_ms": ("tpot", "ms", TPOT),
    "request_latency": ("e2el", "s", E2EL),
}
_RATES = {
    "requests_per_second": ("request_throughput", "requests/s", f"requests {DONE}"),
    "output_tokens_per_second": ("output_throughput", "tokens/s", f"output tokens {DONE}"),
    "prompt_tokens_per_second": ("input_throughput", "tokens/s", f"prompt tokens {DONE}"),
    "tokens_per_second": ("total_throughput", "tokens/s", f"tokens {DONE}"),
    "request_concurrency": ("in_flight", "requests", "requests in flight, mean over the run"),
}
_WHOLE = {"mean": "mean", "std_dev": "std", "min": "min", "max": "max"}
_PERCENTILES = ("p50", "p90", "p95", "p99")
_STREAMS = ("streams", "max_concurrency", "worker_count")


def rows(content: str, source: str) -> Source:
    """Each benchmark of the report as a row, with the model that the report names.

    Raises:
        SchemaError: not JSON.
    """
    found = json_rows(content, source)
    each: list[tuple[int, Any]] = []
    for line, report in found.rows:
        model = _model(report)
        benchmarks = report.get("benchmarks") or ()
        if not benchmarks:
            reason = "the report has no benchmark: the run ended before any"
            found.rejected.append(Rejected(line, reason, raw_text(report)))
        for benchmark in benchmarks:
            if isinstance(benchmark, dict):
                each.append((line, {"model": model, **benchmark}))
    return Source(each, found.rejected, found.notes)


def _model(report: Mapping[str, Any]) -> str | None:
    args = level(report, "args")
    backend = level(level(level(report, "config"), "spec"), "backend")  # from 0.7 on
    named = text(args, "model") or text(level(args, "backend_kwargs"), "model")
    return named or text(backend, "model")


def run(row: Mapping[str, Any]) -> Run:
    """One benchmark.

    Raises:
        RowError: no request succeeded, or a value of the wrong kind.
    """
    if "metrics" not in row:
        raise RowError(
            "has no metrics: GuideLLM wrote such reports before 0.2, each request by itself; "
            "convert it with that version, or run the benchmark again"
        )
    metrics = level(row, "metrics")
    made = level(level(row, "scheduler_metrics"), "requests_made")  # of some versions the totals
    totals = level(metrics, "request_totals") or made
    done = count(totals, "successful")
    if done is None:
        raise RowError("no request was successful")
    failed = count(totals, "errored")
    notes = (f"{failed} requests failed",) if failed else ()
    return Run({**_load(row), **_facts(row, metrics), "n": done}, tuple(_figures(metrics)), notes)


def _facts(row: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    worker = level(row, "worker")
    return {
        "model": text(row, "model") or text(worker, "backend_model"),
        "input_tokens": positive(_successful(metrics, "prompt_token_count"), "mean"),
        "output_tokens": positive(_successful(metrics, "output_token_count"), "mean"),
    }


def _load(row: Mapping[str, Any]) -> dict[str, Any]:
    """Requests in flight, or arrivals, by the strategy that sent them."""
    strategy: Mapping[str, Any] = {}
    for above in ("config", "args", "scheduler"):
        strategy = strategy or level(level(row, above), "strategy")
    kind = text(strategy, "type_", "kind") or ""
    if kind == "synchronous":
        return {"concurrency": 1}
    if kind in ("constant", "poisson"):
        return {"request_rate": positive(strategy, "rate")}
    return {"concurrency": count(strategy, *_STREAMS) if kind == "concurrent" else None}


def _figures(metrics: Mapping[str, Any]) -> Iterator[Reading]:
    for key, (metric, unit, definition) in _LATENCIES.items():
        block = _successful(metrics, key)
        percentiles = level(block, "percentiles")
        found = {s: number(block, name) for name, s in _WHOLE.items()}
        found |= {p: number(percentiles, p) for p in _PERCENTILES}
        if found["p50"] is None:  # before 0.4 a field of its own
            found["p50"] = number(block, "median")
        for statistic, value in found.items():
            if value is not None:
                yield Reading(metric, statistic, value, unit, definition)
    for key, (metric, unit, definition) in _RATES.items():
        value = number(_successful(metrics, key), "mean")
        if value is not None:
            kind = "mean" if metric == "in_flight" else "total"
            yield Reading(metric, kind, value, unit, definition)


def _successful(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return level(level(metrics, name), "successful")


FORMAT = Format(rows, run)
