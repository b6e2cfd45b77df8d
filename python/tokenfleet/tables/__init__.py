"""This room answers a question for every row of a file, in a file of the same order.

Files of any length are cut into parts, and a run that was killed goes on with the parts that are
missing. `source` reads parts, `question` says what can be asked, `cells` reads numbers, `select` a
condition, `rank` keeps the best rows, `sink` writes; `part` is the unit of work of an engine,
`record` what is known of one, and `run` drives them all.
"""

from __future__ import annotations

from tokenfleet.tables.question import Answered, Answerer, Question
from tokenfleet.tables.run import TableOptions, TableReport, evaluate_table

__all__ = ["Answered", "Answerer", "Question", "TableOptions", "TableReport", "evaluate_table"]
