"""`pytest -m fast`: the tests for the loop at the desk, all but those that `slow.txt` lists.

A test is fast unless it is listed there, by its name without parameters; so a new one is fast until
somebody measures. `pytest -n 2 --write-slow`, on an idle machine, runs every test and lists anew
those that take longest, until the rest takes `FAST_SECONDS`. The quickest test of each file stays.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from tokenfleet.schema import Scenario

SLOW = Path(__file__).parent / "slow.txt"
FAST_SECONDS = 90.0  # of one core: under a minute on two
_seconds: Counter[str] = Counter()
os.environ["TOKENFLEET_CACHE"] = ""  # nothing of an earlier run, here and in processes of tests


# Figures that tests work out have no reserve: here a scenario that names no confidence is planned
# at the model's expectation, but in tests that are marked `default_confidence`.
_SURE = Scenario.sure
_EXPECTED = property(lambda s: _SURE.__get__(s) if "confidence" in s.model_fields_set else None)
Scenario.sure = _EXPECTED  # type: ignore[method-assign,assignment]


@pytest.fixture(autouse=True)
def _default_confidence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("default_confidence"):
        monkeypatch.setattr(Scenario, "sure", _SURE)


def _name(nodeid: str) -> str:
    return nodeid.split("[", maxsplit=1)[0].rsplit("/", 1)[-1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-slow", action="store_true", help="measure, and list the slow tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = set(SLOW.read_text(encoding="utf-8").split())
    for item in items:
        item.add_marker("slow" if _name(item.nodeid) in slow else "fast")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[_name(report.nodeid)] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-slow") and not hasattr(session.config, "workerinput"):
        SLOW.write_text("".join(f"{name}\n" for name in slow_ones(_seconds)), encoding="utf-8")


def slow_ones(seconds: Counter[str]) -> list[str]:
    """The longest tests, until the rest takes `FAST_SECONDS`; never all of one file."""
    left = sum(seconds.values())
    in_file = Counter(name.split("::")[0] for name in seconds)
    found = []
    for name, took in seconds.most_common():
        file = name.split("::")[0]
        if left <= FAST_SECONDS:
            break
        if in_file[file] > 1:
            in_file[file] -= 1
            left -= took
            found.append(name)
    return sorted(found)
