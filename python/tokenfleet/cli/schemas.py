"""`schema`: what a scenario may say, or a plan says, as JSON Schema or as a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from tokenfleet.cli.answer import answering, note, say_json
from tokenfleet.cli.files import write_atomic
from tokenfleet.cli.options import ForceOption, JsonOption
from tokenfleet.errors import SchemaError


def schema(
    plan: Annotated[bool, typer.Option("--plan", help="Of a plan, not of a scenario.")] = False,
    catalog: Annotated[
        bool, typer.Option("--catalog", help="Of the rows of a catalog file, by table.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A page of tables instead.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file.")
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of a scenario, a plan or a catalog file, for editors and checks."""
    with answering(as_json):
        if markdown and as_json:
            raise SchemaError("--markdown and --json exclude each other", "keep one of them")
        if plan and catalog:
            raise SchemaError("--plan and --catalog exclude each other", "keep one of them")
        found, paged = _schema(plan, catalog)
        text = paged() if markdown else json.dumps(found, indent=2) + "\n"
        if output is not None:
            write_atomic(output, text, force)
            note(f"wrote {output}")
        elif markdown:
            typer.echo(text, nl=False)
        else:
            say_json(found)


def _schema(plan: bool, catalog: bool) -> tuple[dict[str, Any], Callable[[], str]]:
    """The schema that was asked for, and what makes its page."""
    from tokenfleet.plan.rows import Plan
    from tokenfleet.schema import Scenario, page

    if catalog:
        from tokenfleet.catalog.page import columns_page, columns_schema

        return columns_schema(), columns_page
    if plan:
        found = Plan.json_schema()
        return found, lambda: page.plan_page(found)
    schema_of = Scenario.json_schema()
    return schema_of, lambda: page.scenario_page(schema_of)
