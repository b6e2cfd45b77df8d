"""The plan a buyer reads: what to get, where, what it serves, what it costs, what is proven.

`Plan.from_mix` turns column values into named rows; what only other parts know (latency promises,
provenance, what was not considered, how many candidates were evaluated) comes in as `Extras`.
`to_json` has the keys of design section 5; a number that does not exist is null, never NaN.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from tokenfleet.mix.result import MixResult, tokens_per_year
from tokenfleet.mix.solver.highs import Status
from tokenfleet.problem_data import (
    SECONDS_PER_HOUR,
    Api,
    Candidate,
    Flow,
    ObjectiveKind,
    Pool,
    Problem,
    Replicas,
    Short,
    Systems,
)
from tokenfleet.verify.places import place_replicas

SCHEMA_VERSION = 2
Row = dict[str, Any]
_UNIT: dict[ObjectiveKind, str] = {
    "least_cost": "USD per year",
    "least_cost_per_token": "USD per million tokens",
    "most_tokens": "tokens per year",
    "most_value": "USD per year",
    "least_energy": "kWh per year",
    "least_carbon": "kg CO2e per year",
}


@dataclass(frozen=True)
class Extras:
    """What the plan shows and the mix does not know."""

    candidates_evaluated: int = 0
    candidates_kept: int = 0
    seconds: float | None = None
    slo: tuple[Row, ...] = ()
    provenance: tuple[Row, ...] = ()
    not_considered: tuple[Row, ...] = ()
    warnings: tuple[str, ...] = ()
    confidence: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    origin: Row | None = None
    configurations: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    verification: Row | None = None


@dataclass(frozen=True)
class Plan:
    """A mix in the user's words. Yearly figures; kW are means and peaks over the load blocks."""

    name: str
    status: Status
    interrupted: bool
    objective: ObjectiveKind
    objective_unit: str
    objective_value: float
    bound: float | None
    gap: float | None
    annual_cost_usd: float
    cost_per_mtok_output_usd: float | None
    cost_per_mtok_input_usd: float | None
    cost_per_mtok_total_usd: float | None
    tokens_per_year_output: float
    tokens_per_year_input: float
    tokens_per_year_total: float
    output_tokens_per_s_per_mw: float | None
    joules_per_output_token: float | None
    free_demand_scale_rps: float | None
    gpus: int
    systems: tuple[Row, ...]
    replicas: tuple[Row, ...]
    placement: tuple[Row, ...]
    sites: tuple[Row, ...]
    routing: tuple[Row, ...]
    unserved: tuple[Row, ...]
    cost_items: dict[str, float]
    capex_usd: float
    limits: tuple[Row, ...]
    best_single_system: Row | None
    candidates_evaluated: int
    candidates_kept: int
    dropped: dict[str, int]
    confidence: float | None  # of limits and rated throughput; None: the model's expectation
    slo: tuple[Row, ...]
    provenance: tuple[Row, ...]
    not_considered: tuple[Row, ...]
    warnings: tuple[str, ...]
    rounds: int
    seconds: float
    blocks: tuple[Row, ...]
    origin: Row | None  # of the scenario: what `tokenfleet simulate` checks it by
    verification: Row | None  # rounds of `verify="simulate"`
    schema_version: int = SCHEMA_VERSION

    @property
    def candidates(self) -> int:
        """Configurations that fit memory: the evaluated ones and those that a bound left out."""
        return self.candidates_evaluated + self.dropped.get("dominated", 0)

    @classmethod
    def from_mix(cls, mix: MixResult, extras: Extras | None = None) -> Plan:
        """Name everything in the mix."""
        extras = extras or Extras()
        reader = _Reader(mix)
        output = tokens_per_year(mix.problem, mix.values, "output")
        total = tokens_per_year(mix.problem, mix.values, "total")
        sites = reader.sites()
        systems = reader.systems()
        cost = mix.annual_cost_usd
        site_kw = sum(reader.mean_site_kw(s) for s in range(len(mix.problem.sites)))
        return cls(
            name=mix.problem.name,
            status=mix.status,
            interrupted=mix.interrupted,
            objective=mix.kind,
            objective_unit=_UNIT[mix.kind],
            objective_value=mix.value,
            bound=_finite(mix.bound),
            gap=_finite(mix.gap),
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
            gpus=sum(row["gpus"] for row in systems),
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

    def to_json(self) -> dict[str, Any]:
        """Plain lists, dicts and finite numbers."""
        plain: dict[str, Any] = json_ready(asdict(self))
        return plain


def json_ready(value: Any) -> Any:
    """Plain dicts, lists and numbers; one that is not finite becomes null."""
    if isinstance(value, dict):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _ratio(over: float, under: float) -> float | None:
    return over / under if under > 0 else None


def _per_mtok(cost: float, tokens: float) -> float | None:
    return _ratio(cost * 1e6, tokens)


_Kind = TypeVar("_Kind", Systems, Replicas, Flow, Api, Short)


class _Reader:
    """Reads the rows of a plan out of one mix."""

    def __init__(self, mix: MixResult) -> None:
        self.mix = mix
        self.problem: Problem = mix.problem
        self.blocks = range(len(mix.problem.blocks))
        hours = sum(block.hours for block in mix.problem.blocks)
        self.year_seconds = hours * SECONDS_PER_HOUR
        self._pool_systems: dict[int, list[float]] = {}
        for bought, counts in self._by_block(Systems).items():
            p = mix.problem.offers[bought.offer].pool
            sofar = self._pool_systems.get(p, [0.0] * len(counts))
            self._pool_systems[p] = [a + b for a, b in zip(sofar, counts, strict=True)]

    def _by_block(self, kind: type[_Kind]) -> dict[_Kind, list[float]]:
        """Values of a kind over the blocks, keyed by the label in its first block or scope."""
        table: dict[_Kind, list[float]] = {}
        for label, value in self.mix.values.items():
            if isinstance(label, kind):
                if isinstance(label, (Systems, Replicas)):
                    key, blocks = label._replace(scope=0), self.problem.scopes[label.scope].blocks
                else:
                    key, blocks = label._replace(block=0), (label.block,)
                row = table.setdefault(key, [0.0] * len(self.blocks))
                for b in blocks:
                    row[b] = value
        return dict(sorted(table.items()))

    def _of(self, label: Replicas | Flow) -> tuple[Pool, Candidate]:
        """The pool and the candidate that a label speaks of."""
        return self.problem.pools[label.pool], self.problem.candidates[label.candidate]

    def systems(self) -> tuple[Row, ...]:
        """Systems to get, by site and offer; `count` is the peak over the load blocks."""
        rows = []
        for bought, counts in self._by_block(Systems).items():
            offer = self.problem.offers[bought.offer]
            pool = self.problem.pools[offer.pool]
            count = round(max(counts))
            rows.append(
                {
                    "site": self.problem.sites[pool.site].id,
                    "system": pool.system,
                    "offer": offer.supply_group or offer.id,
                    "kind": offer.kind,
                    "pool": pool.id,
                    "count": count,
                    "gpus": count * pool.gpus_per_system,
                    "idle_it_kw": pool.idle_it_kw,
                    "pue": pool.pue,
                    "count_by_block": [round(n) for n in counts] if pool.elastic else None,
                }
            )
        return tuple(rows)

    def load_blocks(self) -> tuple[Row, ...]:
        """Load blocks, in the order of every `..._by_block` and of the rates of the routing."""
        return tuple(
            {
                "hours_per_year": block.hours,
                "lost_site": None
                if block.lost_site < 0
                else self.problem.sites[block.lost_site].id,
            }
            for block in self.problem.blocks
        )

    def replicas(self, configurations: Mapping[int, tuple[int, int]]) -> tuple[Row, ...]:
        """Replicas by site, workload and layout; `count` is the peak over the load blocks.

        `configurations` gives each candidate's number in the space and its latency group.
        """
        rows = []
        for label, counts in self._by_block(Replicas).items():
            pool, candidate = self._of(label)
            number, group = configurations.get(candidate.id, (None, None))
            rows.append(
                {
                    **candidate.label,
                    "site": self.problem.sites[pool.site].id,
                    "workload": self.problem.workloads[candidate.workload].id,
                    "system": pool.system,
                    "pool": pool.id,
                    "role": candidate.role,
                    "candidate": candidate.id,
                    "configuration": number,
                    "latency_group": group,
                    "energy_j_per_request": _by_class(self.problem, label.candidate),
                    "idle_w": candidate.idle_w,
                    "count": round(max(counts)),
                    "gpus": candidate.gpus,
                    "count_by_block": None if len(set(counts)) == 1 else [round(n) for n in counts],
                }
            )
        return tuple(rows)

    def _sizes(self) -> dict[tuple[int, int], dict[int, int]]:
        """Replicas by size, for each (pool, block)."""
        sizes: dict[tuple[int, int], dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for label, counts in self._by_block(Replicas).items():
            for b, n in enumerate(counts):
                sizes[(label.pool, b)][self.problem.candidates[label.candidate].gpus] += round(n)
        return sizes

    def placement(self) -> tuple[Row, ...]:
        """What stands in the systems of each pool at its fullest block, equal systems together."""
        fullest: dict[int, dict[int, int]] = {}
        for (p, _), counts in self._sizes().items():
            if sum(g * n for g, n in counts.items()) > sum(
                g * n for g, n in fullest.get(p, {}).items()
            ):
                fullest[p] = counts
        rows: list[Row] = []
        for p, counts in sorted(fullest.items()):
            pool = self.problem.pools[p]
            alike: dict[tuple[int, ...], int] = defaultdict(int)
            for standing in place_replicas(pool.gpus_per_system, counts):
                alike[tuple(standing)] += 1
            for standing_sizes, systems in sorted(alike.items(), reverse=True):
                held = {"pool": pool.id, "systems": systems}
                rows.append({**held, "replica_gpus": list(standing_sizes)})
        return tuple(rows)

    def _systems_in(self, p: int, b: int) -> float:
        counts = self._pool_systems.get(p)
        return counts[b] if counts else 0.0

    def _provisioned_kw(self, s: int, b: int) -> float:
        """kW held against the site's limit in block b, in the basis of the limit."""
        total = 0.0
        for p, pool in enumerate(self.problem.pools):
            if pool.site == s and not pool.hosted:
                basis = pool.pue if self.problem.sites[s].power_is_utility else 1.0
                total += self._systems_in(p, b) * pool.provisioned_it_kw * basis
        return total

    def _drawn_kw(self, s: int, b: int, *, hosted: bool) -> float:
        """Mean IT kW times PUE drawn in block b: idle, loaded idle and requests."""
        total = 0.0
        for p, pool in enumerate(self.problem.pools):
            if pool.site == s and (hosted or not pool.hosted):
                total += self._systems_in(p, b) * pool.idle_it_kw * pool.pue
        for replica, counts in self._by_block(Replicas).items():
            pool, candidate = self._of(replica)
            if pool.site == s and (hosted or not pool.hosted):
                total += counts[b] * candidate.idle_w / 1000.0 * pool.pue
        for flow, rates in self._by_block(Flow).items():
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

    def sites(self) -> tuple[Row, ...]:
        """Power of every site; drawn is the highest block's mean at the meter."""
        return tuple(
            {
                "site": site.id,
                "provisioned_kw": max(self._provisioned_kw(s, b) for b in self.blocks),
                "drawn_kw": max(self._drawn_kw(s, b, hosted=False) for b in self.blocks),
                "mean_drawn_kw_with_hosted": self.mean_site_kw(s),
                "power_limit_kw": _finite(site.power_limit_kw),
                "power_basis": "utility" if site.power_is_utility else "it",
            }
            for s, site in enumerate(self.problem.sites)
        )

    def routing(self) -> tuple[Row, ...]:
        """Requests/s of each class through each kind of replica or API, by load block."""
        rows = []
        for flow, rates in self._by_block(Flow).items():
            pool, candidate = self._of(flow)
            workload = self.problem.workloads[candidate.workload]
            rows.append(
                {
                    "workload": workload.id,
                    "class": workload.class_ids[flow.cls],
                    "site": self.problem.sites[pool.site].id,
                    "pool": pool.id,
                    "role": candidate.role,
                    "candidate": candidate.id,
                    "api": None,
                    "requests_per_s": rates,
                }
            )
        for sent, rates in self._by_block(Api).items():
            api = self.problem.apis[sent.api]
            workload = self.problem.workloads[api.workload]
            where = {"site": None, "pool": None, "role": "serve", "candidate": None, "api": api.id}
            named = {"workload": workload.id, "class": workload.class_ids[sent.cls]}
            rows.append({**named, **where, "requests_per_s": rates})
        return tuple(rows)

    def unserved(self) -> tuple[Row, ...]:
        """Priced shortfall by class and load block."""
        return tuple(
            {
                "workload": self.problem.workloads[short.workload].id,
                "class": self.problem.workloads[short.workload].class_ids[short.cls],
                "requests_per_s": rates,
            }
            for short, rates in self._by_block(Short).items()
        )

    def capex(self) -> float:
        """Capex of what is bought."""
        table, offers = self._by_block(Systems).items(), self.problem.offers
        return sum(max(counts) * offers[bought.offer].capex_usd for bought, counts in table)

    def limits(self) -> tuple[Row, ...]:
        """Every stated limit with what is used of it and what is left."""
        objective = self.problem.objective
        rows = [
            _limit("power_kw", site.id, max(self._provisioned_kw(s, b) for b in self.blocks),
                   site.power_limit_kw)
            for s, site in enumerate(self.problem.sites)
        ]  # fmt: skip
        rows += [
            _limit("racks", site.id, max(self._racks(s, b) for b in self.blocks), site.rack_limit)
            for s, site in enumerate(self.problem.sites)
        ]
        rows += self._supply_limits() + self._api_limits()
        if objective.capex_budget_usd is not None:
            rows.append(_limit("capex_usd", "all", self.capex(), objective.capex_budget_usd))
        if objective.annual_budget_usd is not None:
            cost = self.mix.annual_cost_usd
            rows.append(_limit("annual_cost_usd", "all", cost, objective.annual_budget_usd))
        return tuple(row for row in rows if row["limit"] is not None)

    def _racks(self, s: int, b: int) -> float:
        racks = 0
        for p, pool in enumerate(self.problem.pools):
            if pool.site == s and not pool.hosted:
                racks += math.ceil(self._systems_in(p, b) / pool.systems_per_rack - 1e-9)
        return float(racks)

    def _supply_limits(self) -> list[Row]:
        used: dict[str, list[float]] = {}
        limit: dict[str, float] = {}
        table = {bought.offer: counts for bought, counts in self._by_block(Systems).items()}
        for o, offer in enumerate(self.problem.offers):
            name = offer.supply_group or offer.id
            counts = table.get(o, [0.0] * len(self.blocks))
            sofar = used.get(name, [0.0] * len(self.blocks))
            used[name] = [a + b for a, b in zip(sofar, counts, strict=True)]
            limit[name] = min(limit.get(name, math.inf), offer.supply)
        return [_limit("supply_systems", name, max(n), limit[name]) for name, n in used.items()]

    def _api_limits(self) -> list[Row]:
        rows = []
        for a, api in enumerate(self.problem.apis):
            rates = [0.0] * len(self.blocks)
            for sent, row in self._by_block(Api).items():
                if sent.api == a:
                    rates = [x + y for x, y in zip(rates, row, strict=True)]
            rows.append(_limit("api_requests_per_s", api.id, max(rates), api.max_rps))
        return rows

    def best_single(self) -> Row | None:
        """The best plan of one system type beside the answer."""
        single = self.mix.best_single
        if single is None:
            return None
        systems: dict[str, int] = defaultdict(int)
        for label, value in single.values.items():
            if isinstance(label, Systems):
                name = self.problem.offers[
                    label.offer
                ].id  # per site: the same offer counts in each
                systems[name] = max(systems[name], round(value))
        difference = single.value - self.mix.value
        return {
            "system": single.system,
            "objective_value": single.value,
            "bound": _finite(single.bound),
            "difference": difference,
            "difference_relative": _ratio(difference, abs(self.mix.value)),
            "systems_by_offer": dict(systems),
        }


def _by_class(problem: Problem, c: int) -> dict[str, float]:
    """IT joules per request above idle, of the classes that candidate c admits."""
    candidate = problem.candidates[c]
    ids = problem.workloads[candidate.workload].class_ids
    pairs = zip(ids, candidate.energy_j, strict=True)
    return {name: float(joules) for name, joules in pairs if math.isfinite(joules)}


def _limit(what: str, where: str, used: float, limit: float) -> Row:
    if not math.isfinite(limit):
        return {"limit": None}
    headroom = limit - used
    share = _ratio(headroom, limit)
    return {
        "what": what,
        "where": where,
        "used": used,
        "limit": limit,
        "headroom": headroom,
        "headroom_share": share,
    }
