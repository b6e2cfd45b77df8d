"""One base error and its named children; every message says what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


class TokenfleetError(Exception):
    """Base of every error tokenfleet raises on purpose.

    `hint` is one sentence that says what the user can do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints under `error`."""
        kind = type(self).__name__
        return {"type": kind, "message": self.message, "hint": self.hint, "conflicts": []}

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class SchemaError(TokenfleetError):
    """Input that cannot be understood: names file, field, row and value."""

    exit_code = 2


class CatalogError(SchemaError):
    """A catalog row that is unknown, duplicated, or lacks a figure that was asked for."""


@dataclass(frozen=True)
class Change:
    """One limit that would have to give way."""

    what: str  # key of the limit, as in a plan's `limits`; "demand" for requests left unserved
    where: str  # site, offer or API; workload and class of a demand; "all"
    short_by: float  # more of the limit, or less of the demand, in `unit`
    limit: float  # as it stands, in `unit`
    unit: str
    text: str  # the same as a sentence


@dataclass(frozen=True)
class WayOut:
    """Changes that are enough when they are made together."""

    relative: float  # sum over the changes of `short_by` over `limit`
    changes: tuple[Change, ...]


class InfeasibleError(TokenfleetError):
    """No plan meets every requirement; `conflicts` says which, the nearest repair first.

    Each of `repairs` is enough alone, the smallest first; `conflicts` are the sentences of all.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        conflicts: Iterable[str] = (),
        hint: str = "",
        repairs: Iterable[WayOut] = (),
    ) -> None:
        super().__init__(message, hint)
        self.conflicts = tuple(conflicts)
        self.repairs = tuple(repairs)

    def saying(
        self, *, message: str = "", conflicts: Iterable[str] = (), hint: str = ""
    ) -> InfeasibleError:
        """The same error, with another message, more conflicts, or one more hint; ways out stay."""
        hints = "; ".join(text for text in (self.hint, hint) if text)
        known = (*self.conflicts, *conflicts)
        return InfeasibleError(message or self.message, known, hints, self.repairs)

    def to_json(self) -> dict[str, Any]:
        """The answer that there is no plan, as `--json` prints it under `error`."""
        repairs = [asdict(way) for way in self.repairs]
        return {**super().to_json(), "conflicts": list(self.conflicts), "repairs": repairs}


class SolverError(TokenfleetError):
    """The solver failed, or its answer did not pass the independent check."""


class QuestionError(SolverError):
    """A question that no solver answers as it is asked: without end, or of numbers too far apart.

    The input is at fault, not the solver: another run ends alike.
    """

    exit_code = 2
