"""Words, units and names that people write for those of a scenario, and what they mean by them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenfleet.schema.near import nearest

# Other units of a quantity, as a share of the field's own.
SCALES: dict[str, dict[str, float]] = {
    "kW": {"w": 1e-3, "kw": 1.0, "mw": 1e3},
    "ms": {"us": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3, "min": 6e4},
    "s": {"ms": 1e-3, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0},
    "h": {"h": 1.0, "hour": 1.0, "hours": 1.0, "min": 1 / 60},
    "years": {"y": 1.0, "yr": 1.0, "year": 1.0, "months": 1 / 12, "month": 1 / 12},
    "months": {"month": 1.0, "weeks": 7 / 30.4375, "years": 12.0, "year": 12.0, "y": 12.0},
    "requests": {"/s": 1.0, "/min": 1 / 60, "/h": 1 / 3600, "/hour": 1 / 3600, "/day": 1 / 86_400},
    "USD": {"usd": 1.0, "dollars": 1.0, "ct": 0.01, "cents": 0.01, "¢": 0.01},
    "kgCO2": {"g": 1e-3, "kg": 1.0},
    "fraction": {"%": 0.01},
    "probability": {"%": 0.01},
    "ratio": {"%": 0.01},
    "score": {"%": 0.01},
}
_HOURS_A_YEAR = 8760
# Units in the names of fields: what is written, what is read, and by how much its number grows.
UNITS_OF_NAMES = tuple(
    (re.compile(written), read, factor)
    for written, read, factor in (
        (r"_mw\b", "_kw", 1e3),
        (r"_w\b", "_kw", 1e-3),
        (r"_s(ec(onds?)?)?\b", "_ms", 1e3),
        (r"_per_min(ute)?\b", "_per_s", 1 / 60),
        (r"_per_h(our)?\b", "_per_s", 1 / 3600),
        (r"_per_day\b", "_per_s", 1 / 86_400),
        (r"_per_month\b", "_per_s", 12 / _HOURS_A_YEAR / 3600),
        (r"_per_year\b", "_per_s", 1 / _HOURS_A_YEAR / 3600),
        (r"\brpm\b", "requests_per_s", 1 / 60),
        (r"\brpm\b", "max_requests_per_s", 1 / 60),
        (r"_rpm\b", "_rps", 1 / 60),
        (r"_months\b", "_years", 1 / 12),
        (r"_years\b", "_months", 12.0),
        (r"_weeks\b", "_months", 7 / 30.4375),
        (r"_per_kg\b", "_per_t", 1e3),
        (r"_kw_year\b", "_kw_month", 1 / 12),
        (r"_per_(1?k|1000|thousand)(_?tok(ens)?)?(?=_|\b)", "_per_mtok", 1e3),
        (r"_per_tok(en)?(?=_|\b)", "_per_mtok", 1e6),
        (r"_usd_per_mwh\b", "_usd_per_kwh", 1e-3),
        (r"(?<=_)(ct|cents?)_per_", "usd_per_", 1e-2),
        (r"(?<=_)g_per_", "kg_per_", 1e-3),
        (r"_per_gpu_month\b", "_per_gpu_h", 12 / _HOURS_A_YEAR),
        (r"_per_(1?m|million)(_?tok(ens)?)?(?=_|\b)", "_per_mtok", 1.0),
    )
)
_INPUT, _OUTPUT = ("input_tokens", "usd_per_mtok_input"), ("output_tokens", "usd_per_mtok_output")
# Words that people write for a field or a choice and that are spelt nothing like it: the first of
# these that is known at the place is meant.
_MEANT: dict[str, tuple[str, ...]] = {
    "rps": ("requests_per_s", "max_requests_per_s"),
    "qps": ("requests_per_s", "max_requests_per_s"),
    "requests_per_second": ("requests_per_s",),
    "max_rps": ("max_requests_per_s",),
    "rate_limit": ("max_requests_per_s",),
    "isl": _INPUT,
    "tokens_in": _INPUT,
    "input_length": _INPUT,
    "prompt_length": _INPUT,
    "prompt_tokens": _INPUT,
    "context_tokens": _INPUT,
    "input_price": _INPUT,
    "osl": _OUTPUT,
    "tokens_out": _OUTPUT,
    "output_length": _OUTPUT,
    "completion_tokens": _OUTPUT,
    "generated_tokens": _OUTPUT,
    "output_price": _OUTPUT,
    "fraction": ("share",),
    "weight": ("share",),
    "percent": ("share",),
    "percentage": ("share",),
    "p": ("probability",),
    "prob": ("probability",),
    "chance": ("probability",),
    "cached": ("prefix_hit_rate",),
    "purchase": ("buy",),
    "capex": ("buy",),
    "price": ("price_usd_per_system",),
    "lease": ("rent",),
    "reserved": ("rent",),
    "rental": ("rent",),
    "cloud": ("on_demand",),
    "quantity": ("supply",),
    "count": ("supply",),
    "stock": ("supply",),
    "available": ("supply",),
    "max": ("supply",),
    "gpu": ("system",),
    "accelerator": ("system",),
    "server": ("system",),
    "power": ("energy", "power_kw"),
    "electricity": ("energy", "electricity_usd_per_kwh"),
    "colocation": ("hosting",),
    "colo": ("hosting",),
    "support": ("maintenance",),
    "location": ("region",),
    "country": ("region",),
    "water": ("direct liquid",),
    "liquid": ("direct liquid",),
    "dlc": ("direct liquid",),
    "facility": ("utility",),
    "meter": ("utility",),
    "server load": ("it",),
    "goal": ("objective", "kind"),
    "target": ("objective", "limit_ms"),
    "minimise": ("kind",),
    "minimize": ("kind",),
    "maximise": ("kind",),
    "maximize": ("kind",),
    "cheapest": ("least_cost",),
    "cost": ("least_cost",),
    "max_throughput": ("most_tokens",),
    "throughput": ("most_tokens",),
    "profit": ("most_value",),
    "revenue": ("most_value",),
    "tariff": ("electricity_usd_per_kwh",),
    "wacc": ("cost_of_capital",),
    "interest_rate": ("cost_of_capital",),
    "discount_rate": ("cost_of_capital",),
    "depreciation_years": ("life_years",),
    "growth": ("demand", "growth_per_year"),
    "tp": ("tensor_parallel",),
    "pp": ("pipeline_parallel",),
    "ep": ("expert_parallel",),
    "dp": ("attention_data_parallel",),
    "max_batch": ("batch_limits",),
    "max_batch_size": ("batch_limits",),
    "batch_size": ("batch_limits",),
    "limits": ("slos",),
    "sla": ("slos",),
    "gpus": ("systems",),
    "hardware": ("systems",),
    "budget": ("annual_budget_usd",),
    "budget_usd": ("annual_budget_usd", "objective"),
    "type": ("kind",),
    "median": ("p50",),
    "average": ("mean",),
    "avg": ("mean",),
    "itl": ("tpot",),
    "tbt": ("tpot",),
    "inter_token_latency": ("tpot",),
    "time_per_output_token": ("tpot",),
    "time_to_first_token": ("ttft",),
    "e2el": ("e2e",),
    "latency": ("e2e", "slos"),
    "e2e_latency": ("e2e",),
    "end_to_end": ("e2e",),
    "quantization": ("precisions",),
    "dtype": ("precisions",),
    "redundancy": ("reserve",),
    "spares": ("reserve",),
    "description": ("notes",),
    "comment": ("notes",),
}
# Fields that people look for and that no field is by itself: beside which one, and what to write.
TOLD = (
    (
        r"(in|out)?(put_)?tokens_per_\w+",
        "requests_per_s",
        "requests_per_s: those tokens / tokens of one",
    ),
    (
        r"tokens_per_\w+",
        "rate_rps",
        "rate_rps: those tokens / tokens of one request",
    ),
    (
        r"(concurrent_|daily_|active_)*users|dau|mau|concurrency",
        "requests_per_s",
        "requests_per_s: users x requests of one",
    ),
    (
        r"(peak|max|busiest)_(rps|qps|requests_per_s(econd)?)",
        "peak_to_mean",
        "requests_per_s: the mean of the year, and peak_to_mean: peak / mean",
    ),
    (
        r"end|until|stop|years|months|quarters|length|duration",
        "periods",
        "periods, such as periods: [4 quarters, 3 years]",
    ),
    (r"growth\w+", "horizon", "horizon, and requests_per_s_by_date in each demand"),
    (
        r"(ttft|tpot|itl|e2e)\w*",
        "percentile",
        "each limit as {metric: ttft, percentile: p95, limit_ms: 1000}",
    ),
    (r"currency", "price_vintage", "money in US dollars, and leave this out"),
    (
        r"\w*budget\w*",
        "price_vintage",
        "objective: {annual_budget_usd: ...} or {capex_budget_usd: ...}",
    ),
    (
        r"(price_)?(usd_)?per_(node|server|instance)_h(our)?|price_usd_per_(node_|server_)?h(our)?",
        "price_usd_per_gpu_h",
        "price_usd_per_gpu_h: that price / GPUs of a system",
    ),
    (
        r"price_usd_per_gpu",
        "price_usd_per_system",
        "price_usd_per_system: that price x GPUs of a system",
    ),
    (
        r"discount\w*",
        "price_usd_per_system",
        "the price after the discount: price_usd_per_system or price_usd_per_gpu_h",
    ),
)
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def spelt_plainly(key: str) -> str:
    """`requestsPerS`, `requests-per-s` and `Requests_Per_S` as `requests_per_s`."""
    return re.sub(r"[-\s]+", "_", _CAPITAL.sub("_", key)).casefold()


def near(word: str, known: Sequence[str], alike: float = 0.5) -> list[str]:
    """Known words for what was written: the one that is meant by it, else those spelt alike."""
    plain = spelt_plainly(word)
    if plain in known:
        return [plain]
    meant = next((m for m in _MEANT.get(plain, ()) if m in known), None)
    return [meant] if meant else nearest(word, known, alike=alike)


def in_its_unit(key: str, value: float, known: Sequence[str]) -> str:
    """`power_mw: 0.025` becomes `power_kw: 25`: a known field, named after another unit."""
    plain = spelt_plainly(key)
    if plain in known:
        return f"write {plain}: {value:.6g}"
    for written, read, factor in UNITS_OF_NAMES:
        name = written.sub(read, plain)
        if name != plain and name in known:
            return f"write {name}: {value * factor:.6g}"
    return ""
