"""`export`: a plan for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tokenfleet.cli.answer import answering, note
from tokenfleet.cli.files import refuse_existing, write_atomic
from tokenfleet.cli.options import ForceOption

TargetOption = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="TARGET",
        help="A serving engine of the plan, such as vllm; or kubernetes, focus or csv.",
    ),
]


def export(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="Plan: what `plan -o` wrote.")],
    to: TargetOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: print it.")
    ] = None,
    table: Annotated[
        str, typer.Option("--table", help="With csv: systems, replicas, routing, ...")
    ] = "systems",
    start: Annotated[
        str | None, typer.Option("--start", metavar="YYYY-MM", help="With focus: first month.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a plan as launch commands, manifests, forecast rows or a table."""
    with answering(as_json=False):
        refuse_existing(output, force, plan)
        from tokenfleet.exports import export as exported
        from tokenfleet.exports.focus import month_of
        from tokenfleet.plan.rows import Plan

        first = None if start is None else month_of(start)
        text = exported(Plan.load(plan), to, table_name=table, start=first)
        if output is None:
            typer.echo(text, nl=False)
        else:
            write_atomic(output, text, force)
            note(f"wrote {output}")
