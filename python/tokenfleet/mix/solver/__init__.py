"""This room drives HiGHS, and counts how much effort a search may take.

`highs` solves a PuLP model once and reports exactly what happened, `growing` keeps a linear
programme and its basis while columns are added, `silent` keeps HiGHS off standard output, and
`effort` holds the gap, the time limit and the seed.
"""
