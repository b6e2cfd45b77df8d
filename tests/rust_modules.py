"""Which modules of the core a module uses, by its paths: `use` trees, and those in its code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

Module = tuple[str, ...]

USE = re.compile(r"\b(pub(?:\([a-z]+\))? )?use\s+([^;]+);")
INLINE = re.compile(r"\b(?:crate|self|super)(?:::\w+)+")
# A module of tests inside a file ends at the first brace that stands at the start of a line.
TESTS = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))? )?mod \w+ \{.*?^\}", re.S | re.M)


def modules_in(source: Path) -> dict[Module, str]:
    """Text of every module below a source folder; `lib.rs` is the root, `()`."""
    found = {}
    for path in source.rglob("*.rs"):
        parts = path.relative_to(source).with_suffix("").parts
        found[parts[:-1] if parts[-1] in ("lib", "mod") else parts] = path.read_text()
    return found


def code_of(text: str) -> str:
    """A file's code without comments and without its unit tests, which may look at anything."""
    return re.sub(r"//.*", "", TESTS.sub("", text))


def leaves(tree: str) -> Iterator[str]:
    """Paths of a `use` tree: `a::{b, c::{d, e}}` names `a::b`, `a::c::d` and `a::c::e`."""
    prefix, brace, rest = tree.partition("{")
    if not brace:
        yield re.sub(r"\s+as\s+\w+", "", tree).strip()
        return
    depth, start = 0, 0
    inside = rest[: rest.rindex("}")] + ","
    for at, character in enumerate(inside):
        depth += (character == "{") - (character == "}")
        if character == "," and depth == 0:
            if part := inside[start:at].strip():
                yield from leaves(prefix.strip() + part)
            start = at + 1


def absolute(path: str, module: Module, modules: Mapping[Module, str]) -> Module:
    """A path as written in `module`, from the root of the crate; empty where it leads out of it."""
    head, *rest = path.split("::")
    if head == "crate":
        return tuple(rest)
    if head in ("self", "super"):
        base = module
        while head in ("self", "super") and rest:
            base = base[:-1] if head == "super" else base
            head, *rest = rest
        return (*base, head, *rest)
    return (*module, head, *rest) if (*module, head) in modules else ()


def paths(module: Module, modules: Mapping[Module, str]) -> Iterator[tuple[Module, bool]]:
    """Paths into the crate in a module's code, and whether each is only passed on (`pub use`)."""
    code = code_of(modules[module])
    for passed_on, tree in USE.findall(code):
        for leaf in leaves(tree):
            yield absolute(leaf, module, modules), bool(passed_on)
    for path in INLINE.findall(USE.sub("", code)):
        yield absolute(path, module, modules), False


def home(path: Module, modules: Mapping[Module, str]) -> Module:
    """The deepest module on a path."""
    return next(path[:n] for n in range(len(path), -1, -1) if path[:n] in modules)


def uses(modules: Mapping[Module, str]) -> dict[Module, set[Module]]:
    """Modules that each module (name to text) uses. A name that a parent only passes on is its
    maker's, and the root (`lib.rs`), which lists all, is nobody's need."""
    passed = {
        (*module, path[-1]): path
        for module in modules
        for path, passed_on in paths(module, modules)
        if path and passed_on
    }
    graph: dict[Module, set[Module]] = {}
    for module in modules:
        needed = (passed.get(p, p) for p, on in paths(module, modules) if p and not on)
        graph[module] = {home(path, modules) for path in needed} - {module, ()}
    return graph
