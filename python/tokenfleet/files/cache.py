"""What was worked out before, in the user's cache folder.

An entry is a file named by its key, written whole or not at all (`files.whole`), whose first line
is the checksum of the rest. One that is damaged, or cannot be read or written, counts as one that
is not there: a cache saves time and never changes an answer. The `MOST` used last are kept.

    TOKENFLEET_CACHE=kept tokenfleet plan s.yaml    # another folder than the user's own
    TOKENFLEET_CACHE= tokenfleet plan s.yaml        # none, as with --no-cache
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tokenfleet.files.whole import write_whole

VARIABLE = "TOKENFLEET_CACHE"  # of the environment: the folder; empty for none
MOST = 32


def folder() -> Path | None:
    """Where entries are kept; None where nothing is to be kept."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    with suppress(RuntimeError):  # nobody's home
        return _of_user() / "tokenfleet"
    return None


def _of_user() -> Path:
    """The folder for caches of this user, by the custom of the system."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return stated if stated.is_absolute() else Path.home() / ".cache"


def key_of(*parts: str) -> str:
    """The key of what these texts determine."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def recall(key: str) -> Any:
    """The plain data kept under a key; None where there are none."""
    kept_in = folder()
    if kept_in is None:
        return None
    with suppress(OSError, ValueError):  # not there, or damaged
        path = kept_in / key
        checksum, _, content = path.read_bytes().partition(b"\n")
        if checksum == _checksum(content):
            found = json.loads(content)
            path.touch()
            return found
    return None


def remember(key: str, data: Any) -> None:
    """Keeps plain data under a key, beside what was used last."""
    kept_in = folder()
    if kept_in is None:
        return
    content = json.dumps(data).encode()
    with suppress(OSError):  # a full disk, somebody else's folder
        kept_in.mkdir(parents=True, exist_ok=True)
        write_whole(kept_in / key, _checksum(content) + b"\n" + content)
        for path in sorted(kept_in.iterdir(), key=_last_used)[:-MOST]:
            path.unlink(missing_ok=True)


def _last_used(path: Path) -> float:
    return path.stat().st_mtime


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
