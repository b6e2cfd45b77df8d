"""What a plan shows beside the mix: promises, provenance, prices, inputs, what was left out."""

from __future__ import annotations

from dataclasses import asdict

from tokenfleet.mix.result import MixResult
from tokenfleet.plan.from_mix import Extras, OfferFacts
from tokenfleet.plan.known_rows import Input, NotConsidered
from tokenfleet.plan.match import origin_of
from tokenfleet.plan.notices import notices
from tokenfleet.plan.promises import slo_rows
from tokenfleet.plan.provenance import provenance_rows
from tokenfleet.plan.rows import Checkpoint, Hardware
from tokenfleet.problem import Built
from tokenfleet.problem.inputs import Used, inputs
from tokenfleet.problem.supply import offers_of


def extras(built: Built, result: MixResult, seconds: float) -> Extras:
    """What the plan shows beside the mix."""
    scenario = built.loaded.scenario
    dropped = dict(built.never_built)
    for counts in built.counts.values():
        for reason, count in counts.items():
            if reason not in ("evaluated", "usable"):
                dropped[reason] = dropped.get(reason, 0) + count
    offers = {offer.supply_group for offer in result.offers}
    pools = [built.problem.pools[offer.pool] for offer in result.offers]
    sites = {built.problem.sites[pool.site].id for pool in pools if not pool.hosted}
    used = Used(offers, sites, {api.id for api in result.apis})
    prices = built.supply.prices
    from_book = any(prices[name].from_book for name in offers)
    return Extras(
        as_of=None if scenario.as_of is None else scenario.as_of.isoformat(),
        price_vintage=built.loaded.catalog.vintage(scenario.price_vintage) if from_book else None,
        candidates_evaluated=built.evaluated,
        candidates_kept=sum(not c.plainer for c in built.problem.candidates),
        seconds=seconds,
        slo=slo_rows(built, result),
        provenance=provenance_rows(built, result),
        hardware=_hardware(built, result),
        checkpoints=_checkpoints(built, result),
        offers=_offers(built),
        regions={site.id: site.region for site in scenario.sites},
        models={workload.id: workload.model for workload in scenario.workloads},
        images=frozenset(w.id for w in scenario.workloads if w.unit == "image"),
        inputs=tuple(
            Input(**asdict(row)) for row in inputs(built.loaded, built.terms, prices, used)
        ),
        not_considered=tuple(
            NotConsidered(what=n.what, reason=n.reason) for n in built.not_considered
        ),
        confidence=scenario.sure,
        notices=notices(built, result),
        dropped=dropped,
        origin=origin_of(built.loaded, built.specification),
        configurations=built.origins,
    )


def _hardware(built: Built, result: MixResult) -> tuple[Hardware, ...]:
    """The catalog's figures of every system type in the mix."""
    catalog = built.loaded.catalog
    systems = {built.problem.pools[offer.pool].system for offer in result.offers}
    rows = []
    for row in map(catalog.system, sorted(systems)):
        shown = {name: getattr(row, name) for name in Hardware.model_fields if hasattr(row, name)}
        own = f"systems:{row.id}" in catalog.user_rows
        rows.append(Hardware(system=row.id, own=own, **shown))
    return tuple(rows)


def _checkpoints(built: Built, result: MixResult) -> tuple[Checkpoint, ...]:
    """The catalog's checkpoints of every model and format that the mix serves."""
    catalog, scenario = built.loaded.catalog, built.loaded.scenario
    models = {w.id: w.model for w in scenario.workloads if w.unit == "token"}
    served = set()
    for candidate in result.candidates:
        model = models.get(result.problem.workloads[candidate.workload].id)
        if model is not None and candidate.label.get("precision") is not None:
            served.add((model, str(candidate.label["precision"])))
    found = [row for key in sorted(served) if (row := catalog.checkpoint(*key)) is not None]
    return tuple(
        Checkpoint(
            model=row.model,
            precision=row.precision,
            repository=row.repository,
            source=row.source,
            as_of=row.as_of,
            note=row.notes,
        )
        for row in found
    )


def _offers(built: Built) -> dict[str, OfferFacts]:
    """Price and terms of every offer by its id."""
    loaded, prices = built.loaded, built.supply.prices
    systems = sorted({pool.system for pool in built.problem.pools})
    return {
        offer.id: OfferFacts(
            price_usd_per_system=price.usd_per_system or None,
            price_usd_per_gpu_h=price.usd_per_gpu_h or None,
            price_source=price.source,
            price_as_of=price.as_of,
            term_years=offer.term_years,
            includes=offer.included,
        )
        for offer in offers_of(loaded.scenario, loaded.catalog, systems)
        if (price := prices.get(offer.id)) is not None
    }
