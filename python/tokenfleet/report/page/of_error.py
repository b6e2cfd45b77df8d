"""The page of an answer without a plan: infeasible is one thing, not found in time another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet.explanation.rows import Explanation
from tokenfleet.files.plain import plain
from tokenfleet.report import findings
from tokenfleet.report.explained import conflict
from tokenfleet.report.page.changes import ways_out
from tokenfleet.report.page.parts import Lines, Page, Part, Section, Way, Ways

_WAYS = 40  # shown


def page_of_error(
    error: Mapping[str, Any], name: str, explained: Explanation | None = None
) -> Page:
    """The page of `error` as `--json` prints it; `name` is the scenario's.

    Keys that older answers lack are taken as empty.
    """
    if error.get("type") == "InfeasibleError":
        return _infeasible(error, name, explained)
    return _without(error, name)


def _page(
    name: str,
    pill: str,
    heading: str,
    lead: str,
    sections: tuple[Section, ...],
    *,
    about: str = findings.NO_PLAN_FOOT,
) -> Page:
    foot = (about, findings.SELF_CONTAINED)
    shown = findings.clip(name)
    return Page(name=shown, topic="answer", dated=shown, tone="warn", pill=pill, heading=heading,
                lead=lead, sections=sections, foot=foot)  # fmt: skip


def _infeasible(error: Mapping[str, Any], name: str, explained: Explanation | None) -> Page:
    ways, foot = tuple(_way(way) for way in error.get("repairs") or ()), findings.NO_PLAN_FOOT
    title = findings.ways_out(len(ways))
    if explained is not None and explained.repairs:  # priced, and solved
        ways, foot = ways_out(explained.repairs), findings.PRICED_FOOT
        title = findings.priced_ways_out(len(ways))
    said = [findings.sentence(plain(text)) for text in error.get("conflicts") or ()]
    parts: tuple[Part, ...] = (Ways(ways[:_WAYS]),)
    if not ways:
        title = findings.in_the_way(len(said))
        parts = (Lines(tuple(said[:_WAYS]) or (plain(error.get("message", "")),)),)
    sections = [Section("What stands in the way", title, parts)]
    if explained is not None and explained.conflict:
        lines = tuple(map(findings.sentence, conflict(explained.conflict)))
        sections.insert(0, Section("In conflict", findings.CONFLICT, (Lines(lines),)))
    if error.get("hint"):
        hint = findings.sentence(plain(error["hint"]))
        sections.append(Section("What to do", findings.TO_DO, (Lines((hint,)),)))
    lead = findings.lead_of_ways(len(ways))
    return _page(name, findings.INFEASIBLE, findings.NO_PLAN, lead, tuple(sections), about=foot)


def _way(way: Mapping[str, Any]) -> Way:
    """One change, or several that belong together."""
    texts = [findings.sentence(plain(c["text"])) for c in way["changes"]]
    texts = list(dict.fromkeys(texts))
    if len(texts) == 1:
        return Way(texts[0])
    return Way(findings.TOGETHER, tuple(texts[:_WAYS]))


def _without(error: Mapping[str, Any], name: str) -> Page:
    """No plan and no proof: time ran out, or something was wrong with the question."""
    late = error.get("type") in ("NoPlanError", "Interrupted")
    message = findings.sentence(plain(error.get("message", "")))
    hint = findings.sentence(plain(error.get("hint", "")))
    lines = tuple(text for text in (hint,) if text)
    sections = (
        Section("What to do", findings.TO_DO_LATE if late else findings.TO_DO, (Lines(lines),)),
    )
    if late:
        return _page(name, findings.NOT_FOUND, findings.NO_ANSWER, f"{message}.", sections)
    return _page(name, findings.FAILED, findings.NO_ANSWER, f"{message}.", sections)
