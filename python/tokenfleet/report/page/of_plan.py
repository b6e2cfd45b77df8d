"""The page of a plan: its sections, each from rows that the plan carries.

A section whose rows the plan lacks is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from tokenfleet.explanation.rows import Explanation
from tokenfleet.plan.rows import Plan
from tokenfleet.report import findings, words
from tokenfleet.report import findings_over_time as over_years
from tokenfleet.report.numbers import exact_dollars, short_dollars
from tokenfleet.report.page import buy, changes, explored, over_time, rests, serve
from tokenfleet.report.page.look import Look
from tokenfleet.report.page.parts import Page, Section, Tile


def page_of(plan: Plan, today: date | None = None, explained: Explanation | None = None) -> Page:
    """Everything that the report of a plan shows, with what its explanation found."""
    look, horizon = Look(plan, today), plan.horizon
    heading, lead, soft = findings.delivered(plan), findings.what_to_do(plan), findings.a_year(plan)
    if horizon is not None:
        heading, lead = over_years.heading(horizon), over_years.commitments(horizon)
        soft = over_years.levelised(horizon)
    return Page(
        name=findings.clip(plan.name),
        topic="plan",
        dated=words_of_day(plan),
        tone="good" if plan.proven and not plan.interrupted else "warn",
        pill=findings.proof(plan),
        heading=heading,
        lead=lead,
        lead_soft=soft,
        tiles=_tiles(plan),
        notes=findings.told_beside(plan),
        warnings_title="Read before you sign",
        warnings=findings.read_before(plan, words.warnings(plan, today)),
        sections=tuple(_sections(look, explained)),
        foot=findings.foot(plan),
    )


def words_of_day(plan: Plan) -> str:
    """Name of the scenario and the day of its prices."""
    day = f" · prices as of {plan.as_of}" if plan.as_of else ""
    return findings.clip(plan.name) + day


def _sections(look: Look, explained_by: Explanation | None) -> Iterator[Section]:
    if look.plan.horizon is not None:
        yield from over_time.sections(look.plan.horizon)
    found = [buy.systems(look), buy.money(look), *_beside(look)]
    found += [serve.latency(look), serve.power_and_space(look)]
    swings = None
    if look.plan.exploration is not None:
        swings = explored.sensitivity(look, look.plan.exploration)
        found += [swings, explored.frontier(look, look.plan.exploration)]
    found.append(serve.workloads(look))
    yield from (section for section in found if section is not None)
    if explained_by is not None:
        yield from changes.sections(explained_by, swings=swings is None)
    for last in (rests.rests, rests.engineers):
        yield last(look)


def _beside(look: Look) -> list[Section | None]:
    """Other plans: those that were explored, else the best of one system type."""
    found = look.plan.exploration
    if found is None or not found.alternatives:
        return [buy.alternatives(look)]
    return [explored.cash(look, found), explored.alternatives(look, found)]


def _tiles(plan: Plan) -> tuple[Tile, ...]:
    both = findings.money_per_mtok(plan.cost_per_mtok_total_usd)
    held, of_what = findings.tile_of_power(plan)
    single, which = findings.tile_of_single(plan)
    if plan.horizon is not None:
        later = (Tile(*tile) for tile in over_time.tiles(plan.horizon))
        return (*later, Tile("Power held at first", held, of_what))
    price = Tile(
        "Output tokens, per million",
        findings.money_per_mtok(plan.cost_per_mtok_output_usd),
        f"{both} counting input too",
    )
    return (
        *(() if plan.cost_per_mtok_output_usd is None else (price,)),
        *(Tile(*tile) for tile in findings.tiles_of_images(plan)),
        Tile(
            "Cost a year", short_dollars(plan.annual_cost_usd), exact_dollars(plan.annual_cost_usd)
        ),
        Tile("Paid up front", short_dollars(plan.capex_usd), findings.front_note(plan)),
        Tile("Power held", held, of_what),
        Tile("Best single system", single, which),
    )
