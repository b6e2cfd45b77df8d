"""Output files: whole or not at all, and never over an existing one unless asked."""

from __future__ import annotations

from pathlib import Path

from tokenfleet.errors import SchemaError
from tokenfleet.files.whole import write_whole


def refuse_existing(path: Path | None, force: bool, *inputs: Path | None) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: the file is there and `force` is not set, or it is one of the `inputs`, a
            folder or a device, or its folder is not there.
    """
    if path is None:
        return
    if path.is_dir():
        raise SchemaError(f"{path}: is a folder", "name a file in it")
    if not path.parent.is_dir():
        raise SchemaError(
            f"{path}: its folder is not there", f"make the folder {path.parent}, or name another"
        )
    if path.exists() and not path.is_file():
        hint = "name a file; for an answer on standard output leave the option out"
        raise SchemaError(f"{path}: is a device or a pipe, not a file", hint)
    if path.exists() and any(i is not None and i.exists() and path.samefile(i) for i in inputs):
        raise SchemaError(f"{path}: is what is read, and would be lost", "give another name")
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
