"""What is known of a part that is done: kept beside it, so that a killed run can go on.

Checksums are XXH3-128: they tell a part that a kill or a full disk left half. Parts are not forced
to the disk one by one; what a loss of power takes is noticed the same way, and made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tokenfleet._core import file_checksum

ROWS, BEST, REJECTED = ".rows", ".best", ".rejected"


@dataclass(frozen=True)
class Record:
    """What a part holds. `rows` were read, `kept` are in its file of rows."""

    number: int
    rows: int
    kept: int
    rejected: int
    counts: Mapping[str, int]
    checksums: Mapping[str, str]  # by ending of the file


def part_file(folder: Path, number: int, ending: str) -> Path:
    """Name of a file of a part."""
    return folder / f"part-{number:06}{ending}"


def checksums(folder: Path, number: int) -> dict[str, str]:
    """Checksums of the files of a part."""
    return {end: file_checksum(part_file(folder, number, end)) for end in (ROWS, BEST, REJECTED)}


def note(folder: Path, record: Record) -> None:
    """Keeps a part's record beside it, whole."""
    path = part_file(folder, record.number, ".json")
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(asdict(record), sort_keys=True))
    unfinished.replace(path)


def noted(folder: Path, number: int) -> Record | None:
    """The record of a part that is there whole, with the bytes that it had."""
    try:
        data: Mapping[str, Any] = json.loads(part_file(folder, number, ".json").read_text())
        record = Record(**data)
        whole = record.number == number and checksums(folder, number) == record.checksums
    except (OSError, ValueError, TypeError):
        return None
    return record if whole else None
