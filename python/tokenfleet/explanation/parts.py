"""What may be asked of a plan, and what is said where it cannot be answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from tokenfleet.files.plain import listed

Part = Literal[
    "worth", "flip", "ranges", "inputs", "menu", "repairs", "tornado", "crossover", "measure"
]
PARTS: tuple[Part, ...] = (
    "worth", "flip", "ranges", "inputs", "menu", "repairs", "tornado", "crossover", "measure",
)  # fmt: skip
#: What is asked where nothing is named.
USUAL: tuple[Part, ...] = ("worth", "flip", "ranges", "menu", "repairs")
#: Where the rows of a part stand, if not under its own name.
KEYS: Mapping[str, str] = {"inputs": "flip_inputs"}
UNPROVEN = (
    "the plan itself is not proven within its gap: the figures compare plans that may not be the "
    "best ones"
)
ONE_WAY = "there is one way to get tokens: nothing to compare it with"
NO_INTERVALS = "measured columns have no intervals: nothing to measure next"
MAY_BE_SMALLER = "the conflict may be smaller: a solve ended before it could tell"
#: Told what is being worked out, and how many problems were solved so far.
Watch = Callable[[str, int], None]


def incomplete(why: str, parts: Sequence[str]) -> str:
    """Which parts are not complete, and why."""
    return f"{why}: {listed(parts)} {'is' if len(parts) == 1 else 'are'} not complete"
