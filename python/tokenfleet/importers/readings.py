"""What every importer of benchmark results shares: figures with units, and rows of a file."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tokenfleet.errors import SchemaError
from tokenfleet.files.cures import broken_csv
from tokenfleet.files.read import parse_json
from tokenfleet.importers.trace import RowError
from tokenfleet.schema.faults import brief
from tokenfleet.schema.near import did_you_mean

MAX_RUN_BYTES = 64 * 1024 * 1024
_LONGEST_LIST = 16  # longer ones (a value per request) are counted, not kept
_MAX_RAW = 50_000
_NOT_BLANK = re.compile(r"\S")
_BRACKET = re.compile(r'["\[\]{}]')
_STRING_END = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL)
_THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII)

E2EL = "from sending a request to its last token"
TTFT = "from sending a request to its first token"
TPOT = "(end-to-end - TTFT) / (output tokens - 1): without the first token"
ITL = "gap between two pieces of output, over all gaps"

# Unit as files write it, lower case: the unit it is kept in, and the factor.
UNITS: Mapping[str, tuple[str, float]] = {
    "ns": ("ms", 1e-6),
    "us": ("ms", 1e-3),
    "µs": ("ms", 1e-3),
    "ms": ("ms", 1.0),
    "milliseconds": ("ms", 1.0),
    "s": ("ms", 1e3),
    "sec": ("ms", 1e3),
    "seconds": ("ms", 1e3),
    "requests/s": ("requests/s", 1.0),
    "requests/sec": ("requests/s", 1.0),
    "requests/min": ("requests/s", 1 / 60),
    "requests": ("requests", 1.0),
    "tokens": ("tokens", 1.0),
    "tokens/s": ("tokens/s", 1.0),
    "tokens/sec": ("tokens/s", 1.0),
    "tokens/s/gpu": ("tokens/s/gpu", 1.0),
    "tokens/sec/gpu": ("tokens/s/gpu", 1.0),
    "tokens/s/user": ("tokens/s/user", 1.0),
    "tokens/sec/user": ("tokens/s/user", 1.0),
    "w": ("W", 1.0),
    "watts": ("W", 1.0),
    "kw": ("W", 1e3),
    "j": ("J", 1.0),
    "joules": ("J", 1.0),
    "j/token": ("J/token", 1.0),
    "j/request": ("J/request", 1.0),
}
# "Per second" without a word of what: of that which the figure counts.
_PER_SECOND = {"per sec", "per second", "/s", "/sec", "1/s"}


@dataclass(frozen=True)
class Reading:
    """One figure as the file has it. `raw` is its own part of the row, if not the whole row."""

    metric: str
    statistic: str
    value: float
    unit: str
    definition: str
    raw: Any = None


@dataclass(frozen=True)
class Run:
    """One run as the file has it: what it says about itself, in its own names, and its figures."""

    facts: Mapping[str, Any]
    readings: tuple[Reading, ...]
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rejected:
    """A row, or one figure of it, that was not taken. Line 0: the file as a whole."""

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Source:
    """Rows of a file by line number; those that could not be read; notes on the whole file."""

    rows: list[tuple[int, Any]]
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Format:
    """How a kind of file is taken apart: text and name to rows, row to run."""

    rows: Callable[[str, str], Source]
    run: Callable[[Any], Run]


def convert(reading: Reading, expected: str) -> float:
    """The value in the expected unit.

    Raises:
        RowError: unknown unit, a unit of something else, or a negative value.
    """
    written = reading.unit.strip().casefold()
    known = UNITS.get(written)
    if written in _PER_SECOND and expected in ("requests/s", "tokens/s"):
        known = (expected, 1.0)
    if known is None:
        hint = did_you_mean(reading.unit, [u for u, (k, _) in UNITS.items() if k == expected])
        raise RowError(f"{reading.metric}: unknown unit {reading.unit[:40]!r}; {hint}")
    unit, factor = known
    if unit != expected:
        raise RowError(f"{reading.metric}: unit {reading.unit[:40]!r} where {expected} is expected")
    value = reading.value * factor
    if not (math.isfinite(value) and value >= 0):
        raise RowError(f"{reading.metric}: {reading.value!r} is negative or too large")
    return value


# Values of a row


def number(row: Mapping[str, Any], key: str) -> float | None:
    """A number, None where absent or null. Text is read as a number: metadata is always text.

    Raises:
        RowError: anything else.
    """
    value = row.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RowError(f"{key}: {brief(row[key], 40)} is not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise RowError(f"{key}: {brief(row[key], 40)} is not a finite number")
    return found


def _from_text(text: str) -> float | None:
    plain = text.strip()
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    try:
        return float(plain)
    except ValueError:
        return None


def positive(row: Mapping[str, Any], key: str) -> float | None:
    """A number above zero; zero counts as absent.

    Raises:
        RowError: negative, or not a number.
    """
    value = number(row, key)
    if value is not None and value < 0:
        raise RowError(f"{key}: {value:g} is negative")
    return value or None


def count(row: Mapping[str, Any], *keys: str) -> int | None:
    """The first of some whole numbers above zero; zero counts as absent.

    Raises:
        RowError: negative, not whole, or not a number.
    """
    for key in keys:
        value = positive(row, key)
        if value is None:
            continue
        if value != int(value) or value > 1e12:
            raise RowError(f"{key}: {value:g} is not a whole number")
        return int(value)
    return None


def text(row: Mapping[str, Any], *keys: str) -> str | None:
    """The first of some texts that is there and not blank."""
    for key in keys:
        value = row.get(key)
        if isinstance(value, str) and value.strip():
            return value
    return None


def flag(row: Mapping[str, Any], key: str) -> bool | None:
    """True or false, which some files write as text.

    Raises:
        RowError: anything else.
    """
    value = row.get(key)
    if value is None or isinstance(value, bool):
        return value
    words = {"true": True, "false": False, "1": True, "0": False, "": None}
    word = str(value).strip().casefold()
    if word not in words:
        raise RowError(f"{key}: {brief(value, 40)} is not true or false")
    return words[word]


def day(value: Any) -> date | None:
    """The day at the start of a time such as 2026-07-01T12:00 or 20260701-120000."""
    if not isinstance(value, str):
        return None
    match = re.match(r"(\d{4})-?(\d\d)-?(\d\d)", value.strip(), re.ASCII)
    try:
        return date(*(int(part) for part in match.groups())) if match else None
    except ValueError:
        return None


def level(row: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object under a key; empty where there is none."""
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def ratio(total: float | None, by: float | None) -> float | None:
    """A mean, where both parts are there and above zero."""
    return total / by if total and by else None


def readings(
    row: Mapping[str, Any],
    metric: str,
    keys: Mapping[str, str],
    unit: str,
    definition: str,
) -> Iterator[Reading]:
    """One figure for each of the keys that is there; `keys` gives its statistic."""
    for key, statistic in keys.items():
        value = number(row, key)
        if value is not None:
            yield Reading(metric, statistic, value, unit, definition)


# Files


def raw_text(row: Any) -> str:
    """A row as JSON text, with the lists that hold a value per request counted only."""
    kept = json.dumps(_shortened(row), ensure_ascii=True, sort_keys=True, default=str)
    return kept if len(kept) <= _MAX_RAW else json.dumps({"cut": kept[:_MAX_RAW]})


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) > _LONGEST_LIST:
            return f"list of {len(value)}"
        return [_shortened(v) for v in value]
    if isinstance(value, dict):
        return {k: _shortened(v) for k, v in value.items()}
    return value


def json_rows(content: str, source: str) -> Source:
    """The objects of a file that holds one, a list of them, or several after each other.

    Raises:
        SchemaError: none of them is readable JSON.
    """
    found = Source([])
    first: SchemaError | None = None
    for line, chunk in _chunks(content):
        try:
            value = parse_json(chunk, f"{source}: from line {line}", foreign=True)
        except SchemaError as error:
            first = first or error
            found.rejected.append(Rejected(line, error.message, raw_text(chunk[:500])))
            continue
        for at, item in _items(value, chunk, line):
            if isinstance(item, dict):
                found.rows.append((at, item))
            else:
                reason = f"{brief(item, 40)} is not a JSON object"
                found.rejected.append(Rejected(at, reason, raw_text(item)))
    if not found.rows and first is not None:
        raise first
    return found


def _items(value: Any, chunk: str, line: int) -> Iterator[tuple[int, Any]]:
    """A value, or the items of a list, each with its line; of a list with the list's own line
    where it holds more than objects."""
    if not isinstance(value, list):
        yield line, value
        return
    exact = all(isinstance(item, dict) for item in value)
    position = 0
    for item in value:
        if exact:
            start = chunk.index("{", position)
            line += chunk.count("\n", position, start)
            end = _value_end(chunk, start)
            yield line, item
            line += chunk.count("\n", start, end)
            position = end
        else:
            yield line, item


def _chunks(content: str) -> Iterator[tuple[int, str]]:
    """Top-level JSON values of a text with their first lines."""
    position, line = 0, 1
    while match := _NOT_BLANK.search(content, position):
        start = match.start()
        line += content.count("\n", position, start)
        end = _value_end(content, start)
        yield line, content[start:end]
        line += content.count("\n", start, end)
        position = end


def _value_end(content: str, start: int) -> int:
    """End of the object or list that starts here; of the line, where it is neither."""
    if content[start] not in "[{":
        end = content.find("\n", start)
        return len(content) if end < 0 else end
    depth, position = 0, start
    while match := _BRACKET.search(content, position):
        position = match.end()
        if match.group() == '"':
            closing = _STRING_END.match(content, position)
            if closing is None:
                break
            position = closing.end()
            continue
        depth += 1 if match.group() in "[{" else -1
        if depth == 0:
            return position
    return len(content)


def csv_cells(content: str, source: str) -> Iterable[tuple[int, list[str]]]:
    """Line number and cells of every row of a CSV text, blank rows included.

    Raises:
        SchemaError: broken quoting; names the row.
    """
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, [c.strip() for c in cells]
    except csv.Error as error:
        raise broken_csv(source, reader.line_num, error) from None


def csv_source(content: str, source: str) -> Source:
    """Rows of a CSV table by column; a row of another length than the header is rejected.

    Raises:
        SchemaError: no header, or a column twice.
    """
    found = Source([])
    header: list[str] = []
    for line, cells in csv_cells(content, source):
        if not any(cells):
            continue
        if not header:
            header = _checked_header(cells, source)
        elif len(cells) != len(header):
            reason = f"{len(cells)} cells for {len(header)} columns"
            found.rejected.append(Rejected(line, reason, raw_text(cells)))
        else:
            found.rows.append((line, dict(zip(header, cells, strict=True))))
    return found


def _checked_header(cells: list[str], source: str) -> list[str]:
    twice = sorted({c for c in cells if c and cells.count(c) > 1})
    if twice:
        raise SchemaError(f"{source}: column {twice[0]!r} appears twice", "keep one of them")
    return cells
