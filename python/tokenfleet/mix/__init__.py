"""This room decides which systems to get, how many, and what runs on each of them.

Numbers come in (`problem_data.Problem`), and a mix with its proof goes out (`result.MixResult`).
Data go one way: `model` (the programme) ▸ `solver` (HiGHS) ▸ `search` (a good plan and a bound) ▸
`generate` (the same for a model too large to be built) ▸ `why` (what conflicts, and the best plan
of one system type) ▸ `solve` (the loops around all of them).
"""
