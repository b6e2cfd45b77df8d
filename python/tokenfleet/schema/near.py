"""Names near to one that nobody knows: what a slip of the pen was meant to be.

For example: `did_you_mean("lama-3.1-8b", models)` is "did you mean llama-3.1-8b?".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# What tells one thing of a family from another: letters and digits together, such as h100 or nvl72.
_MARK = re.compile(r"[a-z]+\d+[a-z0-9]*|\d+[a-z][a-z0-9]*")


def nearest(name: str, known: Iterable[str], count: int = 3, alike: float = 0.5) -> list[str]:
    """Known names closest to `name`, best first, upper and lower case alike.

    Names that begin with `name` (three letters or more) come before those of which a share of the
    letters is `alike`; last come those that have a mark of it, as `dgx-h100` has of `h100_sxm_8`.
    Of an address only the last part counts.
    """
    by_key = {k.casefold(): k for k in known}
    key = name.casefold().rstrip("/").rpartition("/")[2] or name.casefold()
    begun = [k for k in by_key if len(key) >= 3 and k.startswith(key)]
    spelt = difflib.get_close_matches(key, by_key, n=count, cutoff=alike)
    marked = [] if begun or spelt else _marked(key, by_key)
    return [by_key[k] for k in dict.fromkeys([*sorted(begun), *spelt, *marked])][:count]


def _marked(key: str, known: Iterable[str]) -> list[str]:
    """Known names with a mark of `key` among their parts."""
    marks = {m for m in _MARK.findall(key) if len(m) > 2}
    return sorted(k for k in known if marks & set(re.split(r"[^a-z0-9]+", k)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean a, b?`, or the first known names when none is near."""
    names = sorted(known)
    near = nearest(name, names)
    if near:
        return f"did you mean {', '.join(near)}?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"known: {shown}" if names else "none is defined"
