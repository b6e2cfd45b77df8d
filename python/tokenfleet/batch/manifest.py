"""What a batch has done: a line of JSON for each scenario that ended; the last line of each counts.

A line is written after the result it speaks of. A half line, left by a kill, is no line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenfleet.batch.files import file_digest
from tokenfleet.batch.solve import Task, key_of
from tokenfleet.errors import SchemaError

NAME = "manifest.jsonl"
# Ends that equal inputs lead to again; the others (crashes, time-outs, bugs) are tried again.
_FINAL = (0, 2, 3, 4)


@dataclass(frozen=True)
class Entry:
    """How a scenario ended. `file` and `sha256` are its result's; empty where there is none."""

    scenario: str
    exit_code: int
    kind: str  # done, raised, crashed or timeout
    attempts: int
    seconds: float
    error: str = ""
    key: str = ""
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""


class Manifest:
    """The manifest of an output folder, held open by one batch at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._results = folder / "plans"
        self._file = self._path.open("a+", encoding="utf-8")
        _lock(self._file, folder)
        self.entries = self._read()

    def close(self) -> None:
        """Lets another batch have the folder."""
        self._file.close()

    def add(self, entry: Entry) -> None:
        """Notes an end, durably."""
        self.entries[entry.scenario] = entry
        self._file.write(json.dumps(asdict(entry), sort_keys=True) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def is_done(self, task: Task) -> bool:
        """Whether the scenario ended for good, its inputs are unchanged and its result is whole."""
        entry = self.entries.get(task.name)
        if entry is None or entry.exit_code not in _FINAL or not entry.file:
            return False
        folder = Path(task.path).parent.resolve()
        now = {name: file_digest(folder / name) for name in entry.inputs}
        whole = file_digest(self._results / entry.file) == entry.sha256
        return whole and now == entry.inputs and key_of(task, now) == entry.key

    def _read(self) -> dict[str, Entry]:
        self._file.seek(0)
        entries = {}
        lines = self._file.read().split("\n")
        for line in lines:
            entry = _entry(line)
            if entry is not None:
                entries[entry.scenario] = entry
        if lines[-1]:  # a half line: the next one starts on a new one
            self._file.write("\n")
        return entries


def _entry(line: str) -> Entry | None:
    try:
        data: Any = json.loads(line)
        return Entry(**data)
    except (ValueError, TypeError):
        return None


def _lock(file: Any, folder: Path) -> None:
    """Holds the folder for this process.

    Raises:
        SchemaError: another batch has it.
    """
    if find_spec("fcntl") is None:  # no such locks on Windows
        return
    fcntl: Any = import_module("fcntl")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SchemaError(
            f"{folder}: another batch is writing there", "wait for it, or give another folder"
        ) from None
