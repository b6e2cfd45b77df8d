"""What a run counts under: accelerator, engine, model, format, phase, load, provenance."""

from __future__ import annotations

from tokenfleet.backtest.run import Run
from tokenfleet.catalog import Catalog, names
from tokenfleet.points.rates import Layout

# Models and loads whose steps are the host's as much as the accelerator's.
HOST_BOUND = "small model, many requests"
_SMALL_PARAMS, _MANY_REQUESTS = 15e9, 256

_BANDS = (4, 16, 64, 256)
# Prompt tokens per answer token past which one phase takes most of the work.
_PREFILL, _DECODE = 4.0, 0.5


def regimes(catalog: Catalog, run: Run, layout: Layout, inherited: bool) -> dict[str, str]:
    """Regimes of a run on a layout, by name."""
    return {
        "loop": run.kind,
        "vendor": catalog.system(layout.system).vendor or "unknown",
        "host": _host(catalog, run, layout),
        "accelerator": layout.system,
        "engine": layout.engine,
        "model": layout.model,
        "family": names.family(catalog.model(layout.model)),
        "precision": layout.precision,
        "generation": names.generation(catalog.system(layout.system)),
        "phase": _phase(run.input.mean / run.output.mean),
        "concurrency": _band(run.load) if run.kind == "closed" else run.kind,
        "provenance": "inherited" if inherited else "calibrated",
    }


def _host(catalog: Catalog, run: Run, layout: Layout) -> str:
    small = catalog.model(layout.model).total_params < _SMALL_PARAMS
    many = run.kind == "closed" and run.load > _MANY_REQUESTS
    return HOST_BOUND if small and many else "other"


def _phase(ratio: float) -> str:
    if ratio >= _PREFILL:
        return "prefill-heavy"
    return "decode-heavy" if ratio <= _DECODE else "mixed"


def _band(concurrency: float) -> str:
    low = 1
    for high in _BANDS:
        if concurrency <= high:
            return f"{low}-{high}"
        low = high + 1
    return f"{low}+"
