"""Files of known tools that hold no results, or not in a form that is read: what each is, and which
file of the same tool to give instead."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.importers import azure, burstgpt

_BY_DATE, _BY_SECOND = ",".join(azure.COLUMNS), ",".join(burstgpt.COLUMNS)
_TRACE = f"make a CSV of it with the columns {_BY_DATE}"
# Keys of an object, what its file is, and what to give.
_OBJECTS: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset({"ttft_s", "end_to_end_latency_s", "number_output_tokens"}),
        "is LLMPerf's file of single requests",
        "give the ..._summary.json beside it",
    ),
    (
        frozenset({"start_time", "end_time", "request", "info"}),
        "is inference-perf's file of single requests",
        "give summary_lifecycle_metrics.json, or that of a stage",
    ),
    (
        frozenset({"avg_queue_length", "request_latency"}),
        "is inference-perf's summary of what the server counted",
        "give summary_lifecycle_metrics.json, or that of a stage",
    ),
    (
        frozenset({"benchmark", "model", "metric"}),
        "is a record of PyTorch's benchmark database, which lacks the load",
        "give the JSON that vllm bench wrote beside it",
    ),
    (
        frozenset({"object", "usage"}),
        "is a log of answers of an API, a request a line, without latencies",
        _TRACE,
    ),
    (
        frozenset({"conversations"}),
        "holds conversations as text, without times or counts of tokens",
        _TRACE,
    ),
    (
        frozenset({"input_length", "output_length"}),
        "is a trace without timestamps",
        "add a timestamp in ms to every line, or state requests_per_s and the lengths",
    ),
)
# Beginnings of texts, what they are, and what to give.
_TEXTS = (
    (
        "============ Serving Benchmark",
        "is what `bench serve` prints",
        "give the file of --save-result",
    ),
    ("Type,Run", "is GuideLLM's table", "give its JSON: --output-path benchmarks.json"),
    ("benchmarks:", "is GuideLLM's report as YAML", "give its JSON: --output-path benchmarks.json"),
    ("metadata:", "is GuideLLM's report as YAML", "give its JSON: --output-path benchmarks.json"),
)
# Columns of a trace by other names or in other capitals: time, prompt, answer.
_COLUMNS = (
    {name.casefold() for name in azure.COLUMNS},
    {"timestamp", "input_length", "output_length"},
    {"timestamp", "input_tokens", "output_tokens"},
    {"timestamp", "prompt_tokens", "completion_tokens"},
    {name.casefold() for name in burstgpt.COLUMNS},
)


def refuse_known_others(path: Path, head: str) -> None:
    """Refuses a file that is known by its first lines and not read.

    Raises:
        SchemaError: empty, printed text, or a table in other columns.
    """
    if not head.strip():
        raise SchemaError(f"{path}: is empty", "give a file with results, or a trace")
    for begun, what, cure in _TEXTS:
        if head.lstrip().startswith(begun):
            raise SchemaError(f"{path}: {what}", cure)
    lines = [line for line in head.splitlines() if line.strip()]
    if not lines[0].lstrip().startswith(("{", "[")):
        _refuse_other_columns(path, lines)


def _refuse_other_columns(path: Path, lines: list[str]) -> None:
    """A trace whose columns have other names is told which to take, by how it writes its times."""
    cells, first = ([c.strip() for c in next(csv.reader([x]), [])] for x in (*lines, "")[:2])
    plain = [cell.casefold() for cell in cells]
    if not any(columns <= set(plain) for columns in _COLUMNS):
        return
    by_date = len(first) > plain.index("timestamp") and _is_date(first[plain.index("timestamp")])
    form = _BY_DATE if by_date else _BY_SECOND
    # Without a row either form is right, and its reader says that there is none.
    fitting = (form,) if first else (_BY_DATE, _BY_SECOND)
    if not any(set(known.split(",")) <= set(cells) for known in fitting):
        what = f"is a trace whose columns are {', '.join(cells)[:200]}"
        unit = "" if by_date else ", with times in seconds"
        raise SchemaError(f"{path}: {what}", f"name time, prompt and answer {form}{unit}")


def _is_date(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return True
    return False


def other_object(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """What the file of an object is that holds no results, and what to give instead."""
    found = ((what, cure) for keys, what, cure in _OBJECTS if keys <= row.keys())
    return next(found, None)
