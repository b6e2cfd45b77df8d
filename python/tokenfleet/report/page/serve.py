"""What is promised, what power it takes, and who serves what."""

from __future__ import annotations

from collections import defaultdict

from tokenfleet.plan.rows import Site
from tokenfleet.report import findings, words
from tokenfleet.report.findings import clip, sentence
from tokenfleet.report.numbers import count, duration, part, power, short_dollars, unit_price
from tokenfleet.report.page import charts, day
from tokenfleet.report.page.look import Look
from tokenfleet.report.page.parts import (
    Cell,
    Key,
    Lines,
    Part,
    Section,
    Table,
    chart,
    drawn,
    figure,
    grid,
    row,
    text,
)

_NAMED = 3  # systems named under a workload's bar


def latency(look: Look) -> Section | None:
    """The tightest class of every latency limit: promised, likely, and the limit."""
    promises = words.tightest_promises(look.plan.slo)
    if not promises:
        return None
    confidence = look.plan.confidence
    rows = []
    for p in promises:
        low, high = p.interval_ms
        held = (p.promised_ms,) if confidence is not None else ()
        mark = charts.against_limit(p.expected_ms, low, high, p.limit_ms, *held)
        rows.append(
            row(
                Cell(clip(p.workload), findings.limit_of(p), under=True),
                Cell(mark=mark),
                *map(duration, held),
                duration(p.expected_ms),
                f"{duration(low)} to {duration(high)}",
                duration(p.limit_ms),
            )
        )
    columns = (
        text("Workload and limit"),
        chart("From 0 to twice the limit"),
        *(() if confidence is None else (figure(sentence(words.held(confidence))),)),
        figure("Expected"),
        figure("80 %, same load"),
        figure("Limit"),
    )
    note = findings.LATENCY_NOTE if confidence is None else findings.held_note(confidence)
    parts: tuple[Part, ...] = (Table(grid(columns, rows), "bars"), Lines((note,)))
    title = findings.latency_title(promises, confidence)
    return Section("Latency promised", title, parts)


def power_and_space(look: Look) -> Section | None:
    """Power held and drawn at every site, and its racks; then power and load over the day."""
    plan = look.plan
    if not plan.sites or not plan.systems:
        return None
    racks = {r.where: f"{r.used:,.0f} of {r.limit:,.0f}" for r in plan.limits if r.what == "racks"}
    most = max(s.provisioned_kw for s in plan.sites)
    rows = []
    for s in sorted(plan.sites, key=lambda s: (-s.provisioned_kw, s.site)):
        limit = s.power_limit_kw
        mark = charts.bullet(
            s.provisioned_kw, s.drawn_kw, limit, _is_full(s)
        ) if limit is not None else charts.bullet(
            s.provisioned_kw / (most or 1.0), s.drawn_kw / (most or 1.0), None, False
        )  # fmt: skip
        basis = "IT power" if s.power_basis == "it" else "at the meter"
        rows.append(
            row(
                Cell(clip(s.site), basis, under=True),
                Cell(mark=mark),
                power(s.provisioned_kw),
                "none" if limit is None else power(limit),
                power(s.drawn_kw),
                racks.get(s.site, "–"),
            )
        )
    columns = (
        text("Site"),
        chart("Held of the limit"),
        figure("Held"),
        figure("Limit"),
        figure("Drawn at peak"),
        figure("Racks"),
    )
    parts: list[Part] = [Table(grid(columns, rows), "bars")]
    binding = words.binding(plan)
    if binding is not None:
        parts.append(Lines((sentence(binding),)))
    for over_the_day in (day.power(look), day.utilisation(look)):
        parts += _over_the_day(look, over_the_day)
    return Section("Power and space", findings.power_title(plan), tuple(parts))


def _over_the_day(look: Look, of: charts.Figure | None) -> list[Part]:
    """A chart over the hours of a day, where they differ."""
    return drawn(of) if of is not None and len(day.blocks_of(look.plan)) > 1 else []


def _is_full(s: Site) -> bool:
    return s.power_limit_kw is not None and s.provisioned_kw >= 0.98 * s.power_limit_kw


def workloads(look: Look) -> Section | None:
    """Which systems serve each workload's output, and requests over the day."""
    plan = look.plan
    if not plan.workloads:
        return None
    tokens = _tokens(look)
    rows = []
    for w in sorted(plan.workloads, key=lambda w: (-w.output_tokens_per_year, w.workload)):
        of = tokens.get(w.workload, {})
        whole = sum(of.values())
        shares = [(of[k] / whole, k) for k in _order(look, of)] if whole > 0 else []
        mark = charts.stacked([(share, look.colour(k)) for share, k in shares])
        images = w.images_per_year is not None
        made = f"{count(w.images_per_year or 0.0)} images" if images else "–"
        per = f"{unit_price(w.cost_per_thousand_images_usd)} per thousand images"
        rows.append(
            row(
                clip(w.workload),
                Cell(small=_named(look, shares), mark=mark, under=True),
                made if images else count(w.output_tokens_per_year),
                short_dollars(w.annual_cost_usd),
                per if images else findings.money_per_mtok(w.cost_per_mtok_output_usd),
            )
        )
    columns = (
        text("Workload"),
        chart("Who serves it"),
        figure("Output tokens a year"),
        figure("A year, USD"),
        figure("USD per million"),
    )
    parts: list[Part] = [Key(day.key_of_systems(look)), Table(grid(columns, rows), "bars")]
    parts += _over_the_day(look, day.requests(look))
    return Section("Who serves what", findings.served_title(plan), tuple(parts))


def _tokens(look: Look) -> dict[str, dict[str | None, float]]:
    """Output tokens of each workload, or its images, by the system that serves them; None is a
    hosted API."""
    of_images = {w.workload for w in look.plan.workloads if w.images_per_year is not None}
    found: dict[str, dict[str | None, float]] = defaultdict(lambda: defaultdict(float))
    for r in look.plan.routing:
        by = None if r.api is not None else look.system_of_pool.get(r.pool or "")
        images = r.workload in of_images
        found[r.workload][by] += r.requests_per_year if images else r.output_tokens_per_year
    return found


def _order(look: Look, of: dict[str | None, float]) -> list[str | None]:
    """Systems by their rank, then hosted APIs."""
    known = [k for k in look.ranked if of.get(k)]
    return [*known, *(k for k in of if k not in known and of[k])]


def _named(look: Look, shares: list[tuple[float, str | None]]) -> str:
    """`A100 SXM 80GB 67%, H100 SXM 80GB 24%, hosted API 8.5%`."""
    largest = sorted(shares, key=lambda s: -s[0])
    named = [f"{_served_by(look, k)} {part(share, 1.0)}" for share, k in largest[:_NAMED]]
    rest = len(largest) - _NAMED
    return ", ".join(named) + (f" and {rest} more" if rest > 0 else "")


def _served_by(look: Look, system: str | None) -> str:
    return "hosted API" if system is None else look.name(system)
