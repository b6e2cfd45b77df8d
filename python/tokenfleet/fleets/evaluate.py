"""`evaluate_fleets`: each row a whole mix; feasible or not and why, its cost and its power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenfleet.errors import SchemaError, SolverError
from tokenfleet.files.frames import Columns, columns_of, is_frame
from tokenfleet.fleets import booking, limits, routing
from tokenfleet.fleets.routing import Part
from tokenfleet.fleets.whole import WholePart, whole_parts
from tokenfleet.mix.model.choices import STAFF, without_fixed_staff
from tokenfleet.mix.model.limits import capex_used
from tokenfleet.problem import build
from tokenfleet.problem.required import require_candidates
from tokenfleet.problem_data import HOURS_PER_YEAR, Api, FloatArray, Flow, Problem, Short, Systems
from tokenfleet.scenario.load import ScenarioSource, load_scenario
from tokenfleet.schema import did_you_mean

#: Unmet demand up to this share of the demand is rounding of the solver.
DEMAND_TOLERANCE = 1e-6
_PER_MTOK = 1e6
_MOVING = (Flow, Api, Short)
#: Fleets that are evaluated at once.
SLICE_FLEETS = 1 << 16


@dataclass(frozen=True)
class FleetAnswers:
    """Answers by column; every array is (cases, fleets).

    `routing` has requests/s by flow where they were asked for, (cases, fleets, flows), with
    `flows` to say which: block, site, system, workload, class, candidate or API.
    """

    columns: dict[str, NDArray[Any]]
    flows: tuple[dict[str, object], ...] = ()
    routing: NDArray[np.float64] | None = field(default=None, repr=False)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def table(self) -> Columns:
        """The answers as columns, a row for each fleet and case, counted from 1."""
        cases, fleets = self["feasible"].shape
        rows = {"fleet": np.arange(1, fleets + 1), "case": np.arange(1, cases + 1)}
        index = {"fleet": np.repeat(rows["fleet"], cases), "case": np.tile(rows["case"], fleets)}
        return Columns({**index, **{n: v.T.reshape(-1) for n, v in self.columns.items()}})


def evaluate_fleets(
    scenario: ScenarioSource,
    counts: ArrayLike | Mapping[str, ArrayLike],
    *,
    demand: ArrayLike = 1.0,
    energy_price: ArrayLike = 1.0,
    system_price: ArrayLike = 1.0,
    routing: bool = False,
    whole_replicas: bool = False,
    threads: int = 0,
) -> FleetAnswers:
    """What each fleet costs and draws, and whether it serves the demand within every limit.

    `counts` are systems: an array (fleets, offers) in the order of `FleetEvaluator.offers`, or
    columns by `offer@site` (a mapping or a DataFrame), where what is not named is 0. `demand`,
    `energy_price` (of the tariffs, not of carbon and water) and `system_price` multiply the
    scenario's; each is a number, or one for every case of prices and demand.
    Demand goes where it costs least. Replicas are fractions unless `whole_replicas` counts whole
    ones, which takes an integer programme for each fleet, see `docs/fleets.md`.

    Raises:
        SchemaError: a scenario without fixed demand, an unknown column, or a count that is not a
            whole number of 0 or more; names row and column.
        SolverError: a routing could not be certified.
    """
    evaluator = FleetEvaluator(scenario, whole_replicas=whole_replicas)
    table = evaluator.counts(counts)
    return evaluator.evaluate(
        table,
        demand=demand,
        energy_price=energy_price,
        system_price=system_price,
        routing=routing,
        threads=threads,
    )


class FleetEvaluator:
    """A scenario made ready to evaluate any number of fleets."""

    def __init__(self, scenario: ScenarioSource | Problem, *, whole_replicas: bool = False) -> None:
        problem = fixed_problem(scenario)
        self.problem = problem
        self.model = routing.routing_model(without_fixed_staff(problem))
        parts = whole_parts if whole_replicas else routing.routing_parts
        self.parts: Sequence[Part | WholePart] = parts(self.model)
        limits.require_judged(self.model)
        booking.require_known(self.model, self.parts)
        self._items = booking.system_items(self.model)

    @property
    def offers(self) -> list[str]:
        """Columns of a fleet: `offer@site`."""
        return [offer.id for offer in self.problem.offers]

    def counts(self, given: ArrayLike | Mapping[str, ArrayLike], first_row: int = 0) -> FloatArray:
        """Counts as (fleets, offers), checked.

        Raises:
            SchemaError: an unknown column or a bad count; names it.
        """
        if is_frame(given):
            given = columns_of(given)
        table = self._by_name(given) if isinstance(given, Mapping) else _numbers(given, "counts")
        if table.ndim != 2 or table.shape[1] != len(self.offers):
            raise SchemaError(
                f"counts: has the shape {table.shape}, must be (fleets, {len(self.offers)})",
                f"the columns are {', '.join(self.offers)[:300]}",
            )
        bad = ~are_counts(table)
        if bad.any():
            row, o = (int(i) for i in np.argwhere(bad)[0])
            raise SchemaError(
                f"row {first_row + row + 1}, column {self.offers[o]!r}: {table[row, o]:g} is not a "
                "number of systems",
                "write a whole number of 0 or more",
            )
        return table

    def _by_name(self, given: Mapping[str, ArrayLike]) -> FloatArray:
        columns = {name: _numbers(values, f"column {name!r}") for name, values in given.items()}
        for name in columns:
            if name not in self.offers:
                raise SchemaError(f"unknown column {name!r}", did_you_mean(name, self.offers))
        lengths = {len(np.atleast_1d(values)) for values in columns.values()}
        if len(lengths) != 1:
            raise SchemaError("counts: columns of different lengths", "give every fleet each count")
        table = np.zeros((lengths.pop(), len(self.offers)))
        for name, values in columns.items():
            table[:, self.offers.index(name)] = values
        return table

    def evaluate(
        self,
        counts: FloatArray,
        *,
        demand: ArrayLike = 1.0,
        energy_price: ArrayLike = 1.0,
        system_price: ArrayLike = 1.0,
        routing: bool = False,
        threads: int = 0,
    ) -> FleetAnswers:
        """Answers for checked counts; see `evaluate_fleets`."""
        given = cases(demand, energy_price, system_price)
        firsts = range(0, max(len(counts), 1), SLICE_FLEETS)
        columns: dict[str, NDArray[Any]] = {}
        flows: list[NDArray[np.float64]] = []
        for first in firsts:  # so that what is worked with does not grow with the fleets
            held = _Held.of(self, counts[first : first + SLICE_FLEETS])
            found = [self._under(held, *s, routing=routing, threads=threads) for s in given]
            for s, (answers, _) in enumerate(found):
                for name, values in answers.items():
                    if name not in columns:
                        columns[name] = np.empty((len(given), len(counts)), values.dtype)
                    columns[name][s, first : first + SLICE_FLEETS] = values
            if routing:
                flows.append(np.stack([f for _, f in found]))
        if not routing:
            return FleetAnswers(columns)
        return FleetAnswers(columns, self._flows(), np.concatenate(flows, axis=1))

    def _under(
        self,
        held: _Held,
        demand: float,
        energy_price: float,
        system_price: float,
        *,
        routing: bool,
        threads: int,
    ) -> tuple[dict[str, NDArray[Any]], FloatArray]:
        """All columns in one case, and the flows."""
        routed = _route(self, held, demand, energy_price, with_flows=routing, threads=threads)
        columns: dict[str, NDArray[Any]] = {}
        items = {
            name: usd * booking.multiple(name, energy_price, system_price)
            for name, usd in held.items.items()
        }
        for name, usd in routed.items.items():
            items[name] = items.get(name, 0.0) + usd * booking.multiple(name, energy_price)
        if self.model.constant_usd:
            items["contracted_power"] = np.full(len(held.counts), self.model.constant_usd)
        cost = np.sum([np.broadcast_to(v, len(held.counts)) for v in items.values()], axis=0)
        verdict = _Verdict(len(held.counts))
        unmet = routed.unmet_by_workload
        for w, workload in enumerate(self.problem.workloads):
            verdict.over(
                f"demand of {workload.id}", "requests_per_s", unmet[:, w], routed.allowed[w]
            )
        paid = replace(held.fleets, annual_cost_usd=cost)
        headroom = [*held.headroom, *limits.headroom(paid, "cost")]
        for room in headroom:
            verdict.over(room.name, room.unit, -room.left, room.rounding)
        columns["feasible"] = verdict.broken == 0
        columns["limits_broken"] = verdict.broken
        columns["limit"] = verdict.limit
        columns["limit_unit"] = verdict.unit
        columns["excess"] = verdict.excess
        columns["annual_cost_usd"] = cost
        total = routed.output_tokens + routed.input_tokens
        with np.errstate(divide="ignore", invalid="ignore"):
            columns["cost_per_mtok_output_usd"] = _ratio(cost, routed.output_tokens)
            columns["cost_per_mtok_total_usd"] = _ratio(cost, total)
            used = routed.busy / held.gpus
        columns["tokens_per_year_output"] = routed.output_tokens
        columns["capex_usd"] = held.capex
        columns["provisioned_kw"] = held.provisioned_kw
        columns["drawn_kw"] = held.idle_kw + routed.kwh / HOURS_PER_YEAR
        columns["utilisation"] = np.where(held.gpus > 0, used, 0.0)
        columns |= {f"{n}_usd": np.broadcast_to(v, len(cost)) for n, v in sorted(items.items())}
        for w, workload in enumerate(self.problem.workloads):
            columns[f"unmet_{workload.id}_requests_per_s"] = unmet[:, w]
        for room in headroom:
            columns[f"headroom_{_word(room.name)}_{room.unit}"] = room.left
        columns["routing_gap"] = routed.gap
        return columns, routed.flows

    def _flows(self) -> tuple[dict[str, object], ...]:
        return tuple(
            _flow(self, label)
            for part in self.parts
            for label in part.columns
            if isinstance(label, _MOVING)
        )


def fixed_problem(scenario: ScenarioSource | Problem) -> Problem:
    """The problem of a scenario whose demand is fixed.

    Raises:
        SchemaError: some demand is free.
    """
    problem = scenario if isinstance(scenario, Problem) else _built(scenario)
    if routing.is_free(problem):
        raise SchemaError(
            "evaluating fleets needs demand with a stated rate, and this scenario's is free",
            "give requests_per_s for every workload",
        )
    return problem


def _built(scenario: ScenarioSource) -> Problem:
    loaded = load_scenario(scenario)
    built = build(loaded)
    require_candidates(built)
    return built.problem


def _numbers(values: ArrayLike, what: str) -> FloatArray:
    try:
        raw = np.asarray(values)
        if raw.dtype == bool:
            raise TypeError
        return raw.astype(np.float64)
    except (TypeError, ValueError):
        raise SchemaError(f"{what}: is not numbers", "write numbers of systems") from None


def are_counts(values: FloatArray) -> NDArray[np.bool_]:
    """Whether each is a whole number of systems, which a float holds exactly."""
    with np.errstate(invalid="ignore"):
        whole: NDArray[np.bool_] = np.isfinite(values) & (values == np.floor(values))
        return whole & (values >= 0) & (values < 2.0**53)


def cases(*given: ArrayLike) -> list[tuple[float, float, float]]:
    """One (demand, energy price, system price) for each case.

    Raises:
        SchemaError: different lengths, or a multiplier that is not positive (prices: 0 or more).
    """
    names = ("demand", "energy_price", "system_price")
    arrays = [
        np.atleast_1d(_numbers(values, name)) for name, values in zip(names, given, strict=True)
    ]
    for name, values in zip(names, arrays, strict=True):
        least = values.min(initial=1.0)
        if not np.isfinite(values).all() or least < 0 or (name == "demand" and least == 0):
            raise SchemaError(
                f"{name}: a multiplier is not finite and above 0", "1 leaves it as it is"
            )
    try:
        demand, energy, system = np.broadcast_arrays(*arrays)
    except ValueError:
        raise SchemaError(
            f"{', '.join(names)}: have {[len(a) for a in arrays]} cases", "give each as many"
        ) from None
    return [(float(d), float(e), float(s)) for d, e, s in zip(demand, energy, system, strict=True)]


@dataclass(frozen=True, eq=False)
class _Held:
    """What fleets hold, whatever runs on them."""

    counts: FloatArray
    usable: FloatArray
    items: dict[str, FloatArray]
    fleets: limits.Fleets
    headroom: list[limits.Headroom]  # of limits that hold whatever runs on them
    gpus: FloatArray
    provisioned_kw: FloatArray
    idle_kw: FloatArray
    capex: FloatArray

    @classmethod
    def of(cls, evaluator: FleetEvaluator, counts: FloatArray) -> _Held:
        m, problem = evaluator.model, evaluator.problem
        counts = np.asfortranarray(counts)  # whole columns are read
        pools = np.asfortranarray(limits.by_pool(problem, counts))
        fleets = limits.Fleets(problem, counts, pools, np.zeros(len(counts)))
        headroom = list(limits.headroom(fleets, "systems"))
        if any(pool.reserve for pool in problem.pools):
            missing = limits.reserve_missing(problem, pools)
            headroom.append(limits.Headroom("reserve", "systems", -missing))
        kwh = np.zeros(len(problem.offers))
        for label, _, value in m.it_kwh:
            if isinstance(label, Systems):
                kwh[label.offer] += value
        items = {name: limits.weighted(counts, usd) for name, usd in evaluator._items.items()}
        staff = booking.fixed_staff(problem, counts)
        if staff.any():
            items[STAFF] = items.get(STAFF, 0.0) + staff
        return cls(
            counts=counts,
            usable=np.ascontiguousarray(limits.usable(problem, pools)),
            items=items,
            fleets=fleets,
            headroom=headroom,
            gpus=limits.weighted(
                pools, np.array([float(p.gpus_per_system) for p in problem.pools])
            ),
            provisioned_kw=limits.weighted(
                pools, np.array([p.provisioned_it_kw for p in problem.pools])
            ),
            idle_kw=limits.weighted(counts, kwh) / HOURS_PER_YEAR,
            capex=np.broadcast_to(capex_used(fleets), len(counts)),
        )


@dataclass(eq=False)
class _Routed:
    """The best routing of fleets, added up over the parts of the problem."""

    items: dict[str, FloatArray]  # USD a year, energy at its own price
    kwh: FloatArray
    output_tokens: FloatArray
    input_tokens: FloatArray
    busy: FloatArray
    unmet_by_workload: FloatArray
    allowed: FloatArray  # by workload: unmet requests/s that are rounding
    gap: FloatArray
    flows: FloatArray


def _route(
    evaluator: FleetEvaluator,
    held: _Held,
    demand: float,
    energy_price: float,
    *,
    with_flows: bool,
    threads: int,
) -> _Routed:
    m, problem = evaluator.model, evaluator.problem
    n = len(held.counts)
    zero = np.zeros(n)
    out = _Routed(
        items={},
        kwh=zero.copy(),
        output_tokens=zero.copy(),
        input_tokens=zero.copy(),
        busy=zero.copy(),
        unmet_by_workload=np.zeros((n, len(problem.workloads))),
        allowed=np.array([demand * w.demand_rps.max(initial=0.0) for w in problem.workloads])
        * DEMAND_TOLERANCE,
        gap=zero.copy(),
        flows=np.zeros((n, 0)),
    )
    most = np.zeros((n, len(problem.blocks), len(problem.workloads)))
    for part in evaluator.parts:
        items = booking.routed_items(m, part.columns)
        figures = [
            routing.energy_kwh(m, part.columns),
            routing.tokens_per_year(m, part.columns, "output"),
            routing.tokens_per_year(m, part.columns, "input"),
            routing.busy_gpus(m, part.columns),
            *items.values(),
        ]
        moving = [j for j, label in enumerate(part.columns) if isinstance(label, _MOVING)]
        if with_flows:
            figures += list(np.eye(len(part.columns))[moving])
        cost = booking.priced(items, energy_price)
        answer = part.route(held.usable, cost, np.array(figures).T.copy(), demand, threads)
        if np.isnan(answer["gap"]).any():
            row = int(np.flatnonzero(np.isnan(answer["gap"]))[0])
            raise SolverError(
                f"row {row + 1}: its routing could not be certified", "report the scenario"
            )
        f = answer["figures"].T
        out.kwh += f[0]
        out.output_tokens += f[1]
        out.input_tokens += f[2]
        out.busy += f[3]
        for (item, usd), total in zip(items.items(), f[4:], strict=False):
            if item == booking.ENERGY or usd.any():
                out.items[item] = out.items.get(item, zero) + total
        out.flows = np.hstack([out.flows, f[4 + len(items) :].T])
        for d, asked in enumerate(part.demands):
            most[:, asked.block, asked.workload] += answer["unmet"][:, d]
        out.gap = np.maximum(out.gap, answer["gap"])
    out.unmet_by_workload = most.max(axis=1, initial=0.0)
    return out


class _Verdict:
    """The first broken limit of each fleet by its relative place, and how many are broken."""

    def __init__(self, n: int) -> None:
        self.broken: NDArray[np.int64] = np.zeros(n, dtype=np.int64)
        self.limit: NDArray[np.object_] = np.full(n, "", dtype=object)
        self.unit: NDArray[np.object_] = np.full(n, "", dtype=object)
        self.excess = np.zeros(n)

    def over(self, name: str, unit: str, excess: FloatArray, allowed: FloatArray | float) -> None:
        """Books a limit where it is exceeded by more than what is allowed for rounding."""
        broken = excess > allowed
        first = broken & (self.broken == 0)
        self.limit[first] = name
        self.unit[first] = unit
        self.excess[first] = excess[first]
        self.broken += broken


def _ratio(cost: FloatArray, tokens: FloatArray) -> FloatArray:
    found: FloatArray = np.where(tokens > 0, cost / tokens * _PER_MTOK, np.nan)
    return found


def _word(name: str) -> str:
    return name.replace(" of ", "_").replace(" ", "_")


def _flow(evaluator: FleetEvaluator, label: Flow | Api | Short) -> dict[str, object]:
    problem = evaluator.problem
    place: dict[str, object]
    if isinstance(label, Flow):
        w, pool = problem.candidates[label.candidate].workload, problem.pools[label.pool]
        site = problem.sites[pool.site].id
        place = {"site": site, "system": pool.system, "candidate": label.candidate}
    elif isinstance(label, Api):
        w, place = problem.apis[label.api].workload, {"api": problem.apis[label.api].id}
    else:
        w, place = label.workload, {"shortfall": True}
    workload = problem.workloads[w]
    named = {"workload": workload.id, "class": workload.class_ids[label.cls]}
    return {"block": label.block, **named, **place}
