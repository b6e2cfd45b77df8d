"""Calibrated operator parameters and engine overheads, as data.

The fits express times against the peaks they were made with: multiply shares by
`Accelerator.peaks`, not by the catalog's figures, where the two differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

Fit = Mapping[str, Any]


@dataclass(frozen=True)
class EngineKernels:
    """Fits of one engine on one accelerator, by dtype or rank count; a missing key has no fit."""

    gemm: Mapping[str, Fit]
    moe: Mapping[str, Fit]
    decode_attention: Mapping[str, Fit]
    prefill_attention: Mapping[str, Fit]
    all_reduce: Mapping[int, Fit]


@dataclass(frozen=True)
class AcceleratorKernels:
    """Fits of one accelerator: by engine, and NCCL by operation and rank count."""

    peaks: Mapping[str, float | None]
    engines: Mapping[str, EngineKernels]
    nccl: Mapping[str, Mapping[int, Fit]]


@dataclass(frozen=True)
class Kernels:
    """The kernel calibration."""

    source: str
    as_of: str
    accelerators: Mapping[str, AcceleratorKernels]
    engines: Mapping[str, Fit]
    multipliers: Mapping[str, float]
    units: Mapping[str, str]

    def with_constants(self, constants: Iterable[tuple[str, str, float]]) -> Kernels:
        """The same with these constants: name, engine (empty: of all), value."""
        engines = {engine: dict(own) for engine, own in self.engines.items()}
        multipliers = dict(self.multipliers)
        for name, engine, value in constants:
            (engines[engine] if engine else multipliers)[name] = value
        return replace(self, engines=engines, multipliers=multipliers)


def parse_kernels(data: Mapping[str, Any]) -> Kernels:
    """The content of `kernels.json`."""
    return Kernels(
        source=data["source"],
        as_of=data["as_of"],
        accelerators={k: _accelerator(v) for k, v in data["accelerators"].items()},
        engines=data["engines"],
        multipliers=data["multipliers"],
        units=data["units"],
    )


def _accelerator(data: Mapping[str, Any]) -> AcceleratorKernels:
    return AcceleratorKernels(
        peaks=data["peaks"],
        engines={k: _engine(v) for k, v in data["engines"].items()},
        nccl={op: _by_rank(fits) for op, fits in data["nccl"].items()},
    )


def _engine(data: Mapping[str, Any]) -> EngineKernels:
    return EngineKernels(
        gemm=data.get("gemm", {}),
        moe=data.get("moe", {}),
        decode_attention=data.get("decode_attention", {}),
        prefill_attention=data.get("prefill_attention", {}),
        all_reduce=_by_rank(data.get("all_reduce", {})),
    )


def _by_rank(fits: Mapping[str, Fit]) -> dict[int, Fit]:
    return {int(n): fit for n, fit in sorted(fits.items(), key=lambda item: int(item[0]))}
