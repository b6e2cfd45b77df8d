"""What a file of ours is, by its keys: a plan that is given for something else is called one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_plan(data: Mapping[str, Any]) -> bool:
    """Whether these are the keys of a plan: what to get, and which requests go where."""
    return {"systems", "routing"} <= data.keys()
