"""Labels of columns and rows: no two kinds are equal, and only their module knows positions."""

from __future__ import annotations

import ast
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from problems import one_pool
from tokenfleet import problem_data
from tokenfleet.mix.model import index
from tokenfleet.mix.model.index import Scopes
from tokenfleet.problem_data import EVERY_BLOCK, Block, Pool, SiteData, only_block

ROOT = Path(__file__).parent.parent

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


def test_scopes_of_pools_by_hand() -> None:
    """A day, a night and an hour without site 1, at which one pool is bought and one on demand."""
    pools = (
        Pool("far", 0, "box", 8, 1.0, 0.0),
        Pool("bought", 1, "box", 8, 1.0, 0.0),
        Pool("on demand", 1, "box", 8, 1.0, 0.0, elastic=True),
    )
    problem = replace(
        one_pool([[1.0], [1.0], [1.0]]),
        blocks=(Block(5000.0), Block(3759.0), Block(1.0, lost_site=1)),
        sites=(SiteData("a"), SiteData("b")),
        pools=pools,
    )
    day, night, hour = only_block(0), only_block(1), only_block(2)
    assert [scope.blocks for scope in problem.scopes] == [(0, 1, 2), (0,), (1,), (2,)]
    assert [scope.hours for scope in problem.scopes] == [8760.0, 5000.0, 3759.0, 1.0]
    scopes = Scopes(problem)
    assert [scopes.up(p) for p in range(3)] == [[0, 1, 2], [0, 1], [0, 1]]
    assert [scopes.systems(p) for p in range(3)] == [[EVERY_BLOCK], [EVERY_BLOCK], [day, night]]
    assert scopes.systems_in(1, 2) == [EVERY_BLOCK]  # they stand, though their site is out
    assert scopes.systems_in(2, 1) == [night] and scopes.systems_in(2, 2) == []
    assert scopes.systems_over(0, hour) == [EVERY_BLOCK]
    assert scopes.systems_over(2, EVERY_BLOCK) == []
    assert scopes.replicas_in(1, 0) == EVERY_BLOCK and scopes.replicas_in(2, 0) == day
    assert [scopes.hours_up(p, EVERY_BLOCK) for p in range(3)] == [8760.0, 8759.0, 8759.0]
    assert scopes.finest([EVERY_BLOCK, night, day, night]) == [day, night]
    assert scopes.finest([EVERY_BLOCK]) == [EVERY_BLOCK] and scopes.finest([]) == []
    by_block = Scopes(replace(problem, relayout=True))
    assert [by_block.replicas(p) for p in (0, 1)] == [[day, night, hour], [day, night]]
    assert by_block.systems(0) == [EVERY_BLOCK]
