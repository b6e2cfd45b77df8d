"""What the model says of measured runs.

One specification holds every system and workload of the runs, so that other constants mean other
kernels and nothing else (`Predictor.with_constants`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tokenfleet._core import Space, closed_loop, pool_loop, throughput
from tokenfleet.backtest.power import system_watts, watts_per_accelerator
from tokenfleet.backtest.run import LatencyLimits, Run, Tokens
from tokenfleet.calibration.maturity import log_as_installed, log_step_time
from tokenfleet.catalog import Catalog
from tokenfleet.points import rates
from tokenfleet.points.rates import Layout
from tokenfleet.problem.hardware import core_kernels
from tokenfleet.problem.specification import (
    Specification,
    build_specification,
    kernels_used,
)
from tokenfleet.scenario.load import load_scenario
from tokenfleet.schema.formats import KV_BYTES, PLANNED

_KV = tuple(KV_BYTES)
_MS = 1e3
# Sequences that an engine holds by default (vLLM max_num_seqs); low-rate runs do not reach it.
_OPEN_BATCH = 256
_ANY_BATCH = 1 << 20
# A server's batch is what its operator found best: halvings of the largest are tried.
_HALVINGS = 8
_NO_LAYOUT = "no layout that fits, or no kernel figure for its formats"

Shape = tuple[str, Tokens, Tokens, LatencyLimits | None]  # model, prompts, answers, limits


class Predictor:
    """Predicts runs. Those that cannot be predicted are in `reasons`, by position."""

    def __init__(self, catalog: Catalog, runs: Sequence[Run]) -> None:
        self.catalog = catalog
        self.reasons: dict[int, str] = {}
        self._runs = tuple(runs)
        self._missing = {
            s: missing
            for s in {x.system for r in runs for x in r.layouts}
            if (missing := catalog.missing_figures(s, hosted=True))
        }
        self._systems = sorted(
            {x.system for r in runs for x in r.layouts if x.system not in self._missing}
        )
        self._shapes = sorted({_shape(r) for r in runs}, key=repr)
        self._position = {shape: w for w, shape in enumerate(self._shapes)}
        self._known_axes: dict[tuple[int, Layout], tuple[int, ...] | None] = {}
        self._specification = self._build()
        self._core = Space(json.dumps(self._specification.data))
        self.layouts = [self._choose(i, run) for i, run in enumerate(self._runs)]

    def with_constants(self, values: Mapping[tuple[str, str], float]) -> list[dict[str, float]]:
        """Predictions with other constants (by name and engine), in the order of the runs.

        Runs that cannot be predicted have none; layouts stay those chosen at the catalog's own.
        """
        constants = [(name, engine, value) for (name, engine), value in values.items()]
        kernels = self.catalog.kernels.with_constants(constants)
        catalog = replace(self.catalog, kernels=kernels)
        engines = [e["id"] for e in self._specification.data["engines"]]
        kernels_of, _ = core_kernels(catalog, self._systems, engines)
        return self._rates(self._core.with_kernels(json.dumps(kernels_of)))

    def predict(self) -> list[dict[str, float]]:
        """Predictions at the catalog's constants."""
        found = self._rates(self._core)
        for i, one in enumerate(found):
            if one and self._runs[i].kind == "closed" and "watts" in self._runs[i].measured:
                one["watts"] = self._watts(self._runs[i], self.layouts[i])
            if not one and i not in self.reasons:
                self.reasons[i] = "the model says that this load is above capacity"
        return found

    def inherited(self, run: Run, layout: Layout) -> dict[str, str]:
        """Kernel figures this layout takes from a relative or another format, with whose."""
        notes = self._specification.inherited.notes.get((layout.system, layout.engine), {})
        w = self._position[_shape(run)]
        ranks = (layout.tp, layout.attention_dp)
        used = kernels_used(self._specification, w, layout.precision, layout.kv, ranks)
        return {what: whom for what, whom in notes.items() if what in used}

    def _rates(self, core: Space) -> list[dict[str, float]]:
        return [
            self._rate(core, run, layout) or {} if layout else {}
            for run, layout in zip(self._runs, self.layouts, strict=True)
        ]

    def _build(self) -> Specification:
        data = {
            **rates.plain_scenario([]),
            "workloads": [_workload(f"w{i:05}", s) for i, s in enumerate(self._shapes)],
            "speculation": self._speculation(),
        }
        return build_specification(load_scenario(data, catalog=self.catalog), self._systems)

    def _speculation(self) -> list[dict[str, Any]]:
        """Models that draft in any run, each with its own heads."""
        deepest: dict[str, int] = {}
        for layout in (x for run in self._runs for x in run.layouts if x.speculative_depth):
            most = max(deepest.get(layout.model, 0), layout.speculative_depth)
            deepest[layout.model] = most
        return [
            {"model": model, "max_depth": depth, "method": "mtp"}
            for model, depth in sorted(deepest.items())
        ]

    def _choose(self, position: int, run: Run) -> Layout | None:
        """The layout that serves most of those that a row allows; None, with a reason, for none."""
        missing = self._missing.get(run.layouts[0].system)
        if missing:
            system = run.layouts[0].system
            self.reasons[position] = f"catalog row {system}: no figure for {', '.join(missing)}"
            return None
        if run.kind == "open":
            return self._that_runs(position, run)
        best: tuple[float, Layout] | None = None
        for layout in run.layouts:
            found = self._rate(self._core, run, layout)
            if found and (best is None or found.get("tokens_s_gpu", 0.0) > best[0]):
                best = (found.get("tokens_s_gpu", 0.0), layout)
        if best is None:
            self.reasons[position] = _NO_LAYOUT
            return None
        return best[1]

    def _that_runs(self, position: int, run: Run) -> Layout | None:
        """An open run's layout; None, with a reason, where not even one request runs on it."""
        layout = run.layouts[0]
        axes = self._axes(run, layout)
        one = replace(run, load=1.0)
        if axes is None or _closed(self._core, axes, _degrees(layout), one) is None:
            self.reasons[position] = _NO_LAYOUT
            return None
        return layout

    def _rate(self, core: Space, run: Run, layout: Layout) -> dict[str, float] | None:
        """Predicted figures; None where the layout is none, or the load above capacity."""
        if run.kind == "open":
            return self._open(run, layout)
        if run.kind == "power" and run.load == 0.0:
            return {"watts": system_watts(self.catalog, run, None)}
        axes = self._axes(run, layout)
        if axes is None:
            return None
        degrees = _degrees(layout)
        if run.kind == "closed":
            pools = run.pools is not None
            return (
                self._pools(core, run, layout) if pools else self._one_pool(core, axes, run, layout)
            )
        served = _most(core, axes, degrees, run, layout)
        if served is not None and run.kind == "power":
            return {"watts": system_watts(self.catalog, run, served)}
        return None if served is None else {"tokens_s_gpu": served}

    def _one_pool(
        self, core: Space, axes: Sequence[int], run: Run, layout: Layout
    ) -> dict[str, float] | None:
        """Figures at the engine version that a run states, without a vendor's own kernels if so.

        Steps alone: first tokens of such runs are as often below the model's as above.
        """
        found = _closed(core, axes, _degrees(layout), run)
        if found is None:
            return None
        vendor = self.catalog.system(layout.system).vendor
        routed = self.catalog.model(layout.model).is_moe
        general = log_as_installed(vendor, routed=routed) if run.as_installed else 0.0
        step = math.exp(general + log_step_time(layout.engine, run.version))
        after = {"ttft": found["ttft"], "tpot": found["tpot"] * step}
        slower = _request_ms(run, after) / _request_ms(run, found)
        return {**after, "tokens_s_gpu": found["tokens_s_gpu"] / slower}

    def _watts(self, run: Run, layout: Layout | None) -> float:
        """Watts of an accelerator at the tokens/s measured, as a share of the most it could do."""
        assert layout is not None
        axes = self._axes(run, layout)
        assert axes is not None
        most = throughput(self._core, axes, _degrees(layout), _ANY_BATCH)
        assert most is not None
        share = run.measured["tokens_s_gpu"] / most["output_tokens_per_s_gpu"]
        return watts_per_accelerator(self.catalog, layout.system, share)

    def _pools(self, core: Space, run: Run, layout: Layout) -> dict[str, float] | None:
        """Figures of a pool that reads prompts and one that answers on this layout."""
        assert run.pools is not None
        axes = self._axes(run, run.pools.prefill), self._axes(run, layout)
        if axes[0] is None or axes[1] is None:
            return None
        prefill = axes[0], _degrees(run.pools.prefill), run.pools.prefill_workers
        decode = axes[1], _degrees(layout), run.pools.decode_workers
        load = (run.load, run.input.mean, run.output.mean)
        found = pool_loop(core, prefill, decode, load)
        if found is None:
            return None
        return _figures(found)

    def _open(self, run: Run, layout: Layout) -> dict[str, float] | None:
        lengths = rates.TypicalRequest(run.input.mean, run.output.mean)
        found = rates.open_loop(self.catalog, layout, _OPEN_BATCH, run.load, lengths)
        return None if found is None else {"ttft": found.ttft_ms, "tpot": found.tpot_ms}

    def _axes(self, run: Run, layout: Layout) -> tuple[int, ...] | None:
        """Positions on the axes of the run's workload; None for a precision nobody computes."""
        w = self._position[_shape(run)]
        if (w, layout) not in self._known_axes:
            self._known_axes[w, layout] = self._find_axes(w, layout)
        return self._known_axes[w, layout]

    def _find_axes(self, w: int, layout: Layout) -> tuple[int, ...] | None:
        data = self._specification.data
        workload = data["workloads"][w]
        precisions = [data["precisions"][p]["id"] for p in workload["precisions"]]
        engines = [e["id"] for e in data["engines"]]
        if layout.precision not in precisions or layout.engine not in engines:
            return None
        return (
            w,
            self._systems.index(layout.system),
            engines.index(layout.engine),
            precisions.index(layout.precision),
            _KV.index(layout.kv),
            layout.speculative_depth,
        )


def _request_ms(run: Run, times: Mapping[str, float]) -> float:
    return times["ttft"] + max(run.output.mean - 1.0, 0.0) * times["tpot"]


def _degrees(layout: Layout) -> tuple[int, int, int, int]:
    return (layout.tp, layout.pp, layout.ep, layout.attention_dp)


def _closed(
    core: Space, axes: Sequence[int], degrees: Sequence[int], run: Run
) -> dict[str, float] | None:
    found = closed_loop(core, axes, degrees, (run.load, run.input.mean, run.output.mean))
    return None if found is None else _figures(found)


def _figures(found: Any) -> dict[str, float]:
    """What a closed loop shows, times in ms."""
    return {
        "ttft": found["ttft_s"] * _MS,
        "tpot": found["tpot_s"] * _MS,
        "tokens_s_gpu": found["output_tokens_per_s_gpu"],
    }


def _most(
    core: Space, axes: Sequence[int], degrees: Sequence[int], run: Run, layout: Layout
) -> float | None:
    """The most output tokens/s/GPU of a layout."""
    at = run.at
    limit = (at.batch_per_rank or _ANY_BATCH) * layout.attention_dp
    requests = max(at.requests_per_gpu * layout.gpus, 1.0)
    if at.limits is None:
        found = throughput(core, axes, degrees, limit, reserved=at.reserved, requests=requests)
        return found["output_tokens_per_s_gpu"] if found else None
    whole = throughput(core, axes, degrees, limit)
    if whole is None:
        return None
    batches = {max(int(whole["sequences"]) >> i, 1) for i in range(_HALVINGS)}
    replicas = max(at.accelerators / layout.gpus, 1.0)
    rated = [
        throughput(core, axes, degrees, b, limited=True, replicas=replicas) for b in sorted(batches)
    ]
    able = [r["output_tokens_per_s_gpu"] for r in rated if r and r["utilisation"] > 0.0]
    return max(able, default=None)


def _shape(run: Run) -> Shape:
    return (run.layouts[0].model, run.input, run.output, run.at.limits)


def _workload(name: str, shape: Shape) -> dict[str, Any]:
    model, prompts, answers, limits = shape
    bounds = {"ttft": limits.ttft_ms, "tpot": limits.tpot_ms} if limits else {}
    request = {
        "id": "all",
        "share": 1.0,
        "input_tokens": prompts.schema(),
        "output_tokens": answers.schema(),
    }
    return {
        "id": name,
        "model": model,
        "precisions": list(PLANNED),  # a run says which format it was measured in
        "classes": [request],
        "slos": [
            {"metric": m, "percentile": "p99", "limit_ms": x} for m, x in sorted(bounds.items())
        ],
        "demand": {"requests_per_s": 1.0},
    }
