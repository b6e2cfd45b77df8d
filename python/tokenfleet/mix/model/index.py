"""What the columns and rows of the mix model are called, and in which blocks each holds.

A column is labelled by the number that it stands for (`Systems`, `Replicas`, `Flow` and the others
of `problem_data`), or by the row that it lets give way (`Slack`); a row by its constraint family.
Fields of a label are read by name; no other module knows in which order they stand.

`Scopes` says in which scopes the systems and the replicas of a pool are counted: every block, one
block, or over a horizon the blocks of one node; whatever holds in some other set of blocks is one
more entry in `Problem.scopes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from tokenfleet.problem_data import (
    Api,
    AtRisk,
    Flow,
    Held,
    NodeCost,
    Ordered,
    Placed,
    Problem,
    Racks,
    Replicas,
    Scale,
    Short,
    Slot,
    Started,
    Systems,
    Tail,
    Unmet,
    Used,
    only_block,
)


class TypeUsed(NamedTuple):
    """1 when any system of a type stands in a scope; `pool` is the first of the type's pools."""

    scope: int
    pool: int
    tag: Literal["type used"] = "type used"


class FirstType(NamedTuple):
    """1 when a plan has a system type at all, the first of which is no further one."""

    tag: Literal["first type"] = "first type"


class SiteUsed(NamedTuple):
    """1 when any system stands at a site."""

    site: int
    tag: Literal["site used"] = "site used"


class Staffed(NamedTuple):
    """1 when any system stands at a site that its owner's staff looks after."""

    site: int
    tag: Literal["staffed"] = "staffed"


class LayoutUsed(NamedTuple):
    """1 when there is any replica of a candidate."""

    candidate: int
    tag: Literal["layout used"] = "layout used"


class Demand(NamedTuple):
    """Requests/s of a class in a block are served, by one way or another."""

    block: int
    workload: int
    cls: int
    family: Literal["demand"] = "demand"


class Capacity(NamedTuple):
    """Replicas carry the flows through them in a block."""

    block: int
    pool: int
    candidate: int
    family: Literal["capacity"] = "capacity"


class Pair(NamedTuple):
    """Prefill and decode of a class keep pace at a site in a block."""

    block: int
    site: int
    workload: int
    pair: int
    cls: int
    family: Literal["pair"] = "pair"


class Mixed(NamedTuple):
    """A candidate with a mix takes a class in proportion to the class before it, in a block."""

    block: int
    pool: int
    candidate: int
    cls: int
    family: Literal["mixed"] = "mixed"


class Reserve(NamedTuple):
    """A pool holds systems only when it is used."""

    pool: int
    scope: int
    family: Literal["reserve"] = "reserve"


class Pack(NamedTuple):
    """Replicas of a size and all larger ones find places in the systems of a pool."""

    pool: int
    scope: int
    size: int
    family: Literal["pack"] = "pack"


class Place(NamedTuple):
    """Replicas of a size find places in the systems that are cut by patterns."""

    pool: int
    scope: int
    size: int
    family: Literal["place"] = "place"


class Slots(NamedTuple):
    """Systems that are cut by patterns, and those that replicas fill, are there."""

    pool: int
    scope: int
    family: Literal["slots"] = "slots"


class Whole(NamedTuple):
    """Systems that replicas fill are there; the pool holds no smaller replicas."""

    pool: int
    scope: int
    family: Literal["whole"] = "whole"


class Power(NamedTuple):
    """Provisioned kW within the limit of a site."""

    site: int
    scope: int
    family: Literal["power"] = "power"


class RackLimit(NamedTuple):
    """Racks within the number that a site has."""

    site: int
    scope: int
    family: Literal["racks"] = "racks"


class RackSpace(NamedTuple):
    """Systems of a pool within the racks that it takes."""

    pool: int
    scope: int
    family: Literal["rack_space"] = "rack_space"


class Supply(NamedTuple):
    """Systems under an offer, and those that share its supply, within that supply."""

    offer: int
    scope: int
    family: Literal["supply"] = "supply"


class ApiRate(NamedTuple):
    """Requests/s of all classes within the rate limit of an API."""

    api: int
    block: int
    family: Literal["api_rate"] = "api_rate"


class InService(NamedTuple):
    """Systems under an offer in a node are those held and those on contract."""

    node: int
    offer: int
    family: Literal["stock"] = "stock"


class Kept(NamedTuple):
    """What is sold stays sold: no more of an order stand in a node than in the one before."""

    order: int
    node: int
    offer: int
    family: Literal["kept"] = "kept"


class UsedFor(NamedTuple):
    """A pool serves a class in a block only when it is used."""

    block: int
    pool: int
    workload: int
    cls: int
    family: Literal["used_for"] = "used_for"


class Delivered(NamedTuple):
    """Systems ordered for one period within what the maker delivers, by the node of the order; or
    those of several orders that arrive together, by the node in which they do."""

    node: int
    offer: int
    together: bool = False
    family: Literal["delivery"] = "delivery"


class LeastOrder(NamedTuple):
    """An order is of none or of at least so many; `side` is the lower or the upper row."""

    node: int
    offer: int
    side: int
    family: Literal["least_order"] = "least_order"


class Change(NamedTuple):
    """Replicas of a candidate no more than in the node before, but for those started."""

    scope: int
    pool: int
    candidate: int
    family: Literal["change"] = "change"


class NodeTotal(NamedTuple):
    """The cost of a node, added up."""

    node: int
    family: Literal["node_total"] = "node_total"


NO_LEAF = -1  # a row about all futures
TIE = -2  # in the place of a block: the row that keeps to plans as good by the risk


class Future(NamedTuple):
    """What the risk of one future is told by."""

    leaf: int
    block: int = -1
    workload: int = -1
    cls: int = -1
    family: Literal["future"] = "future"


class Capex(NamedTuple):
    """Capital of all systems within the budget; over a horizon that of a node's deliveries, or of
    a whole future up to its last node (`total`)."""

    node: int = -1
    total: bool = True
    family: Literal["capex"] = "capex"


class EmbodiedCarbon(NamedTuple):
    """Carbon emitted to make all systems within the budget."""

    scope: int
    family: Literal["embodied_carbon"] = "embodied_carbon"


class Budget(NamedTuple):
    """The yearly cost within the budget."""

    node: int = -1
    family: Literal["budget"] = "budget"


class Ratio(NamedTuple):
    """Cost per token within what the plan of least cost per token allows."""

    family: Literal["ratio"] = "ratio"


class IfUsed(NamedTuple):
    """Nothing of a type, at a site or of a layout unless it is used."""

    of: TypeUsed | SiteUsed | Staffed | LayoutUsed
    family: Literal["if_used"] = "if_used"


class LeastPerType(NamedTuple):
    """A type that is used has the least number of systems that was asked for."""

    pool: int
    scope: int
    family: Literal["least_per_type"] = "least_per_type"


class MostTypes(NamedTuple):
    """System types within their most."""

    family: Literal["types"] = "types"


class MostLayouts(NamedTuple):
    """Layouts of a workload within their most."""

    workload: int
    family: Literal["layouts"] = "layouts"


class FurtherType(NamedTuple):
    """The first system type is free of the price of further ones."""

    family: Literal["further_type"] = "further_type"


class AsGood(NamedTuple):
    """A simpler plan is as good as was asked for."""

    tokens: bool = False
    family: Literal["as_good"] = "as_good"


class Own(NamedTuple):
    """A row that no family of the model adds: a user's own, or one that asks a question of it."""

    name: str
    family: Literal["own"] = "own"


class ReplicaCut(NamedTuple):
    """A cut on the whole number of replicas of a candidate; `number` tells several apart."""

    block: int
    pool: int
    candidate: int
    number: int = 0
    family: Literal["replica_cut"] = "replica_cut"


class SystemCut(NamedTuple):
    """A cut on the whole number of systems of a pool; `number` tells several apart."""

    block: int
    pool: int
    number: int = 0
    family: Literal["system_cut"] = "system_cut"


Cutting: TypeAlias = ReplicaCut | SystemCut
Packing: TypeAlias = Pack | Place | Slots | Whole
Row: TypeAlias = (
    Demand
    | Capacity
    | Pair
    | Mixed
    | Reserve
    | Packing
    | Power
    | RackLimit
    | RackSpace
    | Supply
    | InService
    | Kept
    | Delivered
    | LeastOrder
    | UsedFor
    | Change
    | NodeTotal
    | Future
    | ApiRate
    | Capex
    | EmbodiedCarbon
    | Budget
    | Ratio
    | IfUsed
    | LeastPerType
    | MostTypes
    | MostLayouts
    | FurtherType
    | AsGood
    | Own
    | Cutting
)


class Slack(NamedTuple):
    """By how much a row may be missed, where its family is relaxed."""

    row: Row
    tag: Literal["slack"] = "slack"


OverTime: TypeAlias = Ordered | Held | Placed | Started | NodeCost | Tail | AtRisk | Unmet
Chosen: TypeAlias = TypeUsed | FirstType | SiteUsed | Staffed | LayoutUsed


class Choice(NamedTuple):
    """A column that a question adds: 1 where a kind of something is used, or the most of sums."""

    what: str
    name: str
    tag: Literal["choice"] = "choice"


Label: TypeAlias = (
    Systems
    | Replicas
    | Flow
    | Api
    | Short
    | Scale
    | Used
    | Racks
    | Slot
    | Chosen
    | Slack
    | OverTime
    | Choice
)
#: Labels of columns that say whether something is used at all.
CHOSEN = (TypeUsed, FirstType, SiteUsed, Staffed, LayoutUsed)
#: Labels of columns that are whole numbers.
WHOLE = (Systems, Replicas, Racks, Slot, Used, Ordered, Held, Placed, Unmet, *CHOSEN)


class Scopes:
    """In which scopes the systems and the replicas of each pool are counted."""

    def __init__(self, problem: Problem) -> None:
        """Counts differ by block where systems come and go, replicas also where layouts may."""
        blocks = list(enumerate(problem.blocks))
        up = [[b for b, block in blocks if block.lost_site != s] for s in range(len(problem.sites))]
        nodes = problem.horizon.nodes if problem.horizon is not None else (None,)
        together = _Counted(problem, [problem.in_node(u) for u in range(len(nodes))])
        alone = [_Counted(problem, [only_block(b) for b in found]) for found in up]
        self._hours = [block.counted_hours for block in problem.blocks]
        self._hours_up: dict[tuple[int, int], float] = {}
        self._table = [frozenset(scope.blocks) for scope in problem.scopes]
        self._up = [up[pool.site] for pool in problem.pools]
        self._systems = [alone[q.site] if q.elastic else together for q in problem.pools]
        self._replicas = [
            alone[q.site] if q.elastic or problem.relayout else together for q in problem.pools
        ]

    def up(self, p: int) -> Sequence[int]:
        """Blocks in which the site of the pool is up."""
        return self._up[p]

    def up_in(self, p: int, scope: int) -> list[int]:
        """Blocks of a scope in which the site of the pool is up."""
        return [b for b in self._up[p] if b in self._table[scope]]

    def hours_up(self, p: int, scope: int) -> float:
        """Hours a year of a scope in which the site of the pool is up."""
        if (p, scope) not in self._hours_up:  # asked for every replica
            self._hours_up[p, scope] = sum(self._hours[b] for b in self.up_in(p, scope))
        return self._hours_up[p, scope]

    def systems(self, p: int) -> Sequence[int]:
        """Scopes in which the systems of the pool are counted."""
        return self._systems[p].scopes

    def replicas(self, p: int) -> Sequence[int]:
        """Scopes in which the replicas of the pool are counted."""
        return self._replicas[p].scopes

    def systems_over(self, p: int, scope: int) -> Sequence[int]:
        """Scopes of the pool's systems that hold in every block of a scope."""
        return self._systems[p].over[scope]

    def systems_in(self, p: int, b: int) -> Sequence[int]:
        """Scopes of the pool's systems that hold in a block."""
        return self._systems[p].over[only_block(b)]

    def replicas_in(self, p: int, b: int) -> int:
        """The scope of the pool's replicas that serve in a block."""
        return self._replicas[p].over[only_block(b)][0]

    def finest(self, scopes: Iterable[int]) -> list[int]:
        """Those of the scopes that no other is a part of: a limit holds in each of them."""
        found = sorted(set(scopes))
        return [s for s in found if not any(self._table[t] < self._table[s] for t in found)]


class _Counted:
    """Scopes in which some number is counted, and those of them that hold throughout each scope."""

    def __init__(self, problem: Problem, scopes: list[int]) -> None:
        self.scopes = scopes
        blocks = [frozenset(scope.blocks) for scope in problem.scopes]
        self.over = [[s for s in scopes if part <= blocks[s]] for part in blocks]
