"""What a file of ours is, by its keys: a plan that is given for something else is called one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenfleet.errors import SchemaError

# How texts begin that people save under the name of a scenario, what they are, what to do.
_TEXTS = (
    ("<", "is a web page or XML", "save the raw file: of a repository's page its `raw` address"),
    ("version https://git-lfs", "is a pointer of Git LFS", "fetch the file: git lfs pull"),
)


def is_plan(data: Mapping[str, Any]) -> bool:
    """Whether these are the keys of a plan: what to get, and which requests go where."""
    return {"systems", "routing"} <= data.keys()


def no_fields(path: Path, data: Any) -> SchemaError:
    """The error of a file that holds something else than fields, with what it holds."""
    start = "start with `name: ...`; tokenfleet demo --save example.yaml writes one to look at"
    if data is None:
        return SchemaError(f"{path}: is empty", start)
    if isinstance(data, list):
        return SchemaError(f"{path}: is a list, not a group of fields", f"take the - off: {start}")
    for begun, what, cure in _TEXTS:
        if isinstance(data, str) and data.startswith(begun):
            return SchemaError(f"{path}: {what}", cure)
    return SchemaError(f"{path}: should be a mapping of fields", start)
