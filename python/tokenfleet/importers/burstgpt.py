"""BurstGPT traces (github.com/HPMLL/BurstGPT).

CSV with `Timestamp` (seconds from day 1), `Request tokens` and `Response tokens`. A response of
zero tokens is a failed request: it is dropped, and the number of dropped rows is a warning.
"""

from __future__ import annotations

import math
from pathlib import Path

from tokenfleet.importers.trace import (
    Request,
    RowError,
    Trace,
    build_trace,
    cell,
    csv_rows,
    requests_of,
    token_count,
)

#: Time, prompt and answer.
COLUMNS = ("Timestamp", "Request tokens", "Response tokens")
_TIME, _PROMPT, _ANSWER = COLUMNS


def read_burstgpt(path: Path) -> Trace:
    """Reads a BurstGPT trace.

    Raises:
        SchemaError: names file and rows that are empty, not numbers or negative.
    """
    unread: list[str] = []
    rows = csv_rows(path, COLUMNS, notes=unread)
    answered, failed = [], 0
    for line, row in rows:
        if row.get(_ANSWER, "").strip() == "0":
            failed += 1
        else:
            answered.append((line, row))
    requests, faults, notes = requests_of(path, answered, _request)
    lost = [f"{path}: {failed} failed requests without output were dropped"] if failed else []
    return build_trace(path, requests, faults, warnings=[*lost, *notes, *unread])


def _request(row: dict[str, str], line: int) -> Request:
    text = cell(row, _TIME)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise RowError(f"Timestamp {text[:40]!r} is not a number of seconds")
    if seconds < 0:
        raise RowError(f"Timestamp is {text[:40]}; it should not be negative")
    return Request(
        seconds,
        token_count(_PROMPT, cell(row, _PROMPT)),
        token_count(_ANSWER, cell(row, _ANSWER)),
        row=line,
    )
