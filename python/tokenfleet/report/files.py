"""A plan as a file: what is written follows from the name's ending."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tokenfleet.errors import SchemaError
from tokenfleet.plan.rows import Plan

Answer: TypeAlias = Plan | Mapping[str, Any]  # a plan, or an error as `--json` prints it


def _page(answer: Answer) -> bytes:
    from tokenfleet.report.page.render import html, html_of_error  # noqa: PLC0415 (loads Jinja)

    if isinstance(answer, Plan):
        return html(answer).encode()
    return html_of_error(answer, str(answer.get("name", "scenario"))).encode()


WRITERS: dict[str, Callable[[Answer], bytes]] = {".html": _page}


def check_report(path: Path) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: nothing is written under such a name.
    """
    if path.suffix.lower() not in WRITERS:
        raise SchemaError(f"{path}: cannot be written", f"end the name in {' or '.join(WRITERS)}")


def content(answer: Answer, path: Path, *, redact: bool = False) -> bytes:
    """What a file of this name holds.

    Raises:
        SchemaError: as `check_report`.
    """
    check_report(path)
    if redact:
        from tokenfleet.report.redact import redacted, redacted_error  # noqa: PLC0415

        answer = redacted(answer) if isinstance(answer, Plan) else redacted_error(answer)
    return WRITERS[path.suffix.lower()](answer)
