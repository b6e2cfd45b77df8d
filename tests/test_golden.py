"""Golden answers: examples, a Mélange file, a big draw and a table of fleets stay as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent / "golden"))

import make


@pytest.mark.default_confidence
@pytest.mark.parametrize("name", make.CASES)
def test_the_answer_is_the_golden_one(name: str) -> None:
    # A change that means to move it: python tests/golden/make.py, and say why in the commit.
    assert make.text_of(name) == make.golden(name).read_text(encoding="utf-8")
