"""Which files a scenario was made of: those that Python opened while it was loaded.

A scenario names traces, tables and catalogs, and those name others; what was really opened is the
only list that cannot be forgotten to be extended. Files of the package and of Python are left out:
the package's own data have a digest of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from tokenfleet._core import __version__
from tokenfleet.batch.files import digest, file_digest

PACKAGE = Path(__file__).parent.parent
_OUTSIDE = tuple(
    os.path.realpath(p) + os.sep
    for p in (PACKAGE, sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/etc")
)
_CODE = (".py", ".pyc", ".so", ".pyd")
# What is known of installed packages, wherever they lie: it is read when a schema is first made.
_INSTALLED = (".dist-info", ".egg-info")
_opened: list[set[str]] = []  # sets that are being filled
_hooked: list[bool] = []


@contextmanager
def opened_files() -> Iterator[set[str]]:
    """Absolute paths of the files opened for reading inside the block, as they come."""
    if not _hooked:
        sys.addaudithook(_hear)  # for the life of the process: hooks cannot be taken off
        _hooked.append(True)
    found: set[str] = set()
    _opened.append(found)
    try:
        yield found
    finally:
        _opened.remove(found)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if event != "open" or not _opened or not isinstance(args[0], (str, bytes)):
        return
    mode = args[1]
    if mode is not None and "r" not in mode:
        return
    path = os.path.realpath(os.fsdecode(args[0]))
    if not _is_of_python(path):
        for found in _opened:
            found.add(path)


def _is_of_python(path: str) -> bool:
    return (
        path.startswith(_OUTSIDE)
        or path.endswith(_CODE)
        or Path(path).parent.name.endswith(_INSTALLED)
    )


@lru_cache(maxsize=1)
def package_digest() -> str:
    """Version, and digest of the catalog and the other data in the package."""
    data = sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".csv", ".json", ".yaml"))
    parts = [f"{p.relative_to(PACKAGE).as_posix()} {file_digest(p)}" for p in data]
    return digest(__version__, *parts)


def inputs_of(scenario: Path, found: set[str]) -> dict[str, str | None]:
    """Digests of the scenario and of what it opened, by path from the scenario's folder."""
    folder = os.path.realpath(scenario.parent)
    paths = {os.path.realpath(scenario), *(p for p in found if not Path(p).is_dir())}
    return {
        Path(os.path.relpath(p, folder)).as_posix(): file_digest(Path(p)) for p in sorted(paths)
    }
