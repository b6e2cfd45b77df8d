"""How the questions of a part are asked: one too hard for its own time need not end the others.

For example the price at which a hosted API enters a plan may rest on a proof that takes minutes;
the prices of all other offers are found in seconds, and are to be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Ask(Protocol):
    """Answers a question; None where it has no answer within its own time."""

    def __call__(self, what: str, question: Callable[[], T]) -> T | None: ...


def plainly(what: str, question: Callable[[], T]) -> T | None:
    """Asks as it is: a question that is too hard is an error."""
    return question()
