"""Parts of an explanation of one steady year: asked, worked out side by side, and kept as rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import zip_longest
from typing import Any

from tokenfleet.errors import InfeasibleError, SolverError
from tokenfleet.explanation import rows
from tokenfleet.explanation.about import EVERYTHING, About
from tokenfleet.explanation.as_rows import (
    concession_row,
    input_row,
    measure_row,
    premium_row,
    route_rows,
    verdict_of,
)
from tokenfleet.explanation.asking import T
from tokenfleet.explanation.case import Case
from tokenfleet.explanation.crossover import Crossover
from tokenfleet.explanation.flip import Flip, Target, apis, flip, offers_and_systems
from tokenfleet.explanation.flip_in_part import flip_in_part
from tokenfleet.explanation.knobs import discounted
from tokenfleet.explanation.measure import stakes
from tokenfleet.explanation.menu import Choosable, menu
from tokenfleet.explanation.menu_in_part import menu_in_part
from tokenfleet.explanation.parts import (
    KEYS,
    MAY_BE_SMALLER,
    NO_INTERVALS,
    ONE_WAY,
    UNPROVEN,
    Part,
    Watch,
    incomplete,
)
from tokenfleet.explanation.precision import precisions
from tokenfleet.explanation.prices_in_part import range_in_part, taken_in_part
from tokenfleet.explanation.ranges import Range, price_range
from tokenfleet.explanation.repair import conflict
from tokenfleet.explanation.rows import (
    Explanation,
    FlipPrice,
    Limit,
    MenuItem,
    PriceRange,
    RepairSet,
)
from tokenfleet.explanation.share import Taken, taken
from tokenfleet.explanation.shift import Rent, Shift, by_energy, by_speed, by_system, by_term
from tokenfleet.explanation.side_by_side import side_by_side
from tokenfleet.explanation.study import (
    Answer,
    HardSolveError,
    OutOfTimeError,
    systems_by_offer,
)
from tokenfleet.explanation.sweep import tornado
from tokenfleet.explanation.worth import worths
from tokenfleet.files.plain import finite
from tokenfleet.mix.why.infeasible import check_problem, explain_infeasible
from tokenfleet.mix.why.routes import routes_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem.required import require_candidates

# Of parts that are worked out side by side, those that take longest begin first.
_LONGEST: tuple[Part, ...] = (
    "flip", "ranges", "worth", "menu", "inputs", "tornado", "crossover", "measure", "repairs",
)  # fmt: skip
# Parts that begin from the plans that flip prices were found by.
_AFTER_FLIP = frozenset({"ranges", "inputs"})
_OF_THE_WHOLE = "is asked only of a problem that is solved whole: this one is too large"
_SAME_PLAN = 0.005  # of the cost: a plan may be simpler, or within its gap


@dataclass(frozen=True)
class _Piece:
    """Parts one after the other, of all that they ask or of a share of it: see `Session`."""

    parts: list[Part]
    cut: tuple[int, int] = (0, 1)
    hosted: bool | None = None


@dataclass
class Session:
    """What was found so far."""

    case: Case
    watch: Watch | None
    standing: Mapping[tuple[str, str], float] | None = None
    about: About = EVERYTHING
    cut: tuple[int, int] = (0, 1)  # of how many sessions that share a part which one it is
    hosted: bool | None = None  # prices of hosted APIs alone, or of all others; None: of all
    found: dict[str, list[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    flips: dict[tuple[str, str], Flip] = field(default_factory=dict)
    left: list[Part] = field(default_factory=list)  # parts that are not complete
    why: str = ""
    told: str = ""  # what is being worked out

    def explained(self, parts: Iterable[Part], begun: float, jobs: int = 1) -> Explanation:
        """All parts, so many at a time, until the time is over."""
        study = self.case.study
        self._tell("the plan itself")
        asked, base = list(parts), study.again(study.problem)
        if base is None:
            if "repairs" not in asked:
                require_candidates(self.case.built)
                raise explain_infeasible(study.problem)
            asked = ["repairs"]
        else:
            study.base = base
            asked = [part for part in asked if part != "repairs"]
        pieces = self._pieces(asked, jobs)
        if len(pieces) > 1:
            self._apart(asked, pieces, jobs)
        else:
            self.work(asked)
        if self.left:
            left = [part for part in asked if part in self.left]
            self.notes.append(incomplete(self.why, left))
        goal, wanted = study.problem.objective.goal, self.case.loaded.scenario.solver.gap
        if base is not None and base.gap > wanted:
            self.notes.insert(0, UNPROVEN)
        if base is not None:
            self.notes += _other_than(self.case.plan, base)
        parts_found: dict[str, Any] = {name: tuple(of) for name, of in self.found.items()}
        return Explanation(
            name=study.problem.name,
            objective=study.problem.objective.kind,
            objective_unit=goal.unit,
            objective_value=None if base is None else study.sign * base.loss,
            plan_value=None if self.case.plan is None else self.case.plan.objective_value,
            bound=None if base is None else finite(study.sign * base.bound),
            gap=None if base is None else finite(base.gap),
            same_systems=None if base is None else self.case.same_systems(base),
            proven=base is None or base.gap <= wanted,
            notes=tuple(self.notes),
            interrupted=bool(self.left),
            solves=study.solves,
            seconds=time.perf_counter() - begun,
            **parts_found,
        )

    def work(self, parts: Sequence[Part]) -> None:
        """Parts one after the other; `left` has those that are not complete, and `why` tells."""
        asked: dict[Part, Callable[[], Iterator[Any]]] = {
            "worth": self._worth,
            "flip": self._flip,
            "ranges": self._ranges,
            "inputs": self._inputs,
            "menu": self._menu,
            "repairs": self._repairs,
            "tornado": self._tornado,
            "crossover": self._crossover,
            "measure": self._measure,
        }
        left = list(parts)
        try:
            while left:
                found = self.found.setdefault(KEYS.get(left[0], left[0]), [])
                for row in self._answered(asked[left[0]]):
                    found.append(row)
                left.pop(0)
        except (KeyboardInterrupt, OutOfTimeError) as error:
            stopped = isinstance(error, KeyboardInterrupt)
            self.left = left
            self.why = "stopped by the user" if stopped else getattr(error, "message", "")

    def _pieces(self, parts: Sequence[Part], jobs: int) -> list[_Piece]:
        """Parts, or cuts of them, that need nothing of one another: several at a time, those that
        take longest first; one after the other, in the order in which they were asked.

        Prices of hosted APIs are asked apart from those of systems, however many pieces are worked
        out at a time, so that the same plans are known where each is asked.
        """
        chains: list[list[Part]] = []
        for part in sorted(parts, key=_LONGEST.index):
            after = next((c for c in chains if part in _AFTER_FLIP and c[0] == "flip"), None)
            if after is None:
                chains.append([part])
            else:
                after.append(part)
        if jobs == 1:
            chains.sort(key=lambda chain: min(parts.index(part) for part in chain))
        pieces: list[_Piece] = []
        for chain in chains:
            if self._is_by_kind(chain):
                kinds = (True, False) if jobs > 1 else (False, True)
                pieces += [_Piece(chain, hosted=hosted) for hosted in kinds]
            else:
                cuts = jobs if self._is_cut(chain[0], parts) else 1
                pieces += [_Piece(chain, (cut, cuts)) for cut in range(cuts)]
        apart = jobs > 1 or any(piece.hosted is not None for piece in pieces)
        return pieces if apart else []

    def _apart(self, parts: Sequence[Part], pieces: Sequence[_Piece], jobs: int) -> None:
        """Pieces side by side, each with a model of its own; plans that prices were found by serve
        the parts after them."""
        gap = self.case.study.options.gap
        sessions = [
            replace(
                self, case=replace(self.case, study=self.case.study.twin(gap)), cut=piece.cut,
                hosted=piece.hosted, found={}, notes=[], flips={}, left=[],
            )
            for piece in pieces
        ]  # fmt: skip
        for session in sessions:
            session.case.study.beside_others(min(jobs, len(pieces)))
        work = [partial(s.work, p.parts) for s, p in zip(sessions, pieces, strict=True)]
        side_by_side(work, jobs)
        for part in parts:  # notes in the order in which parts were asked
            for session, piece in zip(sessions, pieces, strict=True):
                if part in piece.parts:
                    self.notes += [note for note in session.notes if note not in self.notes]
        for session in sessions:
            self.left += [name for name in session.left if name not in self.left]
            self.why = session.why or self.why
        sessions.sort(key=lambda session: session.hosted or False)  # APIs stand behind systems
        for key in dict.fromkeys(key for session in sessions for key in session.found):
            having = [s for s in sessions if key in s.found]
            if any(s.hosted is not None for s in having):
                self.found[key] = [row for s in having for row in s.found[key]]
            else:
                rows = zip_longest(*(s.found[key] for s in having))
                self.found[key] = [row for group in rows for row in group if row is not None]

    def _is_by_kind(self, chain: Sequence[Part]) -> bool:
        """Whether prices of hosted APIs are asked apart: of a problem that is solved whole and has
        such prices, unless energy and speeds are asked of all that has one."""
        study = self.case.study
        return (
            chain[0] in ("flip", "ranges") and "inputs" not in chain
            and study.part is None and bool(study.problem.apis)
        )  # fmt: skip

    def _is_cut(self, part: Part, parts: Sequence[Part]) -> bool:
        """Whether a part is cut in several: its rows need nothing of one another. Flip prices of a
        problem that is solved whole begin from one another's plans."""
        flips_alone = self.case.study.part is not None and "inputs" not in parts
        return part == "worth" or (part == "flip" and flips_alone)

    def _answered(self, part: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """The rows of a part; a part that the problem does not allow becomes a note."""
        try:
            yield from part()
        except HardSolveError as error:
            self.notes.append(f"{self.told} is not answered, nor what follows: {error.message}")
        except OutOfTimeError:
            raise
        except SolverError as error:
            self.notes.append(error.message)

    def _ask(self, what: str, question: Callable[[], T]) -> T | None:
        """The answer to one question; where a solve of it was too hard, a note."""
        self._tell(what)
        try:
            return question()
        except HardSolveError as error:
            self.notes.append(f"{what} is not answered: {error.message}")
            return None

    def _tell(self, what: str) -> None:
        self.told = what
        if self.watch is not None:
            self.watch(what, self.case.study.solves)

    def _worth(self) -> Iterator[Any]:
        moves = self.case.moves()
        yield from worths(self.case.study, moves, self.about, self.cut, self._ask)

    def _flip(self) -> Iterator[Any]:
        goal = self.case.study.problem.objective.goal
        if "cost" not in goal.of:
            self.notes.append(f"no price flips a plan of {goal.words}: it does not count prices")
            return
        cut, cuts = self.cut
        for target in self._targets()[cut::cuts]:
            row = self._ask(f"flip price of {target.name}", partial(self._flip_price, target))
            if row is not None:
                yield row
        budget = self.case.study.problem.objective.capex_budget_usd
        if budget is not None:
            self.notes.append("flip prices count capital at today's prices against its budget")

    def _flip_price(self, target: Target) -> FlipPrice:
        study, found = self.case.study, self._flipped(target)
        if study.part is None:
            shares = taken(study, target, found)
        else:
            shares = taken_in_part(study, target, found, partial(discounted, self.case, target))
        return self._flip_row(target, found, tuple(shares))

    def _targets(self) -> list[Target]:
        """What has a price: offers, system types of several offers, hosted APIs."""
        found: list[Target] = []
        if not self.hosted:
            found += offers_and_systems(self.case.study, self.case.spend_on_offers())
        if self.hosted is not False:
            found += apis(self.case.study, self.case.spend_on_apis())
        return self._asked(found)

    def _asked(self, targets: Sequence[Target]) -> list[Target]:
        """Those that are asked about, by their own names or as all of a system type."""
        of_type = by_system(targets, self.case.study.problem).items()
        types = {(of.kind, of.name) for system, of in of_type if self.about(system)}
        return [of for of in targets if self.about(of.name) or (of.kind, of.name) in types]

    def _ranges(self) -> Iterator[Any]:
        if "cost" not in self.case.study.problem.objective.goal.of:
            return  # `flip` says why
        for target, name in self._prices():
            question = partial(self._range, target)
            found = self._ask(f"range of the price of {target.name}", question)
            if found is not None:
                price, unit = self._price(target)
                yield PriceRange(
                    kind=target.kind,
                    name=target.name,
                    field=name,
                    low_factor=found.low,
                    high_factor=found.high,
                    price=price,
                    unit=unit,
                    systems_below=dict(found.below),
                    systems_above=dict(found.above),
                    within=found.within,
                    how=found.how,
                )

    def _range(self, target: Target) -> Range | None:
        study = self.case.study
        if study.part is None:
            return price_range(study, target)
        return range_in_part(study, target, partial(discounted, self.case, target))

    def _prices(self) -> Iterator[tuple[Target, str | None]]:
        """Every price alone: of offers and system types, and each of the prices of an API; all of
        an API together where plans are searched in part."""
        case = self.case
        if case.study.part is not None:
            cut, cuts = self.cut
            yield from ((target, None) for target in self._targets()[cut::cuts])
            return
        if not self.hosted:
            for target in self._asked(offers_and_systems(case.study, case.spend_on_offers())):
                yield target, None
        for a, name, spend in () if self.hosted is False else case.spend_on_api_prices():
            api = case.study.problem.apis[a].id
            if self.about(api):
                yield Target("api", api, {}, spend, apis=(a,)), name

    def _menu(self) -> Iterator[Any]:
        study = self.case.study
        for item in self._choosable():
            yield MenuItem(
                wish=item.wish.name,
                within=item.within,
                value=item.value,
                today=item.today,
                unit=item.wish.unit,
                more=item.more,
                annual_cost_usd=item.plan.annual_cost_usd,
                systems=systems_by_offer(study.problem, item.plan.values),
                how=item.how,
            )

    def _choosable(self) -> Iterator[Choosable]:
        study, vendors = self.case.study, self.case.vendors()
        if study.part is None:
            return menu(study, vendors=vendors, standing=self.standing, ask=self._ask)
        if not study.pays:
            self.notes.append(f"the menu {_OF_THE_WHOLE}")
            return iter(())
        return menu_in_part(study, vendors=vendors, ask=self._ask, standing=self.standing)

    def _repairs(self) -> Iterator[Any]:
        sign, study = self.case.study.sign, self.case.study
        try:
            require_candidates(self.case.built)
            check_problem(study.problem)
        except InfeasibleError as error:
            self.notes.append(error.message)
        self._tell("what is in conflict")
        found = conflict(study)
        self.found["conflict"] = [
            Limit(what=c.words, where=c.where, limit=c.limit, unit=c.unit) for c in found.limits
        ]
        if not found.minimal:
            self.notes.append(MAY_BE_SMALLER)
        for repaired in self.case.repairs(self._ask):
            yield RepairSet(
                concessions=tuple(map(concession_row, repaired.concessions)),
                objective_value=sign * repaired.plan.loss,
                annual_cost_usd=repaired.plan.annual_cost_usd,
                systems=systems_by_offer(repaired.problem, repaired.plan.values),
                how=repaired.plan.how,
            )

    def _tornado(self) -> Iterator[Any]:
        yield from sorted(tornado(self.case, self._ask), key=lambda row: -row.swing)

    def _crossover(self) -> Iterator[Any]:
        study = self.case.study
        routes = routes_of(study.problem, self.case.terms())
        if not routes:
            self.notes.append(ONE_WAY)
            return
        crossover = Crossover(study, routes, self._ask)
        met = self.found.setdefault("break_even", [])
        yield from route_rows(crossover, met)

    def _measure(self) -> Iterator[Any]:
        study, found = self.case.study, []
        figures = self.case.unsure()
        if not figures:
            self.notes.append(NO_INTERVALS)
        if study.problem.objective.goal.per is not None:
            self.notes.append("what to measure next is asked of a cost, not of a cost per token")
            return
        for stake in stakes(study, figures, self._ask):
            found.append(measure_row(stake))
        yield from sorted(found, key=lambda row: -row.value)

    def _inputs(self) -> Iterator[Any]:
        study, goal = self.case.study, self.case.study.problem.objective.goal
        if "cost" not in goal.of or goal.per is not None:
            self.notes.append(f"energy, speed and terms are not asked of a plan of {goal.words}")
            return
        offers = offers_and_systems(study, self.case.spend_on_offers())
        hosted = apis(study, self.case.spend_on_apis())
        for target in self._asked([*offers, *hosted]):
            question: partial[list[Shift]] = partial(list, by_energy(study, target))
            for shift in self._ask(f"energy price that flips {target.name}", question) or ():
                yield input_row(shift)
        for system, target in by_system(offers, study.problem).items():
            if not self.about(system):
                continue
            named = replace(target, kind="system", name=system)
            by_factor = partial(by_speed, study, named, partial(self.case.at_speed, system))
            shifted = self._ask(f"speed that flips {system}", by_factor)
            if shifted is not None:
                yield input_row(shifted)
        for apart, target in precisions(self.case.built, study, self.about):
            found = self._ask(f"premium of {target.name}", partial(flip, apart, target))
            if found is not None:
                self.found.setdefault("premium", []).append(premium_row(target, found))
        for rent in self.case.rents(self._asked(offers)):
            term = self._ask(f"term that flips {rent.target.name}", partial(self._term, rent))
            if term is not None:
                yield input_row(term)

    def _term(self, rent: Rent) -> Shift | None:
        return by_term(rent, self._flipped(rent.target))

    def _flipped(self, target: Target) -> Flip:
        """The flip price of an offer, found once."""
        key = (target.kind, target.name)
        if key not in self.flips:
            study, at = self.case.study, partial(discounted, self.case, target)
            whole = study.part is None
            self.flips[key] = flip(study, target) if whole else flip_in_part(study, target, at)
        return self.flips[key]

    def _flip_row(self, target: Target, found: Flip, shares: Sequence[Taken]) -> FlipPrice:
        price, unit = self._price(target)
        verdict = verdict_of(found)
        discount = found.discount if verdict in ("enters", "leaves") else None

        def at(off: float | None) -> float | None:
            return None if price is None or off is None else price * (1.0 - off)

        return FlipPrice(
            kind=target.kind,
            name=target.name,
            chosen=found.chosen,
            verdict=verdict,
            discount=discount,
            discount_low=None if discount is None else finite(found.low),
            discount_high=None if discount is None else finite(found.high),
            relaxed=found.relaxed,
            price=price,
            flip_price=at(discount),
            unit=unit,
            systems_with=dict(found.plan),
            systems_without=dict(found.without),
            takes=tuple(
                rows.Taken(
                    share=of.share,
                    discount=of.found.at,
                    discount_low=finite(of.found.low),
                    flip_price=at(of.found.at),
                    systems=_systems_of(of.found.plan),
                    how=of.found.how,
                )
                for of in shares
            ),
            solves=found.solves,
            how=found.how,
        )

    def _price(self, target: Target) -> tuple[float | None, str | None]:
        """The price of a target and its unit, where there is one."""
        parts = [self.case.priced[o] for o in target.offers]
        known = {(part.price, part.unit) for part in parts if part.price is not None}
        return next(iter(known)) if len(known) == 1 else (None, None)


def _other_than(plan: Plan | None, base: Answer) -> list[str]:
    """Whether the plan that was given has other systems than the one that was solved again."""
    if plan is None:
        return []
    stated: dict[str, int] = {}
    for row in plan.systems:
        name = f"{row.offer}@{row.site}"
        stated[name] = stated.get(name, 0) + row.count
    solved = systems_by_offer(base.problem, base.values)
    if stated == solved and math.isclose(
        plan.annual_cost_usd, base.annual_cost_usd, rel_tol=_SAME_PLAN
    ):
        return []
    said = ", ".join(f"{n} {name}" for name, n in sorted(stated.items())) or "no systems"
    return [
        f"explained is the best plan, solved again ({base.annual_cost_usd:,.0f} USD a year); the "
        f"plan given says {said} and {plan.annual_cost_usd:,.0f} USD a year: it is as good within "
        "its gap or for a wish of its own, or it was edited"
    ]


def _systems_of(plan: Answer | None) -> dict[str, int]:
    return {} if plan is None else systems_by_offer(plan.problem, plan.values)
