"""Prices that differ by load block, as what a plan pays on the whole for what it draws in several.

A system that is on in two blocks, of 3,650 h at 0.2 $/kWh and 5,110 h at 0.08, pays 0.13 $ for each
kWh that it draws while idle.
"""

from __future__ import annotations

from collections.abc import Collection

from tokenfleet.problem_data import ByBlock, Problem, mean_price


class TimedPrices:
    """Means of prices over load blocks, each block by the hours that it counts."""

    def __init__(self, problem: Problem) -> None:
        self._hours = [block.counted_hours for block in problem.blocks]
        self._of_kwh = [pool.kwh_prices for pool in problem.pools]

    def mean(self, price: ByBlock, blocks: Collection[int]) -> float:
        """The price of what is drawn evenly while the blocks last, USD per unit."""
        if not isinstance(price, tuple):
            return price
        hours = [h if b in blocks else 0.0 for b, h in enumerate(self._hours)]
        return mean_price(price, hours)

    def kwh(self, p: int, blocks: Collection[int]) -> list[tuple[str, float]]:
        """Cost items of a kWh that pool p draws so, USD; what is free is left out."""
        means = ((item, self.mean(usd, blocks)) for item, usd in self._of_kwh[p].items() if usd)
        return [(item, usd) for item, usd in means if usd]
