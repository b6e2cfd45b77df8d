"""Rows of the catalog. A blank stays blank: there is no default for a figure without a source.

Field names are the headers of the data files and the keys of a user's file; every row carries
`source` and `as_of` (a date, a month or a year, as far as the source states it).
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tokenfleet.schema.architecture import ModelArchitecture
from tokenfleet.schema.fields import (
    Cooling,
    Count,
    Day,
    Fraction,
    Name,
    NonNegative,
    Number,
    OpenFraction,
    Positive,
    PositiveCount,
    Score,
    Text,
    about,
    quantity,
)
from tokenfleet.schema.formats import Precision
from tokenfleet.schema.rows import Row, rejected
from tokenfleet.schema.supply import (
    OfferKind,
    PriceTier,
    gpu_hour_price,
    system_price,
    term,
)
from tokenfleet.schema.workload import Length, RequestClass

_PARTIAL_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def _dated(value: Any) -> Any:
    text = str(value)
    if not _PARTIAL_DATE.fullmatch(text):
        raise PydanticCustomError("iso_date", "Input should be YYYY, YYYY-MM or YYYY-MM-DD")
    return text


AsOf = Annotated[str, BeforeValidator(_dated)]


class SourcedRow(Row):
    """A row with its source and date."""

    source: Text = about("Where the figures come from")
    as_of: AsOf | None = about(
        "Date, month or year of the source; only a user's row may leave it blank", default=None
    )
    notes: Text | None = about("What to know about the figures", default=None)


# 16-bit over 8-bit peak of VR200 (4,000 of 17,500 TFLOP/s), the least of the catalog's systems.
LEAST_WIDE_SHARE = 4000 / 17500


class SystemRow(SourcedRow):
    """A system that is bought or rented whole. Rates are dense peaks per accelerator."""

    id: Name = about("Identifier")
    vendor: Name = about("Vendor")
    accelerator: Name = about("Accelerator")
    form: Literal["server", "rack"] = about("A server in a rack, or a rack of its own")
    gpus: PositiveCount | None = quantity("Accelerators per system", "GPUs", default=None)
    scale_up_domain: PositiveCount | None = quantity(
        "Accelerators joined by the scale-up link", "GPUs", default=None
    )
    mem_gb: Positive | None = quantity("Memory per accelerator", "GB (1e9 bytes)", default=None)
    mem_bw_tbps: Positive | None = quantity(
        "Memory bandwidth per accelerator", "TB/s", default=None, high=100, if_high="GB/s"
    )
    bf16_tflops: Positive | None = quantity("BF16 peak", "TFLOP/s", default=None)
    fp8_tflops: Positive | None = quantity("FP8 peak", "TFLOP/s", default=None)
    fp4_tflops: Positive | None = quantity("FP4 peak", "TFLOP/s", default=None)
    int8_tops: Positive | None = quantity("INT8 peak", "TOP/s", default=None)
    bf16_achievable_tflops: Positive | None = quantity(
        "Most that the vendor's library reaches in BF16 products; none is taken to be faster",
        "TFLOP/s",
        default=None,
    )
    fp8_achievable_tflops: Positive | None = quantity(
        "The same of FP8 products", "TFLOP/s", default=None
    )
    scale_up_gb_per_s_per_gpu: Positive | None = quantity(
        "Scale-up link per accelerator, one direction", "GB/s", default=None
    )
    scale_out_gbit_per_s_per_gpu: Positive | None = quantity(
        "Scale-out network per accelerator, one direction", "Gbit/s", default=None
    )
    tdp_w: Positive | None = quantity(
        "Thermal design power of one accelerator", "W", default=None, low=20, if_low="kW"
    )
    system_kw: Positive | None = quantity(
        "Largest IT power of a system, host and fans included",
        "kW",
        default=None,
        high=2_000,
        if_high="W",
    )
    idle_kw: Positive | None = quantity(
        "IT power of an idle system", "kW", default=None, high=2_000, if_high="W"
    )
    embodied_carbon_kg: Positive | None = quantity(
        "Carbon emitted to make a system, cradle to gate",
        "kg CO2e",
        default=None,
        high=1e6,
        if_high="g CO2e",
    )
    rack_units: PositiveCount | None = quantity("Height", "U", default=None)
    cooling: Cooling | None = about("Cooling kind", default=None)
    kernel_key: Name | None = about(
        "Accelerator in the kernel calibration; blank inherits from the nearest relative",
        default=None,
    )
    release_year: PositiveCount | None = quantity("Year of release", "year", default=None)

    @model_validator(mode="after")
    def _reached_below_the_peak(self) -> SystemRow:
        for width in ("bf16", "fp8"):
            peak, field = getattr(self, f"{width}_tflops"), f"{width}_achievable_tflops"
            reached = getattr(self, field)
            if peak is not None and reached is not None and reached > peak:
                raise rejected(
                    f"is above the peak of {peak:,g} TFLOP/s",
                    field,
                    "give what large products reach, in TFLOP/s, or leave it out",
                )
        return self

    @property
    def wide_tflops(self) -> float | None:
        """16-bit peak, TFLOP/s: where it has no source, the least that any system has for its 8-bit
        peak, so that what needs it in part (attention, the head) is not promised too fast."""
        if self.bf16_tflops is not None or self.fp8_tflops is None:
            return self.bf16_tflops
        return LEAST_WIDE_SHARE * self.fp8_tflops


class PriceRow(SourcedRow):
    """One dated price of one system."""

    vintage: Name = about("Edition of the price book")
    valid_from: Day = about("First day of the edition")
    system: Name = about("System")
    kind: OfferKind = about("How it is obtained")
    term_years: Positive | None = term("Contract length")
    tier: PriceTier = about("Whose price", default="market")
    price_usd_per_gpu_h: Positive | None = gpu_hour_price("Price per accelerator-hour")
    price_usd_per_system: Positive | None = system_price("Price of a whole system")
    kw_per_gpu: Positive | None = quantity(
        "Power per accelerator that the price was published with", "kW/GPU", default=None
    )
    kw_basis: Literal["it", "utility"] | None = about("Basis of kw_per_gpu", default=None)

    @model_validator(mode="after")
    def _one_price(self) -> PriceRow:
        hourly = self.price_usd_per_gpu_h is not None
        if hourly == (self.price_usd_per_system is not None):
            raise rejected(
                "needs one of price_usd_per_gpu_h and price_usd_per_system",
                "price_usd_per_gpu_h",
                "give exactly one price",
            )
        if hourly == (self.kind in ("buy", "owned")):
            raise rejected(
                f"kind {self.kind} does not go with this price",
                "kind",
                "buy takes price_usd_per_system, the other kinds price_usd_per_gpu_h",
            )
        return self

    @property
    def key(self) -> tuple[str, str, str, float, str]:
        """What makes a price unique."""
        return self.vintage, self.system, self.kind, self.term_years or 0.0, self.tier


class ApiRow(SourcedRow):
    """One dated price list entry of a hosted API."""

    vintage: Name = about("Edition of the price book")
    valid_from: Day = about("First day of the edition")
    id: Name = about("Provider and what it sells, as a scenario's `price` names it")
    model: Name | None = about("Model of the catalog that it serves", default=None)
    usd_per_mtok_input: NonNegative = quantity("Price of input", "USD/Mtok", high=200)
    usd_per_mtok_output: NonNegative = quantity("Price of output", "USD/Mtok", high=1_000)
    usd_per_request: NonNegative = quantity(
        "Price per request beside the tokens", "USD/request", default=0.0, high=10
    )

    @property
    def key(self) -> tuple[str, str]:
        """What makes a price unique."""
        return self.vintage, self.id


class TcoRow(SourcedRow):
    """A cost parameter with its range."""

    parameter: Name = about("Name, with the unit as the source states it")
    low: Number | None = quantity("Low figure", "see unit", default=None)
    typical: Number | None = quantity("Typical figure", "see unit", default=None)
    high: Number | None = quantity("High figure", "see unit", default=None)
    unit: Name = about("Unit")
    confidence: Literal["good", "ok", "weak", "user"] = about("How well it is sourced")


class TimelineRow(SourcedRow):
    """What somebody published of how prices, deliveries and systems change with time.

    For whoever writes price paths, leads and outlooks; no plan reads it by itself. A blank figure
    is one that nobody has published.
    """

    what: Literal[
        "rental", "resale", "resale_step", "useful_life", "lead", "available", "delay", "price",
        "power", "failures", "spares", "api_price", "up_front", "maturity",
    ] = about("What it is about")  # fmt: skip
    subject: Name = about("Generation, system or part of a site")
    age_years: Number | None = quantity("Age that it holds at", "years", default=None)
    low: Number | None = quantity("Low figure", "see unit", default=None)
    typical: Number | None = quantity("Typical figure", "see unit", default=None)
    high: Number | None = quantity("High figure", "see unit", default=None)
    unit: Name = about("Unit; of a date that was announced, the date in words")
    confidence: Literal["good", "ok", "weak", "user"] = about("How well it is sourced")


class QualityRow(SourcedRow):
    """Measured quality of a model at a precision."""

    model: Name = about("Model")
    precision: Precision = about("Weight precision")
    score: Score = quantity("Score, 1 is full quality", "score")


class ModelRow(ModelArchitecture, SourcedRow):
    """An architecture with the config it was read from."""


class CheckpointRow(SourcedRow):
    """Weights of a model that somebody published in a format."""

    model: Name = about("Model")
    precision: Precision = about("Format of most of the weights")
    repository: Name = about("Repository or folder of the weights, as a serving engine is told it")

    @property
    def key(self) -> tuple[str, str]:
        """What makes a checkpoint unique."""
        return self.model, self.precision


class ClassRow(Row):
    """One class of a published length distribution."""

    id: Name = about("Identifier")
    share: Fraction = quantity("Share of requests", "fraction")
    input_tokens: Length = about("Prompt length")
    output_tokens: Length = about("Generated length")
    prefix_hit_rate: OpenFraction | None = quantity(
        "Prefix hits with an unlimited cache; blank where the trace has no prefixes",
        "fraction",
        default=None,
    )


class LengthRow(SourcedRow):
    """A length distribution, cut into classes by input length."""

    id: Name = about("Identifier")
    requests: PositiveCount = about("Requests in the trace")
    span_s: Positive = quantity("First to last request", "s")
    peak_to_mean_1min: Positive = quantity("Busiest whole minute over the mean", "ratio")
    input_tokens: Length = about("Prompt length, all requests")
    output_tokens: Length = about("Generated length, all requests")
    block_tokens: Count | None = quantity("Prefix block", "tokens", default=None)
    block_hit_rate: Fraction | None = quantity(
        "Prefix blocks that an unlimited cache holds", "fraction", default=None
    )
    classes: Annotated[tuple[ClassRow, ...], Field(min_length=1)] = about("Classes")

    def request_classes(self, prefix_hit_rate: float | None = 0.0) -> tuple[RequestClass, ...]:
        """The classes as a scenario's; None takes the trace's own prefix hits (0 if unknown)."""
        return tuple(
            RequestClass(
                id=c.id,
                share=c.share,
                input_tokens=c.input_tokens,
                output_tokens=c.output_tokens,
                prefix_hit_rate=(
                    prefix_hit_rate if prefix_hit_rate is not None else c.prefix_hit_rate or 0.0
                ),
            )
            for c in self.classes
        )


class PointRow(SourcedRow):
    """A published operating point."""

    id: Name = about("Identifier")
    group: Name = about("Which comparison it belongs to")
    kind: Name = about("measured, derived or vendor_claim")
    system: Name = about("System")
    model: Name = about("Model")
    precision: Name | None = about("Precision as published", default=None)
    framework: Name | None = about("Serving engine", default=None)
    isl: PositiveCount | None = quantity("Input length", "tokens", default=None)
    osl: PositiveCount | None = quantity("Output length", "tokens", default=None)
    concurrency: PositiveCount | None = quantity("Requests in flight", "requests", default=None)
    tok_s_per_gpu: Positive = quantity("Throughput per accelerator", "tokens/s/GPU")
    tok_kind: Literal["total", "output"] = about("Which tokens are counted")
    tok_s_per_user: Positive | None = quantity("Speed of one stream", "tokens/s", default=None)
    tpot_ms: Positive | None = quantity("Time per output token", "ms", default=None)
    ttft_ms: Positive | None = quantity("Time to first token", "ms", default=None)
    ttft_stat: Name | None = about("Statistic of ttft_ms", default=None)
    speculation: Literal["yes", "no", "unstated"] | None = about(
        "Speculative decoding", default=None
    )
    disaggregated: Literal["yes", "no"] | None = about("Prefill and decode apart", default=None)
    usd_per_mtok: Positive | None = quantity("Published cost", "USD/Mtok", default=None)
    usd_token_kind: Name | None = about("Tokens of the cost", default=None)
    usd_per_gpu_h: Positive | None = quantity("Price behind the cost", "USD/GPU-h", default=None)
    cost_tier: PriceTier | None = about("Whose price", default=None)
    kw_per_gpu: Positive | None = quantity("Power behind tok_s_per_mw", "kW/GPU", default=None)
    tok_s_per_mw: Positive | None = quantity("Published", "tokens/s/MW", default=None)
