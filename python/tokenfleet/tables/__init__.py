"""Tables of any length: a question asked of every row of a file, answers in a file of that order.

`source` cuts a file into parts and reads them, `question` says what can be asked, `cells` reads
numbers, `select` a condition, `rank` keeps the best, `sink` writes; `part` is the unit of work of
an engine, `record` what is known of one, `run` puts parts together and goes on where it was killed.
"""

from __future__ import annotations

from tokenfleet.tables.question import Answered, Answerer, Question
from tokenfleet.tables.run import TableOptions, TableReport, evaluate_table

__all__ = ["Answered", "Answerer", "Question", "TableOptions", "TableReport", "evaluate_table"]
