"""`schema`: what a scenario may say, or a plan says, as JSON Schema or as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tokenfleet.cli.answer import answering, note, say_json
from tokenfleet.cli.files import write_atomic
from tokenfleet.cli.options import ForceOption, JsonOption
from tokenfleet.errors import SchemaError


def schema(
    plan: Annotated[bool, typer.Option("--plan", help="Of a plan, not of a scenario.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A page of tables instead.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of a scenario or a plan; editors check and complete files with it."""
    with answering(as_json):
        if markdown and as_json:
            raise SchemaError("--markdown and --json exclude each other", "keep one of them")
        from tokenfleet.plan.rows import Plan
        from tokenfleet.schema import Scenario, page

        found = Plan.json_schema() if plan else Scenario.json_schema()
        paged = page.plan_page if plan else page.scenario_page
        text = paged(found) if markdown else json.dumps(found, indent=2) + "\n"
        if output is not None:
            write_atomic(output, text, force)
            note(f"wrote {output}")
        elif markdown:
            typer.echo(text, nl=False)
        else:
            say_json(found)
