"""Candidate files: one row per layout, load and price; answers in a file of the same rows.

`columns` names what a row may say, `layouts` turns names into prepared layouts, `rows` evaluates a
slice, `question` is that as `tables` asks it.
"""

from __future__ import annotations

from tokenfleet.tables.layouts.run import FileOptions, evaluate_file

__all__ = ["FileOptions", "evaluate_file"]
