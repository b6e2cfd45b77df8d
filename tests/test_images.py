"""Workloads whose requests ask for an image: rated by measured columns, beside tokens."""

from __future__ import annotations

from typing import Any

import pytest

from scenarios import hall
from tokenfleet import Plan, SchemaError, optimize_fleet
from tokenfleet.report.redact import redacted
from tokenfleet.report.words import token_price

Json = dict[str, Any]
# MLPerf Inference v5.1, Lenovo SR780a V3 with 8 B200: Stable Diffusion XL, Server, queries/s.
SDXL_PER_8_B200 = 28.4637
USD_PER_GPU_H = 3.7


def scenario(**changes: Any) -> Json:
    """Answers and pictures on rented B200: one replica is a server of either."""
    chat: Json = {
        "id": "chat",
        "model": "llama-3.1-8b",
        "classes": [{"id": "a", "share": 1.0, "input_tokens": 1000, "output_tokens": 200}],
        "demand": {"requests_per_s": 90},
    }
    pictures = {
        "id": "pictures",
        "model": "sdxl",
        "unit": "image",
        "demand": {"requests_per_s": 50},
    }
    replica = {"system": "b200_sxm_8", "gpus": 8}
    base: Json = {
        "name": "pictures",
        "as_of": "2026-07-01",
        "systems": ["b200_sxm_8"],
        "workloads": [chat, pictures],
        "columns": [
            {"workload": "chat", "class": "a", "rate_rps": 100, **replica},
            {"workload": "pictures", "class": "image", "rate_rps": SDXL_PER_8_B200, **replica},
        ],
        "sites": [
            hall(power_kw="unlimited", electricity_usd_per_kwh=0, hosting_usd_per_kw_month=0)
        ],
        "offers": [
            {
                "id": "rent",
                "system": "b200_sxm_8",
                "kind": "rent",
                "price_usd_per_gpu_h": USD_PER_GPU_H,
                "term_years": 3,
            }
        ],
    }
    return {**base, **changes}


@pytest.fixture(name="plan", scope="module")
def plan_fixture() -> Plan:
    return optimize_fleet(scenario())


def test_images_are_priced_by_the_thousand_beside_tokens(plan: Plan) -> None:
    """50 images a second need two servers of 28.46; 90 answers one of 100. A server is 8 x 3.7 USD
    an hour: 259,296 a year. 50 a second are 1,576.8 M images a year."""
    server = 8 * USD_PER_GPU_H * 8760
    chat, pictures = plan.workloads
    assert plan.annual_cost_usd == pytest.approx(3 * server)
    assert pictures.annual_cost_usd == pytest.approx(2 * server)
    assert pictures.images_per_year == pytest.approx(50 * 8760 * 3600)
    assert pictures.cost_per_thousand_images_usd == pytest.approx(2 * server / 1_576_800)
    assert pictures.cost_per_mtok_output_usd is None
    # 90 answers of 200 tokens a second, at the cost of their own server.
    assert plan.tokens_per_year_output == pytest.approx(90 * 200 * 8760 * 3600)
    price = server / (90 * 200 * 8760 * 3.6e-3)
    assert chat.cost_per_mtok_output_usd == pytest.approx(price)
    assert plan.cost_per_mtok_output_usd == pytest.approx(price)
    assert chat.cost_per_thousand_images_usd is None and chat.images_per_year is None


def test_both_prices_are_told(plan: Plan) -> None:
    text = token_price(plan)
    assert "$0.457 per million output tokens" in text
    assert "$0.329 per thousand images of pictures" in text
    assert Plan.from_json(plan.to_json()) == plan
    hidden = redacted(plan).workloads
    assert all(row.cost_per_thousand_images_usd is None for row in hidden)


def test_images_without_a_measurement_are_refused() -> None:
    with pytest.raises(SchemaError, match="images are not modelled"):
        optimize_fleet({k: v for k, v in scenario().items() if k != "columns"})


def test_images_of_two_sizes_are_two_classes() -> None:
    """Half of them take four times as long: 40 a second are 20/28.46 + 20/7.12 = 3.5 servers."""
    data = scenario()
    sizes = [{"id": "small", "share": 0.5}, {"id": "large", "share": 0.5}]
    pictures = {**data["workloads"][1], "classes": sizes, "demand": {"requests_per_s": 40}}
    column = {"workload": "pictures", "system": "b200_sxm_8", "gpus": 8, "replica": "r"}
    rates = {"small": SDXL_PER_8_B200, "large": SDXL_PER_8_B200 / 4}
    columns = [{**column, "class": name, "rate_rps": rate} for name, rate in rates.items()]
    plan = optimize_fleet(scenario(workloads=[pictures], columns=columns))
    assert sum(row.gpus for row in plan.systems) == 4 * 8
    assert plan.cost_per_mtok_output_usd is None and plan.tokens_per_year_total == 0
