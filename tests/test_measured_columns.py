"""Plans over measured columns, whose numbers are worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import buy, hall
from test_optimize import YEAR_S, by_hand, counts, plan_of, rent, scenario, workload_by_hand
from tokenfleet import optimize_fleet
from tokenfleet.errors import SchemaError
from tokenfleet.report.words import obtained_for


def test_the_overflow_goes_to_the_api(tmp_path: Path) -> None:
    """30 $/h for 10 requests/s; an API at 1.5 $ per 1,000; 10/s for 20 h and 40/s for 4 h.

    One system and the API for the rest of the peak: 720 + 30 * 14,400 * 0.0015 = 1,368 $ a day.
    Buying for the peak is 2,880 $, the API alone 720,000 + 576,000 requests, 1,944 $.
    """
    path = tmp_path / "overflow.yaml"
    path.write_text(
        """
name: overflow
price_vintage: "2026-06"
systems: [h100_sxm_8]
workloads:
  - id: w
    model: llama-3.1-8b
    classes: [{id: all, share: 1, input_tokens: 300, output_tokens: 100}]
    demand: {requests_per_s: 15, peak_to_mean: 2.6666666666666667, peak_hours_per_day: 4}
columns:
  - {workload: w, class: all, system: h100_sxm_8, gpus: 8, rate_rps: 10}
sites:
  - {id: hall, region: eu, power_kw: unlimited, power_basis: it, cooling: [air]}
offers:
  - {id: own, system: h100_sxm_8, kind: all_in, price_usd_per_gpu_h: 3.75}
apis:
  - id: api
    workload: w
    usd_per_mtok_input: 0
    usd_per_mtok_output: 0
    usd_per_request: 0.0015
    region: eu
    slo_attested: true
solver: {gap: 0}
""",
        encoding="utf-8",
    )
    plan = optimize_fleet(path)
    assert plan.status == "optimal"
    assert plan.annual_cost_usd / 365 == pytest.approx(1368.0, rel=1e-6)
    assert plan.cost_items["all_in"] == pytest.approx(720 * 365)  # no rent
    assert plan.cost_items["api_tokens"] == pytest.approx(648 * 365)
    assert counts(plan) == {("hall", "own"): 1}
    (overflow,) = (row for row in plan.routing if row.api == "api")
    assert sorted(overflow.requests_per_s) == pytest.approx([0.0, 30.0])


@pytest.mark.parametrize(("factor", "chosen"), [(0.999, "buy h100_sxm_8"), (1.001, "rent")])
def test_buy_or_rent_flips_at_the_break_even_price(factor: float, chosen: str) -> None:
    """Renting is 2 * 8 * 8,760 = 140,160 $ a year. Owning is, per $ of price,
    (0.2637974808 - 0.1 * 0.1637974808) / 0.8 + 0.05 = 0.3592721666: 390,122 $ breaks even."""
    price = factor * 140_160 / 0.3592721666
    sites = [hall(electricity_usd_per_kwh=0.0, hosting_usd_per_kw_month=0.0)]
    finance = {**scenario()["finance"], "staff_usd_per_kw_year": 0.0}
    offers = [buy(usd=price), rent(2.0)]
    plan = plan_of(**by_hand(offers=offers, sites=sites, finance=finance))
    assert counts(plan) == {("hall", chosen): 1}
    assert plan.annual_cost_usd == pytest.approx(140_160 * min(factor, 1.0), rel=1e-6)


@pytest.mark.parametrize(
    ("hourly", "systems", "usd_per_day"),
    [
        # One rented at 384 $ a day, three more for 4 h at 24 $/h each: 384 + 288.
        (3.0, {"rent": 1, "on_demand": 3}, 672.0),
        # Above 12 $ per GPU-h four hours on demand cost more than a day of rent.
        (12.5, {"rent": 4}, 1536.0),
        # Below a third of the rent nothing is worth renting: 36 system-hours at 8 * 0.6.
        (0.6, {"on_demand": 4}, 172.8),
    ],
)
def test_on_demand_serves_the_peak_where_it_is_cheaper(
    hourly: float, systems: dict[str, int], usd_per_day: float
) -> None:
    """10/s for 20 h and 40/s for 4 h on servers of 10/s rented at 2 $ per GPU-h."""
    demand = {"requests_per_s": 15.0, "peak_to_mean": 40 / 15, "peak_hours_per_day": 4.0}
    workloads = workload_by_hand(demand=demand)
    offers = [rent(2.0), rent(hourly, "on_demand")]
    plan = plan_of(**by_hand(offers=offers, workloads=workloads))
    assert {offer: n for (_, offer), n in counts(plan).items()} == systems
    assert plan.annual_cost_usd == pytest.approx(usd_per_day * 365, rel=1e-6)


@pytest.mark.parametrize(
    ("billed", "systems", "usd_per_day"),
    [
        # 4 h in one piece: as above.
        (4, {"rent": 1, "on_demand": 3}, 672.0),
        # 4 h are billed as 6, three servers at 24 $/h: 384 + 432; 20 h would be billed as 24.
        (6, {"rent": 1, "on_demand": 3}, 816.0),
        # A whole day on demand is 576 $ a server, and of rent 384 $.
        (24, {"rent": 4}, 1536.0),
    ],
)
def test_on_demand_is_billed_in_whole_pieces(
    billed: int, systems: dict[str, int], usd_per_day: float
) -> None:
    demand = {"requests_per_s": 15.0, "peak_to_mean": 40 / 15, "peak_hours_per_day": 4.0}
    offers = [rent(2.0), {**rent(3.0, "on_demand"), "billed_hours": billed}]
    plan = plan_of(**by_hand(offers=offers, workloads=workload_by_hand(demand=demand)))
    assert {offer: n for (_, offer), n in counts(plan).items()} == systems
    assert plan.annual_cost_usd == pytest.approx(usd_per_day * 365, rel=1e-6)
    for row in plan.systems:
        if row.kind == "on_demand":
            assert row.hours_per_year == pytest.approx(3 * 4 * 365)
            assert row.billed_hours_per_year == pytest.approx(3 * billed * 365)
            of = "" if billed == 4 else f" ({billed} billed)"
            assert obtained_for(row) == f"on demand, 4 h a day{of}"
        else:
            assert row.hours_per_year == row.billed_hours_per_year == 8760 * row.count
            assert obtained_for(row) == "rented"


@pytest.mark.parametrize(
    ("hours", "pieces"),
    [
        ((9, 10, 11, 12), 1),
        ((23, 0, 1, 2), 1),  # over midnight
        ((9, 10, 17, 18), 2),  # apart: a single stretch of four hours would be billed too little
        ((6, 12, 18, 0), 4),
    ],
)
def test_hours_of_the_day_that_lie_apart_are_pieces_of_their_own(
    hours: tuple[int, ...], pieces: int
) -> None:
    """As above: 10/s, and 40/s in four hours of the day. Four at a time: 96 $ a server and piece;
    with four pieces (384 $) renting it costs as much, so that is taken or not."""
    curve = [40.0 if hour in hours else 10.0 for hour in range(24)]
    demand = {"requests_per_s": 15.0, "day_curve": curve}
    offers = [rent(2.0), {**rent(3.0, "on_demand"), "billed_hours": 4}]
    plan = plan_of(**by_hand(offers=offers, workloads=workload_by_hand(demand=demand)))
    assert plan.annual_cost_usd == pytest.approx((384 + 3 * 96 * pieces) * 365, rel=1e-6)
    for row in plan.systems:
        if row.kind == "on_demand":
            assert row.hours_per_year == pytest.approx(row.count * 4 * 365)
            assert row.billed_hours_per_year == pytest.approx(row.count * 4 * pieces * 365)


def test_blocks_are_billed_each_by_itself_and_so_never_too_little() -> None:
    """40/s at 9 h and 30/s at 10 h: three servers on demand, then two of them still.

    Three pieces of 4 h from 9 h on would be 12 system-hours; by block they are 20.
    """
    curve = [{9: 40.0, 10: 30.0}.get(hour, 10.0) for hour in range(24)]
    demand = {"requests_per_s": sum(curve) / 24, "day_curve": curve}
    offers = [rent(2.0), {**rent(3.0, "on_demand"), "billed_hours": 4}]
    plan = plan_of(**by_hand(offers=offers, workloads=workload_by_hand(demand=demand)))
    billed = sum(r.billed_hours_per_year for r in plan.systems if r.kind == "on_demand")
    assert billed == pytest.approx(20 * 365)
    assert plan.annual_cost_usd == pytest.approx((384 + 20 * 24) * 365, rel=1e-6)


def test_what_is_paid_all_year_is_not_billed_by_the_piece() -> None:
    with pytest.raises(SchemaError, match="rent is paid all year"):
        plan_of(**by_hand(offers=[{**rent(2.0), "billed_hours": 4}]))


def test_free_demand_at_the_least_cost_per_token_fills_the_power() -> None:
    """10.2 kW a server: 3 stand in 40 kW. Power is paid used or not, so every server counts.

    3 * 140,160 $ and 40 kW at 300 $ a year over 30 requests/s of 100 tokens.
    """
    offers = [rent(2.0, "all_in")]
    sites = [hall(power_kw=40, power_is_contracted=True, power_usd_per_kw_year=300.0)]
    plan = plan_of(
        **by_hand(
            offers=offers,
            sites=sites,
            workloads=workload_by_hand(demand={"free": True}),
            objective={"kind": "least_cost_per_token"},
        )
    )
    assert counts(plan) == {("hall", "all_in"): 3}
    assert plan.free_demand_scale_rps == pytest.approx(30.0, rel=1e-6)
    usd = 3 * 140_160 + 40 * 300
    assert plan.annual_cost_usd == pytest.approx(usd)
    assert plan.objective_value == pytest.approx(usd / (30 * 100 * YEAR_S / 1e6), rel=1e-6)
    assert plan.objective_value == pytest.approx(plan.cost_per_mtok_output_usd)


def test_most_value_serves_only_what_is_worth_its_cost() -> None:
    """A server costs 140,160 $ a year and makes 31,536 Mtok: 4.44 $ per Mtok. One class pays
    10 $, the other 2 $; a request left undone costs a millionth of a $, 315.36 $ in all."""
    workload = by_hand(classes=("rich", "poor"))["workloads"][0]
    value = {"rich": 10.0, "poor": 2.0}
    classes = [{**k, "value_usd_per_mtok_output": value[k["id"]]} for k in workload["classes"]]
    demand = {"requests_per_s": 20.0}
    paid = {**workload, "classes": classes, "demand": demand, "shortfall_usd_per_request": 1e-6}
    raw = by_hand(classes=("rich", "poor"), workloads=[paid], objective={"kind": "most_value"})
    plan = plan_of(**raw)
    assert {row.cls for row in plan.routing} == {"rich"}
    assert {row.cls for row in plan.unserved} == {"poor"}
    assert plan.objective_value == pytest.approx(10.0 * 31_536 - 140_160 - 315.36, rel=1e-6)


def test_a_spare_system_for_every_pool() -> None:
    """N+1 on the plan of one server: two, and twice the rent."""
    plan = plan_of(**by_hand(reserve={"systems_per_pool": 1}))
    assert counts(plan) == {("hall", "rent"): 2}
    assert plan.annual_cost_usd == pytest.approx(280_320)
