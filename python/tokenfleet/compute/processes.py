"""Child processes, started afresh (`spawn`): what kills one costs the piece that it was at.

A worker takes piece after piece over a pipe. One that dies or overruns is replaced; one whose
parent dies ends itself. Ctrl-C goes to the parent alone, which stops the workers.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from tokenfleet.compute.base import Item, Outcome, Value, WorkLimits
from tokenfleet.compute.threads import attempt, packed

_SPAWN = multiprocessing.get_context("spawn")
_GRACE_S = 2.0  # for a worker to go when it is told to


class Processes:
    """So many pieces at a time, one child process each."""

    name = "processes"

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def run(
        self, task: Callable[[Item], Value], items: Sequence[Item], limits: WorkLimits | None = None
    ) -> Generator[Outcome[Value], None, None]:
        """As `ComputeEngine.run`."""
        seconds = (limits or WorkLimits()).seconds
        left = deque(enumerate(items))
        workers = [_Worker(task) for _ in range(min(self.jobs, len(left)))]
        try:
            for worker in workers:
                worker.give(*left.popleft())
            while busy := [w for w in workers if w.piece is not None]:
                for worker in _ready(busy, seconds):
                    outcome = worker.outcome(seconds)
                    if left:
                        following = worker if worker.alive else _Worker(task)
                        workers[workers.index(worker)] = following
                        following.give(*left.popleft())
                    yield outcome
        finally:
            for worker in workers:
                worker.stop()


@dataclass
class _Piece:
    index: int
    begun: float


class _Worker:
    """One child process and the pipe to it."""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        self.pipe, far = _SPAWN.Pipe()
        self.process = _SPAWN.Process(target=_serve, args=(far, task), daemon=True)
        self.process.start()
        far.close()
        self.piece: _Piece | None = None
        self.alive = True

    def give(self, index: int, item: Any) -> None:
        """Sends a piece; a worker that is gone is noticed when its outcome is asked for."""
        self.piece = _Piece(index, time.monotonic())
        try:
            self.pipe.send((index, item))
        except (BrokenPipeError, ConnectionResetError):
            self.alive = False

    def left_s(self, seconds: float | None) -> float | None:
        """Time that the piece still has."""
        if seconds is None or self.piece is None:
            return None
        return max(0.0, self.piece.begun + seconds - time.monotonic())

    def outcome(self, seconds: float | None) -> Outcome[Any]:
        """How the piece ended: answered, out of time, or with its process gone."""
        assert self.piece is not None
        piece, self.piece = self.piece, None
        spent = time.monotonic() - piece.begun
        try:
            if self.pipe.poll():
                outcome: Outcome[Any] = pickle.loads(self.pipe.recv_bytes())
                return outcome
        except (EOFError, ConnectionResetError):
            pass
        timed_out = seconds is not None and spent >= seconds and self.process.is_alive()
        self.stop(at_once=True)
        if timed_out:
            text = f"stopped after {seconds:g} s"
            return Outcome(piece.index, kind="timeout", error=text, seconds=spent)
        text = f"its process ended with {_ending(self.process.exitcode)}"
        return Outcome(piece.index, kind="crashed", error=text, seconds=spent)

    def stop(self, at_once: bool = False) -> None:
        """Ends the process."""
        self.alive = False
        self.pipe.close()
        if not at_once and self.piece is None:
            self.process.join(_GRACE_S)  # an idle worker goes when its pipe closes
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def _ready(busy: Sequence[_Worker], seconds: float | None) -> list[_Worker]:
    """Workers that answered, died or are out of time; waits until there is one."""
    while True:
        times = [left for w in busy if (left := w.left_s(seconds)) is not None]
        handles = {handle: w for w in busy for handle in (w.pipe, w.process.sentinel)}
        found = wait(list(handles), min(times) if times else None)
        ready = {id(handles[handle]) for handle in found}  # type: ignore[index]
        ready |= {id(w) for w in busy if w.left_s(seconds) == 0.0 or not w.alive}
        if ready:
            return [w for w in busy if id(w) in ready]


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _serve(pipe: Connection, task: Callable[[Any], Any]) -> None:
    """The child's life: pieces in, outcomes out, until the pipe or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # standard output is the parent's answer
    threading.Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            index, item = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(packed(attempt(task, index, item)))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
