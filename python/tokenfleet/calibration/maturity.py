"""How an engine's steps get shorter from version to version, where left-out runs show it.

The constants are one set over the versions that were measured. Of vLLM, the logarithm of predicted
over measured TPOT rises by 0.025 a minor version between 0.11 and 0.18 and is zero at 0.13: a plan
that names 0.17 has steps exp(-0.025 x 4) = 0.905 times as long. Of SGLang and TensorRT-LLM a trend
fitted without a cell makes that cell worse, so there is none (`docs/accuracy.md`).
"""

from __future__ import annotations

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
