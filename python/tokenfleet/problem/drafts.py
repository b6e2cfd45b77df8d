"""Speculative decoding with the catalog's typical figures where a scenario leaves them out.

A scenario that only says `method: mtp` gets the acceptance of `speculation_acceptance_mtp`, so that
a step at depth 3 yields 1 + 0.69 + 0.69^2 + 0.69^3 = 2.49 tokens.
"""

from __future__ import annotations

from tokenfleet.catalog import Catalog, require
from tokenfleet.schema import Speculation

ACCEPTANCE, COST = "acceptance", "draft_cost_fraction"


def assumed(row: Speculation) -> dict[str, str]:
    """Fields that the catalog fills, with the parameter that does."""
    if row.method is None:
        return {}
    found = {}
    if row.acceptance is None and row.acceptance_table is None:
        found[ACCEPTANCE] = f"speculation_acceptance_{row.method}"
    if row.draft_cost_fraction is None:
        found[COST] = "speculation_draft_cost"
    return found


def filled(row: Speculation, catalog: Catalog) -> Speculation:
    """The row with every figure that the core needs."""
    typical = {
        field: require(catalog.tco_row(parameter), "typical")
        for field, parameter in assumed(row).items()
    }
    return row.model_copy(update=typical)
