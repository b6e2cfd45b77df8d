"""This room solves many scenarios at once, each of them in a child process of its own.

An answer is in the output folder whole, or it is not there at all, so a batch that was killed goes
on where it stopped. `files` names what is read and written, `solve` is the work of one child,
`manifest` remembers what is done and from which inputs, `run` drives the children, and `summary`
makes the table of all answers.
"""

from __future__ import annotations

from tokenfleet.batch.run import BatchOptions, BatchReport, run_batch

__all__ = ["BatchOptions", "BatchReport", "run_batch"]
