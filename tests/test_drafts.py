"""Speculative decoding whose acceptance and cost a scenario leaves to the catalog."""

from __future__ import annotations

from typing import Any

import pytest

from tokenfleet.catalog import load_catalog
from tokenfleet.errors import SchemaError
from tokenfleet.points.rates import plain_scenario
from tokenfleet.problem.drafts import assumed, filled
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema import Scenario, Speculation


def drafting(**fields: Any) -> Scenario:
    drafts = {"model": "llama-3.3-70b", "max_depth": 3, **fields}
    data = plain_scenario(["llama-3.3-70b"]) | {"speculation": [drafts]}
    return load_scenario(data).scenario


def test_a_method_brings_its_published_acceptance_and_cost() -> None:
    row = Speculation(model="deepseek-r1", max_depth=3, method="mtp")
    found = filled(row, load_catalog())
    # Pinned by its source: 2.49 tokens a step at depth 3.
    assert found.accepted(3) == pytest.approx(2.49, abs=0.01)
    assert found.draft_cost() == 0.05
    assert set(assumed(row)) == {"acceptance", "draft_cost_fraction"}


def test_what_is_stated_stays() -> None:
    table = (1.9, 2.6, 3.5)
    row = Speculation(model="glm-5", max_depth=3, method="mtp", acceptance_table=table)
    found = filled(row, load_catalog())
    assert [found.accepted(depth) for depth in range(4)] == [1.0, *table]
    assert set(assumed(row)) == {"draft_cost_fraction"}


def test_without_a_method_every_figure_is_needed() -> None:
    with pytest.raises(SchemaError, match="draft_cost_fraction"):
        drafting(acceptance=0.7, source="own")
    with pytest.raises(SchemaError, match="acceptance"):
        drafting(draft_cost_fraction=0.05, source="own")
    assert drafting(method="eagle3").speculation[0].acceptance is None
