"""Charts for engineers: figures stand where they belong, and a file of them runs nothing."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from payloads import PAYLOADS, renamed
from test_cli import run
from test_report import golden
from tokenfleet import Plan, SchemaError
from tokenfleet.explanation.rows import SweepPoint
from tokenfleet.report.figures import plan as of_plan
from tokenfleet.report.figures import points as of_points
from tokenfleet.report.figures import sweep as of_sweep
from tokenfleet.report.figures.file import plotted
from tokenfleet.report.page.panel import Axis, Mark, Panel, Series

ROOT = Path(__file__).parent.parent
SVG = "{http://www.w3.org/2000/svg}"
TINY = {
    "name": "tiny",
    "workloads": [
        {
            "id": "chat",
            "model": "llama-3.1-8b",
            "classes": [{"id": "turn", "share": 1.0, "input_tokens": 500, "output_tokens": 100}],
            "slos": [{"metric": "ttft", "percentile": "p95", "limit_ms": 1000}],
            "demand": {"requests_per_s": 20, "peak_to_mean": 2, "peak_hours_per_day": 6},
        }
    ],
    "sites": [
        {"id": "hall", "region": "eu", "power_kw": 100, "power_basis": "it", "cooling": ["air"]}
    ],
    "systems": ["h100_sxm_8", "h200_sxm_8"],
    "offers": [
        {"id": "h100", "system": "h100_sxm_8", "kind": "buy"},
        {"id": "h200", "system": "h200_sxm_8", "kind": "rent", "term_years": 3},
    ],
}


def circles(drawing: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawing)]


# Panels


def test_points_stand_at_their_figures() -> None:
    """720 px: the axes leave 62 px at the left, 22 at the right, 26 above 190 of height."""
    panel = Panel("t", "x", "y", (Series("a", ((0.0, 0.0), (5.0, 50.0), (10.0, 100.0)), "s0"),))
    assert circles(panel.draw(720)) == [(62.0, 216.0), (380.0, 121.0), (698.0, 26.0)]
    decades = Series("a", ((1.0, 1.0), (10.0, 10.0), (1000.0, 1000.0)), "s0")
    log = Panel("t", "x", "y", (decades,), x=Axis(log=True), y=Axis(log=True))
    (_, middle, _) = circles(log.draw(720))
    assert middle == pytest.approx((62 + 636 / 3, 216 - 190 / 3), abs=0.05)
    marked = Panel("t", "x", "y", panel.series, (Mark(7.5, "here"),)).draw(720)
    assert 'x1="539" x2="539"' in marked and ">here<" in marked


def test_what_is_no_figure_is_left_out() -> None:
    inf, nan = float("inf"), float("nan")
    odd = Series("a", ((1.0, nan), (2.0, inf), (0.0, 3.0), (4.0, 5.0)), "s0")
    assert len(circles(Panel("t", "x", "y", (odd,)).draw(720))) == 2
    log = Axis(log=True)
    assert len(circles(Panel("t", "x", "y", (odd,), x=log).draw(720))) == 1  # 0 has no logarithm
    assert Panel("t", "x", "y", (Series("a", ((1.0, nan),), "s0"),)).draw(720) == ""
    for low, high in ((0.0, 0.0), (5.0, 5.0), (-3.0, -3.0), (1e-12, 1e12), (-1.0, 1e200)):
        line = Series("a", ((low, low), (high, high)), "s0")
        for place in circles(Panel("t", "x", "y", (line,)).draw(340)):
            assert 62 <= place[0] <= 318 and 26 <= place[1] <= 216


def test_a_staircase_is_what_no_other_point_beats() -> None:
    """Against every pair of points, for ties as well."""
    rng = random.Random(7)
    for _ in range(50):
        points = [(float(rng.randint(1, 9)), float(rng.randint(1, 9))) for _ in range(12)]
        steps = list(of_points.staircase(points))
        best = {
            p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)
        }
        assert best <= set(steps)
        corners = {(b[0], a[1]) for a, b in itertools.pairwise(sorted(best))}
        assert set(steps) == best | corners


# What is drawn


def test_a_front_has_a_colour_for_each_system() -> None:
    front = {
        "workload": ["w"] * 3 + ["v"],
        "class": ["c"] * 4,
        "system": ["a", "b", "b", "a"],
        "cost_per_mtok_output_usd": [3.0, 2.0, 1.0, 4.0],
        "tpot_p99_ms": [10.0, 20.0, 40.0, 5.0],
        "ttft_p99_ms": [100.0, 300.0, 200.0, 50.0],
    }
    first, second, *others = of_points.figures(front)
    assert len(others) == 2  # the other workload
    assert [s.name for s in first.series] == ["", "b", "a"]
    assert first.series[1].points == ((20.0, 2.0), (40.0, 1.0))
    assert first.series[0].points[::2] == ((10.0, 3.0), (20.0, 2.0), (40.0, 1.0))
    # 300 ms at 2 USD is beaten by 200 ms at 1 USD
    assert (300.0, 2.0) not in second.series[0].points


def test_the_day_is_the_plans() -> None:
    """The enterprise is busy for 6 of 24 hours; power and load are the plan's own figures."""
    plan = golden("enterprise")
    power, load, requests = of_plan.figures(plan)
    assert [block.hours for block in power.blocks] == [2190.0, 6570.0]  # type: ignore[attr-defined]
    for b, block in enumerate(power.blocks):  # type: ignore[attr-defined]
        drawn = sum(site.drawn_kw_by_block[b] for site in plan.sites)
        assert sum(amount for amount, _ in block.parts) == pytest.approx(drawn)
        served = sum(r.requests_per_s[b] for r in plan.routing if r.role != "prefill")
        of = requests.blocks[b]  # type: ignore[attr-defined]
        assert sum(amount for amount, _ in of.parts) == pytest.approx(served)
    a100 = next(s for s in load.series if s.name == "A100 SXM 80GB")  # type: ignore[attr-defined]
    rows = [r for r in plan.replicas if r.system == "a100_sxm_8"]
    gpus = sum(r.count * r.gpus for r in rows)
    shares = [sum(r.load_by_block[b] * r.count * r.gpus for r in rows) / gpus for b in (0, 1)]
    assert [x for x, _ in a100.points] == [0.0, 6.0, 6.0, 24.0]
    assert [y for _, y in a100.points] == pytest.approx([shares[0]] * 2 + [shares[1]] * 2)


def point(factors: dict[str, float], usd: float | None, changed: bool = False) -> SweepPoint:
    return SweepPoint(
        factors=factors, feasible=usd is not None, objective_value=usd, bound=usd,
        annual_cost_usd=usd, cost_per_mtok_output_usd=usd, gpus=8, systems={},
        mix_changed=changed, how="re-solved and proven",
    )  # fmt: skip


def test_a_sweep_marks_where_the_mix_changes() -> None:
    rows = [point({"demand": 1.0}, 5.0), point({"demand": 2.0}, 9.0, True),
            point({"demand": 3.0}, None)]  # fmt: skip
    cost, _ = of_sweep.figures(rows)
    assert cost.series[0].points == ((1.0, 5.0), (2.0, 9.0))
    assert [mark.x for mark in cost.marks] == [2.0]
    two = [point({"tariff": t, "demand": d}, t * d) for t in (1.0, 2.0) for d in (1.0, 2.0)]
    lines, _ = of_sweep.figures(two)
    assert [s.points for s in lines.series] == [((1.0, 1.0), (2.0, 2.0)), ((1.0, 2.0), (2.0, 4.0))]


# Files


def parsed(data: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(data.decode())


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_file_is_a_drawing_and_nothing_else(payload: str) -> None:
    plan = renamed(golden("enterprise"), payload)
    root = parsed(plotted(of_plan.figures(plan), plan.name))
    kinds = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert kinds <= {"svg", "style", "rect", "text", "g", "line", "polyline", "circle"}
    for element in root.iter():
        assert not any("href" in name or name.startswith("on") for name in element.attrib)


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(SchemaError, match="nothing to draw"):
        plotted([], "x")


def test_commands_draw(tmp_path: Path) -> None:
    own, plan = tmp_path / "own.yaml", tmp_path / "plan.json"
    own.write_text(json.dumps(TINY))
    commands: list[tuple[Any, ...]] = [
        ("plan", own, "-o", plan, "--verify", "none"),
        ("report", plan),
        ("search", own, "--loads", "9"),
        ("sweep", own, "--vary", "demand=1,2"),
    ]
    for command in commands:
        file = tmp_path / f"{command[0]}.svg"
        done = run(*command, "--plot", file)
        assert done.returncode == 0, done.stderr
        assert parsed(file.read_bytes()).tag == f"{SVG}svg"
        again = run(*command, "--plot", file)
        assert again.returncode == 2 and "--force" in again.stderr
        done = run(*command, "--plot", tmp_path / "a.png", "--force")
        assert done.returncode == 2 and ".svg" in done.stderr
    assert (tmp_path / "plan.svg").read_bytes() == (tmp_path / "report.svg").read_bytes()
    assert Plan.load(plan).name == "tiny"
    redacted = tmp_path / "redacted.svg"
    assert run("report", plan, "--plot", redacted, "--redact").returncode == 0
    assert "hall" not in redacted.read_text()
    assert run("report", plan).returncode == 2
