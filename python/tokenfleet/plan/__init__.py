"""This room makes the plan that a buyer reads out of the mix that the solver found.

`rows` declares every key with its unit and meaning, once for writing and for reading; `from_mix`
fills the rows; `ledger` books every dollar to a row and to a workload; `promises` has each latency
limit beside what is promised; `provenance` tells which figures were measured and which were
modelled. For example, `Plan.load("plan.json").systems[0].capex_usd`.
"""
