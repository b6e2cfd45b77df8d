"""Scenarios over time against another reading of their words, in another solver."""

from __future__ import annotations

import pytest

from horizon_scenario_scip import both


# In 904 prices alone say that no better plan of a year uses anything at all.
@pytest.mark.parametrize("seed", [*range(12), 904])
def test_another_reading_in_another_solver_says_the_same(seed: int) -> None:
    pytest.importorskip("pyscipopt")
    found, own = both(seed)
    assert found == pytest.approx(own, rel=1e-6, abs=1.0)
