"""A small sample of the random rich scenarios; `rich_scenarios.py` runs thousands."""

from __future__ import annotations

import pytest

from rich_scenarios import ASIDE, differences

# Fixed staff beside free demand that a budget alone ends; a type that delivers nothing by itself.
ONCE_WRONG = (172, 422, 719, 20202)


@pytest.mark.parametrize("seed", [*range(7000, 7040), *ONCE_WRONG])
def test_a_rich_scenario_has_its_right_answer(seed: int) -> None:
    found = [text for text in differences(seed) if not text.startswith(ASIDE)]
    assert found == []
