"""A plan as a file that is handed on; the ending of its name says which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tokenfleet.errors import SchemaError
from tokenfleet.files.whole import write_whole
from tokenfleet.plan.rows import Plan


def write_report(plan: Plan, path: str | Path) -> None:
    """Writes a plan as a spreadsheet (.xlsx, needs `pip install tokenfleet[report]`).

    Raises:
        SchemaError: another ending, or a package that is not installed.
        OSError: the file cannot be written; no half file stays.
    """
    check_report(Path(path))
    write_whole(Path(path), _WRITERS[Path(path).suffix.lower()](plan))


def check_report(path: Path) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: no report has this ending.
    """
    if path.suffix.lower() not in _WRITERS:
        known = " or ".join(_WRITERS)
        raise SchemaError(f"{path}: no report has this ending", f"end the name in {known}")


def _workbook(plan: Plan) -> bytes:
    try:
        from tokenfleet.report.workbook.write import workbook  # noqa: PLC0415 (an extra)
    except ImportError:
        raise SchemaError(
            "a spreadsheet needs XlsxWriter, which is not installed",
            "pip install 'tokenfleet[report]'",
        ) from None
    return workbook(plan)


_WRITERS: Mapping[str, Callable[[Plan], bytes]] = {".xlsx": _workbook}
