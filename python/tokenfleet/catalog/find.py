"""What the catalog has under a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tokenfleet.catalog.book import Catalog
from tokenfleet.catalog.parts import with_parts
from tokenfleet.errors import CatalogError
from tokenfleet.schema.near import did_you_mean


def find(catalog: Catalog, name: str) -> dict[str, Any]:
    """The row of a name with its table.

    A system, or a part of one, comes with its prices and what it lacks, a model with its
    published checkpoints.

    Raises:
        CatalogError: no table has it; names the nearest.
    """
    catalog = with_parts(catalog, [name])
    tables: dict[str, Mapping[str, BaseModel]] = {
        "systems": catalog.systems,
        "models": catalog.models,
        "tco": catalog.tco,
        "lengths": catalog.lengths,
    }
    for table, rows in tables.items():
        if name in rows:
            found: dict[str, Any] = {"table": table, "row": rows[name].model_dump(mode="json")}
            if table == "systems":
                prices = [p for p in catalog.prices if p.system == name]
                found["prices"] = [p.model_dump(mode="json") for p in prices]
                found["missing_figures"] = list(catalog.missing_figures(name))
            if table == "models":
                weights = [c for c in catalog.checkpoints if c.model == name]
                found["checkpoints"] = [c.model_dump(mode="json") for c in weights]
            return found
    known = [key for rows in tables.values() for key in rows]
    raise CatalogError(f"the catalog has nothing named {name!r}", did_you_mean(name, known))
