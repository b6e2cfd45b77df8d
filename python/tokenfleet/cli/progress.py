"""Progress on standard error, when a person is watching it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int, int], None]


@contextmanager
def searching(after: str) -> Iterator[Report | None]:
    """A bar with rate and time left while the space is searched, then `after` with a clock.

    Units of the space are counted; a unit is all batch limits and class sets of some layouts.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units per second."""

        def render(self, task: Task) -> Text:
            known = task.speed and task.total
            return Text(f"{task.speed:,.0f} units/s" if known else "")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TaskProgressColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("evaluating layouts", total=None)

        def report(done: int, total: int) -> None:
            if done < total:
                bar.update(task, completed=done, total=total)
            else:
                bar.update(task, visible=False)
                bar.add_task(after, total=None)

        yield report
