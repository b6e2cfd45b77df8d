"""The cache of evaluated spaces: equal answers with it and without."""

from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from scenarios import buy, hall
from tokenfleet import _core
from tokenfleet.cli.options import _without_cache
from tokenfleet.files import cache
from tokenfleet.problem import space_cache
from tokenfleet.problem.build import Built, build
from tokenfleet.scenario.load import load_scenario

Json = dict[str, Any]


def lengths(mean: float) -> Json:
    """A distribution about a mean."""
    shape = {"mean": 1.0, "p50": 0.8, "p90": 2.0, "p95": 2.5, "p99": 4.0, "max": 8.0}
    return {name: mean * part for name, part in shape.items()}


def scenario(*, site: Json | None = None, offer: Json | None = None, **workload: Any) -> Json:
    """One model on one system."""
    base = {
        "id": "chat",
        "model": "llama-3.3-70b",
        "classes": [
            {
                "id": "short",
                "share": 1.0,
                "input_tokens": lengths(800),
                "output_tokens": lengths(200),
            }
        ],
        "slos": [{"metric": "tpot", "percentile": "p95", "limit_ms": 60}],
        "demand": {"requests_per_s": 5},
    }
    return {
        "name": "cache",
        "objective": {"kind": "least_cost"},
        "systems": ["h100_sxm_8"],
        "engines": ["vllm"],
        "workloads": [{**base, **workload}],
        "sites": [hall(**site or {})],
        "offers": [buy(**offer or {})],
    }


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the cache, which takes small spaces too."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "spaces"))
    monkeypatch.setattr(space_cache, "LEAST", 0)
    return tmp_path / "spaces"


def built(data: Json) -> Built:
    return build(load_scenario(data))


def numbers(of: Built) -> list[Any]:
    """Everything that the search gives to the problem."""
    rows = [
        (c.id, c.workload, c.system, c.gpus, c.sites, c.role, c.pair, c.oddities, c.plainer, c.mix)
        for c in of.problem.candidates
    ]
    arrays = [(c.load.tolist(), c.energy_j.tolist(), c.label) for c in of.problem.candidates]
    return [rows, arrays, of.origins, {w: dict(c) for w, c in of.counts.items()}]


def never(*_: Any) -> None:
    raise AssertionError("searched again")


def test_the_problem_is_the_same_from_the_cache(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cache.VARIABLE, "")
    plain = numbers(built(scenario()))
    monkeypatch.setenv(cache.VARIABLE, str(kept))
    first = numbers(built(scenario()))
    assert [len(path.name) for path in kept.iterdir()] == [64]
    monkeypatch.setattr(_core, "CandidateSearch", never)
    assert numbers(built(scenario())) == first == plain


@pytest.mark.parametrize(
    "changed",
    [
        {"site": {"electricity_usd_per_kwh": 0.3}},
        {"site": {"power_kw": 90}},
        {"site": {"pue": 1.1}},
        {"offer": {"usd": 90_000}},
        {"demand": {"requests_per_s": 9}},
    ],
    ids=["tariff", "power", "pue", "price", "demand"],
)
def test_prices_and_limits_of_sites_do_not_search_again(
    kept: Path, monkeypatch: pytest.MonkeyPatch, changed: Json
) -> None:
    built(scenario())
    monkeypatch.setattr(_core, "CandidateSearch", never)
    assert built(scenario(**changed)).problem.candidates


@pytest.mark.parametrize(
    "changed",
    [
        {"slos": [{"metric": "tpot", "percentile": "p95", "limit_ms": 40}]},
        {"model": "qwen3-32b"},
    ],
    ids=["limit", "model"],
)
def test_what_the_evaluation_reads_searches_again(kept: Path, changed: Json) -> None:
    built(scenario())
    built(scenario(**changed))
    assert len(list(kept.iterdir())) == 2


def test_another_build_of_the_core_has_files_of_its_own(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(scenario())
    monkeypatch.setattr(space_cache, "_build", lambda: "another")
    built(scenario())
    assert len(list(kept.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "turned", "empty"])
def test_a_damaged_file_is_searched_anew_and_replaced(kept: Path, damage: str) -> None:
    first = numbers(built(scenario()))
    (path,) = kept.iterdir()
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-9], "turned": whole.replace(b"0.", b"1.", 1), "empty": b""}[damage]
    )
    assert numbers(built(scenario())) == first
    assert path.read_bytes() == whole


def test_small_spaces_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "spaces"))
    built(scenario())
    assert not (tmp_path / "spaces").exists()


def test_a_folder_that_cannot_be_made_is_no_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "below"))
    cache.remember("a", [1])
    assert cache.recall("a") is None


def test_the_files_used_last_are_kept(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST", 2)
    for age, name in enumerate("abc"):
        cache.remember(name, {"name": name})
        if (kept / name).exists():
            os.utime(kept / name, (1000 + age, 1000 + age))
        if name == "b":
            assert cache.recall("a") == {"name": "a"}  # used after b was
    assert sorted(path.name for path in kept.iterdir()) == ["a", "c"]


def _write(turn: int) -> None:
    cache.remember("shared", {"turn": turn, "filler": "x" * 200_000})


def test_processes_that_write_at_once_leave_one_whole_file(kept: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_write, range(8))
    found = cache.recall("shared")
    assert found["turn"] in range(8) and len(found["filler"]) == 200_000
    assert [path.name for path in kept.iterdir()] == ["shared"]


def test_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "tokenfleet"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard says to ignore it
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.folder() == tmp_path / "home" / ".cache" / "tokenfleet"
    monkeypatch.setattr(cache.sys, "platform", "darwin")
    assert cache.folder() == tmp_path / "home" / "Library" / "Caches" / "tokenfleet"


def test_no_cache_holds_for_processes_that_are_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "somewhere")
    _without_cache(False)
    assert cache.folder() == Path("somewhere")
    _without_cache(True)
    assert os.environ[cache.VARIABLE] == "" and cache.folder() is None


def test_what_is_kept_is_plain_json_below_its_checksum(kept: Path) -> None:
    built(scenario())
    (path,) = kept.iterdir()
    _, _, content = path.read_bytes().partition(b"\n")
    assert sorted(json.loads(content)) == ["counts", "kept"]
