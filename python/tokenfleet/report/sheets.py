"""What the spreadsheet of a plan says beside its figures: notes on sheets, names of lines."""

from __future__ import annotations

from tokenfleet.files.plain import plain
from tokenfleet.plan.rows import Systems
from tokenfleet.report import inputs

YOURS, TYPICAL = "your scenario", "typical figure of the catalog"
RUN_AGAIN = "run tokenfleet again"
NO_INPUT = "Follows no input"
SUMMARY_NOTE = (
    "Change prices and terms on the sheet Inputs: every figure follows. The mix is the solver's "
    "and stays as it is."
)
INPUTS_NOTE = (
    "Change a blue figure, and every sheet follows. The mix stays: far from the plan another may "
    "be better, and then tokenfleet must run again."
)
STILL_BEST = "the mix is still the best"
NO_END = "no end"
OTHER_MIX = (
    "Ranges of prices are known of the cheapest mix alone. This plan has another, which costs "
    "hardly more, or its scenario was explained and not itself: tokenfleet explain PLAN."
)
NO_RANGES = (
    "Prices at which the plan changes were not computed: a changed price keeps the cost of this "
    "mix right and does not say whether it is still the cheapest. tokenfleet explain finds them."
)
PRICE_RANGES = (
    "Between the prices stated, with all else as it is, no other mix costs less: found by solving "
    "again. Several changes at once, and figures without a range, need a new run."
)
ORDER_NOTE = "One line for each site and offer. Prices come from the sheet Inputs."
CASH_NOTE = (
    "Year 0 is the purchase. The annuity of the net present cost is the yearly cost of the plan: "
    "the same money, seen over its life."
)
NO_PURCHASE = "Nothing is bought, and nothing is paid up front: every year costs the same."
SENSITIVITY_NOTE = "What a token costs when prices move and the mix stays."
MIX_HELD = (
    "Prices of hardware are those of bought, rented and all-in systems. Far from the middle "
    "another mix may cost less: run tokenfleet again there."
)
ALTERNATIVES_NOTE = "What else was weighed, and what was not and why."
LATENCY_NOTE = (
    "At the worst replica and hour. Promised holds at the plan's confidence, expected is the "
    "model's; 80 % of measurements at the same load are in the likely range around it. A slower "
    "fleet also fills up: what is promised may lie above."
)
POWER_NOTE = "Held is what the systems may draw at once; drawn is the mean of the fullest hours."
SERVING_NOTE = "What runs where. GPUs each is the size of one replica."
ROUTING_NOTE = "Which requests go where, over the year."
SOURCES_NOTE = "Every figure behind the money, whose it is, and how performance is known."
PROOF_NOTE = "How far the plan is proven, what was searched, and what to know before signing."
PRICES_MOVE = "moves every order, resale, rent and maintenance of the offer alike"
EVERY_PERIOD = "in every period"
OVER_TIME_NOTE = (
    "Change prices, running costs and the discount rate on the sheet Inputs: every figure follows. "
    "What is ordered, and when, is the solver's and stays as it is."
)
OVER_TIME_INPUTS = (
    "A price moves all orders of its offer by the same share. What stands at the end keeps the "
    "share of its price that the plan gave it. Far from the plan, run tokenfleet again."
)
ORDERS_NOTE = (
    "Every order of every outlook, the earliest first; a contract pays in all what it says."
)
SYSTEMS_NOTE = "What stands in each period, and the cash that follows the price of its offer."
OVER_TIME_CASH = (
    "Cash of each period if things come to it, and its worth today: what is bought, sold and "
    "prepaid at its start, what runs over it."
)
POWER_BY_DATE = "Power held by systems in each period, in the basis of the limit."
FUTURES_NOTE = "What each outlook costs, and what it would cost were it known today."


def origin(row: inputs.Assumed) -> str:
    """Whose an input is, and of which day: `typical: price book 2026-07 (2025-08)`."""
    if row.source == "scenario":
        return YOURS
    return inputs.source(row)


def order_line(row: Systems) -> str:
    """One line of an order: `h100_sxm_8 at eu-frankfurt (h100-buy)`."""
    offer = "" if row.offer.startswith(row.system) else f" ({row.offer})"
    return plain(f"{row.system} at {row.site}{offer}")
