"""Repairs of a wish that cannot be had: small sets of concessions, each applied and solved.

Every limit may give way by a slack, at most M z with one binary z for each limit (a site's power,
an offer's supply, a workload's demand). The fewest limits that suffice come first, and of those
the set that asks for least: relative to each limit, or by the buyer's prices for a unit of each.
That set is then forbidden, with all that contain it, and the question asked again: so no set shown
contains another. Each is applied as it is written, in whole units, and the best plan after it
solved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

import pulp

from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.study import Answer, HardSolveError, Study
from tokenfleet.mix.model import FleetModel, Label, build, frame_of, limits
from tokenfleet.mix.model.index import Demand, Own, Row, Slack
from tokenfleet.mix.model.limits import size_of_limit
from tokenfleet.mix.model.objectives import Coefficients, cost_coefficients, set_objective
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import Outcome, run
from tokenfleet.mix.why.infeasible import repair_of
from tokenfleet.problem_data import Problem

AT_MOST = 5  # sets of limits that are shown
AT_LEAST = 3  # of all sets, below which those are sought in which promises give way beside others
USED = 1e-6  # of a limit, below which it did not give way
_DEAREST = 1e3  # times a limit: what a slack may be at most, where nothing else says

K = TypeVar("K", bound=tuple[Any, ...])  # what gives way: its family first
Key = tuple[str, str]  # family, and the site, offer, API or workload (or all) that it is of


@dataclass(frozen=True)
class Concession:
    """A limit that gives way, and by how much."""

    family: str
    where: str
    amount: float
    unit: str
    limit: float
    lower: bool = False  # the limit comes down: a demand, a floor

    @property
    def words(self) -> str:
        """What gives way, in words: "annual budget"."""
        return limits.words_of(self.family)

    @property
    def after(self) -> float:
        """What the limit has to be."""
        return self.limit - self.amount if self.lower else self.limit + self.amount


@dataclass(frozen=True)
class Repaired:
    """A minimal set of concessions, and the cheapest plan once they are made."""

    concessions: tuple[Concession, ...]
    plan: Answer = field(repr=False)
    problem: Problem = field(repr=False)
    price_usd: float = 0.0  # of the concessions, where the buyer gave prices


def repairs(
    study: Study,
    prices: Mapping[Key, float] | None = None,
    at_most: int = AT_MOST,
    ask: Ask = plainly,
) -> Iterator[Repaired]:
    """Minimal sets of concessions, those of the fewest limits first.

    `prices` are USD a year for a unit of a limit; without, the least relative change counts.
    """
    elastic = elastic_of(study, prices)
    for _ in range(at_most):
        found = ask("the next set of limits that could give way", elastic.next)
        if found is None:
            return
        repair = repair_of(study.problem, found.slack)
        assert repair is not None
        concessions = tuple(
            conceded_of(study.problem, elastic.keys[key], found.slack) for key in sorted(found.used)
        )
        problem = repair.loosened
        nothing_left = not any(w.demand_rps.any() for w in problem.workloads)
        if nothing_left:
            continue
        given = " and ".join(f"{c.words} of {c.where}" for c in concessions)
        plan = ask(f"the plan after another {given}", partial(study.again, problem))
        if plan is not None:
            price = sum(
                (prices or {}).get((c.family, c.where), 0.0) * c.amount for c in concessions
            )
            yield Repaired(concessions, plan, problem, price)


def keys_of(repaired: Repaired) -> frozenset[Key]:
    """What gives way in a set."""
    return frozenset((c.family, c.where) for c in repaired.concessions)


@dataclass(frozen=True)
class Conflict:
    """Limits that cannot all hold, whatever the others are; without any one of them they could.

    `minimal` is False where a solve ended before it could tell.
    """

    limits: tuple[Concession, ...]
    minimal: bool


def conflict(study: Study) -> Conflict:
    """A smallest set of limits in conflict, by leaving out one after the other.

    What is left out stays out if there is still no plan: so each limit that is kept is one without
    which, beside the others that are kept, there is a plan.

    Raises:
        OutOfTimeError, KeyboardInterrupt: before it was found.
    """
    problem, elastic = study.problem, elastic_of(study)
    kept, minimal = elastic.conflict()
    none = {slack: size_of_limit(problem, slack.row) * USED for slack in elastic.slacks}
    found = (replace(conceded_of(problem, elastic.keys[key], none), amount=0.0) for key in kept)
    return Conflict(tuple(found), minimal)


def elastic_of(study: Study, prices: Mapping[Key, float] | None = None) -> Elastic[Key]:
    """The problem of a study with every limit that may give way."""
    problem = study.problem
    least = max((w.min_scale for w in problem.workloads if w.free), default=0.0)
    names = frozenset(limits.that_give_way(problem))
    m = build(problem, relax=names, frame=frame_of(problem, least, every_system=True))
    keys: dict[Key, list[Slack]] = {}
    for slack in m.of(Slack):
        keys.setdefault(_key(problem, slack.row), []).append(slack)
    return Elastic(m, keys, partial(size_of_limit, problem), study.effort, prices or {})


@dataclass(frozen=True)
class Given(Generic[K]):
    """Limits that give way together, and by how much each of their rows does."""

    used: frozenset[K]
    slack: Mapping[Slack, float]
    proven: bool  # that fewer limits are not enough, and less of these is not
    values: Mapping[Label, float] = field(default_factory=dict, repr=False)  # a plan with them


class Elastic(Generic[K]):
    """A model whose limits give way, and a binary for each of them; a limit has several rows."""

    def __init__(
        self,
        m: FleetModel,
        keys: Mapping[K, list[Slack]],
        size: Callable[[Row], float],
        effort: Callable[[], Effort],
        prices: Mapping[K, float],
    ) -> None:
        """`keys` are the rows of each limit that may give way, in a model that was built to relax
        them; `size` the limit of a row, in its own unit; `effort` the time of one solve."""
        self.m, self.keys, self.size, self.effort = m, keys, size, effort
        self.prices = prices
        self.slacks = m.of(Slack)
        self.gives: dict[K, pulp.LpVariable] = {}
        most = _most(m, size)
        for i, (key, slacks) in enumerate(sorted(keys.items())):
            z = m.prob.add_variable(f"z{i:04d}", 0, 1, pulp.LpInteger)
            self.gives[key] = z
            for slack in slacks:
                v = m.columns[slack]
                row = Own(f"gives way {v.name}")
                m.row(row, [(v, 1.0), (z, -most[slack])], pulp.LpConstraintLE, 0.0)

    def in_order(self) -> list[K]:
        """Everything that may give way, demand last."""
        return sorted(self.gives, key=lambda key: (key[0] == "demand", key))

    def by_itself(self, key: K) -> Given[K] | None:
        """By how little a limit must give way to be enough alone; None where it is not. Where
        models are large these are told sooner than the fewest limits are.

        Raises:
            HardSolveError: its time ended it.
        """
        self._set_wish()
        for other, z in self.gives.items():
            z.upBound = float(other == key)
        outcome = self._outcome(relaxed=True)  # mostly a proof in no time that it is not enough
        if outcome.status != "infeasible":
            outcome = self._outcome()
        for z in self.gives.values():
            z.upBound = 1.0
        if outcome.status == "infeasible":
            return None
        if not outcome.has_incumbent:
            raise HardSolveError("a solve ended at its time before it had a plan", "give it more")
        return self._given(outcome.values, proven=outcome.status == "optimal")

    def next(self) -> Given[K] | None:
        """The next set; None where there is none."""
        count = pulp.LpAffineExpression([(z, 1.0) for z in self.gives.values()])
        self.m.prob.sense = pulp.LpMinimize
        self.m.prob.setObjective(count)
        fewest = self._run()
        if fewest is None:
            return None
        size = round(sum(fewest.values[z.name] for z in self.gives.values()))
        row = Own(f"as few {len(self.m.rows)}")
        self.m.row(row, [(z, 1.0) for z in self.gives.values()], pulp.LpConstraintLE, size)
        limit = self.m.prob.constraints()[-1]
        self._set_wish()
        best = self._run(fewest.values)
        limit.changeRHS(float(len(self.gives)))
        if best is None:
            return None
        return self._given(best.values, proven=fewest.status == best.status == "optimal")

    def _given(self, values: Mapping[str, float], *, proven: bool) -> Given[K] | None:
        """What gives way in a solution, which is forbidden from now on; None where nothing does."""
        slack = {la: values[v.name] for la, v in self.slacks.items()}
        used = frozenset(
            key
            for key, slacks in self.keys.items()
            if any(slack[s] > USED * max(self.size(s.row), USED) for s in slacks)
        )
        if not used:
            return None
        self.forbid(used)
        plan: dict[Label, float] = {
            la: values[v.name] for la, v in self.m.columns.items() if not isinstance(la, Slack)
        }
        return Given(used, slack, proven, plan)

    def forbid(self, used: frozenset[K]) -> None:
        """Lets no later set contain this one."""
        forbidden = [(self.gives[key], 1.0) for key in used]
        row = Own(f"another set {len(self.m.rows)}")
        self.m.row(row, forbidden, pulp.LpConstraintLE, float(len(used) - 1))

    def is_enough(self, some: frozenset[K]) -> bool:
        """Whether there is a plan where some of the limits give way, however far."""
        set_objective(self.m, {})
        for key, z in self.gives.items():
            z.upBound = float(key in some)
        outcome = self._outcome()
        for z in self.gives.values():
            z.upBound = 1.0
        if outcome.status != "infeasible" and not outcome.has_incumbent:
            raise HardSolveError("a solve ended at its time before it could tell", "give it more")
        return outcome.status != "infeasible"

    def conflict(self) -> tuple[list[K], bool]:
        """The limits that are left where none more can be left out, and whether each solve could
        tell."""
        set_objective(self.m, {})
        minimal, kept = True, []
        for z in self.gives.values():
            z.upBound = 0.0
        for key in self.in_order():
            z = self.gives[key]
            z.upBound = 1.0
            outcome = self._outcome()
            if outcome.status != "infeasible":
                minimal &= outcome.has_incumbent
                z.upBound = 0.0
                kept.append(key)
        for z in self.gives.values():
            z.upBound = 1.0
        return kept, minimal

    def _set_wish(self) -> None:
        """The least change, by the buyer's prices or relative to each limit."""
        if not self.prices:
            weights: Coefficients = {s: 1.0 / max(self.size(s.row), 1e-6) for s in self.slacks}
            set_objective(self.m, weights)
            return
        paid = dict(cost_coefficients(self.m))
        for key, slacks in self.keys.items():
            for slack in slacks:
                paid[slack] = paid.get(slack, 0.0) + self.prices.get(key, 0.0)
        set_objective(self.m, paid)

    def _run(self, start: Mapping[str, float] | None = None) -> Outcome | None:
        outcome = self._outcome(start)
        if not outcome.has_incumbent and outcome.status != "infeasible":
            raise HardSolveError("a solve ended at its time before it had a plan", "give it more")
        return outcome if outcome.has_incumbent else None

    def _outcome(
        self, start: Mapping[str, float] | None = None, *, relaxed: bool = False
    ) -> Outcome:
        effort = self.effort()
        outcome = run(self.m.prob, effort.within(effort.left()), start=start, mip=not relaxed)
        if outcome.interrupted:
            raise KeyboardInterrupt
        return outcome


def conceded_of(
    problem: Problem, slacks: Iterable[Slack], given: Mapping[Slack, float]
) -> Concession:
    """What one limit gives: of demand the requests/s of all classes in the block that most of
    them are missing in, of others the largest slack."""
    rows = {s.row: given[s] for s in slacks}
    first = next(iter(rows))
    family, key = limits.family_of(first), _key(problem, first)
    assert family is not None
    if isinstance(first, Demand):
        missing, asked = requests_given(problem, rows)
        worst = max(missing, key=lambda b: missing[b])
        return Concession(*key, missing[worst], family.unit.name, asked[worst], lower=True)
    row, amount = max(rows.items(), key=lambda item: item[1])
    return Concession(
        *key, family.unit.enough(amount), family.unit.name, family.at(problem, row).limit
    )


def requests_given(
    problem: Problem, rows: Mapping[Row, float]
) -> tuple[dict[int, float], dict[int, float]]:
    """Requests/s of all classes that are given up, and that were asked for, by block."""
    missing: dict[int, float] = {}
    asked: dict[int, float] = {}
    for row, amount in rows.items():
        family = limits.family_of(row)
        assert isinstance(row, Demand) and family is not None
        enough = family.unit.enough(amount) if amount > 0 else 0.0
        missing[row.block] = missing.get(row.block, 0.0) + enough
        asked[row.block] = asked.get(row.block, 0.0) + family.size(problem, row)
    return missing, asked


def _key(problem: Problem, row: Row) -> Key:
    if isinstance(row, Demand):
        return "demand", problem.workloads[row.workload].id
    family = limits.family_of(row)
    assert family is not None
    return family.name, family.at(problem, row).name


def _most(m: FleetModel, size_of: Callable[[Row], float]) -> dict[Slack, float]:
    """The most that each slack can be of use: what its row holds with every column at its bound."""
    slacks = {m.columns[la].name: la for la in m.of(Slack)}
    found: dict[Slack, float] = {}
    for row in m.prob.constraints():
        own = next((slacks[v.name] for v in row.keys() if v.name in slacks), None)  # noqa: SIM118
        if own is None:
            continue
        size = size_of(own.row)
        bounds = [(a, v.upBound) for v, a in row.items() if v.name not in slacks and a > 0]
        if isinstance(own.row, Demand):
            most = size
        elif all(up is not None for _, up in bounds):
            total = sum(a * up for a, up in bounds)
            most = max(total + row.constant, 0.0) + 1e-6 * size
        else:
            most = _DEAREST * max(size, 1.0)
        found[own] = max(most, found.get(own, 0.0))
    return found
