"""Where work runs: threads of this process, child processes, or the machines of a Ray cluster.

A piece of work is a function that can be imported and an item that can be pickled. An engine takes
a sequence of items and yields an `Outcome` for each as it ends, in whatever order; results do not
depend on the engine, because a piece of work depends on nothing but its item. Closing the iterator
(a `break`, an error, Ctrl-C) cancels what has not ended.

    engine = open_engine("processes", jobs=2)
    for outcome in engine.run(task, items, WorkLimits(seconds=60)): ...

New kinds of work use these engines; new engines are a class with `run` and a name here.
"""

from __future__ import annotations

from tokenfleet.compute.base import ComputeEngine, Outcome, WorkLimits, in_order
from tokenfleet.compute.open import ENGINES, open_engine

__all__ = ["ENGINES", "ComputeEngine", "Outcome", "WorkLimits", "in_order", "open_engine"]
