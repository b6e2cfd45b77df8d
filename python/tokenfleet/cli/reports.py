"""`report`: a plan, or the answer that there is none, as a file to be mailed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.options import ForceOption

if TYPE_CHECKING:
    from tokenfleet.plan.rows import Plan

PlanArgument = Annotated[
    Path, typer.Argument(metavar="PLAN", help="Plan, or an answer of `plan --json`.")
]
RedactOption = Annotated[
    bool, typer.Option("--redact", help="Replace names and prices, so that it can be passed on.")
]


def report(
    plan: PlanArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; .html is a page.")],
    redact: RedactOption = False,
    force: ForceOption = False,
) -> None:
    """Write a plan as one HTML file that loads nothing and prints to a board page."""
    with answering(as_json=False):
        from tokenfleet.report.files import check_report, content

        check_report(output)
        refuse_existing(output, force)
        write_atomic(output, content(answer_of(plan), output, redact=redact), force)
        note(f"wrote {output}")


def answer_of(path: Path) -> Plan | Mapping[str, Any]:
    """The plan in a file, or the error object that `plan --json` printed.

    Raises:
        SchemaError: the file has neither.
    """
    from tokenfleet.files.read import load_data
    from tokenfleet.plan.rows import MAX_BYTES, Plan

    data = load_data(path, MAX_BYTES)
    if isinstance(data, Mapping) and isinstance(data.get("error"), Mapping):
        return {"name": path.stem, **data["error"]}
    return Plan.from_json(data, str(path))
