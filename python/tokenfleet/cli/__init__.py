"""The command `tokenfleet`. Each command reads, calls the package, and says the answer."""

from tokenfleet.cli.app import main

__all__ = ["main"]
