"""Pages that show what commands print show what they print now; pieces of YAML load."""

from __future__ import annotations

import importlib.util
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tokenfleet.scenario.load import load_scenario

ROOT = Path(__file__).resolve().parents[1]
HOW_TO = (ROOT / "docs" / "howto.md").read_text(encoding="utf-8")
PIECES = re.findall(r"^## (… .*?)\n.*?(?=^## |\Z)", HOW_TO, re.MULTILINE | re.DOTALL)
BASE: dict[str, Any] = {
    "name": "how to",
    "workloads": [
        {
            "id": "chat",
            "model": "llama-3.1-8b",
            "classes": [{"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}],
            "demand": {"requests_per_s": 20},
        }
    ],
    "sites": [
        {"id": "hall", "region": "eu", "power_kw": 200, "power_basis": "it", "cooling": ["air"]}
    ],
}


def script(name: str) -> ModuleType:
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize("page", ["tutorial", "prices"])
def test_a_page_shows_what_its_commands_print(page: str) -> None:
    assert script("run_page").differences(ROOT / "docs" / f"{page}.md") == []


def test_a_difference_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    file = "```yaml\n# a.yaml\nx: 1\n```\n"
    body = file + "\n```console\n$ cat a.yaml; echo took 3 s\n# a.yaml\n{}\n{}\n```\n"
    page.write_text(body.format("x: 1", "took 4 s"))
    assert script("run_page").differences(page) == []
    page.write_text(body.format("x: 2", "took 4 s"))
    assert any(line == "-x: 2" for line in script("run_page").differences(page))
    page.write_text("```console\n$ seq 5\n1\n2\n…\n```\n")
    assert script("run_page").differences(page) == []


def test_every_piece_of_the_how_tos_loads() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", HOW_TO, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 12 and len(PIECES) > 18
    for block in blocks:
        load_scenario({**BASE, **yaml.safe_load(block)})


class _Links(HTMLParser):
    """Links, names and elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.links += [given["href"] or ""] if tag == "a" else []
        self.ids |= {given["id"] or ""} if "id" in given else set()


def test_the_site_is_whole(tmp_path: Path) -> None:
    """One command makes it; every link and every part of a page that a link names is there."""
    site = script("website").Site(tmp_path)
    site.write()
    found = {path: _Links() for path in tmp_path.rglob("*.html")}
    for path, page in found.items():
        page.feed(path.read_text(encoding="utf-8"))
    assert {p.name for p in (ROOT / "docs").glob("*.md")} == {
        p.with_suffix(".md").name.replace("index", "README") for p in (tmp_path / "docs").iterdir()
    }
    for path, page in found.items():
        assert not page.tags & {"script", "img", "iframe", "link", "object"}
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            file, _, part = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.is_file(), (path.name, link)
            assert not part or part in found[target].ids, (path.name, link)
