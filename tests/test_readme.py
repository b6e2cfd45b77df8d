"""The README tells the truth: its code runs, its commands exist, its answer is the program's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "tokenfleet", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, cwd=ROOT
    )
    return done.stdout


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_python_blocks_run(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(BLOCKS[block], f"README.md block {block}", "exec"), {})


def test_commands_exist() -> None:
    named = set(re.findall(r"(?:^|`|[$] |/)tokenfleet ([a-z]+)", TEXT, re.MULTILINE))
    text = run("--help")
    assert {"demo", "check", "plan", "evaluate", "compare", "backtest", "schema"} <= named
    for command in named:
        assert re.search(rf"\b{command}\b", text), command


def test_options_exist() -> None:
    for command, option in (
        ("plan", "--time-limit"),
        ("plan", "--seed"),
        ("demo", "--save"),
        ("schema", "--markdown"),
    ):
        assert option in TEXT
        assert option in run(command, "--help")


def test_set_up_scripts_are_there() -> None:
    assert (
        "\npython3 -m venv .venv && .venv/bin/pip install . && .venv/bin/tokenfleet demo\n" in TEXT
    )
    assert "\n./scripts/test\n" in TEXT
    assert (ROOT / "scripts" / "test").is_file()


def test_shown_answer_is_the_answer() -> None:
    """All of the panel but the line with the time it took, and how near the solver came to zero."""
    shown = re.search(r"\$ tokenfleet demo\n(.*?)```", TEXT, re.DOTALL)
    assert shown is not None
    lines = [_without_gap(line) for line in run("demo").splitlines()]
    panel = [_without_gap(line) for line in shown.group(1).rstrip().splitlines()]
    assert panel[:-1] == lines[: len(panel) - 1]


def _without_gap(line: str) -> str:
    return re.sub(r"proven within 0\.00\d+%(.*?) *│", r"proven\1 │", line.rstrip())


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if "://" not in target:
            assert (ROOT / target).exists(), target
