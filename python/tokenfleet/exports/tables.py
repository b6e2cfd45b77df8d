"""Tables of a plan as CSV; text that a spreadsheet would run as a formula gets a quote in front."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence

from tokenfleet.files.plain import cell
from tokenfleet.plan.rows import Plan


def table(plan: Plan, name: str) -> str:
    """One table of the plan; lists and mappings in a cell are JSON.

    Raises:
        SchemaError: no such table.
    """
    columns = plan.table(name)
    rows = zip(*columns.values(), strict=True)
    return lines(list(columns), ([_flat(value) for value in row] for row in rows))


def lines(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a head line; blanks are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(["" if v is None else cell(v) for v in row] for row in rows)
    return text.getvalue()


def _flat(value: object) -> object:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value
