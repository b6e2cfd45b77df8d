"""Output files: whole or not at all, and never over an existing one unless asked."""

from __future__ import annotations

from pathlib import Path

from tokenfleet.errors import SchemaError
from tokenfleet.files.whole import write_whole


def refuse_existing(path: Path | None, force: bool) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: the file is there and `force` is not set, or its folder is not there.
    """
    if path is None:
        return
    if path.is_dir() or not path.parent.is_dir():
        raise SchemaError(f"{path}: is not a file in an existing folder", "give a file name")
    if path.exists() and not force:
        raise SchemaError(f"{path}: is already there", "give another name, or --force")


def write_atomic(path: Path, content: str | bytes, force: bool) -> None:
    """Writes a file whole, as `write_whole`, and over an existing one only with `force`.

    Raises:
        SchemaError: as `refuse_existing`.
        OSError: the disk is full or read-only; no half file stays.
    """
    refuse_existing(path, force)
    write_whole(path, content)
