"""HiGHS without a word on standard output, which belongs to the answer."""

from __future__ import annotations

import threading
from typing import Any

import highspy


class SilentHighs(highspy.Highs):  # type: ignore[misc]
    """HiGHS whose output is off before its constructor can print a banner.

    The constructor calls `enableCallbacks`, and that is the first call that prints: the option
    has to be set just before it.
    """

    def enableCallbacks(self) -> None:  # noqa: N802 (HiGHS's name)
        """Turn the output off, then do what HiGHS does."""
        self.setOptionValue("output_flag", False)
        self.setOptionValue("log_to_console", False)
        super().enableCallbacks()


def silent_highs(options: dict[str, Any]) -> SilentHighs:
    """A solver with these options that hears Ctrl-C."""
    solver = SilentHighs()
    # highspy keeps its locks on the class, so that two solvers could not run in one process.
    solver._Highs__solver_started = threading.Lock()
    solver._Highs__solver_stopped = threading.RLock()
    for name, value in options.items():
        solver.setOptionValue(name, value)
    solver.HandleKeyboardInterrupt = True
    return solver
