"""What to know before signing a plan: rows that can be grouped by their kind."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from tokenfleet.calibration.maturity import log_as_installed
from tokenfleet.catalog import Catalog
from tokenfleet.mix.result import MixResult
from tokenfleet.plan.horizon_rows import OverTime
from tokenfleet.plan.known_rows import Notice, Provenance
from tokenfleet.plan.rows import Systems
from tokenfleet.problem import Built
from tokenfleet.problem_data import Held
from tokenfleet.schema.formats import WEIGHT_FORMATS

if TYPE_CHECKING:  # a year by itself needs nothing of a horizon's search
    from tokenfleet.mix.horizon.solve import HorizonResult

# Beyond this one-sided confidence nothing was measured often enough; the tail is a normal one.
_MEASURED_TAIL = 0.95


def notices(built: Built, result: MixResult) -> tuple[Notice, ...]:
    """Warnings of the scenario, of its confidence and of rounded weights."""
    return (
        *(Notice(kind="scenario", text=str(w)) for w in built.loaded.warnings),
        *_confidence(built.loaded.scenario.sure),
        *_unjudged(built, result),
        *_quality(built, result),
        *_own_kernels(built, result),
    )


def inherited(systems: Iterable[Systems], provenance: Iterable[Provenance]) -> tuple[Notice, ...]:
    """Systems whose efficiencies nobody measured, with their share of the plan."""
    gpus: dict[str, int] = defaultdict(int)
    for row in systems:
        gpus[row.system] += row.gpus
    total = sum(gpus.values())
    named = sorted({r.system for r in provenance if r.system and r.cls == "inherited"})
    return tuple(
        Notice(
            kind="inherited",
            text=f"{system}: {gpus[system] / total:.0%} of the accelerators rest on efficiencies "
            "inherited from a relative, not measured on this one: ask for a benchmark before you "
            "buy",
            system=system,
            share=gpus[system] / total,
        )
        for system in named
        if gpus[system] > 0
    )


def inherited_later(horizon: OverTime, catalog: Catalog, shown: Iterable[str]) -> Iterator[Notice]:
    """Systems of other periods than the one shown, of which nobody measured any kernel."""
    later = {row.system for period in horizon.periods for row in period.systems if row.count > 0}
    for system in sorted(later & catalog.systems.keys() - set(shown)):
        if catalog.system(system).kernel_key is None:
            yield Notice(
                kind="inherited",
                text=f"{system}: in other periods, on efficiencies inherited from a relative, not "
                "measured on this one: ask for a benchmark before you buy",
                system=system,
            )


def outlived(built: Built, result: HorizonResult) -> Iterator[Notice]:
    """Owned systems that are held beyond the life of what is bought, with nothing said of that, and
    those that are held beyond the ages of which the catalog has a value."""
    rows = {row.id: row for row in built.loaded.scenario.offers}
    horizon, life = result.horizon, built.terms.life_years
    oldest, valued = dict[str, float](), dict[str, float]()
    for label, count in result.values.items():
        if not isinstance(label, Held) or label.order >= 0 or not count:
            continue
        offer = result.problem.offers[label.offer]
        row = rows[offer.stated_as]
        if offer.stock is None or not row.ages:
            continue
        age = offer.stock.owned[-1 - label.order][0]
        end = age + horizon.starts[horizon.nodes[label.node].period + 1]
        oldest[row.id] = max(end, oldest.get(row.id, 0.0))
        if row.resale == "market" and row.market_usd_per_system:
            valued[row.id] = offer.stock.resale[-1][0]
    for name, age in oldest.items():
        if age > valued.get(name, math.inf) + 1e-9:
            yield Notice(
                kind="scenario",
                text=f"offers[{name}]: held to an age of {age:.3g} years and taken to be worth "
                f"what the catalog says of {valued[name]:g}, where its values end: give points to "
                "that age as resale",
            )
        if age > life + 1e-9 and not (rows[name].life_years or rows[name].maintenance_by_age):
            yield Notice(
                kind="scenario",
                text=f"offers[{name}]: held to an age of {age:.3g} years, beyond the life of "
                f"{life:g} (finance.life_years), as reliable and as cheap to maintain as before: "
                "state maintenance_by_age, or life_years, at which it leaves",
            )


def _confidence(confidence: float | None) -> tuple[Notice, ...]:
    """What a plan's confidence does not cover."""
    if confidence is None or confidence <= _MEASURED_TAIL:
        return ()
    text = (
        f"confidence {confidence:g}: beyond {_MEASURED_TAIL:g} the model's error is extrapolated "
        "from its 80 % interval; measured tails are heavier than normal ones"
    )
    return (Notice(kind="confidence", text=text),)


def _unjudged(built: Built, result: MixResult) -> Iterator[Notice]:
    """Latency limits of workloads on measured replicas, which nothing here can hold them to."""
    scenario = built.loaded.scenario
    used = {str(c.label.get("workload", "")) for c in result.candidates}
    limited = [w.id for w in scenario.workloads if w.slos and w.id in used]
    if scenario.columns is not None and limited:
        text = (
            f"the latency limits of {', '.join(limited)} are not judged: measured rates are taken "
            "to be those at which they held"
        )
        yield Notice(kind="measured", text=text)


def _own_kernels(built: Built, result: MixResult) -> Iterator[Notice]:
    """Systems that are as fast as this only with kernels that engines leave off as installed."""
    catalog = built.loaded.catalog
    used = {str(c.label.get("system", "")) for c in result.candidates} & catalog.systems.keys()
    for system in sorted(used):
        slower = math.exp(log_as_installed(catalog.system(system).vendor or "", routed=True))
        if slower > 1.0:
            text = (
                f"{system}: engines are taken to run AMD's own kernels, which they leave off as "
                "installed (VLLM_ROCM_USE_AITER, SGLANG_USE_AITER): without them steps of a "
                f"mixture of experts take {slower:.1f} times as long"
            )
            yield Notice(kind="kernels", text=text, system=system)


def _quality(built: Built, result: MixResult) -> tuple[Notice, ...]:
    """Workloads served below their model's published precision without a measured quality."""
    scenario, catalog = built.loaded.scenario, built.loaded.catalog
    scored = {(q.model, q.precision) for q in scenario.quality}
    models = {w.id: w.model for w in scenario.workloads if w.unit == "token"}
    found: dict[str, set[str]] = {}
    for candidate in result.candidates:
        precision = str(candidate.label.get("precision", ""))
        workload = result.problem.workloads[candidate.workload].id
        if workload not in models:
            continue
        rounded = _rounded(precision, catalog.model(models[workload]).native_precision)
        if rounded and (models[workload], precision) not in scored:
            found.setdefault(workload, set()).add(precision)
    if not found:
        return ()
    listed = "; ".join(f"{w}: {', '.join(sorted(found[w]))}" for w in sorted(found))
    text = (
        f"weights below the published precision, without a quality score ({listed}): measure the "
        "answers, or set precisions or a quality_floor"
    )
    return (Notice(kind="quality", text=text),)


def _rounded(precision: str, native: str | None) -> bool:
    """Whether weights have fewer bits than the published ones: somebody has to round and measure.

    False where the format is a measured column's own, or nobody says what was published.
    """
    weights = WEIGHT_FORMATS.get(precision)
    return bool(weights and native and weights.bits < WEIGHT_FORMATS[native].bits)
