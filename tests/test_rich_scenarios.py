"""A small sample of the random rich scenarios; `rich_scenarios.py` runs thousands."""

from __future__ import annotations

import pytest

from rich_scenarios import ASIDE, differences


@pytest.mark.parametrize("seed", range(7000, 7040))
def test_a_rich_scenario_has_its_right_answer(seed: int) -> None:
    found = [text for text in differences(seed) if not text.startswith(ASIDE)]
    assert found == []
