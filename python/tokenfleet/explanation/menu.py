"""The menu: other plans that cost little more and are better at something else.

For a wish (fewest vendors, least capital, ...) and a share e of the least loss L0 there are two
solves: the best value of the wish among plans with a loss of at most L0 + e |L0|, then the least
loss at that value. One solve alone would show a plan at the far end of what e allows where the same
is to be had for a fraction of it. The shares are asked from the largest down: what costs less than
a smaller share allows is the answer to that one too, and where the largest brings nothing, none
does.

Counts of kinds (vendors, types, sites, offers, layouts) are sums of binaries y with x <= M y.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import pulp

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.study import PROVEN, WITHIN, Answer, Bound, Study
from tokenfleet.mix.model import FleetModel, Label
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.index import Choice, Own
from tokenfleet.mix.search.nearest import Place, count_moves, moves
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Api, Replicas, Systems

SHARES = (0.05, 0.02, 0.01, 0.005)
_GAP = 1e-6  # of one solve: a plan that is shown as the best at something is proven
CLOSEST = "closest to what stands"
OWNED = ("buy", "owned")
_WHOLE = 0.999  # below a whole value there is no other
_SAME = 1e-6  # relative: values of a wish closer than this are one


@dataclass(frozen=True)
class Wish:
    """What else could be best: a sum of columns, less of it better; `sign` -1 where more is."""

    name: str
    unit: str
    weights: Mapping[Label, float] = field(repr=False)
    sign: float = 1.0
    whole: bool = False

    def of(self, values: Mapping[Label, float]) -> float:
        """The value of a plan as a person says it."""
        return sum(a * values.get(la, 0.0) for la, a in self.weights.items())


@dataclass(frozen=True)
class Choosable:
    """A plan of the menu. `within` is the least of the shares asked that allows it; 0 for today's
    best plan, where no share brings more."""

    wish: Wish
    within: float
    value: float
    today: float
    plan: Answer = field(repr=False)
    more: float = 0.0  # loss beyond the least, as a share of it
    how: HowGot = PROVEN


def menu(
    study: Study,
    shares: Iterable[float] = SHARES,
    vendors: Mapping[str, str] | None = None,
    standing: Mapping[Place, float] | None = None,
    ask: Ask = plainly,
) -> Iterator[Choosable]:
    """Plans within each share of the least loss, for every wish.

    `vendors` are by system type; `standing` are systems by offer and site that a plan may be close
    to, by default those that are owned.
    """
    asked = _Menu(study.twin(_GAP), standing)
    for wish in asked.wishes(vendors or {}):
        answers = partial(asked.answers, wish, sorted(shares, reverse=True))
        yield from ask(f"menu: {wish.name}", answers) or ()


class _Menu:
    """A model with the columns that count kinds, and today's best plan."""

    def __init__(self, study: Study, standing: Mapping[Place, float] | None = None) -> None:
        self.study, self.standing = study, standing
        self.m: FleetModel = study.model
        self.base = study.base
        self.weights, self.constant, self.least, self.volume = _cost_of(study)

    def answers(self, wish: Wish, shares: list[float]) -> list[Choosable]:
        """The plans of one wish, the closest to today's first."""
        today = wish.of(self._counted(self.base.values, wish))
        found: list[Choosable] = []
        for share in shares:
            if found and found[-1].more <= share + 1e-9:
                found[-1] = _within(found[-1], share)
                continue
            item = self._best(wish, share, today)
            if item is None:
                break
            found.append(item)
        if len(found) == 0 or found[-1].within > min(shares):
            found.append(Choosable(wish, 0.0, today, today, self.base, how=self.base.how))
        return found[::-1]

    def _best(self, wish: Wish, share: float, today: float) -> Choosable | None:
        """The best value of the wish within the share, at the least loss; None: today's."""
        limit = self.least + share * abs(self.least) - self.constant
        within = Bound(f"within {share:g}", self.weights, False, limit)
        wanted = {la: wish.sign * a for la, a in wish.weights.items()}
        rows = (within, *self.volume)
        near = wish.sign * today  # a hair above it, so that rounding does not decide
        near += _SAME * max(abs(near), 1e-6)
        best = self.study.least(wanted, rows=rows, whole=True, most=near)
        if best is None:
            return None
        value = best.loss
        if value >= wish.sign * today - _SAME * max(abs(today), 1e-6):
            return None
        room = 0.5 if wish.whole else _SAME * max(abs(value), 1e-6)
        keeps = Bound(f"{wish.name} at {share:g}", wanted, False, value + room)
        plan = self.study.least(
            self.weights, self.constant, rows=(*rows, keeps), start=best.by_name, whole=True
        )
        if plan is None:  # rounding: the plan of the first solve stands
            plan = best
        exact = best.how == PROVEN or (wish.whole and best.bound > value - _WHOLE)
        proven = exact and plan.how == PROVEN and self.base.how == PROVEN
        loss = self.constant + sum(a * plan.values.get(la, 0.0) for la, a in self.weights.items())
        more = (loss - self.least) / max(abs(self.least), 1e-9)
        reached = wish.of(self._counted(plan.values, wish))
        return Choosable(
            wish, share, reached, today, plan, max(more, 0.0), PROVEN if proven else WITHIN
        )

    def _counted(self, values: Mapping[Label, float], wish: Wish) -> Mapping[Label, float]:
        """The values with the counting columns as they must be at least."""
        counted = dict(values)
        if self.standing is not None and wish.name == CLOSEST:
            return {**counted, **moves(self.m, values, self.standing)}
        for label in wish.weights:
            if isinstance(label, Choice):
                rows = self.m_groups[label]
                if label.what == "most":
                    counted[label] = max(
                        sum(a * values.get(la, 0.0) for la, a in row.items()) for row in rows
                    )
                else:
                    used = any(values.get(la, 0.0) > 1e-9 for row in rows for la in row)
                    counted[label] = float(used)
        return counted

    # Wishes

    def wishes(self, vendors: Mapping[str, str]) -> Iterator[Wish]:
        """Everything that can be wished of this problem."""
        self.m_groups: dict[Choice, list[Mapping[Label, float]]] = {}
        problem, systems = self.study.problem, self.m.of(Systems)
        pools = {la: problem.pools[problem.offers[la.offer].pool] for la in systems}
        offers = {la: problem.offers[la.offer] for la in systems}
        apis: dict[Label, str] = {la: f"API {problem.apis[la.api].id}" for la in self.m.of(Api)}

        def number(name: str, unit: str, groups: Mapping[Label, str]) -> Wish:
            return self._number_of(name, unit, groups)

        makers: dict[Label, str] = {
            la: vendors.get(pool.system, pool.system) for la, pool in pools.items()
        }
        yield number("fewest vendors", "vendors", {**makers, **apis})
        yield number("fewest system types", "types", {la: q.system for la, q in pools.items()})
        rooms: dict[Label, str] = {
            la: problem.sites[q.site].id for la, q in pools.items() if not q.hosted
        }
        yield number("fewest sites", "sites", rooms)
        groups: dict[Label, str] = {la: offer.stated_as for la, offer in offers.items()}
        yield number("fewest offers", "offers", groups)
        layouts: dict[Label, str] = {la: str(la.candidate) for la in self.m.of(Replicas)}
        yield number("fewest layouts", "layouts", layouts)
        capex: dict[Label, float] = {la: o.capex_usd for la, o in offers.items() if o.capex_usd}
        if capex:
            yield Wish("least capital", "USD", capex)
        kw: dict[Label, float] = {
            la: q.provisioned_it_kw for la, q in pools.items() if not q.hosted
        }
        if any(kw.values()):
            yield self._peak("least power", "IT kW", {"": kw})
        carbon = objective.carbon_coefficients(self.m)
        if any(carbon.values()):
            yield Wish("least carbon", "kg CO2e/year", carbon)
        size: dict[Label, float] = {la: float(q.gpus_per_system) for la, q in pools.items()}
        owned = {la: a for la, a in size.items() if offers[la].kind in OWNED}  # type: ignore[index]
        if owned:
            yield Wish("most owned", "accelerators", owned, sign=-1.0, whole=True)
        if len(set(groups.values())) > 1:
            by_supply: dict[str, dict[Label, float]] = {}
            for la, name in groups.items():
                by_supply.setdefault(name, {})[la] = size[la]
            yield self._peak("least dependence on one supply", "accelerators", by_supply)
        new = {la: a for la, a in size.items() if offers[la].kind != "owned"}  # type: ignore[index]
        if self.standing is not None:
            moved = count_moves(self.m, self.standing)
            yield Wish(CLOSEST, "accelerators moved", moved, whole=True)
        elif len(new) < len(size):
            kept = {la: -a for la, a in size.items() if la not in new}
            yield Wish(CLOSEST, "accelerators new less kept", {**new, **kept})

    def _number_of(self, name: str, unit: str, groups: Mapping[Label, str]) -> Wish:
        """How many groups are used: one binary of each."""
        columns: dict[Choice, list[Label]] = {}
        for label, group in groups.items():
            columns.setdefault(Choice(name, group), []).append(label)
        for choice, labels in columns.items():
            used = self.m.column(choice, 1.0, integer=True)
            self.m_groups[choice] = [dict.fromkeys(labels, 1.0)]
            for label in labels:
                v = self.m.columns[label]
                most = self._most(label) if v.upBound is None else v.upBound
                row = Own(f"{name} {choice.name} {v.name}")
                self.m.row(row, [(v, 1.0), (used, -most)], pulp.LpConstraintLE, 0.0)
        return Wish(name, unit, dict.fromkeys(columns, 1.0), whole=True)

    def _most(self, label: Label) -> float:
        """Systems beyond which a pool has nothing left to hold."""
        if isinstance(label, Systems):
            return self.m.frame.useful[self.study.problem.offers[label.offer].pool]
        raise AssertionError(label)  # replicas and requests have bounds of their own

    def _peak(self, name: str, unit: str, groups: Mapping[str, Mapping[Label, float]]) -> Wish:
        """The most of several sums, in any scope: a column that is no less than each of them."""
        most = self.m.column(Choice("most", name))
        self.m_groups[Choice("most", name)] = []
        for group, weights in groups.items():
            for scope in self.m.scopes.finest(
                la.scope for la in weights if isinstance(la, Systems)
            ):
                part = {la: a for la, a in weights.items() if self._holds_in(la, scope)}
                self.m_groups[Choice("most", name)].append(part)
                pairs = [(self.m.columns[la], a) for la, a in part.items()]
                row = Own(f"{name} {group} {scope}")
                self.m.row(row, [*pairs, (most, -1.0)], pulp.LpConstraintLE, 0.0)
        return Wish(name, unit, {Choice("most", name): 1.0})

    def _holds_in(self, label: Label, scope: int) -> bool:
        scopes = self.study.problem.scopes
        held = frozenset(scopes[scope].blocks)
        return isinstance(label, Systems) and held <= frozenset(scopes[label.scope].blocks)


def _within(item: Choosable, share: float) -> Choosable:
    return Choosable(item.wish, share, item.value, item.today, item.plan, item.more, item.how)


def _cost_of(
    study: Study,
) -> tuple[Mapping[Label, float], float, float, tuple[Bound, ...]]:
    """Weights, constant and least value of what a plan of the menu may cost more of.

    Of a ratio it is the cost, at no fewer tokens than today's best plan delivers.
    """
    if study.problem.objective.goal.per is None:
        weights, constant = study.weights_beside(study.base)
        return weights, constant, study.base.loss, ()
    tokens = study.tokens
    served = sum(a * study.base.values.get(la, 0.0) for la, a in tokens.items())
    volume = Bound("as many tokens", tokens, True, served * (1.0 - 1e-9))
    cost = objective.cost_coefficients(study.model)
    return cost, study.model.constant_usd, study.base.annual_cost_usd, (volume,)
