"""What a command shows on a terminal, read as it comes: tests act on it and not on the clock."""

from __future__ import annotations

import os

METER = b"\x1b[?25l"  # a meter hides the cursor as it begins


def until(terminal: int, *texts: bytes) -> bytes:
    """Reads a terminal until it has shown texts one after the other; all that it showed."""
    shown, at = b"", 0
    for text in texts:
        while text not in shown[at:]:
            shown += os.read(terminal, 4096)
        at = shown.index(text, at) + len(text)
    return shown


def rest(terminal: int) -> bytes:
    """Reads a terminal until nobody writes to it any more."""
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # how Linux says that the other side is closed
        pass
    return shown
