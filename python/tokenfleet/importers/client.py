"""What the results of load generators share: names of latencies, statistics, lengths and rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet.importers.readings import E2EL, ITL, TPOT, TTFT, count, number, positive, ratio
from tokenfleet.importers.trace import RowError

LATENCIES: Mapping[str, str] = {"ttft": TTFT, "tpot": TPOT, "itl": ITL, "e2el": E2EL}
DONE = "completed, over the whole run"


def statistics(*percentiles: str) -> dict[str, str]:
    """Statistics by the word before a metric's name: mean, median, std and some percentiles."""
    return {"mean": "mean", "median": "p50", "std": "std"} | {f"p{p}": f"p{p}" for p in percentiles}


def workload(row: Mapping[str, Any]) -> dict[str, Any]:
    """Requests answered, their mean lengths, and the load that was asked for.

    Raises:
        RowError: no request was answered, or a value of the wrong kind.
    """
    done = count(row, "completed")
    if done is None:
        raise RowError("completed is 0 or missing: no request was answered")
    return {
        "n": done,
        "concurrency": count(row, "max_concurrency"),
        "request_rate": _rate(row),
        "input_tokens": ratio(number(row, "total_input_tokens"), done),
        "output_tokens": ratio(number(row, "total_output_tokens"), done),
    }


def _rate(row: Mapping[str, Any]) -> float | None:
    """Arrivals in requests/s; None for "inf" or a bare Infinity, which sends everything at once."""
    value = row.get("request_rate")
    if str(value).strip().casefold() in ("inf", "infinity"):
        return None
    return positive(row, "request_rate")
