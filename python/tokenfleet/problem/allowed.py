"""What may be used: the formats of a workload's weights, and a system's engines and formats."""

from __future__ import annotations

from tokenfleet.catalog import Catalog, SystemRow
from tokenfleet.schema import Scenario, Workload
from tokenfleet.schema.engines import ENGINES
from tokenfleet.schema.formats import NATIVE_FP4, PLANNED, WEIGHT_FORMATS


def planned_formats(scenario: Scenario, catalog: Catalog, workload: Workload) -> tuple[str, ...]:
    """Weight formats that a workload is planned in, in the core's order.

    They are those that it names; else those that its model is published in and those that the
    scenario has a quality score of, since whoever has measured the answers has the weights.
    Integers that others rounded to are left to whoever names or scores them: products with them
    run on kernels that were measured for other formats.
    """
    if workload.precisions is not None:
        return tuple(f for f in WEIGHT_FORMATS if f in workload.precisions)
    native = catalog.model(workload.model).native_precision
    scored = {q.precision for q in scenario.quality if q.model == workload.model}
    published = {
        f
        for f in catalog.published_formats(workload.model)
        if f == native or not WEIGHT_FORMATS[f].integer
    }
    return tuple(f for f in PLANNED if f in published | scored)


def unpublished_formats(
    scenario: Scenario, catalog: Catalog, workload: Workload
) -> tuple[str, ...]:
    """Weight formats, integers aside, that a workload is not planned in for want of weights that
    somebody has published, in the core's order; none where it names its formats."""
    if workload.precisions is not None:
        return ()
    planned = planned_formats(scenario, catalog, workload)
    return tuple(f for f in PLANNED if f not in planned and not WEIGHT_FORMATS[f].integer)


def runs_on(engine: str, system: SystemRow) -> bool:
    """Whether an engine supports the accelerator's vendor."""
    vendors = ENGINES[engine].vendors
    return vendors is None or system.vendor in vendors


def _products_in(system: SystemRow, precision: str) -> str | None:
    """Format that an accelerator's matrix products of a weight format compute in."""
    weights, native = WEIGHT_FORMATS[precision], NATIVE_FP4.get(system.vendor)
    if precision == native and system.fp4_tflops is not None:
        return "fp4"
    if weights.peak == "fp4" and precision != native:
        return None
    return weights.peak


def peak_tflops(system: SystemRow, precision: str) -> float | None:
    """Peak at which a weight format computes; None where it does not, or nobody says."""
    computed = _products_in(system, precision)
    if computed == "bf16":
        return system.wide_tflops
    value: float | None = None if computed is None else getattr(system, f"{computed}_tflops")
    return value


def achievable_tflops(system: SystemRow, precision: str) -> float | None:
    """What the vendor's library reaches in products of a weight format, where that is published."""
    published = {"bf16": system.bf16_achievable_tflops, "fp8": system.fp8_achievable_tflops}
    return published.get(_products_in(system, precision) or "")


def supports(system: SystemRow, precision: str) -> bool:
    """Whether the accelerator computes in a weight format, as far as the catalog knows."""
    return peak_tflops(system, precision) is not None


def computes_mxfp4(system: SystemRow) -> bool:
    """Whether mxfp4 is the accelerator's own four-bit format, and not only one of its weights."""
    return NATIVE_FP4.get(system.vendor) == "mxfp4" and system.fp4_tflops is not None
