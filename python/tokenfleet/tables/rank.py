"""The best rows by a column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tokenfleet.tables.question import ROW


@dataclass(frozen=True)
class Ranking:
    """Keeps so many rows, the best by a column; blank ones never, equal ones in order of their row
    and of their place."""

    by: str
    keep: int
    larger: bool

    def top(self, table: pa.Table) -> pa.Table:
        """The best rows of a table, best first."""
        values = table.column(self.by).to_numpy()
        values = -values if self.larger else values
        if self.keep < len(values):  # blank ones are NaN, which are sorted last
            least = np.partition(values, self.keep - 1)[self.keep - 1] if self.keep else -np.inf
            there = np.flatnonzero(~(values > least) & ~np.isnan(values))
        else:
            there = np.flatnonzero(~np.isnan(values))
        rows = table.column(ROW).take(pa.array(there)).to_numpy()
        order = there[np.lexsort((rows, values[there]))]
        return table.take(pa.array(order[: self.keep]))

    def better(self, best: pa.Table, table: pa.Table) -> pa.Table:
        """The best rows of the best so far and of a table that comes after them."""
        return self.top(pa.concat_tables([best, self.top(table)]))
