"""Azure LLM inference traces (github.com/Azure/AzurePublicDataset), 2023 and 2024 columns.

CSV with `TIMESTAMP` (date and time, 100 ns digits, with or without a zone), `ContextTokens`
(input) and `GeneratedTokens` (output). Rows of zero tokens are left out, with a warning; so are
other columns, such as `NumImages`.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
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
COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_STAMP, _PROMPT, _ANSWER = COLUMNS
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,12})?(Z|[+-]\d\d:?\d\d)?", re.ASCII
)


def read_azure(path: Path) -> Trace:
    """Reads an Azure trace.

    Raises:
        SchemaError: names file and rows that are empty, not numbers or negative.
    """
    unread: list[str] = []
    rows = csv_rows(path, COLUMNS, notes=unread)
    requests, faults, notes = requests_of(path, rows, _request)
    return build_trace(path, requests, faults, warnings=[*notes, *unread])


def _request(row: dict[str, str], line: int) -> Request:
    return Request(
        _seconds(cell(row, _STAMP)),
        token_count(_PROMPT, cell(row, _PROMPT)),
        token_count(_ANSWER, cell(row, _ANSWER)),
        row=line,
    )


def _seconds(text: str) -> float:
    """Seconds of an absolute time; without a zone it is taken as UTC (only differences count)."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise RowError(f"TIMESTAMP {text[:40]!r} is not a date and time")
    day, clock, fraction, zone = match.groups()
    offset = {None: "+00:00", "Z": "+00:00"}.get(zone) or f"{zone[:3]}:{zone[-2:]}"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset}").astimezone(timezone.utc)
    except ValueError:
        raise RowError(f"TIMESTAMP {text[:40]!r} is not a date and time") from None
    return moment.timestamp() + float(fraction or 0)
