"""The process that solves: a request on standard input, one JSON value a line on standard output.

Request: `{"text": YAML, "folder": where its relative paths start}`. Lines:

    {"event": "loaded"}                               the scenario is valid
    {"event": "search", "done": 12, "total": 40}      layouts evaluated
    {"event": "solve", "value": 9.1, "bound": 9.0, "unit": "USD per year"}   the best plan so far
    {"event": "plan", "plan": {...}}                  the answer, or
    {"event": "error", "error": {...}}                as `--json` prints it

An interrupt (SIGINT) ends the search: the best plan so far is the answer.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tokenfleet.errors import TokenfleetError
from tokenfleet.files.plain import finite

_PAUSE_S = 0.2  # between two lines about the best plan


def main() -> None:
    """Answers one request."""
    request = json.loads(sys.stdin.buffer.readline())
    try:
        say("plan", plan=_plan(request["text"], Path(request["folder"])))
    except TokenfleetError as error:
        say("error", error=error.to_json())
    except KeyboardInterrupt:
        sys.exit(130)  # before a plan: whoever pressed says so


def say(event: str, **values: Any) -> None:
    """One line."""
    line = json.dumps({"event": event, **values}, allow_nan=False)
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _plan(text: str, folder: Path) -> dict[str, Any]:
    from tokenfleet.files.read import parse_yaml  # noqa: PLC0415 (a stop is heard from the start)
    from tokenfleet.optimize import optimize_fleet  # noqa: PLC0415
    from tokenfleet.problem_data import GOALS  # noqa: PLC0415
    from tokenfleet.scenario.load import load_scenario  # noqa: PLC0415

    loaded = load_scenario(parse_yaml(text, "scenario"), base_dir=folder)
    say("loaded")
    unit = GOALS[loaded.scenario.objective.kind].unit
    last = 0.0

    def moved(value: float, bound: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _PAUSE_S:
            last = time.monotonic()
            say("solve", value=value, bound=finite(bound), unit=unit)

    found = optimize_fleet(
        loaded,
        progress=lambda done, total: say("search", done=done, total=total),
        watch=moved,
    )
    return found.to_json()


if __name__ == "__main__":
    main()
