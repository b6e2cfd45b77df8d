"""What beside its price would flip an offer or a system type over time: energy, speed, a term.

- *Energy*: all tariffs move by one factor at all dates, from nothing to ten times today's. What
  plans cost is a line over it, so the edge is walked (`edge_over_time`) to where the best plan
  holds what today's does not, or the other way round; all questions share its plans.
- *Speed*: the throughput of a system type moves at all dates. The faster, the better: so there is
  one speed from which on plans with it are better than all without, found by halves.
- *Term*: the price book states rents for several terms. A contract of another term has another
  price and another end, so each is planned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial

from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.case import book_of
from tokenfleet.explanation.edge_over_time import Edge
from tokenfleet.explanation.knobs import Knob
from tokenfleet.explanation.moving_over_time import (
    Target,
    energy,
    targets,
    targets_about,
    turned_tree,
)
from tokenfleet.explanation.over_time import Found, OverTime
from tokenfleet.explanation.rows import FlipInput
from tokenfleet.explanation.study import PROVEN, WITHIN
from tokenfleet.mix.solver.highs import OPTIMAL_GAP
from tokenfleet.plan.explored import HowGot
from tokenfleet.problem_data import Horizon

_DEAREST = 10.0  # times today's tariffs
_FASTEST = 4.0  # times today's speed, and the slowest is one over it
_CLOSE = 1.01  # two speeds between which nobody looks further
_SOME = 1e-6  # of what is enough to hold a target: rounding
TIMES = "times today's"


def inputs_over_time(
    asked: OverTime, about: About = EVERYTHING, ask: Ask = plainly
) -> Iterator[FlipInput]:
    """Energy prices, speeds and terms that flip what is asked about."""
    found = list(targets_about(asked, about))
    if asked.part is None:
        edge = Edge(energy(asked))
        for target in found if edge.moving.terms else ():
            what = f"energy price that flips {target.name}"
            yield from ask(what, partial(by_energy, edge, target)) or ()
    for system, target in _by_type(asked):
        if about(system):
            row = ask(f"speed that flips {system}", partial(by_speed, target, system))
            if row is not None:
                yield row
    for target in found:
        term = ask(f"term that flips {target.name}", partial(by_term, target))
        if term is not None:
            yield term


def by_energy(edge: Edge, target: Target) -> list[FlipInput]:
    """The rise and the fall of all tariffs that flip a target.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before they were found.
    """
    chosen = _holds(target, edge.moving.asked.base)
    rows = []
    for most in (0.0, _DEAREST):
        corner = edge.stays(most, lambda plan: _holds(target, plan) is chosen)
        how, beyond = edge.how(corner), corner.beyond
        found = beyond is not None
        rows.append(
            _row(
                target, "energy", chosen=chosen, at=corner.at if found else None,
                not_yet=None if found and how != PROVEN else corner.at, plan=beyond, how=how,
            )
        )  # fmt: skip
    return rows


def _holds(target: Target, plan: Found) -> bool:
    return target.amount(plan) > _SOME


def _by_type(asked: OverTime) -> Iterator[tuple[str, Target]]:
    """Each system type with all that it is ordered by: a target of its own, or that of its one
    offer."""
    every = list(targets(asked))
    problem = asked.problem
    of_offer = {o.id: problem.pools[o.pool].system for o in problem.offers}
    for system in sorted(set(of_offer.values())):
        mine = [
            of for of in every
            if of.kind in ("offer", "system") and {of_offer[o] for o in of.offers} == {system}
        ]  # fmt: skip
        whole = max(mine, key=lambda of: len(of.offers), default=None)
        if whole is not None:
            yield system, whole


def by_speed(target: Target, system: str) -> FlipInput:
    """How much faster a system type must be to enter, or slower to leave.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    speeds = _Speeds(target, system)
    chosen = _holds(target, target.moving.asked.base)
    far = 1.0 / _FASTEST if chosen else _FASTEST
    at: float | None = None
    if speeds.pays(far) is chosen:
        near = far
    else:
        near, at = 1.0, far
        while max(near / at, at / near) > _CLOSE:
            middle = math.sqrt(near * at)
            near, at = (middle, at) if speeds.pays(middle) is chosen else (near, middle)
    return _row(
        target, "speed", chosen=chosen, at=at, not_yet=near, how=speeds.how, system=system,
        plan=None if at is None else speeds.plans[at],
    )  # fmt: skip


class _Speeds:
    """Plans at other speeds of one system type, beside the best ones without it."""

    def __init__(self, target: Target, system: str) -> None:
        self.target, self.asked = target, target.moving.asked
        self.knobs = [Knob("speed", system)]
        self.plans: dict[float, Found | None] = {}
        self.how: HowGot = PROVEN
        problem = self.asked.problem
        mine = {o.id for o in problem.offers if problem.pools[o.pool].system == system}
        self.stands = bool(mine - target.offers)  # what is owned already is faster, too

    def pays(self, factor: float) -> bool:
        """Whether some plan with the type is better than all without it."""
        tree = turned_tree(self.asked, self.knobs, factor)
        found = self.asked.tried(tree)
        without = self._without(tree)
        least = math.inf if without is None else without.value
        noise = OPTIMAL_GAP * abs(least) if math.isfinite(least) else 0.0
        pays = found is not None and found.value < least - noise
        self.plans[factor] = found if pays else without
        if not self._told(found, without, pays, noise):
            self.how = WITHIN
        return pays

    def _without(self, tree: Horizon) -> Found | None:
        if self.stands:
            return self.asked.tried(self.asked.shut(tree, self.target.offers))
        return self.target.without()

    @staticmethod
    def _told(found: Found | None, without: Found | None, pays: bool, noise: float) -> bool:
        """Whether bounds leave no doubt."""
        if found is None or without is None:
            return True
        return found.value < without.bound if pays else found.bound >= without.value - 2 * noise


def by_term(target: Target) -> FlipInput | None:
    """The term of the price book nearest to today's at which an offer enters, or leaves; None for
    what is not rented, and where the book has no other terms.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    asked = target.moving.asked
    scenario = asked.built.loaded.scenario
    stated = {offer.id: offer for offer in scenario.offers}.get(target.name)
    if target.kind != "offer" or stated is None or stated.kind != "rent":
        return None
    today = stated.term_years
    others = {years: usd for years, usd in book_of(asked.built.loaded, stated).items()
              if years != today}  # fmt: skip
    if not others:
        return None
    chosen, how = _holds(target, asked.base), asked.base.how
    for years in sorted(others, key=lambda years: (abs(years - (today or 0.0)), years)):
        other = stated.model_copy(
            update={
                "term_years": years, "price_usd_per_gpu_h": others[years], "price_by_date": None,
            }
        )  # fmt: skip
        offers = tuple(other if o.id == stated.id else o for o in scenario.offers)
        found = asked.with_scenario({"offers": offers}, anew=True)
        if found is None:
            continue
        how = how if found.how == PROVEN else WITHIN
        names = {name.split("@")[0] for name in found.systems}
        if (target.name in names) is not chosen:
            return _row(
                target, "term", chosen=chosen, at=years, not_yet=None, plan=found, how=how,
                now=today,
            )  # fmt: skip
    return _row(target, "term", chosen=chosen, at=None, not_yet=None, plan=None, how=how, now=today)


def _row(
    target: Target,
    what: str,
    *,
    chosen: bool,
    at: float | None,
    not_yet: float | None,
    plan: Found | None,
    how: HowGot,
    system: str | None = None,
    now: float | None = 1.0,
) -> FlipInput:
    systems: Mapping[str, int] = {} if plan is None or at is None else plan.systems
    return FlipInput(
        kind=target.kind if system is None else "system",
        name=target.name if system is None else system,
        input=what,  # type: ignore[arg-type] # one of its words
        chosen=chosen,
        now=now,
        at=at,
        not_yet=not_yet,
        unit="years" if what == "term" else TIMES,
        systems=dict(systems),
        how=how,
    )
