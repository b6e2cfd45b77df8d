"""The mix once more, as flat arrays: the formulation by which a claimed bound is checked.

Written from the rules alone, from `Problem` to numbers; it shares nothing with `mix.model`. Rows
and columns are those of the plain mixed-integer programme:

    x[o]       systems of an offer         whole    all year, or by load block where elastic
    n[p, c]    replicas in a pool          whole    as x, and by block under `relayout`
    f[b, p, c, k], api[b, a, k], short[b, w, k]     requests/s
    f[b, p, c]  requests/s of all classes of a mix
    used[p]    the pool holds systems      0 or 1   where it keeps a reserve
    racks[p]   racks taken                 whole
    cut[p, q]  systems cut by pattern q    whole    where replica sizes do not divide one another
    theta      scale of free demand

No system type is left out because another is as good, and limits on columns follow from what is
stated (supply, power, racks, capital, demand) and from nothing that the search found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenfleet.problem_data import Figure, FloatArray, Problem

IntArray = NDArray[np.int64]
Figures = dict[Figure, FloatArray]
FIGURES: tuple[Figure, ...] = ("cost", "energy", "carbon", "tokens", "value")
_ROUND = 1e-9  # a limit in whole things is not cut by a rounding error
_MOST_WAYS = 100_000  # to cut a system, that are tried one by one


@dataclass(frozen=True, eq=False)
class Formulation:
    """Columns with their figures a year, rows, and the entries where they meet."""

    figures: dict[Figure, FloatArray]  # by name in FIGURES: of one unit of each column
    contracted_usd: float  # contracted power
    low: FloatArray  # of columns
    up: FloatArray
    whole: NDArray[np.bool_]
    pair: IntArray  # of replicas and flows: number of (pool, candidate), else -1
    flow: NDArray[np.bool_]
    row_low: FloatArray
    row_up: FloatArray
    capacity: NDArray[np.bool_]  # rows: load of flows <= replicas
    rows: IntArray  # of entries
    columns: IntArray
    values: FloatArray
    pairs: list[tuple[int, int]]  # (pool, candidate)


def _spread(value: Any, size: int, kind: Any) -> NDArray[Any]:
    """So many numbers: those given, or one that stands for all."""
    if np.size(value) == size:
        return np.asarray(value, kind).reshape(size)
    return np.full(size, value, kind)


@dataclass
class _Sheet:
    """Columns and rows while they are written."""

    problem: Problem
    scale: float  # largest scale of free demand; inf where nothing is known
    firm: bool = True  # systems and replicas are whole
    figures: dict[Figure, list[FloatArray]] = field(
        default_factory=lambda: {f: [] for f in FIGURES}
    )
    low: list[FloatArray] = field(default_factory=list)
    up: list[FloatArray] = field(default_factory=list)
    whole: list[NDArray[np.bool_]] = field(default_factory=list)
    pair: list[IntArray] = field(default_factory=list)
    flow: list[NDArray[np.bool_]] = field(default_factory=list)
    row_low: list[float] = field(default_factory=list)
    row_up: list[float] = field(default_factory=list)
    capacity: list[bool] = field(default_factory=list)
    entries: list[tuple[IntArray, IntArray, FloatArray]] = field(default_factory=list)
    pairs: dict[tuple[int, int], int] = field(default_factory=dict)
    systems: list[tuple[str, list[int], IntArray]] = field(default_factory=list)  # type, blocks
    staffed: dict[int, list[IntArray]] = field(default_factory=dict)  # by site: its staff's systems
    replicas: list[tuple[list[int], IntArray]] = field(default_factory=list)  # of candidates
    count: int = 0

    @cached_property
    def candidates(self) -> dict[str, list[int]]:
        """Numbers of the candidates by system."""
        found: dict[str, list[int]] = {}
        for c, candidate in enumerate(self.problem.candidates):
            found.setdefault(candidate.system, []).append(c)
        return found

    def number(self, p: int, c: int) -> int:
        """Number of a pool with a candidate."""
        return self.pairs.setdefault((p, c), len(self.pairs))

    def add(
        self,
        up: FloatArray | Sequence[float],
        figures: Mapping[Figure, FloatArray | float] | None = None,
        *,
        low: float = 0.0,
        whole: bool = False,
        pair: IntArray | None = None,
        flow: bool = False,
    ) -> IntArray:
        """Columns with these upper bounds and figures a year; returns their numbers."""
        up = np.asarray(up, dtype=float)
        size = len(up)
        for name in FIGURES:
            given = (figures or {}).get(name, 0.0)
            self.figures[name].append(_spread(given, size, np.float64))
        self.low.append(np.full(size, low))
        self.up.append(up)
        self.whole.append(np.full(size, whole and self.firm))
        self.pair.append(np.full(size, -1) if pair is None else pair)
        self.flow.append(np.full(size, flow))
        self.count += size
        return np.arange(self.count - size, self.count)

    def row(self, low: float, up: float, *, capacity: bool = False) -> int:
        """An empty row; returns its number."""
        self.row_low.append(low)
        self.row_up.append(up)
        self.capacity.append(capacity)
        return len(self.row_low) - 1

    def enter(
        self, rows: IntArray | int, columns: IntArray | int, values: FloatArray | float
    ) -> None:
        """Entries of the matrix; single numbers stand for all."""
        sizes = [len(x) for x in (rows, columns, values) if isinstance(x, np.ndarray)]
        size = max(sizes, default=1) if all(sizes) else 0
        places = _spread(rows, size, np.int64), _spread(columns, size, np.int64)
        self.entries.append((*places, _spread(values, size, np.float64)))

    def done(self) -> Formulation:
        """The arrays."""
        rows, columns, values = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        return Formulation(
            figures={name: np.concatenate(parts) for name, parts in self.figures.items()},
            contracted_usd=_contracted_usd(self.problem),
            low=np.concatenate(self.low),
            up=np.concatenate(self.up),
            whole=np.concatenate(self.whole),
            pair=np.concatenate(self.pair),
            flow=np.concatenate(self.flow),
            row_low=np.array(self.row_low),
            row_up=np.array(self.row_up),
            capacity=np.array(self.capacity, dtype=bool),
            rows=rows,
            columns=columns,
            values=values,
            pairs=list(self.pairs),
        )


class _Demand:
    """Rows that say what is asked for, by block, workload and class."""

    def __init__(self, sheet: _Sheet) -> None:
        self.sheet = sheet
        problem = sheet.problem
        free = [w for w in problem.workloads if w.free]
        self.theta = -1
        if free:
            low = max(w.min_scale for w in free)
            self.theta = int(sheet.add([sheet.scale], low=low)[0])
        self.rows: list[IntArray] = []  # by workload: (B, K), -1 where nothing is asked
        self.peak: list[FloatArray] = []  # most requests/s
        for data in problem.workloads:
            rows = np.full(data.demand_rps.shape, -1, dtype=np.int64)
            for b, k in np.argwhere(data.demand_rps > 0):
                asked = float(data.demand_rps[b, k])
                level = 0.0 if data.free else asked
                rows[b, k] = sheet.row(level, level)
                if data.free:
                    sheet.enter(int(rows[b, k]), self.theta, -asked)
            self.rows.append(rows)
            scale = sheet.scale if data.free else 1.0
            with np.errstate(invalid="ignore"):
                peak = np.where(data.demand_rps > 0, data.demand_rps * scale, 0.0)
            self.peak.append(peak)
        self.most: dict[int, float] = {}  # by candidate: replicas that may be busy

    def busy(self, c: int) -> float:
        """Replicas that carry all that a candidate admits."""
        if c not in self.most:
            candidate = self.sheet.problem.candidates[c]
            admitted = np.isfinite(candidate.load)
            peak = self.peak[candidate.workload][:, admitted]
            busy = float((peak * candidate.load[admitted]).sum(axis=1).max(initial=0.0))
            self.most[c] = math.ceil(busy * (1.0 + _ROUND)) if math.isfinite(busy) else busy
        return self.most[c]

    def delivered(self, w: int, b: int, k: IntArray, quality: FloatArray | float) -> Figures:
        """Tokens and value a year of one request/s of each class k; `quality` by entry of k."""
        problem = self.sheet.problem
        data = problem.workloads[w]
        block = problem.blocks[b]
        seconds = 3600.0 * (block.hours * block.weight)
        tokens = data.output_tokens.astype(float)
        if problem.objective.denominator == "total":
            tokens = tokens + data.input_tokens
        return {
            "tokens": seconds * tokens[k],
            "value": seconds * data.value_usd_per_request[k] * quality,
        }


def _paid_hours(problem: Problem) -> FloatArray:
    """Hours of each block, as often as they count."""
    return np.array([block.hours * block.weight for block in problem.blocks])


def _years(problem: Problem) -> float:
    """Years that count: each period and outlook by the mean weight of its hours."""
    hours: dict[tuple[int, int], list[float]] = {}
    for block, paid in zip(problem.blocks, _paid_hours(problem).tolist(), strict=True):
        of_year = hours.setdefault((block.period, block.outlook), [0.0, 0.0])
        of_year[0] += paid
        of_year[1] += block.hours
    return sum(paid / whole for paid, whole in hours.values() if whole > 0)


def _contracted_usd(problem: Problem) -> float:
    """What contracted power costs in all the years that count."""
    return _years(problem) * sum(s.contracted_power_usd_per_year for s in problem.sites)


def formulate(problem: Problem, scale: float, *, firm: bool = True) -> Formulation:
    """The arrays of a problem whose free demand has at most this scale, in requests/s; where it is
    not `firm`, systems and replicas may be fractions, as in the later years of a horizon."""
    sheet = _Sheet(problem, scale, firm)
    demand = _Demand(sheet)
    site_rows = _SiteRows(sheet)
    phases: dict[tuple[int, ...], int] = {}
    for p in range(len(problem.pools)):
        _Pool(sheet, demand, site_rows, phases, p).write()
    _write_apis(sheet, demand)
    _write_shortfalls(sheet, demand)
    _Choices(sheet).write()
    _write_budget(sheet)
    return sheet.done()


def unreserved(problem: Problem) -> Problem:
    """The problem without any reserve: every plan's numbers of replicas fit it too."""
    return replace(problem, pools=tuple(replace(pool, reserve=0) for pool in problem.pools))


class _SiteRows:
    """Rows of power, racks, stock and capital, made when something enters them."""

    def __init__(self, sheet: _Sheet) -> None:
        self.sheet = sheet
        self.rows: dict[tuple[object, ...], int] = {}

    def at_most(self, key: tuple[object, ...], limit: float) -> int:
        """The row of a limit; -1 for one that is unlimited."""
        if not math.isfinite(limit):
            return -1
        if key not in self.rows:
            self.rows[key] = self.sheet.row(-math.inf, limit)
        return self.rows[key]


class _Pool:
    """Systems and replicas of one pool."""

    def __init__(
        self,
        sheet: _Sheet,
        demand: _Demand,
        limits: _SiteRows,
        phases: dict[tuple[int, ...], int],
        p: int,
    ) -> None:
        self.sheet, self.demand, self.limits, self.phases = sheet, demand, limits, phases
        self.p = p
        self.problem = problem = sheet.problem
        self.pool = pool = problem.pools[p]
        self.site = problem.sites[pool.site]
        self.up = [b for b, block in enumerate(problem.blocks) if block.lost_site != pool.site]
        self.hours = _paid_hours(problem)
        self.usd_per_kwh = np.zeros_like(self.hours)
        for price in (
            pool.energy_usd_per_kwh_it,
            pool.carbon_usd_per_kwh_it,
            pool.water_usd_per_kwh_it,
        ):
            self.usd_per_kwh += price
        self.offers = [o for o, offer in enumerate(problem.offers) if offer.pool == p]
        able = filter(self._may_run, sheet.candidates.get(pool.system, ()))
        self.candidates = np.array(list(able), dtype=np.int64)
        #: By block, workload and class: columns that carry requests/s, with how much of them.
        self.carried: dict[tuple[int, int, int], list[tuple[int, float]]] = {}
        self.busy = np.array([demand.busy(c) for c in self.candidates.tolist()])

    def _may_run(self, c: int) -> bool:
        candidate = self.problem.candidates[c]
        interruptible = self.problem.workloads[candidate.workload].interruptible
        return (
            not candidate.plainer  # another is as good in every number
            and self.pool.site in candidate.sites
            and (interruptible or not self.pool.interruptible)
        )

    def write(self) -> None:
        """All columns and rows of the pool; nothing where no system can be had."""
        if not self.offers or not len(self.candidates) or not self.up:
            return
        apart = [[b] for b in self.up]
        scopes = apart if self.pool.elastic else [self.up]
        room: dict[int, tuple[IntArray, int]] = {}
        for blocks in scopes:
            room |= dict.fromkeys(blocks, self._systems(blocks))
        by_block = self.pool.elastic or self.problem.relayout
        for blocks in apart if by_block else [self.up]:
            self._replicas(blocks, room[blocks[0]])

    def _energy(self, blocks: list[int], kw: FloatArray) -> Figures:
        """Figures of a year in which so many kW are drawn at the equipment in these blocks."""
        pool, hours = self.pool, self.hours[blocks]
        kwh = kw * float(hours.sum())
        return {
            "cost": kw * float(hours @ self.usd_per_kwh[blocks]),
            "energy": kwh * pool.pue,
            "carbon": kwh * pool.carbon_kg_per_kwh_it,
        }

    def _kw(self) -> float:
        return self.pool.provisioned_it_kw * (self.pool.pue if self.site.power_is_utility else 1.0)

    def _most_systems(self, o: int, usd: float) -> float:
        """Systems of an offer, each at a cost, that stated limits leave room for, or that have
        something to do; one that brings money in is worth having idle."""
        offer, pool, budget = self.problem.offers[o], self.pool, self.problem.objective
        limits = [offer.supply, self.useful if usd >= 0 else math.inf]
        if not pool.hosted:
            if self._kw() > 0:
                limits.append(self.site.power_limit_kw / self._kw())
            if math.isfinite(pool.systems_per_rack) and math.isfinite(self.site.rack_limit):
                limits.append(math.floor(self.site.rack_limit) * pool.systems_per_rack)
        if budget.capex_budget_usd is not None and offer.capex_usd > 0:
            limits.append(budget.capex_budget_usd / offer.capex_usd)
        least = min(limits) * (1.0 + _ROUND) + _ROUND
        return math.floor(least) if math.isfinite(least) and self.sheet.firm else least

    @cached_property
    def useful(self) -> float:
        """Systems that would hold every replica that could ever be busy, and the reserve."""
        total = float(self.pool.reserve)
        for c, most in zip(self.candidates.tolist(), self.busy.tolist(), strict=True):
            if not math.isfinite(most):
                return math.inf
            gpus, held = self.problem.candidates[c].gpus, self.pool.gpus_per_system
            total += math.ceil(most / max(held // gpus, 1)) * -(-gpus // held)
        return max(total, float(self.problem.objective.least_systems_per_type))

    def _systems(self, blocks: list[int]) -> tuple[IntArray, int]:
        """Columns of the systems that stand in these blocks, and that of the reserve (or -1)."""
        sheet, pool = self.sheet, self.pool
        hours = self.hours[blocks]
        offers = [self.problem.offers[o] for o in self.offers]
        fixed = np.array([sum(o.annual_cost_items_usd.values()) for o in offers])
        hourly = np.array(
            [float(hours @ np.broadcast_to(o.hourly_usd, self.hours.shape)[blocks]) for o in offers]
        )
        figures = self._energy(blocks, np.full(len(offers), pool.idle_it_kw))
        # Prices of a year cover all of it; an hourly one the hours in which the systems are on.
        years = float(hours.sum()) / 8760.0 if pool.elastic else _years(self.problem)
        paid = fixed * years + (hourly if pool.elastic else 0.0)
        figures["cost"] = figures["cost"] + paid
        usd = np.asarray(figures["cost"]).tolist()
        most = [self._most_systems(o, each) for o, each in zip(self.offers, usd, strict=True)]
        x = sheet.add(most, figures, whole=True)
        everywhere = list(range(len(self.problem.blocks)))
        sheet.systems.append((pool.system, blocks if pool.elastic else everywhere, x))
        own = np.array([offer.needs_staff for offer in offers])
        sheet.staffed.setdefault(pool.site, []).append(x[own])
        for b in blocks:
            self._room(b, x)
        for o, column in zip(offers, x.tolist(), strict=True):
            if o.capex_usd and self.problem.objective.capex_budget_usd is not None:
                budget = self.problem.objective.capex_budget_usd
                sheet.enter(self.limits.at_most(("capex",), budget), column, o.capex_usd)
        if not pool.reserve:
            return x, -1
        used = int(sheet.add([1.0], whole=True)[0])
        bound = min(sum(most), self.useful if min(usd) >= 0 else math.inf)
        if math.isfinite(bound) and sheet.firm:
            row = sheet.row(-math.inf, 0.0)
            sheet.enter(row, x, 1.0)
            sheet.enter(row, used, -bound)
        return x, used

    def _tie_to_reserve(self, used: int) -> None:
        """Where the reserve may be a fraction it is no less than the share of any class that the
        pool carries."""
        for (b, w, k), flows in self.carried.items():
            row = self.sheet.row(-math.inf, 0.0)
            for column, each in flows:
                self.sheet.enter(row, column, each)
            self.sheet.enter(row, used, -float(self.demand.peak[w][b, k]))
        self.carried.clear()

    def _room(self, b: int, x: IntArray) -> None:
        """Stock, power and racks that the systems take in a block."""
        sheet, pool, s = self.sheet, self.pool, self.pool.site
        for o, column in zip(self.offers, x.tolist(), strict=True):
            offer = self.problem.offers[o]
            name = (offer.supply_group,) if offer.supply_group else (o,)
            row = self.limits.at_most(("supply", *name, b), _supply(self.problem, o))
            if row >= 0:
                sheet.enter(row, column, 1.0)
            kg, most_kg = offer.embodied_carbon_kg, self.problem.objective.embodied_carbon_budget_kg
            if kg and most_kg is not None:
                sheet.enter(self.limits.at_most(("embodied", b), most_kg), column, kg)
        if pool.hosted:
            return
        power = self.limits.at_most(("power", s, b), self.site.power_limit_kw)
        if power >= 0:
            sheet.enter(power, x, self._kw())
        if math.isfinite(pool.systems_per_rack) and math.isfinite(self.site.rack_limit):
            taken = self.limits.at_most(("racks", s, b), math.floor(self.site.rack_limit))
            racks = int(sheet.add([math.floor(self.site.rack_limit)], whole=True)[0])
            space = sheet.row(-math.inf, 0.0)
            sheet.enter(space, x, 1.0)
            sheet.enter(space, racks, -pool.systems_per_rack)
            sheet.enter(taken, racks, 1.0)

    def _replicas(self, blocks: list[int], room: tuple[IntArray, int]) -> None:
        """Replicas that stand as they are in these blocks, with their flows and places."""
        sheet, candidates = self.sheet, self.problem.candidates
        of_pool = self.candidates.tolist()
        numbers = np.array([sheet.number(self.p, c) for c in of_pool])
        idle = np.array([candidates[c].idle_w for c in of_pool])
        figures = self._energy(blocks, idle / 1000.0)
        n = sheet.add(self.busy, figures, whole=True, pair=numbers)
        sheet.replicas.append((of_pool, n))
        self._places(n, room)
        kinds: dict[tuple[int, str], list[int]] = {}
        for i, c in enumerate(of_pool):
            if candidates[c].mix is None:
                kinds.setdefault((candidates[c].workload, candidates[c].role), []).append(i)
            else:
                for b in blocks:
                    self._mixed_flow(b, c, int(numbers[i]), int(n[i]))
        for members in map(np.array, kinds.values()):
            for b in blocks:
                self._flows(b, self.candidates[members], numbers[members], n[members])
        if room[1] >= 0 and not sheet.firm:
            self._tie_to_reserve(room[1])

    def _flows(self, b: int, of_kind: IntArray, numbers: IntArray, n: IntArray) -> None:
        """Requests/s of every class, in a block, through replicas of one workload and role.

        `of_kind` are candidates; `numbers` and the columns `n` have one entry for each.
        """
        sheet = self.sheet
        candidates = [self.problem.candidates[c] for c in of_kind.tolist()]
        w, role = candidates[0].workload, candidates[0].role
        asked = self.demand.rows[w][b]
        load = np.array([candidate.load for candidate in candidates])
        which, classes = np.nonzero(np.isfinite(load) & (asked >= 0))
        if not len(classes):
            return
        joules = np.array([candidate.energy_j for candidate in candidates])
        figures = self._energy([b], joules[which, classes] / 1000.0)
        if role != "prefill":
            quality = np.array([candidate.quality for candidate in candidates])
            figures |= self.demand.delivered(w, b, classes, quality[which])
        peak = self.demand.peak[w][b, classes]
        f = sheet.add(peak, figures, pair=numbers[which], flow=True)
        present, place = np.unique(which, return_inverse=True)
        capacity = np.array([sheet.row(-math.inf, 0.0, capacity=True) for _ in present])
        sheet.enter(capacity[place], f, load[which, classes])
        sheet.enter(capacity, n[present], -1.0)
        if role != "prefill":
            sheet.enter(asked[classes], f, 1.0)
        if role != "decode":
            for column, k in zip(f.tolist(), classes.tolist(), strict=True):
                self.carried.setdefault((b, w, k), []).append((column, 1.0))
        if role != "serve":
            pairs = [candidates[i].pair for i in which.tolist()]
            keys = zip(pairs, classes.tolist(), strict=True)
            balance = np.array([self._phase((b, self.pool.site, w, *key)) for key in keys])
            sheet.enter(balance, f, 1.0 if role == "prefill" else -1.0)

    def _mixed_flow(self, b: int, c: int, number: int, n: int) -> None:
        """Requests/s of all classes in their proportions through a candidate: one column."""
        sheet, candidate = self.sheet, self.problem.candidates[c]
        w, share = candidate.workload, np.array(candidate.mix)
        asked = self.demand.rows[w][b]
        k = np.flatnonzero((share > 0) & (asked >= 0))
        if not len(k):
            return
        part = share[k]
        figures = self._energy([b], np.array([part @ candidate.energy_j[k]]) / 1000.0)
        if candidate.role != "prefill":
            of_each = self.demand.delivered(w, b, k, candidate.quality)
            figures |= {name: np.array([part @ each]) for name, each in of_each.items()}
        most = float((self.demand.peak[w][b, k] / part).min())
        f = sheet.add([most], figures, pair=np.array([number]), flow=True)
        capacity = sheet.row(-math.inf, 0.0, capacity=True)
        sheet.enter(capacity, f, float(part @ candidate.load[k]))
        sheet.enter(capacity, n, -1.0)
        if candidate.role != "prefill":
            sheet.enter(asked[k], f, part)
        if candidate.role != "decode":
            for cls, each in zip(k.tolist(), part.tolist(), strict=True):
                self.carried.setdefault((b, w, cls), []).append((int(f[0]), each))
        if candidate.role != "serve":
            keys = [(b, self.pool.site, w, candidate.pair, cls) for cls in k.tolist()]
            balance = np.array([self._phase(key) for key in keys])
            sheet.enter(balance, f, part if candidate.role == "prefill" else -part)

    def _phase(self, key: tuple[int, ...]) -> int:
        """The row that balances what prefill and decode replicas of one pair carry."""
        if key not in self.phases:
            self.phases[key] = self.sheet.row(0.0, 0.0)
        return self.phases[key]

    def _places(self, n: IntArray, room: tuple[IntArray, int]) -> None:
        """Each replica has its place in a system that is not kept in reserve."""
        gpus = self.pool.gpus_per_system
        sizes = np.array([self.problem.candidates[c].gpus for c in self.candidates.tolist()])
        inside = sorted({int(g) for g in sizes if g < gpus})
        whole = sizes >= gpus
        chain, mixed = _chain_and_rest(inside)
        for g in chain:
            places = gpus // g * g
            row = self._filled(places, room)
            self.sheet.enter(row, n[(sizes >= g) & ~whole], sizes[(sizes >= g) & ~whole])
            self.sheet.enter(row, n[whole], places * -(-sizes[whole] // gpus))
        if not mixed and chain:
            return
        row = self._filled(1, room)
        self.sheet.enter(row, n[whole], -(-sizes[whole] // gpus))
        if not mixed:
            return
        if _ways(gpus, mixed) <= _MOST_WAYS:
            self._patterns(n, sizes, row, mixed)
        else:
            self._by_area(n, sizes, room, mixed)

    def _by_area(
        self, n: IntArray, sizes: IntArray, room: tuple[IntArray, int], mixed: list[int]
    ) -> None:
        """What every way to cut systems obeys, where the ways are too many to be written out.

        Whatever stands in one system, floor(size / g) of its replicas add up to no more than
        floor(accelerators / g). All plans stay, and a few that do not fit: a bound still holds.
        """
        gpus = self.pool.gpus_per_system
        for g in (1, *mixed):
            row = self._filled(gpus // g, room)
            taken = np.where(sizes < gpus, sizes // g, -(-sizes // gpus) * (gpus // g))
            self.sheet.enter(row, n[taken > 0], taken[taken > 0])

    def _filled(self, places: int, room: tuple[IntArray, int]) -> int:
        """A row `... <= places * usable systems`."""
        x, used = room
        row = self.sheet.row(-math.inf, 0.0)
        self.sheet.enter(row, x, float(-places))
        if used >= 0:
            self.sheet.enter(row, used, float(places * self.pool.reserve))
        return row

    def _patterns(self, n: IntArray, sizes: IntArray, row: int, mixed: list[int]) -> None:
        """Systems cut into places in every way that leaves no room for one more."""
        gpus = self.pool.gpus_per_system
        patterns = _maximal_patterns(gpus, mixed)
        cuts = self.sheet.add(np.full(len(patterns), self.useful), whole=True)
        self.sheet.enter(row, cuts, 1.0)
        for i, g in enumerate(mixed):
            places = self.sheet.row(-math.inf, 0.0)
            self.sheet.enter(places, n[sizes == g], 1.0)
            self.sheet.enter(places, cuts, -patterns[:, i].astype(float))


def _supply(problem: Problem, o: int) -> float:
    group = problem.offers[o].supply_group
    mates = [x.supply for x in problem.offers if group and x.supply_group == group]
    least = min([problem.offers[o].supply, *mates])
    return math.floor(least * (1.0 + _ROUND)) if math.isfinite(least) else least


def _chain_and_rest(sizes: list[int]) -> tuple[list[int], list[int]]:
    """Sizes that divide every larger one, and from the first that does not, the rest."""
    for i, g in enumerate(sizes):
        if any(h % g for h in sizes[i:]):
            return sizes[:i], sizes[i:]
    return sizes, []


def _ways(gpus: int, sizes: list[int]) -> int:
    """Numbers of places that are tried for one system."""
    return math.prod(gpus // g + 1 for g in sizes)


def _maximal_patterns(gpus: int, sizes: list[int]) -> IntArray:
    """Places of each size in one system, in every way with no room for one more."""
    most = [range(gpus // g + 1) for g in sizes]
    found = [
        q
        for q in product(*most)
        if 0 <= gpus - sum(a * g for a, g in zip(q, sizes, strict=True)) < sizes[0]
    ]
    return np.array(found, dtype=np.int64).reshape(-1, len(sizes))


def _write_apis(sheet: _Sheet, demand: _Demand) -> None:
    for api in sheet.problem.apis:
        w = api.workload
        prices = np.broadcast_to(api.cost_usd_per_request, demand.rows[w].shape)
        for b, seconds in enumerate(3600.0 * _paid_hours(sheet.problem)):
            able = np.isfinite(prices[b]) & (demand.rows[w][b] >= 0)
            classes = np.flatnonzero(able)
            if not len(classes):
                continue
            figures = demand.delivered(w, b, classes, api.quality)
            figures["cost"] = prices[b, classes] * seconds
            rates = sheet.add(demand.peak[w][b, classes], figures)
            sheet.enter(demand.rows[w][b, classes], rates, 1.0)
            if math.isfinite(api.max_rps):
                sheet.enter(sheet.row(-math.inf, api.max_rps), rates, 1.0)


def _write_shortfalls(sheet: _Sheet, demand: _Demand) -> None:
    for w, data in enumerate(sheet.problem.workloads):
        price = data.shortfall_usd_per_request
        if price is None or data.free:
            continue
        for b, block in enumerate(sheet.problem.blocks):
            classes = np.flatnonzero(demand.rows[w][b] >= 0)
            if block.hours > 0 and len(classes):
                usd = price * block.hours * block.weight * 3600.0
                short = sheet.add(demand.peak[w][b, classes], {"cost": usd})
                sheet.enter(demand.rows[w][b, classes], short, 1.0)


class _Choices:
    """How many system types and layouts there are, and how many systems of a type."""

    def __init__(self, sheet: _Sheet) -> None:
        self.sheet, self.wanted = sheet, sheet.problem.objective
        self.up = np.concatenate(sheet.up)

    def write(self) -> None:
        """The rows of all limits that are stated, and the price of further types."""
        types: dict[str, list[IntArray]] = {}
        for name, _, x in self.sheet.systems:
            types.setdefault(name, []).append(x)
        if self.wanted.least_systems_per_type > 1:
            self._least_of_each(types)
        price = self.wanted.usd_per_further_type * _years(self.sheet.problem)
        most = self.wanted.most_system_types
        if types and (most is not None or price):
            used = [self._any_of(np.concatenate(x), price) for x in types.values()]
            if most is not None:
                self.sheet.enter(self.sheet.row(-math.inf, most), np.array(used), 1.0)
            if price:
                first = int(self.sheet.add([1.0], {"cost": -price}, whole=True)[0])
                row = self.sheet.row(-math.inf, 0.0)
                self.sheet.enter(row, first, 1.0)
                self.sheet.enter(row, np.array(used), -1.0)
        for s, of_site in self.sheet.staffed.items():
            usd = self.sheet.problem.sites[s].staff_usd_per_year * _years(self.sheet.problem)
            if usd:
                self._any_of(np.concatenate(of_site), usd)
        if self.wanted.most_layouts_per_workload is not None:
            self._layouts(self.wanted.most_layouts_per_workload)

    def _any_of(self, columns: IntArray, usd: float = 0.0) -> int:
        """A column that is 1 if any of these is above 0."""
        used = int(self.sheet.add([1.0], {"cost": usd}, whole=True)[0])
        for column in columns.tolist():
            if math.isfinite(self.up[column]):
                row = self.sheet.row(-math.inf, 0.0)
                self.sheet.enter(row, column, 1.0)
                self.sheet.enter(row, used, -self.up[column])
        return used

    def _least_of_each(self, types: Mapping[str, list[IntArray]]) -> None:
        for name in types:
            written: set[tuple[int, ...]] = set()
            for b in range(len(self.sheet.problem.blocks)):
                there = [x for of, blocks, x in self.sheet.systems if of == name and b in blocks]
                standing = np.concatenate([*there, np.zeros(0, dtype=np.int64)])
                if not len(standing) or tuple(standing.tolist()) in written:
                    continue
                written.add(tuple(standing.tolist()))
                used, row = self._any_of(standing), self.sheet.row(0.0, math.inf)
                self.sheet.enter(row, standing, 1.0)
                self.sheet.enter(row, used, -float(self.wanted.least_systems_per_type))

    def _layouts(self, most: int) -> None:
        columns: dict[int, list[int]] = {}
        for candidates, n in self.sheet.replicas:
            for c, column in zip(candidates, n.tolist(), strict=True):
                columns.setdefault(c, []).append(column)
        rows: dict[int, int] = {}
        for c, found in columns.items():
            w = self.sheet.problem.candidates[c].workload
            if w not in rows:
                rows[w] = self.sheet.row(-math.inf, most)
            self.sheet.enter(rows[w], self._any_of(np.array(found)), 1.0)


def _write_budget(sheet: _Sheet) -> None:
    budget = sheet.problem.objective.annual_budget_usd
    if budget is None:
        return
    usd = np.concatenate(sheet.figures["cost"])
    paid = np.flatnonzero(usd)
    sheet.enter(sheet.row(-math.inf, budget - _contracted_usd(sheet.problem)), paid, usd[paid])
