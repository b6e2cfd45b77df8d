"""This room searches one model: it finds a bound, then a good plan, then the proof.

`stages` is the order of the steps. `cuts` and `relaxation` raise the bound, `rounding` makes the
first plan, `few_types` and `by_workload` those of small fleets, `neighbourhood` improves a plan a
few sites at a time, `fixing` shows what no better plan can use, `ratio` turns a cost per token into
a series of costs, and `incumbent` keeps what is known.
"""
