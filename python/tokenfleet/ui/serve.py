"""Starts the page on this machine and keeps it up until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from tokenfleet.errors import SchemaError
from tokenfleet.files.read import load_data, read_text
from tokenfleet.sizing.question import as_yaml

ADDRESS = "127.0.0.1"


def serve(scenario: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serves the page of a scenario; `ready(address)` is called once it can be opened.

    Raises:
        SchemaError: the file cannot be read, a package is missing, or the port is taken.
    """
    text = text_of(scenario)
    try:
        import uvicorn  # noqa: PLC0415 (an extra)

        from tokenfleet.ui.app import Page  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise SchemaError(
            f"the page needs {error.name}, which is not installed", "pip install 'tokenfleet[ui]'"
        ) from None
    listening = _listen(port)
    bound = listening.getsockname()[1]
    token = secrets.token_urlsafe(32)
    page = Page(scenario.name, text, scenario.resolve().parent)
    hosts = (f"{ADDRESS}:{bound}", f"localhost:{bound}")
    config = uvicorn.Config(
        page.app(token, hosts),
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=1,
        ws="none",
        server_header=False,
        date_header=False,
    )
    ready(f"http://{ADDRESS}:{bound}/?token={token}")
    uvicorn.Server(config).run(sockets=[listening])


def text_of(scenario: Path) -> str:
    """The scenario as YAML text; of a TOML file the comments are lost.

    Raises:
        SchemaError: the file cannot be read.
    """
    if scenario.suffix.lower() in (".yaml", ".yml", ".json"):
        return read_text(scenario)
    return as_yaml(load_data(scenario), f"tokenfleet ui {scenario.name}")


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen()  # a browser that is quicker than the server waits
    except OSError as error:
        listening.close()
        raise SchemaError(
            f"port {port}: {error.strerror}", "give another --port, or none: a free one is taken"
        ) from None
    return listening
