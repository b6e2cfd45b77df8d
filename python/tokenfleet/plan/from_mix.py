"""A solved mix in the user's words: column values become the rows of a plan.

What only other parts know (latency promises, provenance, what was not considered, how many
candidates were evaluated) comes in as `Extras`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, cast

from tokenfleet import problem_data as labels
from tokenfleet.files.plain import finite
from tokenfleet.mix.model import limits as families
from tokenfleet.mix.model.family import Amount, StatedLimit
from tokenfleet.mix.result import MixResult, tokens_per_year
from tokenfleet.plan.by_block import PlanNumbers, PlanUsage
from tokenfleet.plan.known_rows import (
    Input,
    NotConsidered,
    Notice,
    Origin,
    OtherAnswer,
    Provenance,
    Verification,
)
from tokenfleet.plan.ledger import Ledger
from tokenfleet.plan.notices import inherited
from tokenfleet.plan.rows import (
    BestSingle,
    Checkpoint,
    Hardware,
    Limit,
    LoadBlock,
    Placement,
    Plan,
    Promise,
    Proof,
    Replicas,
    Route,
    Site,
    Systems,
    Unserved,
    Way,
    Without,
    WorkloadTotal,
)
from tokenfleet.problem_data import (
    GOALS,
    SECONDS_PER_HOUR,
    Candidate,
    OfferData,
    Problem,
    in_blocks,
)
from tokenfleet.verify.places import place_replicas

ENERGY = ("energy", "carbon", "water")  # cost items that follow the energy drawn
# What a layout is known by; measured columns have no layout, and modelled ones no measured rate.
_LAYOUT = (
    "engine",
    "precision",
    "kv_dtype",
    "tp",
    "pp",
    "ep",
    "attention_dp",
    "speculative_depth",
    "ttft_split",
    "batch_limit",
    "capacity",
    "rate_rps",
    "source",
)


@dataclass(frozen=True)
class OfferFacts:
    """Price and terms of an offer, under the names that they have in a row of systems."""

    price_usd_per_system: float | None = None
    price_usd_per_gpu_h: float | None = None
    price_source: str | None = None
    price_as_of: str | None = None
    term_years: float | None = None
    includes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extras:
    """What the plan shows and the mix does not know."""

    as_of: str | None = None
    price_vintage: str | None = None
    candidates_evaluated: int = 0
    candidates_kept: int = 0
    seconds: float | None = None
    slo: tuple[Promise, ...] = ()
    provenance: tuple[Provenance, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    not_considered: tuple[NotConsidered, ...] = ()
    hardware: tuple[Hardware, ...] = ()
    offers: Mapping[str, OfferFacts] = field(default_factory=dict)  # by id
    regions: Mapping[str, str] = field(default_factory=dict)  # by site
    models: Mapping[str, str] = field(default_factory=dict)  # by workload
    images: frozenset[str] = frozenset()  # workloads whose requests ask for one image each
    inputs: tuple[Input, ...] = ()
    notices: tuple[Notice, ...] = ()
    confidence: float | None = None
    other: OtherAnswer | None = None
    ways: tuple[Way, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    origin: Origin | None = None
    configurations: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    verification: Verification | None = None


def plan_of(mix: MixResult, extras: Extras | None = None) -> Plan:
    """Names everything in the mix; `extras` is what it does not know."""
    extras = extras or Extras()
    reader = _Reader(mix, extras)
    output = tokens_per_year(mix.problem, mix.values, "output")
    total = tokens_per_year(mix.problem, mix.values, "total")
    sites = reader.sites()
    systems, routing, unserved = reader.systems(), reader.routing(), reader.unserved()
    replicas = reader.replicas(extras.configurations)
    cost = mix.annual_cost_usd
    site_kw = sum(reader.mean_site_kw(s) for s in range(len(mix.problem.sites)))
    workloads = reader.workloads(replicas, routing, unserved)
    of_images = [row.annual_cost_usd for row in workloads if row.images_per_year is not None]
    for_tokens = cost - sum(of_images) if of_images else cost
    return Plan(
        name=mix.problem.name,
        as_of=extras.as_of,
        price_vintage=extras.price_vintage,
        status=cast(Proof, mix.status),  # a mix is a plan
        interrupted=mix.interrupted,
        objective=mix.kind,
        objective_unit=GOALS[mix.kind].unit,
        objective_value=mix.value,
        best_objective_value=mix.best_value,
        bound=finite(mix.bound),
        gap=finite(mix.gap),
        bound_check=mix.bound_check,
        annual_cost_usd=cost,
        cost_per_mtok_output_usd=_per_mtok(for_tokens, output),
        cost_per_mtok_input_usd=_per_mtok(for_tokens, total - output),
        cost_per_mtok_total_usd=_per_mtok(for_tokens, total),
        tokens_per_year_output=output,
        tokens_per_year_input=total - output,
        tokens_per_year_total=total,
        output_tokens_per_s_per_mw=_ratio(output / reader.year_seconds, site_kw / 1000.0),
        joules_per_output_token=_ratio(site_kw * 1000.0 * reader.year_seconds, output),
        free_demand_scale_rps=mix.scale if any(w.free for w in mix.problem.workloads) else None,
        gpus=sum(row.gpus for row in systems),
        systems=systems,
        replicas=replicas,
        placement=reader.placement(),
        hardware=extras.hardware,
        sites=sites,
        routing=routing,
        unserved=unserved,
        workloads=workloads,
        cost_items=dict(mix.cost_items),
        capex_usd=reader.capex(),
        limits=reader.limits(),
        best_single_system=reader.best_single(),
        ways=extras.ways,
        without=reader.without(),
        candidates_evaluated=extras.candidates_evaluated,
        candidates_kept=extras.candidates_kept or len(mix.problem.candidates),
        dropped=dict(extras.dropped),
        confidence=extras.confidence,
        other=extras.other,
        slo=extras.slo,
        provenance=extras.provenance,
        checkpoints=extras.checkpoints,
        not_considered=extras.not_considered,
        inputs=extras.inputs,
        warnings=(
            *(Notice(kind="search", text=text) for text in mix.warnings),
            *extras.notices,
            *inherited(systems, extras.provenance),
        ),
        rounds=mix.rounds,
        seconds=mix.seconds if extras.seconds is None else extras.seconds,
        blocks=reader.load_blocks(),
        origin=extras.origin,
        verification=extras.verification,
    )


def _ratio(over: float, under: float) -> float | None:
    return over / under if under > 0 else None


def _per_mtok(cost: float, tokens: float) -> float | None:
    return _ratio(cost * 1e6, tokens)


class _Reader:
    """Reads the rows of a plan out of one mix."""

    def __init__(self, mix: MixResult, extras: Extras) -> None:
        self.mix = mix
        self.extras = extras
        self.problem: Problem = mix.problem
        self.numbers = PlanNumbers(mix)
        self.ledger = Ledger(mix, self.numbers)
        self.use = PlanUsage(mix, self.numbers)
        self.blocks = self.numbers.blocks
        self.year_seconds = sum(self.numbers.hours) * SECONDS_PER_HOUR

    def systems(self) -> tuple[Systems, ...]:
        """Systems to get, by site and offer; `count` is the peak over the load blocks."""
        rows = []
        for o, counts in self.numbers.systems.items():
            offer = self.problem.offers[o]
            pool = self.problem.pools[offer.pool]
            count, items = round(max(counts)), self.ledger.systems[o]
            kwh = self._it_kwh(o)
            rows.append(
                Systems(
                    site=self.problem.sites[pool.site].id,
                    system=pool.system,
                    offer=offer.stated_as,
                    kind=offer.kind,
                    pool=pool.id,
                    count=count,
                    gpus=count * pool.gpus_per_system,
                    idle_it_kw=pool.idle_it_kw,
                    pue=pool.pue,
                    count_by_block=_whole(counts) if pool.elastic else None,
                    hosted=pool.hosted,
                    provisioned_it_kw=pool.provisioned_it_kw,
                    systems_per_rack=finite(pool.systems_per_rack),
                    **asdict(self.extras.offers.get(offer.supply_group, OfferFacts())),
                    hours_per_year=self.numbers.over_year(counts),
                    billed_hours_per_year=self.numbers.over_year(_billed(offer, counts)),
                    it_kwh_per_year=kwh,
                    energy_usd_per_kwh_it=_ratio(sum(items.get(i, 0.0) for i in ENERGY), kwh),
                    capex_usd=max(counts) * offer.capex_usd,
                    cost_items_usd=dict(sorted(items.items())),
                    annual_cost_usd=sum(items.values()),
                )
            )
        return tuple(rows)

    def _it_kwh(self, o: int) -> float:
        """IT energy of an offer's systems over the year, with what runs in them."""
        numbers, p = self.numbers, self.problem.offers[o].pool
        everything = numbers.over_year(numbers.systems_in(p))
        drawn = numbers.over_year(numbers.idle_kw[p]) + numbers.over_year(numbers.running_kw[p])
        return drawn * (_ratio(numbers.over_year(numbers.systems[o]), everything) or 0.0)

    def load_blocks(self) -> tuple[LoadBlock, ...]:
        """Load blocks, in the order of every `..._by_block` and of the rates of the routing."""
        return tuple(
            LoadBlock(
                hours_per_year=block.hours,
                lost_site=None if block.lost_site < 0 else self.problem.sites[block.lost_site].id,
            )
            for block in self.problem.blocks
        )

    def replicas(self, configurations: Mapping[int, tuple[int, int]]) -> tuple[Replicas, ...]:
        """Replicas by site, workload and layout; `count` is the peak over the load blocks.

        `configurations` gives each candidate's number in the space and its latency group.
        """
        rows = []
        for (p, c), counts in self.numbers.replicas.items():
            candidate, pool = self.problem.candidates[c], self.problem.pools[p]
            number, group = configurations.get(candidate.id, (None, None))
            joules, (mean, loads) = _by_class(self.problem, candidate), self._load(p, c)
            named: dict[str, Any] = {
                **dict.fromkeys(_LAYOUT),
                "classes": tuple(joules),
                **candidate.label,
                "workload": self.problem.workloads[candidate.workload].id,
                "system": pool.system,
                "role": candidate.role,
            }
            rows.append(
                Replicas(
                    **named,
                    site=self.problem.sites[pool.site].id,
                    pool=pool.id,
                    candidate=candidate.id,
                    configuration=number,
                    latency_group=group,
                    energy_j_per_request=joules,
                    idle_w=candidate.idle_w,
                    count=round(max(counts)),
                    gpus=candidate.gpus,
                    count_by_block=None if len(set(counts)) == 1 else _whole(counts),
                    load_mean=mean,
                    load_peak=max(loads, default=0.0),
                    load_by_block=loads,
                )
            )
        return tuple(rows)

    def _load(self, p: int, c: int) -> tuple[float, tuple[float, ...]]:
        """Load of replicas over what their latency limits allow: over the year, and by block."""
        load, numbers = self.problem.candidates[c].load, self.numbers
        busy = [0.0] * len(self.blocks)
        for k in numbers.flows_of.get((p, c), ()):
            for b, rate in enumerate(numbers.flows[p, c, k]):
                busy[b] += float(load[k]) * rate
        speed = self.problem.pools[p].speed
        busy = [b / (speed[i] if isinstance(speed, tuple) else speed) for i, b in enumerate(busy)]
        counts = numbers.replicas[p, c]
        shares = tuple(work / n if n > 0 else 0.0 for work, n in zip(busy, counts, strict=True))
        there = numbers.over_year(counts)
        mean = numbers.over_year(busy) / there if there > 0 else 0.0
        return mean, shares

    def _sizes(self) -> dict[tuple[int, int], dict[int, int]]:
        """Replicas by size, for each (pool, block)."""
        sizes: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for (p, c), counts in self.numbers.replicas.items():
            for b, n in enumerate(counts):
                sizes[(p, b)][self.problem.candidates[c].gpus] += round(n)
        return sizes

    def placement(self) -> tuple[Placement, ...]:
        """What stands in the systems of each pool at its fullest block, equal systems together."""
        fullest: dict[int, tuple[int, dict[int, int]]] = {}
        for (p, b), counts in self._sizes().items():
            gpus = sum(g * n for g, n in counts.items())
            if p not in fullest or gpus > sum(g * n for g, n in fullest[p][1].items()):
                fullest[p] = b, counts
        rows = []
        for p, (b, counts) in sorted(fullest.items()):
            pool = self.problem.pools[p]
            alike: dict[tuple[int, ...], int] = defaultdict(int)
            for standing in place_replicas(pool.gpus_per_system, counts):
                alike[tuple(standing)] += 1
            spare = round(self.numbers.systems_in(p)[b]) - sum(alike.values())
            if spare > 0:
                alike[()] = spare
            for standing_sizes, systems in sorted(alike.items(), reverse=True):
                held = Placement(pool=pool.id, systems=systems, replica_gpus=standing_sizes)
                rows.append(held)
        return tuple(rows)

    def _drawn_kw(self, s: int, b: int, *, hosted: bool) -> float:
        """Mean kW drawn at the meter in block b: idle systems, loaded replicas and requests."""
        numbers = self.numbers
        return sum(
            (numbers.idle_kw[p][b] + numbers.running_kw[p][b]) * pool.pue
            for p, pool in enumerate(self.problem.pools)
            if pool.site == s and (hosted or not pool.hosted)
        )

    def mean_site_kw(self, s: int) -> float:
        """Mean kW at the meter over the year, rented systems included."""
        hours = sum(self.numbers.hours)
        drawn = [self._drawn_kw(s, b, hosted=True) for b in self.blocks]
        return self.numbers.over_year(drawn) / hours if hours else 0.0

    def sites(self) -> tuple[Site, ...]:
        """Power of every site; drawn is the highest block's mean at the meter."""
        places = families.power_places(self.problem)
        drawn = [
            tuple(self._drawn_kw(s, b, hosted=False) for b in self.blocks)
            for s in range(len(places))
        ]
        return tuple(
            Site(
                site=site.id,
                region=self.extras.regions.get(site.id),
                provisioned_kw=float(families.power_used(self.use, place)),
                drawn_kw=max(drawn[s]),
                drawn_kw_by_block=drawn[s],
                mean_drawn_kw_with_hosted=self.mean_site_kw(s),
                power_limit_kw=finite(site.power_limit_kw),
                power_basis="utility" if site.power_is_utility else "it",
                contracted_power_usd_per_year=site.contracted_power_usd_per_year
                * self.problem.years,
            )
            for s, (site, place) in enumerate(zip(self.problem.sites, places, strict=True))
        )

    def routing(self) -> tuple[Route, ...]:
        """Requests/s of each class through each kind of replica or API, by load block."""
        rows = []
        for (p, c, k), rates in self.numbers.flows.items():
            candidate, pool = self.problem.candidates[c], self.problem.pools[p]
            workload = self.problem.workloads[candidate.workload]
            rows.append(
                Route(
                    workload=workload.id,
                    cls=workload.class_ids[k],
                    site=self.problem.sites[pool.site].id,
                    pool=pool.id,
                    role=candidate.role,
                    candidate=candidate.id,
                    api=None,
                    requests_per_s=tuple(rates),
                    **self._year(
                        candidate.workload, k, rates, delivered=candidate.role != "prefill"
                    ),
                    cost_usd_per_year=sum(self.ledger.flows[p, c, k].values()),
                )
            )
        for (a, k), rates in self.numbers.apis.items():
            api = self.problem.apis[a]
            workload = self.problem.workloads[api.workload]
            rows.append(
                Route(
                    workload=workload.id,
                    cls=workload.class_ids[k],
                    site=None,
                    pool=None,
                    role="serve",
                    candidate=None,
                    api=api.id,
                    requests_per_s=tuple(rates),
                    **self._year(api.workload, k, rates),
                    cost_usd_per_year=sum(self.ledger.apis[a, k].values()),
                )
            )
        return tuple(rows)

    def _year(
        self, w: int, k: int, rates: list[float], *, delivered: bool = True
    ) -> dict[str, float]:
        """Requests and tokens of a year; tokens are counted where a request is delivered."""
        requests, workload = self.numbers.requests(rates), self.problem.workloads[w]
        counted = requests if delivered else 0.0
        return {
            "requests_per_year": requests,
            "output_tokens_per_year": counted * float(workload.output_tokens[k]),
            "input_tokens_per_year": counted * float(workload.input_tokens[k]),
        }

    def unserved(self) -> tuple[Unserved, ...]:
        """Priced shortfall by class and load block."""
        return tuple(
            Unserved(
                workload=self.problem.workloads[w].id,
                cls=self.problem.workloads[w].class_ids[k],
                requests_per_s=tuple(rates),
                requests_per_year=self.numbers.requests(rates),
                cost_usd_per_year=sum(self.ledger.unserved[w, k].values()),
            )
            for (w, k), rates in self.numbers.unserved.items()
        )

    def workloads(
        self, replicas: Sequence[Replicas], routing: Sequence[Route], unserved: Sequence[Unserved]
    ) -> tuple[WorkloadTotal, ...]:
        """What each workload gets, and what it pays by the rule of `ledger`."""
        runs, sent, left = _by_workload(replicas), _by_workload(routing), _by_workload(unserved)
        totals = (
            _workload_total(
                (name, self.extras.models.get(name)), items, runs[name], sent[name], left[name]
            )
            for name, items in zip(
                (workload.id for workload in self.problem.workloads),
                self.ledger.by_workload(),
                strict=True,
            )
        )
        return tuple(_in_images(t) if t.workload in self.extras.images else t for t in totals)

    def capex(self) -> float:
        """Capex of what is bought."""
        return float(families.capex_used(self.use))

    def without(self) -> tuple[Without, ...]:
        """What plans without some trait of this one cost at least."""
        sign = GOALS[self.mix.kind].sign
        return tuple(
            Without(
                what=row.what,
                workloads=row.workloads,
                bound=row.bound,
                difference_relative=None
                if row.bound is None
                else sign * (row.bound - self.mix.value) / max(abs(self.mix.value), 1e-9),
            )
            for row in self.mix.without
        )

    def limits(self) -> tuple[Limit, ...]:
        """Every stated limit with what is used of it and what is left."""
        return tuple(
            _limit(family.key, place, family.used(self.use, place))
            for family in families.FAMILIES
            if family.used is not None
            for place in family.stated(self.problem)
        )

    def best_single(self) -> BestSingle | None:
        """The best plan of one system type beside the answer."""
        single = self.mix.best_single
        if single is None:
            return None
        systems: dict[str, int] = defaultdict(int)
        for label, value in single.values.items():
            if isinstance(label, labels.Systems):
                # per site: the same offer counts in each
                name = self.problem.offers[label.offer].id
                systems[name] = max(systems[name], round(value))
        difference = single.value - self.mix.value
        return BestSingle(
            system=single.system,
            objective_value=single.value,
            bound=finite(single.bound),
            difference=difference,
            difference_relative=_ratio(difference, abs(self.mix.value)),
            systems_by_offer=dict(systems),
        )


_Of = TypeVar("_Of", Replicas, Route, Unserved)


def _by_workload(rows: Iterable[_Of]) -> dict[str, list[_Of]]:
    found: dict[str, list[_Of]] = defaultdict(list)
    for row in rows:
        found[row.workload].append(row)
    return found


def _workload_total(
    of: tuple[str, str | None],
    items: Mapping[str, float],
    replicas: Sequence[Replicas],
    routing: Sequence[Route],
    unserved: Sequence[Unserved],
) -> WorkloadTotal:
    """The total of a workload and its model."""
    delivered = [row for row in routing if row.role != "prefill"]
    requests = sum(row.requests_per_year for row in delivered)
    hosted = sum(row.requests_per_year for row in delivered if row.api is not None)
    output = sum(row.output_tokens_per_year for row in routing)
    given = sum(row.input_tokens_per_year for row in routing)
    cost, held = sum(items.values()), sum(row.count * row.gpus for row in replicas)
    loads = sum(row.load_mean * row.count * row.gpus for row in replicas)
    return WorkloadTotal(
        workload=of[0],
        model=of[1],
        requests_per_year=requests,
        unserved_requests_per_year=sum(row.requests_per_year for row in unserved),
        api_share=_ratio(hosted, requests),
        output_tokens_per_year=output,
        input_tokens_per_year=given,
        engines=tuple(sorted({row.engine for row in replicas if row.engine is not None})),
        gpus=held,
        load_mean=_ratio(loads, held),
        cost_items_usd=dict(sorted(items.items())),
        annual_cost_usd=cost,
        cost_per_mtok_output_usd=_per_mtok(cost, output),
        cost_per_mtok_input_usd=_per_mtok(cost, given),
        cost_per_mtok_total_usd=_per_mtok(cost, output + given),
    )


def _in_images(total: WorkloadTotal) -> WorkloadTotal:
    """The total of a workload whose requests ask for one image each."""
    images = total.requests_per_year
    price = _ratio(1e3 * total.annual_cost_usd, images)
    return total.model_copy(
        update={"images_per_year": images, "cost_per_thousand_images_usd": price}
    )


def _by_class(problem: Problem, candidate: Candidate) -> dict[str, float]:
    """IT joules per request above idle, of the classes that a candidate admits."""
    ids = problem.workloads[candidate.workload].class_ids
    pairs = zip(ids, candidate.energy_j, strict=True)
    return {name: float(joules) for name, joules in pairs if math.isfinite(joules)}


def _billed(offer: OfferData, counts: Sequence[float]) -> list[float]:
    """Systems of an offer by block, each as often as an hour of it is billed."""
    each = in_blocks(offer.billed_per_hour, len(counts))
    return [count * billed for count, billed in zip(counts, each, strict=True)]


def _whole(counts: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(n) for n in counts)


def _limit(what: str, place: StatedLimit, used: Amount) -> Limit:
    """A limit as a row."""
    left = place.limit - float(used)
    return Limit(
        what=what,
        where=place.name,
        used=float(used),
        limit=place.limit,
        headroom=left,
        headroom_share=_ratio(left, place.limit),
    )
