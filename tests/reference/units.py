"""Words that all pages share."""

from __future__ import annotations

import math
from typing import Any

Json = dict[str, Any]
BF16 = 2.0
QUANTILE = (math.nan, 0.50, 0.90, 0.95, 0.99)
