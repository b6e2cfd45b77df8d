"""A plan or a scenario, made ready to be questioned.

The scenario of a plan is loaded again and held against the plan's fingerprints: an explanation of
another scenario than the plan's would be one of another plan.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from tokenfleet.catalog import Catalog
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.flip import Target
from tokenfleet.explanation.measure import Unsure
from tokenfleet.explanation.mixed_repairs import Mixed, Tries
from tokenfleet.explanation.prices import Priced, priced, spend_on_api, spend_on_offers
from tokenfleet.explanation.promises import (
    Changes,
    Promise,
    first_kept,
    looser_limit,
    promises,
)
from tokenfleet.explanation.repair import AT_LEAST, Repaired, repairs
from tokenfleet.explanation.shift import Rent
from tokenfleet.explanation.study import Answer, Study
from tokenfleet.explanation.worth import Moved
from tokenfleet.mix.model import Label
from tokenfleet.optimize import solve_options
from tokenfleet.plan.match import check_origin, scenario_of
from tokenfleet.plan.rows import Plan
from tokenfleet.problem import Built, build
from tokenfleet.problem.build import Progress
from tokenfleet.problem.knowledge import Judge
from tokenfleet.problem.required import require_candidates
from tokenfleet.problem_data import Api, Problem, Systems
from tokenfleet.scenario.load import LoadedScenario, ScenarioSource, load_scenario
from tokenfleet.schema import Offer, Scenario, Workload

# An explanation compares plans, so each is solved closer than a plan alone has to be.
_CLOSER = 0.01
_MS = {"ttft": 10.0, "tpot": 1.0, "e2e": 100.0}  # step of a latency limit
_QUALITY = 0.01  # step of a quality floor


@dataclass(frozen=True)
class Case:
    """A scenario with its problem and the study of it; `plan` where one is explained."""

    built: Built
    study: Study
    plan: Plan | None = None
    _tried: dict[tuple[tuple[int, int], ...], Problem | None] = field(
        default_factory=dict, repr=False
    )

    @property
    def loaded(self) -> LoadedScenario:
        """The scenario."""
        return self.built.loaded

    @property
    def problem(self) -> Problem:
        """The problem of the study."""
        return self.study.problem

    @cached_property
    def priced(self) -> Mapping[int, Priced]:
        """What follows its price, by offer of the problem."""
        return priced(self.built)

    def spend_on_offers(self) -> dict[int, dict[Label, float]]:
        """USD a year that follow the price, by offer and column."""
        model, offers = self.study.systems, range(len(self.study.problem.offers))
        return {o: spend_on_offers(model, self.priced, (o,)) for o in offers}

    def spend_on_apis(self) -> dict[int, dict[Label, float]]:
        """USD a year that follow the price, by hosted API and column."""
        apis = range(len(self.study.problem.apis))
        return {a: spend_on_api(self.study.systems, a) for a in apis}

    def spend_on_api_prices(self) -> Iterator[tuple[int, str, dict[Label, float]]]:
        """Of each hosted API and each of its prices, USD a year that follow it, by column."""
        problem = self.study.problem
        stated = {api.id: api for api in self.loaded.scenario.apis}
        for a, spend in self.spend_on_apis().items():
            api, workload = stated[problem.apis[a].id], problem.workloads[problem.apis[a].workload]
            parts = {
                "usd_per_mtok_input": workload.input_tokens * (api.usd_per_mtok_input or 0.0) / 1e6,
                "usd_per_mtok_output": (
                    workload.output_tokens * (api.usd_per_mtok_output or 0.0) / 1e6
                ),
                "usd_per_request": np.full(len(workload.input_tokens), api.usd_per_request),
            }
            whole = np.sum(list(parts.values()), axis=0)
            for name, usd in parts.items():
                shares = np.divide(usd, whole, out=np.zeros_like(whole), where=whole > 0)
                part: dict[Label, float] = {
                    la: paid * float(shares[la.cls])
                    for la, paid in spend.items()
                    if isinstance(la, Api)
                }
                yield a, name, part

    def same_systems(self, found: Answer) -> bool | None:
        """Whether a plan holds the systems of the plan that is explained, by offer and site."""
        if self.plan is None:
            return None
        given = {(row.offer, row.site): row.count for row in self.plan.systems if row.count}
        problem, counts = found.problem, dict[tuple[str, str], int]()
        for label, count in found.values.items():
            if isinstance(label, Systems) and round(count):
                offer = problem.offers[label.offer]
                key = (offer.supply_group, problem.sites[problem.pools[offer.pool].site].id)
                counts[key] = max(counts.get(key, 0), round(count))
        return counts == given

    def at_speed(self, system: str, factor: float) -> Problem:
        """The problem with so many times the throughput of a system type."""
        problem = self.study.problem
        candidates = tuple(
            replace(c, load=c.load / factor) if c.system == system else c
            for c in problem.candidates
        )
        return replace(problem, candidates=candidates)

    def rents(self, targets: Iterable[Target]) -> Iterator[Rent]:
        """Rented offers, with what the price book asks for other terms."""
        stated = {offer.id: offer for offer in self.loaded.scenario.offers}
        for target in targets:
            offer = stated.get(target.name)
            price = self.priced[target.offers[0]].price
            if target.kind != "offer" or offer is None or offer.kind != "rent" or price is None:
                continue
            book = book_of(self.loaded, offer)
            yield Rent(target, offer.term_years, price, book)

    def moves(self) -> Iterator[Moved]:
        """Latency limits and quality floors, each looser by a step."""
        for of in looser_promises(self.loaded.scenario):
            changed = partial(self._changed, of.changes)
            yield Moved(of.what, of.where, of.unit, of.step, of.limit, changed)

    def vendors(self) -> dict[str, str]:
        """Who makes each system type."""
        systems = {pool.system for pool in self.study.problem.pools}
        return {name: str(self.loaded.catalog.system(name).vendor) for name in systems}

    def terms(self) -> dict[str, float | None]:
        """Years of each rental, by offer."""
        return {offer.id: offer.term_years for offer in self.loaded.scenario.offers}

    def unsure(self) -> list[Unsure]:
        """Throughput of each workload on each system type, as far as it is not known well."""
        return unsure(self.built)

    def repairs(self, ask: Ask = plainly) -> Iterator[Repaired]:
        """What could give way where there is no plan: limits of the mix, then promises, as far as
        has to be among a few round steps, then promises beside limits and beside one another."""
        found: list[Repaired] = []
        every = list(promises(self.loaded.scenario))
        for repaired in itertools.chain(repairs(self.study, ask=ask), self._alone(every, ask)):
            found.append(repaired)
            yield repaired
        mixed = Mixed(self.study, every, self._with_tries)
        mixed.know(found)
        yield from mixed.sets(AT_LEAST - len(found), ask)

    def _alone(self, every: Iterable[Promise], ask: Ask) -> Iterator[Repaired]:
        """Promises each of which is enough by itself."""
        for promise in every:
            what = f"{promise.what.words} of {promise.what.where}"
            found = ask(what, partial(first_kept, promise, self._with))
            if found is not None:
                yield Repaired((found[0],), *found[1])

    def _with(self, changes: Changes) -> tuple[Answer, Problem] | None:
        """The best plan of the scenario with other fields, and its problem; None for none."""
        problem = self._changed(changes)
        plan = None if problem is None else self.study.again(problem)
        return None if problem is None or plan is None else (plan, problem)

    def _with_tries(self, tries: Tries) -> Problem | None:
        """The problem in which promises give way, each by one of its tries; None where nothing can
        serve it."""
        key = tuple(sorted(tries.items()))
        if key not in self._tried:
            scenario, numbers = self.loaded.scenario, sorted(tries)
            wanted = [p.what for p in promises(self.loaded.scenario)]
            for i in numbers:  # each from the scenario that the one before left
                same = [
                    p
                    for p in promises(scenario)
                    if (p.what.family, p.what.where) == (wanted[i].family, wanted[i].where)
                ]
                scenario = scenario.model_copy(update=dict(same[0].tried[tries[i]]))
            try:
                self._tried[key] = rebuilt(replace(self.loaded, scenario=scenario))
            except InfeasibleError:
                self._tried[key] = None
        return self._tried[key]

    def _changed(self, changes: Changes) -> Problem | None:
        """The problem of the scenario with other fields; None where nothing can serve it."""
        try:
            return rebuilt(with_scenario(self.loaded, **changes))
        except InfeasibleError:
            return None


@dataclass(frozen=True)
class Looser:
    """A promise that is looser by a step, and the fields of the scenario that say so."""

    what: str
    where: str
    unit: str
    step: float
    limit: float
    changes: Changes


def looser_promises(scenario: Scenario) -> Iterator[Looser]:
    """Latency limits and quality floors of every workload, each looser by a step."""
    for workload in scenario.workloads:

        def instead(changed: Workload) -> Changes:
            rows = scenario.workloads
            return {"workloads": tuple(changed if w.id == changed.id else w for w in rows)}

        for metric in dict.fromkeys(slo.metric for slo in workload.slos):
            limits = [slo.limit_ms for slo in workload.slos if slo.metric == metric]
            step = _MS[metric]
            changes = instead(looser_limit(workload, metric, step))
            name = f"{metric.upper()} limit"
            yield Looser(name, workload.id, "ms", step, min(limits), changes)
        floor = workload.quality_floor
        if floor is not None:
            step = min(_QUALITY, floor / 2)
            lower = workload.model_copy(update={"quality_floor": floor - step})
            yield Looser("quality floor", workload.id, "score", -step, floor, instead(lower))


def book_of(loaded: LoadedScenario, offer: Offer) -> dict[float, float]:
    """What the price book asks for a rent, USD per accelerator and hour, by its years."""
    system = loaded.catalog.system(offer.system).id
    return {
        row.term_years: row.price_usd_per_gpu_h
        for row in loaded.catalog.price_rows(loaded.scenario.price_vintage, system)
        if row.kind == "rent" and row.tier == (offer.price_tier or "market")
        and row.term_years is not None and row.price_usd_per_gpu_h is not None
    }  # fmt: skip


def unsure(built: Built) -> list[Unsure]:
    """Throughput of each workload on each system type, as far as it is not known well.

    Of several layouts the least known counts. Measured columns have no intervals.
    """
    if built.specification is None:
        return []
    problem, judge = built.problem, Judge(built.loaded, built.specification)
    found: dict[tuple[str, str], Unsure] = {}
    systems = {pool.system for pool in problem.pools}
    for c in problem.candidates:
        if c.system not in systems:
            continue
        known = judge.of(c.workload, c.label)
        key = (c.system, problem.workloads[c.workload].id)
        if key not in found or known.half_width["capacity"] > found[key].half_width:
            found[key] = Unsure(*key, known.half_width["capacity"], known.provenance, known.runs)
    return [found[key] for key in sorted(found)]


def with_scenario(loaded: LoadedScenario, **changes: object) -> LoadedScenario:
    """The scenario with other fields."""
    return replace(loaded, scenario=loaded.scenario.model_copy(update=changes))


def rebuilt(loaded: LoadedScenario) -> Problem:
    """The problem of a changed scenario.

    Raises:
        InfeasibleError: a workload that nothing can serve.
    """
    built = build(loaded)
    require_candidates(built)
    return built.problem


def open_case(
    source: Plan | ScenarioSource,
    scenario: ScenarioSource | None = None,
    *,
    seconds: float = math.inf,
    gap: float | None = None,
    catalog: Catalog | None = None,
    progress: Progress | None = None,
) -> Case:
    """A plan, a plan's file, or a scenario, with its space evaluated once.

    Raises:
        SchemaError: neither plan nor scenario; one over time; the scenario found is not the
            plan's; or a gap or time that is none.
    """
    asked = load_case(source, scenario, seconds=seconds, gap=gap, catalog=catalog)
    one_year(asked.loaded)
    return case_of(asked, seconds=seconds, gap=gap, progress=progress)


def case_of(
    asked: Meant,
    *,
    seconds: float = math.inf,
    gap: float | None = None,
    progress: Progress | None = None,
) -> Case:
    """What is asked of a plan of one year, with its space evaluated.

    Raises:
        SchemaError: the scenario is not the plan's.
    """
    built = asked.built(progress)
    solver = asked.loaded.scenario.solver
    options = replace(
        solve_options(asked.loaded.scenario),
        gap=_CLOSER * solver.gap if gap is None else gap,
        threads=solver.threads or 1,  # many small problems: a second thread costs what it saves
    )
    return Case(built, Study(built.problem, options, seconds), asked.plan)


@dataclass(frozen=True)
class Meant:
    """The plan that is meant, if it is one, what messages call it, and its scenario."""

    plan: Plan | None
    name: str
    loaded: LoadedScenario

    def built(self, progress: Progress | None) -> Built:
        """The scenario's space, evaluated.

        Raises:
            SchemaError: the scenario is not the plan's.
        """
        built = build(self.loaded, progress)
        if self.plan is not None:
            check_origin(self.plan, self.name, built.loaded, built.specification)
        return built


def load_case(
    source: Plan | ScenarioSource,
    scenario: ScenarioSource | None = None,
    *,
    seconds: float = math.inf,
    gap: float | None = None,
    catalog: Catalog | None = None,
) -> Meant:
    """What is meant by a plan, its file or a scenario.

    Raises:
        SchemaError: neither plan nor scenario, or a gap or time that is none.
    """
    if not seconds > 0:
        raise SchemaError(f"time limit: {seconds:g} s is none", "give seconds above zero")
    if gap is not None and not 0 <= gap < 1:
        raise SchemaError(f"gap: {gap:g} is none", "give a share from 0 to 1, 0.001 for 0.1 %")
    plan, name = _plan_of(source)
    if plan is not None:
        return Meant(plan, name, scenario_of(plan, name, scenario, catalog))
    assert not isinstance(source, Plan)
    return Meant(None, name, load_scenario(source, catalog=catalog))


def one_year(loaded: LoadedScenario) -> None:
    """Refuses a scenario over time: its years are not explained yet.

    Raises:
        SchemaError: it has a `horizon`.
    """
    if loaded.scenario.horizon is not None:
        raise SchemaError(
            f"{loaded.source_name}: horizon: what is explained is a plan of one steady year",
            "explain the scenario without `horizon` and `outlooks`",
        )


def _plan_of(source: Plan | ScenarioSource) -> tuple[Plan | None, str]:
    """The plan, and what messages call it; None for a scenario."""
    if isinstance(source, Plan):
        return source, "plan"
    if isinstance(source, str | Path) and Path(source).suffix.lower() == ".json":
        from tokenfleet.files.read import load_data  # noqa: PLC0415 (only a file is read)

        data = load_data(Path(source))
        if isinstance(data, dict) and "routing" in data:
            return Plan.load(source), str(source)
    return None, str(source)
