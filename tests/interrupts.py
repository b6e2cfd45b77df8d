"""Ctrl-C at a known moment: tests act on calls and not on the clock."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any


def strikes(real: Callable[..., Any], on: int) -> Callable[..., Any]:
    """The function, with Ctrl-C pressed at its n-th call."""
    calls = []

    def struck(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == on:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **named)

    return struck
