"""`pytest -m fast`: the tests for the loop at the desk, all but those that `slow.txt` lists.

A test is fast unless it is listed there, by its name without parameters or by its file; so a new
one is fast until somebody measures. `pytest --write-slow` runs every test and lists anew those that
take longest, until the rest takes `FAST_SECONDS`; with `-m fast` it runs only those that are fast
so far, and the list grows. What is counted is the time of the processor, also of child processes,
so that a busy machine writes the same list.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SLOW = Path(__file__).parent / "slow.txt"
FAST_SECONDS = 55.0  # of one core: with start and collection, under a minute on two
_USED = "processor_s"
_CLOCK = pytest.StashKey[float]()
FILE_SECONDS = 2.0  # a file whose tests share a start of more than this is slow as a whole
_seconds: Counter[str] = Counter()  # of each test, without what it sets up
_start: Counter[str] = Counter()  # of each file: what its tests set up
os.environ["TOKENFLEET_CACHE"] = ""  # nothing of an earlier run, here and in processes of tests


def _name(nodeid: str) -> str:
    return nodeid.split("[", maxsplit=1)[0].rsplit("/", 1)[-1]


def _file(name: str) -> str:
    return name.partition("::")[0]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-slow", action="store_true", help="measure, and list the slow tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file that is slow as a whole is not even read for the fast tests."""
    return True if config.getoption("-m") == "fast" and collection_path.name in _slow() else None


@cache
def _slow() -> frozenset[str]:
    return frozenset(SLOW.read_text(encoding="utf-8").split())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = _slow()
    for item in items:
        name = _name(item.nodeid)
        item.add_marker("slow" if name in slow or _file(name) in slow else "fast")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Each report takes along the time of the processor since the one before it."""
    report = yield
    used, item.config.stash[_CLOCK] = item.config.stash[_CLOCK], sum(os.times()[:4])
    report.user_properties = [(_USED, item.config.stash[_CLOCK] - used)]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    used = dict(report.user_properties).get(_USED, 0.0)
    name = _name(report.nodeid)
    if report.when == "setup":
        _start[_file(name)] += used
    _seconds[name] += used if report.when == "call" else 0.0


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_CLOCK] = sum(os.times()[:4])


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--write-slow") and not hasattr(session.config, "workerinput"):
        only_fast = session.config.getoption("-m") == "fast"
        found = {*(_slow() if only_fast else ())}
        found.update(slow_ones(_seconds, _start))
        SLOW.write_text("".join(f"{name}\n" for name in sorted(found)), encoding="utf-8")


def slow_ones(seconds: Counter[str], start: Counter[str]) -> list[str]:
    """Files with a long start, then the longest tests, until `FAST_SECONDS` are left."""
    found = [file for file, took in start.items() if took > FILE_SECONDS]
    rest = Counter({name: took for name, took in seconds.items() if _file(name) not in found})
    left = sum(rest.values()) + sum(took for file, took in start.items() if file not in found)
    for name, took in rest.most_common():
        if left <= FAST_SECONDS:
            break
        left -= took
        found.append(name)
    return found
