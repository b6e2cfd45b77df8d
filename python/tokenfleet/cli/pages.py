"""`ui`: the local page of a scenario."""

from __future__ import annotations

from typing import Annotated

import typer

from tokenfleet.cli.answer import answering, note
from tokenfleet.cli.options import ScenarioArgument


def ui(
    scenario: ScenarioArgument,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0: a free one.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page.")
    ] = True,
) -> None:
    """Edit a scenario in a browser on this machine, solve it, compare plans, download reports."""
    with answering(as_json=False):
        from tokenfleet.ui.serve import serve

        def ready(address: str) -> None:
            typer.echo(address)  # in one line, to be clicked on
            note("the page is on this machine only; Ctrl-C ends it")
            if browser:
                import webbrowser

                webbrowser.open(address)

        try:
            serve(scenario, port, ready)
        except KeyboardInterrupt:  # the way to end it
            note("the page has ended")
