"""Scenario to arrays and labels: the only place where names become indices."""

from tokenfleet.problem.build import Built, build

__all__ = ["Built", "build"]
