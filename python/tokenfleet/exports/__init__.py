"""A plan in the words of other tools: launch commands, manifests, forecast rows and tables.

tokenfleet.exports.export(plan, "vllm")  # a shell script
"""

from __future__ import annotations

from datetime import date

from tokenfleet.errors import SchemaError
from tokenfleet.exports.focus import focus
from tokenfleet.exports.kubernetes import kubernetes
from tokenfleet.exports.launch import LAUNCHERS, script
from tokenfleet.exports.tables import table
from tokenfleet.plan.rows import Plan
from tokenfleet.schema.near import did_you_mean

TARGETS = (*LAUNCHERS, "kubernetes", "focus", "csv")


def export(plan: Plan, to: str, *, table_name: str = "systems", start: date | None = None) -> str:
    """The plan as text for another tool, one of `TARGETS`.

    `vllm`, `sglang` and `trtllm` are shell scripts with one command for each kind of replica;
    `kubernetes` is a list of manifests; `focus` is a year of forecast rows from the month of
    `start` (default: of the plan's `as_of`) that add up to the plan's cost; `csv` is the table
    `table_name` of the plan.

    Raises:
        SchemaError: no such target or table, nothing in the plan for it, or no month to start in.
    """
    if to in LAUNCHERS:
        return script(plan, to)
    if to == "kubernetes":
        return kubernetes(plan)
    if to == "focus":
        return focus(plan, start)
    if to == "csv":
        return table(plan, table_name)
    raise SchemaError(f"a plan is not exported to {to!r}", did_you_mean(to, TARGETS))
