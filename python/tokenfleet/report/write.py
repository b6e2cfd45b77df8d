"""A plan as a file that is handed on; the ending of its name says which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from tokenfleet.errors import SchemaError
from tokenfleet.explanation.rows import Difference, Explanation
from tokenfleet.files.whole import write_whole
from tokenfleet.plan.rows import Plan

# A plan, a difference of two, or an error as `--json` prints it.
Answer: TypeAlias = Plan | Difference | Mapping[str, Any]


def write_report(
    answer: Answer,
    path: str | Path,
    *,
    redact: bool = False,
    explained: Explanation | None = None,
) -> None:
    """Writes a plan as a page (.html) or a spreadsheet (.xlsx, needs the extra `report`).

    The answer that there is no plan has a page of its own, and so has a difference of two plans.
    With `redact` the names that a user gave are replaced and prices left out. What `explained` (of
    `explain`) has found is shown on a page; a spreadsheet says beside each price up to where its
    offer stays in the best plan.

    Raises:
        SchemaError: another ending, a package that is not installed, or no plan to calculate on.
        OSError: the file cannot be written; no half file stays.
    """
    check_report(Path(path))
    if redact:
        answer, explained = _redacted(answer, explained)
    write_whole(Path(path), report_bytes(answer, Path(path).suffix.lower()[1:], explained))


def report_bytes(answer: Answer, ending: str, explained: Explanation | None = None) -> bytes:
    """The content of the file with this ending: `html` or `xlsx`.

    Raises:
        SchemaError: a package that is not installed, or no plan to calculate on.
    """
    return _WRITERS[f".{ending}"](answer, explained)


def endings() -> list[str]:
    """Endings that a report can have."""
    return [ending[1:] for ending in _WRITERS]


def _redacted(answer: Answer, explained: Explanation | None) -> tuple[Answer, Explanation | None]:
    from tokenfleet.report import redact_why  # noqa: PLC0415 (only what is asked for)
    from tokenfleet.report.redact import redacted, redacted_error  # noqa: PLC0415

    plan = answer if isinstance(answer, Plan) else None
    if explained is not None:
        explained = redact_why.redacted_explanation(explained, plan)
    if isinstance(answer, Plan):
        return redacted(answer), explained
    if isinstance(answer, Difference):
        return redact_why.redacted_difference(answer), explained
    return redacted_error(answer), explained


def check_report(path: Path) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: no report has this ending.
    """
    if path.suffix.lower() not in _WRITERS:
        known = " or ".join(_WRITERS)
        raise SchemaError(f"{path}: no report has this ending", f"end the name in {known}")


def _page(answer: Answer, explained: Explanation | None) -> bytes:
    from tokenfleet.report.page import render  # noqa: PLC0415 (loads Jinja)

    if isinstance(answer, Plan):
        return render.html(answer, explained=explained).encode()
    if isinstance(answer, Difference):
        return render.html_of_difference(answer, "two plans").encode()
    name = str(answer.get("name") or "scenario")
    return render.html_of_error(answer, name, explained).encode()


def _workbook(answer: Answer, explained: Explanation | None) -> bytes:
    if not isinstance(answer, Plan):
        raise SchemaError("there is no plan to calculate on", "write a page: end the name in .html")
    try:
        from tokenfleet.report.workbook.write import workbook  # noqa: PLC0415 (an extra)
    except ImportError:
        raise SchemaError(
            "a spreadsheet needs XlsxWriter, which is not installed",
            "pip install 'tokenfleet[report]'",
        ) from None
    return workbook(answer, explained)


_Writer: TypeAlias = Callable[[Answer, Explanation | None], bytes]
_WRITERS: Mapping[str, _Writer] = {".html": _page, ".xlsx": _workbook}
