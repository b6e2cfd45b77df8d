"""This room tells how far the model is from measured runs, by kind of run.

Each kind of file has its own module (`serving`, `open_loop`, `mlperf`, `published`, `power`), and
a file is recognised by its columns. Data go one way: rows ▸ `run` (one measured run in the
catalog's names) ▸ `predict` (what the model says of it) ▸ `errors` ▸ `report`. For example, a row
with a TPOT of 20.0 ms for which the model says 21.5 ms counts as an error of +7.5 %.
"""

from tokenfleet.backtest.open_loop import open_ttft_fixed_ms
from tokenfleet.backtest.read import SHIPPED, file_kind
from tokenfleet.backtest.report import Report, backtest
from tokenfleet.backtest.result import Result
from tokenfleet.backtest.run import Run, Skipped

__all__ = [
    "SHIPPED",
    "Report",
    "Result",
    "Run",
    "Skipped",
    "backtest",
    "file_kind",
    "open_ttft_fixed_ms",
]
