"""How long `import tokenfleet` and `tokenfleet --help` take."""

from __future__ import annotations

import subprocess
import sys

from spread import Spread, seconds, spread


def measure(quick: bool) -> dict[str, Spread]:
    """Seconds of a new process, that of the interpreter with it."""
    runs = 5 if quick else 15

    def took(*arguments: str) -> list[float]:
        command = [sys.executable, *arguments]
        return seconds(lambda: subprocess.run(command, check=True, capture_output=True), runs)

    return {
        "import_s": spread(took("-c", "import tokenfleet")),
        "help_s": spread(took("-m", "tokenfleet", "--help")),
    }
