"""This room says a plan or a simulation in words, for people.

`words` holds the sentences, which the terminal and a page share; `numbers` writes figures the same
everywhere; `terminal` and the other outputs lay them out. Nothing here computes a figure: what is
shown stands in the plan.
"""
