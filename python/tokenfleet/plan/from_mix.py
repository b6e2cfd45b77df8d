"""A solved mix in the user's words: column values become the rows of a plan.

What only other parts know (latency promises, provenance, what was not considered, how many
candidates were evaluated) comes in as `Extras`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from tokenfleet import problem_data as labels
from tokenfleet.mix.model import limits as families
from tokenfleet.mix.model.family import Amount, Place
from tokenfleet.mix.result import MixResult, tokens_per_year
from tokenfleet.plan.rows import (
    BestSingle,
    Limit,
    LoadBlock,
    NotConsidered,
    Origin,
    Placement,
    Plan,
    Promise,
    Proof,
    Provenance,
    Replicas,
    Route,
    SitePower,
    Systems,
    Unserved,
    Verification,
    finite,
)
from tokenfleet.problem_data import GOALS, SECONDS_PER_HOUR, Candidate, Pool, Problem
from tokenfleet.verify.places import place_replicas

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
class Extras:
    """What the plan shows and the mix does not know."""

    candidates_evaluated: int = 0
    candidates_kept: int = 0
    seconds: float | None = None
    slo: tuple[Promise, ...] = ()
    provenance: tuple[Provenance, ...] = ()
    not_considered: tuple[NotConsidered, ...] = ()
    warnings: tuple[str, ...] = ()
    confidence: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    origin: Origin | None = None
    configurations: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    verification: Verification | None = None


def plan_of(mix: MixResult, extras: Extras | None = None) -> Plan:
    """Names everything in the mix; `extras` is what it does not know."""
    extras = extras or Extras()
    reader = _Reader(mix)
    output = tokens_per_year(mix.problem, mix.values, "output")
    total = tokens_per_year(mix.problem, mix.values, "total")
    sites = reader.sites()
    systems = reader.systems()
    cost = mix.annual_cost_usd
    site_kw = sum(reader.mean_site_kw(s) for s in range(len(mix.problem.sites)))
    return Plan(
        name=mix.problem.name,
        status=cast(Proof, mix.status),  # a mix is a plan
        interrupted=mix.interrupted,
        objective=mix.kind,
        objective_unit=GOALS[mix.kind].unit,
        objective_value=mix.value,
        bound=finite(mix.bound),
        gap=finite(mix.gap),
        bound_check=mix.bound_check,
        annual_cost_usd=cost,
        cost_per_mtok_output_usd=_per_mtok(cost, output),
        cost_per_mtok_input_usd=_per_mtok(cost, total - output),
        cost_per_mtok_total_usd=_per_mtok(cost, total),
        tokens_per_year_output=output,
        tokens_per_year_input=total - output,
        tokens_per_year_total=total,
        output_tokens_per_s_per_mw=_ratio(output / reader.year_seconds, site_kw / 1000.0),
        joules_per_output_token=_ratio(site_kw * 1000.0 * reader.year_seconds, output),
        free_demand_scale_rps=mix.scale if any(w.free for w in mix.problem.workloads) else None,
        gpus=sum(row.gpus for row in systems),
        systems=systems,
        replicas=reader.replicas(extras.configurations),
        placement=reader.placement(),
        sites=sites,
        routing=reader.routing(),
        unserved=reader.unserved(),
        cost_items=dict(mix.cost_items),
        capex_usd=reader.capex(),
        limits=reader.limits(),
        best_single_system=reader.best_single(),
        candidates_evaluated=extras.candidates_evaluated,
        candidates_kept=extras.candidates_kept or len(mix.problem.candidates),
        dropped=dict(extras.dropped),
        confidence=extras.confidence,
        slo=extras.slo,
        provenance=extras.provenance,
        not_considered=extras.not_considered,
        warnings=(*mix.warnings, *extras.warnings),
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


_Kind = TypeVar("_Kind", labels.Systems, labels.Replicas, labels.Flow, labels.Api, labels.Short)


class _Use:
    """Numbers of a plan that its limits are held against (`family.Use`)."""

    def __init__(
        self,
        mix: MixResult,
        systems: Mapping[labels.Systems, Sequence[float]],
        requests: Mapping[labels.Api, Sequence[float]],
    ) -> None:
        self.problem = mix.problem
        self.blocks = range(len(mix.problem.blocks))
        self.annual_cost_usd = mix.annual_cost_usd
        self._systems = {bought.offer: counts for bought, counts in systems.items()}
        self._pools = _added((mix.problem.offers[x.offer].pool, row) for x, row in systems.items())
        self._requests = _added((sent.api, rates) for sent, rates in requests.items())

    def systems(self, o: int, b: int) -> float:
        """Systems under an offer in a load block."""
        return self._systems[o][b] if o in self._systems else 0.0

    def in_pool(self, p: int, b: int) -> float:
        """Systems of a pool in a load block."""
        return self._pools[p][b] if p in self._pools else 0.0

    def requests(self, a: int, b: int) -> float:
        """Requests/s of all classes through an API in a load block."""
        return self._requests[a][b] if a in self._requests else 0.0


def _added(rows: Iterable[tuple[int, Sequence[float]]]) -> dict[int, list[float]]:
    """Rows by block with the same key, added up."""
    sums: dict[int, list[float]] = {}
    for key, row in rows:
        sofar = sums.get(key, [0.0] * len(row))
        sums[key] = [a + b for a, b in zip(sofar, row, strict=True)]
    return sums


class _Reader:
    """Reads the rows of a plan out of one mix."""

    def __init__(self, mix: MixResult) -> None:
        self.mix = mix
        self.problem: Problem = mix.problem
        self.blocks = range(len(mix.problem.blocks))
        hours = sum(block.hours for block in mix.problem.blocks)
        self.year_seconds = hours * SECONDS_PER_HOUR
        self.use = _Use(mix, self._by_block(labels.Systems), self._by_block(labels.Api))

    def _by_block(self, kind: type[_Kind]) -> dict[_Kind, list[float]]:
        """Values of a kind over the blocks, keyed by the label in its first block or scope."""
        table: dict[_Kind, list[float]] = {}
        for label, value in self.mix.values.items():
            if isinstance(label, kind):
                if isinstance(label, (labels.Systems, labels.Replicas)):
                    key, blocks = label._replace(scope=0), self.problem.scopes[label.scope].blocks
                else:
                    key, blocks = label._replace(block=0), (label.block,)
                row = table.setdefault(key, [0.0] * len(self.blocks))
                for b in blocks:
                    row[b] = max(value, 0.0)  # below 0 is the solver's tolerance
        return dict(sorted(table.items()))

    def _of(self, label: labels.Replicas | labels.Flow) -> tuple[Pool, Candidate]:
        """The pool and the candidate that a label speaks of."""
        return self.problem.pools[label.pool], self.problem.candidates[label.candidate]

    def systems(self) -> tuple[Systems, ...]:
        """Systems to get, by site and offer; `count` is the peak over the load blocks."""
        rows = []
        for bought, counts in self._by_block(labels.Systems).items():
            offer = self.problem.offers[bought.offer]
            pool = self.problem.pools[offer.pool]
            count = round(max(counts))
            rows.append(
                Systems(
                    site=self.problem.sites[pool.site].id,
                    system=pool.system,
                    offer=offer.supply_group or offer.id,
                    kind=offer.kind,
                    pool=pool.id,
                    count=count,
                    gpus=count * pool.gpus_per_system,
                    idle_it_kw=pool.idle_it_kw,
                    pue=pool.pue,
                    count_by_block=_whole(counts) if pool.elastic else None,
                )
            )
        return tuple(rows)

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
        for label, counts in self._by_block(labels.Replicas).items():
            pool, candidate = self._of(label)
            number, group = configurations.get(candidate.id, (None, None))
            joules = _by_class(self.problem, candidate)
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
                )
            )
        return tuple(rows)

    def _sizes(self) -> dict[tuple[int, int], dict[int, int]]:
        """Replicas by size, for each (pool, block)."""
        sizes: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for label, counts in self._by_block(labels.Replicas).items():
            for b, n in enumerate(counts):
                sizes[(label.pool, b)][self.problem.candidates[label.candidate].gpus] += round(n)
        return sizes

    def placement(self) -> tuple[Placement, ...]:
        """What stands in the systems of each pool at its fullest block, equal systems together."""
        fullest: dict[int, dict[int, int]] = {}
        for (p, _), counts in self._sizes().items():
            if sum(g * n for g, n in counts.items()) > sum(
                g * n for g, n in fullest.get(p, {}).items()
            ):
                fullest[p] = counts
        rows = []
        for p, counts in sorted(fullest.items()):
            pool = self.problem.pools[p]
            alike: dict[tuple[int, ...], int] = defaultdict(int)
            for standing in place_replicas(pool.gpus_per_system, counts):
                alike[tuple(standing)] += 1
            for standing_sizes, systems in sorted(alike.items(), reverse=True):
                held = Placement(pool=pool.id, systems=systems, replica_gpus=standing_sizes)
                rows.append(held)
        return tuple(rows)

    def _drawn_kw(self, s: int, b: int, *, hosted: bool) -> float:
        """Mean IT kW times PUE drawn in block b: idle, loaded idle and requests."""
        total = 0.0
        for p, pool in enumerate(self.problem.pools):
            if pool.site == s and (hosted or not pool.hosted):
                total += self.use.in_pool(p, b) * pool.idle_it_kw * pool.pue
        for label, counts in self._by_block(labels.Replicas).items():
            pool, candidate = self._of(label)
            if pool.site == s and (hosted or not pool.hosted):
                total += counts[b] * candidate.idle_w / 1000.0 * pool.pue
        for flow, rates in self._by_block(labels.Flow).items():
            pool, candidate = self._of(flow)
            if pool.site == s and (hosted or not pool.hosted):
                watts = rates[b] * float(candidate.energy_j[flow.cls])
                total += watts / 1000.0 * pool.pue
        return total

    def mean_site_kw(self, s: int) -> float:
        """Mean kW at the meter over the year, rented systems included."""
        hours = [block.hours for block in self.problem.blocks]
        if not sum(hours):
            return 0.0
        drawn = (self._drawn_kw(s, b, hosted=True) * hours[b] for b in self.blocks)
        return sum(drawn) / sum(hours)

    def sites(self) -> tuple[SitePower, ...]:
        """Power of every site; drawn is the highest block's mean at the meter."""
        places = families.power_places(self.problem)
        return tuple(
            SitePower(
                site=site.id,
                provisioned_kw=float(families.power_used(self.use, place)),
                drawn_kw=max(self._drawn_kw(s, b, hosted=False) for b in self.blocks),
                mean_drawn_kw_with_hosted=self.mean_site_kw(s),
                power_limit_kw=finite(site.power_limit_kw),
                power_basis="utility" if site.power_is_utility else "it",
            )
            for s, (site, place) in enumerate(zip(self.problem.sites, places, strict=True))
        )

    def routing(self) -> tuple[Route, ...]:
        """Requests/s of each class through each kind of replica or API, by load block."""
        rows = []
        for flow, rates in self._by_block(labels.Flow).items():
            pool, candidate = self._of(flow)
            workload = self.problem.workloads[candidate.workload]
            rows.append(
                Route(
                    workload=workload.id,
                    cls=workload.class_ids[flow.cls],
                    site=self.problem.sites[pool.site].id,
                    pool=pool.id,
                    role=candidate.role,
                    candidate=candidate.id,
                    api=None,
                    requests_per_s=tuple(rates),
                )
            )
        for sent, rates in self._by_block(labels.Api).items():
            api = self.problem.apis[sent.api]
            workload = self.problem.workloads[api.workload]
            rows.append(
                Route(
                    workload=workload.id,
                    cls=workload.class_ids[sent.cls],
                    site=None,
                    pool=None,
                    role="serve",
                    candidate=None,
                    api=api.id,
                    requests_per_s=tuple(rates),
                )
            )
        return tuple(rows)

    def unserved(self) -> tuple[Unserved, ...]:
        """Priced shortfall by class and load block."""
        return tuple(
            Unserved(
                workload=self.problem.workloads[short.workload].id,
                cls=self.problem.workloads[short.workload].class_ids[short.cls],
                requests_per_s=tuple(rates),
            )
            for short, rates in self._by_block(labels.Short).items()
        )

    def capex(self) -> float:
        """Capex of what is bought."""
        return float(families.capex_used(self.use))

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


def _by_class(problem: Problem, candidate: Candidate) -> dict[str, float]:
    """IT joules per request above idle, of the classes that a candidate admits."""
    ids = problem.workloads[candidate.workload].class_ids
    pairs = zip(ids, candidate.energy_j, strict=True)
    return {name: float(joules) for name, joules in pairs if math.isfinite(joules)}


def _whole(counts: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(n) for n in counts)


def _limit(what: str, place: Place, used: Amount) -> Limit:
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
