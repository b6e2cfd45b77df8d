"""A simulation in words, beside the plan's own figures: computes nothing but wording."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console

from tokenfleet.files.plain import plain
from tokenfleet.plan.known_rows import FailedReplicas, Position, Verification
from tokenfleet.report.grid import Grid, figures, texts
from tokenfleet.report.lines import Lines
from tokenfleet.report.numbers import dollars, number, percent, unit_price
from tokenfleet.simulation.result import Row, Simulation

_SHOWN = 12


def render(found: Simulation, console: Console) -> None:
    """Prints the verdict, then latency, limits, groups and sites."""
    console.print(Lines([plain(line) for line in summary(found)]))
    for table in (_latency(found), _limits(found), _groups(found), _fleets(found), _sites(found)):
        if table.rows:
            console.print(table)
    for title, rows in (
        ("Prefix caches, by the blocks of the trace", _prefixes(found)),
        ("Not simulated", [f"{r['what']}: {r['why']}" for r in found.not_simulated]),
        ("Warnings", list(found.warnings)),
    ):
        if rows:
            console.print(Lines([plain(line) for line in _notes(title, rows)]))


def summary(found: Simulation) -> list[str]:
    """What the simulator says of the plan, in a few lines."""
    done = f"{len(found.groups)} of {found.groups_total} replica groups"
    times = "" if found.scale == 1.0 else f"{found.scale:g} times "
    head = f"{found.name}: {done}, in load block {found.block}, at {times}the plan's load"
    stopped = " (interrupted: what was simulated so far)" if found.interrupted else ""
    limits = len(found.limits)
    held = sum(row["verdict"] == "held" for row in found.limits)
    unclear = sum(row["verdict"] == "unclear" for row in found.limits)
    failed = len(found.failed)
    verdict = f"limits: {held} of {limits} hold, {failed} fail, {unclear} are within their interval"
    if found.unstable:
        verdict = f"unstable: the queue of a group grows without end; {verdict}"
    given = found.delivered
    share = given["good_share"]
    good = "–" if share is None else percent(share)
    money = (
        f"{unit_price(given['cost_per_mtok_good_output_usd'])} per million good output tokens "
        f"({unit_price(given['cost_per_mtok_output_usd'])} per million, {good} good; the plan says "
        f"{unit_price(given['planned_cost_per_mtok_output_usd'])}); "
        f"{dollars(given['annual_cost_usd'])} a year"
    )
    requests = sum(g["requests"]["arrived"] for g in found.groups)
    how = (
        f"arrivals: {found.arrivals}; {found.replications} replications, seed {found.seed}, "
        f"{requests:,} requests in {found.seconds:.1f} s"
    )
    return [head + stopped, verdict, money, how]


def verified(verification: Verification) -> list[str]:
    """The rounds of `verify="simulate"`, and the price of certainty."""
    rounds = verification.rounds
    if not rounds:
        return [f"simulation: interrupted {_position(verification.interrupted)}"]
    lines = []
    for row in rounds:
        failed = [_failure(f) for f in row.failed]
        what = "every limit holds" if not failed else "; ".join(failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        lines.append(
            f"simulation round {row.round}: {dollars(row.annual_cost_usd)} a year, "
            f"{percent(row.good_share or 0.0)} of tokens good: {what}{more}"
        )
    if verification.interrupted:
        lines.append(f"simulation: interrupted {_position(verification.interrupted)}")
    price = dollars(verification.price_of_certainty_usd or 0.0)
    end = {True: "holds", False: "still fails a limit", None: "was not judged to the end"}
    lines.append(
        f"the plan {end[verification.holds]}; certainty costs {price} a year; without it "
        f"{percent(verification.unverified_good_share or 0.0)} of tokens would be good, now "
        f"{percent(verification.verified_good_share or 0.0)}"
    )
    if verification.trace is not None:
        lines.append(
            f"on {verification.trace}: "
            f"{percent(verification.unverified_trace_good_share or 0.0)} without it, now "
            f"{percent(verification.verified_trace_good_share or 0.0)}"
        )
    return lines


def _position(at: Position | None) -> str:
    """Where verification was when Ctrl-C came."""
    if at is None:
        return "before the plan was judged"
    return f"in round {at.round}, {at.groups_judged} of {at.groups} groups judged"


def _failure(row: FailedReplicas) -> str:
    limit = row.limit
    return (
        f"{limit.metric.upper()} {limit.percentile} of {row.workload} on "
        f"{row.system} at {row.site} is {number(limit.simulated_ms)} of "
        f"{number(limit.limit_ms)} ms ({row.arrivals})"
    )


def _between(estimate: Row) -> str:
    """`120 ±3`; a dash where nothing was measured."""
    mean, half = estimate["mean"], estimate["half_width"]
    if math.isnan(mean):
        return "–"
    return number(mean) if math.isnan(half) else f"{number(mean)} ±{number(float(f'{half:.2g}'))}"


def _latency(found: Simulation) -> Grid:
    shown = [f"{m.upper()} {p}" for m, p in _shown_columns()]
    columns = (*texts("workload", "class", "site"), *figures(*shown, "attained"))
    table = Grid("Simulated latency, ms", columns)
    sites = {(r["workload"], r["class"]): 0 for r in found.latency}
    for row in found.latency:
        sites[row["workload"], row["class"]] += row["site"] is not None
    rows = [r for r in found.latency if r["site"] or sites[r["workload"], r["class"]] > 1]
    for row in rows[: 4 * _SHOWN]:
        cells = [_between(row[f"{m}_{p}_ms"]) for m, p in _shown_columns()]
        where = row["site"] or "all"
        table.add(row["workload"], row["class"], where, *cells, percent(row["attainment"]))
    return table


def _shown_columns() -> Sequence[tuple[str, str]]:
    return (("ttft", "p50"), ("ttft", "p99"), ("tpot", "p50"), ("tpot", "p99"), ("e2e", "p95"))


def _limits(found: Simulation) -> Grid:
    """Limits, the worst first."""
    head = texts("workload", "class", "site", "limit")
    table = Grid(
        "Limits", (*head, *figures("ms", "promised", "simulated", "within"), *texts("verdict"))
    )
    order = {"failed": 0, "unclear": 1, "held": 2}
    rows = sorted(
        found.limits,
        key=lambda r: (order[r["verdict"]], r["limit_ms"] / max(r["simulated_ms"], 1e-9)),
    )
    for row in rows[:_SHOWN]:
        promised = "–" if row["promised_ms"] is None else number(row["promised_ms"])
        spread = {"mean": row["simulated_ms"], "half_width": row["half_width_ms"]}
        table.add(
            row["workload"],
            row["class"],
            row["site"],
            f"{row['metric'].upper()} {row['percentile']}",
            number(row["limit_ms"]),
            promised,
            _between(spread),
            percent(row["within"]),
            row["verdict"],
        )
    return table


def _groups(found: Simulation) -> Grid:
    load = figures("replicas", "requests/s", "utilised", "in batch", "queue", "most waiting")
    cache = figures("fullest cache", "prefix hits")
    table = Grid("Replica groups", (*texts("workload", "site", "system"), *load, *cache))
    for row in sorted(found.groups, key=lambda r: -r["utilisation"])[:_SHOWN]:
        waiting = max(row["backlog"] - row["concurrency"] * row["replicas_simulated"], 0.0)
        table.add(
            row["workload"],
            row["site"],
            row["system"],
            f"{row['replicas']:,}",
            number(row["offered_requests_per_s"]),
            percent(row["utilisation"]),
            number(row["concurrency"]),
            number(waiting),
            number(max(row["series"]["waiting"], default=0.0)),
            percent(max(row["series"]["cache_share"], default=0.0)),
            percent(row["prefix_cache"]["hit_rate"]),
        )
    return table


def _prefixes(found: Simulation) -> list[str]:
    """What prefix caches were taken to hold, where they go by the blocks of a trace."""
    lines = []
    for row in found.groups:
        cache = row["prefix_cache"]
        if cache["source"] == "trace blocks":
            where = f"{row['workload']} at {row['site']} on {row['system']}"
            lines.append(
                f"{where}: {cache['caches']:,} caches, each of "
                f"{number(cache['tokens_per_cache'])} tokens in blocks of "
                f"{cache['block_tokens']:,}, hold {percent(cache['hit_rate'])} of prompt tokens; "
                f"one without end would hold {percent(cache['unlimited_hit_rate'])}"
            )
    return lines


def _fleets(found: Simulation) -> Grid:
    held = figures("replicas", "failures", "attained", "TTFT p95", "TPOT p95")
    full = figures("most waiting", "fullest cache")
    table = Grid("Groups together", (*texts("workload", "class"), *held, *full))
    for fleet in found.fleets:
        waiting = max(fleet["series"]["waiting"], default=0.0)
        cache = max(fleet["series"]["cache_share"], default=0.0)
        for row in fleet["classes"]:
            table.add(
                fleet["workload"],
                row["class"],
                f"{fleet['replicas']:,}",
                f"{fleet['failures']:,}",
                percent(row["attainment"]),
                _between(row["ttft_p95_ms"]),
                _between(row["tpot_p95_ms"]),
                number(waiting),
                percent(cache),
            )
    return table


def _sites(found: Simulation) -> Grid:
    shown = figures("requests/s", "good requests/s", "kW drawn", "planned kW")
    table = Grid("Sites", (*texts("site"), *shown))
    for row in found.sites:
        table.add(
            row["site"],
            number(row["offered_requests_per_s"]),
            number(row["good_requests_per_s"]),
            number(row["simulated_drawn_kw"]),
            number(row["planned_drawn_kw"]),
        )
    return table


def _notes(title: str, rows: Sequence[str]) -> list[str]:
    more = [f"  and {len(rows) - 5} more (see --json)"] if len(rows) > 5 else []
    return [f"{title} ({len(rows)})", *(f"  {row}" for row in rows[:5]), *more]
