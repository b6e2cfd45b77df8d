"""A thread beside the caller's: a solve leaves Python alone, so that two of them use two cores.

What is begun here depends on nothing that the caller does meanwhile, so that the answer is the same
with the thread and without it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TypeVar

from tokenfleet.mix.solver.highs import STOP

Value = TypeVar("Value")

LISTEN_S = 0.2  # between looks at whether Ctrl-C came


class Beside:
    """Pieces of work, one after the other, in a thread or, if not `threaded`, when they are asked
    for. At the end of a `with` all that still runs is stopped."""

    def __init__(self, *, threaded: bool) -> None:
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1) if threaded else None

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def begin(self, work: Callable[[], Value]) -> Callable[[], Value]:
        """What waits for the value of the work.

        Ctrl-C while it waits stops all pieces, and is raised (KeyboardInterrupt) by this wait and
        every later one.
        """
        if self._pool is None:
            return work
        future = self._pool.submit(self._stoppable, work)
        return lambda: self._wait_for(future)

    def _stoppable(self, work: Callable[[], Value]) -> Value:
        STOP.set(self._stop)
        return work()

    def _wait_for(self, future: Future[Value]) -> Value:
        try:
            while not (self._stop.is_set() or wait([future], timeout=LISTEN_S).done):
                pass
        except KeyboardInterrupt:
            self._stop.set()
        if self._stop.is_set():
            raise KeyboardInterrupt
        return future.result()
