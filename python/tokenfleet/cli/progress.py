"""Progress on standard error, when a person is watching it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Report(Protocol):
    """What a watched command says of how far it is."""

    def __call__(self, done: int, total: int) -> None:
        """Units of the space that were searched."""

    def best(self, text: str) -> None:
        """The best answer so far, in words."""


@dataclass
class _Bar:
    """A bar for the search of the space, and after it a clock beside the best answer so far."""

    bar: Bar
    search: TaskID
    after: str
    clock: TaskID | None = None

    def __call__(self, done: int, total: int) -> None:
        if done < total:
            self.bar.update(self.search, completed=done, total=total)
        elif self.clock is None:
            self._begin(self.after)

    def best(self, text: str) -> None:
        if self.clock is None:
            self._begin(text)
        else:
            self.bar.update(self.clock, description=text)

    def _begin(self, text: str) -> None:
        self.bar.update(self.search, visible=False)
        self.clock = self.bar.add_task(text, total=None)


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
        yield _Bar(bar, bar.add_task("evaluating layouts", total=None), after)
