"""This room is the command `tokenfleet`: it reads, calls the package, and says the answer.

A command computes nothing by itself. `app` lists the commands, and each module holds one family of
them: for example, `plans` holds `demo`, `check` and `plan`. `answer` prints JSON or words and
chooses the exit code.
"""

from tokenfleet.cli.app import main

__all__ = ["main"]
