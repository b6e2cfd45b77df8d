"""Answers to a sizing question in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from tokenfleet.plan.rows import Plan, Promise
from tokenfleet.report import words
from tokenfleet.report.grid import Grid, figures, texts
from tokenfleet.report.lines import Lines
from tokenfleet.report.numbers import dollars, number, unit_price
from tokenfleet.sizing.answer import Answer

_FIGURES = ("GPUs", "USD up front", "USD a year", "$/Mtok out", "mean kW", "TTFT ms", "TPOT ms")


def beside(answers: Sequence[Answer], console: Console) -> None:
    """The plans side by side, and what each of them is."""
    grid = Grid("Side by side", (*texts("plan", "what to get"), *figures(*_FIGURES)))
    for answer in answers:
        if answer.plan is not None:
            grid.add(answer.name, words.mix(answer.plan), *_figures(answer.plan))
    console.print(grid)
    told = [words.sized(a.name, a.tpot_limit_ms, a.conflict) for a in answers]
    console.print(Lines(told))


def rates(rows: Sequence[tuple[float, Answer]], console: Console) -> None:
    """The cheapest plan at each rate."""
    grid = Grid("By rate", (*texts("requests/s", "what to get"), *figures(*_FIGURES)))
    for rate, answer in rows:
        if answer.plan is not None:
            grid.add(number(rate), words.mix(answer.plan), *_figures(answer.plan))
    console.print(grid)


def _figures(plan: Plan) -> tuple[str, ...]:
    return (
        f"{plan.gpus:,}",
        dollars(plan.capex_usd),
        dollars(plan.annual_cost_usd),
        unit_price(plan.cost_per_mtok_output_usd),
        number(_mean_kw(plan)),
        _promised(plan.slo, "ttft"),
        _promised(plan.slo, "tpot"),
    )


def _mean_kw(plan: Plan) -> float | None:
    """What the systems draw; a dash where the power of one is not sourced."""
    drawn = sum(site.mean_drawn_kw_with_hosted for site in plan.sites)
    return None if words.powerless(plan) else drawn


def _promised(slo: Sequence[Promise], metric: str) -> str:
    """The slowest promise of a metric; a dash where it is not limited."""
    known = [row.promised_ms for row in slo if row.metric == metric]
    return number(max((ms for ms in known if ms is not None), default=None))
