"""The best operating points of a scenario: every layout, batch limit, class, load and offer.

load ▸ supply and specification ▸ search (per workload and group of sites) ▸ columns
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tokenfleet import _core
from tokenfleet.errors import SchemaError
from tokenfleet.files.frames import Columns
from tokenfleet.problem.build import Progress
from tokenfleet.problem.knowledge import Judge, add_time_factors
from tokenfleet.problem.load_blocks import scenario_blocks
from tokenfleet.problem.money import resolve_terms
from tokenfleet.problem.specification import Specification, build_specification
from tokenfleet.problem.supply import Supply, build_supply
from tokenfleet.problem_data import HOURS_PER_YEAR, OfferData, Pool, mean_price
from tokenfleet.scenario.load import LoadedScenario, load_scenario
from tokenfleet.schema import Scenario

# Ranges of units handed to the core at once: small enough to report progress and to stop on Ctrl-C.
_CHUNKS = 20
_LABELS = (
    "system",
    "engine",
    "precision",
    "kv_dtype",
    "tp",
    "pp",
    "ep",
    "attention_dp",
    "speculative_depth",
    "batch_limit",
)
_VALUES = (
    "rate_rps",
    "utilisation",
    "concurrency",
    "usd_per_gpu_h",
    "usd_per_kwh",
    *(name for name in _core.POINT_COLUMNS if name != "concurrency"),
)


@dataclass(frozen=True, eq=False)
class FoundPoints:
    """Operating points worth knowing, as columns of equal length, and what became of all others.

    `front`: within the latency limits, not beaten in cost, TTFT p99 and TPOT p99 by another point
    of the same class at sites that look alike from its users; empty where it was not asked for.
    `cheapest`: the best within the limits by cost, or by the latency asked for.
    `cost_per_mtok_output_usd` is that of a replica which runs at this rate all the time.
    """

    front: Columns
    cheapest: Columns
    counts: Mapping[str, int]  # computed, skipped by which bound, no_layout, memory; and total
    seconds: float


@dataclass(frozen=True)
class _Offer:
    """One way to have a system at a site."""

    id: str
    site: str
    usd_per_gpu_h: float
    usd_per_kwh: float


def search_points(
    scenario: str | Path | Mapping[str, Any] | Scenario | LoadedScenario,
    *,
    loads: int | Sequence[float] = 99,
    cheapest: int = 10,
    by: Literal["cost", "ttft", "tpot"] = "cost",
    front: bool = True,
    progress: Progress | None = None,
) -> FoundPoints:
    """Searches every operating point of a scenario; what a bound excludes is counted, not computed.

    `loads`: utilisations of a replica, rising, above 0 and below 1; a number means so many steps
    of equal size. `cheapest`: how many of the best points to keep per class and group of sites,
    `by` cost per output token, TTFT p99 or TPOT p99; equals are ordered by cost, then as the
    layouts are. `front`: whether to keep the points that none beats; without them memory does not
    grow with the number of points. `progress(done, total)` counts units of work.

    Raises:
        SchemaError: the input cannot be understood, or the scenario brings its own columns.
    """
    begun = time.perf_counter()
    loaded = load_scenario(scenario)
    if loaded.scenario.columns is not None:
        raise SchemaError(
            "the scenario brings measured columns: there is nothing to evaluate",
            "leave `columns` out to evaluate the model",
        )
    utilisations = _utilisations(loads)
    systems = loaded.scenario.systems_among(loaded.catalog.systems)
    terms = resolve_terms(loaded.scenario.finance, loaded.catalog)
    blocks = scenario_blocks(loaded)
    supply = build_supply(loaded, systems, terms, blocks)
    spec = build_specification(loaded, sorted({p.system for p in supply.pools}))
    add_time_factors(Judge(loaded, spec), spec, loaded.scenario.sure)
    counts: dict[str, int] = {}
    unbeaten: list[Columns] = []
    best: list[Columns] = []
    threads = loaded.scenario.solver.threads or 0
    parts = list(_parts(spec))
    for i, (w, group) in enumerate(parts):
        offers = _offers(loaded, spec, supply, blocks.hours.tolist(), (w, group))
        core = _core.Space(json.dumps(_one_workload(spec, w, group)))
        share = None if progress is None else _Share(progress, i, len(parts))
        search = _new_search(core, offers, utilisations, cheapest=cheapest, by=by, front=front)
        _run(search, core.unit_count, threads, share)
        for name, count in search.counts().items():
            counts[name] = counts.get(name, 0) + int(str(count))
        unbeaten.append(_labelled(core, spec, w, offers, search.front()))
        best.append(_labelled(core, spec, w, offers, search.cheapest()))
    return FoundPoints(_joined(unbeaten), _joined(best), counts, time.perf_counter() - begun)


@dataclass(frozen=True)
class _Share:
    """Progress of one search among several."""

    whole: Progress
    index: int
    count: int

    def __call__(self, done: int, total: int) -> None:
        self.whole(self.index * total + done, self.count * total)


def _utilisations(loads: int | Sequence[float]) -> list[float]:
    if isinstance(loads, int):
        if loads < 1:
            raise SchemaError(f"loads = {loads}: must be at least 1")
        return [(i + 1) / (loads + 1) for i in range(loads)]
    return [float(u) for u in loads]


def _parts(spec: Specification) -> Iterator[tuple[int, int]]:
    """Workloads and the groups of sites that look alike from their users."""
    for w, groups in enumerate(spec.groups):
        yield from ((w, group) for group in range(len(groups)))


def _one_workload(spec: Specification, w: int, group: int) -> dict[str, Any]:
    workload = spec.data["workloads"][w]
    alone = {**workload, "round_trip_s": [workload["round_trip_s"][group]]}
    return {**spec.data, "workloads": [alone]}


def _offers(
    loaded: LoadedScenario,
    spec: Specification,
    supply: Supply,
    hours: Sequence[float],
    part: tuple[int, int],
) -> list[list[_Offer]]:
    """By system of the specification: what its accelerators cost at the sites of the group.

    `hours` are those of the load blocks, over which prices are averaged.
    """
    w, group = part
    found: dict[str, list[_Offer]] = {name: [] for name in spec.systems}
    for offer in supply.offers:
        pool = supply.pools[offer.pool]
        here = pool.site in spec.groups[w][group]
        if here and (spec.workloads[w].interruptible or not pool.interruptible):
            found[pool.system].append(_priced(loaded, pool, offer, hours))
    return list(found.values())


def _priced(loaded: LoadedScenario, pool: Pool, offer: OfferData, hours: Sequence[float]) -> _Offer:
    """What an accelerator costs by the hour and its energy by the kWh, as means of the year."""
    yearly = sum(offer.annual_cost_items_usd.values())
    hour = yearly / HOURS_PER_YEAR + mean_price(offer.hourly_usd, hours)
    return _Offer(
        id=offer.id,
        site=loaded.scenario.sites[pool.site].id,
        usd_per_gpu_h=hour / pool.gpus_per_system,
        usd_per_kwh=sum(mean_price(usd, hours) for usd in pool.kwh_prices.values()),
    )


def _new_search(
    core: _core.Space, offers: Sequence[Sequence[_Offer]], loads: list[float], **kept: Any
) -> _core.PointSearch:
    prices = [[(o.usd_per_gpu_h, o.usd_per_kwh) for o in of] for of in offers]
    try:
        return _core.PointSearch(core, loads={"utilisation": loads}, offers=prices, **kept)
    except ValueError as error:
        raise SchemaError(str(error)) from None


def _run(search: _core.PointSearch, total: int, threads: int, progress: Progress | None) -> None:
    step = max(1, -(-total // _CHUNKS))
    for first in range(0, total, step):
        last = min(first + step, total)
        search.extend(first, last, threads)
        if progress is not None:
            progress(last, total)


def _labelled(
    core: _core.Space,
    spec: Specification,
    w: int,
    offers: Sequence[Sequence[_Offer]],
    found: Mapping[str, Any],
) -> Columns:
    """Columns with names in place of positions."""
    layouts = [core.describe(int(number)) for number in found["configuration"]]
    columns: dict[str, list[Any]] = {name: [row[name] for row in layouts] for name in _LABELS}  # type: ignore[literal-required]
    ids = list(spec.systems)
    paid = [
        offers[ids.index(row["system"])][int(i)]
        for row, i in zip(layouts, found["offer_index"], strict=True)
    ]
    classes = spec.classes[w]
    gpus = [row["tp"] * row["pp"] * row["attention_dp"] for row in layouts]
    named: dict[str, list[Any]] = {
        "workload": [spec.workloads[w].id] * len(layouts),
        "class": [classes[int(k)].id for k in found["class_index"]],
        "site": [offer.site for offer in paid],
        "offer": [offer.id for offer in paid],
        "gpus": gpus,
        **columns,
    }
    values = {name: np.asarray(found[name]) for name in _VALUES}
    return Columns({**{name: np.array(column) for name, column in named.items()}, **values})


def _joined(parts: Sequence[Columns]) -> Columns:
    filled = [p for p in parts if len(p["workload"])] or list(parts[:1])
    if not filled:
        return Columns()
    return Columns({n: np.concatenate([p[n] for p in filled]) for n in filled[0]})
