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
    from tokenfleet.explanation.rows import Explanation
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
    explained: Annotated[
        Path | None,
        typer.Option(
            "--explained",
            metavar="WHY",
            help="What `tokenfleet explain PLAN --json` printed: a spreadsheet says up to which "
            "price an offer stays in the plan.",
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write a plan as a page or as a spreadsheet with live formulas, to hand on."""
    with answering(as_json=False):
        refuse_existing(output, force)
        from tokenfleet.report.write import check_report, write_report

        check_report(output)
        why = None if explained is None else _explanation(explained)
        write_report(_answer(plan), output, redact=redact, explained=why)
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


def _explanation(path: Path) -> Explanation:
    """What `explain --json` printed into a file.

    Raises:
        SchemaError: the file has something else.
    """
    from tokenfleet.errors import SchemaError
    from tokenfleet.explanation.rows import Explanation
    from tokenfleet.files.read import load_data
    from tokenfleet.schema.rows import validate

    data = load_data(path)
    if not isinstance(data, Mapping) or "flip" not in data:
        again = "make it: tokenfleet explain PLAN --json > WHY.json"
        raise SchemaError(f"{path}: is no explanation of a plan", again)
    return validate(Explanation, dict(data), str(path))
