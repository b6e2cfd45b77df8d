"""`report`: a plan, or the answer that there is none, as a file that is handed on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note
from tokenfleet.cli.files import refuse_existing
from tokenfleet.cli.options import ForceOption

if TYPE_CHECKING:
    from tokenfleet.plan.rows import Plan


def report(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            help="Plan: what `tokenfleet plan -o` wrote; or an answer of `plan --json`.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write; its ending says what: .html or .xlsx."),
    ],
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Replace names and leave prices out, to pass it on."),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Write a plan as a page or as a spreadsheet with live formulas, to hand on."""
    with answering(as_json=False):
        refuse_existing(output, force)
        from tokenfleet.report.write import check_report, write_report

        check_report(output)
        write_report(_answer(plan), output, redact=redact)
        note(f"wrote {output}")


def _answer(path: Path) -> Plan | Mapping[str, Any]:
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
