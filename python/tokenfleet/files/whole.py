"""Files that are there whole or not at all.

A file is written beside its target under another name, forced to the disk and renamed: a reader
sees the old file or the whole new one, also after a kill or a loss of power. A kill may leave a
hidden `.<name>.<letters>.part` behind, never half a target.

Rights: those of the file that is replaced; of a new one what the umask leaves of read and write for
all. A link is replaced, not followed. Its owner is whoever writes.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_NAME = 40  # characters of the target's name that its unfinished file repeats
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when the block ends without an error, else leaves nothing. Until
    then it is called `file.name`.

    Raises:
        OSError: the disk is full or read-only, the folder is not there, or a device has the name.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is no file that could be replaced", str(path))
    part = path.with_name(f".{path.name[:_NAME]}.{secrets.token_hex(8)}.part")
    rights = _rights(path)
    mode = 0o666 if rights is None else rights
    try:
        with open(str(part), "wb", opener=lambda name, _: os.open(name, _NEW, mode)) as file:
            if rights is not None:
                part.chmod(rights)  # the umask has taken its share when it was made
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _settle(path.parent)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file of this content (text as UTF-8), as `whole_file`.

    Raises:
        OSError: the disk is full or read-only, or the folder is not there.
    """
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _rights(path: Path) -> int | None:
    """Rights of the file that is to be replaced; None where there is none."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    return stat.S_IMODE(mode) & 0o777 if stat.S_ISREG(mode) else None


def _settle(folder: Path) -> None:
    """Forces the new name to the disk, where the system has that for folders."""
    if os.name != "posix":
        return
    with suppress(OSError):  # some network file systems refuse; the file itself is on the disk
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
