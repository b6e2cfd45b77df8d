"""The commands that README measures on the shipped examples, each in a process of its own.

    python benches/run.py --only examples

Seconds of the clock from start to answer, as a buyer waits, with the processor's time beside them;
the gap that is proven and how many configurations were looked at. `--quick` runs `demo` once.
About three minutes on two idle cores.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from spread import Spread, spread

ROOT = Path(__file__).resolve().parent.parent
ENTERPRISE = ROOT / "python" / "tokenfleet" / "examples" / "enterprise.yaml"
RUNS = 3
#: By name of the figure: the command, and how often it runs.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "demo": (("demo",), RUNS),
    "explain": (("explain", str(ENTERPRISE)), 1),
    "ai_factory": (("plan", str(ROOT / "examples" / "ai_factory.yaml")), RUNS),
    "hyperscaler": (("plan", str(ROOT / "examples" / "hyperscaler.yaml"), "--no-cache"), RUNS),
}


def measure(quick: bool) -> dict[str, Spread | float]:
    """Seconds of every command, and what its plan proves."""
    figures: dict[str, Spread | float] = {}
    for name, (command, runs) in COMMANDS.items():
        if quick and name != "demo":
            continue
        timed = [_run(command) for _ in range(1 if quick else runs)]
        figures[f"{name}_s"] = spread([wall for wall, _, _ in timed])
        figures[f"{name}_cpu_s"] = spread([cpu for _, cpu, _ in timed])
        answer = timed[-1][2]
        if "gap" in answer:
            figures[f"{name}_gap"] = answer["gap"]
    return figures


def _run(command: tuple[str, ...]) -> tuple[float, float, dict[str, Any]]:
    """Seconds of the clock, of the processor, and the answer of a command.

    A command that ends without a proof (exit code 4) has an answer as well.
    """
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        done = subprocess.run(
            [sys.executable, "-m", "tokenfleet", *command, "--json"],
            check=False,
            stdout=out,
        )
        wall = time.perf_counter() - begun
        out.seek(0)
        answer = json.load(out) if done.returncode in (0, 4) else {}
    if not answer:
        raise RuntimeError(f"tokenfleet {' '.join(command)}: exit code {done.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, answer


if __name__ == "__main__":
    print(json.dumps(measure(quick=False), indent=1))
