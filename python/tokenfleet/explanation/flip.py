"""Flip prices: at which price something rejected enters a best plan, and something chosen leaves.

Let L be the loss of a plan, S what it pays for the thing at today's price, and V0 the least loss
without the thing. At a discount d the loss is L - d S, so the thing is in some best plan as soon as

    d  >=  d* = min over plans that hold it of (L - V0) / S

which is negative for a thing that today's best plan holds: its price may rise so far. The minimum
of a ratio is found by Dinkelbach's method (1967): take the plan with the least L - d S, set d to
that plan's ratio, and again until it is still. Both ends are proven: the last plan shows that the
thing enters at d*, the bound of the last solve that no plan holds it much below. Reduced costs tell
neither: they are zero where systems are whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tokenfleet.explanation.rows import Kind
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study, systems_by_offer
from tokenfleet.files.plain import finite
from tokenfleet.mix.model import Label
from tokenfleet.mix.model.frame import peak_demand
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Api, Problem

_STEPS = 30
_PART = 1e-4  # of the peak of a workload, that a hosted API serves where it is held
_STILL = 1e-7  # of the least loss, by which a plan is no better


@dataclass(frozen=True)
class Target:
    """What may enter: `amount` counts it, `least` of it is enough to hold it, `spend` is what it
    costs by its price in USD a year.

    Of a precision, which has no price, `spend` counts the output tokens that it serves, in millions
    a year: its flip price is a premium in USD for a million of them.
    """

    kind: Kind
    name: str
    amount: Mapping[Label, float] = field(repr=False)
    spend: Mapping[Label, float] = field(repr=False)
    least: float = 1.0
    offers: tuple[int, ...] = ()
    apis: tuple[int, ...] = ()

    def paid(self) -> Target:
        """The part of it that follows its price: without what is had for nothing, as stock."""
        amount = {la: a for la, a in self.amount.items() if self.spend.get(la, 0.0) > 0}
        offers = {getattr(la, "offer", -1) for la in amount}
        return replace(self, amount=amount, offers=tuple(o for o in self.offers if o in offers))

    def spent(self, values: Mapping[Label, float]) -> float:
        """What a plan pays for it at today's price, USD a year."""
        return sum(usd * values.get(la, 0.0) for la, usd in self.spend.items())

    def removed(self, problem: Problem) -> Problem:
        """The problem without it."""
        offers, apis = list(problem.offers), list(problem.apis)
        for o in self.offers:
            offers[o] = replace(offers[o], supply=0.0)
        for a in self.apis:
            apis[a] = replace(apis[a], max_rps=0.0)
        return replace(problem, offers=tuple(offers), apis=tuple(apis))


@dataclass(frozen=True)
class Flip:
    """The discount (a share of the price) at which a best plan holds the target.

    Proven: at a discount below `low` no best plan does, from `high` on one does. None: never, not
    even for nothing; or, where `needed`, always.
    """

    target: Target
    discount: float | None
    low: float
    high: float
    how: HowGot
    chosen: bool = False  # today's best plan holds it
    needed: bool = False  # no plan does without, or a best one has it for nothing
    possible: bool = True  # some plan holds it
    plan: Mapping[str, int] = field(default_factory=dict)  # that holds it there, by offer
    without: Mapping[str, int] = field(default_factory=dict)  # the best one that does not
    solves: int = 0
    answer: Answer | None = field(default=None, repr=False)  # the plan that holds it
    beside: Answer | None = field(default=None, repr=False)  # the one that does not
    relaxed: float | None = None  # the discount, where systems need not be whole


def flip(study: Study, target: Target) -> Flip:
    """The flip discount of a target; of its paid part, where today's plan has some for nothing.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    base, begun = study.base, study.asked
    pays = target.spent(base.values) > 0
    if pays:
        target = target.paid()
    chosen = any(base.values.get(la, 0.0) > 1e-9 for la in target.amount)
    without = _without(study, target) if chosen else base
    if without is None:
        return always(target, base, PROVEN)
    if chosen and not pays:
        chosen = without.loss - base.loss > _STILL * max(abs(base.loss), 1e-9)
        if chosen:  # it is had for nothing, and better than all without it
            return always(target, base, without.how)
    # What stands by for the loss of a site costs nothing: for no price does that enter.
    amount, word = (target.amount, "hold") if chosen else (target.paid().amount, "pay")
    holds = Bound(f"{word} {target.kind} {target.name}", amount, True, target.least)
    search = _Dinkelbach(study, target, without, holds)
    if not search.run():
        if chosen:  # a plan that holds it without paying for it is better than all without it
            return always(target, base, without.how)
        return Flip(
            target, None, math.inf, math.inf, PROVEN, possible=False,
            without=systems_by_offer(study.problem, without.values),
        )  # fmt: skip
    return search.flip(chosen, study.asked - begun)


def always(target: Target, base: Answer, how: HowGot) -> Flip:
    """What is in a best plan at any price."""
    return Flip(
        target, None, -math.inf, -math.inf, how, chosen=True, needed=True,
        plan=systems_by_offer(base.problem, base.values),
    )  # fmt: skip


def _without(study: Study, target: Target) -> Answer | None:
    """The best plan that does not hold the target; None where there is none."""
    if study.problem.objective.goal.per is not None:
        return study.again(target.removed(study.problem))
    weights, constant = study.weights_beside(study.base)

    def paid(plan: Answer) -> float:
        return sum(a * plan.values.get(la, 0.0) for la, a in weights.items())

    nearest = min(study.known(closed=target.amount), key=paid, default=None)
    start = None if nearest is None else study.named(nearest.values)
    return study.least(weights, constant, closed=target.amount, start=start, unbudgeted=study.pays)


class _Dinkelbach:
    """The least ratio of (loss - V0) to spend over the plans that hold the target."""

    def __init__(
        self,
        study: Study,
        target: Target,
        without: Answer,
        holds: Bound,
    ) -> None:
        self.study = study
        self.target = target
        self.without = without
        self.weights, self.constant = study.weights_beside(without)
        self.holds = holds
        self.least, self.best = study.loss_of(without)  # V0: its bound and its value
        self.discount = 0.0
        self.plan: Answer | None = None
        self.bound = -math.inf  # of loss - discount * spend, over plans that hold the target

    def run(self) -> bool:
        """All steps, from the least ratio of the plans that are known; whether any plan holds the
        target."""
        known = self.study.known([self.holds])
        nearest = min(known, key=self._ratio, default=None)
        if nearest is not None and math.isfinite(self._ratio(nearest)):
            self.plan, self.discount = nearest, self._ratio(nearest)
        for _ in range(_STEPS):
            found = self._next()
            if found is None:
                return False
            self.bound = found.bound
            if self.plan is not None and found.loss >= self.best - self._still():
                break
            ratio = self._ratio(found)
            if not math.isfinite(ratio):  # it costs nothing by its price: no price flips it
                return False
            self.plan, self.discount = found, ratio
        return self.plan is not None

    def _next(self) -> Answer | None:
        """The plan with the least loss at the discount in hand of those that hold the target.

        Of what is held whole, all plans are asked where one is known, which is the easier question:
        if none is better than the best one without the target, none that holds it is. Of what a
        plan may use less than counts as holding it, those that hold it.
        """
        if self.plan is None or self.target.least < 1.0:
            return self._least((self.holds,), self.plan)
        return self._least((), self.plan)

    def _least(self, rows: Sequence[Bound], start: Answer | None) -> Answer | None:
        """The plan with the least loss at the discount in hand that keeps the rows."""
        weights = dict(self.weights)
        for label, usd in self.target.spend.items():
            weights[label] = weights.get(label, 0.0) - self.discount * usd
        return self.study.least(
            weights, self.constant, rows=rows, unbudgeted=self.study.pays,
            start=None if start is None else self.study.named(start.values),
        )  # fmt: skip

    def _still(self) -> float:
        """Loss by which a plan is no better."""
        return _STILL * self._scale()

    def _scale(self) -> float:
        return max(abs(self.best), abs(self.without.annual_cost_usd), 1e-9)

    def _loss(self, plan: Answer) -> float:
        paid = sum(a * plan.values.get(la, 0.0) for la, a in self.weights.items())
        return self.constant + paid

    def _ratio(self, plan: Answer) -> float:
        spend = self.target.spent(plan.values)
        return (self._loss(plan) - self.best) / spend if spend > 0 else math.inf

    def flip(self, chosen: bool, solves: int) -> Flip:
        """The answer, as an interval where something is left unproven."""
        assert self.plan is not None
        spend = self.target.spent(self.plan.values)
        upper = (self._loss(self.plan) - self.least) / spend if spend > 0 else math.inf
        missing = max(self.best - self.bound, 0.0)
        lower = self.discount - missing / self._least_spend()
        unproven = max(self.best - self.least, missing)
        problem = self.study.problem
        return Flip(
            self.target,
            finite(self.discount),
            min(lower, self.discount),
            max(upper, self.discount),
            PROVEN if unproven <= OPTIMAL_GAP * self._scale() else WITHIN,
            chosen=chosen,
            plan=systems_by_offer(problem, self.plan.values),
            without=systems_by_offer(problem, self.without.values),
            solves=solves,
            answer=self.plan,
            beside=self.without,
        )

    def _least_spend(self) -> float:
        """What the target costs at least where it is held."""
        each = [self.target.spend.get(la, 0.0) / a for la, a in self.target.amount.items() if a > 0]
        return max(min(each, default=0.0) * self.target.least, 1e-12)


def offers_and_systems(study: Study, spend: Mapping[int, Mapping[Label, float]]) -> list[Target]:
    """A target for each offer of the problem (at all its sites) and each system type.

    `spend` is what follows the price, by offer. A type that one offer brings is that offer.
    """
    problem, m = study.problem, study.systems
    by_offer: dict[str, list[int]] = {}
    by_system: dict[str, list[int]] = {}
    for o, offer in enumerate(problem.offers):
        by_offer.setdefault(offer.stated_as, []).append(o)
        by_system.setdefault(problem.pools[offer.pool].system, []).append(o)
    found = []
    kinds: dict[Literal["offer", "system"], dict[str, list[int]]] = {
        "offer": by_offer,
        "system": by_system,
    }
    for kind, groups in kinds.items():
        for name, offers in sorted(groups.items()):
            if kind == "system" and offers in by_offer.values():
                continue
            paid = {la: usd for o in offers for la, usd in spend.get(o, {}).items()}
            amount = _amount(m.columns, offers)
            if amount and any(usd > 0 for usd in paid.values()):
                found.append(Target(kind, name, amount, paid, offers=tuple(offers)))
    return found


def apis(study: Study, spend: Mapping[int, Mapping[Label, float]]) -> list[Target]:
    """A target for each hosted API: a ten-thousandth of its workload's peak is enough to hold it.

    Much less, and rounding would decide; much more, and the first requests, which may pay sooner
    than the later ones, would not be seen apart.
    """
    problem, found = study.problem, []
    for a, api in enumerate(problem.apis):
        demand = peak_demand(problem, api.workload, study.systems.scale_max)
        amount: dict[Label, float] = {la: 1.0 for la in study.systems.of(Api) if la.api == a}
        if amount and any(usd > 0 for usd in spend[a].values()):
            least = _PART * float(demand.max())
            found.append(Target("api", api.id, amount, spend[a], least, apis=(a,)))
    return found


def _amount(columns: Mapping[Label, object], offers: Sequence[int]) -> dict[Label, float]:
    chosen = set(offers)
    return {la: 1.0 for la in columns if getattr(la, "offer", None) in chosen}
