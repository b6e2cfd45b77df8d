"""How far the model is off: predicted against measured runs, by regime.

Files are read as they are, told apart by their columns (a module each: `serving`, `open_loop`,
`mlperf`, `published`, `power`). Data go one way: rows ▸ `run` ▸ `predict` ▸ `errors` ▸ `report`.
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
