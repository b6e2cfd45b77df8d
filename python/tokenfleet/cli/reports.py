"""`report`: a plan, or the answer that there is none, as a file that is handed on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokenfleet.cli.answer import answering, note
from tokenfleet.cli.files import refuse_existing
from tokenfleet.cli.options import ForceOption
from tokenfleet.cli.pictures import check_picture, write_picture
from tokenfleet.errors import SchemaError

if TYPE_CHECKING:
    from tokenfleet.explanation.rows import Explanation
    from tokenfleet.report.write import Answer


def report(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            help="What `plan -o` wrote, or what `plan --json` or `diff --json` printed.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; its ending says what: .html or .xlsx."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw load and power over the day, or cash over time: an .svg file."),
    ] = None,
    explained: Annotated[
        Path | None,
        typer.Option(
            "--explained",
            metavar="WHY",
            help="What `explain PLAN --json` printed: a page shows it, and a spreadsheet says up "
            "to which price an offer stays in the plan.",
        ),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option("--redact", help="Replace names and leave prices out, to pass it on."),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Write a plan as a page or as a spreadsheet with live formulas, to hand on."""
    with answering(as_json=False):
        if output is None and plot is None:
            raise SchemaError("there is nothing to write", "give -o FILE or --plot FILE")
        check_output(output, force)
        check_picture(plot, force)
        answer = _answer(plan)
        if output is not None:
            from tokenfleet.report.write import write_report

            why = None if explained is None else read_explanation(explained)
            write_report(answer, output, redact=redact, explained=why)
            note(f"wrote {output}")
        if plot is not None:
            draw(answer, plot, redact=redact, force=force)


def check_output(path: Path | None, force: bool) -> None:
    """Fails before the work rather than after it."""
    if path is not None:
        from tokenfleet.report.write import check_report

        refuse_existing(path, force)
        check_report(path)


def draw(answer: Answer, plot: Path, *, redact: bool = False, force: bool = False) -> None:
    """A plan's charts as one SVG file.

    Raises:
        SchemaError: the answer is no plan, or has nothing to draw.
    """
    from tokenfleet.plan.rows import Plan
    from tokenfleet.report.figures.plan import figures
    from tokenfleet.report.redact import redacted

    if not isinstance(answer, Plan):
        raise SchemaError("there is no plan to draw", "give what `plan -o` wrote")
    plan = redacted(answer) if redact else answer
    write_picture(plot, figures(plan), plan.name, force)


def _answer(path: Path) -> Answer:
    """The plan in a file, or what `plan --json` printed of an error, or `diff --json`.

    Raises:
        SchemaError: the file has none of them.
    """
    from tokenfleet.explanation.rows import Difference
    from tokenfleet.files.read import load_data
    from tokenfleet.plan.rows import MAX_BYTES, Plan
    from tokenfleet.schema.rows import validate

    data = load_data(path, MAX_BYTES)
    if isinstance(data, Mapping) and isinstance(data.get("error"), Mapping):
        return {"name": path.stem, **data["error"]}
    if isinstance(data, Mapping) and {"before", "after", "parts"} <= data.keys():
        return validate(Difference, dict(data), str(path))
    return Plan.from_json(data, str(path))


def read_explanation(path: Path) -> Explanation:
    """What `explain --json` printed.

    Raises:
        SchemaError: the file has something else.
    """
    from tokenfleet.explanation.rows import Explanation
    from tokenfleet.files.read import load_data
    from tokenfleet.plan.rows import MAX_BYTES
    from tokenfleet.schema.rows import validate

    data = load_data(path, MAX_BYTES)
    if not isinstance(data, Mapping) or "worth" not in data or "flip" not in data:
        cure = "make one: tokenfleet explain PLAN --json > FILE"
        raise SchemaError(f"{path}: is no explanation of a plan", cure)
    return validate(Explanation, dict(data), str(path))
