"""What is piped to a file or a pager is 80 columns wide, and no number in it is cut."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from test_sweep_diff_model import measured
from tokenfleet.cli import answer
from tokenfleet.cli.app import app
from tokenfleet.cli.plans import DEMO
from tokenfleet.plan.rows import Plan
from tokenfleet.report.terminal import render

PIPED = 80
EXAMPLES = Path(__file__).parent.parent / "examples"
NUMBER = re.compile(r"[$±+-]?\d[\d,]*(?:\.\d+)?%?")
SECONDS = re.compile(r"[\d.]+ s\b")


def printed(*arguments: object) -> str:
    """What a command prints where nobody watches; seconds left out."""
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code in (0, 4), done.output
    return SECONDS.sub("0 s", done.stdout)


def numbers(text: str) -> set[str]:
    """The numbers of a text that are words of their own."""
    return {word for word in (w.strip("();:,.") for w in text.split()) if NUMBER.fullmatch(word)}


def require_narrow(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """80 columns, and every number that the same command prints where there is room for all."""
    narrow = printed(*arguments)
    assert max(map(len, narrow.splitlines())) <= PIPED
    assert "…" not in narrow
    monkeypatch.setattr(answer, "_WIDTH", 1000)
    wide = numbers(printed(*arguments))
    assert len(wide) > 2
    assert wide - numbers(narrow) == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", DEMO),
        ("check", EXAMPLES / "hyperscaler.yaml"),
        ("evaluate", DEMO, "--top", 5),
        ("search", DEMO, "--loads", 3),
        ("compare",),
        ("catalog", "list"),
        ("catalog", "list", "systems"),
        ("catalog", "list", "models"),
        ("catalog", "list", "prices"),
        ("catalog", "list", "tco"),
        ("catalog", "show", "gb300_nvl72"),
        ("catalog", "show", "deepseek-r1"),
    ],
    ids=lambda arguments: " ".join(Path(str(a)).stem for a in arguments),
)
def test_what_needs_no_plan(arguments: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    require_narrow(monkeypatch, *arguments)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plan of the enterprise example."""
    path = tmp_path_factory.mktemp("piped") / "plan.json"
    shown = printed("plan", DEMO, "-o", path)
    assert max(map(len, shown.splitlines())) == PIPED
    return path


def rendered(plan: Plan, width: int) -> str:
    """What `plan` prints of a plan."""
    out = io.StringIO()
    render(plan, Console(file=out, width=width, highlight=False, markup=False, emoji=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, PIPED])
def test_a_plan(plan: Path, width: int) -> None:
    known = Plan.load(plan)
    narrow = rendered(known, width)
    assert max(map(len, narrow.splitlines())) <= width and "…" not in narrow
    assert numbers(rendered(known, 1000)) - numbers(narrow) == set()


def test_a_simulation(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_narrow(monkeypatch, "simulate", plan, "--requests", 200, "--replications", 2)


def test_explanations_and_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text(yaml.safe_dump(measured()))
    second.write_text(yaml.safe_dump(measured(30.0)))
    for command in (("explain", first), ("diff", first, second)):
        with monkeypatch.context() as within:
            require_narrow(within, *command)
