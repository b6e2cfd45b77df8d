"""The solver that is installed, on small models whose optima are known, and silent.

`solver_models/*.mps` are mixes of this package that some HiGHS called optimal at a wrong value
(1.13 to 1.15 with presolve, by up to 41 times); `optima.json` has the values that SCIP, and HiGHS
without presolve, find. Whoever moves `highspy` in pyproject.toml sees here whether it can be
trusted; every wrong optimum that is met becomes a model.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pyscipopt import Model

from tokenfleet.mix.solver.silent import silent_highs

MODELS = Path(__file__).parent / "solver_models"
OPTIMA: dict[str, float] = json.loads((MODELS / "optima.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("presolve", ["on", "off"])
@pytest.mark.parametrize("name", OPTIMA)
def test_the_installed_solver_finds_the_optimum(name: str, presolve: str) -> None:
    solver = silent_highs({"mip_rel_gap": 0.0, "presolve": presolve, "random_seed": 0})
    solver.readModel(str(MODELS / name))
    solver.run()
    assert solver.modelStatusToString(solver.getModelStatus()) == "Optimal"
    assert solver.getInfo().objective_function_value == pytest.approx(OPTIMA[name], rel=1e-9)
    assert solver.getInfo().mip_dual_bound == pytest.approx(OPTIMA[name], rel=1e-9)


@pytest.mark.parametrize("name", OPTIMA)
def test_another_solver_agrees_on_the_optimum(name: str) -> None:
    judge = Model()
    judge.hideOutput()
    judge.readProblem(str(MODELS / name))
    judge.setParam("limits/gap", 0.0)
    judge.optimize()
    assert judge.getStatus() == "optimal"
    assert judge.getObjVal() == pytest.approx(OPTIMA[name], rel=1e-9)


@pytest.mark.parametrize("name", OPTIMA)
def test_a_cutoff_keeps_the_plans_within_it_and_proves_that_there_is_none(name: str) -> None:
    """The search begins with cutoffs (`mix/search/stages`) and bounds are checked by one."""
    size = abs(OPTIMA[name])
    for cutoff in (OPTIMA[name] - 1e-3 * size, OPTIMA[name] + 1e-3 * size):
        solver = silent_highs({"mip_rel_gap": 0.0, "objective_bound": cutoff, "random_seed": 0})
        solver.readModel(str(MODELS / name))
        solver.run()
        status = solver.modelStatusToString(solver.getModelStatus())
        info = solver.getInfo()
        if cutoff < OPTIMA[name]:
            assert status == "Infeasible" or info.mip_dual_bound >= cutoff
        else:
            assert info.objective_function_value == pytest.approx(OPTIMA[name], rel=1e-9)


def test_every_model_has_its_optimum() -> None:
    assert sorted(OPTIMA) == sorted(path.name for path in MODELS.glob("*.mps"))


def test_the_solver_prints_nothing() -> None:
    """Not even a banner at the first solver of a process; C code bypasses Python's own output."""
    script = (
        "import pulp\n"
        "from tokenfleet.mix.solver.growing import GrowingLp\n"
        "from tokenfleet.mix.solver.highs import SolveOptions, run\n"
        "prob = pulp.LpProblem('two')\n"
        "x = prob.add_variable('x', 0, 4, 'Integer')\n"
        "prob += x\n"
        "prob += x >= 1.5\n"
        "lp = GrowingLp(prob, SolveOptions())\n"
        "assert lp.solve(1.0, warm=False).value == 1.5\n"
        "assert run(prob, SolveOptions()).value == 2\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("", "")
