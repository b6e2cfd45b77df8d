"""This room works with operating points of single replicas: it keeps, searches and compares them.

A point is one layout at one load, for example Llama-3.3-70B in 8 bits on four H100 at 2.5
requests/s: its TTFT, TPOT, power and cost per token. `search` goes over all of them in the core,
`rates` answers for layouts that are named, and `compare` holds two systems against each other.
"""
