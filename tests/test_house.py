"""The house stays walkable: imports make no circle, and only one room of the core knows Python."""

from __future__ import annotations

import ast
import itertools
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from rust_modules import Module, modules_in, uses
from tokenfleet import problem_data
from tokenfleet.mix.model import index

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "tokenfleet"


def module_name(path: Path) -> str:
    """Dotted name of a file of the package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for p in PACKAGE.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports when it is loaded."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in inside}
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


def test_rooms_make_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if name != "tokenfleet":
            used = {room(other) for other in imported(path) if other != "tokenfleet"}
            graph.setdefault(room(name), set()).update(used - {room(name)})
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_the_root_has_five_files() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 5


LABELS = {
    name: kind
    for module in (problem_data, index)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
}


def test_labels_of_two_kinds_are_never_equal() -> None:
    """Tuples of equal content are equal, so each kind ends with a tag that no other has."""
    assert len(LABELS) > 20
    tags = {name: _same(kind)[-1] for name, kind in LABELS.items()}
    assert len(set(tags.values())) == len(tags)
    for one, other in itertools.combinations(LABELS.values(), 2):
        assert _same(one) != _same(other)
    assert len({_same(kind): name for name, kind in LABELS.items()}) == len(LABELS)


def _same(kind: type) -> tuple[object, ...]:
    """A label whose every number is 1."""
    given = [name for name in kind._fields if name not in ("tag", "family")]
    return kind(**dict.fromkeys(given, 1))


def _is_label(node: ast.AST) -> bool:
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name in ("label", "la")


def _is_number(node: ast.AST) -> bool:
    return isinstance(getattr(node, "operand", node), ast.Constant) and not isinstance(
        getattr(getattr(node, "operand", node), "value", None), str
    )


def _knows_position(node: ast.AST) -> bool:
    """Whether it reads a label by position, takes one apart, or names a scope by its number."""
    if isinstance(node, ast.Subscript):
        return _is_label(node.value) and (
            isinstance(node.slice, ast.Slice) or _is_number(node.slice)
        )
    if isinstance(node, ast.Assign):
        return _is_label(node.value) and isinstance(node.targets[0], ast.Tuple)
    if isinstance(node, ast.Compare):
        by_scope = getattr(node.left, "attr", "") == "scope"
        return by_scope and any(map(_is_number, node.comparators))
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in LABELS:
        return any(isinstance(a, ast.UnaryOp) and _is_number(a) for a in node.args)
    return False


@pytest.mark.parametrize(
    "text",
    [
        "label[0] == 'f'",
        "row.label[-1]",
        "la[1:]",
        "_, b, p, c = label",
        "Replicas(-1, p, c)",
        "label.scope < 0",
    ],
)
def test_a_position_is_seen(text: str) -> None:
    assert any(map(_knows_position, ast.walk(ast.parse(text))))
    harmless = ast.parse("label.scope, label['engine'], Replicas(s, p, c)")
    assert not any(map(_knows_position, ast.walk(harmless)))


@pytest.mark.parametrize("folder", ["python/tokenfleet", "tests", "benches"])
def test_nobody_knows_the_positions_of_a_label(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        if path != Path(__file__) and path.name != "index.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            assert not [node.lineno for node in nodes if _knows_position(node)], path
