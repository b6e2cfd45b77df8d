"""A small scenario over time as its extensive form in SCIP, written from the scenario's own words.

    python tests/horizon_scenario_scip.py 0 100      seeds from 0 to 99

`horizon_scip` judges the model of a horizon; this judges the way there too: dates, growth, price
paths, outlooks, lead times and terms become numbers here by themselves. Only today's prices are the
package's: what a system costs, and what it costs a year. Cash is booked when it moves.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tokenfleet as tf
from scenarios import hall
from test_horizon_scenario import scenario
from tokenfleet.errors import InfeasibleError
from tokenfleet.problem import build
from tokenfleet.scenario.load import load_scenario

Row = dict[str, Any]
MONTHS = {"quarter": 3, "half_year": 6, "year": 12}
MOST = 30  # systems of an order
LIFE, REST = 4.0, 0.2  # of `test_horizon_scenario.scenario`
SAME = 1e-9


def day(months: int) -> str:
    """The date so many months after October 2026."""
    return f"{2026 + (9 + months) // 12}-{(9 + months) % 12 + 1:02d}"


def years(text: str) -> float:
    """Years from October 2026 to a date."""
    year, month = map(int, text.split("-"))
    return ((year - 2026) * 12 + month - 10) / 12


class Node(NamedTuple):
    """A period of one outlook."""

    period: int
    parent: int
    probability: float
    outlook: Row


class Lot(NamedTuple):
    """What came in at one time: its price, age, worth and yearly cost by age."""

    price: float
    age: float
    is_new: bool
    worth: Callable[[float], float]
    yearly: Callable[[float], float]
    life: float
    stay: float = 0.0
    removal: float = 0.0


def by_age(points: list[list[float]], age: float) -> float:
    """A curve by age, straight between its points."""
    ages, values = zip(*points, strict=True)
    return float(np.interp(age, ages, values))


def factor(outlook: Row, field: str, name: str) -> float:
    """What an outlook says of a row."""
    given = outlook.get(field, 1.0)
    return float(given.get(name, 1.0) if isinstance(given, dict) else given)


class Judge:
    """One scenario: a column for every order, lot, contract and flow in every node."""

    def __init__(self, data: Row) -> None:
        import pyscipopt  # noqa: PLC0415 (not everyone has it)

        self.sum = pyscipopt.quicksum
        self.model = pyscipopt.Model()
        self.model.hideOutput()
        self.model.setParam("limits/gap", 1e-9)
        self.data, self.stated = data, data["horizon"]
        self.base = build(load_scenario(data)).problem
        self.today = {offer.supply_group: offer for offer in self.base.offers}
        self.rate = self.stated["discount_rate"]
        parts = [part.split() for part in self.stated["periods"]]
        months = [MONTHS[word.rstrip("s")] for count, word in parts for _ in range(int(count))]
        self.starts = [0.0, *itertools.accumulate(m / 12 for m in months)]
        self.last = len(months) - 1
        self.nodes = list(self.tree())
        self.children = defaultdict(list)
        for u, node in enumerate(self.nodes):
            self.children[node.parent].append(u)
        self.cost: dict[int, list[Any]] = defaultdict(list)
        self.serving: dict[int, list[Any]] = defaultdict(list)
        self.in_hall: dict[int, list[Any]] = defaultdict(list)
        self.capex: dict[int, list[Any]] = defaultdict(list)
        for row in data["offers"]:
            getattr(self, row["kind"])(row)
        for row in data["sites"][0].get("expansions", ()):
            self.block(row)
        for u in range(len(self.nodes)):
            self.serve(u)

    def tree(self) -> Iterator[Node]:
        """One chain until the news, and then one for each outlook."""
        outlooks = self.data.get("outlooks", [])
        news = years(outlooks[0]["from"]) if outlooks else math.inf
        before: dict[str, int] = {}
        count = 0
        for t in range(self.last + 1):
            known = outlooks if self.starts[t] >= news - SAME else [{"id": "", "probability": 1.0}]
            here = {}
            for row in known:
                here[row["id"]] = count
                count += 1
                yield Node(t, before.get(row["id"], before.get("", -1)), row["probability"], row)
            before = here

    def worth(self, at: float) -> float:
        """What a dollar paid then is worth."""
        return float((1 + self.rate) ** -at)

    def flow(self, start: float, end: float) -> float:
        """What a dollar a year is worth."""
        if self.rate == 0:
            return end - start
        return (self.worth(start) - self.worth(end)) / self.rate

    def start(self, u: int) -> float:
        """First day of a node."""
        return self.starts[self.nodes[u].period]

    def weight(self, u: int) -> float:
        """What a dollar a year is worth while a node lasts."""
        return self.flow(self.start(u), self.starts[self.nodes[u].period + 1])

    def price(self, row: Row, u: int) -> float:
        """Price in a node over today's."""
        change = (1 + row.get("price_change_per_year", 0.0)) ** self.start(u)
        return float(change * factor(self.nodes[u].outlook, "prices", row["id"]))

    def is_open(self, row: Row, u: int) -> bool:
        """Whether an offer is made in a node."""
        first, last = row.get("order_from"), row.get("order_until")
        early = first is not None and self.start(u) < years(first) - SAME
        return not early and (last is None or self.start(u) <= years(last) + SAME)

    def whole(self, most: float) -> Any:
        """A whole number."""
        return self.model.addVar(vtype="I", lb=0, ub=most)

    def delivered(self, k: int, months: float, name: str) -> list[int]:
        """Nodes in which an order of node k arrives."""
        found, left = [], [k]
        while left:
            u = left.pop()
            late = self.nodes[u].outlook.get("delivery_delay_months", {}).get(name, 0)
            if self.start(u) + SAME >= self.start(k) + (months + late) / 12:
                found.append(u)
            else:
                left += self.children[u]
        return found

    def stand(self, lot: Lot, born: float, u: int, before: Any, into: list[dict]) -> None:
        """A lot is held from a node on, sold, or credited at the end."""
        node = self.nodes[u]
        age, older = self.start(u) - born, self.starts[node.period + 1] - born
        now = self.worth(self.start(u))
        arrives = lot.is_new and age == 0
        brings = (lot.price * lot.worth(age) - lot.removal) * now
        if older > lot.life + SAME:
            if arrives:
                self.model.addCons(before == 0)
            self.cost[u].append(-brings * before)
            return
        held = before
        if not arrives:
            held = self.model.addVar(vtype="I", lb=0)
            self.model.addCons(held <= before)
            if age < lot.stay - SAME:
                self.model.addCons(held >= before)
            self.cost[u].append(-brings * (before - held))
        self.cost[u].append(lot.yearly(age) * self.weight(u) * held)
        for there in into:
            there[u].append(held)
        if node.period == self.last:
            share = self.stated["end_value_share"] * self.worth(self.starts[-1])
            self.cost[u].append(-lot.price * lot.worth(older) * share * held)
        for v in self.children[u]:
            self.stand(lot, born, v, held, into)

    def arrive(self, deliveries: list[int], lot: Lot, count: Any, into: list) -> None:
        """An order is paid where it is delivered, and stands there."""
        for d in deliveries:
            self.cost[d].append(lot.price * self.worth(self.start(d)) * count)
            self.capex[d].append(lot.price * count)
            self.stand(lot, self.start(d), d, count, into)

    def buy(self, row: Row) -> None:
        """Orders within what may be delivered, also where several arrive together."""
        offer, together = self.today[row["id"]], defaultdict(list)
        items = dict(offer.annual_cost_items_usd)
        capital = ("capex_annuity", "residual_credit", "maintenance")
        other = sum(usd for item, usd in items.items() if item not in capital)
        months = row.get("lead_months", 0)
        for k in range(len(self.nodes)):
            supplied = factor(self.nodes[k].outlook, "supply", row["id"])
            most = row.get("delivery_limit_per_period", math.inf if supplied else 0)
            most = math.floor(min(most * supplied if supplied != 1 else most, MOST))
            arrives = self.delivered(k, months, row["id"])
            if not self.is_open(row, k) or not arrives or most < 1:
                continue
            count = self.whole(most)
            if row.get("least_order", 0) > 1:
                placed = self.model.addVar(vtype="B")
                self.model.addCons(count >= row["least_order"] * placed)
                self.model.addCons(count <= most * placed)
            at = self.price(row, k)
            kept = items["maintenance"] * at

            def yearly(age: float, kept: float = kept) -> float:
                return kept * by_age(row.get("maintenance_by_age", [[0, 1.0]]), age) + other

            stay, removal = row.get("stay_months", 0) / 12, row.get("removal_usd_per_system", 0)
            usd, worth = offer.capex_usd * at, self.resale(row)
            lot = Lot(usd, 0.0, True, worth, yearly, LIFE, stay, removal)
            self.arrive(arrives, lot, count, [self.serving, self.in_hall])
            for d in arrives:
                together[d].append((count, most))
        for orders in together.values():
            if "delivery_limit_per_period" in row:
                most = max(limit for _, limit in orders)
                self.model.addCons(self.sum(count for count, _ in orders) <= most)

    def resale(self, row: Row) -> Callable[[float], float]:
        """Worth by age: a stated curve, or what the annuity implies."""
        if "resale" in row:
            points = [[0.0, 1.0], *row["resale"]]
            return lambda age: by_age(points, min(age, LIFE) if row["kind"] == "buy" else age)
        return lambda age: self.book(age, LIFE, REST)

    def book(self, age: float, life: float, rest: float) -> float:
        """Book value."""
        worn = min(age, life) / life
        if self.rate:
            worn = ((1 + self.rate) ** min(age, life) - 1) / ((1 + self.rate) ** life - 1)
        return 1 - (1 - rest) * worn

    def owned(self, row: Row) -> None:
        """What stood there at the start."""
        usd = sum(self.today[row["id"]].annual_cost_items_usd.values())
        for age, count in row["ages"]:
            lot = Lot(row["market_usd_per_system"], age, False, self.resale(row), lambda _: usd,
                      math.inf, row.get("stay_months", 0) / 12,
                      row.get("removal_usd_per_system", 0))  # fmt: skip
            self.stand(lot, -age, 0, count, [self.serving, self.in_hall])

    def rent(self, row: Row) -> None:
        """Contracts at the price of their first period."""
        items = dict(self.today[row["id"]].annual_cost_items_usd)
        rental, upfront = items.pop("rental"), row.get("upfront_fraction", 0)
        full = self.stated["contracts_beyond"] == "full"
        for k in range(len(self.nodes)):
            if not factor(self.nodes[k].outlook, "supply", row["id"]):
                continue
            count, usd, paid, left = self.whole(MOST), rental * self.price(row, k), 0.0, [k]
            while left:
                u = left.pop()
                end = self.starts[self.nodes[u].period + 1]
                if end - self.start(k) > row["term_years"] + SAME:
                    continue
                is_last = self.nodes[u].period == self.last
                rest = row["term_years"] - (end - self.start(k)) if full and is_last else 0.0
                paid = max(paid, end - self.start(k) + rest)
                weight = self.weight(u) + self.flow(self.starts[-1], self.starts[-1] + rest)
                each = usd * (1 - upfront) * weight + sum(items.values()) * self.weight(u)
                self.cost[u].append(each * count)
                self.serving[u].append(count)
                left += self.children[u]
            if not paid:
                self.model.addCons(count == 0)
            self.cost[k].append(usd * upfront * paid * self.worth(self.start(k)) * count)

    def on_demand(self, row: Row) -> None:
        """Systems for one node."""
        offer = self.today[row["id"]]
        for u, node in enumerate(self.nodes):
            most = MOST if row["supply"] == "unlimited" else row["supply"]
            supplied = factor(node.outlook, "supply", row["id"])
            most = min(most * supplied if supplied and most < MOST else most, MOST)
            count = self.whole(math.floor(most) if supplied and self.is_open(row, u) else 0)
            usd = offer.hourly_usd * 8760 * self.price(row, u)
            usd += sum(offer.annual_cost_items_usd.values())
            self.cost[u].append(usd * self.weight(u) * count)
            self.serving[u].append(count)

    def block(self, row: Row) -> None:
        """Blocks of power, of which there are so many; each takes less than nothing of it."""
        per_system = self.base.pools[self.base.offers[0].pool].provisioned_it_kw
        brings: dict[int, list[Any]] = defaultdict(list)
        life = row["life_years"]

        def worth(age: float) -> float:
            return self.book(age, life, 0.0)

        lot = Lot(row["capex_usd"], 0.0, True, worth, lambda _: row["usd_per_year"], life)
        for k in range(len(self.nodes)):
            arrives = self.delivered(k, row["months"], "")
            self.arrive(arrives, lot, self.whole(row["most"]), [brings])
        for u, counts in brings.items():
            self.model.addCons(self.sum(counts) <= row["most"])
            self.in_hall[u] += [-row["kw"] / per_system * count for count in counts]

    def serve(self, u: int) -> None:
        """Demand, capacity, power and budget of a node."""
        node, workload = self.nodes[u], self.data["workloads"][0]
        demand, start, end = workload["demand"], self.start(u), self.starts[node.period + 1]
        rate, growth = demand["requests_per_s"], demand.get("growth_per_year", 0)
        if growth:
            log = math.log1p(growth)
            rate *= ((1 + growth) ** end - (1 + growth) ** start) / (log * (end - start))
        if "requests_per_s_by_date" in demand:
            (_, first), (then, later), *_ = demand["requests_per_s_by_date"]
            cut = min(max(years(then), start), end)
            rate = (first * (cut - start) + later * (end - cut)) / (end - start)
        candidate, flow = self.base.candidates[0], self.model.addVar(lb=0)
        speed = factor(node.outlook, "efficiency", candidate.system)
        self.model.addCons(flow * candidate.load[0] <= speed * 8 * self.sum(self.serving[u]))
        served = [flow]
        if "shortfall_usd_per_request" in workload:
            served.append(self.model.addVar(lb=0))
            usd = workload["shortfall_usd_per_request"] * 8760 * 3600
            self.cost[u].append(usd * self.weight(u) * served[-1])
        self.model.addCons(self.sum(served) == rate * factor(node.outlook, "demand", "chat"))
        kw = self.base.pools[self.base.offers[0].pool].provisioned_it_kw
        self.model.addCons(self.sum(self.in_hall[u]) * kw <= self.power(u))
        if "capex_budget_by_date" in self.stated and self.capex[u]:
            most = self.stated["capex_budget_by_date"][0][1]
            self.model.addCons(self.sum(self.capex[u]) <= most)

    def power(self, u: int) -> float:
        """Limit of the hall in a node, kW."""
        outlook, stated = self.nodes[u].outlook, self.data["sites"][0]["power_kw"]
        late = outlook.get("power_delay_months", {}).get("hall", 0) / 12
        limit = stated
        if isinstance(stated, list):
            held = [kw for at, kw in stated if years(at) <= self.start(u) - late + SAME]
            limit = held[-1] if held else stated[0][1]
        return float(limit * factor(outlook, "power", "hall"))

    def least(self) -> float:
        """Least mean worth of all cash; inf where there is no plan."""
        goal = self.model.addVar(lb=None)
        parts = (self.nodes[u].probability * usd for u, all_ in self.cost.items() for usd in all_)
        self.model.addCons(self.sum(parts) <= goal)
        self.model.setObjective(goal)
        self.model.optimize()
        found = self.model.getStatus() in ("optimal", "gaplimit")
        return float(self.model.getObjVal()) if found else math.inf


# Random scenarios


class Draw:
    """A random small scenario with whatever a horizon may say."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(900_000 + seed)
        self.periods = self.pick(
            ["2 years"], ["3 years"], ["2 quarters", "1 year"], ["2 half_years", "1 year"],
            ["4 quarters"], ["1 quarter", "1 half_year", "1 year"],
        )  # fmt: skip
        parts = [part.split() for part in self.periods]
        self.months = sum(int(n) * MONTHS[word.rstrip("s")] for n, word in parts)
        self.last = MONTHS[parts[-1][1].rstrip("s")]

    def pick(self, *values: Any) -> Any:
        """One of some values."""
        return values[int(self.rng.integers(len(values)))]

    def some(self, low: float, high: float) -> float:
        """A number."""
        return round(float(self.rng.uniform(low, high)), 2)

    def date(self, first: int, last: int) -> str:
        """A month of the horizon."""
        return day(int(self.rng.integers(first, max(last, first + 1))))

    def given(self, **fields: Callable[[], Any]) -> Row:
        """Some of the fields."""
        return {name: value() for name, value in fields.items() if self.pick(0, 0, 1)}

    def scenario(self) -> Row:
        """All of it."""
        data = scenario(horizon={"start": "2026-10", "periods": self.periods})
        outlooks = self.outlooks() if self.pick(0, 1, 1) else []
        data["horizon"] |= {
            "discount_rate": self.pick(0.0, 0.08, 0.12),
            "end_value_share": self.pick(1.0, 0.5),
            "contracts_beyond": self.pick("in_horizon", "full"),
            "firm_periods": sum(int(part.split()[0]) for part in self.periods),
        } | self.given(capex_budget_by_date=lambda: [["2026-10", self.some(2e5, 1.5e6)]])
        workload = data["workloads"][0]
        workload["demand"] = {"requests_per_s": self.some(2, 20), **self.growth()}
        workload |= self.given(shortfall_usd_per_request=lambda: self.some(0.01, 0.05))
        data |= {"offers": list(self.offers()), "sites": [hall(**self.site())]}
        if not isinstance(data["sites"][0]["power_kw"], list):
            for row in outlooks:
                row.pop("power_delay_months", None)  # nothing has a date
        return data | ({"outlooks": outlooks} if outlooks else {})

    def growth(self) -> Row:
        """By the year, or at a date."""
        if self.pick(0, 1):
            return {"growth_per_year": self.some(-0.3, 1.0)}
        then, rate = self.date(1, self.months), self.some(2, 40)
        steps = [["2026-10", self.some(2, 20)], [then, rate]]
        if years(then) < (self.months - 1) / 12:
            steps.append([day(self.months - 1), rate])  # it stays
        return {"requests_per_s_by_date": steps}

    def offers(self) -> Iterator[Row]:
        """Buying, and some other ways."""
        of = {"system": "h100_sxm_8"}
        bought = {"id": "b", "kind": "buy", "includes": ["energy"], **of}
        yield (
            bought
            | {"price_usd_per_system": self.some(1e5, 3e5)}
            | self.given(
                price_change_per_year=lambda: self.some(-0.4, 0.2),
                lead_months=lambda: self.pick(3, 6, 7),
                delivery_limit_per_period=lambda: self.pick(2, 3),
                least_order=lambda: 2,
                order_until=lambda: self.date(self.months // 2, self.months),
                resale=lambda: [[1, 0.7], [2, self.some(0.3, 0.6)], [3, 0.2], [4, 0.05]],
                maintenance_by_age=lambda: [[0, 1.0], [1, 1.5], [3, 2.5]],
                stay_months=lambda: self.pick(6, 12),
                removal_usd_per_system=lambda: self.some(0, 4e4),
            )
        )
        rent = {"id": "r", "kind": "rent", "term_years": self.pick(1, 2, 3), **of}
        rent |= {"price_usd_per_gpu_h": self.some(0.8, 3), "hosted": True}
        if self.pick(0, 1):
            yield rent | self.given(
                price_change_per_year=lambda: self.some(-0.4, 0.2), upfront_fraction=lambda: 0.25
            )
        hours = {"id": "od", "kind": "on_demand", "supply": self.pick("unlimited", 2), **of}
        hours |= {"price_usd_per_gpu_h": self.some(1.5, 5), "hosted": True}
        if self.pick(0, 1):
            yield hours | self.given(order_from=lambda: self.date(0, self.months))
        old = {"id": "o", "kind": "owned", "supply": 3, "ages": [[0.5, 1], [3, 2]], **of}
        old |= {"market_usd_per_system": self.pick(0, 150_000), "includes": ["energy"]}
        if self.pick(0, 1):
            yield (
                old
                | {"resale": [[1, 0.6], [2, 0.4], [3, 0.3], [9, 0.0]]}
                | self.given(stay_months=lambda: 18, removal_usd_per_system=lambda: 5_000)
            )

    def site(self) -> Row:
        """Power by date, and blocks of it."""
        later = [self.date(1, self.months), self.some(20, 90)]
        kw = self.pick(self.some(10, 50), [["2026-10", self.some(10, 60)], later], 200)
        block = {"id": "x", "kw": self.some(10, 40), "capex_usd": self.some(1e4, 3e5), "most": 2,
                 "months": self.pick(0, 3), "usd_per_year": self.pick(0.0, 5e3),
                 "life_years": 15.0}  # fmt: skip
        return {"power_kw": kw, **self.given(expansions=lambda: [block])}

    def outlooks(self) -> list[Row]:
        """Two that are known at one date."""
        share, news = self.some(0.1, 0.9), self.date(1, self.months - self.last + 1)
        said = (
            self.given(
                demand=lambda: self.pick(0, self.some(0.4, 2), {"chat": self.some(0.4, 2)}),
                prices=lambda: self.pick(self.some(0.6, 1.5), {"b": self.some(0.6, 1.5)}),
                efficiency=lambda: {"h100_sxm_8": self.some(0.6, 1.3)},
                power=lambda: self.some(0.7, 1.4),
                supply=lambda: self.pick(0, 0.5, {"b": 0.5}, 2),
                delivery_delay_months=lambda: {"b": self.pick(3, 6)},
                power_delay_months=lambda: {"hall": 3},
            )
            for _ in range(2)
        )
        shares = (share, round(1 - share, 10))
        return [
            {"id": f"s{i}", "probability": p, "from": news, **row}
            for i, (p, row) in enumerate(zip(shares, said, strict=True))
        ]


def both(seed: int) -> tuple[float, float]:
    """Least worth of all cash by the package and by SCIP; inf where there is no plan."""
    data = Draw(seed).scenario()
    own = Judge(data).least()
    try:
        plan = tf.optimize_fleet(data)
    except InfeasibleError:
        return math.inf, own
    assert plan.horizon is not None
    return plan.horizon.npv_usd, own


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        found, other = both(number)
        if found != other and not math.isclose(found, other, rel_tol=1e-6, abs_tol=1.0):
            print(f"seed {number}: {found}, SCIP {other}", flush=True)
