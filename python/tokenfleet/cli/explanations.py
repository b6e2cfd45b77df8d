"""`explain`: a plan in, why it is this plan and what would change it out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tokenfleet.cli.answer import INTERRUPTED, UNPROVEN, answering, say, say_json
from tokenfleet.cli.options import CatalogOption, GapOption, JsonOption, book
from tokenfleet.errors import InfeasibleError

if TYPE_CHECKING:
    from tokenfleet.explanation.rows import Explanation


def explain(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN", help="Plan as JSON, or a scenario to plan first.")
    ],
    scenario: Annotated[
        Path | None,
        typer.Option("--scenario", "-s", help="The plan's scenario, where it was moved."),
    ] = None,
    worth: Annotated[
        bool, typer.Option("--worth", help="Only: what one more of each limit is worth.")
    ] = False,
    flip: Annotated[
        bool, typer.Option("--flip", help="Only: prices at which the plan changes.")
    ] = False,
    menu: Annotated[
        bool, typer.Option("--menu", help="Only: other plans that cost little more.")
    ] = False,
    repairs: Annotated[
        bool, typer.Option("--repairs", help="Only: what could give way where there is no plan.")
    ] = False,
    gap: GapOption = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", help="Seconds for the whole explanation.")
    ] = None,
    catalog: CatalogOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say why a plan is the best, and what would change it: every figure is solved again.

    Ctrl-C and the time limit keep what was found until then.
    """
    with answering(as_json):
        from tokenfleet.explanation.explain import explain as explained

        asked = {"worth": worth, "flip": flip, "menu": menu, "repairs": repairs}
        chosen = [part for part, only in asked.items() if only]
        given: dict[str, Any] = {"parts": chosen} if chosen else {}
        with _watching() as watch:
            found = explained(
                plan,
                scenario=scenario,
                time_limit_s=time_limit,
                gap=gap,
                watch=watch,
                catalog=book(catalog),
                **given,
            )
        if as_json:
            say_json(found.to_json())
        else:
            _say(found)
        if found.interrupted:
            raise typer.Exit(INTERRUPTED)
        if found.objective_value is None:
            raise typer.Exit(InfeasibleError.exit_code)
        if not found.proven:
            raise typer.Exit(UNPROVEN)


def _say(found: Explanation) -> None:
    from tokenfleet.report import explained

    say(explained.status(found))
    unit = found.objective_unit
    for title, rows in (
        ("What one more is worth", [explained.worth(row, unit) for row in found.worth]),
        ("Prices that change the plan", [explained.flip(row) for row in found.flip]),
        ("Plans that cost little more", explained.menu(found.menu)),
        ("What could give way: each line is enough", [explained.repair(r) for r in found.repairs]),
        ("Notes", list(found.notes)),
    ):
        if rows:
            say(f"\n{title}")
            for row in rows:
                say(f"  {row}")
    say(f"\n{found.solves} problems solved in {found.seconds:.1f} s")


@contextmanager
def _watching() -> Iterator[Callable[[str, int], None] | None]:
    """What is being worked out, on standard error, when a person is watching it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.status import Status

    with Status("evaluating layouts", console=Console(stderr=True)) as status:
        yield lambda what, solves: status.update(f"{what} ({solves} solved; Ctrl-C keeps them)")
