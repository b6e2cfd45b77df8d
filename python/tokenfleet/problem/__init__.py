"""This room turns a scenario into arrays and labels: only here do names become indices.

`build` reads top to bottom: load blocks, supply, the search of the layout space by the core, and
the candidates that are left. For example, the site `eu-dublin` becomes number 0 here, and the plan
turns 0 into `eu-dublin` again. Every choice that left something out is counted in `funnel`.
"""

from tokenfleet.problem.build import Built, build

__all__ = ["Built", "build"]
