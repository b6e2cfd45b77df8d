"""What is known of a part that is done: kept beside it, so that a killed run can go on.

Checksums are XXH3-128: they tell a part that a kill or a full disk left half. Parts are not forced
to the disk one by one; what a loss of power takes is noticed the same way, and made again.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

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
    with unfinished(part_file(folder, record.number, ".json")) as file:
        file.write(json.dumps(asdict(record), sort_keys=True).encode())


@contextmanager
def unfinished(path: Path) -> Iterator[Any]:
    """A file that gets its name when it is whole; not forced to the disk, see above."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with pa.OSFile(str(part), "wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def noted(folder: Path, number: int) -> Record | None:
    """The record of a part that is there whole, with the bytes that it had."""
    try:
        data: Mapping[str, Any] = json.loads(part_file(folder, number, ".json").read_text())
        record = Record(**data)
        whole = record.number == number and checksums(folder, number) == record.checksums
    except (OSError, ValueError, TypeError):
        return None
    return record if whole else None
