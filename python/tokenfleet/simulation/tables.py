"""What simulated groups come to: latency by class and site, limits, goodput, cost per good token.

Groups of one class are joined replication by replication, each request weighed by how many it
stands for, and every figure is a mean over replications with half its 95 % interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tokenfleet import _core
from tokenfleet.plan.rows import ALL_REQUESTS, Plan
from tokenfleet.problem.specification import PERCENTILES, Specification
from tokenfleet.problem_data import SECONDS_PER_HOUR, FloatArray
from tokenfleet.schema import Slo
from tokenfleet.simulation.run import Simulated

Row = dict[str, Any]
LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
METRICS = ("ttft", "tpot", "e2e")
_SHOWN = ("utilisation", "busy", "concurrency", "backlog")
_Part = tuple[Simulated, int]  # a group and a class of it


def latency_rows(spec: Specification, groups: Sequence[Simulated]) -> tuple[Row, ...]:
    """Latency, attainment and counts of every class: at each site, and over all of them."""
    by_place: dict[tuple[int, int, str | None], list[_Part]] = {}
    for s in groups:
        for k in np.flatnonzero(s.offered > 0):
            for site in (None, s.group.replica.site):
                by_place.setdefault((s.group.workload, int(k), site), []).append((s, int(k)))
    keys = sorted(by_place, key=lambda key: (key[0], key[1], key[2] or ""))
    return tuple(_latency_row(spec, key, by_place[key]) for key in keys)


def _latency_row(
    spec: Specification, key: tuple[int, int, str | None], parts: Sequence[_Part]
) -> Row:
    w, k, site = key
    row: Row = {
        "workload": spec.workloads[w].id,
        "class": spec.classes[w][k].id,
        "site": site,
        "offered_requests_per_s": float(sum(s.offered[j] for s, j in parts)),
        **_counts(parts),
    }
    for metric in METRICS:
        for i, estimate in enumerate(_percentiles(parts, metric)):
            row[f"{metric}_{PERCENTILES[i]}_ms"] = ms(estimate)
    attainment = attained(parts)
    row["attainment"], row["attainment_half_width"] = attainment
    row["good_requests_per_s"] = row["offered_requests_per_s"] * attainment[0]
    row["unstable"] = any(s.unstable for s, _ in parts)
    return row


def ms(estimate: tuple[float, float]) -> Row:
    """An estimate in s with its half width, in ms."""
    return {"mean": 1e3 * estimate[0], "half_width": 1e3 * estimate[1]}


def _counts(parts: Sequence[_Part]) -> Row:
    """Simulated requests, summed over replications."""
    samples = [sample for s, k in parts for sample in s.samples[k]]
    arrived, finished = (sum(x[name] for x in samples) for name in ("arrived", "finished"))
    return {"arrived": arrived, "finished": finished, "not_finished": arrived - finished}


def _replications(parts: Sequence[_Part]) -> range:
    return range(min(len(s.samples[k]) for s, k in parts))


def _percentiles(parts: Sequence[_Part], metric: str) -> list[tuple[float, float]]:
    """Mean, p50, p90, p95, p99 over the parts together, each with its half width, s."""
    rows = []
    for r in _replications(parts):
        samples = [s.samples[k][r] for s, k in parts]
        weights = [
            float(s.offered[k]) / max(sample["arrived"], 1)
            for (s, k), sample in zip(parts, samples, strict=True)
        ]
        rows.append(_core.Durations.summary([sample[metric] for sample in samples], weights))
    columns = np.array(rows, dtype=float).T
    return [_core.estimate(np.ascontiguousarray(column)) for column in columns]


def attained(parts: Sequence[_Part], limit: int | None = None) -> tuple[float, float]:
    """Share of requests within a limit of the workload, or within all of them, with half width.

    Requests that were rejected or left unfinished are within none; of a replication that Ctrl-C
    ended, those that were under way are not counted.
    """

    def share(r: int) -> float:
        met = came = 0.0
        for s, k in parts:
            sample = s.samples[k][r]
            count = sample["good"] if limit is None else sample["within"][limit]
            rate = float(s.offered[k])
            if sample["judged"]:
                met += rate * count / sample["judged"]
                came += rate
        return met / came if came else math.nan

    return _core.estimate(np.array([share(r) for r in _replications(parts)]))


# Limits


def limit_rows(plan: Plan, spec: Specification, groups: Sequence[Simulated]) -> tuple[Row, ...]:
    """Every limit on every class of every group, beside what the plan promised of the class."""
    promised = {(p.workload, p.cls, p.metric, p.percentile): p.promised_ms for p in plan.slo}
    rows = []
    for s in groups:
        for j, slo, name, served in judged(spec, s):
            row = limit_row(s, served, j, slo)
            key = (s.group.replica.workload, name, slo.metric, slo.percentile)
            where = {
                "workload": s.group.replica.workload,
                "class": name,
                "site": s.group.replica.site,
                "pool": s.group.replica.pool,
                "candidate": s.group.replica.candidate,
            }
            rows.append({**where, **row, "promised_ms": promised.get(key)})
    return tuple(rows)


def judged(spec: Specification, s: Simulated) -> Iterator[tuple[int, Slo, str, tuple[int, ...]]]:
    """Limits that bind what a group serves: number, limit, class or `all`, and the classes of the
    requests among which the percentile is taken."""
    w = s.group.workload
    served = tuple(int(k) for k in np.flatnonzero(s.offered > 0))
    for k in served:
        name = spec.classes[w][k].id
        for j, slo in enumerate(spec.workloads[w].slos):
            if slo.cls in (None, name) and not is_over_all(spec, w, slo):
                yield j, slo, name, (k,)
    for j, slo in enumerate(spec.workloads[w].slos):
        if is_over_all(spec, w, slo) and served:
            yield j, slo, ALL_REQUESTS, served


def is_over_all(spec: Specification, w: int, slo: Slo) -> bool:
    """Whether a limit is over all requests of several classes together."""
    return slo.over == "workload" and slo.cls is None and len(spec.classes[w]) > 1


def limit_row(s: Simulated, classes: Sequence[int], j: int, slo: Slo) -> Row:
    """Whether limit `j` of the workload holds for the requests of these classes of a group.

    A percentile holds when at least its share of the requests is within the limit. `failed` and
    `held` are said with 95 % confidence; `unclear` when the interval holds both.
    """
    i = PERCENTILES.index(slo.percentile)
    parts = [(s, k) for k in classes]
    value = _percentiles(parts, slo.metric)[i]
    within = attained(parts, j)
    return judged_limit(slo, value, within, unstable=s.unstable, partial=s.partial)


def judged_limit(
    slo: Slo,
    value_s: tuple[float, float],
    within: tuple[float, float],
    *,
    unstable: bool,
    partial: bool,
) -> Row:
    """A limit beside what was simulated: its percentile, and the share of requests within it, each
    with its half width. Of a mean the value itself decides, of a percentile the share."""
    value, half = value_s
    target = LEVELS.get(slo.percentile)
    if target is None:
        above, spread = slo.limit_ms - 1e3 * value, 1e3 * half
    else:
        above, spread = within[0] - target, within[1]
    return {
        "metric": slo.metric,
        "percentile": slo.percentile,
        "limit_ms": slo.limit_ms,
        "simulated_ms": 1e3 * value,
        "half_width_ms": 1e3 * half,
        "within": within[0],
        "within_half_width": within[1],
        "target": target,
        "verdict": "unclear" if partial else _verdict(above, spread, unstable),
    }


def _verdict(above: float, half_width: float, unstable: bool) -> str:
    """`held`, `failed` or `unclear`, by how far the figure is above where it must be."""
    if unstable or above + half_width < 0 or math.isnan(above):
        return "failed"
    if above - half_width >= 0:
        return "held"
    if math.isnan(half_width):  # one replication: no interval
        return "held" if above >= 0 else "failed"
    return "unclear"


# Groups and sites


def group_rows(
    groups: Iterable[Simulated], blocks: Mapping[int, tuple[int, float]] | None = None
) -> tuple[Row, ...]:
    """Every simulated group: load, batch, queue, caches, and what it held over time.

    `blocks` are, by workload, the tokens in a block of the trace that prefix caches go by, and the
    hit rate of one cache without end.
    """
    rows = []
    for s in groups:
        r = s.group.replica
        row: Row = {
            "workload": r.workload,
            "site": r.site,
            "pool": r.pool,
            "system": r.system,
            "candidate": r.candidate,
            "replicas": s.group.count,
            "replicas_simulated": s.replicas,
            "offered_requests_per_s": float(s.offered.sum()),
            "measured_s": s.span_s,
        }
        for name in _SHOWN:
            mean, half = s.figures[name]
            row[name], row[f"{name}_half_width"] = mean, half
        rows.append(
            {
                **row,
                "preemptions": s.preemptions,
                "steps": s.steps,
                "unstable_replications": s.unstable_replications,
                "replications": s.replications,
                "interrupted": s.interrupted,
                "requests": dict(s.conservation),
                "cache_tokens_per_replica": s.lanes * s.cache_tokens,
                "cache_gib_per_replica": s.lanes * s.cache_bytes / 2**30,
                "prefix_cache": _prefix_cache(s, (blocks or {}).get(s.group.workload)),
                "series": s.series,
            }
        )
    return tuple(rows)


def _prefix_cache(s: Simulated, blocks: tuple[int, float] | None) -> Row:
    """What prefix caches found, and by what: each lane has its own, in the room that is left."""
    hits, half = s.figures["hit_rate"]
    return {
        "source": "class hit rates" if blocks is None else "trace blocks",
        "hit_rate": hits,
        "hit_rate_half_width": half,
        "caches": s.replicas * s.lanes,
        "tokens_per_cache": s.cache_tokens,
        "block_tokens": None if blocks is None else blocks[0],
        "unlimited_hit_rate": None if blocks is None else blocks[1],
    }


def site_rows(
    plan: Plan, spec: Specification, groups: Sequence[Simulated], block: int
) -> tuple[Row, ...]:
    """Goodput and drawn power of every site; the joules of a request are the plan's own."""
    sites = sorted({s.group.replica.site for s in groups})
    return tuple(_site_row(plan, spec, site, groups, block) for site in sites)


def _site_row(
    plan: Plan, spec: Specification, site: str, groups: Sequence[Simulated], block: int
) -> Row:
    here = [s for s in groups if s.group.replica.site == site]
    offered = good = 0.0
    for s in here:
        for k in np.flatnonzero(s.offered > 0):
            offered += float(s.offered[k])
            good += float(s.offered[k]) * attained([(s, int(k))])[0]
    planned, simulated = _idle_kw(plan, site, block), _idle_kw(plan, site, block)
    pue = {row.pool: row.pue for row in plan.systems}
    for s in here:
        factor = pue.get(s.group.replica.pool, 1.0)
        ids = [c.id for c in spec.classes[s.group.workload]]
        planned += factor * _requests_kw(s, ids, s.group.rates)
        simulated += factor * _requests_kw(s, ids, served_rates(s))
    return {
        "site": site,
        "offered_requests_per_s": offered,
        "good_requests_per_s": good,
        "planned_drawn_kw": planned,
        "simulated_drawn_kw": simulated,
    }


def served_rates(s: Simulated) -> FloatArray:
    """Requests/s that the whole group finishes, by class."""
    rates = np.zeros(len(s.offered))
    for k in np.flatnonzero(s.offered > 0):
        came = sum(sample["arrived"] for sample in s.samples[k])
        done = sum(sample["finished"] for sample in s.samples[k])
        rates[k] = s.offered[k] * done / came if came else 0.0
    return rates


def _idle_kw(plan: Plan, site: str, block: int) -> float:
    total = 0.0
    for row in plan.systems:
        if row.site == site:
            counts = row.count_by_block
            total += (row.count if counts is None else counts[block]) * row.idle_it_kw * row.pue
    for replica in plan.replicas:
        if replica.site == site:
            counts = replica.count_by_block
            count = replica.count if counts is None else counts[block]
            pue = next((r.pue for r in plan.systems if r.pool == replica.pool), 1.0)
            total += count * replica.idle_w / 1e3 * pue
    return total


def _requests_kw(s: Simulated, class_ids: Sequence[str], rates: FloatArray) -> float:
    joules = s.group.replica.energy_j_per_request
    pairs = zip(class_ids, rates, strict=True)
    return sum(float(rate) * joules.get(name, 0.0) for name, rate in pairs) / 1e3


# Money


def delivered(
    plan: Plan,
    spec: Specification,
    attainment: Mapping[tuple[str, str], float],
    scale: float,
    *,
    interrupted: bool = False,
) -> Row:
    """Tokens of a year, those of good requests among them, and what one costs.

    `attainment` is by (workload, class). The plan's whole yearly cost is divided, in the core, by
    what is delivered: cost has one definition. Requests served by hosted APIs, and classes without
    a request in the simulated block, count as good. Where Ctrl-C came before a class was simulated,
    nothing is said of good tokens.
    """
    tokens = good = 0.0
    ids = [w.id for w in spec.workloads]
    for route in plan.routing:
        if route.role == "prefill":
            continue
        classes = spec.classes[ids.index(route.workload)]
        length = next(c.output_tokens.mean for c in classes if c.id == route.cls)
        for block, rate in zip(plan.blocks, route.requests_per_s, strict=True):
            amount = rate * scale * block.hours_per_year * SECONDS_PER_HOUR * length
            key = (route.workload, route.cls)
            unknown = math.nan if interrupted else 1.0
            share = 1.0 if route.api is not None else attainment.get(key, unknown)
            tokens += amount
            good += amount * share
    return {
        "annual_cost_usd": plan.annual_cost_usd,
        "cost_items": dict(plan.cost_items),
        "tokens_per_year_output": tokens,
        "good_tokens_per_year_output": good,
        "good_share": good / tokens if tokens and not math.isnan(good) else None,
        "planned_cost_per_mtok_output_usd": plan.cost_per_mtok_output_usd,
        "cost_per_mtok_output_usd": _per_mtok(plan.annual_cost_usd, tokens),
        "cost_per_mtok_good_output_usd": _per_mtok(plan.annual_cost_usd, good),
    }


def _per_mtok(usd: float, tokens: float) -> float | None:
    return _core.usd_per_mtok_delivered(usd, tokens) if tokens > 0 else None
