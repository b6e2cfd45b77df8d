"""Names of what a batch reads and writes, and writes that cannot leave the folder or be half."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from tokenfleet.errors import SchemaError
from tokenfleet.files.whole import write_whole

ENDINGS = (".yaml", ".yml", ".toml", ".json")
_SLUG = 40  # characters of a name that are kept
_HASH = 12


def find_scenarios(paths: Iterable[Path]) -> dict[str, Path]:
    """Scenario files by their name in reports: files as given, folders with their direct children.

    Raises:
        SchemaError: nothing is there, or two files would have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            own = sorted(p for p in path.iterdir() if _is_scenario(p))
            if not own:
                raise SchemaError(
                    f"{path}: holds no scenario", f"scenarios end in {', '.join(ENDINGS)}"
                )
        elif path.is_file():
            own = [path]
        else:
            raise SchemaError(f"{path}: no such file or folder", "check the path")
        for scenario in own:
            if scenario.name in found and found[scenario.name] != scenario:
                raise SchemaError(
                    f"{scenario} and {found[scenario.name]} have the same name",
                    "rename one: results are named after the files",
                )
            found[scenario.name] = scenario
    return dict(sorted(found.items()))


def _is_scenario(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in ENDINGS and path.is_file() and not hidden


def result_name(scenario: str, key: str) -> str:
    """A file name of plain letters that is unique to the scenario's name and inputs.

    Never a path, a hidden file, or a name that an operating system reserves: it ends in a hash.
    """
    text = unicodedata.normalize("NFKD", Path(scenario).stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_SLUG].strip("-")
    return f"{slug or 'scenario'}-{key[:_HASH]}.json"


def digest(*parts: str | bytes) -> str:
    """SHA-256 of parts; their borders count."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big"))
        sha.update(data)
    return sha.hexdigest()


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file's bytes; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return _digest_of(file)
    except (OSError, ValueError):
        return None


def _digest_of(file: BinaryIO) -> str:
    sha = hashlib.sha256()
    while block := file.read(1 << 20):
        sha.update(block)
    return sha.hexdigest()


def write_inside(folder: Path, name: str, data: bytes) -> Path:
    """Writes a file of the folder, whole or not at all; a link of that name is replaced, not
    followed.

    Raises:
        SchemaError: the name is not a plain one.
        OSError: the disk is full or read-only; no half file stays.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise SchemaError(f"{name!r}: is not a plain file name", "this is a bug: please report it")
    target = folder / name
    write_whole(target, data)
    return target
