"""Words, units and forms that people write for those of a scenario: each error says what to write.

The cures are worked out by hand: a number in the unit of its field, the field that is meant.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from test_mistakes_of_files import BASE, DEMAND, OFFER, SITE, SLO, TURN, offer, site, slips, written
from tokenfleet.errors import SchemaError
from tokenfleet.scenario.load import load_scenario


def turn(text: str) -> tuple[str, str]:
    return TURN, TURN.replace("}", f", {text}}}")


def added(text: str) -> tuple[str, str]:
    return "systems:", f"{text}\nsystems:"


def of_workload(text: str) -> tuple[str, str]:
    return "    classes:", f"    {text}\n    classes:"


API = "{id: x, workload: chat, region: eu, usd_per_mtok_output: 1"
# Right and wrong text, where the fault is, what to do.
EDITS: dict[str, tuple[str, str, str, str]] = {
    # Fields by other names
    "capitals in a field": (DEMAND, "{Requests_Per_S: 20}", "Requests_Per_S", "requests_per_s: 20"),
    "hyphens": (DEMAND, "{requests-per-s: 20}", "requests-per-s", "write requests_per_s: 20"),
    "a camel": (DEMAND, "{requestsPerS: 20}", "requestsPerS", "write requests_per_s: 20"),
    "a rate a minute": (DEMAND, "{rpm: 1200}", ".rpm", "write requests_per_s: 20"),
    "a rate a month": (DEMAND, "{requests_per_month: 52560000}", "_month", "requests_per_s: 20"),
    "a rate a year": (DEMAND, "{requests_per_year: 630720000}", "_year", "requests_per_s: 20"),
    "users of a day": (DEMAND, "{daily_active_users: 5}", "active", "users x requests of one"),
    "a rate at the peak": (DEMAND, "{peak_rps: 60}", ".peak_rps", "peak_to_mean: peak / mean"),
    "short lengths": (TURN, TURN.replace("input_tokens", "isl"), ".isl", "input_tokens"),
    "a prompt": (TURN, TURN.replace("input_tokens", "prompt_tokens"), "prompt", "input_tokens"),
    "an answer": (TURN, TURN.replace("output_tokens", "osl"), ".osl", "output_tokens"),
    "a weight": (TURN, TURN.replace("share", "weight"), ".weight", "did you mean share?"),
    "percent of requests": (TURN, TURN.replace("share", "percent"), ".percent", "share"),
    "a place": (*site("location: Berlin"), ".location", "did you mean region?"),
    "a count of offers": (*offer("quantity: 4"), ".quantity", "did you mean supply?"),
    "a discount": (*offer("discount: 0.2"), ".discount", "the price after the discount"),
    "a price of one GPU": (*offer("price_usd_per_gpu: 9"), "_per_gpu", "x GPUs of a system"),
    "a price of a node": (*offer("price_usd_per_node_h: 9"), "_node_h", "/ GPUs of a system"),
    "weeks to delivery": (*offer("lead_weeks: 8"), ".lead_weeks", "lead_months: 1.83984"),
    "a term in months": (*offer("term_months: 36"), ".term_months", "write term_years: 3"),
    "hosting by the year": (*site("hosting_usd_per_kw_year: 1800"), "_year", "_kw_month: 150"),
    "WACC": (*added("finance: {wacc: 0.08}"), "finance.wacc", "cost_of_capital"),
    "a discount rate": (*added("finance: {discount_rate: 0.08}"), "_rate", "cost_of_capital"),
    "months of life": (*added("finance: {life_months: 60}"), "_months", "life_years: 5"),
    "a goal by another name": (*added("goal: least_cost"), "goal", "did you mean objective?"),
    "a goal by its verb": (*added("objective: {minimise: cost}"), ".minimise", "kind"),
    "a budget at the top": (*added("budget_usd: 100000"), "budget_usd", "annual_budget_usd"),
    "carbon by the kg": (
        *added("objective: {carbon_price_usd_per_kg: 0.085}"), "_per_kg", "_usd_per_t: 85",
    ),
    "the largest batch": (*added("search: {max_batch: 64}"), ".max_batch", "batch_limits"),
    "a token's price": (
        *added(f"apis: [{API}, usd_per_token_input: 0.000001}}]"), "_token_input", "_input: 1",
    ),
    "a limit of an API": (
        *added(f"apis: [{API}, usd_per_mtok_input: 1, rpm: 600}}]"), ".rpm", "_per_s: 10",
    ),
    "all in a group": (BASE, f"scenario: {{name: chat, {SITE[1:]}", "scenario", "leave scenario:"),
    "a class by name": (TURN, f"turn: {{{TURN[11:]}", ".turn", "- {id: turn, ...}"),
    # Words of a choice
    "a limit of latency": ("metric: ttft", "metric: latency", ".metric", "e2e?"),
    "water": ("[air]", "[water]", ".cooling[0]", "direct liquid?"),
    "of the meter": ("power_basis: it", "power_basis: facility", ".power_basis", "utility?"),
    "power inside": (*offer("includes: [power]"), ".includes[0]", "energy?"),
    "a cloud": ("kind: buy", "kind: cloud", ".kind", "on_demand?"),
    "throughput": (*added("objective: {kind: max_throughput}"), ".kind", "most_tokens?"),
    "yes": (*added("relayout: yes"), "relayout", "write true, without quotes"),
    "no": (*added("reserve: {survive_site_loss: no}"), "_loss", "write false, without quotes"),
    "free by a word": (DEMAND, "{free: yes}", ".demand.free: input should be true", "write true"),
    "every system": ("[h100_sxm_8]", "all", "systems", "blank allows all"),
    "every cooling": ("[air]", "both", ".cooling", "[air, direct liquid]"),
    "a vendor's name of a server": ("[h100_sxm_8]", "[dgx-h100]", "systems[0]", "h100_sxm_8"),
    "an address of a model": (
        "model: llama-3.1-8b", "model: https://example.org/org/Llama-3.1-8B", ".model",
        "did you mean llama-3.1-8b",
    ),
    # Numbers
    "no limit as minus one": ("power_kw: 100", "power_kw: -1", ".power_kw", "or unlimited"),
    "a bound's sign": ("limit_ms: 1000", "limit_ms: <= 1000", ".limit_ms", "quotes: 1000"),
    "about": ("limit_ms: 1000", "limit_ms: ~1000", ".limit_ms", "quotes: 1000"),
    "one in a list": ("limit_ms: 1000", "limit_ms: [1000]", ".limit_ms", "not a list: 1000"),
    "a comment too near": ("power_kw: 100", "power_kw: 100# kW", ".power_kw", "quotes: 100"),
    "quotes of typesetting": ("power_kw: 100", "power_kw: “100”", ".power_kw", "quotes: 100"),
    "a rate with its unit": (DEMAND, "{requests_per_s: 1200/min}", "_per_s", "quotes: 20"),
    "years with a letter": (
        OFFER, "{id: h100, system: h100_sxm_8, kind: rent, term_years: 3y}", "_years", "quotes: 3",
    ),
    "months for years": (
        OFFER, "{id: h100, system: h100_sxm_8, kind: rent, term_years: 18 months}", "_years", "1.5",
    ),
    "grams of carbon": (*site("carbon_kg_per_kwh: 380g"), "_per_kwh", "quotes: 0.38"),
    "a score in percent": (*of_workload("quality_floor: 98%"), ".quality_floor", "quotes: 0.98"),
    "hits in percent": (*turn("prefix_hit_rate: 60"), ".prefix_hit_rate", "60 % is 0.6"),
    "a tail in percent": (
        *added("objective: {risk: {cvar_alpha: 95}}"), ".cvar_alpha", "95 % is 0.95",
    ),
    "growth in percent": (
        DEMAND, "{requests_per_s: 20, growth_per_year: 30}", "growth_per_year", "30 % is 0.3",
    ),
    "a gap in percent": (*added("objective: {simplicity_tolerance: 0.5}"), "_tol", "is 0.005"),
    "a PUE below one": (*site("pue: 30%"), ".pue", "write a plain number without quotes"),
    "half a token": ("input_tokens: 500", "input_tokens: 0.5", ".input_tokens", "one at least"),
    "a mean alone": (
        "input_tokens: 500", "input_tokens: {mean: 500}", ".input_tokens: has no p50, p90",
        "one length for all requests, such as 500",
    ),
    "a range": (
        "input_tokens: 500", "input_tokens: [100, 900]", ".input_tokens", "input_tokens: a number",
    ),
    "N+1": (*added("reserve: N+1"), "reserve", "{systems_per_pool: 1}"),
    "a year for a day": (*added("as_of: 2026"), "as_of", "2026-01-01"),
    "a quarter": (*added("as_of: Q3 2026"), "as_of", "2026-07-01"),
    "eight digits": (*added("as_of: 20260715"), "as_of", "2026-07-15"),
    "an hour of a day": (*added("as_of: 2026-07-15T12:00:00Z"), "as_of", "write 2026-07-15"),
    "a horizon in years": (*added("horizon: 3"), "horizon", "{start: ..., periods: ...}"),
    # Forms
    "a list without brackets": ("[air]", "air, liquid", ".liquid", "cooling: [air, liquid]"),
    "a list over lines": ("[h100_sxm_8]", "|\n  h100_sxm_8", "systems", "[h100_sxm_8]"),
    "no blank after a dash": ("  - {id: hall", "  -{id: hall", "line 12", "after the - of line 12"),
    "no blank after a colon": ("name: chat", "name:chat", "line 2", "the colon of line 1"),
    "a bar before text": ("name: chat", "name: |chat", "line 1", "| or > in quotes"),
    "an exclamation mark": ("name: chat", "name: !chat", "line 1", "! in quotes"),
    "a dash of typesetting": ("  - {id: hall", "  \u2013 {id: hall", "U+2013", "start an entry"),
    "a fence of Markdown": ("name: chat", "```yaml\nname: chat", "line 1", "remove the line"),
    "a merge left open": ("sites:", "<<<<<<< HEAD\nsites:", "line 11", "keep one of the two"),
    # Whole files
    "nothing but comments": (BASE, "# nothing\n", "is empty", "start with `name:"),
    "a page": (BASE, "<!DOCTYPE html>\n<html></html>\n", "a web page", "raw"),
    "a pointer": (BASE, "version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
    "a list": (BASE, f"- {SLO}\n", "is a list", "take the - off"),
    "a file that is not there": (
        DEMAND, "{requests_per_s: 20, trace_curve: {trace: t.csv, format: azure}}",
        ".demand.trace_curve.trace: file 't.csv'", "relative to the folder",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EDITS)
def test_a_slip(case: str, tmp_path: Path) -> None:
    slips(BASE, EDITS[case], tmp_path)


def test_a_hint_names_fields_as_a_file_does(tmp_path: Path) -> None:
    """`class` is a word of Python, and `cls` no field of a scenario."""
    text = BASE[: BASE.index("columns:")] + "columns: {chat: 5}\n"
    with pytest.raises(SchemaError) as caught:
        load_scenario(written(tmp_path, text))
    assert "class: ..." in caught.value.hint and "cls" not in caught.value.hint


WITHOUT_EFFECT = {  # accepted, and changes nothing
    "a price of power": (*site("power_usd_per_kw_year: 120"), "power_is_contracted: true"),
    "a way from nowhere": (*site("round_trip_ms: {us: 80}"), "no request comes from us"),
    "a term of a purchase": (*offer("term_years: 3"), "buy has no contract of years"),
    "a tier beside a price": (
        *offer("price_usd_per_system: 200000, price_tier: market"), "a price of your own",
    ),
    "spot for nobody": (
        OFFER, "{id: h100, system: h100_sxm_8, kind: spot, price_usd_per_gpu_h: 2}",
        "interruptible: true",
    ),
    "a rack for an accelerator": ("watts: 600", "watts: 60000", "the watts of a whole rack"),
}  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_what_has_no_effect_is_said(case: str, tmp_path: Path) -> None:
    right, wrong, said = WITHOUT_EFFECT[case]
    (warning,) = load_scenario(written(tmp_path, BASE.replace(right, wrong, 1))).warnings
    assert said in str(warning)
