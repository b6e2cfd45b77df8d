"""A table whose rows are layouts with a load and a price: latency and cost per token come out.

`columns` names what a row may say, `layouts` turns names into layouts that the core has prepared,
`rows` evaluates a slice, and `question` is that as `tables` asks it.
"""

from __future__ import annotations

from tokenfleet.tables.layouts.run import FileOptions, evaluate_file

__all__ = ["FileOptions", "evaluate_file"]
