"""The house stays walkable: imports make no circle, and only one room of the core knows Python."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

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


def test_only_one_room_of_the_core_knows_python() -> None:
    for path in (ROOT / "src").rglob("*.rs"):
        if (ROOT / "src" / "python") not in path.parents:
            text = path.read_text()
            assert "pyo3" not in text and "numpy" not in text, path


def test_the_model_and_its_check_share_nothing() -> None:
    assert not any(name.startswith("tokenfleet.mix") for name in imported(PACKAGE / "verify.py"))
