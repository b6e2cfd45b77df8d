"""How an engine's steps get shorter from version to version, and with a vendor's own kernels.

The constants are one set over the versions that were measured. Of vLLM, the logarithm of predicted
over measured TPOT rises by 0.025 a minor version between 0.11 and 0.18 and is zero at 0.13: a plan
that names 0.17 has steps exp(-0.025 x 4) = 0.905 times as long. Of SGLang and TensorRT-LLM a trend
fitted without a cell makes that cell worse, so there is none (`docs/accuracy.md`).

On AMD, engines as they are installed take general kernels in the place of AMD's own library (AITER;
vLLM has it off by default). What the library gives is published: DeepSeek-V3/R1 2.1 times as fast,
Llama-3.1-405B 1.04 times at 100 requests in flight. The constants stand for engines with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_MINOR = re.compile(r"v?0\.(\d+)")


@dataclass(frozen=True)
class Maturity:
    """A trend over minor versions."""

    log_per_minor: float
    standing: int  # minor version whose times the constants give
    oldest: int  # measured
    newest: int


MATURITY: Mapping[str, Maturity] = {
    "vllm": Maturity(log_per_minor=0.025, standing=13, oldest=11, newest=18)
}


def log_step_time(engine: str, version: str | None) -> float:
    """Logarithm of a step's time at a version over the predicted one.

    Zero where no version is named or the engine has no trend; no further than what was measured.
    """
    trend, minor = MATURITY.get(engine), _MINOR.match(version or "")
    if trend is None or minor is None:
        return 0.0
    within = min(max(int(minor[1]), trend.oldest), trend.newest)
    return trend.log_per_minor * (trend.standing - within)


# Latent attention and experts, and all else: docs.vultr.com/inference-cookbook/rocm, "AITER
# configuration" (11 March 2026, from AMD's documentation) and "AITER ablation study".
_WITHOUT_OWN_KERNELS = {"AMD": {True: math.log(2.1), False: math.log(1.04)}}


def log_as_installed(vendor: str, *, routed: bool) -> float:
    """Logarithm of a step's time without the vendor's own kernels over that with them."""
    return _WITHOUT_OWN_KERNELS.get(vendor, {}).get(routed, 0.0)
