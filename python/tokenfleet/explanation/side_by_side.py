"""Pieces of work in threads: a solve leaves Python alone, so that two of them use two cores.

Ctrl-C reaches the main thread alone, which passes it on: every solve that runs is stopped, and so
is every later one, each piece keeping what it has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from tokenfleet.mix.solver.beside import LISTEN_S
from tokenfleet.mix.solver.highs import STOP


def side_by_side(pieces: Sequence[Callable[[], None]], jobs: int) -> None:
    """All pieces, so many at a time, the first ones first.

    A piece is to end itself when its solves are stopped; an error of one is raised when all ended.
    """
    stop = threading.Event()

    def run(piece: Callable[[], None]) -> None:
        STOP.set(stop)
        piece()

    with ThreadPoolExecutor(min(jobs, len(pieces))) as pool:
        running: list[Future[None]] = [pool.submit(run, piece) for piece in pieces]
        pending: set[Future[None]] = set(running)
        while pending:
            try:
                _, pending = wait(pending, timeout=LISTEN_S)
            except KeyboardInterrupt:
                stop.set()
    for future in running:
        future.result()
