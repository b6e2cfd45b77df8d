"""`report`: a plan as a file that is handed on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenfleet.cli.answer import answering, note
from tokenfleet.cli.files import refuse_existing
from tokenfleet.cli.options import ForceOption


def report(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", help="Plan: what `tokenfleet plan -o` wrote.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write; its ending says what: .xlsx."),
    ],
    force: ForceOption = False,
) -> None:
    """Write a plan as a spreadsheet with live formulas, to hand on."""
    with answering(as_json=False):
        refuse_existing(output, force)
        from tokenfleet.plan.rows import Plan
        from tokenfleet.report.write import check_report, write_report

        check_report(output)
        write_report(Plan.load(plan), output)
        note(f"wrote {output}")
