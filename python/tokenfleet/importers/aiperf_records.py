"""AIPerf `profile_export.jsonl`: one object per request, of one run.

Latencies carry their unit, and the unit is read; the stamps of `metadata` are epoch nanoseconds by
their names. Requests that failed or were cancelled are counted and left out, as are those of a
warm-up. Percentiles are computed (linear between neighbours, as AIPerf does), rates are over the
time from the first start to the last end. Neither model, accelerator nor load stand in the file.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from tokenfleet.importers.readings import (
    E2EL,
    ITL,
    TPOT,
    TTFT,
    Format,
    Reading,
    Rejected,
    Run,
    Source,
    convert,
    json_rows,
    number,
    raw_text,
)
from tokenfleet.importers.trace import RowError
from tokenfleet.schema.faults import brief

_LATENCIES = {
    "time_to_first_token": ("ttft", TTFT),
    "inter_token_latency": ("tpot", TPOT),
    "inter_chunk_latency": ("itl", ITL),
    "request_latency": ("e2el", E2EL),
}
_LENGTHS = {"input_sequence_length": "input_tokens", "output_sequence_length": "output_tokens"}
_PERCENTILES = (50, 90, 95, 99)
_NS = 1e-9
_LATEST_NS = 2**63


@dataclass
class _Requests:
    """Requests that were answered, as lists of equal meaning; times in ms, stamps in ns."""

    values: dict[str, list[float]] = field(default_factory=dict)
    stamps: list[tuple[int, int]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """One record.

        Raises:
            RowError: a value of the wrong kind, an unknown unit, or an end before its start.
        """
        reason = _left_out(row)
        if reason:
            self.left_out[reason] += 1
            return
        span, found = _span(row["metadata"]), _figures(row["metrics"])
        self.stamps.append(span)
        for name, values in found.items():
            self.values.setdefault(name, []).extend(values)


def rows(content: str, source: str) -> Source:
    """The whole file as one run; a record with a fault is rejected with its line.

    Raises:
        SchemaError: no readable JSON.
    """
    lines = json_rows(content, source)
    requests, rejected = _Requests(), list(lines.rejected)
    for line, row in lines.rows:
        try:
            requests.add(row)
        except RowError as error:
            rejected.append(Rejected(line, str(error), raw_text(row)))
    run = {"requests": requests.values, "stamps_ns": requests.stamps, "left_out": requests.left_out}
    notes = [f"left out: {n} {what}" for what, n in sorted(requests.left_out.items())]
    return Source([(1, run)], rejected, notes)


def _left_out(row: Mapping[str, Any]) -> str | None:
    """Why a record is no answered request of the measured phase."""
    about, figures = row.get("metadata"), row.get("metrics")
    if not isinstance(about, dict):
        raise RowError("has no metadata")
    if about.get("benchmark_phase") not in (None, "profiling"):
        return f"requests of phase {str(about['benchmark_phase'])[:20]}"
    if about.get("was_cancelled") is True:
        return "requests that were cancelled"
    if row.get("error") is not None:
        kind = row["error"].get("type") if isinstance(row["error"], dict) else None
        return f"requests that failed ({str(kind or 'no type')[:40]})"
    if not isinstance(figures, dict):
        raise RowError("has no metrics")
    return None


def _span(about: Mapping[str, Any]) -> tuple[int, int]:
    """Start and end, epoch ns."""
    start, end = (_stamp(about, f"request_{what}_ns") for what in ("start", "end"))
    if end < start:
        raise RowError(f"request_end_ns {end} is before request_start_ns {start}")
    return start, end


def _stamp(about: Mapping[str, Any], key: str) -> int:
    """Epoch nanoseconds, whole: a float has no room for them."""
    value = about.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < _LATEST_NS:
        raise RowError(f"{key}: {brief(value, 40)} is no time in nanoseconds since 1970")
    return value


def _figures(metrics: Mapping[str, Any]) -> dict[str, list[float]]:
    """Values of one request: latencies in ms, lengths in tokens."""
    found: dict[str, list[float]] = {}
    for name, (metric, definition) in _LATENCIES.items():
        for value, unit in _values(metrics, name):
            reading = Reading(metric, "mean", value, unit, definition)
            found.setdefault(metric, []).append(convert(reading, "ms"))
    for name, kept in _LENGTHS.items():
        for value, unit in _values(metrics, name):
            reading = Reading(kept, "mean", value, unit, "")
            found.setdefault(kept, []).append(convert(reading, "tokens"))
    return found


def _values(metrics: Mapping[str, Any], name: str) -> Iterator[tuple[float, str]]:
    """Value or values of a metric with their unit; absent or null is none."""
    block = metrics.get(name)
    if block is None:
        return
    if not isinstance(block, dict) or not isinstance(block.get("unit"), str):
        raise RowError(f"{name}: has no unit")
    given = block.get("value")
    for value in given if isinstance(given, list) else [given]:
        read = number({name: value}, name)
        if read is not None:
            yield read, block["unit"]


def run(row: Mapping[str, Any]) -> Run:
    """The run that the requests make up.

    Raises:
        RowError: no request was answered.
    """
    stamps, values = row["stamps_ns"], row["requests"]
    if not stamps:
        raise RowError("no request was answered")
    first = min(start for start, _ in stamps)
    facts = {
        "n": len(stamps),
        "input_tokens": _mean(values.get("input_tokens")),
        "output_tokens": _mean(values.get("output_tokens")),
        "date": datetime.fromtimestamp(first * _NS, timezone.utc).date(),
    }
    found = [
        reading
        for metric, definition in _LATENCIES.values()
        for reading in _statistics(metric, values.get(metric, []), definition)
    ]
    return Run(facts, (*found, *_rates(stamps, values)))


def _mean(values: Sequence[float] | None) -> float | None:
    return statistics.fmean(values) if values else None


def _statistics(metric: str, values: Sequence[float], definition: str) -> Iterator[Reading]:
    """Mean and percentiles of a latency, ms."""
    said = f"{definition}; computed from {len(values)} values"
    if values:
        yield Reading(metric, "mean", statistics.fmean(values), "ms", said)
    if len(values) > 1:
        yield Reading(metric, "std", statistics.stdev(values), "ms", said)
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        for p in _PERCENTILES:
            yield Reading(metric, f"p{p}", cuts[p - 1], "ms", said)


def _rates(
    stamps: Sequence[tuple[int, int]], values: Mapping[str, Sequence[float]]
) -> Iterator[Reading]:
    """Rates over the time from the first start to the last end, and requests in flight."""
    span_s = (max(end for _, end in stamps) - min(start for start, _ in stamps)) * _NS
    if span_s <= 0.0:
        return
    said = "answered, from the first start to the last end"
    rate = len(stamps) / span_s
    yield Reading("request_throughput", "total", rate, "requests/s", f"requests {said}")
    tokens = {name: sum(values.get(name, ())) for name in _LENGTHS.values()}
    if tokens["output_tokens"]:
        output = tokens["output_tokens"] / span_s
        yield Reading("output_throughput", "total", output, "tokens/s", f"output tokens {said}")
        if tokens["input_tokens"]:
            total = output + tokens["input_tokens"] / span_s
            yield Reading("total_throughput", "total", total, "tokens/s", f"tokens {said}")
    busy_s = sum(end - start for start, end in stamps) * _NS
    reached = "requests in flight, mean over the run, as reached"
    yield Reading("in_flight", "mean", busy_s / span_s, "requests", reached)


FORMAT = Format(rows, run)
