"""Break-even over time: the levelised cost of each route at several volumes and utilisations.

As of one year (`crossover`): a route is one way to order alone, in every period and outlook; a
volume multiplies the demand at all dates; a utilisation is the peak of each period for a share of
its hours. Costs are levelised, USD a year, so those of a token are over discounted tokens. A plan
over time takes longer than one of a year, so crossings are narrowed down to a thousandth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tokenfleet.errors import SolverError
from tokenfleet.explanation.asking import Ask, plainly
from tokenfleet.explanation.crossover import Axis, Planned, Routes, at_point
from tokenfleet.explanation.over_time import OverTime
from tokenfleet.mix.result import tokens_per_year
from tokenfleet.mix.why.routes import MIX, in_all_nodes, ways_of
from tokenfleet.problem_data import Horizon


class CrossoverOverTime(Routes):
    """Levelised costs of the routes, each point solved once."""

    steps, near = 12, 1e-3

    def __init__(self, asked: OverTime, ask: Ask = plainly) -> None:
        """The routes of a scenario over time.

        Raises:
            SolverError: its demand is free, or it is too large to be built whole.
        """
        if asked.part is not None:
            raise SolverError("break-even over time is not asked of a problem this large", "")
        self.asked = asked
        terms = {offer.id: offer.term_years for offer in asked.built.loaded.scenario.offers}
        ways = ways_of(asked.problem, terms)
        offers = len(asked.problem.offers)
        trees = {name: in_all_nodes(asked.tree, offers, way) for name, way in ways.items()}
        self.trees: Mapping[str, Horizon] = {**trees, MIX: asked.tree} if trees else {}
        super().__init__(self.trees, asked.problem, asked.base.how, ask)

    def _planned(self, axis: Axis, at: float, route: str) -> Planned | None:
        tree = self.trees[route]
        nodes = (replace(n, problem=at_point(n.problem, axis, at)) for n in tree.nodes)
        found = self.asked.tried(replace(tree, nodes=tuple(nodes)))
        if found is None:
            return None
        result = found.result
        tokens = tokens_per_year(result.problem, result.values, "output") / result.years
        return Planned(result.levelised_usd_per_year, tokens, found.how)
