"""Values made harmless: text for a terminal or a spreadsheet, and numbers for JSON (no NaN)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

# C0 and C1 controls but tab and newline, and the marks that reorder text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def plain(value: object) -> str:
    """The value as text without control characters or marks that reorder it."""
    return _CONTROL.sub("", str(value))


def cell(value: object) -> object:
    """A spreadsheet cell: text that a spreadsheet would run as a formula gets a quote before it."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def finite(value: float) -> float | None:
    """The number, or None where it is NaN or infinite: `finite(math.inf)` is None."""
    return float(value) if math.isfinite(value) else None


def json_ready(value: Any) -> Any:
    """Plain dicts, lists and numbers; one that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return finite(value) if isinstance(value, float) else value
