"""One solve at a time, in a child process: what it says, how it is stopped, how it ended."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenfleet.errors import TokenfleetError
from tokenfleet.plan.rows import Plan
from tokenfleet.report import local

_MAX_LINE = 256 * 1024 * 1024  # a plan is one line


@dataclass(frozen=True)
class Solved:
    """A plan with the text that it answers."""

    text: str
    plan: Plan


@dataclass
class Solver:
    """The state that the page shows. `plans` are in the order in which they were solved."""

    folder: Path

    def __post_init__(self) -> None:
        """Nothing has been solved yet."""
        self.plans: list[Solved] = []
        self.error: dict[str, Any] | None = None  # of the last solve
        self.event: dict[str, Any] = {}  # the last line of the child
        self.begun = 0.0
        self.stopping = False
        self._child: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether a solve is going on."""
        return self._task is not None and not self._task.done()

    def start(self, text: str) -> bool:
        """Begins a solve; False where one is going on."""
        if self.running:
            return False
        self.error, self.event, self.stopping = None, {}, False
        self.begun = time.monotonic()
        self._task = asyncio.create_task(self._solve(text))
        return True

    def stop(self) -> None:
        """Asks the child for the best plan so far."""
        if self.running and self._child is not None:
            self.stopping = True
            with suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGINT)

    async def close(self) -> None:
        """Ends the child with the page."""
        if self._child is not None and self._child.returncode is None:
            with suppress(ProcessLookupError):
                self._child.kill()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def state(self) -> dict[str, Any]:
        """What the page shows of the solve, in local."""
        seconds = time.monotonic() - self.begun if self.running else 0.0
        share = None
        if self.event.get("event") == "search" and self.event["total"]:
            share = self.event["done"] / self.event["total"]
        return {
            "running": self.running,
            "share": share,
            "text": local.solving(self.event, seconds, self.stopping) if self.running else "",
            "plans": len(self.plans),
            "error": None if self.error is None else local.no_plan(self.error),
        }

    async def _solve(self, text: str) -> None:
        command = (sys.executable, "-m", "tokenfleet.ui.child")
        pipe = asyncio.subprocess.PIPE
        self._child = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=_MAX_LINE
        )
        assert self._child.stdin is not None and self._child.stdout is not None
        request = json.dumps({"text": text, "folder": str(self.folder)})
        with suppress(ConnectionError):
            self._child.stdin.write(f"{request}\n".encode())
            await self._child.stdin.drain()
        answered = False
        while line := await self._child.stdout.readline():
            answered = self._heard(json.loads(line), text) or answered
        code = await self._child.wait()
        if not answered:
            message, hint = local.STOPPED if self.stopping else local.solver_died(code)
            self.error = TokenfleetError(message, hint).to_json()

    def _heard(self, event: dict[str, Any], text: str) -> bool:
        """Takes a line of the child; True where it is the answer."""
        if event["event"] == "plan":
            self.plans.append(Solved(text, Plan.from_json(event["plan"])))
            return True
        if event["event"] == "error":
            self.error = event["error"]
            return True
        self.event = event
        return False
