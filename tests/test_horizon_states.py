"""The states of a small fleet: what they choose costs what trying everything and SCIP say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import tokenfleet as tf
from horizon_brute import Brute, random_tree
from horizon_instance import EXACT, Instance
from tokenfleet.horizon import run
from tokenfleet.mix.horizon import measures, search
from tokenfleet.mix.horizon.combine import combined
from tokenfleet.mix.horizon.risk import Risk, set_risk
from tokenfleet.mix.horizon.solve import solve_horizon
from tokenfleet.mix.horizon.states import states_of
from tokenfleet.mix.model import FleetModel, build, frame_of, scale_limit
from tokenfleet.problem import build as build_scenario
from tokenfleet.problem.over_time import tree_of
from tokenfleet.problem_data import Horizon
from tokenfleet.scenario.load import load_scenario
from tokenfleet.verify.horizon import verify_horizon

ROOT = Path(__file__).parents[1]


def small(seed: int) -> dict[str, Any]:
    """A random tree in which nothing on demand shares the power of what stands there."""
    data = random_tree(seed)
    del data["power_kw"]
    return data


def model(data: dict[str, Any], risk: Risk | None = None) -> FleetModel:
    problem = combined("case", Instance(data).horizon())
    frame = frame_of(problem, scale_limit(problem), every_system=True)
    m = build(problem, frame=frame)
    set_risk(m, risk or Risk())
    return m


@pytest.mark.parametrize("seed", range(8))
def test_states_cost_what_trying_everything_costs(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW", 0)
    monkeypatch.setattr(search, "_whole", None)  # nothing but states may answer
    data = small(seed)
    assert states_of(model(data)) is not None
    horizon = Instance(data).horizon()
    result = solve_horizon("case", horizon, EXACT)
    assert result.status == "optimal"
    assert not verify_horizon(result.problem, result.values, result.npv_usd)
    data["power_kw"] = 1000.0
    assert result.npv_usd == pytest.approx(Brute(data).least(), rel=1e-7, abs=1e-6)


def risks(horizon: Horizon) -> list[Risk]:
    """Tails and the largest regret."""
    known = measures.wait_and_see(horizon, EXACT)
    tails = [Risk("cvar", weight, alpha) for weight, alpha in ((0.25, 0.8), (0.7, 0.5), (1.0, 0.5))]
    return [*tails, Risk("regret", least=known.least)]


@pytest.mark.parametrize("seed", range(8))
def test_states_know_risk(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer of the whole model, which `horizon_scip` compares with another."""
    data = small(seed)
    horizon = Instance(data).horizon()
    asked = risks(horizon)
    wanted = [solve_horizon("case", horizon, EXACT, risk).value for risk in asked]
    monkeypatch.setattr(search, "FEW", 0)
    for risk, value in zip(asked, wanted, strict=True):
        assert states_of(model(data, risk)) is not None
        result = solve_horizon("case", horizon, EXACT, risk)
        assert result.value - result.bound <= 1e-6
        assert not verify_horizon(result.problem, result.values, result.npv_usd)
        assert result.value == pytest.approx(value, rel=1e-7, abs=1e-6)


def test_equal_periods_of_the_enterprise_cost_what_its_year_costs() -> None:
    path = ROOT / "python" / "tokenfleet" / "examples" / "enterprise.yaml"
    data = yaml.safe_load(path.read_text("utf-8"))
    data["solver"] = {"gap": 1e-7, "time_limit_s": 60}
    year = tf.optimize_fleet(data)
    halves = {"start": "2026-10", "periods": ["2 half_years"]}
    plan = tf.optimize_fleet({**data, "horizon": halves})
    assert plan.proven
    assert plan.objective_value == pytest.approx(year.objective_value, rel=1e-9)
    assert plan.best_objective_value == pytest.approx(year.best_objective_value, rel=1e-9)


def test_a_year_that_is_better_brings_its_own_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tree's plan is a tenth dearer than its bound; the year's, repeated, is as good as it."""
    data = yaml.safe_load((ROOT / "examples" / "enterprise.yaml").read_text("utf-8"))
    data["confidence"] = "expected"  # where the year gives nothing up to be simpler
    found = run._solve

    def dear(*arguments: Any, **named: Any) -> Any:
        tree, result, rounds, risk = found(*arguments, **named)
        worse = replace(result, value=1.1 * result.value, status="feasible", gap=0.1)
        return tree, worse, rounds, risk

    monkeypatch.setattr(run, "as_proven", lambda *_: None)  # as where the year proves nothing
    monkeypatch.setattr(run, "_solve", dear)
    halves = {"start": "2026-10", "periods": ["2 half_years"]}
    plan = tf.optimize_fleet({**data, "horizon": halves})
    assert plan.proven and plan.gap is not None and plan.gap < 0.01


def test_the_enterprise_has_states() -> None:
    """Whatever its layouts are, nothing but systems links its periods."""
    built = build_scenario(load_scenario(ROOT / "examples" / "enterprise_horizon.yaml"))
    problem = combined("case", tree_of(built))
    m = build(problem, frame=frame_of(problem, scale_limit(problem), every_system=True))
    set_risk(m, Risk())
    states = states_of(m)
    assert states is not None
    assert len(states.operations) == 5
