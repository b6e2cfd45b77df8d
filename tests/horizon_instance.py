"""Reads a small horizon instance and prints the package's answers as JSON.

    python tests/horizon_instance.py FILE
    {"status": "optimal", "npv_usd": 81113.927, "levelised_usd_per_year": 89225.32, ...}

The instance becomes a horizon of the package: its systems are pools of one accelerator, its demand
requests per second of one class, and what it says per period becomes the numbers of each node.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tokenfleet import _core
from tokenfleet.errors import InfeasibleError, SchemaError
from tokenfleet.mix.horizon import measures
from tokenfleet.mix.horizon.risk import Risk
from tokenfleet.mix.horizon.solve import HorizonResult, solve_horizon
from tokenfleet.mix.solver.highs import PROVEN, SolveOptions
from tokenfleet.problem_data import (
    ApiData,
    Block,
    Candidate,
    Horizon,
    Node,
    OfferData,
    Pool,
    Problem,
    SiteData,
    Stock,
    WorkloadData,
)
from tokenfleet.verify.horizon import verify_horizon

SECONDS = 8760.0 * 3600.0
EXACT = SolveOptions(gap=1e-9, time_limit_s=120.0)
TENURES = {"buy": "bought", "owned": "bought", "rent": "contract"}
# What a file may say, by table; a field that is none of these is refused, not passed over.
FIELDS = {
    "instance": {
        "name", "note", "discount_rate", "period_years", "systems", "offers", "nodes", "power_kw",
        "capex_budget", "shortfall_usd_per_unit_year", "end_value_share", "charge_beyond_horizon",
        "max_unmet_probability",
    },
    "systems": {"id", "capacity", "kw", "usd_per_unit_year", "capacity_factor"},
    "nodes": {
        "id", "period", "parent", "prob", "demand", "price_factor", "power_factor", "power_kw",
        "capacity_factor", "capex_budget", "delay_periods",
    },
    "buy": {
        "price", "life_periods", "resale", "run_usd_per_year", "lead_periods", "max_per_period",
        "min_order", "from", "until", "stay_periods", "removal_usd",
    },
    "owned": {
        "ages", "market_price", "life_periods", "resale", "run_usd_per_year", "stay_periods",
        "removal_usd",
    },
    "rent": {
        "price", "term_periods", "run_usd_per_year", "lead_periods", "max_per_period", "min_order",
        "from", "until", "charge_beyond_horizon",
    },
    "on_demand": {"price", "run_usd_per_year", "max", "max_per_period", "from", "until"},
    "api": {"price", "max", "from", "until"},
}  # fmt: skip
OF_ALL_OFFERS = {"id", "kind", "system", "note"}
# (weight of the tail, alpha) where the file asks for none
TAILS = ((0.0, 0.8), (0.25, 0.8), (0.5, 0.8), (1.0, 0.8), (0.5, 0.5))


def number(value: Any) -> float:
    """A number, or the text of one: "52051/61051"."""
    return float(Fraction(value)) if isinstance(value, str) else float(value)


def at(value: Any, i: int, default: float = 0.0) -> float:
    """What holds in period i, or at age i: the last of a list holds on."""
    if value is None:
        return default
    if isinstance(value, list):
        return at(value[min(i, len(value) - 1)], i, default) if value else default
    return number(value)


def refuse_unknown(data: dict[str, Any]) -> None:
    """Refuses what the reader would pass over.

    Raises:
        SchemaError: a field that the format has not, or not there; names its place.
    """
    places: list[tuple[str, dict[str, Any], set[str]]] = [("instance", data, FIELDS["instance"])]
    for table in ("systems", "nodes"):
        places += [(f"{table}[{i}]", row, FIELDS[table]) for i, row in enumerate(data[table])]
    for i, row in enumerate(data["offers"]):
        if row["kind"] not in FIELDS:
            raise SchemaError(f"offers[{i}].kind: {row['kind']!r} is none", "buy, owned, rent, ...")
        places.append((f"offers[{i}]", row, FIELDS[row["kind"]] | OF_ALL_OFFERS))
        run = row.get("run_usd_per_year", 0)
        if row["kind"] in ("rent", "on_demand") and isinstance(run, list) and len(set(run)) > 1:
            raise SchemaError(
                f"offers[{i}].run_usd_per_year: goes by age", "what is rented has none"
            )
        if max(map(number, row.get("resale", [1])), default=1) > 1:
            raise SchemaError(f"offers[{i}].resale: is worth more old than new", "at most 1")
    for place, row, known in places:
        for field in row.keys() - known:
            raise SchemaError(
                f"{place}.{field}: not a field of the format", ", ".join(sorted(known))
            )


class Instance:
    """An instance, and the horizon that it is."""

    def __init__(self, data: dict[str, Any]) -> None:
        refuse_unknown(data)
        self.data = data
        self.systems = {row["id"]: i for i, row in enumerate(data["systems"])}
        self.offers = [row for row in data["offers"] if row["kind"] != "api"]
        self.apis = [row for row in data["offers"] if row["kind"] == "api"]
        self.starts = [0.0]
        for years in data["period_years"]:
            self.starts.append(self.starts[-1] + number(years))

    def horizon(self) -> Horizon:
        """Periods and nodes with their problems of one year."""
        data = self.data
        budgets, nodes = data.get("capex_budget"), []
        for u, node in enumerate(data["nodes"]):
            t = int(node["period"])
            budget = at(node.get("capex_budget", budgets), t, math.inf)
            nodes.append(
                Node(
                    name=f"period {t}, node {u}",
                    period=t,
                    parent=int(node["parent"]),
                    probability=number(node["prob"]),
                    problem=self.problem(node, t),
                    delays={
                        o: at(node.get("delay_periods", {}).get(offer["id"]), t)
                        for o, offer in enumerate(self.offers)
                    },
                    capex_budget_usd=budget if math.isfinite(budget) else None,
                )
            )
        return Horizon(
            starts=tuple(self.starts),
            rate=number(data["discount_rate"]),
            nodes=tuple(nodes),
            end_value_share=number(data.get("end_value_share", 1)),
            counts_periods=True,
        )

    def problem(self, node: dict[str, Any], t: int) -> Problem:
        """One year of a node."""
        limit = at(node.get("power_kw", self.data.get("power_kw")), t, math.inf)
        power = limit if limit == math.inf else limit * number(node.get("power_factor", 1))
        short = self.data.get("shortfall_usd_per_unit_year")
        return Problem(
            name="instance",
            blocks=(Block(8760.0),),
            workloads=(
                WorkloadData(
                    id="demand",
                    class_ids=("unit",),
                    demand_rps=np.array([[number(node["demand"])]]),
                    output_tokens=np.ones(1),
                    input_tokens=np.ones(1),
                    value_usd_per_request=np.zeros(1),
                    shortfall_usd_per_request=None if short is None else at(short, t) / SECONDS,
                ),
            ),
            sites=(SiteData("site", power_limit_kw=power),),
            pools=tuple(self.pools(node, t)),
            offers=tuple(self.offer(o, node, t) for o in range(len(self.offers))),
            candidates=tuple(
                Candidate(
                    id=i,
                    workload=0,
                    system=row["id"],
                    gpus=1,
                    sites=(0,),
                    load=np.array([1.0 / number(row["capacity"])]),
                    # one kWh costs one dollar
                    energy_j=np.array([number(row.get("usd_per_unit_year", 0)) / 8760.0 * 1000.0]),
                )
                for i, row in enumerate(self.data["systems"])
            ),
            apis=tuple(
                ApiData(
                    id=row["id"],
                    workload=0,
                    cost_usd_per_request=np.array([self.price(row, node, t) / SECONDS]),
                    max_rps=at(row.get("max"), t, math.inf) if self.is_offered(row, t) else 0.0,
                )
                for row in self.apis
            ),
        )

    def pools(self, node: dict[str, Any], t: int) -> list[Pool]:
        """A pool of systems that stay, and one of those on demand, for each system."""
        found = []
        for row in self.data["systems"]:
            speed = at(row.get("capacity_factor"), t, 1.0)
            factors = node.get("capacity_factor", {})
            speed *= number(factors.get(row["id"], 1) if isinstance(factors, dict) else factors)
            found += [
                Pool(
                    f"{row['id']} {kind}",
                    0,
                    row["id"],
                    1,
                    number(row.get("kw", 0)),
                    0.0,
                    elastic=kind == "on demand",
                    energy_usd_per_kwh_it=1.0,
                    speed=speed,
                )
                for kind in ("staying", "on demand")
            ]
        return found

    def is_offered(self, row: dict[str, Any], t: int) -> bool:
        """Whether an offer is made in a period."""
        return bool(row.get("from", 0) <= t <= row.get("until", len(self.starts)))

    def price(self, row: dict[str, Any], node: dict[str, Any], t: int) -> float:
        """The price of an offer in a node."""
        return at(row["price"], t) * number(node.get("price_factor", {}).get(row["id"], 1))

    def offer(self, o: int, node: dict[str, Any], t: int) -> OfferData:
        """An offer at the numbers of a node."""
        row = self.offers[o]
        kind, run = row["kind"], row.get("run_usd_per_year", 0)
        if kind in ("rent", "on_demand"):
            run = at(run, 0)
        pool = 2 * self.systems[row["system"]] + (kind == "on_demand")
        items: dict[str, float] = {} if isinstance(run, list) else {"maintenance": number(run)}
        price = 0.0 if kind == "owned" else self.price(row, node, t)
        if kind == "on_demand":
            price += items.pop("maintenance", 0.0)
            most = at(row.get("max", row.get("max_per_period")), t, math.inf)
            if not self.is_offered(row, t):
                most = 0.0
            return OfferData(row["id"], pool, supply=most, hourly_usd=price / 8760.0, kind=kind)
        if kind == "rent":
            items["rental"] = price
        return OfferData(
            row["id"],
            pool,
            annual_cost_items_usd=items,
            capex_usd=price if kind == "buy" else 0.0,
            kind=kind,
            stock=self.stock(row, t),
        )

    def stock(self, row: dict[str, Any], t: int) -> Stock:
        """How systems under an offer come and go."""
        kind, run = row["kind"], row.get("run_usd_per_year", 0)
        most = at(row.get("max_per_period"), t, math.inf)
        if kind == "owned" or not self.is_offered(row, t):
            most = 0.0
        return Stock(
            kind=TENURES[kind],  # type: ignore[arg-type]
            life=number(row.get("life_periods", math.inf)),
            resale=self.resale(row),
            owned=tuple((number(age), int(count)) for age, count in row.get("ages", ())),
            market_usd=number(row.get("market_price", 0)),
            usd_per_year_by_age=tuple((float(a), number(usd)) for a, usd in enumerate(run))
            if isinstance(run, list)
            else (),
            lead=number(row.get("lead_periods", 0)),
            most_per_period=most,
            least_order=int(row.get("min_order", 0)),
            stay=number(row.get("stay_periods", 0)),
            removal_usd=number(row.get("removal_usd", 0)),
            term=number(row.get("term_periods", math.inf)),
            paid_beyond=bool(
                row.get("charge_beyond_horizon", self.data.get("charge_beyond_horizon", False))
            ),
        )

    def resale(self, row: dict[str, Any]) -> tuple[tuple[float, float], ...]:
        """Worth by age in periods; where none is stated what today's annuity implies."""
        stated = row.get("resale")
        lengths = {b - a for a, b in itertools.pairwise(self.starts)}
        if stated is None and row["kind"] in ("buy", "owned") and "life_periods" in row:
            if max(lengths) - min(lengths) > 1e-12:
                raise SchemaError(f"{row['id']}: no resale, and periods are uneven", "give resale")
            years, rate = max(lengths), number(self.data["discount_rate"])
            life = int(number(row["life_periods"]))
            stated = [_core.book_value(rate, life * years, 0.0, a * years) for a in range(life + 1)]
        return tuple((float(a), number(share)) for a, share in enumerate(stated or ()))


def checked(result: HorizonResult) -> HorizonResult:
    """The result, if it passes the independent check."""
    violations = verify_horizon(result.problem, result.values, result.npv_usd)
    if violations:
        raise SystemExit("; ".join(map(str, violations)))
    return result


def bought(result: HorizonResult, orders: dict[tuple[int, int], float]) -> float:
    """Systems that are bought now."""
    offers = result.problem.offers
    return sum(count for (_, o), count in orders.items() if offers[o].kind == "buy")


def expected_least(horizon: Horizon, known: measures.Known) -> float:
    """Mean over the futures of the least cost of each, USD."""
    return sum(horizon.nodes[leaf].probability * usd for leaf, usd in known.least.items())


def least_regret(
    horizon: Horizon, known: measures.Known, options: SolveOptions, risk: Risk | None = None
) -> HorizonResult:
    """The plan whose largest regret is the least; its `value` is that regret."""
    risk = replace(risk or Risk(), kind="regret", least=known.least)
    return solve_horizon("", horizon, options, risk)


def tree_measures(
    horizon: Horizon, result: HorizonResult, tails: list[tuple[float, float]]
) -> dict[str, Any]:
    """The measures of a tree of outlooks."""
    known = measures.wait_and_see(horizon, EXACT)
    see = expected_least(horizon, known)
    of_mean = measures.mean_plan(horizon, EXACT)
    after_mean = measures.orders_of_chain(horizon, of_mean)
    eev = measures.with_orders(horizon, after_mean, EXACT)
    regret = checked(least_regret(horizon, known, EXACT))
    matrix, own = [], []
    for plan in known.results.values():
        orders = measures.orders_of_chain(horizon, plan)
        own.append(bought(plan, orders))
        matrix.append(list(measures.regret_of(horizon, orders, known, EXACT).values()))
    found: dict[str, Any] = {
        "buy_now": bought(result, result.orders_now()),
        "wait_and_see_npv": see,
        "evpi": result.npv_usd - see,
        "mean_scenario_buys": bought(of_mean, after_mean),
        "eev": None if eev is None else eev.npv_usd,
        "vss": None if eev is None else eev.npv_usd - result.npv_usd,
        "min_max_regret": regret.value,
        "min_max_regret_buys": bought(regret, regret.orders_now()),
        "regret_matrix_own_plans": matrix,
        "own_plans": own,
        "mean_cvar": [],
    }
    for weight, alpha in tails:
        plan = checked(solve_horizon("", horizon, EXACT, Risk("cvar", weight, alpha)))
        found["mean_cvar"].append(
            {
                "omega": weight,
                "alpha": alpha,
                "buy_now": bought(plan, plan.orders_now()),
                "objective": plan.value,
                "expected": plan.npv_usd,
                "cvar": measures.cvar(plan, alpha),
            }
        )
    return found


def answer(file: dict[str, Any]) -> dict[str, Any]:
    """What the package says of an instance."""
    data = file.get("instance", file)
    horizon = Instance(data).horizon()
    most = data.get("max_unmet_probability")
    chance = Risk(most_unmet=None if most is None else number(most))
    try:
        result = checked(solve_horizon(file.get("name", "instance"), horizon, EXACT, chance))
    except InfeasibleError as error:
        return {"status": "infeasible", "conflicts": list(map(str, error.conflicts))}
    found: dict[str, Any] = {
        "status": "optimal" if result.status in PROVEN else result.status,
        "npv_usd": result.npv_usd,
        "expected_npv_usd": result.npv_usd,
        "levelised_usd_per_year": result.levelised_usd_per_year,
        "npv_by_leaf": list(result.npv_by_leaf.values()),
    }
    if len(horizon.leaves) > 1:
        asked = file.get("expected", {}).get("mean_cvar", ())
        tails = [(number(row["omega"]), number(row["alpha"])) for row in asked]
        found |= tree_measures(horizon, result, tails or list(TAILS))
    return found


if __name__ == "__main__":
    print(json.dumps(answer(json.loads(Path(sys.argv[1]).read_text("utf-8"))), indent=1))
