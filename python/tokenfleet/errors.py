"""One base error and its named children; every message says what to do next."""

from __future__ import annotations

from collections.abc import Iterable


class TokenfleetError(Exception):
    """Base of every error tokenfleet raises on purpose.

    `hint` is one sentence that says what the user can do next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message


class SchemaError(TokenfleetError):
    """Input that cannot be understood: names file, field, row and value."""

    exit_code = 2


class CatalogError(SchemaError):
    """A catalog row that is unknown, duplicated, or lacks a figure that was asked for."""


class InfeasibleError(TokenfleetError):
    """No plan meets every requirement; `conflicts` says which, the nearest repair first."""

    exit_code = 3

    def __init__(self, message: str, conflicts: Iterable[str] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.conflicts = tuple(conflicts)


class SolverError(TokenfleetError):
    """The solver failed, or its answer did not pass the independent check."""
