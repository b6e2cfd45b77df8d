"""This room solves a large mix over few of its pairs of a pool and a candidate (column generation).

`pricing` tells which of the pairs that were left out would lower the cost, `master` is the
relaxation that takes them in, and `generation` repeats the two until no pair is left that helps.
The bound at the end is that of the whole model. For example, 31 of 8,915 pairs were enough for a
fleet of 20 MW.
"""
