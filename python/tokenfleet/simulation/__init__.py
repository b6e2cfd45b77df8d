"""Plans held against the request-level simulator of the core.

plan file ▸ standing (replica groups of a load block) ▸ traffic ▸ run ▸ tables ▸ result
"""
