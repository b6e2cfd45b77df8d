"""What a family of constraints says of itself, once, for everyone who asks.

The model adds its rows; the diagnosis relaxes it and says what it is short of; the plan lists what
is used of it; the report has its words; `evaluate-fleets` judges fleets by it, or refuses to where
it says nothing of that; generation of columns keeps away from what it cannot grow. The table of
families is `limits.FAMILIES`.

Example: power is stated of a site in kW. `places` gives the limit of each site, `used` the kW that
a plan holds there, and the words make "site eu-1: power short by 312 kW (limit 500 kW, IT)".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np

from tokenfleet.errors import Change
from tokenfleet.problem_data import FloatArray, Problem

if TYPE_CHECKING:
    from tokenfleet.mix.model.columns import FleetModel
    from tokenfleet.mix.model.index import Row

Amount: TypeAlias = float | FloatArray  # of one plan, or of each of many fleets


@dataclass(frozen=True)
class Unit:
    """A unit: its name in keys and columns, and how an amount of it is written."""

    name: str
    text: str  # "{:.6g} kW"
    whole: bool = False  # a part of one is none: a limit counts down to a whole number
    step: float = 0.0  # least amount that is written; 0: six digits of any amount

    def enough(self, amount: float) -> float:
        """The least amount that is no less and is written in full."""
        step = 1.0 if self.whole else self.step or 10.0 ** (math.floor(math.log10(amount)) - 5)
        return math.ceil(amount / step - 1e-6) * step

    def write(self, amount: float) -> str:
        """An amount with its unit."""
        return self.text.format(math.ceil(amount - 1e-6) if self.whole else amount)


@dataclass(frozen=True)
class StatedLimit:
    """What a limit is stated of, and how much it allows there."""

    name: str  # of the site, offer or API; `ALL` where there is one limit for everything
    limit: float  # inf where none is stated
    rows: tuple[int, ...] = ()  # sites, offers or APIs of the problem that share it
    basis: str = ""  # what a reader must know of the limit: "IT" or "utility" kW


ALL = "all"


class Usage(Protocol):
    """Numbers of a plan, or of many fleets at once, that limits are held against."""

    @property
    def problem(self) -> Problem:
        """The problem whose limits they are."""

    @property
    def blocks(self) -> Sequence[int]:
        """Load blocks that they are told of."""

    @property
    def annual_cost_usd(self) -> Amount:
        """Cost of the year."""

    def systems(self, o: int, b: int) -> Amount:
        """Systems under an offer in a load block."""

    def in_pool(self, p: int, b: int) -> Amount:
        """Systems of a pool in a load block."""

    def requests(self, a: int, b: int) -> Amount:
        """Requests/s of all classes through an API in a load block."""


@dataclass(frozen=True)
class Family:
    """One family of constraints. `add` alone says how it is built; its docstring has the formula.

    A family that is a stated limit has `places` and `used`; it then shows in every plan and report.
    """

    name: str  # that its rows bear, and by which it is relaxed
    add: Callable[[FleetModel], None]
    #: What its rows are over: systems alone, requests and replicas, the whole yearly cost, or ...
    over: Literal["systems", "requests", "cost", "reserve", ""] = ""
    grows: bool | None = None  # holds for columns generated later; None: it does if over systems
    holds: Callable[[Problem], bool] | None = None  # whether it binds anything; None: if stated
    more_rows: tuple[str, ...] = ()  # other names that its rows bear
    gives_way: bool = False  # its rows take slack, so that the diagnosis can say what is short

    words: str = ""  # "power"
    key: str = ""  # of the rows of a plan, with the unit: "power_kw"
    unit: Unit = Unit("", "{:.6g}")
    of: Literal["", "site", "offer", "api"] = ""  # what it is stated of, a field of its rows
    field: str = ""  # of the problem's sites, offers or APIs, or of its objective, that states it
    places: Callable[[Problem], list[StatedLimit]] | None = None
    used: Callable[[Usage, StatedLimit], Amount] | None = None  # at most over the load blocks

    def __post_init__(self) -> None:
        """A limit that gives way is raised before that is called a cure, so it says where it is."""
        if self.gives_way and self.places is not None and not self.field:
            raise ValueError(f"family {self.name}: gives way, and names no field that states it")

    def stated(self, problem: Problem) -> list[StatedLimit]:
        """Where the limit is stated."""
        found = self.places(problem) if self.places is not None else []
        return [place for place in found if math.isfinite(place.limit)]

    def is_active(self, problem: Problem) -> bool:
        """Whether the family may bind anything in the problem."""
        if self.holds is not None:
            return self.holds(problem)
        return self.places is None or bool(self.stated(problem))

    def may_grow(self) -> bool:
        """Whether its rows hold for columns of pairs that are generated after it was added."""
        return self.over == "systems" if self.grows is None else self.grows

    def at(self, problem: Problem, row: Row) -> StatedLimit:
        """The place that a row of the family is about."""
        assert self.places is not None, self.name
        return _by_row(self.places, problem)[getattr(row, self.of) if self.of else None]

    def size(self, problem: Problem, row: Row) -> float:
        """The limit that a row holds; 1 where it is none at all, so that a share can be had."""
        return self.most(self.at(problem, row)) or 1.0

    def most(self, place: StatedLimit) -> float:
        """What the limit allows, in whole units where it counts them."""
        return math.floor(place.limit) if self.unit.whole else place.limit

    def title(self, place: StatedLimit) -> str:
        """The limit and its place: "power of eu-1"."""
        return self.words if place.name == ALL else f"{self.words} of {place.name}"

    def short(self, problem: Problem, row: Row, amount: float) -> str:
        """What is said where a row is short by an amount."""
        place = self.at(problem, row)
        where = f"{self.of} {place.name}: " if self.of else ""
        limit = f"limit {self.unit.text.format(place.limit)}"
        basis = f", {place.basis}" if place.basis else ""
        short = f"{where}{self.words} short by {self.unit.write(amount)} ({limit}{basis})"
        return short + when(problem, row)

    def change(self, problem: Problem, row: Row, amount: float) -> Change:
        """What a row is short of, field by field and as a sentence."""
        place = self.at(problem, row)
        text = self.short(problem, row, amount)
        return Change(self.key, place.name, amount, place.limit, self.unit.name, text)

    def loosened(self, problem: Problem, row: Row, amount: float) -> Problem:
        """The problem with so much more of what a row of the family limits."""
        return self.moved(problem, self.at(problem, row), amount)

    def moved(self, problem: Problem, place: StatedLimit, amount: float) -> Problem:
        """The problem with the limit of a place higher by an amount, or lower by a negative one."""
        if not self.of:
            limit = place.limit + amount
            more: dict[str, Any] = {self.field: limit if math.isfinite(limit) else None}
            return replace(problem, objective=replace(problem.objective, **more))
        table = f"{self.of}s"
        rows = list(getattr(problem, table))
        for i in place.rows:
            rows[i] = replace(rows[i], **{self.field: getattr(rows[i], self.field) + amount})
        changed: dict[str, Any] = {table: tuple(rows)}
        return replace(problem, **changed)


@lru_cache(maxsize=8)
def _by_row(
    places: Callable[[Problem], list[StatedLimit]], problem: Problem
) -> dict[int | None, StatedLimit]:
    """The place of each site, offer or API; of None where a limit holds for everything."""
    return {index: place for place in places(problem) for index in place.rows or (None,)}


def when(problem: Problem, row: Row) -> str:
    """The hours of the year that a row speaks of; nothing where it speaks of all of them."""
    scope = getattr(row, "scope", None)
    b = getattr(row, "block", None) if scope is None else only_of(problem, scope)
    if b is None or len(problem.blocks) == 1:
        return ""
    block = problem.blocks[b]
    if block.lost_site >= 0:
        return f" while site {problem.sites[block.lost_site].id} is lost"
    return f" in {block.hours:,.0f} hours of the year"


def only_of(problem: Problem, scope: int) -> int | None:
    """The block of a scope that has one; None where it has several."""
    blocks = problem.scopes[scope].blocks
    return blocks[0] if len(blocks) == 1 else None


def total(amounts: Iterable[Amount]) -> Amount:
    """The sum of amounts; 0 of none."""
    return sum(amounts, 0.0)


def peak(amounts: Sequence[Amount]) -> Amount:
    """The most over the load blocks, of a plan or of each fleet."""
    most, *others = amounts
    for amount in others:
        most = np.maximum(most, amount)
    return most
