"""This room holds a plan against the request-level simulator of the core.

Data go one way: plan file ▸ `standing` (the groups of equal replicas in a load block) ▸ `traffic`
(their requests) ▸ `run` ▸ `tables` ▸ `result`. For example, it answers whether the promised p95 of
TTFT of 2,500 ms holds when 100,000 requests really queue.
"""
