"""Length distributions and rate curves from traces and from cumulative distributions.

The rows of the catalog's `lengths.json` are printed by

    python -m tokenfleet.importers.lengths TRACE FORMAT [BUCKETS]
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet.errors import SchemaError
from tokenfleet.importers.azure import read_azure
from tokenfleet.importers.burstgpt import read_burstgpt
from tokenfleet.importers.mooncake import block_hit_rate, cached_tokens, read_mooncake
from tokenfleet.importers.trace import Floats, RowError, Trace, cell, csv_rows
from tokenfleet.schema.fields import TraceFormat
from tokenfleet.schema.workload import Length, RequestClass, bucket_ids

READERS: dict[TraceFormat, Callable[[Path], Trace]] = {
    "azure": read_azure,
    "mooncake": read_mooncake,
    "burstgpt": read_burstgpt,
}
# Long prompts are rare and costly, so classes narrow towards the tail.
_EDGES = {1: (), 2: (0.9,), 3: (0.5, 0.9), 4: (0.5, 0.9, 0.99)}
_LEVELS = (0.5, 0.9, 0.95, 0.99)
_BLOCKS = 24


def read_trace(path: Path, trace_format: TraceFormat) -> Trace:
    """Reads a trace in a named format."""
    return READERS[trace_format](path)


def bucket_edges(count: int) -> tuple[float, ...]:
    """Cumulative shares at which classes are cut: `count - 1` of them, the last one 0.99."""
    if count in _EDGES:
        return _EDGES[count]
    return (*(0.9 * i / (count - 2) for i in range(1, count - 1)), 0.99)


def length_of(tokens: Floats) -> Length:
    """Distribution of a sample: moments and linearly interpolated percentiles."""
    p50, p90, p95, p99 = (float(v) for v in np.quantile(tokens, _LEVELS))
    return Length(
        mean=float(tokens.mean()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=float(tokens.max()),
        m2=float(np.mean(tokens**2)),
    )


def classes_from_trace(
    trace: Trace, buckets: int, prefix_hit_rate: float | None = 0.0
) -> tuple[RequestClass, ...]:
    """Request classes by input length, shortest first.

    Equal lengths stay together, so there may be fewer classes than `buckets`. With
    `prefix_hit_rate` None each class takes the trace's own rate with an unlimited cache.
    """
    inputs = trace.input_tokens.astype(np.float64)
    outputs = trace.output_tokens.astype(np.float64)
    cached = cached_tokens(trace)
    edges = np.unique(np.quantile(inputs, bucket_edges(buckets)))
    members = [np.searchsorted(edges, inputs, side="left") == i for i in range(len(edges) + 1)]
    members = [m for m in members if m.any()]
    found = []
    for name, member in zip(bucket_ids(len(members)), members, strict=True):
        rate = prefix_hit_rate
        if rate is None:
            rate = float(cached[member].sum() / inputs[member].sum())
        found.append(
            RequestClass(
                id=name,
                share=float(member.mean()),
                input_tokens=length_of(inputs[member]),
                output_tokens=length_of(outputs[member]),
                prefix_hit_rate=rate,
            )
        )
    return tuple(found)


# Cumulative distributions


@dataclass(frozen=True)
class QuantileFunction:
    """Piecewise-linear quantile function through (level, tokens), levels from 0 to 1."""

    levels: Floats
    tokens: Floats

    def at(self, level: float) -> float:
        """Tokens at a cumulative share."""
        return float(np.interp(level, self.levels, self.tokens))

    def length(self, low: float = 0.0, high: float = 1.0) -> Length:
        """Distribution between two cumulative shares; moments are exact for the pieces."""
        inner = self.levels[(self.levels > low) & (self.levels < high)]
        cuts = np.concatenate(([low], inner, [high]))
        x = np.interp(cuts, self.levels, self.tokens)
        width = np.diff(cuts) / (high - low)
        mean = float(np.sum(width * (x[:-1] + x[1:]) / 2))
        square = float(np.sum(width * (x[:-1] ** 2 + x[:-1] * x[1:] + x[1:] ** 2) / 3))
        p50, p90, p95, p99 = (self.at(low + p * (high - low)) for p in _LEVELS)
        top = self.at(high)
        return Length(mean=mean, p50=p50, p90=p90, p95=p95, p99=p99, max=top, m2=square)


def read_cdf(path: Path) -> dict[str, QuantileFunction]:
    """Input and output length distributions from CSV columns `side`, `tokens`, `cdf`.

    `side` is `input` or `output`; `cdf` is the share of requests with at most `tokens`, rises
    with `tokens` and ends at 1. Mass at the first row's `cdf` sits at its `tokens`.

    Raises:
        SchemaError: names file and rows.
    """
    points: dict[str, list[tuple[float, float]]] = {"input": [], "output": []}
    faults = []
    for line, row in csv_rows(path, ("side", "tokens", "cdf")):
        try:
            side = cell(row, "side")
            if side not in points:
                raise RowError(f"side {side[:40]!r} should be input or output")
            points[side].append(_point(row, points[side]))
        except RowError as error:
            faults.append(f"{path}: row {line}: {error}")
    if faults:
        raise SchemaError("\n".join(faults[:10]), "fix these rows")
    return {side: _quantile_function(path, side, rows) for side, rows in points.items()}


def _point(row: dict[str, str], before: Sequence[tuple[float, float]]) -> tuple[float, float]:
    tokens, share = (_finite(name, cell(row, name)) for name in ("tokens", "cdf"))
    if tokens <= 0:
        raise RowError(f"tokens is {tokens:g}; it should be above zero")
    if not 0 <= share <= 1:
        raise RowError(f"cdf is {share:g}; it should be 0 to 1")
    if before and not (tokens > before[-1][0] and share >= before[-1][1]):
        raise RowError("tokens should rise and cdf should not fall from row to row")
    return tokens, share


def _finite(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RowError(f"{name} {text[:40]!r} is not a finite number")
    return value


def _quantile_function(
    path: Path, side: str, rows: Sequence[tuple[float, float]]
) -> QuantileFunction:
    if not rows or abs(rows[-1][1] - 1) > 1e-9:
        raise SchemaError(f"{path}: the {side} side does not end at cdf 1", "add its last row")
    tokens = np.array([rows[0][0], *(t for t, _ in rows)])
    levels = np.array([0.0, *(p for _, p in rows)])
    levels[-1] = 1.0
    return QuantileFunction(levels, tokens)


def classes_from_cdf(
    path: Path, buckets: int, prefix_hit_rate: float = 0.0
) -> tuple[RequestClass, ...]:
    """Request classes by input length; outputs follow the same distribution in every class."""
    sides = read_cdf(path)
    cuts = (0.0, *bucket_edges(buckets), 1.0)
    return tuple(
        RequestClass(
            id=name,
            share=high - low,
            input_tokens=sides["input"].length(low, high),
            output_tokens=sides["output"].length(),
            prefix_hit_rate=prefix_hit_rate,
        )
        for name, low, high in zip(bucket_ids(buckets), cuts[:-1], cuts[1:], strict=True)
    )


# Rates


def whole_bins(timestamp_s: Floats, bin_s: float = 60.0) -> Floats:
    """Requests in each whole bin counted from the first request; the last, partial bin is
    dropped."""
    count = int(timestamp_s[-1] // bin_s)
    if count == 0:
        return np.zeros(0)
    counts = np.bincount((timestamp_s // bin_s).astype(np.int64), minlength=count)
    return counts[:count].astype(np.float64)


def peak_to_mean(timestamp_s: Floats, bin_s: float = 60.0) -> float:
    """Busiest whole bin over the mean of whole bins."""
    bins = whole_bins(timestamp_s, bin_s)
    if not len(bins):
        raise SchemaError(f"the trace is shorter than {bin_s:g} s", "give a longer trace")
    return float(bins.max() / bins.mean())


def rate_curve(trace: Trace) -> tuple[float, ...]:
    """24 relative rates with mean 1, each for an hour a day.

    A trace of a day or more gives the rate by hour after its first request, averaged over days.
    A shorter one gives its load-duration curve: whole minutes sorted from busiest to quietest
    and cut into 24 equal parts.

    Raises:
        SchemaError: the trace has fewer than 24 whole minutes.
    """
    minutes = whole_bins(trace.timestamp_s)
    if len(minutes) < _BLOCKS:
        raise SchemaError(
            f"{trace.source}: has {len(minutes)} whole minutes; a rate curve needs {_BLOCKS}",
            "give a longer trace, or state peak_to_mean",
        )
    days = len(minutes) // (_BLOCKS * 60)
    if days:
        curve = minutes[: days * _BLOCKS * 60].reshape(days, _BLOCKS, 60).mean(axis=(0, 2))
    else:
        total = np.concatenate(([0.0], np.cumsum(np.sort(minutes)[::-1])))
        cuts = np.linspace(0, len(minutes), _BLOCKS + 1)
        curve = np.diff(np.interp(cuts, np.arange(len(total)), total))
    return tuple(float(v) for v in curve / curve.mean())


# Catalog rows


def describe(trace: Trace, buckets: int) -> dict[str, Any]:
    """A catalog row: classes with their own prefix hits, and the shape of the arrivals."""
    classes = classes_from_trace(trace, buckets, None)
    row: dict[str, Any] = {
        "requests": len(trace),
        "span_s": round(trace.span_s, 3),
        "peak_to_mean_1min": round(peak_to_mean(trace.timestamp_s), 4),
        "input_tokens": _rounded(length_of(trace.input_tokens.astype(np.float64))),
        "output_tokens": _rounded(length_of(trace.output_tokens.astype(np.float64))),
    }
    if trace.blocks is not None:
        row["block_tokens"] = trace.block_tokens
        row["block_hit_rate"] = round(block_hit_rate(trace), 5)
    row["classes"] = [
        {
            "id": c.id,
            "share": c.share,
            "input_tokens": _rounded(c.input_tokens),
            "output_tokens": _rounded(c.output_tokens),
            "prefix_hit_rate": None if trace.blocks is None else round(c.prefix_hit_rate, 5),
        }
        for c in classes
    ]
    return row


def _rounded(length: Length) -> dict[str, float]:
    return {name: round(value, 2) for name, value in length.model_dump().items()}


def main(arguments: Sequence[str]) -> None:
    """Prints the catalog row of a trace as JSON."""
    path, trace_format, *rest = arguments
    if trace_format not in READERS:
        raise SchemaError(f"unknown format {trace_format!r}", f"one of {', '.join(READERS)}")
    trace = read_trace(Path(path), trace_format)
    json.dump(describe(trace, int(rest[0]) if rest else 4), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main(sys.argv[1:])
