"""The catalog: every row by id, and what is missing from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

from tokenfleet.catalog.kernels import Kernels
from tokenfleet.catalog.rows import (
    ApiRow,
    CheckpointRow,
    LengthRow,
    ModelRow,
    PointRow,
    PriceRow,
    QualityRow,
    SystemRow,
    TcoRow,
    TimelineRow,
)
from tokenfleet.errors import CatalogError
from tokenfleet.schema.near import did_you_mean
from tokenfleet.schema.plausibility import SchemaWarning
from tokenfleet.schema.supply import Offer

_Row = TypeVar("_Row", bound=BaseModel)
_COMPUTE = ("gpus", "scale_up_domain", "mem_gb", "mem_bw_tbps")
_HOUSING = ("system_kw", "cooling")
# What to do about a model that the catalog lacks, behind the names near to it.
ADD_MODEL = (
    "Or read its config.json: tokenfleet import config.json -o own.yaml, "
    "and name own.yaml under `catalog` (--catalog)"
)


@dataclass(frozen=True)
class Catalog:
    """Systems, models, prices, cost parameters, length distributions and kernel fits.

    `user_rows` names rows that a user's file added or changed, as `systems:h100_sxm_8`.
    """

    systems: Mapping[str, SystemRow]
    models: Mapping[str, ModelRow]
    prices: tuple[PriceRow, ...]
    tco: Mapping[str, TcoRow]
    lengths: Mapping[str, LengthRow]
    points: tuple[PointRow, ...]
    kernels: Kernels
    quality: tuple[QualityRow, ...] = ()
    apis: tuple[ApiRow, ...] = ()
    timeline: tuple[TimelineRow, ...] = ()
    checkpoints: tuple[CheckpointRow, ...] = ()
    user_rows: frozenset[str] = frozenset()
    warnings: tuple[SchemaWarning, ...] = field(default=())

    def system(self, name: str) -> SystemRow:
        """The system, or an error with the nearest names."""
        return _lookup("system", name, self.systems)

    def model(self, name: str) -> ModelRow:
        """The model, or an error with the nearest names."""
        return _lookup("model", name, self.models, ADD_MODEL)

    def checkpoint(self, model: str, precision: str) -> CheckpointRow | None:
        """Published weights of a model in a format; None where the catalog knows of none."""
        return next((c for c in self.checkpoints if c.key == (model, precision)), None)

    def published_formats(self, model: str) -> frozenset[str]:
        """Formats that a model's weights are published in: its own, and those of its checkpoints.

        A model that nobody says the format of is taken to be published in 16 bits.
        """
        native = self.model(model).native_precision or "bf16"
        return frozenset((native, *(c.precision for c in self.checkpoints if c.model == model)))

    def tco_row(self, name: str) -> TcoRow:
        """The cost parameter, or an error with the nearest names."""
        return _lookup("cost parameter", name, self.tco)

    def length(self, name: str) -> LengthRow:
        """The length distribution, or an error with the nearest names."""
        return _lookup("length distribution", name, self.lengths)

    def missing_figures(
        self,
        system: str,
        hosted: bool = False,
        rated: bool = False,
        metered: bool = False,
        alone: bool = False,
    ) -> tuple[str, ...]:
        """Figures a plan needs of a system and the catalog lacks.

        A hosted system needs no power or cooling figures: they are the provider's, unless energy is
        what the plan counts (`metered`). A system that is `rated` (its rates are given as columns)
        needs only its number of accelerators to compute. Of replicas of one accelerator (`alone`)
        no link is needed.
        """
        row = self.system(system)
        compute = ("gpus",) if rated else _COMPUTE
        power = ("system_kw",) if metered else ()
        needed = list(compute + (power if hosted else _HOUSING))
        if not rated and row.wide_tflops is None:
            needed.append("bf16_tflops")
        if not rated and not alone and (row.scale_up_domain or 1) > 1:
            needed.append("scale_up_gb_per_s_per_gpu")
        return tuple(name for name in needed if getattr(row, name) is None)

    # Prices

    @property
    def vintages(self) -> tuple[str, ...]:
        """Editions of the price book, oldest first."""
        first = {p.vintage: p.valid_from for p in self.prices}
        return tuple(sorted(first, key=lambda v: (first[v], v)))

    def vintage(self, name: str | None) -> str:
        """The named edition, or the newest.

        Raises:
            CatalogError: no such edition, or an empty price book.
        """
        known = self.vintages
        if name is None and known:
            return known[-1]
        if name not in known:
            raise CatalogError(f"unknown price vintage {name!r}", did_you_mean(str(name), known))
        return str(name)

    def price_rows(self, vintage: str | None, system: str) -> tuple[PriceRow, ...]:
        """Prices of a system in one edition (the newest for None)."""
        edition = self.vintage(vintage)
        return tuple(p for p in self.prices if p.vintage == edition and p.system == system)

    def price(self, offer: Offer, vintage: str | None) -> PriceRow:
        """The price-book row that an offer without a price refers to.

        Raises:
            CatalogError: no row, or several; names system, kind, and what there is.
        """
        rows = self.price_rows(vintage, self.system(offer.system).id)
        fitting = [r for r in rows if r.kind == offer.kind]
        if offer.term_years is not None:
            fitting = [r for r in fitting if r.term_years == offer.term_years]
        if offer.price_tier is not None:
            fitting = [r for r in fitting if r.tier == offer.price_tier]
        if len(fitting) == 1:
            return fitting[0]
        raise self._price_error(offer, vintage, rows, fitting)

    def api_price(self, name: str, vintage: str | None) -> ApiRow:
        """The entry of a hosted API in one edition; for None its newest.

        Raises:
            CatalogError: no such entry; names those that there are.
        """
        rows = [row for row in self.apis if vintage in (None, row.vintage)]
        own = [row for row in rows if row.id == name]
        if own:
            return max(own, key=lambda row: row.valid_from)
        edition = "the price book" if vintage is None else f"the price book {vintage}"
        raise CatalogError(
            f"{edition} has no hosted API {name!r}",
            f"{did_you_mean(name, {row.id for row in rows})}; or give usd_per_mtok_input and "
            "usd_per_mtok_output",
        )

    def _price_error(
        self,
        offer: Offer,
        vintage: str | None,
        rows: Iterable[PriceRow],
        fitting: list[PriceRow],
    ) -> CatalogError:
        there = "; ".join(_price_label(r) for r in fitting or rows) or "nothing"
        what = "several prices" if fitting else "no price"
        unit = "price_usd_per_system" if offer.kind == "buy" else "price_usd_per_gpu_h"
        return CatalogError(
            f"offer {offer.id!r}: {what} for {offer.kind} of {offer.system} in the price book "
            f"{self.vintage(vintage)}, which has {there}",
            f"set term_years or price_tier, or give {unit}",
        )


def _price_label(row: PriceRow) -> str:
    term = f" {row.term_years:g} years" if row.term_years else ""
    return f"{row.kind}{term} ({row.tier})"


def _lookup(what: str, name: str, rows: Mapping[str, _Row], more: str = "") -> _Row:
    if name in rows:
        return rows[name]
    hint = did_you_mean(name, rows)
    raise CatalogError(f"unknown {what} {name!r}", f"{hint} {more}".strip())


def require(row: SystemRow | TcoRow | ModelRow | PriceRow, name: str) -> Any:
    """The value of a figure that must be there.

    Raises:
        CatalogError: it is blank; names row and field, and how to give it.
    """
    value = getattr(row, name)
    if value is not None:
        return value
    table, key = _table_of(row)
    raise CatalogError(
        f"catalog table {table}, row {key!r}: {name} has no sourced figure",
        f"give it in a file named under `catalog` in the scenario: {table}: "
        f"[{{{_key_field(table)}: {key}, {name}: ..., source: ..., as_of: ...}}]",
    )


def _table_of(row: SystemRow | TcoRow | ModelRow | PriceRow) -> tuple[str, str]:
    if isinstance(row, SystemRow):
        return "systems", row.id
    if isinstance(row, TcoRow):
        return "tco", row.parameter
    if isinstance(row, ModelRow):
        return "models", row.id
    return "prices", row.system


def _key_field(table: str) -> str:
    return {"tco": "parameter", "prices": "system"}.get(table, "id")
