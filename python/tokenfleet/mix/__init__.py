"""The mix: which systems, how many replicas, what runs where. Numbers in, proof out.

model (columns, limits, objectives) ▸ highs ▸ rounding, search, ratio ▸ diagnose ▸ solve ▸ result
"""
