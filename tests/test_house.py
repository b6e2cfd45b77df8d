"""The house stays walkable: imports make no circle, and only one room of the core knows Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from rust_modules import Module, modules_in, uses

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "tokenfleet"


def module_name(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for p in PACKAGE.rglob("*.py")}


def imported(path: Path, *, inside: bool = False) -> set[str]:
    """Modules of the package that a file imports when loaded; or `inside` its functions too."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if inside else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in below}
    return {name for name in names if name in MODULES}


def test_imports_make_no_circle() -> None:
    graph = {name: imported(path) - {name} for name, path in MODULES.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(MODULES)


def test_the_core_makes_no_circle() -> None:
    graph = uses(modules_in(ROOT / "src"))
    assert ("points", "search") in graph["points", "walk"]  # the paths are read
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


@pytest.mark.parametrize(
    "walk",
    [
        "use crate::points::stream::Search;",
        "use crate::{leaf::Leaf, points::{stream::{Found, Search as S}}};",
        "use super::stream::Search;",
        "use crate::points::Search; // which the parent passes on",
        "fn f() -> super::stream::Search { todo!() }",
    ],
)
def test_a_circle_of_the_core_is_seen(walk: str) -> None:
    made_up: dict[Module, str] = {
        (): "pub mod points; pub mod leaf;",
        ("leaf",): "pub struct Leaf;",
        ("points",): "pub mod stream; mod walk; pub use stream::Search;",
        ("points", "stream"): "use crate::points::walk::Walk; pub struct Search;",
        ("points", "walk"): walk,
    }
    with pytest.raises(CycleError):
        list(TopologicalSorter(uses(made_up)).static_order())
    harmless = f"use crate::leaf::Leaf; // {walk}\n#[cfg(test)]\nmod tests {{\n    {walk}\n}}\n"
    graph = uses({**made_up, ("points", "walk"): harmless})
    assert graph["points", "walk"] == {("leaf",)}
    assert list(TopologicalSorter(graph).static_order())


def test_only_one_room_of_the_core_knows_python() -> None:
    for path in (ROOT / "src").rglob("*.rs"):
        if (ROOT / "src" / "python") not in path.parents:
            text = path.read_text()
            assert "pyo3" not in text and "numpy" not in text, path


def test_the_model_and_its_check_share_nothing() -> None:
    checks = [name for name in MODULES if name.startswith("tokenfleet.verify")]
    assert checks
    for name in checks:
        assert not any(used.startswith("tokenfleet.mix.model") for used in imported(MODULES[name]))
    judge = MODULES["tokenfleet.verify.mix"]
    assert not any(used.startswith("tokenfleet.mix") for used in imported(judge))


def room(name: str) -> str:
    """The room of a module: the folder below the package, or the file itself at the root."""
    return name.split(".")[1] if "." in name else name


def folder(name: str) -> str:
    """The folder of a module, at any depth; the file itself at the root."""
    parts = name.split(".")
    inner = parts if MODULES[name].name == "__init__.py" else parts[:-1]
    return ".".join(inner) if len(inner) > 1 else name


def between(part: Callable[[str], str], edges: Iterable[tuple[str, str]]) -> TopologicalSorter[str]:
    """The graph of the parts that modules belong to; the package's own front door left out."""
    graph: dict[str, set[str]] = {}
    for name, used in edges:
        if "tokenfleet" not in (name, used):
            graph.setdefault(part(name), set()).update({part(used)} - {part(name)})
    return TopologicalSorter(graph)


def edges(*, inside: bool = False) -> Iterator[tuple[str, str]]:
    """Each module beside each that it imports."""
    for name, path in MODULES.items():
        yield from ((name, used) for used in imported(path, inside=inside))


@pytest.mark.parametrize("part", [room, folder])
def test_rooms_make_no_circle(part: Callable[[str], str]) -> None:
    """Nor do the folders inside a room."""
    assert list(between(part, edges()).static_order())


# `Plan.report` and the picture of a plan in a notebook: the room that reads plans shows them.
SHOWN = ("tokenfleet.plan.rows", "tokenfleet.report.")


def test_an_import_inside_a_function_closes_no_circle_of_rooms() -> None:
    """But for a plan that is asked to show itself."""
    known = [e for e in edges(inside=True) if e[0] != SHOWN[0] or not e[1].startswith(SHOWN[1])]
    assert list(between(room, known).static_order())
    with pytest.raises(CycleError):
        list(between(room, edges(inside=True)).static_order())


def test_the_root_has_five_files() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 5


CODE_PATH = re.compile(r"[\w./-]*\w\.(?:py|rs)\b")
# Where a page's paths start: the repository, the package, the core, and its performance model.
BASES = ("", "python/tokenfleet", "src", "src/perf")
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_code_that_a_page_names_is_there(page: Path) -> None:
    for path in CODE_PATH.findall(page.read_text(encoding="utf-8")):
        assert any((ROOT / base / path).is_file() for base in BASES), path


def test_every_slow_test_exists() -> None:
    for name in (ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split():
        file, _, test = name.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not test or f"def {test.rsplit('::', 1)[-1]}(" in text, name


def test_one_feature_stands_in_eight_files() -> None:
    """The embodied-carbon budget, as `docs/extending.md` tells it."""
    told = re.findall(
        r"^\| `(python/tokenfleet/[^`]+)`", (ROOT / "docs/extending.md").read_text(), re.M
    )
    touched = {str(p.relative_to(ROOT)) for p in MODULES.values() if "embodied" in p.read_text()}
    assert len(touched) <= 8
    assert touched == set(told)


def test_fast_tests_cover_every_room() -> None:
    slow = set((ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split())
    asked = ""
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        names = re.findall(r"^    ?def (test_\w+)|^def (test_\w+)", text, re.MULTILINE)
        if any(f"{path.name}::{a or b}" not in slow for a, b in names):
            asked += text
    rooms = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert not {r for r in rooms if f"tokenfleet.{r}" not in asked} - {"examples"}
