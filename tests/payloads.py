"""Names that have broken pages, sheets and files elsewhere, put into every free name of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenfleet import Plan

PAYLOADS = (
    "<script>document.title='pwned'</script>",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "{{ 7*7 }}{% raw %}",
    "{{ ''.__class__.__mro__ }}",
    '=HYPERLINK("http://example.invalid","x")',
    "=cmd|'/C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\tTab first",
    "a\rb\nc",
    "＝1+1",
    "nul\x00bel\x07esc\x1b[31m",
    "\u202egnp.exe\u202c \u200b",
    "🤖 模型 ñ",
    "x" * 400,
    "]]>&lt;!--\ufffe",
)  # fmt: skip
# Keys of a plan's rows whose text is free: names of a scenario, and sentences about them.
_FREE = {
    "name", "site", "region", "system", "offer", "workload", "model", "api", "pool", "where",
    "lost_site", "source", "what", "reason", "text", "price_source", "vendor", "accelerator",
    "note", "unit", "engine_version",
}  # fmt: skip


def renamed(plan: Plan, payload: str) -> Plan:
    """The plan with a payload in every free name."""
    data = _walk(plan.to_json(), payload, "")
    return Plan.from_json(data)


def _walk(data: Any, payload: str, key: str) -> Any:
    if isinstance(data, Mapping):
        return {
            (payload if key == "energy_j_per_request" else k): _walk(v, payload, k)
            for k, v in data.items()
        }
    if isinstance(data, list):
        return [payload if key == "classes" else _walk(each, payload, key) for each in data]
    free = key in _FREE or (key == "class" and data not in _KNOWN)
    return payload if free and isinstance(data, str) else data


_KNOWN = ("user", "catalog", "default", "measured", "calibrated", "modelled", "inherited")
