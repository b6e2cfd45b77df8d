"""This room checks a plan and its bound by code that shares nothing with the model.

`mix` recomputes every limit and cost from the raw problem, `places` puts each replica into a
system, `latency` and `routed` reckon the promises again, and `second` and `bound` confirm by
another formulation that no plan can be better than the bound says. An error here means that the
plan is not shown.
"""
