"""Threads of this process: for work that spends its time in the core or in a library without the
interpreter's lock. There is no time limit: a thread cannot be stopped from outside."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from tokenfleet.compute.base import Item, Outcome, Value, WorkLimits


class Threads:
    """So many pieces at a time, one thread each."""

    name = "threads"

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def run(
        self, task: Callable[[Item], Value], items: Sequence[Item], limits: WorkLimits | None = None
    ) -> Generator[Outcome[Value], None, None]:
        """As `ComputeEngine.run`.

        Raises:
            ValueError: a time limit.
        """
        if limits is not None and limits.seconds is not None:
            raise ValueError("threads cannot hold a time limit: use processes")
        return self._run(task, items)

    def _run(
        self, task: Callable[[Item], Value], items: Sequence[Item]
    ) -> Generator[Outcome[Value], None, None]:
        left = iter(enumerate(items))
        running: set[Future[Outcome[Value]]] = set()
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                while True:
                    # One more than run, so that no thread waits for the taker of outcomes.
                    while len(running) <= self.jobs and (piece := next(left, None)) is not None:
                        running.add(pool.submit(attempt, task, piece[0], piece[1]))
                    if not running:
                        return
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from sorted((f.result() for f in ended), key=lambda o: o.index)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def attempt(task: Callable[[Item], Value], index: int, item: Item) -> Outcome[Value]:
    """The outcome of one piece in this process."""
    begun = time.perf_counter()
    try:
        value = task(item)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - begun
        return Outcome(index, kind="raised", error=text, exception=error, seconds=seconds)
    return Outcome(index, value, seconds=time.perf_counter() - begun)


def packed(outcome: Outcome[Any]) -> bytes:
    """The outcome as bytes, without an exception that does not travel."""
    try:
        data = pickle.dumps(outcome)
        pickle.loads(data)
    except Exception as error:
        text = outcome.error or f"its answer cannot be sent: {type(error).__name__}: {error}"
        plain: Outcome[Any] = Outcome(
            outcome.index, kind="raised", error=text, seconds=outcome.seconds
        )
        return pickle.dumps(plain)
    return data
