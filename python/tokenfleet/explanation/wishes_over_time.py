"""Plans over time that cost little more and have less of something: capital, power, dependence.

Whatever counts systems or orders is a row, under which a tree is planned as always: C(v) is what it
costs at least with no more than v of it. For a share e of the least cost the least v is wanted for
which C(v) is within the share. It is found by halves, and by asking a hair below the best that is
known: what costs more there has proven it. The plan that was found at v is the cheapest that has so
much of it, so no second solve is needed. What one share has found serves the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.menu import CLOSEST, OWNED, SHARES
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import MenuItem
from tokenfleet.explanation.study import PROVEN, WITHIN, HardSolveError
from tokenfleet.mix.model import Label
from tokenfleet.problem_data import HOURS_PER_YEAR, OfferData, Ordered, Systems

_TRIES = 12  # solves for one share
_TRIES_IN_PART = 3  # of a large horizon, which proves nothing by them
_HALVED = 0.05  # of what there is today: nearer than this, what is just below is asked
_SAME = 1e-5  # relative: amounts closer than this are one
_BELOW = 1e-4  # relative: what is asked below an amount, far enough that no rounding keeps the row
_ONE_S = 20.0

Weights = Mapping[Label, float]


@dataclass(frozen=True)
class Amount:
    """What there is of something in a plan: the largest of several sums of columns; `sign` -1 where
    more of it is better."""

    name: str
    unit: str
    sums: Sequence[Weights] = field(repr=False)
    sign: float = 1.0

    def of(self, plan: Found) -> float:
        """How much a plan has, as a person says it."""
        values = plan.result.values
        return max(sum(a * values.get(la, 0.0) for la, a in of.items()) for of in self.sums)


def less_over_time(asked: OverTime, ask: Ask = plainly) -> Iterator[MenuItem]:
    """Plans within each share of the least cost, for everything of which less, or more, may be
    wished."""
    for amount in amounts(asked):
        yield from ask(f"menu: {amount.name}", partial(_Less(asked, amount).items)) or ()


def amounts(asked: OverTime) -> Iterator[Amount]:
    """Everything of which there may be less: money for systems is the mean over the futures, power
    and dependence are of the worst moment, what is owned or new is the mean over all hours."""
    problem, horizon, systems = asked.bare.problem, asked.tree, list(asked.bare.of(Systems))
    offers, pools = problem.offers, problem.pools
    capital: dict[Label, float] = {
        la: horizon.nodes[la.node].probability * usd
        for la in asked.bare.of(Ordered)
        if (usd := horizon.nodes[la.node].problem.offers[la.offer].capex_usd) > 0
    }
    if capital:
        yield Amount("least capital", "USD", [capital])
    kw = [0.0 if pool.hosted else pool.provisioned_it_kw for pool in pools]
    power = _by_scope(asked, {la: kw[offers[la.offer].pool] for la in systems})
    if power:
        yield Amount("least power", "IT kW", power)
    size = {la: float(pools[offers[la.offer].pool].gpus_per_system) for la in systems}
    names = sorted({offers[la.offer].stated_as for la in systems})
    if len(names) > 1:
        of_each = ({la: a for la, a in size.items() if offers[la.offer].stated_as == name}
                   for name in names)  # fmt: skip
        sums = [of for group in of_each for of in _by_scope(asked, group)]
        yield Amount("least dependence on one supply", "accelerators", sums)
    mean = _mean_over_time(asked, size)
    owned: dict[Label, float] = {la: -a for la, a in mean.items() if _is(offers[la.offer], OWNED)}
    if owned and (problem.apis or len(owned) < len(mean)):
        yield Amount("most owned", "accelerators", [owned], sign=-1.0)
    kept = {la for la in mean if _is(offers[la.offer], ("owned",))}
    if kept and len(kept) < len(mean):
        new: dict[Label, float] = {la: -a if la in kept else a for la, a in mean.items()}
        yield Amount(CLOSEST, "accelerators new less kept", [new])


def _is(offer: OfferData, kinds: tuple[str, ...]) -> bool:
    return offer.kind in kinds


def _by_scope(asked: OverTime, weights: Mapping[Systems, float]) -> list[Weights]:
    """The sums of what stands at one time, of each time."""
    scopes = asked.bare.problem.scopes
    found: list[Weights] = []
    for scope in asked.bare.scopes.finest(la.scope for la in weights):
        held = frozenset(scopes[scope].blocks)
        row: dict[Label, float] = {
            la: a for la, a in weights.items()
            if a and held <= frozenset(scopes[la.scope].blocks)
        }  # fmt: skip
        if row:
            found.append(row)
    return found


def _mean_over_time(asked: OverTime, weights: Mapping[Systems, float]) -> dict[Systems, float]:
    """Weights of the mean over all hours of all futures."""
    problem, horizon = asked.bare.problem, asked.tree
    years = horizon.starts[-1]
    hours = []
    for block in problem.blocks:
        node = horizon.nodes[block.outlook]
        length = horizon.starts[node.period + 1] - horizon.starts[node.period]
        hours.append(block.hours * node.probability * length / (HOURS_PER_YEAR * years))
    return {
        la: a * math.fsum(hours[b] for b in problem.scopes[la.scope].blocks)
        for la, a in weights.items()
    }


@dataclass
class _Less:
    """One wish: plans with no more than so much of it, and what they cost."""

    asked: OverTime
    wish: Amount
    found: list[Found] = field(default_factory=list)
    #: Most of it that was asked for, what a plan then costs at least, and whether that is proven.
    beyond: list[tuple[float, float, bool]] = field(default_factory=list)

    def items(self) -> list[MenuItem]:
        """The plans of the wish, the closest to today's first."""
        base, items = self.asked.base, list[MenuItem]()
        today = self.wish.of(base)
        for share in sorted(SHARES, reverse=True):
            if items and items[-1].more <= share:
                items[-1] = items[-1].model_copy(update={"within": share})
                continue
            plan, proven = self._least(base.value + share * abs(base.value))
            if plan is base:
                break
            items.append(self._item(plan, share, today, proven=proven))
        if not items or items[-1].within > min(SHARES):
            items.append(self._item(base, 0.0, today, proven=bool(self.beyond)))
        return items[::-1]

    def _item(self, plan: Found, share: float, today: float, *, proven: bool) -> MenuItem:
        base = self.asked.base
        exact = proven and base.how == plan.how == PROVEN
        return MenuItem(
            wish=self.wish.name,
            within=share,
            value=self.wish.sign * self.wish.of(plan),
            today=self.wish.sign * today,
            unit=self.wish.unit,
            more=max(plan.value / base.value - 1.0, 0.0),
            annual_cost_usd=plan.result.levelised_usd_per_year,
            systems=dict(plan.systems),
            how=PROVEN if exact else WITHIN,
        )

    def _least(self, limit: float) -> tuple[Found, bool]:
        """The plan with the least of it that costs no more than a limit, and whether it is proven
        that none has less."""
        base, of = self.asked.base, self.wish.of
        size = max(abs(of(base)), 1e-6)
        tries = _TRIES if self.asked.part is None else _TRIES_IN_PART
        for _ in range(tries):
            less = [plan for plan in self.found if of(plan) < of(base) - _SAME * size]
            within = [plan for plan in less if plan.value <= limit]
            best = min(within, key=lambda plan: (of(plan), plan.value), default=base)
            high = of(best)
            known = [(v, proven) for v, usd, proven in self.beyond if usd > limit]
            low, proven = max(known, default=(self._floor(), True))
            if high - low <= 2.0 * _BELOW * size:
                return best, proven and self.asked.part is None
            just_below = high - _BELOW * size
            near = high - low <= _HALVED * size
            self._ask(just_below if near or not self.beyond else (low + high) / 2.0, limit)
        return best, False

    def _floor(self) -> float:
        """No plan has less: nothing, or of what is better the more of it there is, all of it."""
        if all(a >= 0 for of in self.wish.sums for a in of.values()):
            return 0.0
        return 3.0 * min(self.wish.of(self.asked.base), 0.0) - self._fleet()

    def _fleet(self) -> float:
        """Three times what stands on average today, in its unit."""
        values = self.asked.base.result.values
        return 3.0 * sum(abs(a) * values.get(la, 0.0) for of in self.wish.sums
                         for la, a in of.items())  # fmt: skip

    def _ask(self, most: float, limit: float) -> None:
        """The cheapest plan with no more of it."""
        rows = [({la: -a for la, a in of.items()}, -most) for of in self.wish.sums]
        try:
            found = self.asked.tried(self.asked.tree, rows=rows, seconds=_ONE_S)
        except HardSolveError:
            self.beyond.append((most, math.inf, False))
            return
        if found is None:
            self.beyond.append((most, math.inf, True))
            return
        self.found.append(found)
        if found.value > limit:
            self.beyond.append((most, found.value, found.bound > limit))
