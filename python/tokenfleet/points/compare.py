"""Two systems on one model: what they cost per hour, and what a token costs on them.

The published comparison of Hopper and Blackwell is one operating point. Beside it stand the
published peaks of the same pair and what the model of this package says at the same speed per user
and at peak, with and without speculative decoding, all at the prices and power that the published
point used, so that the operating point is all that differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tokenfleet._core import usd_per_mtok
from tokenfleet.catalog import Catalog, PointRow, PriceRow, SystemRow, load_catalog, names
from tokenfleet.errors import CatalogError, SchemaError
from tokenfleet.points.rates import Allowed, BestRate, TypicalRequest, best_rate
from tokenfleet.schema import Speculation

SCHEMA_VERSION = 1
TIER = "hyperscaler_own"
# Mean time to first token that every modelled point keeps: the published peaks have medians of
# 3.4 and 8.5 s.
TTFT_LIMIT_MS = 10_000.0
_TOKENS_PER_MTOK_PER_HOUR = 0.0036  # million tokens per hour at one token per second
_TARGETS = ("usd_per_gpu_h", "tokens_s_gpu", "tokens_s_mw", "usd_per_mtok")
_LOWER_IS_BETTER = "usd_per_mtok"
_FASTEST = 400.0
_PEAK_GROUPS = ("peak", "offline", "mlperf_offline", "mlperf_server")
Row = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One system at one operating point; None where the source states nothing."""

    usd_per_gpu_h: float
    tokens_s_gpu: float | None
    tokens_s_mw: float | None
    usd_per_mtok: float | None
    token_kind: str
    kw_per_gpu: float | None
    tokens_s_user: float | None = None
    precision: str | None = None
    speculation: str | None = None
    layout: str | None = None
    source: str = "model"


@dataclass(frozen=True)
class PairPoint:
    """The pair at one operating point."""

    basis: str
    first: Side
    second: Side

    @property
    def ratios(self) -> dict[str, float | None]:
        """Second over first; of cost per token, first over second. None where a side is blank."""
        return {name: _ratio(name, self.first, self.second) for name in _TARGETS}


@dataclass(frozen=True)
class Comparison:
    """Input figures of both systems, and the pair at every operating point."""

    first: str
    second: str
    model: str
    tokens_s_user: float
    isl: int
    osl: int
    price_vintage: str
    price_tier: str
    price_as_of: tuple[str | None, str | None]  # of first and second
    inputs: tuple[Row, ...]
    points: tuple[PairPoint, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[Row]:
        """Plain rows for a table: metric, first, second, ratio, basis, source, note."""
        return [*self.inputs, *(row for point in self.points for row in _point_rows(point))]

    def point(self, basis: str) -> PairPoint:
        """The point of a basis.

        Raises:
            KeyError: there is none.
        """
        return {p.basis: p for p in self.points}[basis]

    def to_json(self) -> dict[str, Any]:
        """Plain data; a figure that does not exist is null."""
        points = [
            {
                "basis": p.basis,
                "first": asdict(p.first),
                "second": asdict(p.second),
                "ratios": p.ratios,
            }
            for p in self.points
        ]
        return {
            "schema_version": SCHEMA_VERSION,
            "first": self.first,
            "second": self.second,
            "model": self.model,
            "tokens_s_user": self.tokens_s_user,
            "isl": self.isl,
            "osl": self.osl,
            "price_vintage": self.price_vintage,
            "price_tier": self.price_tier,
            "price_as_of": list(self.price_as_of),
            "inputs": list(self.inputs),
            "points": points,
            "rows": self.rows(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Pair:
    """What every point of a comparison needs."""

    catalog: Catalog
    systems: tuple[SystemRow, SystemRow]
    prices: tuple[PriceRow, PriceRow]
    model: str
    isl: int
    osl: int

    def points(self, group: str) -> tuple[list[PointRow], list[PointRow]]:
        """Published points of a group on this model, by system."""
        rows = [p for p in self.catalog.points if p.group == group and p.model == self.model]
        first, second = ([p for p in rows if p.system == s.id] for s in self.systems)
        return first, second


def compare(
    first: str = "h200_sxm_8",
    second: str = "gb300_nvl72",
    model: str = "deepseek-r1",
    *,
    tokens_s_user: float = 150.0,
    isl: int = 8192,
    osl: int = 1024,
    catalog: Catalog | None = None,
) -> Comparison:
    """Compares two systems on a model at published and at modelled operating points.

    `tokens_s_user` is the speed of one stream at the modelled interactive point; `isl` and `osl`
    are tokens per request. Prices are the owner's cost per GPU-hour in the oldest price book that
    has both systems, which is the one behind the published figures.

    Raises:
        CatalogError: an unknown system or model, or a system without such a price.
        SchemaError: a speed or length that is not positive.
    """
    book = catalog or load_catalog()
    if min(tokens_s_user, isl, osl) <= 0:
        raise SchemaError(
            f"tokens_s_user {tokens_s_user:g}, isl {isl}, osl {osl}: all must be positive",
            "give the speed of one stream and the tokens of one request",
        )
    rows = book.system(first), book.system(second)
    book.model(model)
    pair = _Pair(book, rows, _prices(book, rows), model, isl, osl)
    published = _published(pair)
    modelled, notes = _modelled(pair, tokens_s_user, published)
    return Comparison(
        first=first,
        second=second,
        model=model,
        tokens_s_user=tokens_s_user,
        isl=isl,
        osl=osl,
        price_vintage=pair.prices[0].vintage,
        price_tier=pair.prices[0].tier,
        price_as_of=(pair.prices[0].as_of, pair.prices[1].as_of),
        inputs=tuple(_inputs(pair)),
        points=(*published, *modelled),
        notes=(*_unstated(pair), *notes),
    )


def _prices(catalog: Catalog, rows: tuple[SystemRow, SystemRow]) -> tuple[PriceRow, PriceRow]:
    """Owner's prices of both in the oldest edition that has both."""
    for vintage in catalog.vintages:
        found = [_all_in(catalog, vintage, row.id) for row in rows]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    names = f"{rows[0].id} and {rows[1].id}"
    raise CatalogError(
        f"no edition of the price book has an owner's price per GPU-hour of both {names}",
        f"add rows to prices: kind all_in, tier {TIER}, same vintage for both",
    )


def _all_in(catalog: Catalog, vintage: str, system: str) -> PriceRow | None:
    rows = catalog.price_rows(vintage, system)
    return next((r for r in rows if r.kind == "all_in" and r.tier == TIER), None)


# Input figures: what a data sheet and a price list say


def _inputs(pair: _Pair) -> Iterable[Row]:
    prices = [float(p.price_usd_per_gpu_h or 0.0) for p in pair.prices]
    source = f"price book {pair.prices[0].vintage}: {pair.prices[0].source}"
    yield _row("price, USD/GPU-h", prices, "input", source)
    yield _row("power, kW/GPU", [p.kw_per_gpu for p in pair.prices], "input", source)
    sheets = "data sheets in the catalog"
    fp8 = [_per(s.fp8_tflops, p) for s, p in zip(pair.systems, prices, strict=True)]
    yield _row("dense FP8 TFLOP/s per USD/h", fp8, "input", sheets)
    best = [_per(_best_tflops(s), p) for s, p in zip(pair.systems, prices, strict=True)]
    formats = " and ".join(_best_format(s) for s in pair.systems)
    yield _row("dense best-format TFLOP/s per USD/h", best, "input", sheets, formats)
    bandwidth = [_per(s.mem_bw_tbps, p) for s, p in zip(pair.systems, prices, strict=True)]
    yield _row("memory TB/s per USD/h", bandwidth, "input", sheets)


def _per(figure: float | None, price: float) -> float | None:
    return None if figure is None else figure / price


def _rates(system: SystemRow) -> dict[str, float]:
    named = {"FP4": system.fp4_tflops, "FP8": system.fp8_tflops, "BF16": system.bf16_tflops}
    return {name: rate for name, rate in named.items() if rate is not None}


def _best_tflops(system: SystemRow) -> float | None:
    return max(_rates(system).values(), default=None)


def _best_format(system: SystemRow) -> str:
    rates = _rates(system)
    return max(rates, key=lambda name: rates[name]) if rates else "unstated"


def _row(
    metric: str, values: Iterable[float | None], basis: str, source: str, note: str = ""
) -> Row:
    first, second = values
    ratio = None if first is None or second is None else second / first
    return {
        "metric": metric,
        "first": first,
        "second": second,
        "ratio": ratio,
        "basis": basis,
        "source": source,
        "note": note,
    }


# Published points


def _published(pair: _Pair) -> list[PairPoint]:
    points = []
    first, second = pair.points("hopper_blackwell")
    if first and second:
        sides = _printed(pair, 0, first[0]), _printed(pair, 1, second[0])
        points.append(PairPoint("published, as printed", *sides))
        again = _recomputed(pair, 0, first[0]), _recomputed(pair, 1, second[0])
        points.append(PairPoint("published, recomputed", *again))
    for group in _PEAK_GROUPS:
        points += _peaks(pair, group)
    return points


def _printed(pair: _Pair, which: int, row: PointRow) -> Side:
    """The figures as the text has them, rounded as they are."""
    return Side(
        usd_per_gpu_h=row.usd_per_gpu_h or _price(pair, which),
        tokens_s_gpu=row.tok_s_per_gpu,
        tokens_s_mw=row.tok_s_per_mw,
        usd_per_mtok=row.usd_per_mtok,
        token_kind=row.tok_kind,
        kw_per_gpu=row.kw_per_gpu,
        tokens_s_user=row.tok_s_per_user,
        precision=row.precision,
        speculation=row.speculation,
        source=f"{row.id}: {row.source}",
    )


def _recomputed(pair: _Pair, which: int, row: PointRow) -> Side:
    """The printed figures made consistent with each other, from the less rounded of them.

    Throughput below 100 is printed to one digit, so it is taken from price and cost; above, cost is
    printed to two digits, so it is taken from price and throughput.
    """
    price = _price(pair, which)
    rate = row.tok_s_per_gpu
    if row.usd_per_mtok is not None and rate < 100:
        rate = price / (row.usd_per_mtok * _TOKENS_PER_MTOK_PER_HOUR)
    side = _side(pair, which, rate, row.tok_kind)
    return Side(
        **{
            **asdict(side),
            "precision": row.precision,
            "speculation": row.speculation,
            "source": f"{row.id}, price book {pair.prices[which].vintage}",
        }
    )


def _peaks(pair: _Pair, group: str) -> list[PairPoint]:
    """The highest published throughput of both at each pair of lengths that both have."""
    best: list[dict[tuple[int | None, int | None], PointRow]] = [{}, {}]
    for which, rows in enumerate(pair.points(group)):
        for row in rows:
            key = row.isl, row.osl
            if key not in best[which] or row.tok_s_per_gpu > best[which][key].tok_s_per_gpu:
                best[which][key] = row
    shared = sorted(set(best[0]) & set(best[1]), key=lambda k: (-(k[0] or 0), k[1] or 0))
    return [
        PairPoint(
            f"published {group.replace('_', ' ')}{_lengths(*key)}",
            _measured(pair, 0, best[0][key]),
            _measured(pair, 1, best[1][key]),
        )
        for key in shared
    ]


def _lengths(isl: int | None, osl: int | None) -> str:
    return "" if isl is None or osl is None else f", {isl}/{osl} tokens"


def _measured(pair: _Pair, which: int, row: PointRow) -> Side:
    side = _side(pair, which, row.tok_s_per_gpu, row.tok_kind)
    return Side(
        **{
            **asdict(side),
            "tokens_s_user": row.tok_s_per_user,
            "precision": row.precision,
            "speculation": row.speculation,
            "layout": row.framework,
            "source": f"{row.id}: {row.source}",
        }
    )


def _price(pair: _Pair, which: int) -> float:
    return float(pair.prices[which].price_usd_per_gpu_h or 0.0)


def _side(pair: _Pair, which: int, rate: float | None, kind: str) -> Side:
    """Cost and tokens per megawatt of a rate, at the comparison's price and power."""
    price, kw = _price(pair, which), pair.prices[which].kw_per_gpu
    return Side(
        usd_per_gpu_h=price,
        tokens_s_gpu=rate,
        tokens_s_mw=None if rate is None or kw is None else 1e3 * rate / kw,
        usd_per_mtok=None if rate is None else usd_per_mtok(price, rate),
        token_kind=kind,
        kw_per_gpu=kw,
    )


# Modelled points


def _modelled(
    pair: _Pair, speed: float, published: list[PairPoint]
) -> tuple[list[PairPoint], tuple[str, ...]]:
    drafts = _drafts(pair)
    at_speed, peak = f"model at {speed:g} tokens/s/user", "model at peak"
    plans = [
        (f"{at_speed}, speculation off", speed, None, False),
        (f"{at_speed}, speculation on", speed, drafts, False),
        (f"{at_speed}, speculation on, one system, no pools apart", speed, drafts, True),
        (f"{peak}, speculation off", None, None, False),
        (f"{peak}, speculation on", None, drafts, False),
    ]
    points = [
        PairPoint(basis, *(_model_side(pair, i, user, d, one) for i in (0, 1)))
        for basis, user, d, one in plans
        if drafts is not None or basis.endswith("off")
    ]
    unequal = _unequal(pair, published, drafts)
    notes = [_unreached(pair, p) for p in points]
    if drafts is None:
        notes.append(f"{pair.model} has no draft layer: no speculation is modelled")
    return [*points, *unequal], tuple(n for n in notes if n)


def _drafts(pair: _Pair) -> Speculation | None:
    """Multi-token prediction at the depth and acceptance that measured runs were fitted with."""
    if pair.catalog.model(pair.model).mtp_layers == 0:
        return None
    known = pair.catalog.kernels.multipliers
    depth, tokens = int(known["mtp_depth_assumed"]), known["mtp_tokens_per_step"]
    return Speculation(
        model=pair.model,
        max_depth=depth,
        acceptance=_acceptance(depth, tokens),
        draft_cost_fraction=0.0,  # the fitted tokens per step contain the cost of drafting
        source="tokens per step fitted to measured closed-loop runs",
    )


def _acceptance(depth: int, tokens_per_step: float) -> float:
    """Rate a at which `1 + a + ... + a^depth` is the given number of tokens per step."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if sum(middle**i for i in range(depth + 1)) < tokens_per_step:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _model_side(
    pair: _Pair, which: int, speed: float | None, drafts: Speculation | None, one_system: bool
) -> Side:
    best = _best(pair, which, speed, drafts, one_system)
    rate = None if best is None else best.requests_s_gpu * (pair.isl + pair.osl)
    return Side(
        **{
            **asdict(_side(pair, which, rate, "total")),
            "tokens_s_user": speed,
            "speculation": "no" if drafts is None else "allowed",
            "layout": None if best is None else best.layout,
        }
    )


def _best(
    pair: _Pair, which: int, speed: float | None, drafts: Speculation | None, one_system: bool
) -> BestRate | None:
    limits = TypicalRequest(pair.isl, pair.osl, 1e3 / speed if speed else None, TTFT_LIMIT_MS)
    allowed = Allowed(_precisions(pair, which), drafts, one_system)
    return best_rate(pair.catalog, pair.systems[which].id, pair.model, limits, allowed)


def _precisions(pair: _Pair, which: int) -> tuple[str, ...]:
    """The model as published, and its usual 8- and 4-bit formats where somebody has published
    such weights and the system computes in them."""
    system = pair.systems[which]
    labels = {"": True, "fp8": system.fp8_tflops is not None, "fp4": system.fp4_tflops is not None}
    found = {names.precision(pair.catalog, pair.model, k) for k, ok in labels.items() if ok}
    return tuple(sorted(found & pair.catalog.published_formats(pair.model)))


def _unequal(
    pair: _Pair, published: list[PairPoint], drafts: Speculation | None
) -> list[PairPoint]:
    """The speed at which one plain system of the first kind falls to its published rate, and the
    second at that speed with everything allowed: one reading of the published ratio."""
    claimed = [p for p in published if p.basis == "published, recomputed"]
    if not claimed or drafts is None or claimed[0].first.tokens_s_gpu is None:
        return []
    speed = _speed_at(pair, claimed[0].first.tokens_s_gpu)
    if speed is None:
        return []
    sides = _model_side(pair, 0, speed, None, True), _model_side(pair, 1, speed, drafts, False)
    plain, other = (system.id for system in pair.systems)
    basis = (
        f"model at {speed:.0f} tokens/s/user, one {plain} without speculation, {other} with "
        "speculation and pools apart"
    )
    return [PairPoint(basis, *sides)]


def _speed_at(pair: _Pair, tokens_s_gpu: float) -> float | None:
    """Highest speed per user at which one system of the first kind keeps a rate, no speculation."""

    def holds(speed: float) -> bool:
        best = _best(pair, 0, speed, None, True)
        rate = 0.0 if best is None else best.requests_s_gpu * (pair.isl + pair.osl)
        return rate >= tokens_s_gpu

    low, high = 1.0, _FASTEST
    if not holds(low):
        return None
    while high - low > 0.5:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


# Rows and notes


def _ratio(name: str, first: Side, second: Side) -> float | None:
    a, b = getattr(first, name), getattr(second, name)
    if a is None or b is None:
        return None
    return float(a / b if name == _LOWER_IS_BETTER else b / a)


def _point_rows(point: PairPoint) -> list[Row]:
    kind = point.first.token_kind
    names = {
        "usd_per_gpu_h": "price, USD/GPU-h",
        "tokens_s_gpu": f"{kind} tokens/s/GPU",
        "tokens_s_mw": f"{kind} tokens/s/MW",
        "usd_per_mtok": f"USD per million {kind} tokens",
    }
    source = "; ".join(dict.fromkeys((point.first.source, point.second.source)))
    note = " | ".join(x for x in (point.first.layout, point.second.layout) if x)
    return [
        {
            "metric": names[name],
            "first": getattr(point.first, name),
            "second": getattr(point.second, name),
            "ratio": ratio,
            "basis": point.basis,
            "source": source,
            "note": note,
        }
        for name, ratio in point.ratios.items()
    ]


def _unreached(pair: _Pair, point: PairPoint) -> str:
    sides = zip(pair.systems, (point.first, point.second), strict=True)
    late = [system.id for system, side in sides if side.tokens_s_gpu is None]
    return f"{point.basis}: not reached by {' or '.join(late)}" if late else ""


def _unstated(pair: _Pair) -> list[str]:
    """What the published comparison leaves open about its own operating points."""
    notes = []
    for system, rows in zip(pair.systems, pair.points("hopper_blackwell"), strict=True):
        for row in rows[:1]:
            blank = {
                "speed per user": row.tok_s_per_user,
                "lengths": row.isl,
                "concurrency": row.concurrency,
                "engine": row.framework,
                "speculation": row.speculation,
            }
            missing = [name for name, value in blank.items() if value is None]
            if missing:
                notes.append(f"published point of {system.id} does not state {', '.join(missing)}")
    for row in (r for rows in pair.points("hopper_blackwell") for r in rows[1:]):
        drafts = {"yes": "with", "no": "without"}.get(row.speculation or "", "unstated")
        notes.append(
            f"{row.system} {drafts} speculation at {row.tok_s_per_user or 0:g} tokens/s/user, "
            f"{row.isl}/{row.osl} tokens: {row.tok_s_per_gpu:g} tokens/s/GPU ({row.id})"
        )
    return [*notes, *_one_sided(pair)]


def _one_sided(pair: _Pair) -> list[str]:
    """Groups of published peaks that have one of the two systems only."""
    notes = []
    for group in _PEAK_GROUPS:
        sides = [bool(rows) for rows in pair.points(group)]
        if any(sides) and not all(sides):
            missing = pair.systems[sides.index(False)].id
            notes.append(f"published {group.replace('_', ' ')}: no result of {missing}")
    return notes
