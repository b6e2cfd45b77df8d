"""A Ray cluster: the same pieces of work as Ray tasks, on this machine or on many.

A piece whose worker process or machine dies is started again by Ray, three times at most. The
package must be installed alike on every machine, and paths in the items must mean the same files
everywhere (a shared folder).
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from typing import Any

from tokenfleet.compute.base import Item, Outcome, Value, WorkLimits
from tokenfleet.compute.threads import attempt, packed
from tokenfleet.errors import SchemaError

_RETRIES = 3  # of a piece whose worker or machine died
_STORE_BYTES = 200_000_000  # of a cluster that is started here; items and answers are small
_POLL_S = 0.5


def connect(jobs: int | None = None, address: str | None = None) -> Ray:
    """The cluster at `address` or in RAY_ADDRESS; without either, one on this machine alone.

    `jobs` pieces run at a time; None: one for each core of the cluster.

    Raises:
        SchemaError: Ray is not installed, or there is no cluster at the address.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        # Read when ray is loaded: its one node then has the address of this machine alone.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise SchemaError(
            "--engine ray: the package ray is not installed", "pip install 'tokenfleet[ray]'"
        ) from None
    quiet: dict[str, Any] = {
        "logging_level": "ERROR",
        "log_to_driver": False,
        "ignore_reinit_error": True,
    }
    if address is None and not ray.is_initialized():
        here = {"num_cpus": jobs, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
        ray.init(address="local", **here, **quiet)
    elif not ray.is_initialized():
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SchemaError(
                f"--engine ray: no cluster at {address!r}: {str(error)[:200]}",
                "start one with `ray start --head`, or leave the address out to run here",
            ) from None
    return Ray(jobs or max(1, int(ray.cluster_resources().get("CPU", 1))))


class Ray:
    """So many pieces at a time, a Ray task of one core each."""

    name = "ray"

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def run(
        self, task: Callable[[Item], Value], items: Sequence[Item], limits: WorkLimits | None = None
    ) -> Generator[Outcome[Value], None, None]:
        """As `ComputeEngine.run`."""
        ray: Any = import_module("ray")
        seconds = (limits or WorkLimits()).seconds
        remote = ray.remote(_piece).options(num_cpus=1, max_retries=_RETRIES)
        left = iter(enumerate(items))
        running: dict[Any, tuple[int, float]] = {}
        try:
            while True:
                while len(running) < self.jobs and (piece := next(left, None)) is not None:
                    running[remote.remote(task, *piece)] = (piece[0], time.monotonic())
                if not running:
                    return
                ended, _ = ray.wait(list(running), timeout=_POLL_S if seconds else None)
                for ref in ended:
                    yield _outcome(ref, *running.pop(ref))
                for ref in [r for r, (_, begun) in running.items() if _over(begun, seconds)]:
                    index, begun = running.pop(ref)
                    ray.cancel(ref, force=True)
                    text = f"stopped after {seconds:g} s"
                    spent = time.monotonic() - begun
                    yield Outcome(index, kind="timeout", error=text, seconds=spent)
        finally:
            for ref in running:
                ray.cancel(ref, force=True)


def _over(begun: float, seconds: float | None) -> bool:
    return seconds is not None and time.monotonic() - begun >= seconds


def _piece(task: Callable[[Any], Any], index: int, item: Any) -> bytes:
    return packed(attempt(task, index, item))


def _outcome(ref: Any, index: int, begun: float) -> Outcome[Any]:
    ray: Any = import_module("ray")
    try:
        outcome: Outcome[Any] = pickle.loads(ray.get(ref))
        return outcome
    except ray.exceptions.RayError as error:
        text = f"its worker died {_RETRIES + 1} times: {type(error).__name__}"
        spent = time.monotonic() - begun
        return Outcome(index, kind="crashed", error=text, seconds=spent)
