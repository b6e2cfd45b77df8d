"""Systems and kernels as the core wants them: SI units, efficiencies times peaks, links in bytes/s.

A figure (a peak, a bandwidth, a power) is the catalog's or missing. An efficiency (a share of a
peak, a launch time) may be inherited from the nearest calibrated accelerator, and is then marked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tokenfleet.catalog import AcceleratorKernels, Catalog, SystemRow, require
from tokenfleet.catalog.kernels import Fit
from tokenfleet.problem.allowed import (
    achievable_tflops,
    computes_mxfp4,
    peak_tflops,
    runs_on,
    supports,
)
from tokenfleet.schema.formats import KV_BYTES, PLANNED, WEIGHT_FORMATS

_Value = TypeVar("_Value")

US = 1e-6
MS = 1e-3
BITS = 8.0
# Share of memory that engines give to weights and cache by default (vLLM gpu_memory_utilization).
MEM_FRACTION = 0.9
# mxfp4 experts with 8-bit activations. The fit of vLLM's table is the better one.
_WIDENED_MXFP4 = "w4a8_mxfp4_mxfp8"


@dataclass
class Inherited:
    """Efficiencies that were taken from a relative: system, engine → what, from whom."""

    notes: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)

    def add(self, system: str, engine: str, what: str, source: str) -> None:
        """Records one."""
        self.notes.setdefault((system, engine), {})[what] = source


def core_system(catalog: Catalog, row: SystemRow) -> dict[str, Any]:
    """The core's `System`. Power is per accelerator with its share of the host."""
    gpus = require(row, "gpus")
    watts = _power_w(catalog, row)
    out = row.scale_out_gbit_per_s_per_gpu
    return {
        "id": row.id,
        "gpus": gpus,
        "scale_up_domain": _domain(row),
        "mem_bytes": require(row, "mem_gb") * 1e9,
        "scale_out_bw": None if out is None else out * 1e9 / BITS,
        **{name: value / gpus for name, value in watts.items()},
    }


def _domain(row: SystemRow) -> int:
    """Accelerators that exchange at the scale-up rate.

    Where no link joins any but a rate is given, it is that of the server's own bus, and the bus
    joins them all. Over a link whose rate nobody published none is taken to exchange.
    """
    linked = int(require(row, "scale_up_domain"))
    if row.scale_up_gb_per_s_per_gpu is None:
        return 1
    bus = linked == 1
    return int(require(row, "gpus")) if bus else linked


def idle_kw(catalog: Catalog, row: SystemRow, *, liquid: bool | None = None) -> float:
    """IT power of an idle system, kW: sourced, or the share of its rating that B200 nodes show.

    Liquid cooling (by default the row's own) has no fans to turn, so its share is its own.
    """
    own_liquid = row.cooling is not None and "liquid" in row.cooling
    wanted = own_liquid if liquid is None else liquid
    if row.idle_kw is not None and wanted == own_liquid:
        return row.idle_kw
    return idle_share(catalog, wanted) * float(require(row, "system_kw"))


def idle_share(catalog: Catalog, liquid: bool) -> float:
    """Idle power as a share of a system's rating."""
    name = "idle_power_share_liquid" if liquid else "idle_power_share_air"
    return float(require(catalog.tco_row(name), "typical"))


def full_load_kw(catalog: Catalog, row: SystemRow, *, liquid: bool | None = None) -> float:
    """IT power of a system that serves as much as it can, kW."""
    share = float(require(catalog.tco_row("load_power_share"), "typical"))
    rating = float(require(row, "system_kw"))
    return idle_kw(catalog, row, liquid=liquid) + share * rating


def active_kw(catalog: Catalog, row: SystemRow, *, liquid: bool | None = None) -> float:
    """IT power of a system all of whose accelerators decode, be it for one sequence each, kW."""
    share = float(require(catalog.tco_row("active_power_share"), "typical"))
    idle = idle_kw(catalog, row, liquid=liquid)
    return idle + share * (full_load_kw(catalog, row, liquid=liquid) - idle)


def _power_w(catalog: Catalog, row: SystemRow) -> dict[str, float]:
    """Watts of a system: idle, as soon as it decodes, in prefill, and in decode with memory full.

    Without a rating (a hosted system) all are equal: no dynamic power is known, none is charged,
    and the plan says so. Decode at a full batch draws what prefill does: of the measured nodes the
    decode-heavy Llama-2-70B drew most (MLPerf v5.1 power).
    """
    names = ("idle_w", "active_w", "prefill_w", "decode_w")
    if row.system_kw is None:
        return dict.fromkeys(names, 1.0)
    full = full_load_kw(catalog, row)
    kw = (idle_kw(catalog, row), active_kw(catalog, row), full, full)
    return {name: 1e3 * x for name, x in zip(names, kw, strict=True)}


def core_kernels(
    catalog: Catalog,
    systems: Sequence[str],
    engines: Sequence[str],
    mem_fraction: float = MEM_FRACTION,
) -> tuple[list[dict[str, Any]], Inherited]:
    """The core's `kernels` of every engine on every system it supports, and what was inherited.

    `mem_fraction` is the share of memory that the engines may fill.
    """
    inherited = Inherited()
    kernels = [
        core_kernel(catalog, catalog.system(s), (i, j), e, inherited)
        | {"mem_fraction": mem_fraction}
        for i, s in enumerate(systems)
        for j, e in enumerate(engines)
        if runs_on(e, catalog.system(s))
    ]
    return kernels, inherited


def core_kernel(
    catalog: Catalog, row: SystemRow, indices: tuple[int, int], engine: str, inherited: Inherited
) -> dict[str, Any]:
    """The core's `Kernel` of a system and an engine; `indices` are theirs in the specification."""
    fits = _Fits(catalog, row, engine, inherited)
    overhead = catalog.kernels.engines[engine]
    scale = catalog.kernels.multipliers
    bw = row_bw(row)
    system, engine_index = indices
    return {
        "system": system,
        "engine": engine_index,
        "gemm": [fits.gemm(d) for d in PLANNED],
        "moe": [fits.moe(d) for d in PLANNED],
        "decode_attention": [fits.decode_attention(kv) for kv in KV_BYTES],
        "prefill_attention": [fits.prefill_attention(kv) for kv in KV_BYTES],
        "all_reduce": fits.all_reduce(),
        "all_to_all": fits.all_to_all(),
        "scale_out": fits.scale_out(),
        "elementwise_bw": bw * scale["linear_state_bw"],
        "scales": {
            "gemm": scale["decode_gemm"],
            "gemm_t0": overhead["gemm_t0_share"],
            "moe": scale["decode_moe"],
            "moe_t0": scale["decode_moe_t0"],
            "comm": scale["decode_comm"],
            "attention": scale["decode_attention"],
            "attention_t0": scale["decode_attention_t0"],
            "prefill_moe": scale["mixed_moe"],
            "prefill_comm": scale["mixed_comm"],
        },
        "layer_s": overhead["layer_us"] * US,
        "step_s": overhead["step_ms"] * MS,
        "index_s": scale["index_layer_us"] * US,
        "sequence_s": overhead["sequence_us"] * US,
        "sequence_half": overhead["sequence_half"],
        "interference": overhead["interference"],
        "ttft_fixed_s": overhead["open_ttft_fixed_ms"] * MS,
        "ttft_steps": overhead["ttft_steps"],
        "closed_ttft": {
            "own": overhead["ttft_prefill"],
            "queue": overhead["ttft_queue"],
            "exponent": overhead["ttft_queue_exponent"],
            "together_s": overhead["ttft_together_ms"] * MS,
            "together_half": overhead["ttft_together_half"],
        },
        "attention_dp_prefill": scale["attention_dp_prefill"],
        "attention_dp_experts": scale["attention_dp_experts"],
        "chunk_tokens": int(scale["chunk_tokens"]),
        "mem_fraction": MEM_FRACTION,
    }


def row_bw(row: SystemRow) -> float:
    """Memory bandwidth of an accelerator, bytes/s."""
    return float(require(row, "mem_bw_tbps")) * 1e12


class _Fits:
    """Fits for one system and engine: its own where there are any, else the nearest relative's."""

    def __init__(self, catalog: Catalog, row: SystemRow, engine: str, inherited: Inherited) -> None:
        self.row = row
        self.engine = engine
        self.inherited = inherited
        self.kernels = catalog.kernels
        self.family = str(self.kernels.engines[engine]["kernels"])
        self.block_family = str(self.kernels.engines[engine]["fp8_block_gemm"])
        self.multipliers = self.kernels.multipliers
        self.order = _by_distance(row, self.kernels.accelerators)

    def _find(
        self, what: str, get: Callable[[AcceleratorKernels], _Value | None]
    ) -> tuple[AcceleratorKernels, _Value] | None:
        for name in self.order:
            accelerator = self.kernels.accelerators[name]
            fit = get(accelerator)
            if fit is not None:
                if name != self.row.kernel_key:
                    self.inherited.add(self.row.id, self.engine, what, name)
                return accelerator, fit
        return None

    def _of_engine(self, table: str, keys: Sequence[str], families: Sequence[str]) -> Any:
        """The first fit there is: of the nearest accelerator, by preference of key, then family."""

        def get(accelerator: AcceleratorKernels) -> Fit | None:
            for key, family in itertools.product(keys, families):
                kernels = accelerator.engines.get(family)
                fit: Fit | None = getattr(kernels, table).get(key) if kernels else None
                if fit is not None:
                    return fit
            return None

        key = keys[-1]  # under which the format is known elsewhere
        found = self._find(f"{table} {key}", get)
        if found is not None and "stands_in" in found[1]:
            what = f"{found[1]['stands_in']} kernels"
            self.inherited.add(self.row.id, self.engine, f"{table} {key}", what)
        return found

    def _rates(self, accelerator: AcceleratorKernels, dtype: str) -> tuple[float, float] | None:
        """Peak and bandwidth that shares refer to: those of the calibration for a calibrated
        accelerator (they are what the shares were fitted with), else the catalog's."""
        if self.kernels.accelerators.get(self.row.kernel_key or "") is accelerator:
            peak = accelerator.peaks[f"{WEIGHT_FORMATS[dtype].peak}_flops"]
            bw = accelerator.peaks["bw_bytes_per_s"]
            return None if peak is None or bw is None else (peak, bw)
        tflops = peak_tflops(self.row, dtype)
        return None if tflops is None else (tflops * 1e12, row_bw(self.row))

    def _fitted(
        self, table: str, keys: Sequence[str], families: Sequence[str], dtype: str
    ) -> tuple[Fit, float, float] | None:
        """A fit with the peak and bandwidth that its shares are multiplied by."""
        if not supports(self.row, dtype):
            return None
        found = self._of_engine(table, keys, families)
        rates = self._rates(found[0], dtype) if found else None
        return None if found is None or rates is None else (found[1], *rates)

    def _products(self, dtype: str, fit: Fit, peak: float, bw: float) -> dict[str, float]:
        """Roofline of matrix products. A share of the peak that another accelerator's kernels
        reach promises no more than what this one's own library was measured to reach."""
        line = _roofline(fit, peak, bw)
        reached = achievable_tflops(self.row, dtype)
        if reached is not None:
            line["flops"] = min(line["flops"], reached * 1e12)
        return line

    def gemm(self, dtype: str) -> dict[str, float] | None:
        """Matrix product in a weight format."""
        if dtype == "mxfp4" and not computes_mxfp4(self.row):
            return None  # a weight-only product of which there is no measurement
        family = self.block_family if dtype == "fp8_block" else self.family
        if WEIGHT_FORMATS[dtype].integer:
            self.inherited.add(self.row.id, self.engine, f"gemm {dtype}", "16-bit kernels")
        found = self._fitted("gemm", WEIGHT_FORMATS[dtype].gemm_kernels, (family,), dtype)
        return None if found is None else self._products(dtype, *found)

    def moe(self, dtype: str) -> dict[str, float] | None:
        """Routed experts in a weight format."""
        kernel = self._expert_kernel(dtype)
        own = "vllm" if kernel == _WIDENED_MXFP4 else self.family
        found = self._fitted("moe", (kernel,), (own, "vllm", "trtllm"), dtype)
        if found is None:
            return None
        fit, _, bw = found
        products = self._products(dtype, *found)
        if kernel in WEIGHT_FORMATS["mxfp4"].expert_kernels[:2]:
            # Engines have fused these kernels since their tables were measured.
            products["t0"] *= self.multipliers["mxfp4_launch"]
            products["bw"] *= self.multipliers["mxfp4_bandwidth"]
        return {**products, "act_bw": 0.8 * bw / fit["act"], "pad": fit["pad"]}

    def _expert_kernel(self, dtype: str) -> str:
        """Kernel of experts in a format.

        Where mxfp4 is the accelerator's own four-bit format, the only fits of four-bit products are
        those of nvfp4. On Blackwell activations have 8 bits; elsewhere mxfp4 weights meet 16-bit
        activations.
        """
        if dtype == "mxfp4" and computes_mxfp4(self.row):
            return "nvfp4"
        if dtype == "mxfp4" and self._computes_fp4():
            return _WIDENED_MXFP4
        return WEIGHT_FORMATS[dtype].expert_kernels[0]

    def _computes_fp4(self) -> bool:
        return self.row.vendor == "NVIDIA" and self.row.fp4_tflops is not None

    def decode_attention(self, kv: str) -> dict[str, float] | None:
        """Decode attention over a cache format.

        Latent attention computes in 8 bits from Blackwell on; before, kernels widen an 8-bit cache
        to bf16 (FlashMLA on Hopper).
        """
        found = self._of_engine("decode_attention", (kv,), (self.family,))
        rates = self._rates(found[0], kv if self._computes_fp4() else "bf16") if found else None
        if found is None or rates is None:
            return None
        fit, (peak, bw) = found[1], rates
        return {
            "t0": fit["t0_us"] * US,
            "bw": bw * fit["eb"],
            "mla_flops": peak * self.multipliers["mla_absorbed_compute"],
            "mla_bw": bw * self.multipliers["mla_absorbed_bw"],
        }

    def prefill_attention(self, kv: str) -> dict[str, float] | None:
        """Prefill attention beside a cache format; in bf16 where the engine has no 8-bit kernel."""
        for dtype in (kv, "bf16"):
            found = self._fitted("prefill_attention", (dtype,), (self.family,), dtype)
            if found is not None:
                fit, peak, bw = found
                return {
                    "t0": fit["t0_us"] * US,
                    "flops": peak * fit["e_inf"],
                    "s0": fit["s0"],
                    "bw": bw / max(fit["memx"], 1e-3),
                }
        return None

    def _link(self) -> float:
        """Scale-up bytes/s per accelerator; a lone accelerator has no link and needs none."""
        rate = self.row.scale_up_gb_per_s_per_gpu
        return 1.0 if rate is None else rate * 1e9

    def all_reduce(self) -> list[dict[str, float]]:
        """All-reduce fits by rank count, ascending."""

        def get(accelerator: AcceleratorKernels) -> Mapping[int, Fit] | None:
            kernels = accelerator.engines.get(self.family)
            return kernels.all_reduce if kernels and kernels.all_reduce else None

        found = self._find("all-reduce", get)
        link = self._link()
        return [
            {
                "n": n,
                "a1": fit["a1_us"] * US,
                "bw1": link * fit["b1"],
                "a2": fit["a2_us"] * US,
                "bw2": link * fit["b2"],
            }
            for n, fit in (found[1].items() if found else ())
        ]

    def _nccl(self, operation: str) -> Fit:
        def get(accelerator: AcceleratorKernels) -> Fit | None:
            fits = accelerator.nccl.get(operation)
            return fits[max(fits)] if fits else None

        found = self._find(f"NCCL {operation}", get)
        assert found is not None, "the calibration has NCCL fits"
        return found[1]

    def all_to_all(self) -> dict[str, float]:
        """Exchange inside the scale-up domain."""
        fit = self._nccl("all_to_all")
        return {"alpha": fit["alpha_us"] * US, "bw": self._link() * fit["beff"]}

    def scale_out(self) -> dict[str, float] | None:
        """Collectives beyond the domain: the NIC's rate at the efficiency NCCL reaches inside."""
        gbit = self.row.scale_out_gbit_per_s_per_gpu
        if gbit is None:
            return None
        fit = self._nccl("all_reduce")
        self.inherited.add(self.row.id, self.engine, "scale-out", "NCCL inside the domain")
        return {"alpha": fit["alpha_us"] * US, "bw": gbit * 1e9 / BITS * min(fit["beff"], 1.0)}


def _roofline(fit: Fit, peak: float, bw: float) -> dict[str, float]:
    return {
        "t0": fit["t0_us"] * US,
        "flops": peak * fit["ec"],
        "bw": bw * fit["em"],
        "q": fit["q"],
    }


def _by_distance(row: SystemRow, accelerators: Mapping[str, AcceleratorKernels]) -> list[str]:
    """Calibrated accelerators: its own, then by log distance of peak and bandwidth."""
    peak = float(row.wide_tflops or require(row, "bf16_tflops")) * 1e12
    bw = row_bw(row)

    def distance(name: str) -> tuple[float, str]:
        peaks = accelerators[name].peaks
        there = (peaks["bf16_flops"] or math.inf, peaks["bw_bytes_per_s"] or math.inf)
        return math.hypot(math.log(peak / there[0]), math.log(bw / there[1])), name

    others: Iterable[str] = sorted((n for n in accelerators if n != row.kernel_key), key=distance)
    own = [row.kernel_key] if row.kernel_key in accelerators else []
    return [*(name for name in own if name is not None), *others]
