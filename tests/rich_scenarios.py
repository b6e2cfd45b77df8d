"""Random rich scenarios, solved and then judged: by SCIP, and by what must hold of any planner.

    python tests/rich_scenarios.py --seeds 0..3000 [--processes 2] [--stop]

A seed draws one scenario: systems, sites, offers of every kind, APIs, measured replicas of several
classes, fixed or free demand with peaks, spares, loss of a site, budgets, racks, contracted power,
shortfalls, and in one of four cases prefill and decode pools. Its plan must

- have the value that SCIP finds with a model written from the rules alone (`reference_mix`), or be
  infeasible where SCIP says so, and pass the independent check;
- be no worse when one thing is looser: an offer, stock, watts, racks, a budget or an API more;
- stay as good when rows are renamed and shuffled and an offer without limit is there twice, and
  scale with prices;
- leave the bound of every other objective unbeaten.

Prints each difference with its seed and ends with 1 if there is any.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reference_mix import Judged, ScipMix
from tokenfleet.errors import InfeasibleError, SolverError, TokenfleetError
from tokenfleet.mix.result import MixResult
from tokenfleet.mix.solve import solve_mix
from tokenfleet.mix.solver.highs import PROVEN, SolveOptions
from tokenfleet.mix.why.infeasible import UnboundedError
from tokenfleet.plan.from_mix import plan_of
from tokenfleet.problem import build
from tokenfleet.problem_data import Candidate, Problem
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.bound import with_checked_bound
from tokenfleet.verify.mix import goal_value, verify_mix

Json = dict[str, Any]
KINDS = (
    "least_cost",
    "least_cost_per_token",
    "most_tokens",
    "most_value",
    "least_energy",
    "least_carbon",
)
MAXIMISED = frozenset({"most_tokens", "most_value"})
# What is no difference: a scenario that the schema or the catalog refuses, a bound that could not
# be proven in the time (the value is still held against SCIP's).
ASIDE = ("refused", "open")
SAME = 2e-5  # relative: two solvers at 1e-6 of feasibility each
NO_TOKENS = 1e3  # a year: what rounding makes of a fleet that can serve nothing (SCIP: 22)
OPTIONS = SolveOptions(gap=1e-6, time_limit_s=20.0, threads=1)


# Drawing


class Draw:
    """One scenario with its catalog, from a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.kind = str(self.rng.choice(KINDS))
        self.seed = seed
        self.systems = [self._system(i) for i in range(self.among(1, 2, 2, 3))]
        self.sites = [self._site(i) for i in range(self.among(1, 1, 2, 3))]
        self.free = self.chance(0.8 if self.kind.startswith(("most", "least_cost_per")) else 0.15)
        self.workloads = [self._workload(i) for i in range(self.among(1, 1, 2))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def among(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def number(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    def scenario(self) -> Json:
        """The scenario as plain data, its catalog under `catalog`."""
        offers = [self._offer(i) for i in range(int(self.rng.integers(1, 7)))]
        data: Json = {
            "name": f"rich {self.seed}",
            "objective": self._objective(),
            "finance": self._finance(),
            "systems": [s["id"] for s in self.systems],
            "workloads": self.workloads,
            "sites": self.sites,
            "offers": offers,
            "apis": [self._api(i) for i in range(self.among(0, 0, 1, 2))],
            "columns": [row for w in self.workloads for row in self._columns(w)],
            "reserve": {
                "systems_per_pool": self.among(0, 0, 1),
                "survive_site_loss": len(self.sites) > 1 and self.chance(0.25),
            },
            "relayout": self.chance(0.2),
        }
        if self.free and not self._limited(data):
            for w in self.workloads:
                w["demand"]["max_requests_per_s"] = self.number(5, 40)
        return data

    def _limited(self, data: Json) -> bool:
        return "annual_budget_usd" in data["objective"] and all(
            a["usd_per_mtok_output"] > 0 for a in data["apis"]
        )

    def _system(self, i: int) -> Json:
        gpus = self.among(1, 2, 4, 8)
        kw = self.number(0.5, 12)
        row: Json = {
            "id": f"sys{i}", "vendor": "v", "accelerator": f"A{i}", "form": "server",
            "gpus": gpus, "scale_up_domain": gpus, "mem_gb": 80, "mem_bw_tbps": 3,
            "bf16_tflops": 900, "system_kw": kw, "idle_kw": round(kw * self.number(0.1, 0.5), 3),
            "rack_units": self.among(4, 8, 10),
            "cooling": self.among("air", "air", "direct liquid"),
            "source": "drawn", "as_of": "2026-01",
        }  # fmt: skip
        if self.chance(0.08):
            del row["system_kw"], row["idle_kw"]
        if self.chance(0.1):
            row["form"] = "rack"
        return row

    def _site(self, i: int) -> Json:
        site: Json = {
            "id": f"site{i}", "region": self.among("eu", "us"),
            "power_kw": self.among("unlimited", self.number(5, 400), self.number(5, 80)),
            "power_basis": self.among("it", "utility"), "cooling": ["air"],
            "electricity_usd_per_kwh": self.among(0.0, self.number(0.03, 0.3)),
            "hosting_usd_per_kw_month": self.among(0, self.number(50, 200)),
            "carbon_kg_per_kwh": self.among(0.0, self.number(0.01, 0.6)),
            "pue": self.among(1.0, self.number(1.05, 1.6)),
        }  # fmt: skip
        if self.chance(0.5):
            site["cooling"].append("direct liquid")
            if self.chance(0.5):
                site["pue"] = {"air": self.number(1.2, 1.6), "direct liquid": self.number(1.0, 1.2)}
        if self.chance(0.4):
            site |= {"racks": self.among(1, 2, 4, 8), "rack_units": self.among(20, 42)}
        if self.chance(0.3):
            site["rack_kw"] = self.number(5, 40)
        if site["power_kw"] != "unlimited" and self.chance(0.25):
            site |= {"power_is_contracted": True, "power_usd_per_kw_year": self.number(0, 300)}
        return site

    def _workload(self, i: int) -> Json:
        count = self.among(1, 1, 2, 3)
        cuts = np.sort(self.rng.integers(1, 100, count - 1)) if count > 1 else np.zeros(0, int)
        shares = np.diff([0, *cuts.tolist(), 100]) / 100
        workload: Json = {
            "id": f"w{i}", "model": "llama-3.1-8b", "interruptible": self.chance(0.3),
            "classes": [
                {
                    "id": f"c{k}", "share": float(share),
                    "input_tokens": self.among(200, 1000, 8000),
                    "output_tokens": self.among(50, 200, 1000),
                }
                for k, share in enumerate(shares)
            ],
            "demand": self._demand(),
        }  # fmt: skip
        if self.chance(0.6) or self.kind == "most_value":
            workload["value_usd_per_mtok_output"] = self.number(1, 40)
        if not self.free and self.chance(0.2) and self.kind not in ("least_energy", "least_carbon"):
            workload["shortfall_usd_per_request"] = self.number(0.0005, 0.02)
        if self.chance(0.1):
            workload["residency"] = [self.sites[0]["region"]]
        return workload

    def _demand(self) -> Json:
        demand: Json = {}
        if self.chance(0.5):
            demand = {
                "peak_to_mean": self.number(1.1, 3),
                "peak_hours_per_day": self.among(2, 4, 6),
            }
        if not self.free:
            return demand | {"requests_per_s": self.number(0.5, 30)}
        demand["free"] = True
        if self.chance(0.5):
            demand["mix_share"] = self.number(0.5, 2)
        if self.chance(0.4) or self.kind in ("least_cost", "least_energy", "least_carbon"):
            demand["min_requests_per_s"] = self.number(0.2, 5)
        if self.chance(0.4):
            demand["max_requests_per_s"] = self.number(6, 40)
        return demand

    def _offer(self, i: int) -> Json:
        kind = self.among("buy", "buy", "rent", "on_demand", "spot", "owned", "all_in")
        offer: Json = {"id": f"o{i}", "system": self.among(*self.systems)["id"], "kind": kind}
        if kind == "buy":
            offer["price_usd_per_system"] = self.number(20_000, 400_000)
        elif kind == "owned":
            offer["includes"] = ["maintenance"]
        else:
            offer["price_usd_per_gpu_h"] = self.number(0.3, 5)
        if kind == "rent":
            offer["term_years"] = self.among(1, 3)
        if kind == "owned" or self.chance(0.5):
            offer["supply"] = self.among(0, 1, 2, 4, 8, 16)
        if self.chance(0.2):
            offer["sites"] = [self.among(*self.sites)["id"]]
        if kind in ("rent", "all_in", "on_demand") and self.chance(0.3):
            offer["includes"] = list(
                self.among(["maintenance"], ["staff", "network", "maintenance"])
            )
            offer["hosted"] = self.chance(0.5)
        return offer

    def _api(self, i: int) -> Json:
        api: Json = {
            "id": f"api{i}", "workload": self.among(*self.workloads)["id"],
            "region": self.among("eu", "us"), "usd_per_mtok_input": self.number(0.05, 2),
            "usd_per_mtok_output": self.number(0.2, 10), "slo_attested": True,
        }  # fmt: skip
        if self.chance(0.5) or self.free:
            api["max_requests_per_s"] = self.number(0.5, 10)
        if self.chance(0.5):
            api["quality"] = self.among(0.5, 0.9, 1.0)
        return api

    def _columns(self, workload: Json) -> Iterator[Json]:
        for system in self.systems:
            for r in range(self.among(0, 1, 1, 2, 2)):
                gpus = self.among(1, 2, 3, 4, 8, 16)
                speed = gpus**0.9 * self.number(0.3, 2)
                classes = [c["id"] for c in workload["classes"] if self.chance(0.85)]
                for name in classes:
                    row: Json = {
                        "workload": workload["id"], "class": name, "system": system["id"],
                        "gpus": gpus, "rate_rps": round(speed * self.number(0.3, 3), 3),
                        "watts": round(gpus * self.number(300, 1500), 1),
                    }  # fmt: skip
                    if self.chance(0.8):
                        row["replica"] = f"r{r}"
                    if self.kind == "most_value" and self.chance(0.3):
                        row["quality"] = self.among(0.8, 0.95)
                    yield row

    def _objective(self) -> Json:
        objective: Json = {"kind": self.kind, "denominator": self.among("output", "total")}
        if self.kind == "least_cost_per_token":
            objective["ratio_tolerance"] = 1e-9
        if self.chance(0.25):
            objective["annual_budget_usd"] = self.number(50_000, 3_000_000)
        if self.chance(0.2):
            objective["capex_budget_usd"] = self.number(100_000, 3_000_000)
        return objective | self._numbers_of_kinds()

    def _numbers_of_kinds(self) -> Json:
        """Limits on system types and layouts, from a stream of their own: other draws stay."""
        rng, limits = np.random.default_rng([self.seed, 2]), {}
        drawn = {
            "least_systems_per_type": int(rng.integers(2, 4)),
            "most_system_types": int(rng.integers(1, 3)),
            "most_layouts_per_workload": int(rng.integers(1, 3)),
            "usd_per_further_type": round(float(rng.uniform(1e3, 3e5)), 2),
        }
        for name, value in drawn.items():
            if rng.random() < 0.12:
                limits[name] = value
        return {"simplicity_tolerance": 0, **limits}

    def _finance(self) -> Json:
        return {
            "cost_of_capital": self.among(0.0, 0.08), "life_years": self.among(3, 5),
            "residual_fraction": self.among(0.0, 0.2), "maintenance_fraction_per_year": 0.05,
            "network_fraction": self.among(0.0, 0.15), "storage_fraction": 0.0,
            "staff_usd_per_kw_year": self.among(0.0, 300.0),
        }  # fmt: skip


def draw(seed: int) -> tuple[Json, Json]:
    """A scenario and the catalog file that it needs, both as plain data."""
    drawn = Draw(seed)
    return _staffed(drawn.scenario(), seed), {"systems": drawn.systems}


def _staffed(scenario: Json, seed: int) -> Json:
    """Sites with a fixed part of their staff, from a stream of their own: other draws stay."""
    rng = np.random.default_rng([seed, 3])
    for site in scenario["sites"]:
        usd = round(float(rng.uniform(1e3, 3e5)), 2)
        if rng.random() < 0.12:
            site["staff_usd_per_year"] = usd
    return scenario


def problem_of(scenario: Mapping[str, Any], catalog: Mapping[str, Any]) -> Problem:
    """The problem of a scenario."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalog.json"
        path.write_text(json.dumps(catalog), encoding="utf-8")
        loaded = load_scenario({**scenario, "catalog": ["catalog.json"]}, Path(folder))
        return build(loaded).problem


def _phases_apart(problem: Problem, rng: np.random.Generator) -> Problem:
    """Some replicas become pairs: each of the two takes a part of the load."""
    candidates: list[Candidate] = []
    for c in problem.candidates:
        if rng.random() < 0.5:
            candidates.append(replace(c, id=len(candidates)))
            continue
        part, pair = float(rng.uniform(0.2, 0.8)), int(rng.integers(2))
        for role, share in (("prefill", part), ("decode", 1.0 - part)):
            half = replace(c, id=len(candidates), role=role, pair=pair)  # type: ignore[arg-type]
            joules = c.energy_j * share
            candidates.append(replace(half, load=c.load * share, energy_j=joules))
    return replace(problem, candidates=tuple(candidates))


# Judging


class Answer:
    """What the planner says of a problem."""

    def __init__(self, problem: Problem) -> None:
        self.result: MixResult | None = None
        self.refusal = ""
        try:
            self.result = solve_mix(problem, OPTIONS)
        except InfeasibleError:
            self.refusal = "infeasible"
        except UnboundedError:
            self.refusal = "unbounded"
        except SolverError as error:
            self.refusal = "nothing" if "no token" in error.message else error.message

    @property
    def text(self) -> str:
        if self.result is None:
            return self.refusal
        return f"{self.result.status} {self.result.value:.9g} (bound {self.result.bound:.9g})"


def differs(a: float, b: float, scale: float = 0.0) -> bool:
    """Whether two values are apart by more than two solvers may be."""
    return abs(a - b) > SAME * max(abs(a), abs(b), scale) + 1e-9


def differences(seed: int) -> list[str]:
    """What is wrong with the answers to one seed's scenario; an empty list is as it should be."""
    scenario, catalog = draw(seed)
    try:
        problem = problem_of(scenario, catalog)
    except TokenfleetError as error:
        return [f"refused: {error.message}"]
    rng = np.random.default_rng([seed, 1])
    if rng.random() < 0.25:
        problem = _phases_apart(problem, rng)
    answer = Answer(problem)
    found = list(_own_checks(problem, answer))
    found += _against_scip(problem, answer)
    found += _looser(problem, answer, seed)
    found += _same(scenario, catalog, problem, answer, seed)
    found += _other_objective(problem, answer, seed)
    return found


def _own_checks(problem: Problem, answer: Answer) -> Iterator[str]:
    result = answer.result
    if result is None:
        if answer.refusal not in ("infeasible", "unbounded", "nothing"):
            yield f"no answer: {answer.refusal}"
        return
    for violation in verify_mix(result.problem, result.values, result.cost_items, result.value):
        yield f"not a plan: {violation}"
    confirmed = with_checked_bound(result, OPTIONS.gap, OPTIONS.time_limit_s)
    if confirmed.status not in ("optimal", "within_gap"):
        bound = f"{confirmed.bound:.9g} by {confirmed.bound_check}"
        yield f"open: {answer.text}, confirmed: {bound}, after {result.seconds:.1f} s"
    json.dumps(plan_of(result).to_json(), allow_nan=False)


def _against_scip(problem: Problem, answer: Answer) -> Iterator[str]:
    kind = problem.objective.kind
    if kind == "least_cost_per_token":
        yield from _ratio_against_scip(problem, answer)
        return
    judged = ScipMix(problem).best()
    if answer.result is None:
        if judged.status not in (answer.refusal, "undecided"):
            yield f"{answer.refusal}, and SCIP says {judged}"
        return
    if judged.status == "undecided":
        yield from _within(answer.result.value, judged, kind)
    elif judged.status == "optimal" and answer.result.status not in PROVEN:
        yield from _bounded(answer.result, judged, kind)
    elif judged.status != "optimal" or differs(answer.result.value, judged.value):
        if kind == "most_tokens" and max(answer.result.value, judged.value) <= NO_TOKENS:
            return
        yield f"{kind}: {answer.text}, and SCIP says {judged}"


def _within(value: float, judged: Judged, kind: str) -> Iterator[str]:
    sign = -1.0 if kind in MAXIMISED else 1.0
    slack = SAME * abs(value)
    if sign * value < sign * judged.bound - slack or sign * value > sign * judged.value + slack:
        yield f"{kind}: {value:.9g} is not between SCIP's bounds {judged}"


def _bounded(result: MixResult, judged: Judged, kind: str) -> Iterator[str]:
    """A plan that is not proven is no better than the optimum, nor is its bound any worse."""
    sign = -1.0 if kind in MAXIMISED else 1.0
    slack = SAME * abs(judged.value)
    if not sign * result.bound - slack <= sign * judged.value <= sign * result.value + slack:
        yield f"{kind}: {result.value:.9g} (bound {result.bound:.9g}), and SCIP says {judged}"


def _ratio_against_scip(problem: Problem, answer: Answer) -> Iterator[str]:
    """No plan costs less per token than the one found, by a hair."""
    if answer.result is None:
        judged = ScipMix(problem).best("most_tokens")
        nothing = judged.status == "optimal" and judged.value <= NO_TOKENS
        if judged.status != answer.refusal and not (nothing and answer.refusal == "nothing"):
            yield f"{answer.refusal}, and SCIP says {judged}"
        return
    per_token = answer.result.value / 1e6
    judged = ScipMix(problem).cost_minus(per_token * (1.0 - SAME))
    tokens = _tokens(answer.result)
    if judged.status == "optimal" and judged.value < -SAME * per_token * tokens:
        yield f"{answer.text} $ a Mtok, and SCIP has a plan below: {judged}"
    elif judged.status not in ("optimal", "undecided"):
        yield f"{answer.text}, and SCIP says {judged}"


def _tokens(result: MixResult) -> float:
    plan = plan_of(result)
    total = result.problem.objective.denominator == "total"
    return plan.tokens_per_year_total if total else plan.tokens_per_year_output


def _looser(problem: Problem, answer: Answer, seed: int) -> Iterator[str]:
    """One limit looser or one choice more is never worse."""
    rng = np.random.default_rng([seed, 2])
    ways = dict(_looser_problems(problem, rng))
    name = str(rng.choice(sorted(ways)))
    looser = Answer(ways[name])
    if answer.result is None:
        kept = answer.refusal in ("infeasible", looser.refusal)
        if looser.result is None and not kept:
            yield f"{answer.refusal}; with {name}: {looser.refusal}"
        return
    if looser.refusal == "unbounded":
        return
    if looser.result is None or _worse(looser.result, answer.result):
        yield f"{answer.text}; with {name}: {looser.text}"


def _worse(a: MixResult, b: MixResult) -> bool:
    sign = -1.0 if a.kind in MAXIMISED else 1.0
    return sign * a.value > sign * b.value and differs(a.value, b.value)


def _looser_problems(problem: Problem, rng: np.random.Generator) -> Iterator[tuple[str, Problem]]:
    sites, objective = problem.sites, problem.objective
    s = int(rng.integers(len(sites)))
    more = replace(
        sites[s],
        power_limit_kw=sites[s].power_limit_kw + float(rng.uniform(0.1, 20)),
        rack_limit=sites[s].rack_limit + 1,
    )
    yield "more power and racks", replace(problem, sites=(*sites[:s], more, *sites[s + 1 :]))
    for name in ("annual_budget_usd", "capex_budget_usd"):
        budget = getattr(objective, name)
        if budget is not None:
            looser = replace(objective, **{name: budget * float(rng.uniform(1.01, 2))})
            yield f"a larger {name}", replace(problem, objective=looser)
    if problem.offers:
        o = int(rng.integers(len(problem.offers)))
        group = problem.offers[o].supply_group
        stock = tuple(
            replace(x, supply=x.supply + 1) if x.supply_group == group else x
            for x in problem.offers
        )
        yield "more stock", replace(problem, offers=stock)
        extra = replace(problem.offers[o], id="extra", supply_group="extra", supply=2.0)
        yield "an offer more", replace(problem, offers=(*problem.offers, extra))
    if problem.candidates:
        c = problem.candidates[int(rng.integers(len(problem.candidates)))]
        faster = replace(c, id=len(problem.candidates), load=c.load * 0.9)
        yield "a replica more", replace(problem, candidates=(*problem.candidates, faster))
    if problem.apis:
        a = int(rng.integers(len(problem.apis)))
        api = replace(problem.apis[a], max_rps=problem.apis[a].max_rps * 1.5)
        apis = (*problem.apis[:a], api, *problem.apis[a + 1 :])
        yield "a faster API", replace(problem, apis=apis)


def _same(
    scenario: Json, catalog: Json, problem: Problem, answer: Answer, seed: int
) -> Iterator[str]:
    """Other names, another order and an offer twice change nothing."""
    rng = np.random.default_rng([seed, 3])
    other, rows = _renamed(scenario, catalog, rng)
    text = "renamed and shuffled"
    free = [o for o in other["offers"] if "supply" not in o]
    if free and rng.random() < 0.5:
        twice = free[int(rng.integers(len(free)))]
        other["offers"].append({**twice, "id": "twice"})
        text += ", an offer twice"
    again = Answer(problem_of(other, rows) if _is_whole(problem) else _reversed(problem))
    if again.result is None or answer.result is None:
        if again.refusal != answer.refusal:
            yield f"{answer.text}; {text}: {again.text}"
    elif differs(again.result.value, answer.result.value):
        yield f"{answer.text}; {text}: {again.text}"


def _is_whole(problem: Problem) -> bool:
    """Whether no phases were set apart, which a scenario cannot say of columns."""
    return all(c.role == "serve" for c in problem.candidates)


def _reversed(problem: Problem) -> Problem:
    """The same problem with offers, candidates and APIs in the opposite order."""
    return replace(
        problem,
        offers=problem.offers[::-1],
        candidates=problem.candidates[::-1],
        apis=problem.apis[::-1],
    )


def _renamed(scenario: Json, catalog: Json, rng: np.random.Generator) -> tuple[Json, Json]:
    names: dict[str, str] = {}
    for i, row in enumerate(
        [*catalog["systems"], *scenario["sites"], *scenario["offers"], *scenario["workloads"]]
    ):
        names[row["id"]] = f"z{97 - i:02d}"

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: change(v) for k, v in value.items()}
        if isinstance(value, list):
            return [change(v) for v in value]
        return names.get(value, value) if isinstance(value, str) else value

    other = change(copy.deepcopy(scenario))
    for rows in ("workloads", "sites", "offers", "apis", "columns"):
        rng.shuffle(other[rows])
    return other, change(copy.deepcopy(catalog))


def _other_objective(problem: Problem, answer: Answer, seed: int) -> Iterator[str]:
    """The plan of one objective never beats the bound that another claims."""
    if answer.result is None:
        return
    rng = np.random.default_rng([seed, 4])
    kinds = ("least_cost", "least_energy", "least_carbon", "most_tokens", "most_value")
    kind = str(rng.choice(kinds))
    other = replace(problem, objective=replace(problem.objective, kind=kind))  # type: ignore[arg-type]
    if kind == problem.objective.kind or any(w.free for w in problem.workloads) != (
        kind in MAXIMISED
    ):
        return
    judged = Answer(other)
    if judged.result is None:
        if judged.refusal != "unbounded":
            yield f"{answer.text}; under {kind}: {judged.text}"
        return
    value = goal_value(other, answer.result.values)
    sign = -1.0 if kind in MAXIMISED else 1.0
    bound = judged.result.bound
    if sign * value < sign * bound and differs(value, bound):
        yield f"a plan has {kind} {value:.9g}, and the bound claimed is {bound:.9g}"


# The command


def judged(seed: int) -> tuple[int, list[str]]:
    """A seed and its differences; a crash is one."""
    try:
        return seed, differences(seed)
    except Exception as error:
        return seed, [f"crash: {type(error).__name__}: {error}"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", default="0..3000", help="first..last, the last left out")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--stop", action="store_true", help="at the first difference")
    given = parser.parse_args()
    first, last = (int(n) for n in given.seeds.split(".."))
    counts: Counter[str] = Counter()
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        for seed, found in pool.imap_unordered(judged, range(first, last), chunksize=4):
            counts["scenarios"] += 1
            for text in found:
                kind = next((k for k in ASIDE if text.startswith(k)), "differences")
                counts[kind] += 1
                if kind != "refused":
                    print(f"seed {seed}: {text}", flush=True)
            if given.stop and counts["differences"]:
                break
    print(", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    return 1 if counts["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
