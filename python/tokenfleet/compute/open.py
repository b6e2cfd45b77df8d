"""Engines by the name that the command line gives them."""

from __future__ import annotations

import os
from typing import Any

from tokenfleet.compute.base import ComputeEngine
from tokenfleet.compute.on_ray import connect
from tokenfleet.compute.processes import Processes
from tokenfleet.compute.threads import Threads
from tokenfleet.errors import SchemaError

ENGINES = ("threads", "processes", "ray")


def open_engine(name: str, jobs: int | None = None, **settings: Any) -> ComputeEngine:
    """The engine of that name with so many pieces at a time; None: one for each core.

    `settings` are the engine's own: `address` of a Ray cluster.

    Raises:
        SchemaError: no such engine, fewer than one job, or Ray is not installed or not reachable.
    """
    if jobs is not None:
        check_jobs(jobs)
    if name == "threads":
        return Threads(jobs or cores())
    if name == "processes":
        return Processes(jobs or cores())
    if name == "ray":
        return connect(jobs, **settings)
    raise SchemaError(f"--engine: unknown engine {name!r}", f"one of {', '.join(ENGINES)}")


def check_jobs(jobs: int) -> None:
    """Refuses a number of pieces at a time that is none.

    Raises:
        SchemaError: fewer than one.
    """
    if jobs < 1:
        raise SchemaError(f"--jobs: {jobs} is not a number of jobs", "give 1 or more")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
