"""Golden answers: examples, a Mélange file, a big draw and a table of fleets stay as they are.

`python tests/golden/make.py --check`, or `ALL_GOLDEN=1` before pytest, asks the hyperscaler too.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "golden"))

import make


@pytest.mark.parametrize("name", make.CASES)
def test_the_answer_is_the_golden_one(name: str) -> None:
    if name == "hyperscaler" and not os.environ.get("ALL_GOLDEN"):
        pytest.skip("takes minutes, and test_examples solves it as well")
    # A change that means to move it: python tests/golden/make.py, and say why in the commit.
    assert make.text_of(name) == make.golden(name).read_text(encoding="utf-8")
