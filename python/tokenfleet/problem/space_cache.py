"""Evaluated spaces of configurations, kept for the next plan.

What the core finds in a space depends on its specification alone: systems, models, latency limits,
request lengths. Prices, tariffs, power, racks and demand are no part of it, so a plan of the same
scenario with others need not search again. The key has the version and the compiled core beside
the specification: nothing is taken over from another build.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from tokenfleet import _core
from tokenfleet.files.cache import key_of, recall, remember

LEAST = 20_000  # configurations below which a space is searched as fast as a file is read
_FORMAT = "1"

#: `kept`: columns; `counts`: pairs of a workload's index and its counts.
Searched = Mapping[str, Any]


def recall_space(specification: str) -> Searched | None:
    """What was found in the space of a specification; None where nobody knows."""
    found: Searched | None = recall(_key(specification))
    return found


def remember_space(specification: str, found: Searched) -> None:
    """Keeps what was found in a space that is not small."""
    if sum(count["evaluated"] + count["dominated"] for _, count in found["counts"]) >= LEAST:
        remember(_key(specification), found)


def _key(specification: str) -> str:
    return key_of(_FORMAT, _core.__version__, _build(), specification)


@cache
def _build() -> str:
    """Checksum of the compiled core."""
    return _core.file_checksum(str(_core.__file__))
