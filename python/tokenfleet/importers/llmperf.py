"""LLMPerf `..._summary.json`: one flat object of a closed-loop run.

Seconds. Its `inter_token_latency_s` is the whole request's time over its output tokens, the first
token's wait included, so it is no TPOT; that is (end-to-end - TTFT) / (tokens - 1), which the
summary does not have, and only its mean follows from other means. Accelerator and layout must be
given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.importers.client import DONE
from tokenfleet.importers.readings import (
    E2EL,
    TTFT,
    Format,
    Reading,
    Run,
    count,
    json_rows,
    number,
    positive,
    readings,
    text,
)
from tokenfleet.importers.trace import RowError

_LATENCIES = {"ttft_s": ("ttft", TTFT), "end_to_end_latency_s": ("e2el", E2EL)}
_STATISTICS = {
    "mean": "mean",
    "stddev": "std",
    "min": "min",
    "max": "max",
    **{f"quantiles_p{p}": f"p{p}" for p in ("25", "50", "75", "90", "95", "99")},
}
_TPOT = "(mean end-to-end - mean TTFT) / (mean output tokens - 1): a ratio of means"


def run(row: Mapping[str, Any]) -> Run:
    """One summary.

    Raises:
        RowError: no request was answered, or a value of the wrong kind.
    """
    row = _flat(row)
    done = count(row, "results_num_completed_requests")
    if done is None:
        raise RowError("results_num_completed_requests is 0 or missing")
    failed = count(row, "results_number_errors")
    facts = {
        "model": text(row, "model"),
        "n": done,
        "concurrency": count(row, "num_concurrent_requests"),
        "input_tokens": positive(row, "results_number_input_tokens_mean"),
        "output_tokens": positive(row, "results_number_output_tokens_mean"),
    }
    return Run(facts, tuple(_figures(row)), (f"{failed} requests failed",) if failed else ())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A summary with its statistics beside each other, as some versions nest them: `results_ttft_s:
    {quantiles: {p50: ...}, mean: ...}`."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if not isinstance(value, dict):
            flat[key] = value
            continue
        for name, inner in value.items():
            parts = inner.items() if isinstance(inner, dict) else (("", inner),)
            flat |= {f"{key}_{name}_{part}".rstrip("_"): figure for part, figure in parts}
    return flat


def _figures(row: Mapping[str, Any]) -> Iterator[Reading]:
    for name, (metric, definition) in _LATENCIES.items():
        keys = {f"results_{name}_{word}": kept for word, kept in _STATISTICS.items()}
        yield from readings(row, metric, keys, "s", definition)
    names = ("end_to_end_latency_s", "ttft_s", "number_output_tokens")
    whole, first, tokens = (number(row, f"results_{name}_mean") for name in names)
    if whole is not None and first is not None and tokens is not None and tokens > 1:
        yield Reading("tpot", "mean", (whole - first) / (tokens - 1), "s", _TPOT)
    key = "results_num_completed_requests_per_min"
    yield from readings(
        row, "request_throughput", {key: "total"}, "requests/min", f"requests {DONE}"
    )
    key = "results_mean_output_throughput_token_per_s"
    yield from readings(row, "output_throughput", {key: "total"}, "tokens/s", f"tokens {DONE}")


FORMAT = Format(json_rows, run)
