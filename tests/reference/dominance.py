"""When one candidate may replace another."""

from __future__ import annotations

from reference.units import Json


def dominates(a: Json, b: Json) -> bool:
    """Whether ``gpus_b/gpus_a`` copies of ``a`` fit in its place and are in nothing worse."""
    if b["gpus"] % a["gpus"]:
        return False
    system = a["per_system"]
    if b["gpus"] > system and a["gpus"] % system and system % a["gpus"]:
        return False
    copies = b["gpus"] // a["gpus"]
    ours = [x / copies for x in a["load"]] + a["joules"] + [copies * a["idle_w"], -a["quality"]]
    theirs = b["load"] + b["joules"] + [b["idle_w"], -b["quality"]]
    if any(x > y for x, y in zip(ours, theirs, strict=True)):
        return False
    return bool(copies > 1 or ours != theirs or a["id"] < b["id"])
