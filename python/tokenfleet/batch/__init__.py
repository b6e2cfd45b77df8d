"""Many scenarios at once: each in a child process, each answer whole or not there at all.

`files` names what is read and written, `solve` is the work of one child, `manifest` remembers what
is done and with which inputs, `run` puts them together, `summary` reads the manifest.
"""

from __future__ import annotations

from tokenfleet.batch.run import BatchOptions, BatchReport, run_batch

__all__ = ["BatchOptions", "BatchReport", "run_batch"]
