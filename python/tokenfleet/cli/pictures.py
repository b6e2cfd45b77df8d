"""`--plot FILE.svg`: charts for engineers, by whichever command has something to draw."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenfleet.cli.answer import note
from tokenfleet.cli.files import refuse_existing, write_atomic

if TYPE_CHECKING:
    from tokenfleet.report.page.charts import Figure


def check_picture(path: Path | None, force: bool) -> None:
    """Fails before the work rather than after it.

    Raises:
        SchemaError: the file is there, or is not to be an SVG.
    """
    if path is not None:
        from tokenfleet.report.figures.file import check_plot

        check_plot(path)
        refuse_existing(path, force)


def write_picture(path: Path, figures: Iterable[Figure], name: str, force: bool) -> None:
    """The figures under each other, as one SVG file."""
    from tokenfleet.report.figures.file import plotted

    write_atomic(path, plotted(figures, name), force)
    note(f"wrote {path}")
