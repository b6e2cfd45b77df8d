"""Dates, lengths of time and rows by date in the forms that people write them in."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

_MONTHS = ("%B %Y", "%b %Y", "%Y %B", "%Y %b", "%m/%Y", "%m.%Y", "%m-%Y", "%Y/%m", "%Y.%m")
_DATE = re.compile(r"\d{4}(-\d{1,2}){0,2}")
_LENGTH = re.compile(r"(\d+)\s*(month|quarter|half[-_ ]?year|year)s?", re.IGNORECASE)


def parts_of(value: Any) -> str:
    """`4 years` as the parts of a horizon, `[4 years]`; empty where it is no length of time."""
    match = _LENGTH.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return ""
    number, unit = int(match[1]), match[2].casefold()
    unit = "half_year" if unit.startswith("half") else unit
    return f"[{number} {unit}{'s' * (number != 1)}]"


def has_dates(value: Any) -> bool:
    """Whether a value is rows by date in another form: `[2026-10, 40]`, or dates as names."""
    first = next(iter(value), None) if isinstance(value, dict | list) else None
    return type(first) is date or bool(isinstance(first, str) and _DATE.fullmatch(first))


def rows_by_date(value: Any) -> str:
    """The same as rows: `[[2026-10, 40]]`."""
    rows = list(value.items()) if isinstance(value, dict) else [tuple(value[:2])]
    return "[" + ", ".join(f"[{', '.join(map(str, row))}]" for row in rows) + "]"


def month_named(text: str) -> str | None:
    """The first day of a month in other forms: `10/2026`, `October 2026`."""
    for form in _MONTHS:
        try:
            return datetime.strptime(text.strip().replace(",", ""), form).date().isoformat()
        except ValueError:
            continue
    return None
