"""DataFrames in and out: anything that speaks Arrow's C interface."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import polars
import pyarrow
import pytest

import tokenfleet as tf
from scenarios import buy, hall
from tokenfleet.errors import SchemaError
from tokenfleet.files.frames import Columns, columns_of, rows_of


def scenario_data() -> dict[str, Any]:
    """A small chat on bought H100 or H200 servers."""
    return {
        "name": "chat",
        "systems": ["h100_sxm_8", "h200_sxm_8"],
        "workloads": [
            {
                "id": "chat",
                "model": "llama-3.1-8b",
                "classes": [{"id": "c", "share": 1.0, "input_tokens": 500, "output_tokens": 100}],
                "demand": {"requests_per_s": 20},
            }
        ],
        "sites": [hall()],
        "offers": [buy(), buy("h200_sxm_8", 250_000)],
        "search": {"max_gpus_per_replica": 2, "batch_limits": [64]},
    }


class Foreign:
    """A table of somebody else's library: nothing but the interface."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_rows_leave_blanks_out() -> None:
    frame = polars.DataFrame({"a": [1, None], "b": [float("nan"), 2.5], "c": ["x", "y"]})
    assert rows_of(frame) == [{"a": 1, "c": "x"}, {"b": 2.5, "c": "y"}]
    assert rows_of(Foreign(pyarrow.table({"a": [3]}))) == [{"a": 3}]


def test_columns_go_into_any_library() -> None:
    columns = Columns.of([{"a": 1, "b": "x"}, {"a": 2}])
    assert columns == {"a": [1, 2], "b": ["x", None]}
    assert polars.DataFrame(columns).rows() == [(1, "x"), (2, None)]
    assert pyarrow.table(Foreign(pyarrow.table(columns))).num_rows == 2
    assert columns_of(columns)["a"].tolist() == [1, 2]


def test_offers_as_a_frame_are_those_of_a_list() -> None:
    data = scenario_data()
    plan = tf.optimize_fleet(copy.deepcopy(data))
    framed = tf.optimize_fleet({**data, "offers": polars.DataFrame(data["offers"])})
    assert framed.objective_value == plan.objective_value
    systems = polars.DataFrame(plan.table("systems"))
    assert systems["count"].sum() == sum(row.count for row in plan.systems)
    with pytest.raises(SchemaError, match="no table 'system'"):
        plan.table("system")


def test_counts_and_answers_of_fleets() -> None:
    data = scenario_data()
    offers = tf.evaluate_fleets(data, np.zeros((1, len(data["offers"]))))
    name = f"{data['offers'][0]['id']}@{data['sites'][0]['id']}"
    counts: dict[str, Any] = {name: [0, 4]}
    by_name = tf.evaluate_fleets(data, counts, demand=[1.0, 2.0])
    framed = tf.evaluate_fleets(data, polars.DataFrame(counts), demand=[1.0, 2.0])
    assert offers["feasible"].shape == (1, 1)
    assert np.array_equal(by_name["annual_cost_usd"], framed["annual_cost_usd"])
    table = polars.DataFrame(by_name.table())
    assert table["fleet"].to_list() == [1, 1, 2, 2]
    assert table["case"].to_list() == [1, 2, 1, 2]
    assert table["feasible"].to_list() == by_name["feasible"].T.reshape(-1).tolist()
