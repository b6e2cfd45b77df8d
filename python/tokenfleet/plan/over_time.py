"""A solved horizon in the user's words: orders, periods, outlooks, risk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tokenfleet.files.plain import finite
from tokenfleet.mix.horizon.measures import cvar
from tokenfleet.mix.horizon.solve import HorizonResult, year_of
from tokenfleet.mix.model import limits as families
from tokenfleet.mix.model.stock import LAYOUT_CHANGES, deliveries, payments, vintages
from tokenfleet.mix.result import MixResult, tokens_per_year
from tokenfleet.plan.by_block import PlanNumbers, PlanUsage
from tokenfleet.plan.horizon_rows import (
    Beyond,
    Held,
    Order,
    OutlookRow,
    OverTime,
    Period,
    Risk,
    SitePower,
)
from tokenfleet.plan.signs import sign_of
from tokenfleet.problem.over_time import is_block, without_blocks
from tokenfleet.problem_data import SECONDS_PER_HOUR, Block, Ordered, Short, Systems
from tokenfleet.schema import Scenario
from tokenfleet.verify.horizon import OfferCash, cash_by_node
from tokenfleet.verify.mix import goal_value

_NONE = 1e-6  # systems
_ALPHA = 0.8  # the tail that is told where no risk is stated: the worst fifth


@dataclass(frozen=True)
class Measured:
    """What was solved for beside the plan; None where it was not."""

    least: Mapping[int, float] | None = None  # cost of each future known in advance, by leaf
    least_bound: Mapping[int, float] | None = None  # what is proven of it
    eev: float | None = None
    eev_bound: float | None = None
    waiting: float | None = None  # cost where the first period orders nothing
    regret: tuple[tuple[float | None, ...], ...] = field(default=())


def mix_of(result: HorizonResult, u: int) -> MixResult:
    """One node as a mix of systems for a year; blocks of power are its site's power."""
    mix = year_of(result, u)
    problem = mix.problem
    blocks = {o for o, offer in enumerate(problem.offers) if is_block(offer)}
    pools = {problem.offers[o].pool for o in blocks}
    counts = {x.offer: n for x, n in mix.values.items() if isinstance(x, Systems)}
    if blocks:
        mix = replace(
            mix,
            problem=without_blocks(problem, counts),
            values={
                x: n
                for x, n in mix.values.items()
                if getattr(x, "offer", -1) not in blocks and getattr(x, "pool", -1) not in pools
            },
            bookings=tuple(b for b in mix.bookings if getattr(b.label, "offer", -1) not in blocks),
        )
    return replace(mix, value=goal_value(mix.problem, mix.values))


def over_time(scenario: Scenario, result: HorizonResult, measured: Measured) -> OverTime:
    """The rows of a plan over a horizon."""
    return _Reader(scenario, result).rows(measured)


def in_service(result: HorizonResult) -> dict[int, dict[int, float]]:
    """Systems by node and offer, at the peak of the node."""
    found: dict[int, dict[int, float]] = {}
    for label, value in result.values.items():
        if isinstance(label, Systems):
            counts = found.setdefault(result.problem.node_of(label.scope), {})
            counts[label.offer] = max(counts.get(label.offer, 0.0), value)
    return found


class _Reader:
    def __init__(self, scenario: Scenario, result: HorizonResult) -> None:
        assert scenario.horizon is not None
        self.scenario = scenario
        self.stated, self.result = scenario.horizon, result
        self.problem, self.horizon = result.problem, result.horizon
        self.cash = cash_by_node(self.problem, result.values)
        self.standing = in_service(result)
        self.mixes = [mix_of(result, u) for u in range(len(self.horizon.nodes))]
        months = [0]
        for length in self.stated.months:
            months.append(months[-1] + length)
        self.days = [self.stated.first_day(m) for m in months]

    def rows(self, measured: Measured) -> OverTime:
        """All of it."""
        result, years = self.result, self.result.years
        output, total = (self._tokens(of) for of in ("output", "total"))
        orders = tuple(self._orders())
        bound = result.bound if result.value == result.npv_usd else None
        return OverTime(
            npv_usd=result.npv_usd,
            npv_bound_usd=None if bound is None else finite(bound),
            levelised_usd_per_year=result.levelised_usd_per_year,
            levelised_cost_per_mtok_output_usd=_per_mtok(result.npv_usd, output),
            levelised_cost_per_mtok_total_usd=_per_mtok(result.npv_usd, total),
            discount_rate=self.horizon.rate,
            years=years,
            owned_at_start_usd=max(0.0, -sum(self._owned())),
            orders=orders,
            periods=tuple(self._period(u) for u in range(len(self.horizon.nodes))),
            outlooks=tuple(self._outlooks(measured)),
            risk=self._risk(measured) if len(self.horizon.leaves) > 1 else None,
            beyond=Beyond(
                usd=sum(
                    self.horizon.nodes[u].probability * cash.beyond for u, cash in self.cash.items()
                )
                or self._uncounted(),
                counted=self.stated.contracts_beyond == "full",
            ),
            commitments=tuple(row.sentence() for row in orders if row.decided == "now"),
        )

    def _owned(self) -> Iterator[float]:
        for node, usd, (year, weight) in zip(
            self.horizon.nodes, self.result.fixed_usd, self.problem.parts, strict=True
        ):
            contracted = sum(site.contracted_power_usd_per_year for site in year.sites)
            yield usd * node.probability - contracted * weight

    def _tokens(self, of: str) -> float:
        denominator = "total" if of == "total" else "output"
        return tokens_per_year(self.problem, self.result.values, denominator)  # type: ignore[arg-type]

    # Periods

    def _period(self, u: int) -> Period:
        node, mix, cash = self.horizon.nodes[u], self.mixes[u], self.cash[u]
        t = node.period
        length = self.horizon.starts[t + 1] - self.horizon.starts[t]
        output = tokens_per_year(mix.problem, mix.values, "output")
        items = dict(mix.cost_items)
        if cash.changed:
            weight = self.problem.parts[u][1] / node.probability
            discount = (1.0 + self.horizon.rate) ** -self.horizon.starts[t]
            items[LAYOUT_CHANGES] = cash.changed * discount / weight
        cost = sum(items.values())
        parent = None if node.parent < 0 else self.horizon.nodes[node.parent].name
        return Period(
            period=node.name,
            start=self.days[t],
            end=self.days[t + 1],
            after=parent,
            outlook=self._outlook(u),
            probability=node.probability,
            firm=node.firm,
            systems=tuple(self._held(u)),
            sites=tuple(self._power(mix)),
            annual_cost_usd=cost,
            cost_items=items,
            bought_usd=cash.bought,
            sold_usd=max(0.0, -cash.sold),
            paid_usd=max(cash.sold, 0.0)
            + cash.upfront
            + cash.changed
            + (cash.yearly + cash.rental) * length,
            end_value_usd=max(0.0, -cash.end),
            tokens_output=output * length,
            cost_per_mtok_output_usd=_per_mtok(cost, output),
            unmet_requests=_unmet(mix) * length,
        )

    def _outlook(self, u: int) -> str | None:
        words = self.horizon.nodes[u].name.split(" ", 1)
        return words[1] if len(words) > 1 else None

    def _held(self, u: int) -> Iterator[Held]:
        node = self.horizon.nodes[u]
        now, before = self._counts(u), self._counts(node.parent)
        delivered = self._delivered(u)
        for o, offer in enumerate(self.problem.offers):
            ordered = self.result.values.get(Ordered(u, o), 0.0)
            came = delivered.get(o, 0.0)
            owned = 0.0 if offer.stock is None or node.parent >= 0 else sum(
                count for _, count in offer.stock.owned)  # fmt: skip
            there = before.get(o, 0.0) + owned
            gone = 0.0 if offer.stock is None else max(there + came - now.get(o, 0.0), 0.0)
            if max(now.get(o, 0.0), ordered, came, gone) > _NONE:
                pool, cash = self.problem.pools[offer.pool], self._cash(u, o)
                yield Held(
                    site=self.problem.sites[pool.site].id,
                    system=pool.system,
                    offer=offer.stated_as,
                    kind=offer.kind,
                    count=now.get(o, 0.0),
                    ordered=ordered,
                    delivered=came,
                    gone=gone,
                    bought_usd=cash.bought,
                    sold_usd=max(0.0, -cash.sold),
                    upfront_usd=cash.upfront,
                    priced_usd_per_year=cash.yearly,
                    end_value_usd=max(0.0, -cash.end),
                )

    def _cash(self, u: int, o: int) -> OfferCash:
        """Cash of a node that follows the price of an offer."""
        if self.problem.offers[o].stock is not None:
            return self.cash[u].offers.get(o, OfferCash())
        booked = self.mixes[u].bookings
        rent = (b.usd for b in booked if b.item == "rental" and getattr(b.label, "offer", -1) == o)
        return OfferCash(yearly=sum(rent))

    def _counts(self, u: int) -> dict[int, float]:
        """Systems in service by offer, at the peak of a node; none before the first."""
        return self.standing.get(u, {})

    def _delivered(self, u: int) -> dict[int, float]:
        found: dict[int, float] = {}
        for label, value in self.result.values.items():
            if not isinstance(label, Ordered):
                continue
            if u in deliveries(self.horizon, label.offer, label.node):
                found[label.offer] = found.get(label.offer, 0.0) + value
        return found

    def _power(self, mix: MixResult) -> Iterator[SitePower]:
        use = PlanUsage(mix, PlanNumbers(mix))
        for place in families.power_places(mix.problem):
            yield SitePower(
                site=place.name,
                provisioned_kw=float(families.power_used(use, place)),
                limit_kw=finite(place.limit),
            )

    # Orders

    def _orders(self) -> Iterator[Order]:
        now = self.horizon.now
        placed = [
            (label, value)
            for label, value in self.result.values.items()
            if isinstance(label, Ordered) and value > _NONE
        ]
        placed.sort(key=lambda item: (self.horizon.nodes[item[0].node].period, item[0]))
        for label, count in placed:
            node = self.horizon.nodes[label.node]
            offer = node.problem.offers[label.offer]
            pool = self.problem.pools[offer.pool]
            arrives = deliveries(self.horizon, label.offer, label.node)
            first = min((self.horizon.nodes[d].period for d in arrives), default=None)
            price, pay = offer.capex_usd, offer.capex_usd * count
            if offer.stock is not None and offer.stock.kind == "contract":
                price = offer.annual_cost_items_usd.get("rental", 0.0)
                pay = self._contract_usd(label) * count
            decided = "now" if label.node in now and node.period == 0 else (
                "later, whatever comes" if label.node in now else self._outlook(label.node) or ""
            )  # fmt: skip
            yield Order(
                offer=offer.stated_as,
                system=pool.system,
                site=self.problem.sites[pool.site].id,
                kind=offer.kind,
                count=count,
                order_on=self.days[node.period],
                deliver_on=None if first is None else self.days[first],
                pay_usd=pay,
                price_usd=price,
                decided=decided,
            )

    def _contract_usd(self, label: Ordered) -> float:
        """What one contract pays within its term and the horizon, undiscounted, on average."""
        for vintage in vintages(self.problem, label.offer):
            if vintage.order == label.node:
                stock = self.problem.offers[label.offer].stock
                assert stock is not None
                flat = replace(self.horizon, rate=0.0)
                plain = replace(self.problem, horizon=flat, blocks=self._undiscounted())
                total = sum(payments(plain, stock, vintage).values())
                return total / self.horizon.nodes[label.node].probability
        return 0.0

    def _undiscounted(self) -> tuple[Block, ...]:
        starts, nodes = self.horizon.starts, self.horizon.nodes
        return tuple(
            replace(
                block,
                weight=nodes[block.outlook].probability
                * (starts[block.period + 1] - starts[block.period]),
            )
            for block in self.problem.blocks
        )

    # Outlooks

    def _outlooks(self, measured: Measured) -> Iterator[OutlookRow]:
        for leaf in self.horizon.leaves:
            usd = self.result.npv_by_leaf[leaf]
            least = None if measured.least is None else measured.least[leaf]
            unmet = sum(
                _unmet(self.mixes[u])
                * (self.horizon.starts[self.horizon.nodes[u].period + 1]
                   - self.horizon.starts[self.horizon.nodes[u].period])
                for u in self.horizon.path(leaf)
            )  # fmt: skip
            yield OutlookRow(
                outlook=self._outlook(leaf) or "",
                probability=self.horizon.nodes[leaf].probability,
                npv_usd=usd,
                least_npv_usd=least,
                regret_usd=None if least is None else usd - least,
                unmet_requests=unmet,
                sign="; ".join(self._signs(self._outlook(leaf))),
            )

    def _signs(self, outlook: str | None) -> Iterator[str]:
        """What an outlook says, after those that it is a part of."""
        row = {row.id: row for row in self.scenario.outlooks}.get(outlook or "")
        if row is not None:
            yield from self._signs(row.parent)
            yield sign_of(row)

    def _risk(self, measured: Measured) -> Risk:
        result, nodes = self.result, self.horizon.nodes
        stated = self.scenario.objective.risk
        alpha = _ALPHA if stated is None else stated.cvar_alpha
        see, see_bound = (self._mean(of) for of in (measured.least, measured.least_bound))
        npv = result.npv_usd
        bound = finite(result.bound) if result.value == npv else None
        return Risk(
            expected_usd=result.npv_usd,
            cvar_usd=cvar(result, alpha),
            cvar_alpha=alpha,
            worst_usd=max(result.npv_by_leaf.values()),
            unmet_probability=sum(
                nodes[leaf].probability
                for leaf in self.horizon.leaves
                if any(_unmet(self.mixes[u]) > _NONE for u in self.horizon.path(leaf))
            ),
            wait_and_see_usd=see,
            evpi_usd=_less(npv, see),
            evpi_low_usd=_at_least_0(_less(bound, see)),
            evpi_high_usd=_less(npv, see_bound),
            eev_usd=measured.eev,
            vss_usd=_less(measured.eev, npv),
            vss_low_usd=_at_least_0(_less(measured.eev_bound, npv)),
            vss_high_usd=_less(measured.eev, bound),
            waiting_usd=_less(measured.waiting, npv),
            regret_usd=measured.regret,
        )

    def _mean(self, usd: Mapping[int, float] | None) -> float | None:
        """Mean over the futures; None where it is not known of one."""
        if usd is None:
            return None
        nodes = self.horizon.nodes
        return finite(sum(nodes[leaf].probability * value for leaf, value in usd.items()))

    def _uncounted(self) -> float:
        """What contracts pay past the horizon where that is not part of the cost."""
        total = 0.0
        end = self.horizon.when(self.horizon.periods)
        for label, value in self.result.values.items():
            if not isinstance(label, Ordered):
                continue
            offer = self.horizon.nodes[label.node].problem.offers[label.offer]
            if offer.stock is None or offer.stock.kind != "contract":
                continue
            price = offer.annual_cost_items_usd.get("rental", 0.0)
            for d in deliveries(self.horizon, label.offer, label.node):
                node = self.horizon.nodes[d]
                rest = self.horizon.when(node.period) + offer.stock.term - end
                total += node.probability * max(rest, 0.0) * price * value
        return total


def _unmet(mix: MixResult) -> float:
    """Requests a year that are not served."""
    hours = [block.counted_hours for block in mix.problem.blocks]
    return sum(
        value * hours[label.block] * SECONDS_PER_HOUR
        for label, value in mix.values.items()
        if isinstance(label, Short)
    )


def _less(usd: float | None, other: float | None) -> float | None:
    return None if usd is None or other is None else usd - other


def _at_least_0(usd: float | None) -> float | None:
    return None if usd is None else max(usd, 0.0)


def _per_mtok(usd: float, tokens: float) -> float | None:
    return usd * 1e6 / tokens if tokens > 0 else None
