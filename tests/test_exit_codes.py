"""What a command ends with where the question, and not the program, is at fault."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from test_mistakes_of_files import BASE, DEMAND, OFFER, SITE, offer, written
from tokenfleet.cli.app import app


def ended(*arguments: str | Path) -> tuple[int | str | None, str]:
    """Exit code of a command, and what it says on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as caught:
        app([str(a) for a in arguments], prog_name="tokenfleet")
    return caught.value.code, err.getvalue()


TOKENS = ("systems:", "objective: {kind: most_tokens}\nsystems:")
FREE = (DEMAND, "{free: true}")


def edited(*changes: tuple[str, str]) -> str:
    text = BASE
    for right, wrong in changes:
        assert right in text
        text = text.replace(right, wrong, 1)
    return text


def test_a_goal_without_end_is_bad_input(tmp_path: Path) -> None:
    """Free demand, no limit of power, racks, stock or money: more tokens are always to be had."""
    endless = (SITE, SITE.replace("100", "unlimited"))
    code, said = ended("plan", written(tmp_path, edited(FREE, TOKENS, endless)))
    assert code == 2
    assert "improves without end" in said and "max_requests_per_s" in said


def test_numbers_too_far_apart_are_bad_input(tmp_path: Path) -> None:
    """A purchase for a dollar beside one for a quadrillion of them."""
    cheap = OFFER.replace("id: h100", "id: cheap").replace("}", ", price_usd_per_system: 1}")
    dear = offer("price_usd_per_system: 1.0e+15")
    text = edited(dear).replace("offers:\n", f"offers:\n  - {cheap}\n")
    code, said = ended("plan", written(tmp_path, text))
    assert code == 2
    assert "too far apart" in said and "check the units" in said


def test_nothing_to_deliver_is_infeasible(tmp_path: Path) -> None:
    ratio = ("systems:", "objective: {kind: least_cost_per_token}\nsystems:")
    dark = (SITE, SITE.replace("100", "0"))
    code, said = ended("plan", written(tmp_path, edited(FREE, ratio, dark)))
    assert code == 3, said
