"""The NumPy form that the benches time the core against works out the points of the core."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from tokenfleet import _core

BENCHES = Path(__file__).parents[1] / "benches"
LOADS = np.linspace(0.001, 0.985, 60)


def test_the_two_that_are_timed_work_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHES))
    bench, in_numpy = (importlib.import_module(name) for name in ("points", "points_numpy"))
    text, _ = bench.grid(100_000, bench.OFFERS, bench.LONG)
    spec, space = json.loads(text), _core.Space(text)
    classes = len(spec["workloads"][0]["classes"])
    curves = list(bench.curves_of(spec, space))
    for curve in curves[:: max(1, len(curves) // 24)]:
        rate = LOADS / curve.curve.one.load
        prices = np.full(len(rate), 2.5), np.full(len(rate), 0.08)
        core = _core.operating_points(space, curve.number // classes, curve.k, rate, *prices)
        assert core is not None
        for (name, ours), other in zip(
            core.items(), in_numpy.points(curve.curve, rate, *prices, 1024), strict=True
        ):
            np.testing.assert_allclose(other, ours, rtol=1e-8, err_msg=name)
