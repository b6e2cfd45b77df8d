"""The number formats, once: of weights and of the KV cache.

A new format is a row here, its name in the core's order included. Formats without kernel figures
are known by name (a file may state them) and are never planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal


@dataclass(frozen=True)
class WeightFormat:
    """A format of weights.

    `weight_bytes` is bytes per weight, scales included, or None without kernel figures. `peak` is
    the format that its matrix products compute in, as in the catalog's `fp8_tflops`. `gemm_kernels`
    and `expert_kernels` name the measured kernels, preferred ones first. `native_to` is the vendor
    whose peak of that width is for this format. `experts_only`: published checkpoints of models
    with routed experts round those alone. `integer`: planned where the publisher's own weights are
    so, or where a workload names or scores it. `names` are other names of it in benchmarks and in
    checkpoints, in lower case.
    """

    id: str
    bits: int
    weight_bytes: float | None
    peak: str
    gemm_kernels: tuple[str, ...]
    expert_kernels: tuple[str, ...]
    native_to: str | None = None
    experts_only: bool = False
    integer: bool = False
    names: tuple[str, ...] = ()


_NAMES_OF_FP8 = (
    *("fbgemm_fp8", "fp8_dynamic", "fp8_static", "fp8_kv", "w8a8_fp8"),
    *("e4m3", "fp8_e4m3", "fp8_e4m3fn", "float8_e4m3fn"),
)

WEIGHT_FORMATS: Mapping[str, WeightFormat] = {
    f.id: f
    for f in (
        WeightFormat(
            "bf16",
            16,
            2.0,
            "bf16",
            ("bf16",),
            ("bf16",),
            names=("bfloat16", "fp16", "float16", "half"),
        ),
        # Published 8-bit checkpoints carry the scales of activations (static).
        WeightFormat("fp8", 8, 1.0, "fp8", ("fp8_static", "fp8"), ("fp8",), names=_NAMES_OF_FP8),
        WeightFormat(
            "fp8_block",
            8,
            1.0 + 4.0 / 128**2,  # a scale of 32 bits per 128 x 128 weights
            "fp8",
            ("fp8_block",),
            ("fp8_block",),
            names=("fp8_block_scales",),
        ),
        WeightFormat(
            "nvfp4",
            4,
            0.5 + 1.0 / 16,  # a scale of 8 bits per 16 weights
            "fp4",
            ("nvfp4",),
            ("nvfp4",),
            native_to="NVIDIA",
            names=("fp4", "modelopt_fp4"),
        ),
        # Weight-only (operands are widened to bf16) except on accelerators whose own four-bit
        # format it is; of four-bit products only nvfp4 was measured.
        WeightFormat(
            "mxfp4",
            4,
            0.5 + 1.0 / 32,  # a scale of 8 bits per 32 weights
            "bf16",
            ("nvfp4",),
            ("w4a16_mxfp4", "w4a8_mxfp4_mxfp8", "nvfp4"),
            native_to="AMD",
            experts_only=True,
            names=("w4a16_mxfp4", "w4a8_mxfp4_mxfp8"),
        ),
        # Integers are widened to 16 bits on the way in: products at the 16-bit peak, by the kernels
        # that were measured for 16 bits; experts by those that widen mxfp4.
        WeightFormat(
            "int4",
            4,
            0.5 + (2.0 + 0.5) / 128,  # a scale of 16 bits and a zero of 4 per 128 weights
            "bf16",
            ("bf16",),
            ("w4a16_mxfp4",),
            integer=True,
            names=("w4a16", "awq", "gptq", "awq-int4", "gptq-int4", "quantized.w4a16", "w4a16_awq"),
        ),
        WeightFormat(
            "int4_g32",
            4,
            0.5 + 2.0 / 32,  # a scale of 16 bits per 32 weights, symmetric
            "bf16",
            ("bf16",),
            ("w4a16_mxfp4",),
            integer=True,
        ),
    )
}
# Formats that can be planned, in the core's order, and bytes per element of a KV cache format.
PLANNED: Mapping[str, float] = {
    f.id: f.weight_bytes for f in WEIGHT_FORMATS.values() if f.weight_bytes is not None
}
KV_BYTES: Mapping[str, float] = {"bf16": 2.0, "fp8": 1.0}
# The four-bit format that a vendor's FP4 peak is for.
NATIVE_FP4: Mapping[str, str] = {
    f.native_to: f.id for f in WEIGHT_FORMATS.values() if f.native_to is not None
}

if TYPE_CHECKING:
    Precision = str
    KvPrecision = str
else:
    Precision = Literal[tuple(WEIGHT_FORMATS)]
    KvPrecision = Literal[tuple(KV_BYTES)]


def format_named(name: str) -> WeightFormat | None:
    """The format of a name as people write it ("bfloat16", "FP4"); None where it is none."""
    wanted = _plain(name)
    return next(
        (f for f in WEIGHT_FORMATS.values() if wanted in map(_plain, (f.id, *f.names))), None
    )


def _plain(name: str) -> str:
    """A format's name in lower case, as `torch.bfloat16` and `FP8-Block` are written."""
    return name.strip().casefold().removeprefix("torch.").replace("-", "_").replace(" ", "_")


def kv_beside(weights: str, kv: str) -> bool:
    """Whether a cache format has no fewer bits than the weights beside it."""
    return 8 * KV_BYTES[kv] >= WEIGHT_FORMATS[weights].bits
