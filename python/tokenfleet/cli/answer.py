"""How a command answers: JSON or words on standard output, errors with a hint, exit codes.

With `--json` exactly one JSON value goes to standard output, an error object included.
"""

from __future__ import annotations

import json
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from tokenfleet.errors import SchemaError, TokenfleetError
from tokenfleet.files.plain import plain

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130
UNPROVEN = 4
_WIDTH = 80  # columns of output that is not read on a terminal


def console() -> Console:
    """Standard output for words and tables; scenario names are never read as markup."""
    from rich.console import Console

    return Console(width=_width(), highlight=False, markup=False, emoji=False)


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH


def say_json(value: Any) -> None:
    """One JSON value on standard output; NaN and infinities are refused."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def say(text: str) -> None:
    """Words on standard output, in lines as wide as it is."""
    from tokenfleet.report.lines import fitted

    for line in fitted(plain(text), _width()):
        typer.echo(line)


def note(text: str) -> None:
    """A line beside the answer, on standard error."""
    typer.echo(plain(text), err=True)


@contextmanager
def answering(as_json: bool) -> Iterator[None]:
    """Turns every error of a command into one message, a hint and an exit code."""
    try:
        yield
    except TokenfleetError as error:
        fail(as_json, error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        hint = "no plan had been found yet; nothing was written"
        fail(as_json, TokenfleetError("stopped by the user", hint), "Interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left; Python would complain while it exits
        raise typer.Exit(0) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        hint = "check the path, its rights and the space left"
        fail(as_json, TokenfleetError(message, hint), "FileError")
        raise typer.Exit(SchemaError.exit_code) from None
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        traceback.print_exc()
        hint = "this is a bug: please report it with the scenario and the text above"
        fail(as_json, TokenfleetError(f"{type(error).__name__}: {error}", hint), "InternalError")
        raise typer.Exit(TokenfleetError.exit_code) from None


def fail(as_json: bool, error: TokenfleetError, kind: str | None = None) -> None:
    """An error, and what to do next."""
    if as_json:
        say_json({"error": {**error.to_json(), **({"type": kind} if kind else {})}})
    note(f"error: {error.message}")
    if error.hint:
        note(f"hint: {error.hint}")
