"""The mix problem as plain numbers, and the labels of the numbers that answer it.

`Problem` is the only input of the model, the solver and `verify`; what they hand on is a number for
each label (`Systems`, `Replicas`, `Flow` and so on).

Names have become indices here: `Pool.site` points into `Problem.sites`, `Candidate.workload`
into `Problem.workloads`, `OfferData.pool` into `Problem.pools`. Units are in the field names;
a year is 8,760 h. `math.inf` means unlimited (a limit) or impossible (a load or an API price);
`None` means that the requirement was not stated. Nothing here is ever NaN. A price that may
differ by load block (`ByBlock`) is one number, which holds in all of them, or a tuple of one number
per block: `0.1`, or `(0.2, 0.08)` where the first of two blocks is the dear one.

Symbols used by the model: b load block, s site, p pool, o offer, c candidate, w workload,
k request class of a workload.

A field's type also says what is better: `Less[float]`, `More[float]`, `Equal[int]`. From that
`mix.model.better` makes which system types may be left out, which pools are copies of one another
and the order of the columns. **A field that says nothing is safe:** two rows may then take each
other's place only where both hold its default, or where it is equal if it has none.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Role = Literal["serve", "prefill", "decode"]
ObjectiveKind = Literal[
    "least_cost",
    "least_cost_per_token",
    "most_tokens",
    "most_value",
    "least_energy",
    "least_carbon",
]
Denominator = Literal["output", "total"]
BoundCheck = Literal["prices", "search", "none"]  # what confirmed a bound, see `verify.bound`
Figure = Literal["cost", "energy", "carbon", "tokens", "value"]  # of a year: $, kWh, kg, 1, $


@dataclass(frozen=True)
class Goal:
    """What is best: the least, or the most, of a weighted sum of yearly figures.

    With `per` it is that sum over another figure, as in $ per million tokens.
    """

    words: str
    unit: str
    of: Mapping[Figure, float]  # weights
    most: bool = False
    per: Figure | None = None
    per_amount: float = 1.0  # of the figure under the line

    @property
    def sign(self) -> float:
        """1 where less is better, -1 where more is."""
        return -1.0 if self.most else 1.0

    @property
    def is_cost(self) -> bool:
        """Whether it is what is paid and nothing else."""
        return set(self.of) == {"cost"}

    @property
    def counts_energy(self) -> bool:
        """Whether energy counts for itself, so that unknown power must not pass for none."""
        return not {"energy", "carbon"}.isdisjoint(self.of)

    @property
    def gains_by_volume(self) -> bool:
        """Whether to serve more of a free demand than its least may be better."""
        return self.most or self.per is not None


GOALS: Mapping[ObjectiveKind, Goal] = {
    "least_cost": Goal("least cost", "USD per year", {"cost": 1.0}),
    "least_cost_per_token": Goal(
        "least cost per token", "USD per million tokens", {"cost": 1.0}, per="tokens",
        per_amount=1e6,
    ),
    "most_tokens": Goal("most tokens", "tokens per year", {"tokens": 1.0}, most=True),
    "most_value": Goal("most value", "USD per year", {"value": 1.0, "cost": -1.0}, most=True),
    "least_energy": Goal("least energy", "kWh per year", {"energy": 1.0}),
    "least_carbon": Goal("least carbon", "kg CO2e per year", {"carbon": 1.0}),
}  # fmt: skip


@dataclass(frozen=True)
class About:
    """What a field says beside its value; several of them add up."""

    better: Literal["", "less", "more", "equal", "unlimited", "indifferent"] = ""
    refers_to: str = ""  # the table that its index points into
    by_class: bool = False  # its last axis is over the request classes of the workload
    by_block: bool = False  # may have a first axis over the load blocks; without: same in all
    unless: str = ""  # does not matter where this other field holds
    shared_by: str = ""  # rows with one value of this other field share the limit
    decides: int = 0  # in the canonical order: earlier (-1) or later (1) than the other fields


# What is better must hold whatever the objective and the limits are.
T = TypeVar("T")
Less = Annotated[T, About("less")]  # the less, the better: a price, a load, a draw of power
More = Annotated[T, About("more")]  # the more, the better: quality, systems per rack
Equal = Annotated[T, About("equal")]  # only equals may take each other's place
Limit = Annotated[T, About("unlimited")]  # others count against it: the unlimited take over more
Name = Annotated[T, About("indifferent")]  # what people call it, or where to look; not compared
First = Annotated[T, About(decides=-1)]  # classes are cut by this before all else
Last = Annotated[T, About(decides=1)]  # so that rows keep their order where only this changes

SiteIndex = Annotated[int, About(refers_to="sites")]
SiteIndices = Annotated[tuple[int, ...], About(refers_to="sites")]
PoolIndex = Annotated[int, About(refers_to="pools")]
WorkloadIndex = Annotated[int, About(refers_to="workloads")]
SystemType = Annotated[str, About(refers_to="systems")]
ByClass = Annotated[FloatArray, About(by_class=True)]
BY_BLOCK = About(by_block=True)
ByBlock = Annotated[float | tuple[float, ...], BY_BLOCK]
SharedInGroup = Annotated[T, About(shared_by="supply_group")]
AtOwnSite = Annotated[T, About(unless="hosted")]  # the provider's hall has room of its own

HOURS_PER_YEAR = 8760.0
SECONDS_PER_HOUR = 3600.0
JOULES_PER_KWH = 3.6e6
#: What a plan is warned of whose systems are nearest to those that stand.
KEPT = "systems that stand were kept: a better plan within the tolerance would move more of them"


def mean_price(price: ByBlock, hours: Sequence[float]) -> float:
    """The price of what is drawn evenly for so many hours in each block; 0 where for none.

    `mean_price((0.2, 0.08), (10, 14))` is 0.13.
    """
    if not isinstance(price, tuple):
        return price
    total = sum(hours)
    paid = sum(usd * drawn for usd, drawn in zip(price, hours, strict=True))
    return paid / total if total > 0 else 0.0


def in_blocks(price: ByBlock, blocks: int) -> tuple[float, ...]:
    """The price in each of so many blocks: `in_blocks(0.1, 2)` is (0.1, 0.1)."""
    return price if isinstance(price, tuple) else (price,) * blocks


def scaled(price: ByBlock, factor: float) -> ByBlock:
    """So many times the price, in every block."""
    return tuple(usd * factor for usd in price) if isinstance(price, tuple) else price * factor


@dataclass(frozen=True)
class Block:
    """One load block: so many hours a year, with or without a site.

    A year is all blocks of one period and one outlook. Yearly totals count each hour of a block
    `weight` times: a dollar paid later, or only in some futures, counts for less.
    """

    hours: float  # per year; 0 for a contingency, which must be served and costs nothing
    lost_site: int = -1  # site that is out in this block; -1: none
    weight: float = 1.0
    period: int = 0
    outlook: int = 0

    @property
    def counted_hours(self) -> float:
        """Hours that count in a yearly total of money, energy, carbon or tokens."""
        return self.hours * self.weight


@dataclass(frozen=True)
class Scope:
    """The load blocks in which one number of a plan holds.

    Systems that are bought stand in every block; systems on demand are counted block by block.
    `Problem.scopes` is the table of them, and the `scope` of a label points into it.
    """

    blocks: tuple[int, ...]
    hours: float  # hours that one unit is paid for, of the 8,760 of a yearly price


@dataclass(frozen=True, eq=False)
class WorkloadData:
    """Demand of one workload by block and class.

    Fixed demand: `demand_rps[b, k]` is in requests/s. Free demand: it is the relative shape that
    the common scale theta (requests/s) multiplies, and `min_scale <= theta <= max_scale`.
    """

    id: Name[str]
    class_ids: Name[tuple[str, ...]]
    demand_rps: Last[ByClass]  # (B, K)
    output_tokens: ByClass  # (K,) mean per request
    input_tokens: First[ByClass]  # (K,) mean per request
    value_usd_per_request: ByClass  # (K,) at quality 1; 0 when no value is stated
    free: bool = False
    min_scale: float = 0.0  # requests/s
    max_scale: float = math.inf  # requests/s
    shortfall_usd_per_request: float | None = None  # None: demand must be met in full
    interruptible: bool = False


@dataclass(frozen=True)
class SiteData:
    """Limits of one site, in the basis (IT or utility) that its owner stated.

    `AtOwnSite` says that systems in a provider's hall neither count against it nor feel it. Where a
    site states a field that does not say so, its hosted pools are copies of no other site's.
    """

    id: Name[str]
    power_limit_kw: AtOwnSite[float] = math.inf
    power_is_utility: AtOwnSite[bool] = False  # True: provisioned IT kW times PUE must fit
    rack_limit: AtOwnSite[float] = math.inf
    contracted_power_usd_per_year: AtOwnSite[float] = 0.0  # paid used or not
    staff_usd_per_year: AtOwnSite[float] = 0.0  # once any offer's system that needs staff is there


@dataclass(frozen=True)
class Pool:
    """Interchangeable systems: one site, one system type, one tenure."""

    id: Name[str]
    site: Equal[SiteIndex]
    system: Name[SystemType]
    gpus_per_system: Equal[int]
    provisioned_it_kw: AtOwnSite[Less[float]]  # per system; what a power limit must hold
    idle_it_kw: Less[float]  # per system; drawn all the time it is on
    elastic: Equal[bool] = False  # counts may differ by block (on demand, spot)
    interruptible: Less[bool] = False  # spot: serves interruptible workloads only
    hosted: More[bool] = False  # stands in the provider's hall: takes no site power or racks
    pue: Less[float] = 1.0
    energy_usd_per_kwh_it: Less[ByBlock] = 0.0  # tariff x PUE; 0: included in the system's price
    carbon_usd_per_kwh_it: Less[ByBlock] = 0.0  # the scenario's price of carbon, x PUE
    water_usd_per_kwh_it: Less[ByBlock] = 0.0  # the scenario's price of water
    carbon_kg_per_kwh_it: Less[float] = 0.0  # times PUE
    systems_per_rack: AtOwnSite[More[float]] = math.inf  # 4.0, or 0.5 for a system of two racks
    reserve: Less[int] = 0  # N+k: systems kept idle once the pool is used
    speed: More[ByBlock] = 1.0  # of its replicas, as software grows up; 1: as evaluated
    racks_brought: AtOwnSite[More[float]] = 0.0  # by one that is a block of power and racks

    @property
    def is_block(self) -> bool:
        """Whether it brings power or racks to its site, and serves nothing."""
        return self.provisioned_it_kw < 0 or self.racks_brought > 0

    @property
    def kwh_prices(self) -> dict[str, ByBlock]:
        """USD per kWh at the IT equipment by cost item; energy of which all is booked."""
        return {
            "energy": self.energy_usd_per_kwh_it,
            "carbon": self.carbon_usd_per_kwh_it,
            "water": self.water_usd_per_kwh_it,
        }


@dataclass(frozen=True, order=True)
class Stock:
    """How systems under an offer come and go over a horizon: bought ones age, contracts end.

    Ages, terms and leads are in years, or in periods where the horizon counts those. What a system
    is worth is a share of what was paid for it: of the book value by default, else of `resale`,
    points of (age, share) joined by lines.
    """

    kind: Literal["bought", "contract"]
    life: float = math.inf  # bought: it leaves at this age
    residual_fraction: float = 0.0  # of the book value, at the end of life
    resale: tuple[tuple[float, float], ...] = ()  # empty: book value
    owned: tuple[tuple[float, int], ...] = ()  # (age, count) of what is there at the start
    market_usd: float = 0.0  # price that the worth of what is there at the start is a share of
    usd_per_year_by_age: tuple[tuple[float, float], ...] = ()  # on top of the yearly items
    lead: float = 0.0  # from order to delivery
    most_per_period: float = math.inf  # systems that may be ordered in one period; 0: none
    least_order: int = 0  # an order is of none or of at least so many
    stay: float = 0.0  # bought: age before which it is not sold
    removal_usd: float = 0.0  # bought: paid when it is taken out within the horizon
    term: float = math.inf  # contract: it runs so long
    paid_beyond: bool = False  # contract: what runs past the horizon is paid in full
    upfront_fraction: float = 0.0  # contract: share of all its payments that is due at its start

    @property
    def may_stay_unused(self) -> bool:
        """Whether a system may be there when none is needed: it is on contract or too young to be
        sold, taking it out costs something, or it is worth more later."""
        dearer = any(later > sooner for (_, sooner), (_, later) in pairwise(self.resale))
        is_held = self.stay > 0 or self.removal_usd > 0 or dearer
        return self.kind == "contract" or is_held


@dataclass(frozen=True)
class OfferData:
    """One way to get a system of a pool."""

    id: Name[str]
    pool: Name[PoolIndex]
    supply: SharedInGroup[Last[Limit[float]]] = math.inf  # systems
    annual_cost_items_usd: Less[dict[str, float]] = field(default_factory=dict)  # per system-year
    hourly_usd: Less[ByBlock] = 0.0  # elastic pools: what an hour that a system is there costs
    capex_usd: Less[float] = 0.0  # per system, counts against the capex budget
    supply_group: Name[str] = ""  # offers of one non-empty group share one supply (several sites)
    kind: Name[str] = ""  # buy, rent, on_demand, spot, owned or all_in: for reports
    embodied_carbon_kg: Less[float] = 0.0  # to make a system; 0 where there is no budget for it
    stock: Equal[Stock | None] = (
        None  # over a horizon; None: counts are free in every block or period
    )
    needs_staff: Less[bool] = False  # of the site: not hosted, and staff is not in its price
    billed_per_hour: Name[ByBlock] = 1.0  # hours billed for each, which `hourly_usd` has in it

    @property
    def stated_as(self) -> str:
        """What the scenario calls it, at whichever site: `h100-buy` for `h100-buy@hall`."""
        return self.supply_group or self.id


#: Bits of `Candidate.oddities`, and what each is called.
ODDITIES: Mapping[int, str] = {1: "pipeline stages", 2: "weights of fewer than 8 bits"}


@dataclass(frozen=True, eq=False)
class Candidate:
    """One pruned configuration: what a replica of it can serve and draws.

    `load[k]` is replica-seconds per request of class k over the capacity cap; `inf`: the class
    is not admitted. `energy_j[k]` is IT joules per request above what a loaded replica draws
    anyway (`idle_w`). `pair` is -1 for `serve`; equal numbers mark compatible prefill and decode
    partners of one workload. With a `mix` its
    flows of all classes are in those proportions, under which its load was found.
    """

    id: Name[int]
    workload: Equal[WorkloadIndex]
    system: Name[SystemType]
    gpus: Equal[int]
    sites: Name[SiteIndices]
    load: Less[ByClass]  # (K,)
    energy_j: Less[ByClass]  # (K,)
    role: Equal[Role] = "serve"
    pair: Equal[int] = -1
    quality: More[float] = 1.0
    idle_w: Less[float] = 0.0  # IT watts a loaded replica draws above the idle of its system
    oddities: Name[int] = 0  # bits of what people do without where it saves nothing: `ODDITIES`
    plainer: Name[bool] = False  # another is as good in all but oddities: for the simplest plan
    mix: Equal[tuple[float, ...] | None] = None  # (K,) it takes all classes in these proportions
    label: Name[dict[str, object]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ApiData:
    """A hosted API, priced per request of each class."""

    id: Name[str]
    workload: Equal[WorkloadIndex]
    cost_usd_per_request: Less[Annotated[ByClass, BY_BLOCK]]  # (K,) or (B, K); inf: does not serve
    max_rps: Limit[float] = math.inf
    quality: More[float] = 1.0

    def costs(self, blocks: int) -> FloatArray:
        """USD per request in each of so many load blocks, (B, K)."""
        shape = (blocks, self.cost_usd_per_request.shape[-1])
        return np.broadcast_to(self.cost_usd_per_request, shape)


@dataclass(frozen=True)
class Objective:
    """What is best, and the budgets that hold whatever is best."""

    kind: ObjectiveKind = "least_cost"
    denominator: Denominator = "output"
    annual_budget_usd: float | None = None
    capex_budget_usd: float | None = None
    embodied_carbon_budget_kg: float | None = None
    ratio_tolerance: float = 1e-3
    simplicity_tolerance: float = 0.0  # of the best value, given up for a simpler plan
    least_systems_per_type: int = 1  # of a type that stands at all, in every load block
    most_system_types: int | None = None
    most_layouts_per_workload: int | None = None
    usd_per_further_type: float = 0.0  # a year, for each system type after the first

    @property
    def goal(self) -> Goal:
        """What the kind means."""
        return GOALS[self.kind]


@dataclass(frozen=True, eq=False)
class Node:
    """What is known and decided in one period of one outlook; its `problem` is of one year.

    Tables of all nodes have the same rows in the same order; numbers in them may differ.
    """

    name: str  # "2027-Q3", "2027-Q3 boom"
    period: int
    parent: int  # number of the node before it; -1: none
    probability: float  # that things come to here
    problem: Problem
    delays: Mapping[int, float] = field(default_factory=dict)  # by offer: deliveries come later
    capex_budget_usd: float | None = None  # for what is delivered here
    firm: bool = True  # numbers are whole; else they are an outlook, and may be fractions


@dataclass(frozen=True, eq=False)
class Horizon:
    """Periods, and the tree of what may happen in them. Times are in years from the start."""

    starts: tuple[float, ...]  # of every period, and the end of the last
    rate: float  # cost of capital, 1/year
    nodes: tuple[Node, ...]  # a node stands after its parent
    end_value_share: float = 1.0  # of the worth of what stands at the end
    counts_periods: bool = False  # ages, terms and leads are in periods
    change_usd_per_gpu: float = 0.0  # of a replica that did not run in the node before

    def when(self, period: int) -> float:
        """Start of a period as ages count it: years, or periods."""
        return float(period) if self.counts_periods else self.starts[period]

    @property
    def periods(self) -> int:
        """How many periods there are."""
        return len(self.starts) - 1

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """Nodes that come next, for each node."""
        found: list[list[int]] = [[] for _ in self.nodes]
        for u, node in enumerate(self.nodes):
            if node.parent >= 0:
                found[node.parent].append(u)
        return tuple(tuple(nodes) for nodes in found)

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Nodes with nothing after them: one for each future."""
        return tuple(u for u, after in enumerate(self.children) if not after)

    def path(self, node: int) -> list[int]:
        """Nodes from the first to this one."""
        found = []
        while node >= 0:
            found.append(node)
            node = self.nodes[node].parent
        return found[::-1]

    def below(self, node: int) -> list[int]:
        """This node and all that may follow."""
        found = [node]
        for u in found:
            found += self.children[u]
        return found

    @cached_property
    def now(self) -> frozenset[int]:
        """Nodes before the first news: what is decided there holds in every future."""
        found, here = [], [u for u, node in enumerate(self.nodes) if node.parent < 0]
        while len(here) == 1:
            found += here
            here = list(self.children[here[0]])
        return frozenset(found)


@dataclass(frozen=True, eq=False)
class Problem:
    """One mix problem. The order of its rows never changes the answer.

    Over a horizon its blocks are those of all nodes, one after another, and prices and demand are
    by block; what is counted or limited once a period is asked of the node's own problem (`at`).
    """

    name: str
    blocks: tuple[Block, ...]
    workloads: tuple[WorkloadData, ...]
    sites: tuple[SiteData, ...]
    pools: tuple[Pool, ...]
    offers: tuple[OfferData, ...]
    candidates: tuple[Candidate, ...]
    apis: tuple[ApiData, ...] = ()
    objective: Objective = field(default_factory=Objective)
    relayout: bool = False  # replicas of fixed pools may differ by block
    horizon: Horizon | None = None

    def __post_init__(self) -> None:
        """Refuses prices by block that are not one per block."""
        for what, price in self._prices_by_block():
            if isinstance(price, tuple) and len(price) != len(self.blocks):
                raise ValueError(f"{what}: {len(price)} prices for {len(self.blocks)} load blocks")

    def _prices_by_block(self) -> Iterator[tuple[str, ByBlock]]:
        for pool in self.pools:
            yield from ((f"pool {pool.id}, {item}", usd) for item, usd in pool.kwh_prices.items())
        yield from ((f"offer {offer.id}, hourly", offer.hourly_usd) for offer in self.offers)

    @cached_property
    def scopes(self) -> tuple[Scope, ...]:
        """The scope of every block together, and then that of each block alone."""
        together = Scope(tuple(range(len(self.blocks))), HOURS_PER_YEAR * self.years)
        alone = [Scope((b,), block.counted_hours) for b, block in enumerate(self.blocks)]
        if self.horizon is None:
            return (together, *alone)
        nodes: dict[int, list[int]] = {}
        for b, block in enumerate(self.blocks):
            nodes.setdefault(block.outlook, []).append(b)
        weights = (self.blocks[found[0]].weight for found in nodes.values())
        in_nodes = (
            Scope(tuple(found), HOURS_PER_YEAR * weight)
            for found, weight in zip(nodes.values(), weights, strict=True)
        )
        return (together, *alone, *in_nodes)

    def node_of(self, scope: int) -> int:
        """The node of a scope; its blocks are all of one. 0 where there is no horizon."""
        return 0 if self.horizon is None else self.blocks[self.scopes[scope].blocks[0]].outlook

    def at(self, scope: int) -> Problem:
        """The problem whose limits and yearly prices hold in a scope."""
        return self if self.horizon is None else self.horizon.nodes[self.node_of(scope)].problem

    @cached_property
    def parts(self) -> tuple[tuple[Problem, float], ...]:
        """Every year that there is, with the years that it counts for: by node of a horizon."""
        if self.horizon is None:
            return ((self, self.years),)
        weight = {block.outlook: block.weight for block in self.blocks}
        return tuple((node.problem, weight[u]) for u, node in enumerate(self.horizon.nodes))

    def in_node(self, node: int) -> int:
        """Number of the scope that holds in all blocks of a node and in no other."""
        return EVERY_BLOCK if self.horizon is None else 1 + len(self.blocks) + node

    @cached_property
    def years(self) -> float:
        """Years that the yearly totals count: 1, or the weights of several added up."""
        hours: dict[tuple[int, int], float] = defaultdict(float)
        counted: dict[tuple[int, int], float] = defaultdict(float)
        for block in self.blocks:
            year = (block.period, block.outlook)
            hours[year] += block.hours
            counted[year] += block.counted_hours
        return sum(counted[year] / length for year, length in hours.items() if length > 0)


#: Number of the scope that holds in every block.
EVERY_BLOCK = 0


def only_block(b: int) -> int:
    """Number of the scope that holds in block b and in no other."""
    return EVERY_BLOCK + 1 + b


# Labels. Each ends with a tag of its own: tuples of equal content are equal whatever their class,
# and without it the systems of offer 3 would be taken for the racks of pool 3.


class Systems(NamedTuple):
    """Systems bought or rented under an offer; a whole number."""

    scope: int
    offer: int
    tag: Literal["systems"] = "systems"


class Replicas(NamedTuple):
    """Replicas of a candidate in a pool; a whole number."""

    scope: int
    pool: int
    candidate: int
    tag: Literal["replicas"] = "replicas"


def pairs_used(labels: Iterable[object]) -> frozenset[tuple[int, int]]:
    """(pool, candidate) of the replicas among some labels, as those of a plan."""
    return frozenset((la.pool, la.candidate) for la in labels if isinstance(la, Replicas))


class Flow(NamedTuple):
    """Requests/s of a class through the replicas of a candidate in a pool."""

    block: int
    pool: int
    candidate: int
    cls: int
    tag: Literal["flow"] = "flow"


class Api(NamedTuple):
    """Requests/s of a class sent to a hosted API."""

    block: int
    api: int
    cls: int
    tag: Literal["api"] = "api"


class Short(NamedTuple):
    """Requests/s of a class that are not served, at the workload's stated price."""

    block: int
    workload: int
    cls: int
    tag: Literal["short"] = "short"


class Scale(NamedTuple):
    """The common scale of free demand, requests/s; over a horizon one for each node."""

    scope: int = EVERY_BLOCK
    tag: Literal["scale"] = "scale"


class Used(NamedTuple):
    """1 when a pool is used and so keeps its reserve, else 0."""

    scope: int
    pool: int
    tag: Literal["used"] = "used"


class Racks(NamedTuple):
    """Racks that a pool takes; a whole number."""

    scope: int
    pool: int
    tag: Literal["racks taken"] = "racks taken"


class Slot(NamedTuple):
    """Systems of a pool that are cut by one packing pattern; a whole number."""

    scope: int
    pool: int
    pattern: int
    tag: Literal["slot"] = "slot"


class Ordered(NamedTuple):
    """Systems ordered under an offer in a node of the horizon; a whole number."""

    node: int
    offer: int
    tag: Literal["ordered"] = "ordered"


class Held(NamedTuple):
    """Systems of one order that still stand in a node after that of their delivery.

    What stood at the start has the orders -1, -2, ...: the rows of `Stock.owned`.
    """

    order: int
    node: int
    offer: int
    tag: Literal["held"] = "held"


class Placed(NamedTuple):
    """1 when anything is ordered under an offer in a node, else 0."""

    node: int
    offer: int
    tag: Literal["placed"] = "placed"


class NodeCost(NamedTuple):
    """What a node costs if things come to there, worth at the start, USD."""

    node: int
    tag: Literal["node cost"] = "node cost"


class Tail(NamedTuple):
    """By how much a future costs more than the value at risk, USD."""

    leaf: int
    tag: Literal["tail"] = "tail"


class Started(NamedTuple):
    """Replicas of a candidate in a pool more than in the node before."""

    scope: int
    pool: int
    candidate: int
    tag: Literal["started"] = "started"


class AtRisk(NamedTuple):
    """The value at risk, or the largest regret, USD."""

    tag: Literal["at risk"] = "at risk"


class Unmet(NamedTuple):
    """1 when some demand of a future is not met, else 0."""

    leaf: int
    tag: Literal["unmet"] = "unmet"
