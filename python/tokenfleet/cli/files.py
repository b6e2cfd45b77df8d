"""Output files: whole or not at all, and never over an existing one unless asked."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tokenfleet.errors import SchemaError


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
    """Writes beside the target, then renames: a reader sees the old file or the whole new one.

    Raises:
        SchemaError: as `refuse_existing`.
        OSError: the disk is full or read-only; no half file stays.
    """
    refuse_existing(path, force)
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o666 & ~_umask())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Rights that new files do not get; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
