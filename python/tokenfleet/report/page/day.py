"""Load, utilisation and power over the hours of a day, the busiest first."""

from __future__ import annotations

from collections import defaultdict

from tokenfleet.plan.rows import LoadBlock, Plan
from tokenfleet.report.findings import clip
from tokenfleet.report.numbers import NBSP, counted
from tokenfleet.report.page.charts import Block, Stack
from tokenfleet.report.page.look import OTHER, Look
from tokenfleet.report.page.panel import Axis, Panel, Point, Series

_SITES = ("f-accent", "f-money")  # colours of the first sites: systems have others
_LINES = 6  # systems that have a line
_DAYS = 365


def blocks_of(plan: Plan) -> list[tuple[int, LoadBlock]]:
    """Load blocks that there are hours of; a page draws them where there are several."""
    return [(b, block) for b, block in enumerate(plan.blocks) if block.hours_per_year > 0]


def _hours(block: LoadBlock) -> str:
    """`6 h a day`."""
    return f"{block.hours_per_year / _DAYS:.3g}{NBSP}h a day"


def power(look: Look) -> Stack | None:
    """Power drawn at the meter of each site."""
    plan, used = look.plan, blocks_of(look.plan)
    if not used or not plan.sites:
        return None
    ranked = sorted(plan.sites, key=lambda s: (-s.drawn_kw, s.site))
    first, others = ranked[: len(_SITES)], ranked[len(_SITES) :]
    blocks = []
    for b, block in used:
        drawn = [(s.drawn_kw_by_block[b], colour) for s, colour in zip(first, _SITES, strict=False)]
        drawn.append((sum(s.drawn_kw_by_block[b] for s in others), "f-other"))
        blocks.append(Block(block.hours_per_year, tuple(drawn), _hours(block)))
    key = [(colour, clip(s.site)) for s, colour in zip(first, _SITES, strict=False)]
    if others:
        key.append(("f-other", counted(len(others), "other site")))
    title = "Power drawn at the meter over the hours of a day, the busiest first, by site"
    return Stack(title, "kW drawn", tuple(blocks), tuple(key))


def utilisation(look: Look) -> Panel | None:
    """Load of the replicas of each system type: steps over the hours of a day."""
    plan, used = look.plan, blocks_of(look.plan)
    if not used or not plan.replicas:
        return None
    gpus: dict[str, float] = defaultdict(float)
    busy: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(plan.blocks))
    for r in plan.replicas:
        gpus[r.system] += r.count * r.gpus
        for b, load in enumerate(r.load_by_block):
            busy[r.system][b] += load * r.count * r.gpus
    lines = [
        Series(
            look.name(system),
            _steps([(block, busy[system][b] / gpus[system]) for b, block in used]),
            look.colour(system),
            dots=False,
        )
        for system in look.ranked[:_LINES]
        if gpus.get(system)
    ]
    title = "Share of their capacity that replicas serve, the busiest hours first, by system type"
    hours = tuple((float(h), f"{h}") for h in range(0, 25, 6))
    share = tuple((s, f"{100 * s:.0f}%") for s in (0.0, 0.25, 0.5, 0.75, 1.0))
    x, y = Axis(ticks=hours), Axis(ticks=share)
    return Panel(title, "hours of a day, the busiest first", "load", tuple(lines), x=x, y=y)


def _steps(values: list[tuple[LoadBlock, float]]) -> tuple[Point, ...]:
    at, points = 0.0, []
    for block, value in values:
        points.append((at, value))
        at += block.hours_per_year / _DAYS
        points.append((at, value))
    return tuple(points)


def requests(look: Look) -> Stack | None:
    """Requests/s by the system that serves them; one of two pools is counted at its delivery."""
    plan, used = look.plan, blocks_of(look.plan)
    if not used:
        return None
    stacks: list[dict[str | None, float]] = [defaultdict(float) for _ in plan.blocks]
    for r in plan.routing:
        if r.role == "prefill":
            continue
        by = None if r.api is not None else look.system_of_pool.get(r.pool or "")
        for stack, rate in zip(stacks, r.requests_per_s, strict=True):
            stack[by] += rate
    order = [*look.ranked, None]
    blocks = tuple(
        Block(
            block.hours_per_year,
            tuple((stacks[b][k], look.colour(k)) for k in order if stacks[b].get(k)),
            _hours(block),
        )
        for b, block in used
    )
    title = "Requests per second over the hours of a day, by the system that serves them"
    return Stack(title, "requests/s", blocks)


def key_of_systems(look: Look, most: int = 12) -> tuple[tuple[str, str], ...]:
    """Colours of the systems, and of hosted APIs."""
    named = [(look.colour(k), look.name(k)) for k in look.ranked[:most]]
    if len(look.ranked) > most:
        named.append((OTHER, f"{len(look.ranked) - most:,} more"))
    if any(r.api for r in look.plan.routing):
        named.append((OTHER, "hosted API"))
    return tuple(named)
