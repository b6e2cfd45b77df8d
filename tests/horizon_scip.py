"""A horizon instance as its extensive form in SCIP, written from the format alone.

    python tests/horizon_scip.py 0 100      seeds from 0 to 99, every field of the format

Nothing is shared with the package: cash is booked when it moves (a purchase at its delivery, a sale
at its date, what stands at the end), where the package charges every period its user cost. Each
seed is an instance of `random_instance`; plan, wait and see, tails, regret and what the mean
future's orders cost are compared.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from horizon_instance import EXACT, Instance, answer
from tokenfleet.mix.horizon import measures

SAME = 1e-6


def at(value: Any, i: int) -> Any:
    """What holds in period i, or at age i: the last of a list holds on."""
    return value[min(i, len(value) - 1)] if isinstance(value, list) else value


class Extensive:
    """One instance: a column for every order, lot, contract and flow in every node."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        import pyscipopt  # noqa: PLC0415 (not everyone has it)

        self.quicksum = pyscipopt.quicksum
        self.data = data
        self.nodes = data["nodes"]
        self.starts = [0.0]
        for years in data["period_years"]:
            self.starts.append(self.starts[-1] + years)
        self.last = len(data["period_years"]) - 1
        self.children: dict[int, list[int]] = {u: [] for u in range(len(self.nodes))}
        for u, node in enumerate(self.nodes):
            if node["parent"] >= 0:
                self.children[node["parent"]].append(u)
        self.leaves = [u for u, below in self.children.items() if not below]
        self.systems = {row["id"]: row for row in data["systems"]}
        self.model = pyscipopt.Model()
        self.model.hideOutput()
        self.model.setParam("limits/gap", 0.0)
        self.cost: dict[int, list[Any]] = {u: [] for u in self.children}  # cash if it comes to u
        self.ordered: dict[tuple[int, str], Any] = {}
        self.capex: dict[int, list[Any]] = {u: [] for u in self.children}
        self.standing: dict[tuple[int, str], list[Any]] = {}
        for row in data["offers"]:
            getattr(self, row["kind"])(row)
        self.short: dict[int, Any] = {}
        for u in self.children:
            self.serve(u)
        if "max_unmet_probability" in data:
            self.limit_unmet(data["max_unmet_probability"])

    def path(self, u: int) -> list[int]:
        """Nodes from the first to u."""
        found = []
        while u >= 0:
            found.append(u)
            u = self.nodes[u]["parent"]
        return found[::-1]

    def worth(self, years: float) -> float:
        """What a dollar paid then is worth."""
        return float((1.0 + self.data["discount_rate"]) ** -years)

    def yearly(self, start: float, end: float) -> float:
        """What a dollar a year is worth."""
        rate = self.data["discount_rate"]
        return end - start if rate == 0 else (self.worth(start) - self.worth(end)) / rate

    def weight(self, u: int) -> float:
        """What a dollar a year is worth while node u lasts."""
        t = self.nodes[u]["period"]
        return self.yearly(self.starts[t], self.starts[t + 1])

    def price(self, row: Mapping[str, Any], u: int) -> float:
        """The price of an offer in a node."""
        factor = self.nodes[u].get("price_factor", {}).get(row["id"], 1.0)
        return float(at(row["price"], self.nodes[u]["period"]) * factor)

    def order(self, row: Mapping[str, Any], k: int) -> Any | None:
        """The number ordered in a node, if any may be."""
        t = self.nodes[k]["period"]
        late = t + row.get("lead_periods", 0) > self.last
        if late or not row.get("from", 0) <= t <= row.get("until", self.last):
            return None
        most = at(row.get("max_per_period", 60), t)
        if most == 0:
            return None
        number = self.model.addVar(vtype="I", lb=0, ub=most)
        least = row.get("min_order", 0)
        if least > 1:
            placed = self.model.addVar(vtype="B")
            self.model.addCons(number >= least * placed)
            self.model.addCons(number <= most * placed)
        self.ordered[k, row["id"]] = number
        return number

    def arrivals(self, row: Mapping[str, Any], k: int) -> list[int]:
        """Nodes in which an order arrives: at its lead, and later by what the node says."""
        due, left, found = self.nodes[k]["period"] + row.get("lead_periods", 0), [k], []
        while left:
            u = left.pop()
            late = self.nodes[u].get("delay_periods", {}).get(row["id"], 0)
            if self.nodes[u]["period"] >= due + late:
                found.append(u)
            else:
                left += self.children[u]
        return found

    def limit_deliveries(self, row: Mapping[str, Any], arriving: Mapping[int, list[Any]]) -> None:
        """Orders that arrive together are within the most of any of them."""
        for found in arriving.values():
            if len(found) > 1:
                most = max(most for _, most in found)
                self.model.addCons(self.quicksum(number for number, _ in found) <= most)

    def below(self, k: int, periods: int) -> list[int]:
        """Nodes so many periods after k."""
        found = [k]
        for _ in range(periods):
            found = [v for u in found for v in self.children[u]]
        return found

    def lot(self, row: Mapping[str, Any], price: float, d: int, number: Any, age: int) -> None:
        """What is delivered in d (or stood there at the start) is held, sold, or credited."""
        life, resale = row.get("life_periods", 10**6), row.get("resale", [1.0])
        share = lambda a: at(list(resale), min(a, life))  # noqa: E731

        def stand(u: int, before: Any, a: int, first: bool) -> None:
            t = self.nodes[u]["period"]
            now = self.worth(self.starts[t])
            brings = (share(a) * price - row.get("removal_usd", 0.0)) * now
            if a >= life:
                self.cost[u].append(-brings * before)
                return
            held = before
            if not first and a >= row.get("stay_periods", 0):
                held = self.model.addVar(vtype="I", lb=0)
                self.model.addCons(held <= before)
                self.cost[u].append(-brings * (before - held))
            run = at(row.get("run_usd_per_year", 0.0), a)
            self.cost[u].append(run * self.weight(u) * held)
            self.standing.setdefault((u, row["system"]), []).append(held)
            if t == self.last:
                end = self.worth(self.starts[-1]) * self.data.get("end_value_share", 1)
                self.cost[u].append(-share(a + 1) * price * end * held)
            for v in self.children[u]:
                stand(v, held, a + 1, False)

        stand(d, number, age, row["kind"] == "buy")

    def buy(self, row: Mapping[str, Any]) -> None:
        """Orders, paid at delivery at the price of the order."""
        arriving: dict[int, list[Any]] = {}
        for k in self.children:
            number = self.order(row, k)
            if number is None:
                continue
            for d in self.arrivals(row, k):
                most = at(row.get("max_per_period", 60), self.nodes[k]["period"])
                arriving.setdefault(d, []).append((number, most))
                price = self.price(row, k)
                now = self.worth(self.starts[self.nodes[d]["period"]])
                self.cost[d].append(price * now * number)
                self.capex[d].append(price * number)
                self.lot(row, price, d, number, 0)
        self.limit_deliveries(row, arriving)

    def owned(self, row: Mapping[str, Any]) -> None:
        """What stood there at the start; it may be sold at once."""
        for age, count in row["ages"]:
            self.lot(row, float(row.get("market_price", 0)), 0, count, age)

    def rent(self, row: Mapping[str, Any]) -> None:
        """Contracts at the price of their order."""
        arriving: dict[int, list[Any]] = {}
        for k in self.children:
            number = self.order(row, k)
            if number is None:
                continue
            for d in self.arrivals(row, k):
                most = at(row.get("max_per_period", 60), self.nodes[k]["period"])
                arriving.setdefault(d, []).append((number, most))
                self.contract(row, self.price(row, k), d, number)
        self.limit_deliveries(row, arriving)

    def contract(self, row: Mapping[str, Any], price: float, d: int, number: Any) -> None:
        """Contracts that begin in a node, by their term."""
        t, term = self.nodes[d]["period"], row["term_periods"]
        for i in range(min(term, self.last - t + 1)):
            for u in self.below(d, i):
                weight = self.weight(u)
                full = row.get("charge_beyond_horizon",
                               self.data.get("charge_beyond_horizon", False))  # fmt: skip
                if full and t + i == self.last:
                    rest = (term - i - 1) * self.data["period_years"][-1]
                    weight += self.yearly(self.starts[-1], self.starts[-1] + rest)
                run = row.get("run_usd_per_year", 0) * self.weight(u)
                self.cost[u].append((price * weight + run) * number)
                self.standing.setdefault((u, row["system"]), []).append(number)

    def on_demand(self, row: Mapping[str, Any]) -> None:
        """Whole systems for one node."""
        for u, node in enumerate(self.nodes):
            most = at(row.get("max", 60), node["period"])
            if not row.get("from", 0) <= node["period"] <= row.get("until", self.last):
                continue
            number = self.model.addVar(vtype="I", lb=0, ub=most)
            usd = self.price(row, u) + row.get("run_usd_per_year", 0)
            self.cost[u].append(usd * self.weight(u) * number)
            self.standing.setdefault((u, row["system"]), []).append(number)

    def api(self, row: Mapping[str, Any]) -> None:
        """Units of demand at a yearly price each: in `serve`."""

    def serve(self, u: int) -> None:
        """Demand, capacity, power and budget of a node."""
        node, data, model = self.nodes[u], self.data, self.model
        t = node["period"]
        served, kw = [], []
        for name, system in self.systems.items():
            count = self.quicksum(self.standing.get((u, name), []))
            factor = at(system.get("capacity_factor", 1.0), t)
            factor *= node.get("capacity_factor", {}).get(name, 1.0)
            flow = model.addVar(lb=0)
            model.addCons(flow <= system["capacity"] * factor * count)
            self.cost[u].append(system.get("usd_per_unit_year", 0) * self.weight(u) * flow)
            served.append(flow)
            kw.append(system.get("kw", 0) * count)
        for row in data["offers"]:
            if row["kind"] == "api":
                most = at(row.get("max"), t) if "max" in row else None
                flow = model.addVar(lb=0, ub=most)
                self.cost[u].append(self.price(row, u) * self.weight(u) * flow)
                served.append(flow)
        if "shortfall_usd_per_unit_year" in data:
            short = model.addVar(lb=0)
            usd = at(data["shortfall_usd_per_unit_year"], t)
            self.cost[u].append(usd * self.weight(u) * short)
            served.append(short)
            self.short[u] = short
        model.addCons(self.quicksum(served) == node["demand"])
        power = node.get("power_kw", data.get("power_kw"))
        if power is not None:
            limit = at(power, t) * node.get("power_factor", 1.0)
            model.addCons(self.quicksum(kw) <= limit)
        stated = node.get("capex_budget", data.get("capex_budget"))
        if stated is not None:
            budget = at(stated, t)
            if budget is not None:
                model.addCons(self.quicksum(self.capex[u]) <= budget)

    def limit_unmet(self, most: float) -> None:
        """Probability of futures in which some demand is not met."""
        unmet = []
        for x in self.leaves:
            is_unmet = self.model.addVar(vtype="B")
            unmet.append(self.nodes[x]["prob"] * is_unmet)
            for u in self.path(x):
                self.model.addCons(self.short[u] <= self.nodes[u]["demand"] * is_unmet)
        self.model.addCons(self.quicksum(unmet) <= most)

    def fix(self, orders: Mapping[tuple[int, str], float]) -> None:
        """Orders that are decided already."""
        for key, number in orders.items():
            if key in self.ordered:
                self.model.addCons(self.ordered[key] == round(number))

    def least(
        self,
        weight: float = 0.0,
        alpha: float = 0.8,
        known: Sequence[float] | None = None,
    ) -> float:
        """Least mean cost, or its mix with the mean of the tail, or the largest regret; inf where
        there is no plan."""
        model = self.model
        node_cost = {u: self.quicksum(parts) for u, parts in self.cost.items()}
        of_leaf = [self.quicksum(node_cost[u] for u in self.path(x)) for x in self.leaves]
        mean = self.quicksum(self.nodes[u]["prob"] * usd for u, usd in node_cost.items())
        if known is not None:
            regret = model.addVar(lb=0)
            for usd, own in zip(of_leaf, known, strict=True):
                model.addCons(usd - own <= regret)
            model.setObjective(regret)
        elif weight:
            eta = model.addVar(lb=None)
            tails = []
            for x, usd in zip(self.leaves, of_leaf, strict=True):
                over = model.addVar(lb=0)
                model.addCons(usd - eta <= over)
                tails.append(self.nodes[x]["prob"] / (1 - alpha) * over)
            goal = model.addVar(lb=None)
            model.addCons((1 - weight) * mean + weight * (eta + self.quicksum(tails)) <= goal)
            model.setObjective(goal)
        else:
            goal = model.addVar(lb=None)
            model.addCons(mean <= goal)
            model.setObjective(goal)
        model.optimize()
        return float(model.getObjVal()) if model.getStatus() == "optimal" else math.inf


def along(data: Mapping[str, Any], leaf: int) -> dict[str, Any]:
    """The one future that ends in a leaf."""
    path = []
    while leaf >= 0:
        path.append(leaf)
        leaf = data["nodes"][leaf]["parent"]
    nodes = [
        {**data["nodes"][u], "parent": i - 1, "prob": 1.0} for i, u in enumerate(reversed(path))
    ]
    return {**data, "nodes": nodes}


def means_of_limits(data: Mapping[str, Any], t: int, of: Any) -> dict[str, Any]:
    """Mean power and capital of the nodes of a period, where they have a limit."""
    found = {}
    if "power_kw" in data:
        stated = at(data["power_kw"], t)
        power = of(lambda n: at(n.get("power_kw", stated), t) * n.get("power_factor", 1.0))
        found["power_kw"] = power
    if "capex_budget" in data:
        stated_usd = at(data["capex_budget"], t)
        found["capex_budget"] = of(lambda n: n.get("capex_budget", stated_usd))
    return found


def mean(data: Mapping[str, Any]) -> dict[str, Any]:
    """The chain of mean numbers."""
    nodes = []
    for t in range(len(data["period_years"])):
        here = [node for node in data["nodes"] if node["period"] == t]
        of = lambda value, here=here: sum(n["prob"] * value(n) for n in here)  # noqa: E731
        ids = {row["id"] for row in (*data["offers"], *data["systems"])}
        nodes.append(
            {
                "period": t,
                "parent": t - 1,
                "prob": 1.0,
                "demand": of(lambda n: n["demand"]),
                **means_of_limits(data, t, of),
                "delay_periods": max(here, key=lambda n: n["prob"]).get("delay_periods", {}),
                "price_factor": {
                    i: of(lambda n, i=i: n.get("price_factor", {}).get(i, 1.0)) for i in ids
                },
                "capacity_factor": {
                    i: of(lambda n, i=i: n.get("capacity_factor", {}).get(i, 1.0)) for i in ids
                },
            }
        )
    return {**data, "nodes": nodes}


def random_instance(seed: int) -> dict[str, Any]:
    """Two to four periods, one to six outlooks, every field of the format."""
    rng = np.random.default_rng(1000 + seed)
    pick = lambda *values: values[int(rng.integers(len(values)))]  # noqa: E731
    periods = int(rng.integers(2, 5))
    nodes: list[dict[str, Any]] = [{"period": 0, "parent": -1, "prob": 1.0, "demand": 3}]
    last = [0]
    for t in range(1, periods):
        here = []
        for parent in last:
            branches = int(rng.integers(1, 4)) if len(last) < 3 else 1
            shares = [round(float(s), 2) for s in rng.dirichlet(np.full(branches, 3.0))]
            shares[-1] = 1.0 - sum(shares[:-1])
            for share in shares:
                here.append(len(nodes))
                node = {
                    "period": t,
                    "parent": parent,
                    "prob": nodes[parent]["prob"] * share,
                    "demand": round(float(rng.uniform(0, 9)), 1),
                }
                if pick(True, False):
                    node["price_factor"] = {
                        i: round(float(rng.uniform(0.5, 1.4)), 2)
                        for i in ("buy", "new", "rent", "od", "api")
                    }
                if pick(True, False):
                    node["power_factor"] = pick(0.8, 1.0, 1.5)
                if pick(True, False):
                    node["capacity_factor"] = {"A": pick(0.8, 1.0, 1.25)}
                if pick(True, False, False):
                    node["delay_periods"] = {pick("buy", "rent", "new"): pick(1, 2)}
                if pick(True, False, False, False):
                    node["power_kw"] = round(float(rng.uniform(5, 30)), 1)
                nodes.append(node)
        last = here
    fall = lambda n: np.sort(rng.uniform(0, 1, n).round(2))[::-1].tolist()  # noqa: E731
    data: dict[str, Any] = {
        "discount_rate": pick(0.0, 0.08, 0.1),
        "period_years": [pick(0.25, 0.5, 1.0, 2.0) for _ in range(periods)],
        "systems": [
            {"id": "A", "capacity": 2, "kw": 3, "usd_per_unit_year": pick(0, 1.5)},
            {"id": "B", "capacity": pick(1, 1.5), "kw": 2},
            {"id": "C", "capacity": 5, "kw": 6},
        ],
        "offers": [
            {"id": "buy", "kind": "buy", "system": "A", "price": [100.0, 90.0, 70.0],
             "life_periods": pick(1, 2, 3, 5), "resale": [1.0, *fall(4)],
             "run_usd_per_year": [5.0, 8.0, 12.0, 20.0], "lead_periods": pick(0, 1),
             "max_per_period": pick(2, 5, [3, 0, 2]), "min_order": pick(0, 2),
             "stay_periods": pick(0, 0, 1, 3), "removal_usd": pick(0, 0, 15.0)},
            {"id": "new", "kind": "buy", "system": "C", "price": pick(190.0, [0.0, 180.0, 150.0]),
             "life_periods": 4, "resale": [1.0, *fall(4)], "run_usd_per_year": 9.0,
             "max_per_period": 3, "from": 1, "until": pick(1, 2, 3)},
            {"id": "old", "kind": "owned", "system": "B", "market_price": pick(0.0, 40.0),
             "ages": pick([[1, 1]], [[0, 1], [2, 2]]), "life_periods": pick(3, 5),
             "resale": [1.0, 0.6, 0.3, 0.1], "run_usd_per_year": pick(30.0, [4.0, 30.0]),
             "stay_periods": pick(0, 0, 3), "removal_usd": pick(0, 0, 10.0)},
            {"id": "rent", "kind": "rent", "system": "B", "price": pick(35.0, [40.0, 30.0]),
             "term_periods": pick(1, 2, 3), "max_per_period": 3, "run_usd_per_year": pick(0, 2),
             "min_order": pick(0, 2), "lead_periods": pick(0, 0, 1)},
            {"id": "od", "kind": "on_demand", "system": "B", "price": [55.0, 50.0],
             "max": pick(2, [0, 4]), "run_usd_per_year": pick(0, 3)},
            {"id": "api", "kind": "api", "price": pick(60.0, [70.0, 40.0]), "max": pick(2, 50)},
        ],
        "nodes": nodes,
        "charge_beyond_horizon": pick(True, False),
        "end_value_share": pick(1, 0.5, 0),
        "power_kw": pick(9.0, [9.0, 20.0], 100.0),
    }  # fmt: skip
    if pick(True, False):
        data["shortfall_usd_per_unit_year"] = pick(90.0, 20.0, [90.0, 20.0, 50.0])
    if pick(True, False):
        data["capex_budget"] = pick(200.0, [400.0, 100.0])
        for node in nodes:
            if pick(True, False, False):
                node["capex_budget"] = round(float(rng.uniform(50, 500)), 1)
    return data


def differences(data: dict[str, Any]) -> list[str]:
    """What the package says otherwise than SCIP, in words."""
    found, own = answer({"instance": data}), Extensive(data).least()
    if found["status"] == "infeasible" or own == math.inf:
        same = found["status"] == "infeasible" and own == math.inf
        return [] if same else [f"status {found['status']}, SCIP {own}"]
    said: list[str] = []

    def compare(what: str, value: float | None, other: float, size: float = 1.0) -> None:
        if value is None or abs(value - other) > SAME * max(size, abs(other)):
            said.append(f"{what}: {value}, SCIP {other}")

    compare("npv", found["npv_usd"], own)
    if "evpi" not in found:
        return said
    leaves = Extensive(data).leaves
    known = [Extensive(along(data, x)).least() for x in leaves]
    see = sum(data["nodes"][x]["prob"] * usd for x, usd in zip(leaves, known, strict=True))
    compare("wait and see", found["wait_and_see_npv"], see)
    # A difference of costs, whose rows hold to a part of these.
    least_regret, costs = Extensive(data).least(known=known), max(map(abs, known))
    compare("least regret", found["min_max_regret"], least_regret, max(costs, 1.0))
    for row in found["mean_cvar"]:
        least = Extensive(data).least(row["omega"], row["alpha"])
        compare(f"tail {row['omega']} {row['alpha']}", row["objective"], least)
    horizon = Instance(data).horizon()
    try:
        of_mean = measures.mean_plan(horizon, EXACT)
    except Exception as error:
        return [*said, f"mean plan: {error}"]
    compare("mean plan", of_mean.npv_usd, Extensive(mean(data)).least())
    ids = [row["id"] for row in data["offers"] if row["kind"] != "api"]
    orders = measures.orders_of_chain(horizon, of_mean)
    after = Extensive(data)
    after.fix({(u, ids[o]): n for (u, o), n in orders.items()})
    eev = after.least()
    if not (eev == math.inf and found["eev"] is None):
        compare("mean plan's orders", found["eev"], eev)
    return said


if __name__ == "__main__":
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        for text in differences(random_instance(seed)):
            print(json.dumps({"seed": seed, "differs": text}), flush=True)
