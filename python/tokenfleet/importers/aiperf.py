"""AIPerf and GenAI-Perf summaries: JSON (one object, of two schema versions) and CSV (two blocks).

Every metric carries its unit, and the unit is read, never assumed. The `inter_token_latency` of
both tools is (end-to-end - TTFT) / (output tokens - 1): our TPOT. `adj_*` percentiles count failed
requests as endless. The CSV names neither model nor load: they must be given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.importers.readings import (
    E2EL,
    ITL,
    TPOT,
    TTFT,
    Format,
    Reading,
    Run,
    Source,
    count,
    csv_cells,
    day,
    json_rows,
    number,
    positive,
    text,
)
from tokenfleet.importers.trace import RowError

_COMPLETED = "completed, over the whole run"
_METRICS = {
    "time_to_first_token": ("ttft", TTFT),
    "inter_token_latency": ("tpot", TPOT),
    "inter_chunk_latency": ("itl", ITL),
    "request_latency": ("e2el", E2EL),
    "request_throughput": ("request_throughput", f"requests {_COMPLETED}"),
    "goodput": ("goodput", f"requests within the limits, {_COMPLETED}"),
    "output_token_throughput": ("output_throughput", f"output tokens {_COMPLETED}"),
    "total_token_throughput": ("total_throughput", f"tokens {_COMPLETED}"),
    "output_token_throughput_per_user": (
        "output_throughput_per_user",
        "of each request: 1 / TPOT",
    ),
}
_STATISTICS = re.compile(r"avg|min|max|std|(?:adj_)?p\d\d?(?:\.\d{1,3})?")
_LABEL = re.compile(r"(?P<name>.+?)\s*\((?P<unit>[^()]+)\)")
_NESTED = ("", "endpoint", "loadgen", "input", "perf_analyzer")


def run(row: Mapping[str, Any]) -> Run:
    """One summary.

    Raises:
        RowError: the run was cancelled, or a value is of the wrong kind.
    """
    if row.get("was_cancelled") is True:
        raise RowError("the run was cancelled")
    readings: list[Reading] = []
    faults: list[str] = []
    for name in _METRICS:
        try:
            readings.extend(_figures(name, row.get(name)))
        except RowError as error:
            faults.append(str(error))
    facts, power = _facts(row), _telemetry(row)
    if power is not None:
        readings.append(power)
    notes = ["some requests failed"] if row.get("error_summary") else []
    return Run(facts, tuple(readings), tuple(notes), tuple(faults))


def _figures(name: str, block: Any) -> Iterator[Reading]:
    """One figure for each statistic of a metric; null (cancelled or absent) is left out."""
    if block is None:
        return
    if not isinstance(block, dict) or not isinstance(block.get("unit"), str):
        raise RowError(f"{name}: has no unit")
    metric, definition = _METRICS[name]
    for statistic in block:
        if _STATISTICS.fullmatch(statistic):
            value = number(block, statistic)
            if value is not None:
                kept = _statistic(statistic, block)
                yield Reading(metric, kept, value, block["unit"], definition, {name: block})


def _statistic(name: str, block: Mapping[str, Any]) -> str:
    """`avg` is a mean over requests, or the one value of a figure of the whole run."""
    if name != "avg":
        return name
    return "mean" if len([k for k in block if _STATISTICS.fullmatch(k)]) > 1 else "total"


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    config = row.get("input_config")
    levels = [_level(config, name) for name in _NESTED]
    levels.append(_level(levels[-1], "stimulus"))  # GenAI-Perf, under perf_analyzer
    found = _first(levels)
    return {
        "model": found,
        "concurrency": next((c for level in levels if (c := count(level, "concurrency"))), None),
        "request_rate": next((r for v in levels if (r := positive(v, "request_rate"))), None),
        "input_tokens": _mean(row, "input_sequence_length"),
        "output_tokens": _mean(row, "output_sequence_length"),
        "n": _requests(row),
        "date": day(row.get("start_time")),
        "system": _gpu_name(row),
    }


def _level(config: Any, name: str) -> Mapping[str, Any]:
    level = config.get(name) if name and isinstance(config, dict) else config
    return level if isinstance(level, dict) else {}


def _first(levels: list[Mapping[str, Any]]) -> str | None:
    """The model, where exactly one was measured."""
    for level in levels:
        names = level.get("model_names", level.get("model"))
        if isinstance(names, list) and len(names) > 1:
            raise RowError("several models in one run")
        name = text({"name": names[0] if isinstance(names, list) and names else names}, "name")
        if name:
            return name
    return None


def _mean(row: Mapping[str, Any], name: str) -> float | None:
    block = row.get(name)
    return positive(block, "avg") if isinstance(block, dict) else None


def _requests(row: Mapping[str, Any]) -> int | None:
    block = row.get("request_count")
    return count(block, "avg") if isinstance(block, dict) else None


def _gpus(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The accelerators that telemetry saw, on all endpoints."""
    data = row.get("telemetry_data")
    endpoints = _level(data, "endpoints")
    pools = [_level(endpoint, "gpus") for endpoint in endpoints.values()]
    return [gpu for pool in pools for gpu in pool.values() if isinstance(gpu, dict)]


def _gpu_name(row: Mapping[str, Any]) -> str | None:
    names = {name for gpu in _gpus(row) if (name := text(gpu, "gpu_name"))}
    if len(names) > 1:
        raise RowError(f"several kinds of accelerators: {', '.join(sorted(names))}")
    return next(iter(names), None)


def _telemetry(row: Mapping[str, Any]) -> Reading | None:
    """Mean power of all accelerators seen, where each has it in the same unit."""
    blocks = [_level(_level(gpu, "metrics"), "gpu_power_usage") for gpu in _gpus(row)]
    units = {text(block, "unit") for block in blocks}
    watts = [number(block, "avg") for block in blocks]
    unit = next(iter(units), None)
    if len(units) != 1 or unit is None or any(w is None for w in watts):
        return None
    total = sum(w for w in watts if w is not None)
    return Reading("gpu_power", "mean", total, unit, f"sum of {len(watts)} GPUs")


# CSV


def csv_rows(content: str, source: str) -> Source:
    """Both blocks of a CSV summary as one object in the form of the JSON summary.

    Raises:
        SchemaError: no block that starts with `Metric`, or a metric twice.
    """
    row: dict[str, Any] = {}
    notes: list[str] = []
    header: list[str] = []
    for _, cells in csv_cells(content, source):
        if not any(cells):
            header = []
        elif not header:
            header = cells
            if cells[0] != "Metric":
                notes.append(f"block {cells[0][:40]!r} is not read")
        elif header[0] == "Metric":
            name, block = _block(header, cells)
            if name in row:
                raise SchemaError(f"{source}: metric {name!r} appears twice", "keep one of them")
            row[name] = block
    if not row:
        raise SchemaError(f"{source}: has no metrics", "give the CSV summary of AIPerf")
    return Source([(1, row)], notes=notes)


def _block(header: list[str], cells: list[str]) -> tuple[str, dict[str, Any]]:
    """Name and statistics of a row such as `Time to First Token (ms),120.5,...`."""
    match = _LABEL.fullmatch(cells[0])
    label = match.group("name") if match else cells[0]
    name = re.sub(r"[^a-z0-9]+", "_", label.casefold()).strip("_")
    statistics = {"value": "avg"}
    named = {
        statistics.get(h.casefold(), h.casefold()): c
        for h, c in zip(header[1:], cells[1:], strict=False)
        if c
    }
    return name, {"unit": match.group("unit") if match else None, **named}


# Schema version 2 of the JSON summary: statistics of each metric by series of labels


def series_rows(content: str, source: str) -> Source:
    """Summaries of schema version 2, in the form of version 1.

    Raises:
        SchemaError: not JSON.
    """
    found = json_rows(content, source)
    return Source([(line, _flat(row)) for line, row in found.rows], found.rejected, found.notes)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: _whole_series(block) for name, block in _level(row, "metrics").items()}
    return {
        **{name: block for name, block in metrics.items() if block is not None},
        "input_config": {**_level(row, "input_config"), **_level(row, "run")},
        "was_cancelled": _level(row, "summary").get("was_cancelled"),
        "error_summary": row.get("errors"),
        "start_time": row.get("start_time") or _level(row, "run").get("start_time"),
        "telemetry_data": row.get("telemetry_data"),
    }


def _whole_series(metric: Any) -> dict[str, Any] | None:
    """The statistics of the series without labels: those of the whole run."""
    series = metric.get("series") if isinstance(metric, dict) else None
    for each in series if isinstance(series, list) else ():
        stats = _level(each, "stats")
        if stats and not each.get("labels"):
            flat = {{"value": "avg"}.get(k, k): v for k, v in stats.items() if k != "percentiles"}
            return {"unit": metric.get("unit"), **flat, **_level(stats, "percentiles")}
    return None


JSON_FORMAT = Format(json_rows, run)
SERIES_FORMAT = Format(series_rows, run)
CSV_FORMAT = Format(csv_rows, run)
