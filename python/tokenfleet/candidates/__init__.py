"""Candidate files: one row per layout, load and price; answers in a file of the same rows.

`columns` names what a row may say, `source` cuts a file into parts and reads them, `layouts` turns
names into prepared layouts, `rows` evaluates a slice, `select` reads a condition, `part` is the
unit of work of an engine, `run` puts parts together and goes on where it was killed.
"""

from __future__ import annotations

from tokenfleet.candidates.run import FileOptions, FileReport, evaluate_file

__all__ = ["FileOptions", "FileReport", "evaluate_file"]
