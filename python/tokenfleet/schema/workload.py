"""What must be served: request classes, latency limits, and demand over the day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tokenfleet.schema.fields import (
    AtLeastOne,
    Correlation,
    Flag,
    Fraction,
    Limit,
    Metric,
    Name,
    NonNegative,
    Number,
    OpenFraction,
    Percentile,
    Positive,
    Score,
    TraceFormat,
    about,
    quantity,
)
from tokenfleet.schema.formats import Precision
from tokenfleet.schema.horizon import Change, Steps, When, ascending, change
from tokenfleet.schema.rows import Row, rejected

SHARE_TOLERANCE = 1e-6
LEVELS = (0.5, 0.9, 0.95, 0.99, 1.0)
#: Requests/s above all that the world asks for; beyond it a solver's numbers do not tell one from
#: another.
MOST_RPS = 1e12
#: About a request a day; below it the same solver takes them for none.
LEAST_RPS = 1e-5
MAX_CLASSES = 16
MAX_RATED_CLASSES = 1024  # of a scenario with columns, where the model evaluates nothing


def quantile_moments(low: float, quantiles: Sequence[float]) -> tuple[float, float]:
    """Mean and second moment of a piecewise-linear quantile function.

    `low` is the quantile at 0, `quantiles` are those at `LEVELS`. On a piece from x to y the mean
    of X is (x + y)/2 and that of X^2 is (x^2 + xy + y^2)/3.
    """
    mean = square = left = 0.0
    for level, x, y in zip(LEVELS, (low, *quantiles[:-1]), quantiles, strict=True):
        mean += (level - left) * (x + y) / 2
        square += (level - left) * (x * x + x * y + y * y) / 3
        left = level
    return mean, square


def second_moment(mean: float, quantiles: Sequence[float]) -> float:
    """Second moment (tokens^2) that percentiles and a mean imply.

    The quantile function is taken as piecewise linear; its start is chosen so that the mean is
    met, within [0, p50]; where that does not suffice, the moment is scaled by the squared ratio
    of the means. Never below mean^2.
    """
    at_zero, _ = quantile_moments(0.0, quantiles)
    low = min(max((mean - at_zero) / 0.25, 0.0), quantiles[0])
    shape_mean, square = quantile_moments(low, quantiles)
    return max(square * (mean / shape_mean) ** 2, mean * mean)


_LENGTH = ("mean", "p50", "p90", "p95", "p99", "max")


class Length(Row):
    """Distribution of a token count of one class; a plain number is a fixed length."""

    mean: Positive = quantity("Mean length", "tokens", high=2e6, if_high="characters or bytes")
    p50: Positive = quantity("Median", "tokens")
    p90: Positive = quantity("90th percentile", "tokens")
    p95: Positive = quantity("95th percentile", "tokens")
    p99: Positive = quantity("99th percentile", "tokens")
    max: Positive = quantity("Longest", "tokens")
    m2: Positive | None = quantity(
        "Second moment E[X^2]; blank is estimated from the percentiles", "tokens^2", default=None
    )

    @model_validator(mode="before")
    @classmethod
    def _fixed(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            if not 1 <= data < 1e300:
                text = f"should be a finite number of at least one, got {data!r:.40}"
                raise rejected(text, "", "write how many tokens; a request has one at least")
            return dict.fromkeys(_LENGTH, data)
        if isinstance(data, dict) and data.keys() < set(_LENGTH):
            without = ", ".join(name for name in _LENGTH if name not in data)
            only = data.get("mean", next(iter(data.values()), 500))
            hint = f"add them, or write one length for all requests, such as {only!r:.40}"
            raise rejected(f"has no {without}", "", hint)
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Length:
        values = self.quantiles
        for (a, x), (b, y) in zip(
            zip(("p50", "p90", "p95", "p99"), values, strict=False),
            zip(("p90", "p95", "p99", "max"), values[1:], strict=False),
            strict=False,
        ):
            if y < x:
                raise rejected(f"{b} {y:g} is below {a} {x:g}", b, "percentiles must not fall")
        low = 0.4 * self.p50 + 0.05 * self.p90 + 0.04 * self.p95 + 0.01 * self.p99
        if not 0.9 * low <= self.mean <= self.max:
            raise rejected(
                f"mean {self.mean:g} does not agree with the percentiles (at least {low:g}, "
                f"at most {self.max:g})",
                "mean",
                "give mean and percentiles of the same requests",
            )
        if self.m2 is not None and not self.mean**2 * (1 - 1e-9) <= self.m2 <= (
            self.mean * self.max * (1 + 1e-9)
        ):
            raise rejected(
                f"m2 {self.m2:g} is outside mean^2 {self.mean**2:g} to mean*max "
                f"{self.mean * self.max:g}",
                "m2",
                "m2 is the mean of the squared length",
            )
        return self

    @property
    def quantiles(self) -> tuple[float, float, float, float, float]:
        """p50, p90, p95, p99 and max, tokens."""
        return self.p50, self.p90, self.p95, self.p99, self.max

    @property
    def moment2(self) -> float:
        """Second moment, tokens^2: as given, else `second_moment` of the percentiles."""
        return self.m2 if self.m2 is not None else second_moment(self.mean, self.quantiles)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        row = handler.resolve_ref_schema(handler(schema))
        number = {"type": "number", "exclusiveMinimum": 0, "unit": "tokens"}
        return {"anyOf": [number, row], "description": str(cls.__doc__), "title": "Length"}


def _origin_tag(value: Any) -> str:
    return "<shares>" if isinstance(value, dict) else "<name>"


Origin = Annotated[
    Annotated[Name, Tag("<name>")] | Annotated[dict[Name, Fraction], Tag("<shares>")],
    Discriminator(_origin_tag),
]


class RequestClass(Row):
    """Requests of one kind: lengths, share, prefix-cache hits, value, origin."""

    id: Name = about("Identifier, unique in the workload")
    share: Fraction = quantity("Share of the workload's requests", "fraction")
    input_tokens: Length = about("Prompt length")
    output_tokens: Length = about("Generated length")
    prefix_hit_rate: OpenFraction = quantity(
        "Share of prompt tokens found in the prefix cache", "fraction", default=0.0
    )
    length_correlation: Correlation = quantity(
        "Rank correlation (Spearman) of prompt and output length within the class, as simulated",
        "correlation",
        default=0.0,
    )
    value_usd_per_mtok_output: NonNegative | None = quantity(
        "Value of the output before quality; blank takes the workload's",
        "USD/Mtok",
        default=None,
        high=10_000,
        if_high="USD per billion tokens",
    )
    origin: Origin | None = about(
        "Where requests come from: a name, or shares by name", default=None
    )

    @model_validator(mode="after")
    def _origin_shares(self) -> RequestClass:
        if isinstance(self.origin, dict):
            _sums_to_one(list(self.origin.values()), "origin", "origin shares")
        return self

    @property
    def origin_shares(self) -> dict[str, float]:
        """Shares by origin; empty when none is stated."""
        if self.origin is None:
            return {}
        return {self.origin: 1.0} if isinstance(self.origin, str) else dict(self.origin)


def _sums_to_one(shares: Sequence[float], field: str, what: str) -> None:
    total = sum(shares)
    if abs(total - 1) > SHARE_TOLERANCE:
        raise rejected(
            f"{what} add up to {total:.9g}, not 1", field, "give shares as fractions that add to 1"
        )


class TraceFile(Row):
    """A request trace on disk."""

    trace: Name = about("File, relative to the scenario")
    format: TraceFormat = about("Layout of the file")


def _hit_rate_tag(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<number>"


HitRate = Annotated[
    Annotated[OpenFraction, Tag("<number>")] | Annotated[Literal["measured"], Tag("<word>")],
    Discriminator(_hit_rate_tag),
]


class LengthSource(Row):
    """Where request classes are derived from: one of a catalog id, a trace, a length CDF."""

    distribution: Name | None = about("Catalog id of a length distribution", default=None)
    trace: Name | None = about("Trace file, relative to the scenario", default=None)
    format: TraceFormat | None = about("Layout of the trace file", default=None)
    cdf: Name | None = about("CSV file with columns of tokens and cumulative share", default=None)
    buckets: Annotated[int, Field(strict=True, ge=1, le=MAX_CLASSES)] = about(
        "How many classes by input length (a catalog distribution has its own)", default=4
    )
    prefix_hit_rate: HitRate = quantity(
        "Prefix-cache hits of every class, or `measured`: the trace's own with an unlimited cache",
        "fraction",
        default=0.0,
    )

    @model_validator(mode="after")
    def _one_source(self) -> LengthSource:
        given = [n for n in ("distribution", "trace", "cdf") if getattr(self, n) is not None]
        if len(given) != 1:
            raise rejected(
                f"needs one of distribution, trace, cdf; has {', '.join(given) or 'none'}",
                "",
                "keep exactly one source of lengths",
            )
        if self.trace is not None and self.format is None:
            raise rejected("a trace needs its format", "format", "azure, mooncake or burstgpt")
        return self


class Slo(Row):
    """A latency limit: metric, percentile and bound; all limits bind."""

    metric: Metric = about(
        "Time to first token, time per output token after the first, or whole request"
    )
    percentile: Percentile = about("Statistic that is limited")
    limit_ms: Positive = quantity("Upper bound", "ms")
    cls: Name | None = about("Class it binds; blank binds all", default=None, alias="class")
    over: Literal["workload", "class"] = about(
        "Whose percentile it is where it binds all classes: of all requests of the workload "
        "together, or of each class by itself",
        default="workload",
    )


class LoadShape(Row):
    """How demand varies: flat, peak and off-peak, a day curve, or a trace; at most one of them."""

    peak_to_mean: AtLeastOne = quantity(
        "Peak rate over mean rate", "ratio", default=1.0, high=100, if_high="percent"
    )
    peak_hours_per_day: Annotated[Positive, Field(lt=24)] = quantity(
        "Hours a day at the peak rate", "h/day", default=4.0
    )
    day_curve: tuple[NonNegative, ...] | None = quantity(
        "24 relative hourly rates", "relative", default=None
    )
    trace_curve: TraceFile | None = about("Trace whose rate curve is scaled", default=None)

    @model_validator(mode="after")
    def _one_shape(self) -> LoadShape:
        if self.day_curve is not None:
            _day_curve(self.day_curve)
        shapes = [self.peak_to_mean != 1, self.day_curve is not None, self.trace_curve is not None]
        if sum(shapes) > 1:
            raise rejected(
                "peak_to_mean, day_curve and trace_curve exclude each other",
                "",
                "keep one description of the load",
            )
        peak_share = self.peak_to_mean * self.peak_hours_per_day / 24
        if self.peak_to_mean > 1 and peak_share > 1 + 1e-12:
            raise rejected(
                f"{self.peak_hours_per_day:g} h at {self.peak_to_mean:g} times the mean is "
                f"{peak_share:.3g} of the day's requests",
                "peak_hours_per_day",
                f"at most {24 / self.peak_to_mean:.4g} h",
            )
        return self


def _day_curve(curve: Sequence[float]) -> None:
    if len(curve) != 24:
        raise rejected(f"has {len(curve)} values, needs 24", "day_curve", "one per hour")
    if not sum(curve) > 0:
        raise rejected("is zero all day", "day_curve", "at least one hour above zero")


class Demand(LoadShape):
    """Demand that must be met."""

    requests_per_s: Annotated[Number, Field(ge=LEAST_RPS, le=MOST_RPS)] = quantity(
        "Mean rate over the year", "requests/s", high=1e6, if_high="requests per hour or day"
    )
    growth_per_year: Change = change("Growth over the horizon")
    requests_per_s_by_date: Steps | None = quantity(
        "Mean rate from each date of the horizon on, instead of growth", "requests/s", default=None
    )

    @model_validator(mode="after")
    def _one_path(self) -> Demand:
        if self.requests_per_s_by_date is not None:
            ascending(self.requests_per_s_by_date, "requests_per_s_by_date")
            if self.growth_per_year:
                raise rejected("beside growth_per_year", "requests_per_s_by_date", "keep one")
        return self


class FreeDemand(LoadShape):
    """Demand that the plan may scale; all free workloads share one scale."""

    free: Literal[True] = about("True")
    mix_share: Positive = quantity(
        "Requests of this workload per request of the product mix", "relative", default=1.0
    )
    min_requests_per_s: Annotated[NonNegative, Field(le=MOST_RPS)] = quantity(
        "Least mean rate", "requests/s", default=0.0, high=1e6, if_high="requests per hour or day"
    )
    max_requests_per_s: Limit = quantity("Largest mean rate", "requests/s", default="unlimited")
    growth_per_year: Change = change("Growth of both over the horizon")

    @model_validator(mode="before")
    @classmethod
    def _without_a_rate(cls, data: Any) -> Any:
        """Demand is free or stated: a rate beside `free` is a contradiction, not a misspelling."""
        if isinstance(data, Mapping) and "requests_per_s" in data:
            raise rejected(
                "stands beside free, under which the plan decides the rate",
                "requests_per_s",
                "leave out free, or give min_requests_per_s and max_requests_per_s instead",
            )
        return data

    @model_validator(mode="after")
    def _ordered(self) -> FreeDemand:
        top = self.max_requests_per_s
        if not isinstance(top, str) and (top <= 0 or top < self.min_requests_per_s):
            raise rejected(
                f"{top:g} is below min_requests_per_s {self.min_requests_per_s:g} or zero",
                "max_requests_per_s",
                "raise it, or write unlimited",
            )
        return self


def _demand_tag(value: Any) -> str:
    free = "free" in value if isinstance(value, dict) else isinstance(value, FreeDemand)
    return "<free>" if free else "<stated>"


AnyDemand = Annotated[
    Annotated[Demand, Tag("<stated>")] | Annotated[FreeDemand, Tag("<free>")],
    Discriminator(_demand_tag),
]


# The schema's lengths of a request for an image: its tokens are counted nowhere.
_ONE_IMAGE: Mapping[str, int] = {"input_tokens": 1, "output_tokens": 1}


class Workload(Row):
    """One model with its requests, limits and demand."""

    id: Name = about("Identifier")
    model: Name = about(
        "Catalog id of the model, or of a user's model row; any name where the unit is an image"
    )
    unit: Literal["token", "image"] = about(
        "What a request asks for: tokens, or one image; images are rated by measured `columns`",
        default="token",
    )
    precisions: Annotated[tuple[Precision, ...], Field(min_length=1)] | None = about(
        "Weight precisions allowed, whoever has such weights; blank allows those that the catalog "
        "knows published weights in, and those with a quality score",
        default=None,
    )
    quality_floor: Score | None = quantity(
        "Least quality score of (model, precision); needs quality rows", "score", default=None
    )
    residency: Annotated[tuple[Name, ...], Field(min_length=1)] | None = about(
        "Site regions that may serve it; blank allows all", default=None
    )
    interruptible: Flag = about("May run on spot capacity", default=False)
    slos: tuple[Slo, ...] = about("Latency limits; empty means throughput only", default=())
    classes: (
        Annotated[tuple[RequestClass, ...], Field(min_length=1, max_length=MAX_RATED_CLASSES)]
        | None
    ) = about("Request classes, shares adding to 1; at most 16 without `columns`", default=None)
    lengths: LengthSource | None = about("Or: derive the classes from here", default=None)
    demand: AnyDemand = about("Demand over the year")
    from_: When | None = about(
        "First date of the horizon at which it is asked for", default=None, alias="from"
    )
    until: When | None = about(
        "Date of the horizon from which it is no longer asked for", default=None
    )
    shortfall_usd_per_request: NonNegative | None = quantity(
        "Price of a request not served; blank: all must be served; 0 under most_value only; "
        "not for free demand, least_energy or least_carbon",
        "USD/request",
        default=None,
        high=100,
        if_high="USD per 1,000 requests",
    )
    value_usd_per_mtok_output: NonNegative | None = quantity(
        "Value of the output before quality",
        "USD/Mtok",
        default=None,
        high=10_000,
        if_high="USD per billion tokens",
    )

    @model_validator(mode="before")
    @classmethod
    def _images_have_no_lengths(cls, data: Any) -> Any:
        """Requests for images are of one class unless classes are stated, which have no lengths."""
        if not isinstance(data, Mapping) or data.get("unit") != "image" or data.get("lengths"):
            return data
        classes = data.get("classes") or [{"id": "image", "share": 1.0}]
        if not isinstance(classes, Sequence) or not all(isinstance(c, Mapping) for c in classes):
            return data
        return {**data, "classes": [{**_ONE_IMAGE, **one} for one in classes]}

    @model_validator(mode="after")
    def _one_class_source(self) -> Workload:
        if (self.classes is None) == (self.lengths is None):
            raise rejected(
                "needs either classes or lengths",
                "",
                "state request classes, or where to derive them from",
            )
        if self.classes is not None:
            _sums_to_one([c.share for c in self.classes], "classes", "class shares")
        return self

    @property
    def class_ids(self) -> tuple[str, ...] | None:
        """Names of the classes; None when a catalog distribution decides how many there are."""
        if self.classes is not None:
            return tuple(c.id for c in self.classes)
        if self.lengths is not None and self.lengths.distribution is None:
            return bucket_ids(self.lengths.buckets)
        return None


def bucket_ids(count: int) -> tuple[str, ...]:
    """Names of derived classes, shortest inputs first: `len1`, `len2`, ..."""
    return tuple(f"len{i + 1}" for i in range(count))
