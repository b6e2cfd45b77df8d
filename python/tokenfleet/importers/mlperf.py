"""MLPerf Inference: `summary_results.json`, and the summary and detail logs of one run.

A summary is a list of rows, from round v6.1 on an object of rows by number. Only rows in Tokens/s
are of interest; a result is of the whole submission and is divided by its accelerators. Logs:
nanoseconds; model, accelerator and number of accelerators must be given. Runs that are not valid
are dropped, with a note.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.files.read import parse_json
from tokenfleet.importers.readings import (
    E2EL,
    TTFT,
    Format,
    Reading,
    Rejected,
    Run,
    Source,
    count,
    flag,
    json_rows,
    number,
    raw_text,
    text,
)
from tokenfleet.importers.trace import RowError
from tokenfleet.schema.engines import engine_within

MARK = ":::MLLOG"
TITLE = "MLPerf Results Summary"
_TOKENS = "Tokens/s"
_TARGET = re.compile(r"-99(\.9)?$")
_TOTAL = re.compile(r"(?<![0-9A-Za-z])(\d{1,4})x(?![0-9])|x(\d{1,4})(?![0-9A-Za-z])")
_TPOT = "(end-to-end - TTFT) / (output tokens - 1), as LoadGen has it"
_LATENCIES = {"ttft": TTFT, "tpot": _TPOT, "e2el": E2EL}

# Summary of a round


def summary_rows(content: str, source: str) -> Source:
    """Rows in Tokens/s; others, and results that are not valid, are counted in a note.

    Raises:
        SchemaError: not JSON.
    """
    found = json_rows(content, source)
    rows = [(line, row) for line, each in found.rows for row in _numbered(each)]
    kept: list[tuple[int, Any]] = []
    other: Counter[str] = Counter()
    for line, row in rows:
        units = str(row.get("Performance_Units"))[:40]
        if units != _TOKENS:
            other[f"rows in {units}"] += 1
        elif _invalid(row):
            other["results that are not valid"] += 1
        else:
            kept.append((line, row))
    notes = [f"left out: {n} {what}" for what, n in sorted(other.items())]
    return Source(kept, found.rejected, notes)


# Names from round v6.1 on, and the older ones for the same.
_RENAMED = {
    "Result": "Performance_Result",
    "Units": "Performance_Units",
    "MlperfModel": "UsedModel",
    "accelerator_model_name": "Accelerator",
    "total_accelerators": "a#",
    "framework": "Software",
}
NUMBERED = ("MlperfModel", "accelerator_model_name")


def _numbered(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The row itself, or those of an object of rows by number, under the older names.

    `total_accelerators` are those of all nodes, so that their number does not matter.
    """
    if not is_numbered(row):
        return [row]
    return [{_RENAMED.get(k, k): v for k, v in inner.items()} for inner in row.values()]


def is_numbered(row: Mapping[str, Any]) -> bool:
    """Whether an object holds rows of a summary by number."""
    return bool(row) and all(
        isinstance(inner, dict) and set(NUMBERED) <= set(inner) for inner in row.values()
    )


def _invalid(row: Mapping[str, Any]) -> bool:
    """Marked as such, with errors, or without the compliance tests."""
    marks = (row.get("Result"), row.get("Performance_Result"), row.get("validity"))
    said = any(isinstance(m, str) and "INVALID" in m.upper() for m in marks)
    return said or row.get("errors") not in (None, 0, "0", "") or row.get("compliance") in (0, "0")


def summary_run(row: Mapping[str, Any]) -> Run:
    """One result, per accelerator.

    Raises:
        RowError: no result, or accelerators that cannot be counted.
    """
    total = number(row, "Performance_Result")
    if total is None:
        raise RowError("Performance_Result is missing")
    gpus = _accelerators(row)
    scenario = text(row, "Scenario") or "unknown scenario"
    what = f"MLPerf {scenario}: completed output tokens/s of the submission"
    readings = [
        Reading("output_throughput", "total", total, "tokens/s", what),
        Reading(
            "output_throughput_per_gpu",
            "total",
            total / gpus,
            "tokens/s/gpu",
            f"{what}, divided by its {gpus} accelerators",
        ),
        *_power(row),
    ]
    return Run({**_labels(row), "gpus": gpus}, tuple(readings))


def _labels(row: Mapping[str, Any]) -> dict[str, Any]:
    software = text(row, "Software")
    engine = engine_within(software or "")
    return {
        "model": _TARGET.sub("", text(row, "UsedModel", "Model") or "") or None,
        "system": text(row, "Accelerator"),
        "engine": engine.id if engine else None,
        "engine_version": software,
        "precision": text(row, "weight_data_types"),
    }


def _accelerators(row: Mapping[str, Any]) -> int:
    """Accelerators of a submission.

    With several nodes `a#` is of one node or of all, from round to round; the name of the platform
    says which.
    """
    stated, nodes = count(row, "a#"), count(row, "Nodes") or 1
    if stated is None:
        raise RowError("a# is missing: the number of accelerators")
    if nodes == 1:
        return stated
    name = f"{text(row, 'Platform') or ''} {text(row, 'System') or ''}"
    named = {int(a or b) for a, b in _TOTAL.findall(name)}
    fitting = named & {stated, stated * nodes}
    if len(fitting) != 1:
        raise RowError(f"{nodes} nodes, a# {stated}: of one node or of all cannot be told")
    return fitting.pop()


def _power(row: Mapping[str, Any]) -> Iterator[Reading]:
    if flag(row, "has_power"):
        watts = number(row, "Power_Result")
        if watts is not None:
            unit = text(row, "Power_Units") or "no unit"
            yield Reading("power", "mean", watts, unit, "wall power of all nodes")


# Logs of one run

_NUMBER = r"(?P<value>[0-9.eE+-]+)"
_PERCENTILE = r"(?P<p>\d\d?\.\d\d)"
_SUMMARY_LINES = {
    "ttft": (rf"{_PERCENTILE} percentile first token latency", r"(?P<s>Min|Max|Mean) First Token"),
    "tpot": (
        rf"{_PERCENTILE} percentile time to output token",
        r"(?P<s>Min|Max|Mean) Time (?:to|per) Output Token",
    ),
    "e2el": (rf"{_PERCENTILE} percentile latency", r"(?P<s>Min|Max|Mean) latency"),
}
_SUMMARY_RATES = ("Completed tokens per second", "Tokens per second")
_DETAIL_KEYS = {
    "ttft": rf"result_first_token_(?:{_PERCENTILE}_percentile_latency_ns|(?P<s>min|max|mean)_.*ns)",
    "tpot": rf"result_time_(?:per|to)_output_token_(?:{_PERCENTILE}_percentile_ns"
    r"|(?P<s>min|max|mean)(?:_ns)?)",
    "e2el": rf"result_(?:{_PERCENTILE}_percentile_latency_ns|(?P<s>min|max|mean)_latency_ns)",
}
_DETAIL_RATES = ("result_completed_tokens_per_second", "result_tokens_per_second")


def log_rows(content: str, source: str) -> Source:
    """The lines `name : value` of a summary log as one row."""
    pairs: dict[str, Any] = {}
    for line in content.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() and name.strip() not in pairs:
            pairs[" ".join(name.split())] = value.strip()
    return _valid_only(pairs, str(pairs.get("Result is", "")), source)


def detail_rows(content: str, source: str) -> Source:
    """The entries of a detail log (`:::MLLOG {...}`) as one row.

    Raises:
        SchemaError: no entry could be read.
    """
    pairs: dict[str, Any] = {}
    rejected: list[Rejected] = []
    for line, written in enumerate(content.splitlines(), start=1):
        start = written.find(MARK)
        if start < 0:
            continue
        try:
            entry = parse_json(written[start + len(MARK) :], "entry")
        except SchemaError as error:
            rejected.append(Rejected(line, error.message, raw_text(written[:500])))
            continue
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            pairs[entry["key"]] = entry.get("value")
    if not pairs:
        raise SchemaError(f"{source}: has no readable log entry", "give mlperf_log_detail.txt")
    found = _valid_only(pairs, str(pairs.get("result_validity", "")), source)
    return Source(found.rows, [*rejected, *found.rejected], found.notes)


def _valid_only(pairs: dict[str, Any], validity: str, source: str) -> Source:
    if validity.upper() == "VALID":
        return Source([(1, pairs)])
    return Source([], notes=[f"{source}: dropped: the result is {validity or 'not stated'}"])


def log_run(row: Mapping[str, Any]) -> Run:
    """One summary log."""
    found: list[Reading] = []
    for metric, patterns in _SUMMARY_LINES.items():
        for key in row:
            name = key.removesuffix(" (ns)").removesuffix(" latency")
            for pattern in patterns:
                match = re.fullmatch(pattern.removesuffix(" latency"), name)
                if match and key.endswith("(ns)"):
                    found.append(_latency(row, key, metric, match.groupdict()))
    scenario = str(row.get("Scenario"))[:40]
    found.extend(_log_rate(row, _SUMMARY_RATES, scenario))
    return Run({"n": None}, tuple(found))


def detail_run(row: Mapping[str, Any]) -> Run:
    """One detail log."""
    found: list[Reading] = []
    for metric, pattern in _DETAIL_KEYS.items():
        for key in row:
            match = re.fullmatch(pattern, key)
            if match:
                found.append(_latency(row, key, metric, match.groupdict()))
    scenario = str(row.get("effective_scenario", row.get("requested_scenario")))[:40]
    found.extend(_log_rate(row, _DETAIL_RATES, scenario))
    return Run({"n": count(row, "result_query_count")}, tuple(found))


def _latency(
    row: Mapping[str, Any], key: str, metric: str, groups: Mapping[str, str | None]
) -> Reading:
    value = number(row, key)
    if value is None:
        raise RowError(f"{key} is blank")
    percentile = groups.get("p")
    statistic = f"p{float(percentile):g}" if percentile else str(groups.get("s")).casefold()
    raw = json.loads(raw_text({key: row[key]}))
    return Reading(metric, statistic, value, "ns", _LATENCIES[metric], raw)


def _log_rate(row: Mapping[str, Any], keys: tuple[str, ...], scenario: str) -> Iterator[Reading]:
    for key in keys:
        value = number(row, key)
        if value is not None:
            what = f"MLPerf {scenario}: completed output tokens/s of the run"
            yield Reading("output_throughput", "total", value, "tokens/s", what, {key: row[key]})
            return


SUMMARY_FORMAT = Format(summary_rows, summary_run)
LOG_FORMAT = Format(log_rows, log_run)
DETAIL_FORMAT = Format(detail_rows, detail_run)
