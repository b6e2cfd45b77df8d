"""Inputs of a plan in words: what each is called, its figure, and where it comes from.

Of a plan, or of a scenario that is checked; names go through `plain`, as in `words`.
"""

from __future__ import annotations

import re
from typing import Protocol

from tokenfleet.files.plain import plain
from tokenfleet.report.labels import FIELDS, capital
from tokenfleet.report.numbers import exact_dollars, number, spelled

_PATH = re.compile(
    r"(?P<table>\w+)(?:\[(?P<row>.*)\])?(?:\.demand)?\.(?P<field>[a-z0-9_]+)(?P<key>\..+)?"
)
_WHOLE = re.compile(r"(?P<table>)(?P<field>[a-z0-9_]+)(?:\[(?P<row>.*)\])?(?P<key>)")  # no table's


class Assumed(Protocol):
    """An input of a plan, or of a scenario that is checked."""

    @property
    def what(self) -> str: ...
    @property
    def value(self) -> float | str: ...
    @property
    def unit(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def as_of(self) -> str | None: ...
    @property
    def note(self) -> str | None: ...


def assumed(row: Assumed) -> str:
    """An input that was left blank: `finance.life_years 5 years: catalog typical of … (2026)`."""
    value = row.value if isinstance(row.value, str) else number(row.value)
    stated = f"{value} {row.unit}".strip()
    return plain(f"{row.what} {stated}: {source(row)}")


def source(row: Assumed) -> str:
    """Where an input comes from, and of which day: `price book 2026-07 (2025-08)`."""
    dated = f" ({row.as_of})" if row.as_of else ""
    noted = f"; {row.note}" if row.note else ""
    return plain(f"{row.source}{dated}{noted}")


def name(row: Assumed) -> str:
    """An input in words: `electricity at eu-dublin` for `sites[eu-dublin].electricity_usd_...`."""
    return called(row.what)


def called(what: str) -> str:
    """The same of its path alone."""
    found = _PATH.fullmatch(what) or _WHOLE.fullmatch(what)
    if found is None or found["field"] not in FIELDS:
        return plain(what)
    name, of = FIELDS[found["field"]].whole(), found["row"]
    kind = f" ({found['key'][1:]})" if found["key"] else ""
    where = "" if of is None else f" {'at' if found['table'] == 'sites' else 'of'} {of}"
    return plain(capital(f"{name}{kind}{where}"))


def _cents(usd: float) -> str:
    """A price with at least cents, and all the digits that it needs."""
    shown = spelled(usd)
    return shown if not usd or usd >= 1000 or len(shown.partition(".")[2]) >= 2 else f"{usd:.2f}"


def value(row: Assumed) -> tuple[str, str]:
    """An input's figure and its unit: ("10%", "a year"), ("$190,000", "each")."""
    if isinstance(row.value, str):
        return plain(row.value), row.unit
    if row.unit in ("fraction", "1/year") or row.what == "confidence":
        return f"{spelled(100 * row.value)}%", "a year" if row.unit == "1/year" else ""
    if row.unit == "USD/system":
        return exact_dollars(row.value), "each"
    if row.unit.startswith("USD/"):
        return f"${_cents(row.value)}", f"per {row.unit[4:]}"
    return spelled(row.value), "" if row.unit == "ratio" else row.unit


def origin(row: Assumed) -> str:
    """Where an input comes from, for those who do not know the keys of a scenario."""
    left, typical = row.source.partition("left out: "), row.source.partition("catalog typical of ")
    known = {
        "scenario": "your scenario",
        "owned": "yours already: no price",
        "default": "default of tokenfleet",
        "left out: none": "left blank: none is counted",
    }
    if row.source in known:
        return known[row.source]
    if not left[0] and left[1]:
        return plain(f"left blank: {left[2]}")
    if not typical[0] and typical[1]:
        return plain(f"typical figure of the catalog: {typical[2].replace('_', ' ')}")
    return plain(row.source)
