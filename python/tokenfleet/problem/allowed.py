"""What a system may use: the engines that run on it and the formats that it computes in."""

from __future__ import annotations

from tokenfleet.catalog import SystemRow
from tokenfleet.schema.engines import ENGINES
from tokenfleet.schema.formats import NATIVE_FP4, WEIGHT_FORMATS


def runs_on(engine: str, system: SystemRow) -> bool:
    """Whether an engine supports the accelerator's vendor."""
    vendors = ENGINES[engine].vendors
    return vendors is None or system.vendor in vendors


def peak_tflops(system: SystemRow, precision: str) -> float | None:
    """Peak at which a weight format computes; None where it does not, or nobody says."""
    weights, native = WEIGHT_FORMATS[precision], NATIVE_FP4.get(system.vendor)
    if precision == native and system.fp4_tflops is not None:
        return system.fp4_tflops
    if weights.peak == "fp4" and precision != native:
        return None
    if weights.peak == "bf16":
        return system.wide_tflops
    value: float | None = getattr(system, f"{weights.peak}_tflops")
    return value


def supports(system: SystemRow, precision: str) -> bool:
    """Whether the accelerator computes in a weight format, as far as the catalog knows."""
    return peak_tflops(system, precision) is not None


def computes_mxfp4(system: SystemRow) -> bool:
    """Whether mxfp4 is the accelerator's own four-bit format, and not only one of its weights."""
    return NATIVE_FP4.get(system.vendor) == "mxfp4" and system.fp4_tflops is not None
