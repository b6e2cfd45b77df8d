"""What every engine is asked for and answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True)
class WorkLimits:
    """What one piece of work may take. `seconds` is wall-clock time; None is no limit."""

    seconds: float | None = None


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """How the item at `index` ended.

    `value` where the work returned; else `error` says what happened and `kind` how: `raised` (the
    work raised), `crashed` (its process died) or `timeout`. `exception` is there where it raised.
    """

    index: int
    value: Value | None = None
    kind: str = "done"
    error: str = ""
    exception: BaseException | None = None
    seconds: float = 0.0

    def require(self) -> Value:
        """The value, or the error again.

        Raises:
            WorkError: the process died or took too long.
            BaseException: what the work raised.
        """
        if self.exception is not None:
            raise self.exception
        if self.kind != "done":
            raise WorkError(f"piece {self.index}: {self.error}")
        return self.value  # type: ignore[return-value]


class WorkError(RuntimeError):
    """A piece of work had no chance to answer: its process died, or its time was up."""


class ComputeEngine(Protocol):
    """Runs pieces of work."""

    @property
    def name(self) -> str:
        """Name on the command line."""

    @property
    def jobs(self) -> int:
        """Pieces at a time."""

    def run(
        self, task: Callable[[Item], Value], items: Sequence[Item], limits: WorkLimits | None = None
    ) -> Generator[Outcome[Value], None, None]:
        """Outcomes as pieces end. Closing the iterator cancels the rest."""


def in_order(outcomes: Iterable[Outcome[Any]]) -> Generator[Outcome[Any], None, None]:
    """The same outcomes by index from 0, each as soon as those before it are there."""
    waiting: dict[int, Outcome[Any]] = {}
    following = 0
    for outcome in outcomes:
        waiting[outcome.index] = outcome
        while following in waiting:
            yield waiting.pop(following)
            following += 1
