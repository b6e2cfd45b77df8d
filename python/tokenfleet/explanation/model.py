"""For the operations researcher: the model of a scenario before it is solved.

    built = tf.build_model("scenario.yaml")
    built.prob                                    # the PuLP problem
    built.table("columns")                        # name, kind, what it is, bounds, USD a year
    two = {c: 1.0 for c in built.named("systems", site="hall")}
    built.add("two racks at most", two, "<=", 2)  # a constraint of one's own
    plan = built.solve()                          # a plan that lists it among its warnings
    built.write("fleet.mps")

Columns have short names (`c0000012`); the tables say what each is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pulp

from tokenfleet.errors import InfeasibleError, SchemaError, SolverError
from tokenfleet.explanation.case import one_year
from tokenfleet.files.frames import Columns
from tokenfleet.files.whole import write_whole
from tokenfleet.mix.generate.generation import applies, is_large
from tokenfleet.mix.model import FleetModel, Label, build, frame_of
from tokenfleet.mix.model import objectives as objective
from tokenfleet.mix.model.frame import whole_systems
from tokenfleet.mix.model.index import IfUsed, Own, Reserve
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.search.ratio import search_ratio
from tokenfleet.mix.search.stages import search
from tokenfleet.mix.solve import bounded_scale, no_plan, result_of
from tokenfleet.mix.solver.effort import Effort
from tokenfleet.mix.solver.highs import SolveOptions, run, sign_of
from tokenfleet.mix.why.infeasible import check_problem, describe_label
from tokenfleet.optimize import check, least_to_check, solve_options, to_search
from tokenfleet.plan.extras import extras
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem import Built
from tokenfleet.problem import build as build_problem
from tokenfleet.problem.required import require_candidates
from tokenfleet.problem_data import Flow, Pool, Replicas, Systems
from tokenfleet.scenario.load import ScenarioSource, load_scenario
from tokenfleet.schema import did_you_mean
from tokenfleet.verify.bound import with_checked_bound
from tokenfleet.verify.mix import refuse
from tokenfleet.verify.routed import recheck

Sense = Literal["<=", ">=", "=="]
_SENSES: Mapping[str, int] = {
    "<=": pulp.LpConstraintLE,
    ">=": pulp.LpConstraintGE,
    "==": pulp.LpConstraintEQ,
}
_IDLE = 10_000.0  # systems or replicas that may be asked for where nothing else limits them
_BROKEN = 1e-6  # relative, by which a constraint of one's own may be missed


@dataclass(frozen=True)
class _Added:
    """A constraint of the user's own."""

    name: str
    weights: Mapping[str, float]
    sense: Sense
    limit: float

    def said(self) -> str:
        """The constraint as a sentence of the plan."""
        return f"the plan keeps a constraint of its own: {self.name} ({self.sense} {self.limit:g})"

    def missed(self, values: Mapping[str, float]) -> bool:
        """Whether these values of the columns break it."""
        total = sum(a * values.get(name, 0.0) for name, a in self.weights.items())
        room = _BROKEN * max(abs(self.limit), 1.0)
        over, under = total > self.limit + room, total < self.limit - room
        return {"<=": over, ">=": under, "==": over or under}[self.sense]


class BuiltModel:
    """The mix of a scenario as a PuLP problem with its objective, not yet solved.

    `prob` is the problem; what is changed in it by other means than `add` is not checked.
    """

    prob: pulp.LpProblem

    def __init__(self, built: Built, m: FleetModel, options: SolveOptions) -> None:
        self._built, self._m, self._options = built, m, options
        self._added: list[_Added] = []
        self.prob = m.prob

    def table(self, name: str) -> Columns:
        """`columns`, `rows`, or, of the linear relaxation, `reduced_costs` and `duals`.

        A dual is the change of the relaxation's value for one more unit of the row's limit, and a
        reduced cost that for one more of the column; whole systems jump, so neither is a price.

        Raises:
            SchemaError: no such table.
            SolverError: the relaxation has no solution.
        """
        makers = {
            "columns": self._columns,
            "rows": self._rows,
            "reduced_costs": self._reduced_costs,
            "duals": self._duals,
        }
        if name not in makers:
            raise SchemaError(f"a model has no table {name!r}", did_you_mean(name, makers))
        return makers[name]()

    def named(
        self,
        kind: str,
        *,
        site: str | None = None,
        system: str | None = None,
        offer: str | None = None,
        workload: str | None = None,
    ) -> list[str]:
        """Names of the columns of a kind (systems, replicas, flow, api, ...), as far as given.

        Raises:
            SchemaError: there is no such column.
        """
        asked = {"site": site, "system": system, "offer": offer, "workload": workload}
        wanted = {key: value for key, value in asked.items() if value is not None}
        found = [
            v.name
            for label, v in self._m.columns.items()
            if label.tag == kind
            and all(self._facts(label).get(key) == value for key, value in wanted.items())
        ]
        if not found:
            said = ", ".join(f"{key} {value}" for key, value in wanted.items())
            kinds = {label.tag for label in self._m.columns}
            raise SchemaError(
                f"no column of kind {kind!r}" + (f" with {said}" if said else ""),
                f"kinds: {', '.join(sorted(kinds))}; table('columns') lists all",
            )
        return found

    def add(self, name: str, weights: Mapping[str, float], sense: Sense, limit: float) -> None:
        """A constraint of one's own: `sum(weight * column) sense limit`, columns by name.

        Raises:
            SchemaError: an unknown column or sense, a name twice, or a number that is not finite.
        """
        by_name = {v.name: v for v in self._m.columns.values()}
        unknown = [c for c in weights if c not in by_name]
        if unknown:
            raise SchemaError(
                f"constraint {name!r}: no column {unknown[0]!r}", did_you_mean(unknown[0], by_name)
            )
        if sense not in _SENSES:
            raise SchemaError(f"constraint {name!r}: sense {sense!r}", "write <=, >= or ==")
        if not weights or not all(map(math.isfinite, [*weights.values(), limit])):
            raise SchemaError(f"constraint {name!r}: needs finite numbers", "give weights, a limit")
        if any(added.name == name for added in self._added):
            raise SchemaError(f"constraint {name!r} is there already", "give another name")
        self._open({la for la, v in self._m.columns.items() if v.name in weights})
        pairs = [(by_name[c], a) for c, a in weights.items()]
        self._m.row(Own(name), pairs, _SENSES[sense], limit)
        self._added.append(_Added(name, dict(weights), sense, limit))

    def _open(self, labels: AbstractSet[Label]) -> None:
        """Systems and replicas of these columns may be more than requests need, which is all that
        the model has room for by itself: a constraint may ask for idle ones."""
        m, offers = self._m, self._m.problem.offers
        pools = {la.pool for la in labels if isinstance(la, Replicas)}
        pools |= {offers[la.offer].pool for la in labels if isinstance(la, Systems)}
        for label, v in m.columns.items():
            if isinstance(label, Systems) and offers[label.offer].pool in pools:
                most = whole_systems(offers[label.offer].supply)
                v.upBound = most if math.isfinite(most) else None
            elif isinstance(label, Replicas) and label in labels:
                v.upBound = None
        for row in self.prob.constraints():
            if isinstance(m.rows[row.name], (Reserve, IfUsed)):
                _make_room(row)

    def solve(self) -> Plan:
        """The best plan, checked as every plan is, and against the constraints that were added.

        They are listed among the plan's warnings. Its bound cannot be confirmed by the second
        formulation, which does not know them, unless they cost nothing.

        Raises:
            InfeasibleError: no plan keeps them all.
            SolverError: no plan in time, or one that fails a check.
            KeyboardInterrupt: Ctrl-C before any plan.
        """
        begun, m = time.perf_counter(), self._m
        effort = Effort.of(to_search(self._options))
        ratio = m.problem.objective.goal.per is not None
        found = search_ratio(m, effort) if ratio else search(m, effort)
        if not found.values:
            if found.status == "infeasible":
                names = [added.name for added in self._added]
                raise InfeasibleError("no plan keeps every constraint", names)
            raise KeyboardInterrupt if found.interrupted else no_plan()
        result = self._said(result_of(m, found))
        refuse([added.name for added in self._added if added.missed(found.values)])
        check(result, self._built)
        least = least_to_check(self._options)
        checked = with_checked_bound(result, self._options.gap, least)
        return plan_of(checked, extras(self._built, checked, time.perf_counter() - begun))

    def _said(self, result: MixResult) -> MixResult:
        """The result, with its constraints and the limits that it fails among the warnings."""
        warnings = [*result.warnings, *(added.said() for added in self._added)]
        if recheck(self._built, result):
            warnings.append("some replicas fail their latency limits at the routed mix")
        return replace(result, warnings=tuple(warnings))

    def write(self, path: str | Path) -> None:
        """The model as a file: MPS (.mps) or LP (.lp), with the names of the tables.

        Raises:
            SchemaError: another ending.
        """
        target, prob = Path(path), _with_constant(self.prob)
        # Of an MPS file that says no sense every reader makes a minimum.
        writers = {".mps": partial(prob.writeMPS, with_objsense=True), ".lp": prob.writeLP}
        if target.suffix.lower() not in writers:
            raise SchemaError(f"{target}: unknown format of a model", "end the name in .mps or .lp")
        part = target.with_name(f".{target.name}.part")
        try:
            writers[target.suffix.lower()](str(part))
            write_whole(target, part.read_bytes())
        finally:
            part.unlink(missing_ok=True)

    # Tables

    def _facts(self, label: Label) -> dict[str, Any]:
        """What a column is of, in the scenario's names."""
        problem = self._m.problem
        facts: dict[str, Any] = {}
        pool: Pool | None = None
        if isinstance(label, Systems):
            offer = problem.offers[label.offer]
            facts["offer"] = offer.stated_as
            pool = problem.pools[offer.pool]
        elif isinstance(label, (Replicas, Flow)):
            pool = problem.pools[label.pool]
            candidate = problem.candidates[label.candidate]
            facts |= {"workload": problem.workloads[candidate.workload].id}
            facts |= {"candidate": candidate.id}
        elif label.tag == "api":
            facts["workload"] = problem.workloads[problem.apis[label.api].workload].id
        if pool is not None:
            facts |= {"site": problem.sites[pool.site].id, "system": pool.system}
        return facts

    def _columns(self) -> Columns:
        usd = objective.cost_coefficients(self._m)
        return Columns.of(
            {
                "name": v.name,
                "kind": label.tag,
                "what": describe_label(self._m.problem, label),
                "site": None,
                "system": None,
                "offer": None,
                "workload": None,
                "candidate": None,
                **self._facts(label),
                "low": v.lowBound,
                "up": v.upBound,
                "whole": v.cat == pulp.LpInteger,
                "usd_per_year": usd.get(label, 0.0),
            }
            for label, v in self._m.columns.items()
        )

    def _rows(self) -> Columns:
        senses = {number: sense for sense, number in _SENSES.items()}
        return Columns.of(
            {
                "name": row.name,
                "family": self._m.rows[row.name].family,
                "of": _of(self._m.rows[row.name]),
                "sense": senses[row.sense],
                "limit": -row.constant,
                "columns": len(row),
            }
            for row in self.prob.constraints()
        )

    def _relaxed(self) -> Any:
        if self._m.problem.objective.goal.per is not None:
            raise SolverError("a ratio has no duals of its own", "ask for least_cost")
        outcome = run(self.prob, self._options, mip=False)
        if not outcome.has_incumbent:
            raise SolverError("the relaxation has no solution", "loosen the constraints")
        return outcome

    def _reduced_costs(self) -> Columns:
        outcome, sign = self._relaxed(), sign_of(self.prob)
        return Columns.of(
            {
                "name": v.name,
                "what": describe_label(self._m.problem, label),
                "value": outcome.values[v.name],
                "reduced_cost": sign * outcome.reduced_costs[v.name],
            }
            for label, v in self._m.columns.items()
        )

    def _duals(self) -> Columns:
        outcome, sign = self._relaxed(), sign_of(self.prob)
        return Columns.of(
            {
                "name": name,
                "family": row.family,
                "of": _of(row),
                "dual": sign * outcome.row_duals[name],
            }
            for name, row in self._m.rows.items()
        )


def _with_constant(prob: pulp.LpProblem) -> pulp.LpProblem:
    """The problem with the constant of its objective as the cost of a column that is one: files
    have no place for it that every solver reads."""
    if not prob.objective.constant:
        return prob
    written = prob.copy()
    one = written.add_variable("constant", lowBound=1.0, upBound=1.0)
    written.setObjective(prob.objective - prob.objective.constant + prob.objective.constant * one)
    return written


def _make_room(row: pulp.LpConstraint) -> None:
    """What stands only where a binary says so may stand up to its bounds."""
    held = [v for v, a in row.items() if a > 0]
    ((used, before),) = [(v, a) for v, a in row.items() if a < 0]
    most = sum(_IDLE if v.upBound is None else min(v.upBound, _IDLE) for v in held)
    more = max(most + before, 0.0)
    row.addInPlace(pulp.LpAffineExpression([(used, -more)]))


def _of(row: Any) -> str:
    """The fields of a row's label: `block=0 workload=1 cls=0`."""
    named = row._asdict()
    return " ".join(f"{key}={value}" for key, value in named.items() if key != "family")


def build_model(scenario: ScenarioSource) -> BuiltModel:
    """The PuLP problem of a scenario with labelled columns and rows, before it is solved.

    Constraints of one's own go in by `add`; `solve` gives the plan that keeps them.

    Raises:
        SchemaError: the scenario cannot be understood, or is one over time.
        InfeasibleError: a workload that nothing can serve.
        SolverError: the problem is so large that its model is never built whole.
    """
    loaded = load_scenario(scenario)
    one_year(loaded)
    built = build_problem(loaded)
    require_candidates(built)
    problem, options = built.problem, solve_options(loaded.scenario)
    check_problem(problem)
    if applies(problem) and is_large(problem):
        raise SolverError("the problem is too large to be built whole", "plan for fewer systems")
    frame = frame_of(problem, bounded_scale(problem, options), every_system=True)
    m = build(problem, frame=frame)
    objective.set_goal(m)
    return BuiltModel(built, m, options)
