"""Text that came from a user or a file, made harmless for a terminal or a spreadsheet."""

from __future__ import annotations

import re

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
