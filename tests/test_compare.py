"""The comparison that started it: published ratios, and what they rest on."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from tokenfleet._core import usd_per_mtok
from tokenfleet.errors import CatalogError, SchemaError
from tokenfleet.points.compare import Comparison, compare

PAGE = Path(__file__).resolve().parents[1] / "docs" / "hopper_blackwell.md"
METRICS = {"usd_per_gpu_h", "tokens_s_gpu", "tokens_s_mw", "usd_per_mtok"}


@pytest.fixture(scope="module")
def hopper_blackwell() -> Comparison:
    return compare()


def test_published_rule_is_exact() -> None:
    # 1.41 $/h at 93.25 tokens/s/GPU is 4.20 $ per million; 2.652 at 6,000 is 0.123.
    assert round(usd_per_mtok(1.41, 93.25), 2) == 4.20
    assert round(usd_per_mtok(2.652, 6000.0), 3) == 0.123


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [
        ("usd_per_gpu_h", 1.85, 1.95),
        ("tokens_s_gpu", 64.0, 67.0),
        ("tokens_s_mw", 50.0, 53.1),
        ("usd_per_mtok", 34.0, 35.1),
    ],
)
@pytest.mark.parametrize("basis", ["published, as printed", "published, recomputed"])
def test_published_ratios(
    hopper_blackwell: Comparison, basis: str, metric: str, low: float, high: float
) -> None:
    ratio = hopper_blackwell.point(basis).ratios[metric]
    assert ratio is not None
    assert low <= ratio <= high


def test_published_figures_as_printed(hopper_blackwell: Comparison) -> None:
    point = hopper_blackwell.point("published, as printed")
    assert (point.first.tokens_s_gpu, point.second.tokens_s_gpu) == (90, 6000)
    assert (point.first.usd_per_mtok, point.second.usd_per_mtok) == (4.2, 0.12)
    again = hopper_blackwell.point("published, recomputed")
    assert again.first.tokens_s_gpu == pytest.approx(93.25, abs=0.01)
    assert again.second.usd_per_mtok == pytest.approx(0.1228, abs=1e-4)


def test_peak_ratio_is_far_below_the_claim(hopper_blackwell: Comparison) -> None:
    # InferenceX peaks at 8192/1024: 2,453.9 and 18,131.6 tokens/s/GPU; printed 0.16 and 0.04 $.
    point = hopper_blackwell.point("published peak, 8192/1024 tokens")
    assert point.ratios["tokens_s_gpu"] == pytest.approx(18131.6 / 2453.9)
    assert point.first.usd_per_mtok == pytest.approx(0.16, abs=0.005)
    assert point.second.usd_per_mtok == pytest.approx(0.04, abs=0.005)


def test_inputs_stand_beside(hopper_blackwell: Comparison) -> None:
    inputs = {row["metric"]: row for row in hopper_blackwell.inputs}
    assert inputs["price, USD/GPU-h"]["ratio"] == pytest.approx(2.652 / 1.41)
    # Dense data-sheet peaks: 1,979 and 5,000 TFLOP/s in FP8, 15,000 in FP4.
    per_usd = inputs["dense FP8 TFLOP/s per USD/h"]
    assert per_usd["ratio"] == pytest.approx(5000 / 2.652 / (1979 / 1.41))
    best = inputs["dense best-format TFLOP/s per USD/h"]
    assert best["second"] == pytest.approx(15000 / 2.652)


def _rate(comparison: Comparison, basis: str, which: str) -> float:
    rate = getattr(comparison.point(basis), which).tokens_s_gpu
    assert rate is not None
    return float(rate)


def test_model_is_near_what_was_published_of_blackwell(hopper_blackwell: Comparison) -> None:
    # Derived from published costs at 150 tokens/s/user: 313.5 without and 6,697 with speculation;
    # measured peak 18,131.6. None of them was fitted to.
    off = _rate(hopper_blackwell, "model at 150 tokens/s/user, speculation off", "second")
    on = _rate(hopper_blackwell, "model at 150 tokens/s/user, speculation on", "second")
    peak = _rate(hopper_blackwell, "model at peak, speculation on", "second")
    assert off == pytest.approx(313.5, rel=0.5)
    assert on == pytest.approx(6697.0, rel=0.5)
    assert peak == pytest.approx(18131.6, rel=0.5)


def test_most_of_the_claim_is_the_operating_point(hopper_blackwell: Comparison) -> None:
    same = hopper_blackwell.point("model at 150 tokens/s/user, speculation on").ratios
    peak = hopper_blackwell.point("model at peak, speculation off").ratios
    for ratios in (same, peak):
        assert ratios["usd_per_mtok"] is not None
        assert 1.5 < ratios["usd_per_mtok"] < 10.0
    unequal = [
        p for p in hopper_blackwell.points if "one h200_sxm_8 without speculation" in p.basis
    ]
    assert len(unequal) == 1
    # The bisection ends where the first system has its published rate.
    assert unequal[0].first.tokens_s_gpu == pytest.approx(93.25, rel=0.1)
    ratio = unequal[0].ratios["usd_per_mtok"]
    assert ratio is not None
    assert ratio > 15.0


def test_speculation_and_freedom_never_hurt(hopper_blackwell: Comparison) -> None:
    at = "model at 150 tokens/s/user, speculation "
    for which in ("first", "second"):
        free = _rate(hopper_blackwell, at + "on", which)
        alone = _rate(hopper_blackwell, at + "on, one system, no pools apart", which)
        assert free >= alone
        peaks = [
            _rate(hopper_blackwell, f"model at peak, speculation {x}", which) for x in ("on", "off")
        ]
        assert peaks[0] >= peaks[1] >= free


def test_what_is_unstated_is_said(hopper_blackwell: Comparison) -> None:
    text = "\n".join(hopper_blackwell.notes)
    assert "h200_sxm_8 does not state speed per user" in text
    assert "speculation off: not reached by h200_sxm_8" in text


def test_rows_and_json(hopper_blackwell: Comparison) -> None:
    data = json.loads(json.dumps(hopper_blackwell.to_json(), allow_nan=False))
    assert {"first", "second", "model", "inputs", "points", "rows", "notes"} <= set(data)
    assert (data["price_vintage"], data["price_tier"]) == ("2025-10", "hyperscaler_own")
    assert data["price_as_of"] == ["2025-10", "2025-10"]
    for point in data["points"]:
        assert set(point["ratios"]) == METRICS
    keys = {"metric", "first", "second", "ratio", "basis", "source", "note"}
    assert all(set(row) == keys for row in hopper_blackwell.rows())


def test_a_system_against_itself_is_one() -> None:
    same = compare("h200_sxm_8", "h200_sxm_8", "llama-3.1-70b", tokens_s_user=30.0)
    for point in same.points:
        for ratio in point.ratios.values():
            assert ratio is None or math.isclose(ratio, 1.0)
    assert "no draft layer" in "\n".join(same.notes)


def test_bad_input_is_named() -> None:
    with pytest.raises(CatalogError, match="h200_sxm"):
        compare("h200_sxm", "gb300_nvl72")
    with pytest.raises(CatalogError, match="a100_sxm_8"):
        compare("a100_sxm_8", "gb300_nvl72")
    with pytest.raises(SchemaError, match="positive"):
        compare(tokens_s_user=0.0)


def _cells(line: str) -> list[float]:
    return [float(x.replace(",", "")) for x in re.findall(r"\d[\d,]*\.?\d*", line)]


@pytest.mark.parametrize(
    ("label", "basis"),
    [
        ("published claim", "published, recomputed"),
        ("published peak, 8192/1024 tokens", "published peak, 8192/1024 tokens"),
        ("published peak, 1024/1024 tokens", "published peak, 1024/1024 tokens"),
        (
            "model, 150 tokens/s/user, speculation on",
            "model at 150 tokens/s/user, speculation on",
        ),
        (
            "model, the same, one system, no pools apart",
            "model at 150 tokens/s/user, speculation on, one system, no pools apart",
        ),
        ("model, peak, speculation off", "model at peak, speculation off"),
        ("model, peak, speculation on", "model at peak, speculation on"),
    ],
)
def test_the_page_shows_what_the_command_prints(
    hopper_blackwell: Comparison, label: str, basis: str
) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = [x for x in lines if x.startswith(f"| {label} |")]
    point = hopper_blackwell.point(basis)
    shown = [
        point.first.tokens_s_gpu,
        point.second.tokens_s_gpu,
        *(point.ratios[m] for m in ("tokens_s_gpu", "tokens_s_mw", "usd_per_mtok")),
    ]
    for printed, value in zip(_cells(line.removeprefix(f"| {label} |")), shown, strict=True):
        assert value == pytest.approx(printed, rel=0.03)
