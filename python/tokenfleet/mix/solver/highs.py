"""HiGHS in process, as this package needs it: silent, stoppable, warm-started, honest.

PuLP builds the model; `QuietHighs` is PuLP's own HiGHS interface with five changes:

1. nothing is ever printed (standard output belongs to the answer);
2. Ctrl-C stops the search within a second and keeps the incumbent;
3. an incumbent can be given as a start (`start`);
4. the objective is scaled by a power of two; every HiGHS status has one of our `Status` values,
   and the bound is kept beside the value: after a time limit PuLP would say "Optimal";
5. the model crosses in one `passModel` of arrays instead of one call per column and row; the
   matrix is kept with the model, because a search solves one model many times with other bounds,
   right-hand sides and objectives (PuLP lists and sorts its columns anew at every step).

The relative gap is `|value - bound| / max(|value|, 1e-9)`; `optimal` means gap <= 1e-6.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import highspy
import numpy as np
import pulp
from numpy.typing import NDArray
from pulp import constants

from tokenfleet.mix.solver.silent import silent_highs

Status = Literal[
    "optimal", "within_gap", "feasible", "feasible_time_limit", "infeasible", "unbounded", "error"
]
PROVEN: tuple[Status, ...] = ("optimal", "within_gap")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]

OPTIMAL_GAP = 1e-6
_NONE = 1e30  # HiGHS says so, or infinity, where it has no number
_OPTIMAL = "Optimal"  # HiGHS's word
#: Its words for an error of its own, which HiGHS 1.16 has met where it was given a plan.
_FAILED = "Solve error"
_OFF = 1e-5  # relative, between a value and what its columns add up to
_GAP_SLACK = 1e-9  # the solver compares its gap with its own rounding
_INFEASIBLE = {highspy.HighsModelStatus.kInfeasible}
_UNBOUNDED = {
    highspy.HighsModelStatus.kUnbounded,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
}
_STOPPED = {
    highspy.HighsModelStatus.kTimeLimit,
    highspy.HighsModelStatus.kIterationLimit,
    highspy.HighsModelStatus.kSolutionLimit,
    highspy.HighsModelStatus.kMemoryLimit,
    highspy.HighsModelStatus.kInterrupt,
    highspy.HighsModelStatus.kHighsInterrupt,
    highspy.HighsModelStatus.kObjectiveBound,
    highspy.HighsModelStatus.kObjectiveTarget,
    highspy.HighsModelStatus.kUnknown,
}
#: Searches of HiGHS for plans: by jumps before the relaxation, and in parts of the model.
JUMP = "mip_heuristic_run_feasibility_jump"
SIDE_SEARCHES = (
    JUMP,
    "mip_heuristic_run_rens",
    "mip_heuristic_run_rins",
    "mip_heuristic_run_root_reduced_cost",
)
_SOLVED = {highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kModelEmpty}


def relative_gap(value: float, bound: float) -> float:
    """Relative distance of a value from its bound; `inf` while either is missing."""
    if not (math.isfinite(value) and math.isfinite(bound)):
        return math.inf
    return abs(value - bound) / max(abs(value), 1e-9)


def certify(value: float, bound: float, gap: float) -> Status:
    """Status of an incumbent whose value and bound are known, for a wanted gap."""
    reached = relative_gap(value, bound)
    if reached <= OPTIMAL_GAP or value == bound:
        return "optimal"
    return "within_gap" if reached <= gap + _GAP_SLACK else "feasible"


@dataclass(frozen=True)
class SolveOptions:
    """Solver settings: relative gap, seconds, threads, seed."""

    gap: float = 1e-4
    time_limit_s: float = 60.0
    threads: int = 0  # 0: as many as the solver chooses
    seed: int = 0
    heuristic_effort: float = 0.05  # share of the work HiGHS spends on finding plans
    first_plan: bool = False  # stop at the first plan
    nodes: int | None = None  # of the search tree, at most
    restarts: bool = True  # the search may begin anew with what it learnt
    without: tuple[str, ...] = ()  # searches for plans that are left out, such as `JUMP`


@dataclass(frozen=True)
class Outcome:
    """What one run of HiGHS proved, in the sense of the PuLP model (min or max)."""

    status: Status
    value: float  # nan without an incumbent
    bound: float  # proven bound on the optimum; -inf or inf (worst side) when nothing is proven
    gap: float
    interrupted: bool
    solver_status: str
    values: Mapping[str, float] = field(default_factory=dict)
    reduced_costs: Mapping[str, float] = field(default_factory=dict)
    row_duals: Mapping[str, float] = field(default_factory=dict)
    ray: tuple[str, ...] = ()  # columns along which the objective improves without end

    @property
    def has_incumbent(self) -> bool:
        """Whether there is a plan to read."""
        return self.status in (*PROVEN, "feasible")


class QuietHighs(pulp.HiGHS):  # type: ignore[misc]
    """PuLP's in-process HiGHS with the five changes of the module's text."""

    outcome: Outcome
    matrix: Matrix

    def __init__(
        self,
        options: SolveOptions,
        *,
        mip: bool = True,
        start: Mapping[str, float] | None = None,
        target: float | None = None,
        cutoff: float | None = None,
        as_arrays: bool = True,
        watch: Callable[[float, float], None] | None = None,
    ) -> None:
        super().__init__(
            mip=mip,
            msg=False,
            mip_rel_gap=options.gap,
            mip_abs_gap=0.0,
            threads=options.threads,
            time_limit=max(options.time_limit_s, 0.01),
            random_seed=options.seed,
            mip_heuristic_effort=options.heuristic_effort,
        )
        if options.first_plan:
            self.optionsDict["mip_max_improving_sols"] = 1
        if not options.restarts:
            self.optionsDict["mip_allow_restart"] = False
        if options.nodes is not None:
            self.optionsDict["mip_max_nodes"] = options.nodes
        self.optionsDict |= dict.fromkeys(options.without, False)
        self.gap = options.gap
        self.start = start
        self.target = target
        self.cutoff = cutoff
        self.as_arrays = as_arrays
        self.watch = watch  # told value and bound on the way, in the sense of the model
        self.interrupted = False
        self.factor = 1.0  # what HiGHS minimised = factor * the model's objective

    def createAndConfigureSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        """A silent solver with these options, before anything is handed to it."""
        lp.solverModel = silent_highs({"threads": self.threads, **self.optionsDict})

    def actualSolve(self, lp: pulp.LpProblem, callback: object = None) -> int:  # noqa: N802
        """PuLP's own steps, without its passes over every column between them."""
        self.createAndConfigureSolver(lp)
        self.buildSolverModel(lp)
        self.callSolver(lp)
        status, solution_status = self.findSolutionValues(lp)
        lp.assignStatus(status, solution_status)
        return int(status)

    def buildSolverModel(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        """Hand the model over, as arrays unless the test asks for PuLP's own way."""
        self.matrix = compiled(lp)
        self.factor = sign_of(lp)
        if self.as_arrays:
            self.factor *= power_of_two(largest_price(lp))
            lp.solverModel.passModel(arrays_of(lp, self.matrix, self.mip, self.factor))
        else:
            super().buildSolverModel(lp)
            lp.solverModel.changeObjectiveOffset(self.factor * lp.objective.constant)
        if self.target is not None:
            lp.solverModel.setOptionValue("objective_target", self.factor * self.target)
        if self.cutoff is not None:
            lp.solverModel.setOptionValue("objective_bound", self.factor * self.cutoff)
        if self.start is not None and self.mip:
            _set_start(lp, self.matrix, self.start)

    def callSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        """Run in a thread and wait, so that Ctrl-C is heard."""
        if self.watch is not None and self.mip:
            lp.solverModel.cbMipImprovingSolution.subscribe(self._said)
            lp.solverModel.cbMipLogging.subscribe(self._said)
        self.interrupted |= wait_for(lp.solverModel)

    def _said(self, event: Any) -> None:
        """What HiGHS says on the way."""
        assert self.watch is not None
        found = (event.data_out.mip_primal_bound, event.data_out.mip_dual_bound)
        value, bound = (x / self.factor if abs(x) < _NONE else math.nan for x in found)
        self.watch(value, bound)

    def findSolutionValues(self, lp: pulp.LpProblem) -> tuple[int, int]:  # noqa: N802
        """Read the outcome; PuLP's own pair of codes is derived from it."""
        self.outcome = _read(self, lp.solverModel)
        if self.outcome.has_incumbent:
            for variable in self.matrix.variables:
                variable.varValue = self.outcome.values[variable.name]
        return _PULP_CODES[self.outcome.status]


#: Set by a main thread that heard Ctrl-C, where solves run in threads that hear none.
STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)


def wait_for(solver: Any) -> bool:
    """Run HiGHS in a thread and wait; the first Ctrl-C, or `STOP`, stops it (the answer is then
    True), the third gives up."""
    solver.startSolve()
    presses, stop = 0, STOP.get()
    while True:
        try:
            if solver.wait(0.1)[0]:
                return presses > 0
            if presses == 0 and stop is not None and stop.is_set():
                presses += 1
                solver.cancelSolve()
        except KeyboardInterrupt:
            presses += 1
            solver.cancelSolve()
            if presses >= 3:
                raise


_PULP_CODES: dict[str, tuple[int, int]] = {
    "optimal": (constants.LpStatusOptimal, constants.LpSolutionOptimal),
    "within_gap": (constants.LpStatusOptimal, constants.LpSolutionIntegerFeasible),
    "feasible": (constants.LpStatusOptimal, constants.LpSolutionIntegerFeasible),
    "infeasible": (constants.LpStatusInfeasible, constants.LpSolutionInfeasible),
    "unbounded": (constants.LpStatusUnbounded, constants.LpSolutionUnbounded),
    "error": (constants.LpStatusNotSolved, constants.LpSolutionNoSolutionFound),
}


def run(
    prob: pulp.LpProblem,
    options: SolveOptions,
    *,
    mip: bool = True,
    start: Mapping[str, float] | None = None,
    target: float | None = None,
    cutoff: float | None = None,
    as_arrays: bool = True,
    watch: Callable[[float, float], None] | None = None,
) -> Outcome:
    """Solve a PuLP model and say what is proven; stop at the first value as good as `target`.

    Plans worse than `cutoff` are not looked for: where the bound reaches it there is no better one,
    and "infeasible" says no more than that.

    `watch(value, bound)` is told on the way, by the solver's own thread; NaN where there is none.

    An answer "infeasible or unbounded" is settled by a second run without presolve, one whose
    columns are not those of its value, or none at all for an error of the solver's own, by a second
    run without the start.

    Raises:
        KeyboardInterrupt: Ctrl-C in a relaxation, which has no plan that could be kept.
    """
    solver = partial(
        QuietHighs, options, mip=mip, target=target, cutoff=cutoff, as_arrays=as_arrays
    )
    outcome = _once(prob, solver(start=start, watch=watch))
    if outcome.interrupted and not mip:
        raise KeyboardInterrupt
    if start is not None and not outcome.interrupted and _is_misled(prob, outcome):
        outcome = _once(prob, solver())
    if outcome.status == "error" and outcome.solver_status == _OPTIMAL:
        # HiGHS 1.16, with a right-hand side a hair above a whole number: optimal, and not a number
        plain = solver()
        plain.optionsDict["presolve"] = "off"
        outcome = _once(prob, plain)
    if outcome.status == "unbounded":
        relaxed = QuietHighs(options, mip=False)
        relaxed.optionsDict["presolve"] = "off"
        settled = _once(prob, relaxed)
        return settled if settled.status in ("infeasible", "unbounded") else outcome
    return outcome


def _is_misled(prob: pulp.LpProblem, outcome: Outcome) -> bool:
    """Whether a run went wrong as those do that begin from a plan."""
    return outcome.solver_status == _FAILED or _is_another_plan(prob, outcome)


def _is_another_plan(prob: pulp.LpProblem, outcome: Outcome) -> bool:
    """Whether the columns are not those of the value that is claimed.

    HiGHS 1.16, where presolve alone solves a model, hands back the plan that it was given as a
    start beside the value of the better one that it found.
    """
    if not outcome.has_incumbent:
        return False
    paid = [a * outcome.values.get(v.name, 0.0) for v, a in prob.objective.items()]
    size = max(abs(outcome.value), sum(map(abs, paid)), 1e-9)
    return bool(abs(prob.objective.constant + sum(paid) - outcome.value) > _OFF * size)


def _once(prob: pulp.LpProblem, solver: QuietHighs) -> Outcome:
    prob.solve(solver)
    return solver.outcome


def sign_of(lp: pulp.LpProblem) -> float:
    """-1 for a model that is maximised: HiGHS always minimises."""
    return -1.0 if lp.sense == pulp.LpMaximize else 1.0


@dataclass(frozen=True, eq=False)
class Matrix:
    """The parts of a PuLP model that stay when bounds, right-hand sides and objective change."""

    variables: list[Any]  # in PuLP's order, by name
    names: list[str]
    index: dict[str, int]
    rows: list[Any]
    starts: IntArray
    columns: IntArray
    values: FloatArray
    integral: list[bool]


def compiled(lp: pulp.LpProblem) -> Matrix:
    """The model's matrix; rebuilt only when columns or rows were added since the last call."""
    rows = lp.constraints()
    known: Matrix | None = getattr(lp, "fleet_matrix", None)
    if known is not None and len(known.rows) == len(rows):
        names = {v.name for v in lp.objective.keys()}  # noqa: SIM118 (PuLP's keys differ from iter)
        if names <= known.index.keys():
            return known
    variables = list(lp.variables())
    index = {v.name: i for i, v in enumerate(variables)}
    matrix = Matrix(
        variables=variables,
        names=[v.name for v in variables],
        index=index,
        rows=rows,
        starts=np.cumsum([0] + [len(row) for row in rows], dtype=np.int32),
        columns=np.array([index[v.name] for row in rows for v in row.keys()], dtype=np.int32),  # noqa: SIM118
        values=np.array([a for row in rows for a in row.values()], dtype=float),
        integral=[v.cat == pulp.LpInteger for v in variables],
    )
    lp.fleet_matrix = matrix
    return matrix


def largest_price(lp: pulp.LpProblem) -> float:
    """Largest objective coefficient."""
    return max((abs(a) for a in lp.objective.values()), default=0.0)


def power_of_two(largest: float) -> float:
    """A power of two (exact) that brings the largest objective coefficient near 1,000.

    Tokens and dollars of a year reach 1e10 for one unit of a column, where tolerances lose sense.
    """
    return 2.0 ** -math.floor(math.log2(largest / 1e3)) if largest > 0 else 1.0


def arrays_of(lp: pulp.LpProblem, matrix: Matrix, mip: bool, factor: float) -> Any:
    """The model as HiGHS arrays: rows sparse, objective always minimised and scaled."""
    inf = highspy.kHighsInf
    highs_lp = highspy.HighsLp()
    highs_lp.num_col_, highs_lp.num_row_ = len(matrix.names), len(matrix.rows)
    cost = np.zeros(len(matrix.names))
    for variable, coefficient in lp.objective.items():
        cost[matrix.index[variable.name]] = factor * coefficient
    highs_lp.col_cost_ = cost
    highs_lp.offset_ = factor * lp.objective.constant
    highs_lp.col_lower_ = np.array([bound_of(v.lowBound, -inf) for v in matrix.variables])
    highs_lp.col_upper_ = np.array([bound_of(v.upBound, inf) for v in matrix.variables])
    highs_lp.row_lower_, highs_lp.row_upper_ = sides_of(matrix, range(len(matrix.rows)))
    fill(highs_lp, matrix.starts, matrix.columns, matrix.values)
    if mip:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        highs_lp.integrality_ = [kinds[whole] for whole in matrix.integral]
    return highs_lp


def fingerprint(lp: pulp.LpProblem) -> bytes:
    """The same of two models where all their numbers are: their plans are the same as well."""
    matrix = compiled(lp)
    whole = arrays_of(lp, matrix, False, sign_of(lp))
    numbers = (
        whole.col_cost_, whole.col_lower_, whole.col_upper_, whole.row_lower_, whole.row_upper_,
        matrix.starts, matrix.columns, matrix.values, matrix.integral, [whole.offset_],
    )  # fmt: skip
    digest = hashlib.sha256(f"{lp.sense} {matrix.names}".encode())
    for array in numbers:
        digest.update(np.asarray(array).tobytes())
    return digest.digest()


def bound_of(value: float | None, other: float) -> float:
    """A bound of a column, and what stands for none."""
    return other if value is None else float(value)


def sides_of(matrix: Matrix, rows: Iterable[int]) -> tuple[FloatArray, FloatArray]:
    """Least and most of what rows add up to."""
    kept = [matrix.rows[r] for r in rows]
    low = [
        -highspy.kHighsInf if row.sense == pulp.LpConstraintLE else -row.constant for row in kept
    ]
    up = [highspy.kHighsInf if row.sense == pulp.LpConstraintGE else -row.constant for row in kept]
    return np.array(low, dtype=float), np.array(up, dtype=float)


def fill(
    lp: Any,
    starts: Sequence[int] | IntArray,
    index: Sequence[int] | IntArray,
    value: Sequence[float] | FloatArray,
) -> None:
    """Give a programme its rows: where each starts, and columns and values of its entries."""
    sparse = lp.a_matrix_
    sparse.format_ = highspy.MatrixFormat.kRowwise
    sparse.num_col_, sparse.num_row_ = lp.num_col_, lp.num_row_
    sparse.start_ = np.asarray(starts, dtype=np.int32)
    sparse.index_ = np.asarray(index, dtype=np.int32)
    sparse.value_ = np.asarray(value, dtype=float)


def _set_start(lp: pulp.LpProblem, matrix: Matrix, start: Mapping[str, float]) -> None:
    """Give an incumbent; columns it does not name are 0."""
    solution = highspy.HighsSolution()
    solution.col_value = [float(start.get(name, 0.0)) for name in matrix.names]
    solution.value_valid = True
    lp.solverModel.setSolution(solution)


class _ByName(dict[str, float]):
    """Numbers by the name of a column or row. PuLP does not know a column that stands in no row and
    costs nothing: it is 0."""

    def __missing__(self, name: str) -> float:
        return 0.0


def _within_bounds(solver: Any, matrix: Matrix, solution: Any) -> dict[str, float]:
    """Columns of a solution. The solver lets them pass their bounds by its tolerance; no rate is
    below zero."""
    lp = solver.getLp()
    found = np.clip(solution.col_value, lp.col_lower_, lp.col_upper_)
    return _ByName(zip(matrix.names, found.tolist(), strict=True))


def _read(run_: QuietHighs, solver: Any) -> Outcome:
    """Status, value, bound and columns of the finished run, in the model's own sense and unit."""
    code, info, matrix = solver.getModelStatus(), solver.getInfo(), run_.matrix
    is_mip = run_.mip and any(matrix.integral)
    feasible = info.primal_solution_status == 2 and (code in _SOLVED or code in _STOPPED)
    feasible = feasible and math.isfinite(info.objective_function_value)
    value = info.objective_function_value / run_.factor if feasible else math.nan
    least = _bound(code, info, is_mip)
    if run_.cutoff is not None:  # what is left out beyond it has no say in HiGHS's own bound
        least = math.inf if code in _INFEASIBLE else least  # presolve alone says no bound
        least = min(least, run_.factor * run_.cutoff)
    bound = least / run_.factor
    solution = solver.getSolution()
    return Outcome(
        status=_status(code, feasible, value, bound, run_.gap),
        value=value,
        bound=bound,
        gap=relative_gap(value, bound),
        interrupted=run_.interrupted or code == highspy.HighsModelStatus.kInterrupt,
        solver_status=solver.modelStatusToString(code),
        values=_within_bounds(solver, matrix, solution) if feasible else {},
        reduced_costs={}
        if is_mip or not feasible
        else _named(matrix.names, solution.col_dual, run_.factor),
        row_duals={}
        if is_mip or not feasible
        else _named([row.name for row in matrix.rows], solution.row_dual, run_.factor),
        ray=_ray(solver, matrix, run_.mip) if code in _UNBOUNDED else (),
    )


def _named(names: list[str], duals: Any, factor: float) -> dict[str, float]:
    """Duals of a minimisation in the model's unit, by name of column or row."""
    return _ByName(zip(names, (np.array(duals) / abs(factor)).tolist(), strict=True))


def _bound(code: Any, info: Any, is_mip: bool) -> float:
    """Proven lower bound of the minimisation HiGHS saw."""
    if is_mip:
        return float(info.mip_dual_bound)
    return float(info.objective_function_value) if code in _SOLVED else -math.inf


def status_of_relaxation(solver: Any) -> Status:
    """Status of a linear programme; "error" for one that was stopped."""
    code = solver.getModelStatus()
    if code in _SOLVED:
        return "optimal"
    return _status(code, False, math.nan, math.nan, 0.0)


def _status(code: Any, feasible: bool, value: float, bound: float, gap: float) -> Status:
    if code in _INFEASIBLE:
        return "infeasible"
    if code in _UNBOUNDED:
        return "unbounded"
    if not feasible:
        return "error"
    return certify(value, bound, gap)


def _ray(solver: Any, matrix: Matrix, mip: bool) -> tuple[str, ...]:
    """Columns of an improving ray of the relaxation; empty if HiGHS has none to show."""
    if mip:  # a ray is only kept for a linear programme solved without presolve
        return ()
    status, has_ray, ray = _primal_ray(solver)
    if status != highspy.HighsStatus.kOk or not has_ray:
        return ()
    return tuple(name for name, step in zip(matrix.names, ray, strict=True) if abs(step) > 1e-9)


def _primal_ray(solver: Any) -> tuple[Any, bool, Any]:
    answer = solver.getPrimalRay()
    return answer if len(answer) == 3 else (answer[0], False, ())
