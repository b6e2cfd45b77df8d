"""Number, name and date types of the scenario, and the metadata that every quantity carries.

Numbers are strict: booleans, numeric strings, NaN and infinities are refused; an integer is
accepted where a float is expected. *Unknown* is `None`, *zero* is 0 and *unlimited* is the word
`"unlimited"`: three states that are never folded into one.
"""

from __future__ import annotations

import math
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

HOURS_PER_DAY = 24
MAX_NAME = 200
# Control characters, and others that nobody sees: two names that look alike would be two.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
#: More than any amount of this world; beyond it sums lose their parts.
MOST = 1e18


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
OpenFraction = Annotated[Number, Field(ge=0, lt=1)]
Correlation = Annotated[Number, Field(ge=-1, le=1)]
Score = Annotated[Number, Field(gt=0, le=1)]
AtLeastOne = Annotated[Number, Field(ge=1)]
Count = Annotated[int, Field(strict=True, ge=0, le=10**12)]
PositiveCount = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Flag = Annotated[bool, Field(strict=True)]
# A text as it stands: a number is none.
Word = Annotated[str, Field(strict=True)]

Unlimited = Literal["unlimited"]


def _limit_tag(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<number>"


Limit = Annotated[
    Annotated[NonNegative, Tag("<number>")] | Annotated[Unlimited, Tag("<word>")],
    Discriminator(_limit_tag),
]
CountLimit = Annotated[
    Annotated[Count, Tag("<number>")] | Annotated[Unlimited, Tag("<word>")],
    Discriminator(_limit_tag),
]


def limit_value(limit: float | Unlimited) -> float:
    """The limit as a float; `"unlimited"` is infinity."""
    return math.inf if isinstance(limit, str) else float(limit)


def _printable(value: Any) -> Any:
    if isinstance(value, str) and _CONTROL.search(value.translate({9: None, 10: None, 13: None})):
        raise PydanticCustomError("control_character", "Text has control characters")
    return value


def _named(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise PydanticCustomError("blank_name", "Name is blank")
    if isinstance(value, str) and _CONTROL.search(value):
        raise PydanticCustomError("control_character", "Name has characters that nobody sees")
    if isinstance(value, str) and value != value.strip():
        raise PydanticCustomError("padded_name", "Name begins or ends with a blank")
    return value


Text = Annotated[str, Field(strict=True, max_length=20_000), BeforeValidator(_printable)]
Name = Annotated[
    str, Field(strict=True, min_length=1, max_length=MAX_NAME), BeforeValidator(_named)
]


def _day(value: Any) -> Any:
    """Accepts a date or ISO text, not a number (pydantic would read it as a Unix time)."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise PydanticCustomError(
                "iso_date", "Input should be a date such as 2026-07-01"
            ) from None
    if type(value) is not date:
        raise PydanticCustomError("iso_date", "Input should be a date such as 2026-07-01")
    return value


Day = Annotated[date, BeforeValidator(_day)]

Cooling = Literal["air", "direct liquid"]
Metric = Literal["ttft", "tpot", "e2e"]
Percentile = Literal["mean", "p50", "p90", "p95", "p99"]
TraceFormat = Literal["azure", "mooncake", "burstgpt"]


def quantity(
    meaning: str,
    unit: str,
    *,
    low: float | None = None,
    high: float | None = None,
    if_low: str = "",
    if_high: str = "",
    **options: Any,
) -> Any:
    """A field with meaning and unit, and the band outside of which a value draws a warning.

    `low` and `high` are inclusive; `if_low` and `if_high` say what the unit probably was. Other
    options (`default`, `alias`) go to `pydantic.Field`.
    """
    extra: dict[str, Any] = {"unit": unit}
    if low is not None:
        extra["plausible_low"] = low
        extra["if_low"] = if_low
    if high is not None:
        extra["plausible_high"] = high
        extra["if_high"] = if_high
    return Field(description=meaning, json_schema_extra=extra, **options)


def about(meaning: str, **options: Any) -> Any:
    """A field without a unit."""
    return Field(description=meaning, **options)
