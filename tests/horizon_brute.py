"""The least expected cost of a small horizon instance by trying everything: slow and obvious.

Takes what `random_tree` makes: buying (with a lead), renting, owning, on demand and an API.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np


class Lot(NamedTuple):
    """Systems of one order, or of one age at the start."""

    offer: int
    arrives: int  # period
    age: int  # at its arrival
    price: float
    count: int


def random_tree(seed: int) -> dict[str, Any]:
    """Two or three periods, two or three outlooks, four or five offers."""
    rng = np.random.default_rng(seed)
    periods, branches = int(rng.integers(2, 4)), int(rng.integers(1, 3))
    nodes: list[dict[str, Any]] = [{"period": 0, "parent": -1, "prob": 1.0, "demand": 2}]
    last = [0]
    for t in range(1, periods):
        here = []
        for parent in last:
            shares = rng.dirichlet(np.ones(branches)).round(3)
            shares[-1] = 1.0 - shares[:-1].sum()
            for share in shares:
                here.append(len(nodes))
                nodes.append(
                    {
                        "period": t,
                        "parent": parent,
                        "prob": nodes[parent]["prob"] * float(share),
                        "demand": int(rng.integers(0, 6)),
                        "price_factor": {"buy": round(float(rng.uniform(0.5, 1.2)), 2)},
                        "power_factor": float(rng.choice([1.0, 1.5])),
                    }
                )
        last = here
    shares = np.sort(rng.uniform(0.0, 1.0, 4).round(2))[::-1].tolist()
    return {
        "discount_rate": float(rng.choice([0.0, 0.1])),
        "period_years": rng.choice([0.5, 1.0], periods).tolist(),
        "systems": [
            {"id": "A", "capacity": 2, "kw": 3, "usd_per_unit_year": 1.5},
            {"id": "B", "capacity": 1, "kw": 2},
        ],
        "power_kw": float(rng.choice([7.0, 100.0])),
        "offers": [
            {
                "id": "buy",
                "kind": "buy",
                "system": "A",
                "price": [100.0, 90.0, 70.0],
                "life_periods": int(rng.integers(2, 5)),
                "resale": [1.0, *shares],
                "run_usd_per_year": [5.0, 8.0, 12.0, 20.0],
                "lead_periods": int(rng.integers(0, 2)),
                "max_per_period": 2,
                "min_order": int(rng.choice([0, 2])),
            },
            {
                "id": "old",
                "kind": "owned",
                "system": "B",
                "market_price": 40.0,
                "ages": [[1, 1]],
                "life_periods": 3,
                "resale": [1.0, 0.6, 0.3, 0.1],
                "run_usd_per_year": 30.0,
            },
            {
                "id": "rent",
                "kind": "rent",
                "system": "B",
                "price": 35.0,
                "term_periods": 2,
                "max_per_period": 2,
            },
            {"id": "od", "kind": "on_demand", "system": "B", "price": 55.0, "max": 2},
            {"id": "api", "kind": "api", "price": 60.0},
        ],
        "nodes": nodes,
        "charge_beyond_horizon": bool(rng.integers(2)),
        "end_value_share": float(rng.choice([1.0, 0.5])),
    }


class Brute:
    """One instance and the costs of its nodes."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.starts = [0.0, *itertools.accumulate(data["period_years"])]
        self.rate = data["discount_rate"]
        systems = {row["id"]: row for row in data["systems"]}
        self.offers = data["offers"]
        self.system = [systems.get(row.get("system")) for row in self.offers]
        self.last = len(data["period_years"]) - 1

    def worth_of(self, years: float) -> float:
        """What a dollar paid then is worth."""
        return float((1.0 + self.rate) ** -years)

    def weight(self, start: float, end: float) -> float:
        """What a dollar a year is worth."""
        if self.rate == 0:
            return end - start
        return (self.worth_of(start) - self.worth_of(end)) / self.rate

    def least(self) -> float:
        """The least expected cost."""
        owned = [
            Lot(o, 0, age, row["market_price"], count)
            for o, row in enumerate(self.offers)
            if row["kind"] == "owned"
            for age, count in row["ages"]
        ]
        return self.node(0, owned, [])

    def node(self, u: int, lots: list[Lot], coming: list[Lot]) -> float:
        """Least expected cost of a node and all that follows, at the start of the horizon."""
        best = math.inf
        node = self.data["nodes"][u]
        t = node["period"]
        for usd, kept in self.kept(lots, t):
            for orders in self.orders(node, t):
                all_coming = [*coming, *orders]
                here = kept + [lot for lot in all_coming if lot.arrives == t]
                later = [lot for lot in all_coming if lot.arrives > t]
                price = sum(
                    lot.price * lot.count
                    for lot in here
                    if lot.arrives == t and self.offers[lot.offer]["kind"] == "buy"
                )
                run = self.run(node, here, t)
                if run == math.inf:
                    continue
                total = (price - usd) * self.worth_of(self.starts[t]) + run
                if t == self.last:
                    total -= self.end_value(here)
                total *= node["prob"]
                children = [v for v, n in enumerate(self.data["nodes"]) if n["parent"] == u]
                best = min(best, total + sum(self.node(v, here, later) for v in children))
        return best

    def kept(self, lots: list[Lot], t: int) -> Iterator[tuple[float, list[Lot]]]:
        """All ways to sell, with what is brought in."""
        choices = []
        for lot in lots:
            row, age = self.offers[lot.offer], t - lot.arrives + lot.age
            if row["kind"] == "rent":
                choices.append([(0.0, lot._replace(count=lot.count * (age < row["term_periods"])))])
                continue
            share = row["resale"][min(age, row["life_periods"], len(row["resale"]) - 1)]
            most = lot.count if age < row["life_periods"] else 0
            choices.append(
                [
                    ((lot.count - n) * lot.price * share, lot._replace(count=n))
                    for n in range(most + 1)
                ]
            )
        for way in itertools.product(*choices):
            yield sum(usd for usd, _ in way), [lot for _, lot in way if lot.count]

    def orders(self, node: dict[str, Any], t: int) -> Iterator[list[Lot]]:
        """All that may be ordered."""
        choices = []
        for o, row in enumerate(self.offers):
            if row["kind"] not in {"buy", "rent"}:
                continue
            arrives = t + row.get("lead_periods", 0)
            counts = [n for n in range(row["max_per_period"] + 1)
                      if n == 0 or n >= row.get("min_order", 0)]  # fmt: skip
            price = row["price"][t] if isinstance(row["price"], list) else row["price"]
            price *= node.get("price_factor", {}).get(row["id"], 1.0)
            choices.append(
                [Lot(o, arrives, 0, price, n) for n in (counts if arrives <= self.last else [0])]
            )
        for way in itertools.product(*choices):
            yield [lot for lot in way if lot.count]

    def run(self, node: dict[str, Any], here: list[Lot], t: int) -> float:
        """What the period costs with what is there, and with what is added for it."""
        return min((usd for _, usd in self.runs(node, here, t)), default=math.inf)

    def runs(self, node: dict[str, Any], here: list[Lot], t: int) -> Iterator[tuple[int, float]]:
        """The same for each number of systems that may be added on demand."""
        start, end = self.starts[t], self.starts[t + 1]
        weight, total, kw = self.weight(start, end), 0.0, 0.0
        free = dear = 0.0  # capacity without and with a cost of its use
        for lot in here:
            row, system = self.offers[lot.offer], self.system[lot.offer]
            age = t - lot.arrives + lot.age
            kw += system["kw"] * lot.count
            if system.get("usd_per_unit_year"):
                dear += system["capacity"] * lot.count
            else:
                free += system["capacity"] * lot.count
            if row["kind"] == "rent":
                total += lot.price * lot.count * weight
                rest = row["term_periods"] - age - 1
                if t == self.last and self.data["charge_beyond_horizon"]:
                    beyond = self.weight(end, end + rest * (end - start))
                    total += lot.price * lot.count * beyond
            else:
                run = row["run_usd_per_year"]
                run = run[min(age, len(run) - 1)] if isinstance(run, list) else run
                total += run * lot.count * weight
        limit = node.get("power_kw", self.data["power_kw"]) * node.get("power_factor", 1.0)
        kinds = {row["kind"]: row for row in self.offers}
        hosted = "api" in kinds
        api_usd = kinds.get("api", {"price": 0.0})["price"]
        use_usd = self.data["systems"][0]["usd_per_unit_year"]
        for n in range(kinds.get("on_demand", {"max": 0})["max"] + 1):  # of B
            if kw + 2.0 * n > limit + 1e-9:
                continue
            left = max(node["demand"] - free - n, 0.0)
            through = min(left, dear)
            if api_usd < use_usd:  # cheaper than what owned systems use
                through = 0.0 if hosted else through
            if left > through and not hosted:
                continue
            usd = 55.0 * n + use_usd * through + api_usd * (left - through)
            yield n, total + usd * weight

    def end_value(self, here: list[Lot]) -> float:
        """What stands at the end is worth so much."""
        total = 0.0
        for lot in here:
            row = self.offers[lot.offer]
            if row["kind"] != "rent":
                age = self.last + 1 - lot.arrives + lot.age
                share = row["resale"][min(age, row["life_periods"], len(row["resale"]) - 1)]
                total += share * lot.price * lot.count
        return total * self.data["end_value_share"] * self.worth_of(self.starts[-1])
