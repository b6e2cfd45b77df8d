"""What the local page says while a plan is solved, and of a plan beside another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet.files.plain import plain
from tokenfleet.report import findings, words
from tokenfleet.report.numbers import counted


def solving(event: Mapping[str, Any], seconds: float, stopping: bool) -> str:
    """How far a solve is, from the last thing that it said."""
    clock = f"{seconds:.0f} s"
    if stopping:
        return f"Stopping: the best plan so far is taken, and its proof checked ({clock})"
    if event.get("event") == "search" and event["done"] < event["total"]:
        return f"Evaluating layouts: {event['done'] / event['total']:.0%} ({clock})"
    if event.get("event") == "solve":
        best = words.best_so_far(event["value"], event["bound"], event["unit"])
        return f"Choosing the mix: {best} ({clock})"
    if event.get("event") in ("search", "loaded"):
        return f"Choosing the mix ({clock})"
    return f"Reading the scenario ({clock})"


STOPPED = ("stopped: no plan had been found yet", "solve again, and give it more time")


def solver_died(code: int) -> tuple[str, str]:
    """A solve that ended without an answer, and what to do."""
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    return (
        f"the solver {how} before it had an answer",
        "solve again; if it ends so again, run tokenfleet plan on the scenario to see why",
    )


def no_plan(error: Mapping[str, Any]) -> dict[str, Any]:
    """Why there is no plan, as the report says it: ways out, of which each is enough alone."""
    found = [
        list(dict.fromkeys(findings.sentence(plain(c["text"])) for c in way["changes"]))
        for way in error.get("repairs") or ()
    ]
    known = error.get("type") == "InfeasibleError"
    lead = findings.lead_of_ways(len(found)) if found else findings.sentence(error["message"])
    return {
        "title": findings.NO_PLAN if known else "No plan",
        "lead": plain(lead),
        "ways": [
            {"text": way[0], "parts": []} if len(way) == 1
            else {"text": findings.TOGETHER, "parts": way}
            for way in found
        ],
        "hint": findings.sentence(plain(error.get("hint") or "")),
    }  # fmt: skip


def changed(count: int) -> str:
    """How a plan differs from the scenario as it was opened."""
    if not count:
        return "as given"
    return counted(count, "change")


def against(now: float | None, then: float | None) -> str:
    """A figure against that of another plan: `+1.5%`, `–` where nothing changed."""
    if now is None or then is None:
        return ""
    if abs(now - then) <= words.SAME * max(abs(now), abs(then)):
        return "the same"
    if then == 0:
        return "new"
    return f"{(now / then - 1.0):+.1%}".replace("-", "\u2212")
