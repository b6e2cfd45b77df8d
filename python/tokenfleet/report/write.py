"""A plan as a file that is handed on; the ending of its name says which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tokenfleet.errors import SchemaError
from tokenfleet.files.whole import write_whole
from tokenfleet.plan.rows import Plan

Answer: TypeAlias = Plan | Mapping[str, Any]  # a plan, or an error as `--json` prints it


def write_report(answer: Answer, path: str | Path, *, redact: bool = False) -> None:
    """Writes a plan as a page (.html) or a spreadsheet (.xlsx, needs the extra `report`).

    The answer that there is no plan has a page of its own. With `redact` the names that a user
    gave are replaced and prices left out.

    Raises:
        SchemaError: another ending, a package that is not installed, or no plan to calculate on.
        OSError: the file cannot be written; no half file stays.
    """
    check_report(Path(path))
    if redact:
        from tokenfleet.report.redact import redacted, redacted_error  # noqa: PLC0415

        answer = redacted(answer) if isinstance(answer, Plan) else redacted_error(answer)
    write_whole(Path(path), report_bytes(answer, Path(path).suffix.lower()[1:]))


def report_bytes(answer: Answer, ending: str) -> bytes:
    """The content of the file with this ending: `html` or `xlsx`.

    Raises:
        SchemaError: a package that is not installed, or no plan to calculate on.
    """
    return _WRITERS[f".{ending}"](answer)


def endings() -> list[str]:
    """Endings that a report can have."""
    return [ending[1:] for ending in _WRITERS]


def check_report(path: Path) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: no report has this ending.
    """
    if path.suffix.lower() not in _WRITERS:
        known = " or ".join(_WRITERS)
        raise SchemaError(f"{path}: no report has this ending", f"end the name in {known}")


def _page(answer: Answer) -> bytes:
    from tokenfleet.report.page.render import html, html_of_error  # noqa: PLC0415 (loads Jinja)

    if isinstance(answer, Plan):
        return html(answer).encode()
    return html_of_error(answer, str(answer.get("name") or "scenario")).encode()


def _workbook(answer: Answer) -> bytes:
    if not isinstance(answer, Plan):
        raise SchemaError("there is no plan to calculate on", "write a page: end the name in .html")
    try:
        from tokenfleet.report.workbook.write import workbook  # noqa: PLC0415 (an extra)
    except ImportError:
        raise SchemaError(
            "a spreadsheet needs XlsxWriter, which is not installed",
            "pip install 'tokenfleet[report]'",
        ) from None
    return workbook(answer)


_WRITERS: Mapping[str, Callable[[Answer], bytes]] = {".html": _page, ".xlsx": _workbook}
