"""A sizing question in one line, and the scenario that it stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import yaml

from tokenfleet.catalog import Catalog, load_catalog
from tokenfleet.catalog.book import ADD_MODEL
from tokenfleet.catalog.parts import priced_parts, with_parts
from tokenfleet.errors import SchemaError
from tokenfleet.schema import did_you_mean
from tokenfleet.schema.fields import Percentile

Get = Literal["any", "buy", "rent"]
KINDS: Mapping[Get, tuple[str, ...]] = {"buy": ("buy",), "rent": ("rent", "on_demand")}
WORKLOAD, REQUEST, SITE = "requests", "request", "site"
_KW_PER_MW = 1000.0
# Fields that a person named, by what messages call them; each must be a number above 0.
_AMOUNTS = {
    "rate_rps": "--rate",
    "input_tokens": "--input",
    "output_tokens": "--output",
    "ttft_ms": "--ttft",
    "tpot_ms": "--tpot",
    "budget_usd_per_year": "--budget",
    "power_mw": "--mw",
}


@dataclass(frozen=True)
class Question:
    """What is to be served and within which limits; every field that is None sets none.

    Without `rate_rps` the question is how much a budget or a site's power can serve.
    """

    model: str  # id of the catalog
    rate_rps: float | None = None  # mean over the year, requests/s
    input_tokens: float = 1024.0  # of every request
    output_tokens: float = 256.0  # of every request
    ttft_ms: float | None = None  # limit on the time to first token, ms
    tpot_ms: float | None = None  # limit on the time per output token, ms
    percentile: str = "p95"  # of both limits
    budget_usd_per_year: float | None = None
    power_mw: float | None = None  # at the meter
    systems: tuple[str, ...] | None = None  # None: all that have a price
    get: Get = "any"  # which offers of the price book count
    api_usd_per_mtok: tuple[float, float] | None = None  # a hosted API: input, output

    def __post_init__(self) -> None:
        """Refuses what no scenario can be made of.

        Raises:
            SchemaError: a figure that is not above 0, or a question without a demand or a limit.
        """
        for field, option in _AMOUNTS.items():
            value = getattr(self, field)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SchemaError(f"{option} {value:g}: must be above 0", "give a positive number")
        if self.percentile not in get_args(Percentile):
            raise SchemaError(
                f"--percentile {self.percentile}: not known",
                f"write one of {', '.join(get_args(Percentile))}",
            )
        if self.rate_rps is None and self.budget_usd_per_year is None and self.power_mw is None:
            raise SchemaError(
                "neither a demand nor a limit",
                "give --rate (requests/s), or --budget or --mw to learn what they serve",
            )
        if self.is_inverse and self.budget_usd_per_year is None and self.get != "buy":
            raise SchemaError(
                "--mw limits what stands at your own site, and rented systems do not",
                "add --get buy, or a --budget",
            )
        if self.is_inverse and self.api_usd_per_mtok and self.budget_usd_per_year is None:
            raise SchemaError("a hosted API takes none of --mw", "leave out --api, or add --budget")

    @property
    def is_inverse(self) -> bool:
        """Whether the demand is what is asked for."""
        return self.rate_rps is None

    def scenario(self, kind: str, catalog: Catalog | None = None) -> dict[str, Any]:
        """The scenario as plain data, with an objective of this kind.

        Raises:
            SchemaError: a model or system that is not in the catalog; nothing to buy or to rent.
        """
        catalog = catalog or load_catalog()
        parts = priced_parts(catalog) if self.systems is None else self.systems
        catalog = with_parts(catalog, parts)
        self._check_names(catalog)
        found: dict[str, Any] = {
            "name": self.title(),
            "price_vintage": catalog.vintage(None),
            "objective": {"kind": kind},
            "workloads": [self._workload()],
            "sites": [self._site()],
        }
        if self.budget_usd_per_year is not None:
            found["objective"]["annual_budget_usd"] = _short(self.budget_usd_per_year)
        if self.systems is not None:
            found["systems"] = list(self.systems)
        if self.get != "any":
            found["offers"] = self._offers(catalog)
        if self.api_usd_per_mtok is not None:
            found["apis"] = [self._api(*self.api_usd_per_mtok)]
        return found

    def title(self) -> str:
        """Name of the scenario."""
        size = f"{self.input_tokens:g} in, {self.output_tokens:g} out"
        if self.rate_rps is not None:
            return f"{self.model}: {self.rate_rps:g} requests/s of {size}"
        return f"{self.model}: what can be served with {self.limits()}: {size}"

    def limits(self) -> str:
        """Budget and power in words: `1,000,000 USD a year and 5 MW`."""
        limits = []
        if self.budget_usd_per_year is not None:
            limits.append(f"{self.budget_usd_per_year:,.0f} USD a year")
        if self.power_mw is not None:
            limits.append(f"{self.power_mw:g} MW")
        return " and ".join(limits)

    def _workload(self) -> dict[str, Any]:
        limits = {"ttft": self.ttft_ms, "tpot": self.tpot_ms}
        request = {
            "id": REQUEST,
            "share": 1.0,
            "input_tokens": _short(self.input_tokens),
            "output_tokens": _short(self.output_tokens),
        }
        rate = self.rate_rps
        return {
            "id": WORKLOAD,
            "model": self.model,
            "classes": [request],
            "slos": [
                {"metric": name, "percentile": self.percentile, "limit_ms": _short(limit)}
                for name, limit in limits.items()
                if limit is not None
            ],
            "demand": {"free": True} if rate is None else {"requests_per_s": _short(rate)},
        }

    def _site(self) -> dict[str, Any]:
        power = "unlimited" if self.power_mw is None else _short(self.power_mw * _KW_PER_MW)
        return {
            "id": SITE,
            "region": "any",
            "power_kw": power,
            "power_basis": "utility",
            "cooling": ["air", "direct liquid"],
        }

    def _offers(self, catalog: Catalog) -> list[dict[str, Any]]:
        """Market offers of the price book of the kinds asked for."""
        found = []
        for system in self.systems or sorted(catalog.systems):
            for row in catalog.price_rows(None, system):
                if row.tier == "market" and row.kind in KINDS[self.get]:
                    term = {} if row.term_years is None else {"term_years": row.term_years}
                    name = f"{system}/{row.kind}" + (f"_{row.term_years:g}y" if term else "")
                    offer = {"id": name, "system": system, "kind": row.kind, **term}
                    found.append({**offer, "price_tier": row.tier})
        if not found:
            raise SchemaError(
                f"the price book has nothing to {self.get} among the systems asked for",
                "choose others with --systems, or bring your prices with --catalog",
            )
        return found

    @staticmethod
    def _api(usd_in: float, usd_out: float) -> dict[str, Any]:
        return {
            "id": "api",
            "workload": WORKLOAD,
            "region": "any",
            "usd_per_mtok_input": usd_in,
            "usd_per_mtok_output": usd_out,
            "slo_attested": True,
        }

    def _check_names(self, catalog: Catalog) -> None:
        if self.model not in catalog.models:
            raise SchemaError(
                f"unknown model {self.model!r}",
                f"{did_you_mean(self.model, catalog.models)} {ADD_MODEL}. "
                "See: tokenfleet catalog list models",
            )
        for name in self.systems or ():
            if name not in catalog.systems:
                raise SchemaError(
                    f"--systems: unknown system {name!r}",
                    f"{did_you_mean(name, catalog.systems)} See: tokenfleet catalog list systems",
                )


def _short(value: float) -> float:
    """The number as a person writes it: 1024, not 1024.0."""
    return int(value) if value == int(value) else value


def as_yaml(scenario: Mapping[str, Any], asked: str) -> str:
    """The scenario as a file that a person goes on with; `asked` is the command it came from."""
    head = (
        f"# Made by: {' '.join(asked.split())}\n"
        "# What is left out (tariff, PUE, hosting, cost of capital) is the catalog's typical\n"
        "# figure; `tokenfleet check` lists each, and docs/scenario.md has every field.\n"
    )
    return head + yaml.safe_dump(dict(scenario), sort_keys=False, allow_unicode=True, width=88)
